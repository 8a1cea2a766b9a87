//! What backends are asked about clients, and what they may answer.
//!
//! Pure values: they travel between whoever needs the answer and `auth`, which does the asking.

use std::fmt;
use std::sync::Arc;

use super::claims::{ConnectClaims, SubscriptionClaims, TokenText};
use crate::id::{ChannelName, ClientKey};
use crate::ws::CloseCode;

/// An occasion on which a backend is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A client connects.
    Connect,
    /// A client subscribes.
    Subscribe,
    /// A client publishes.
    Publish,
    /// A client calls the backend.
    Rpc,
    /// The time of a connection is over.
    Refresh,
    /// The time of a subscription is over.
    SubRefresh,
}

impl Hook {
    /// How many there are.
    pub const COUNT: usize = 6;

    /// All of them, by index.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Connect, Self::Subscribe, Self::Publish, Self::Rpc, Self::Refresh, Self::SubRefresh];

    /// Its place in arrays that hold one entry per hook.
    pub fn index(self) -> usize {
        self as usize
    }

    /// As it is called in settings, metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Rpc => "rpc",
            Self::Refresh => "refresh",
            Self::SubRefresh => "sub_refresh",
        }
    }
}

/// Which hooks somebody answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookSet([bool; Hook::COUNT]);

impl HookSet {
    /// Those for which `is_in` holds.
    pub fn of(is_in: impl Fn(Hook) -> bool) -> Self {
        Self(Hook::ALL.map(is_in))
    }

    /// Whether `hook` is among them.
    pub fn has(self, hook: Hook) -> bool {
        self.0[hook.index()]
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// One question about one client.
#[derive(Clone, Debug)]
pub struct HookCall {
    /// The connection, as others know it.
    pub client: ClientKey,
    /// The user; empty for an anonymous client, and before it is known.
    pub user: Arc<str>,
    /// What it speaks.
    pub dialect: Dialect,
    /// JSON text that the connect hook or the connection's token gave for backends.
    pub meta: Option<Arc<str>>,
    /// What is asked.
    pub topic: Topic,
}

/// What a client speaks, as backends are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The Centrifuge protocol in JSON.
    Json,
    /// The raw protocol.
    Raw,
}

/// What a backend is asked. All `data` is JSON text as the client wrote it.
#[derive(Clone, Debug)]
pub enum Topic {
    /// Who it is, and whether it may stay.
    Connect(Box<Newcomer>),
    /// Whether it may subscribe.
    Subscribe {
        /// To what.
        channel: ChannelName,
        /// The token it showed, where tokens are for the backend to check.
        token: Option<TokenText>,
        /// What it says.
        data: Option<Box<str>>,
    },
    /// Whether it may publish.
    Publish {
        /// Where to.
        channel: ChannelName,
        /// What.
        data: Box<str>,
    },
    /// What a method gives.
    Rpc {
        /// Which.
        method: Box<str>,
        /// With what.
        data: Option<Box<str>>,
    },
    /// Whether it may stay.
    Refresh,
    /// Whether it may stay subscribed.
    SubRefresh {
        /// To what.
        channel: ChannelName,
    },
}

/// What is known of a client that connects.
#[derive(Clone, Debug, Default)]
pub struct Newcomer {
    /// The token it showed, where tokens are for the backend to check.
    pub token: Option<TokenText>,
    /// What kind of client it says to be.
    pub name: Box<str>,
    /// Of which version.
    pub version: Box<str>,
    /// To what it will subscribe, as far as it has said so.
    pub channels: Box<[ChannelName]>,
    /// What it says.
    pub data: Option<Box<str>>,
    /// Headers of its request.
    pub headers: ForwardedHeaders,
}

/// Values of those headers of a request that a backend gets to see, each with the place of its name
/// in the list of the settings. Shows in no log: cookies are among them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ForwardedHeaders(pub Box<[(usize, Box<[u8]>)]>);

impl fmt::Debug for ForwardedHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} headers]", self.0.len())
    }
}

impl HookCall {
    /// The hook that is asked.
    pub fn hook(&self) -> Hook {
        match self.topic {
            Topic::Connect(_) => Hook::Connect,
            Topic::Subscribe { .. } => Hook::Subscribe,
            Topic::Publish { .. } => Hook::Publish,
            Topic::Rpc { .. } => Hook::Rpc,
            Topic::Refresh => Hook::Refresh,
            Topic::SubRefresh { .. } => Hook::SubRefresh,
        }
    }

    /// The channel it is about, if it is about one.
    pub fn channel(&self) -> Option<&ChannelName> {
        match &self.topic {
            Topic::Subscribe { channel, .. }
            | Topic::Publish { channel, .. }
            | Topic::SubRefresh { channel } => Some(channel),
            Topic::Connect(_) | Topic::Rpc { .. } | Topic::Refresh => None,
        }
    }
}

/// What became of a question.
pub type HookOutcome = Result<HookReply, HookRefused>;

/// What a backend grants. All texts are JSON, at most `limits::JSON_DEPTH_MAX` deep, in which line
/// ends may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookReply {
    /// To [`Topic::Connect`].
    Connect(ConnectClaims),
    /// To [`Topic::Subscribe`].
    Subscribe(SubscriptionClaims),
    /// To [`Topic::Publish`].
    Publish {
        /// What is published instead.
        data: Option<Arc<str>>,
        /// Whether it is delivered and not kept.
        skip_history: bool,
    },
    /// To [`Topic::Rpc`].
    Rpc {
        /// For the client.
        data: Option<Arc<str>>,
    },
    /// To [`Topic::Refresh`] and [`Topic::SubRefresh`].
    Refresh(Refreshed),
}

/// What a backend says of something whose time is over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// It ends.
    pub expired: bool,
    /// Until when it goes on, in seconds since 1970; `None`: for ever.
    pub expire_at: Option<u64>,
    /// What others see from now on; `None`: as before.
    pub info: Option<Arc<str>>,
}

/// Why a backend's answer grants nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookRefused {
    /// It said so.
    Error {
        /// Its number for it, not 0.
        code: u32,
        /// Its text for it.
        message: Arc<str>,
        /// Whether the client may try again.
        temporary: bool,
    },
    /// The connection is to be closed.
    Disconnect {
        /// With this code, 3000 to 4999.
        code: CloseCode,
        /// And this reason.
        reason: Arc<str>,
    },
    /// There was no answer, or none that is understood: later there may be.
    Unanswered,
}
