//! What a stream keeps of a publication, and what publishers may say beside the payload.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Epoch, Payload, json};
use crate::id::ClientKey;

/// Names and values a publisher attached, for subscribers and filters.
pub type Tags = BTreeMap<String, String>;

/// Who a client is, as presence, join and leave notices and its own publications tell others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// The user; empty for anonymous ones.
    pub user: Arc<str>,
    /// The connection.
    pub client: ClientKey,
    /// JSON text from the connection token or the connect hook.
    pub conn_info: Option<Arc<str>>,
    /// JSON text from the subscription token or the subscribe hook.
    pub chan_info: Option<Arc<str>>,
}

impl ClientInfo {
    /// Appends the JSON object of the Centrifuge protocol: `user`, `client`, `conn_info`,
    /// `chan_info`; what is empty is left out.
    pub fn append_json(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        if !self.user.is_empty() {
            out.extend_from_slice(b"\"user\":");
            json::append_string(out, &self.user);
            out.push(b',');
        }
        json::append_display(out, format_args!("\"client\":\"{}\"", self.client));
        for (key, text) in [("conn_info", &self.conn_info), ("chan_info", &self.chan_info)] {
            if let Some(text) = text {
                json::append_display(out, format_args!(",\"{key}\":"));
                json::append_one_line(out, text.as_bytes());
            }
        }
        out.push(b'}');
    }

    /// Bytes of its texts and of itself.
    fn size(&self) -> usize {
        let texts = [Some(&self.user), self.conn_info.as_ref(), self.chan_info.as_ref()];
        size_of::<Self>() + texts.into_iter().flatten().map(|text| text.len()).sum::<usize>()
    }
}

/// What a publisher may ask for beside the payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishOptions {
    /// Attached to the publication.
    pub tags: Option<Arc<Tags>>,
    /// A publish with the key of an earlier one of the same channel, at most
    /// `limits::IDEMPOTENCY_TTL_MS` ago, publishes nothing and gets that one's answer. At most
    /// `limits::IDEMPOTENCY_KEY_SIZE_MAX` bytes; the caller checks.
    pub idempotency_key: Option<Arc<str>>,
    /// 0: none. Else the publish is dropped unless it is newer than the channel's newest version.
    pub version: u64,
    /// Versions are compared within it; one that differs from the channel's starts afresh. `None`
    /// is compared with whatever there is.
    pub version_epoch: Option<Arc<str>>,
    /// Deliver to those who listen now and keep nothing: on a channel with history the publication
    /// gets no offset, since nobody could recover it.
    pub skip_history: bool,
}

/// A publish as its owner takes it.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The message.
    pub payload: Payload,
    /// The publishing client; `None` for the HTTP API.
    pub info: Option<Arc<ClientInfo>>,
    /// When it was published, in milliseconds since 1970.
    pub time_ms: u64,
    /// What else was asked for.
    pub options: PublishOptions,
}

impl Draft {
    /// A payload and nothing beside it.
    pub fn plain(payload: Payload, time_ms: u64) -> Self {
        Self { payload, info: None, time_ms, options: PublishOptions::default() }
    }
}

/// One accepted publication, as history keeps it and every wire form is made from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// 1, 2, … within the epoch; 0 if the publication is not part of the stream.
    pub offset: u64,
    /// When it was published, in milliseconds since 1970.
    pub time_ms: u64,
    /// The message.
    pub payload: Payload,
    /// What the publisher attached.
    pub tags: Option<Arc<Tags>>,
    /// The publishing client; `None` for the HTTP API.
    pub info: Option<Arc<ClientInfo>>,
    /// The publisher's version, 0 for none.
    pub version: u64,
}

impl Entry {
    /// What history counts it with: itself with its count and its place in the queue, the frame of
    /// its payload, tags and the publisher's info. What is shared counts in every entry that names
    /// it.
    pub fn size(&self) -> usize {
        let tags = self.tags.iter().flat_map(|tags| tags.iter());
        let tags: usize = tags.map(|(key, value)| TAG_SIZE + key.len() + value.len()).sum();
        let info = self.info.as_ref().map_or(0, |info| info.size());
        ENTRY_SIZE + self.payload.frame().len() + tags + info
    }

    /// Appends the publication object of the Centrifuge protocol: `data`, `info`, `offset`, `tags`,
    /// `time`, `epoch` with offset 1, `version`; what is zero or empty is left out. The payload
    /// must be JSON where clients of that protocol read it; newlines go, since one separates
    /// messages. What is no JSON becomes `b64data`, in base64, beside `data` null.
    pub fn append_json(&self, out: &mut Vec<u8>, epoch: Epoch) {
        out.extend_from_slice(b"{\"data\":");
        if self.payload.is_json() {
            json::append_one_line(out, self.payload.bytes());
        } else {
            let text = STANDARD.encode(self.payload.bytes());
            json::append_display(out, format_args!("null,\"b64data\":\"{text}\""));
        }
        if let Some(info) = &self.info {
            out.extend_from_slice(b",\"info\":");
            info.append_json(out);
        }
        json::append_number(out, "offset", self.offset);
        if let Some(tags) = self.tags.as_ref().filter(|tags| !tags.is_empty()) {
            out.extend_from_slice(b",\"tags\":{");
            for (key, value) in tags.iter() {
                json::append_string(out, key);
                out.push(b':');
                json::append_string(out, value);
                out.push(b',');
            }
            out.pop();
            out.push(b'}');
        }
        json::append_number(out, "time", self.time_ms);
        if self.offset == 1 {
            json::append_display(out, format_args!(",\"epoch\":\"{epoch}\""));
        }
        json::append_number(out, "version", self.version);
        out.push(b'}');
    }
}

/// The entry, the two counts before it, the payload's two counts, its place in a queue of pointers
/// with their expiry.
const ENTRY_SIZE: usize = size_of::<Entry>() + 2 * 2 * size_of::<usize>() + 2 * size_of::<u64>();

/// What a tag costs beside its text: two strings in a map.
const TAG_SIZE: usize = 2 * size_of::<String>();
