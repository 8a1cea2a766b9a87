//! One publication: payload, position and wire forms, shared between threads.
//!
//! The owner shard makes it once per publish and only if someone listens; every shard with
//! subscribers shares the same bytes of each wire form, built when the first of them asks.

mod entry;
pub mod json;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

pub use entry::{ClientInfo, Draft, Entry, PublishOptions, Tags};

use crate::frame::DropPolicy;
use crate::id::ChannelName;
use crate::limits;
use crate::ws::{MessageKind, encode};

/// What a publisher gave: one message, as the frame that subscribers of the raw protocol get.
///
/// The header stands before the message from the start, so that the bytes which wait, which history
/// keeps and which are sent are the same, and a broadcast names them for every channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    kind: MessageKind,
    /// Whether the message is known to be one JSON value.
    is_json: bool,
    frame: Arc<[u8]>,
}

impl Payload {
    /// A message of which nothing is known; looks whether it is JSON. Copies the bytes once, in one
    /// allocation.
    pub fn new(kind: MessageKind, bytes: &[u8]) -> Self {
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
            && !json::is_deeper_than(limits::JSON_DEPTH_MAX, bytes);
        Self { kind, is_json, frame: encode::shared_message(kind, bytes) }
    }

    /// A text message that has been read as JSON, byte for byte: `data` of the HTTP API and of
    /// Centrifuge clients.
    pub fn text(text: &str) -> Self {
        let frame = encode::shared_message(MessageKind::Text, text.as_bytes());
        Self { kind: MessageKind::Text, is_json: true, frame }
    }

    /// A binary message: `b64data` of the HTTP API.
    pub fn binary(bytes: &[u8]) -> Self {
        Self::new(MessageKind::Binary, bytes)
    }

    /// Whether the message is one JSON value, nested no deeper than `limits::JSON_DEPTH_MAX`.
    pub fn is_json(&self) -> bool {
        self.is_json
    }

    /// Whether subscribers of the raw protocol get text or bytes.
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The message.
    pub fn bytes(&self) -> &[u8] {
        &self.frame[encode::header_len(&self.frame)..]
    }

    /// The message with its header (RFC 6455 section 5.2, unmasked).
    pub fn frame(&self) -> &Arc<[u8]> {
        &self.frame
    }
}

/// Names one life of a channel's stream. A new epoch says that earlier offsets mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch([u8; 8]);

impl Epoch {
    /// Eight letters drawn from `random`.
    pub fn from_random(random: u64) -> Self {
        let mut rest = random;
        Self(std::array::from_fn(|_| {
            let letter = (rest % 26) as u8;
            rest /= 26;
            b'a' + letter
        }))
    }

    /// The epoch `text` names; `None` if no epoch of ours looks like it.
    pub fn parse(text: &str) -> Option<Self> {
        let letters: [u8; 8] = text.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_lowercase).then_some(Self(letters))
    }

    /// The epoch as text, eight ASCII letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an epoch is ASCII letters")
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a publication stands in its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// 1, 2, … within the epoch.
    pub offset: u64,
    /// The stream's life.
    pub epoch: Epoch,
}

/// One accepted publication in the forms its subscribers need. History keeps the entry alone.
#[derive(Debug)]
pub struct Publication {
    /// The channel it was published to.
    pub channel: ChannelName,
    /// The stream's life.
    pub epoch: Epoch,
    /// What was published.
    pub entry: Arc<Entry>,
    /// When the gateway took the publish: the start of the delivery histogram.
    pub accepted_at: Instant,
    /// Whether and when those who do not keep up may miss it.
    pub drop_policy: Option<DropPolicy>,
    json: OnceLock<Arc<[u8]>>,
    /// Of each form. `None` inside: not worth having.
    compressed: [OnceLock<Option<Arc<[u8]>>>; 2],
}

/// A wire form: how subscribers of one protocol get a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The payload as a message.
    Raw,
    /// A push of the Centrifuge protocol in JSON.
    Json,
}

impl Publication {
    /// `entry` of `channel`, which nobody may miss. Forms other than the raw one are built when
    /// they are first asked for.
    pub fn new(
        channel: ChannelName,
        epoch: Epoch,
        entry: Arc<Entry>,
        accepted_at: Instant,
    ) -> Self {
        Self {
            channel,
            epoch,
            entry,
            accepted_at,
            drop_policy: None,
            json: OnceLock::new(),
            compressed: [const { OnceLock::new() }; 2],
        }
    }

    /// The same for a channel with this policy.
    pub fn with_drop_policy(self, drop_policy: Option<DropPolicy>) -> Self {
        Self { drop_policy, ..self }
    }

    /// Its position; offset 0 if it is not part of the stream.
    pub fn position(&self) -> Position {
        Position { offset: self.entry.offset, epoch: self.epoch }
    }

    /// Bytes of its largest frame, about: those of the Centrifuge protocol's, uncompressed.
    pub fn frame_size(&self) -> usize {
        PUSH_ROOM + self.channel.len() + self.entry.size()
    }

    /// The raw protocol's frame, header included (RFC 6455 section 5.2, unmasked).
    pub fn raw_frame(&self) -> &Arc<[u8]> {
        self.entry.payload.frame()
    }

    /// A frame with its message compressed (RFC 7692), or `None` if that is not shorter. The first
    /// call has `deflate` compress the message; threads that ask meanwhile wait, no longer than the
    /// same work would take them.
    ///
    /// # Panics
    /// If the form has no plain frame yet: [`Publication::json_frame`] comes first.
    pub fn compressed_frame(
        &self,
        form: Form,
        deflate: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> Option<&Arc<[u8]>> {
        let build = || {
            let (kind, plain) = match form {
                Form::Raw => (self.entry.payload.kind(), self.raw_frame()),
                Form::Json => (MessageKind::Text, self.json.get().expect("the plain frame")),
            };
            let message = &plain[encode::header_len(plain)..];
            let deflated = deflate(message);
            let is_shorter = deflated.len() < message.len();
            is_shorter.then(|| encode::shared_compressed_message(kind, &deflated))
        };
        self.compressed[form as usize].get_or_init(build).as_ref()
    }

    /// The push of the Centrifuge JSON protocol in a text frame, header included:
    /// `{"push":{"channel":…,"pub":{…}}}`. The first call builds it and calls `built`; threads that
    /// ask meanwhile wait. The payload must be JSON: the caller refuses others before they are
    /// published.
    pub fn json_frame(&self, built: impl FnOnce()) -> &Arc<[u8]> {
        self.json.get_or_init(|| {
            built();
            let mut push = Vec::with_capacity(self.frame_size());
            push.extend_from_slice(b"{\"push\":{\"channel\":");
            json::append_string(&mut push, &self.channel);
            push.extend_from_slice(b",\"pub\":");
            self.entry.append_json(&mut push, self.epoch);
            push.extend_from_slice(b"}}");
            encode::shared_message(MessageKind::Text, &push)
        })
    }
}

/// What a push has beside channel and entry, about.
const PUSH_ROOM: usize = 64;

#[cfg(test)]
mod tests;
