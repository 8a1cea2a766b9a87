//! What an API call says: from body bytes to checked channels and payload, all or nothing.
//!
//! Two steps, because they answer differently. [`Call::read`] takes the JSON: not an object, a
//! wrong type, an unknown field or one named twice is unreadable and named with its line and
//! column. An unknown field is refused rather than ignored, since an ignored `idempotency_key` or a
//! misspelt `b64data` would look like success. [`Call::publish`] and [`Call::broadcast`] then check
//! values.

#[cfg(test)]
mod tests;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::answer::{ApiError, At, BadRequest, ChannelFault};
use crate::id::ChannelName;
use crate::limits;
use crate::publication::Payload;
use crate::publication::json::is_deeper_than;

/// A call's object. `T` is [`Channel`] for a publish, [`Channels`] for a broadcast.
#[derive(Debug)]
pub(super) struct Call<'a, T> {
    target: Option<T>,
    data: Option<&'a RawValue>,
    b64data: Option<String>,
}

/// The field `channel`.
#[derive(Debug)]
pub(super) struct Channel(String);

/// The field `channels`; one more than `limits::BROADCAST_CHANNELS_MAX` stands for any more.
#[derive(Debug)]
pub(super) struct Channels(Vec<String>);

/// A field that says where to publish.
pub(super) trait Target: for<'de> Deserialize<'de> {
    /// Its name.
    const FIELD: &'static str;
    /// All fields of the call.
    const FIELDS: &'static [&'static str];
}

impl Target for Channel {
    const FIELD: &'static str = "channel";
    const FIELDS: &'static [&'static str] = &["channel", "data", "b64data"];
}

impl Target for Channels {
    const FIELD: &'static str = "channels";
    const FIELDS: &'static [&'static str] = &["channels", "data", "b64data"];
}

impl<'a, T: Target> Call<'a, T> {
    /// Reads the object.
    ///
    /// # Errors
    /// [`ApiError::Unreadable`], saying where and what was expected.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, ApiError> {
        serde_json::from_slice(body).map_err(|error| unreadable::<T>(&error))
    }

    /// The payload, within its limits.
    fn payload(&self, size_max: usize) -> Result<Payload, BadRequest> {
        let payload = match (self.data, &self.b64data) {
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
}

impl Call<'_, Channel> {
    /// Where and what to publish.
    ///
    /// # Errors
    /// The first value that is not acceptable.
    pub(super) fn publish(self, size_max: usize) -> Result<(ChannelName, Payload), BadRequest> {
        let payload = self.payload(size_max);
        let Channel(name) = self.target.ok_or(BadRequest::TargetMissing(Channel::FIELD))?;
        Ok((channel_name(&name, At::Channel)?, payload?))
    }
}

impl Call<'_, Channels> {
    /// Where and what to publish.
    ///
    /// # Errors
    /// The first value that is not acceptable; one bad channel refuses the whole call.
    pub(super) fn broadcast(
        self,
        size_max: usize,
    ) -> Result<(Vec<ChannelName>, Payload), BadRequest> {
        let payload = self.payload(size_max);
        let Channels(names) = self.target.ok_or(BadRequest::TargetMissing(Channels::FIELD))?;
        if names.is_empty() {
            return Err(BadRequest::ChannelsEmpty);
        }
        if names.len() > limits::BROADCAST_CHANNELS_MAX {
            return Err(BadRequest::ChannelsTooMany);
        }
        let names = names.iter().enumerate();
        let channels = names.map(|(index, name)| channel_name(name, At::Channels(index)));
        Ok((channels.collect::<Result<_, _>>()?, payload?))
    }
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

/// Says what was not understood, where, and what was expected, in bounded length: the parser may
/// quote the input.
fn unreadable<T: Target>(error: &serde_json::Error) -> ApiError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let place = format!(" at line {line} column {column}");
    let fault = text.strip_suffix(&place).unwrap_or(&text);
    let quoted: String = fault.chars().take(limits::API_FAULT_TEXT_MAX).collect();
    let ellipsis = if quoted.len() < fault.len() { "…" } else { "" };
    ApiError::Unreadable(format!(
        "cannot read the body at line {line} column {column}: {quoted}{ellipsis}; expected a JSON \
         object with {field} and either data or b64data",
        field = T::FIELD,
    ))
}

impl<'de, T: Target> Deserialize<'de> for Call<'de, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(CallVisitor(std::marker::PhantomData))
    }
}

/// Takes objects only: a derived implementation would also take an array of the fields in order.
struct CallVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Target> Visitor<'de> for CallVisitor<T> {
    type Value = Call<'de, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut call = Call { target: None, data: None, b64data: None };
        while let Some(field) = map.next_key::<String>()? {
            match field.as_str() {
                "data" => set(&mut call.data, &mut map, "data")?,
                "b64data" => set(&mut call.b64data, &mut map, "b64data")?,
                field if field == T::FIELD => set(&mut call.target, &mut map, T::FIELD)?,
                field => return Err(A::Error::unknown_field(field, T::FIELDS)),
            }
        }
        Ok(call)
    }
}

/// Reads the value of `field`, which may come once.
fn set<'de, A: MapAccess<'de>, V: Deserialize<'de>>(
    value: &mut Option<V>,
    map: &mut A,
    field: &'static str,
) -> Result<(), A::Error> {
    if value.is_some() {
        return Err(A::Error::duplicate_field(field));
    }
    let read = map.next_value();
    *value = Some(read.map_err(|error| A::Error::custom(format_args!("{field}: {error}")))?);
    Ok(())
}

impl<'de> Deserialize<'de> for Channel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Channels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ChannelsVisitor)
    }
}

struct ChannelsVisitor;

impl<'de> Visitor<'de> for ChannelsVisitor {
    type Value = Channels;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Channels, A::Error> {
        let mut names = Vec::new();
        while names.len() <= limits::BROADCAST_CHANNELS_MAX {
            match seq.next_element()? {
                Some(name) => names.push(name),
                None => return Ok(Channels(names)),
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Channels(names))
    }
}
