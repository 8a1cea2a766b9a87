//! The objects that calls consist of, field by field, as they are read.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use super::Raw;
use crate::publication::Tags;
use crate::publication::json::Object;

/// An object a call may consist of.
pub(super) trait Shape {
    /// What it should have held, for who wrote something else.
    const EXPECTED: &'static str;
}

/// `publish`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Publish<'a> {
    pub(super) channel: Option<String>,
    #[serde(borrow, deserialize_with = "some")]
    pub(super) data: Option<Raw<'a>>,
    pub(super) b64data: Option<String>,
    pub(super) skip_history: Option<bool>,
    pub(super) tags: Option<Tags>,
    pub(super) idempotency_key: Option<String>,
    /// Asks for differences between publications, which no subscriber is sent: it has no effect.
    #[serde(rename = "delta")]
    pub(super) _delta: Option<bool>,
    #[serde(deserialize_with = "whole")]
    pub(super) version: Option<u64>,
    pub(super) version_epoch: Option<String>,
}

/// `broadcast`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Broadcast<'a> {
    pub(super) channels: Option<Vec<String>>,
    #[serde(borrow, deserialize_with = "some")]
    pub(super) data: Option<Raw<'a>>,
    pub(super) b64data: Option<String>,
    pub(super) skip_history: Option<bool>,
    pub(super) tags: Option<Tags>,
    pub(super) idempotency_key: Option<String>,
    /// As in [`Publish`].
    #[serde(rename = "delta")]
    pub(super) _delta: Option<bool>,
    #[serde(deserialize_with = "whole")]
    pub(super) version: Option<u64>,
    pub(super) version_epoch: Option<String>,
}

/// `subscribe`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Subscribe<'a> {
    pub(super) user: Option<String>,
    pub(super) channel: Option<String>,
    #[serde(borrow)]
    pub(super) info: Option<Raw<'a>>,
    pub(super) b64info: Option<String>,
    pub(super) client: Option<String>,
    pub(super) session: Option<String>,
    #[serde(borrow)]
    pub(super) data: Option<Raw<'a>>,
    pub(super) b64data: Option<String>,
    pub(super) recover_since: Option<Object<Position>>,
    #[serde(deserialize_with = "whole")]
    pub(super) expire_at: Option<u64>,
    #[serde(rename = "override")]
    pub(super) overrides: Option<Object<Overrides>>,
}

/// What `subscribe` may have otherwise than the channel does.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Overrides {
    pub(super) presence: Option<Object<Truth>>,
    pub(super) join_leave: Option<Object<Truth>>,
    pub(super) force_push_join_leave: Option<Object<Truth>>,
    pub(super) force_positioning: Option<Object<Truth>>,
    pub(super) force_recovery: Option<Object<Truth>>,
}

/// A boolean in an object.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Truth {
    pub(super) value: bool,
}

/// `unsubscribe`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Unsubscribe {
    pub(super) user: Option<String>,
    pub(super) channel: Option<String>,
    pub(super) client: Option<String>,
    pub(super) session: Option<String>,
}

/// `disconnect`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Disconnect {
    pub(super) user: Option<String>,
    pub(super) client: Option<String>,
    pub(super) session: Option<String>,
    pub(super) whitelist: Option<Vec<String>>,
    pub(super) disconnect: Option<Object<Close>>,
}

/// The Close frame of `disconnect`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Close {
    #[serde(deserialize_with = "whole")]
    pub(super) code: Option<u32>,
    pub(super) reason: Option<String>,
}

/// `refresh`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Refresh<'a> {
    pub(super) user: Option<String>,
    pub(super) client: Option<String>,
    pub(super) session: Option<String>,
    pub(super) expired: Option<bool>,
    #[serde(deserialize_with = "whole")]
    pub(super) expire_at: Option<u64>,
    #[serde(borrow)]
    pub(super) info: Option<Raw<'a>>,
}

/// What is asked about one channel.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Channel {
    pub(super) channel: Option<String>,
}

/// `history`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct History {
    pub(super) channel: Option<String>,
    #[serde(deserialize_with = "whole")]
    pub(super) limit: Option<i32>,
    pub(super) since: Option<Object<Position>>,
    pub(super) reverse: Option<bool>,
}

