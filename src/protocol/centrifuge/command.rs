//! One text message to commands: JSON objects, one after another, newlines between them.
//!
//! Data is kept as the client wrote it, byte for byte, and borrowed from the message. Objects end
//! where their braces say so, not at the next newline, so JSON written over several lines is as
//! good as any. Fields this gateway does not know are ignored; what is missing or `null` is the
//! empty value, as the protocol leaves empty values out.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;

use crate::limits;
use crate::protocol::claims::TokenText;
use crate::publication::json::{self, Object};

/// The client broke the protocol: it is disconnected with 3501.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A message without a command.
    #[error("an empty message")]
    Empty,
    /// Not JSON, or not of a command's form.
    #[error("not a command")]
    NotACommand,
    /// Data nested deeper than [`limits::JSON_DEPTH_MAX`].
    #[error("nested too deeply")]
    TooDeep,
    /// A command that is to be answered has no id, or is none of the methods.
    #[error("a command without id or method")]
    Incomplete,
}

/// What a client asks for, with the number it wants to see on the reply.
#[derive(Debug)]
pub struct Command<'a> {
    /// Chosen by the client; 0 only for [`Method::Pong`] and [`Method::Send`], which get no reply.
    pub id: u32,
    /// What is asked.
    pub method: Method<'a>,
}

