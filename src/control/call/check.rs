//! Checks of what readable calls say, value by value.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use globset::GlobBuilder;

use super::shape;
use super::{Publication, Raw, Task};
use crate::control::answer::{At, BadRequest, ChannelFault};
use crate::hub::{AskedEpoch, HistoryAsk, Since};
use crate::id::ChannelName;
use crate::limits;
use crate::publication::json::{Object, is_deeper_than};
use crate::publication::{Payload, PublishOptions, Tags};

/// Where and what to publish.
pub(super) fn publish(shape: shape::Publish<'_>, size_max: usize) -> Result<Task, BadRequest> {
    let payload = payload(shape.data, shape.b64data.as_deref(), size_max);
    let channel = named(shape.channel)?;
    let options = Asked {
        skip_history: shape.skip_history,
        tags: shape.tags,
        idempotency_key: shape.idempotency_key,
        version: shape.version,
        version_epoch: shape.version_epoch,
    };
    let publication = Publication { payload: payload?, options: options.check()? };
    Ok(Task::Publish(channel, Box::new(publication)))
}

/// Where and what to publish; one bad channel refuses the whole call.
pub(super) fn broadcast(shape: shape::Broadcast<'_>, size_max: usize) -> Result<Task, BadRequest> {
    let payload = payload(shape.data, shape.b64data.as_deref(), size_max);
    let names = shape.channels.ok_or(BadRequest::Missing("channels"))?;
    if names.is_empty() {
        return Err(BadRequest::ChannelsEmpty);
    }
    if names.len() > limits::BROADCAST_CHANNELS_MAX {
        return Err(BadRequest::ChannelsTooMany);
    }
    let names = names.iter().enumerate();
    let channels = names.map(|(index, name)| channel_name(name, At::Channels(index)));
    let channels = channels.collect::<Result<_, _>>()?;
    let options = Asked {
        skip_history: shape.skip_history,
        tags: shape.tags,
        idempotency_key: shape.idempotency_key,
        version: shape.version,
        version_epoch: shape.version_epoch,
    };
    let publication = Publication { payload: payload?, options: options.check()? };
    Ok(Task::Broadcast(channels, Box::new(publication)))
}

/// Which channel is asked about.
pub(super) fn channel_ask(shape: shape::Channel) -> Result<ChannelName, BadRequest> {
    named(shape.channel)
}

/// What of which channel's history.
pub(super) fn history(shape: shape::History) -> Result<Task, BadRequest> {
    let channel = named(shape.channel)?;
    let limit = match shape.limit.unwrap_or(0) {
        -1 => usize::MAX,
        limit => usize::try_from(limit).map_err(|_| BadRequest::LimitNegative)?,
    };
    let since = shape.since.map(|Object(since)| Since {
        offset: since.offset.unwrap_or(0),
        epoch: AskedEpoch::from_text(since.epoch.as_deref().unwrap_or("")),
    });
    let reverse = shape.reverse.unwrap_or(false);
    Ok(Task::History(channel, HistoryAsk { limit, since, reverse }))
}

/// Names of which channels.
pub(super) fn channels(shape: shape::Channels) -> Result<Task, BadRequest> {
    let pattern = shape.pattern.filter(|pattern| !pattern.is_empty());
    let Some(pattern) = pattern else { return Ok(Task::Channels(None)) };
    if pattern.len() > limits::CHANNEL_PATTERN_MAX {
        return Err(BadRequest::PatternTooLong { len: pattern.len() });
    }
    let glob = GlobBuilder::new(&pattern).literal_separator(false).backslash_escape(true).build();
    let glob = glob.map_err(|error| BadRequest::PatternMalformed(error.kind().to_string()))?;
    Ok(Task::Channels(Some(glob.compile_matcher())))
}

/// Whether a method is named at all.
pub(super) fn rpc(shape: shape::Rpc<'_>) -> Result<Task, BadRequest> {
    match shape.method.as_deref() {
        None | Some("") => Err(BadRequest::Missing("method")),
        Some(_) => Ok(Task::Rpc),
    }
}

/// What both publishing methods say beside channel and payload.
struct Asked {
    skip_history: Option<bool>,
    tags: Option<Tags>,
    idempotency_key: Option<String>,
    version: Option<u64>,
    version_epoch: Option<String>,
}

impl Asked {
    fn check(self) -> Result<PublishOptions, BadRequest> {
        let tags = self.tags.filter(|tags| !tags.is_empty());
        if let Some(tags) = &tags {
            let is_long = |text: &String| text.len() > limits::TAG_SIZE_MAX;
            if tags.len() > limits::TAGS_MAX {
                return Err(BadRequest::TagsTooMany);
            }
            if tags.iter().any(|(name, value)| is_long(name) || is_long(value)) {
                return Err(BadRequest::TagTooLong);
            }
        }
        let text = |text: Option<String>, field, max| {
            let text: Option<Arc<str>> = text.filter(|text| !text.is_empty()).map(Arc::from);
            match text.as_ref().map(|text| text.len()) {
                Some(len) if len > max => Err(BadRequest::TextTooLong { field, len, max }),
                _ => Ok(text),
            }
        };
        let key_max = limits::IDEMPOTENCY_KEY_SIZE_MAX;
        let epoch_max = limits::VERSION_EPOCH_SIZE_MAX;
        Ok(PublishOptions {
            tags: tags.map(Arc::new),
            idempotency_key: text(self.idempotency_key, "idempotency_key", key_max)?,
            version: self.version.unwrap_or(0),
            version_epoch: text(self.version_epoch, "version_epoch", epoch_max)?,
            skip_history: self.skip_history.unwrap_or(false),
        })
    }
}

/// The payload, within its limits.
fn payload(
    data: Option<Raw<'_>>,
    b64data: Option<&str>,
    size_max: usize,
) -> Result<Payload, BadRequest> {
    let payload = match (data, b64data) {
        (None, None) => return Err(BadRequest::DataMissing),
        (Some(_), Some(_)) => return Err(BadRequest::DataTwice),
        (Some(json), None) => {
            if is_deeper_than(limits::JSON_DEPTH_MAX, json.get().as_bytes()) {
                return Err(BadRequest::DataTooDeep);
            }
            Payload::text(json.get())
        }
        (None, Some(base64)) => {
            let bytes = STANDARD.decode(base64).map_err(BadRequest::NotBase64)?;
            Payload::binary(&bytes)
        }
    };
    let len = payload.bytes().len();
    if len > size_max {
        return Err(BadRequest::PublicationTooLarge { len, size_max });
    }
    Ok(payload)
}

/// The field `channel`.
pub(super) fn named(channel: Option<String>) -> Result<ChannelName, BadRequest> {
    channel_name(&channel.ok_or(BadRequest::Missing("channel"))?, At::Channel)
}

/// Checks a name against what any channel may be called.
fn channel_name(name: &str, at: At) -> Result<ChannelName, BadRequest> {
    let fault = if name.is_empty() {
        ChannelFault::Empty
    } else if name.len() > limits::CHANNEL_NAME_MAX {
        ChannelFault::TooLong { len: name.len() }
    } else if let Some(control) = name.chars().find(|c| c.is_control()) {
        ChannelFault::ControlCharacter(control)
    } else {
        return Ok(name.into());
    };
    Err(BadRequest::Channel { at, fault })
}