/// Where a publication stands.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Position {
    #[serde(deserialize_with = "whole")]
    pub(super) offset: Option<u64>,
    pub(super) epoch: Option<String>,
}

/// `channels`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Channels {
    pub(super) pattern: Option<String>,
}

/// `info`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Nothing {}

/// `rpc`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Rpc<'a> {
    pub(super) method: Option<String>,
    /// For the backend.
    #[serde(borrow, rename = "params")]
    pub(super) _params: Option<Raw<'a>>,
}

/// `batch`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Batch<'a> {
    #[serde(borrow)]
    pub(super) commands: Option<Vec<Command<'a>>>,
    pub(super) parallel: Option<bool>,
}

/// An object with one field: the method's name, and its call.
#[derive(Debug)]
pub(super) struct Command<'a>(pub(super) (String, Raw<'a>));

impl Shape for Publish<'_> {
    const EXPECTED: &'static str = "channel and either data or b64data";
}

impl Shape for Broadcast<'_> {
    const EXPECTED: &'static str = "channels and either data or b64data";
}

impl Shape for Subscribe<'_> {
    const EXPECTED: &'static str = "channel, and one or more of user, client and session";
}

impl Shape for Unsubscribe {
    const EXPECTED: &'static str = "channel, and one or more of user, client and session";
}

impl Shape for Disconnect {
    const EXPECTED: &'static str =
        "one or more of user, client and session, and perhaps whitelist and disconnect";
}

impl Shape for Refresh<'_> {
    const EXPECTED: &'static str =
        "one or more of user, client and session, and expired, expire_at or info";
}

impl Shape for Channel {
    const EXPECTED: &'static str = "channel";
}

impl Shape for History {
    const EXPECTED: &'static str = "channel, and perhaps limit, since and reverse";
}

impl Shape for Channels {
    const EXPECTED: &'static str = "nothing or pattern";
}

impl Shape for Nothing {
    const EXPECTED: &'static str = "nothing";
}

impl Shape for Rpc<'_> {
    const EXPECTED: &'static str = "method, and perhaps params";
}

impl Shape for Batch<'_> {
    const EXPECTED: &'static str = "commands, each {\"method\": {…}}, and perhaps parallel";
}

impl<'de: 'a, 'a> Deserialize<'de> for Command<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CommandVisitor;
        impl<'de> Visitor<'de> for CommandVisitor {
            type Value = (String, Raw<'de>);

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with one field, the name of a method")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut fields: M) -> Result<Self::Value, M::Error> {
                let command = fields.next_entry()?;
                let command = command.ok_or_else(|| M::Error::invalid_length(0, &self))?;
                match fields.next_key::<String>()? {
                    None => Ok(command),
                    Some(_) => Err(M::Error::invalid_length(2, &self)),
                }
            }
        }
        deserializer.deserialize_map(CommandVisitor).map(Command)
    }
}

/// A value that is there even if it is null.
fn some<'de, D: Deserializer<'de>, T: Deserialize<'de>>(reader: D) -> Result<Option<T>, D::Error> {
    T::deserialize(reader).map(Some)
}

/// A whole number, if need be written with a point as JSON allows; null is none.
fn whole<'de, D: Deserializer<'de>, T: TryFrom<i128>>(reader: D) -> Result<Option<T>, D::Error> {
    struct Whole;
    impl Visitor<'_> for Whole {
        type Value = Option<i128>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number")
        }

        fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
            Ok(Some(number.into()))
        }

        fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
            Ok(Some(number.into()))
        }

        fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Self::Value, E> {
            let is_whole = number.fract() == 0.0 && number.abs() < WHOLE_END;
            let unexpected = serde::de::Unexpected::Float(number);
            is_whole.then_some(Some(number as i128)).ok_or(E::invalid_value(unexpected, &self))
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
    }
    let Some(number) = reader.deserialize_any(Whole)? else { return Ok(None) };
    let whole = T::try_from(number).map(Some);
    whole.map_err(|_| D::Error::custom(format_args!("{number} is out of range")))
}

/// Beyond every number an API takes: 2 to the power of 64.
const WHOLE_END: f64 = 18_446_744_073_709_551_616.0;