/// The methods of the protocol.
#[derive(Debug)]
pub enum Method<'a> {
    /// First of all: who the client is.
    Connect(Connect<'a>),
    /// Publications of a channel from now on.
    Subscribe(Subscribe<'a>),
    /// No more of them.
    Unsubscribe(Channel<'a>),
    /// A publication to a channel.
    Publish(Publish<'a>),
    /// Who is in a channel.
    Presence(Channel<'a>),
    /// How many are in a channel.
    PresenceStats(Channel<'a>),
    /// Earlier publications of a channel.
    History(History<'a>),
    /// A message to the backend without a reply.
    Send,
    /// A call to the backend.
    Rpc(Rpc<'a>),
    /// A new connection token.
    Refresh(Refresh<'a>),
    /// A new subscription token.
    SubRefresh(SubRefresh<'a>),
    /// The answer to a ping: an empty object.
    Pong,
}

/// Reads the next command of `text`: the command, and how many bytes it and the blanks before it
/// took. `None` when only blanks are left.
///
/// The depth of nesting must have been looked at before, see [`check`].
///
/// # Errors
/// The client is to be disconnected.
pub fn next(text: &str) -> Result<Option<(Command<'_>, usize)>, Malformed> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Object<Wire<'_>>>();
    match values.next() {
        None => Ok(None),
        Some(Err(_)) => Err(Malformed::NotACommand),
        Some(Ok(Object(wire))) => Ok(Some((wire.command()?, values.byte_offset()))),
    }
}

/// Looks at a whole message before its first command is carried out.
///
/// # Errors
/// There is nothing in it, or it is nested too deeply for a reader that calls itself.
pub fn check(text: &str) -> Result<(), Malformed> {
    if text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
        return Err(Malformed::Empty);
    }
    if json::is_deeper_than(limits::JSON_DEPTH_MAX + DEPTH_OF_DATA, text.as_bytes()) {
        return Err(Malformed::TooDeep);
    }
    Ok(())
}

/// Levels around a publication's data: the command and its method.
const DEPTH_OF_DATA: usize = 2;

/// What the connect command says.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Connect<'a> {
    /// Says who the client is; empty: nobody in particular.
    #[serde(borrow)]
    pub token: Text<'a>,
    /// What kind of client it is, for statistics and logs.
    #[serde(borrow)]
    pub name: Text<'a>,
    /// Of which version.
    #[serde(borrow)]
    pub version: Text<'a>,
    /// What it was subscribed to without asking before it came back, by channel.
    #[serde(borrow, deserialize_with = "null_is_empty")]
    pub subs: BTreeMap<Text<'a>, Object<Resume<'a>>>,
    /// For a backend, as written.
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
}

/// How far a client had come in a channel.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Resume<'a> {
    /// Whether what came after `offset` and `epoch` is wanted.
    #[serde(deserialize_with = "null_is_empty")]
    pub recover: bool,
    /// The stream the client knows; empty when it knows none.
    #[serde(borrow)]
    pub epoch: Text<'a>,
    /// The last publication it has seen there.
    #[serde(deserialize_with = "null_is_empty")]
    pub offset: u64,
}

/// What the subscribe command says.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Subscribe<'a> {
    /// To what.
    #[serde(borrow)]
    pub channel: Text<'a>,
    /// Says that it may; empty: the channel's options decide.
    #[serde(borrow)]
    pub token: Text<'a>,
    /// Whether what came after `offset` and `epoch` is wanted too.
    #[serde(deserialize_with = "null_is_empty")]
    pub recover: bool,
    /// The stream the client knows; empty when it knows none.
    #[serde(borrow)]
    pub epoch: Text<'a>,
    /// The last publication it has seen there.
    #[serde(deserialize_with = "null_is_empty")]
    pub offset: u64,
    /// Whether it wants to be told of gaps.
    #[serde(deserialize_with = "null_is_empty")]
    pub positioned: bool,
    /// Whether it wants to recover after a reconnect.
    #[serde(deserialize_with = "null_is_empty")]
    pub recoverable: bool,
    /// Whether it wants to be told who comes and goes.
    #[serde(deserialize_with = "null_is_empty")]
    pub join_leave: bool,
    /// Bit 1: short channel names are fine (not used here). Bit 2: rather an error than a
    /// subscription that missed something.
    #[serde(deserialize_with = "null_is_empty")]
    pub flag: u64,
    /// How differences between publications may be sent; none is known here.
    #[serde(borrow)]
    pub delta: Text<'a>,
    /// Another kind of subscription than to a stream; none is known here.
    #[serde(rename = "type", deserialize_with = "null_is_empty")]
    pub kind: u32,
    /// A filter on tags; not known here.
    #[serde(borrow, rename = "tf")]
    pub tags_filter: Option<&'a RawValue>,
    /// For a backend, as written.
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
}

/// Bit of [`Subscribe::flag`]: rather error 112 than a subscription that missed something.
pub const FLAG_REJECT_UNRECOVERED: u64 = 2;

/// What the publish command says.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Publish<'a> {
    /// Where to.
    #[serde(borrow)]
    pub channel: Text<'a>,
    /// The payload, as written. `None` if there is none; `null` is one.
    #[serde(borrow, deserialize_with = "null_is_data")]
    pub data: Option<&'a RawValue>,
    /// Another kind of publication than to a stream; none is known here.
    #[serde(rename = "type", deserialize_with = "null_is_empty")]
    pub kind: u32,
}

/// A command that names a channel and nothing else.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Channel<'a> {
    /// Which.
    #[serde(borrow)]
    pub channel: Text<'a>,
}

/// What the refresh command says.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Refresh<'a> {
    /// The new token of the connection.
    #[serde(borrow)]
    pub token: Text<'a>,
}

/// What the sub_refresh command says.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct SubRefresh<'a> {
    /// Of which subscription.
    #[serde(borrow)]
    pub channel: Text<'a>,
    /// Its new token.
    #[serde(borrow)]
    pub token: Text<'a>,
}

/// What the rpc command says.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Rpc<'a> {
    /// What the backend is to do; may be empty.
    #[serde(borrow)]
    pub method: Text<'a>,
    /// With what, as written.
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
}

/// What the history command says.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct History<'a> {
    /// Of what.
    #[serde(borrow)]
    pub channel: Text<'a>,
    /// How many at most; 0: only the position; below 0: as many as may be.
    #[serde(deserialize_with = "null_is_empty")]
    pub limit: i32,
    /// The position to start behind.
    #[serde(borrow)]
    pub since: Option<Object<Since<'a>>>,
    /// From the newest to the oldest.
    #[serde(deserialize_with = "null_is_empty")]
    pub reverse: bool,
}

/// A position as clients write it.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Since<'a> {
    /// The publication.
    #[serde(deserialize_with = "null_is_empty")]
    pub offset: u64,
    /// The stream.
    #[serde(borrow)]
    pub epoch: Text<'a>,
}

/// A string, borrowed where it holds no escapes; `null` and a missing one are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text<'a>(Cow<'a, str>);

impl Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Text<'_> {
    /// It as a token; `None` if it is empty.
    pub fn shown(&self) -> Option<TokenText> {
        (!self.is_empty()).then(|| TokenText::new(self))
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_unit<E>(self) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

/// One object as it stands on the wire; exactly one of the methods is meant to be there.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Wire<'a> {
    #[serde(deserialize_with = "null_is_empty")]
    id: u32,
    #[serde(borrow)]
    connect: Option<Object<Connect<'a>>>,
    #[serde(borrow)]
    subscribe: Option<Object<Subscribe<'a>>>,
    #[serde(borrow)]
    unsubscribe: Option<Object<Channel<'a>>>,
    #[serde(borrow)]
    publish: Option<Object<Publish<'a>>>,
    #[serde(borrow)]
    presence: Option<Object<Channel<'a>>>,
    #[serde(borrow)]
    presence_stats: Option<Object<Channel<'a>>>,
    #[serde(borrow)]
    history: Option<Object<History<'a>>>,
    ping: Option<Object<Ignored>>,
    send: Option<Object<Ignored>>,
    #[serde(borrow)]
    rpc: Option<Object<Rpc<'a>>>,
    #[serde(borrow)]
    refresh: Option<Object<Refresh<'a>>>,
    #[serde(borrow)]
    sub_refresh: Option<Object<SubRefresh<'a>>>,
}

/// An object whose fields are of no use here.
#[derive(Debug, serde::Deserialize)]
struct Ignored {}

impl<'a> Wire<'a> {
    /// The command: the first method there is, in the order of the protocol's field numbers.
    fn command(self) -> Result<Command<'a>, Malformed> {
        let id = self.id;
        let method = if let Some(Object(connect)) = self.connect {
            Method::Connect(connect)
        } else if let Some(Object(subscribe)) = self.subscribe {
            Method::Subscribe(subscribe)
        } else if let Some(Object(unsubscribe)) = self.unsubscribe {
            Method::Unsubscribe(unsubscribe)
        } else if let Some(Object(publish)) = self.publish {
            Method::Publish(publish)
        } else if let Some(Object(presence)) = self.presence {
            Method::Presence(presence)
        } else if let Some(Object(stats)) = self.presence_stats {
            Method::PresenceStats(stats)
        } else if let Some(Object(history)) = self.history {
            Method::History(history)
        } else if self.ping.is_some() {
            // Clients of the first version sent it; today the server pings.
            return Err(Malformed::Incomplete);
        } else if self.send.is_some() {
            return Ok(Command { id, method: Method::Send });
        } else if let Some(Object(rpc)) = self.rpc {
            Method::Rpc(rpc)
        } else if let Some(Object(refresh)) = self.refresh {
            Method::Refresh(refresh)
        } else if let Some(Object(refresh)) = self.sub_refresh {
            Method::SubRefresh(refresh)
        } else if id == 0 {
            return Ok(Command { id, method: Method::Pong });
        } else {
            return Err(Malformed::Incomplete);
        };
        if id == 0 { Err(Malformed::Incomplete) } else { Ok(Command { id, method }) }
    }
}

fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn null_is_data<'de: 'a, 'a, D>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error>
where
    D: Deserializer<'de>,
{
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests;
