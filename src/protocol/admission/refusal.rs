//! Why a request gets no 101 and no page.

use std::sync::Arc;

use super::super::channel::{self, Denied};
use super::super::claims::TokenRefused;
use super::super::hook::HookRefused;
use crate::id::ChannelName;
use crate::limits;
use crate::ws::handshake::{HandshakeError, Reply, Status};

/// What a client may be refused in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelRight {
    /// To receive what is published.
    Subscribe,
    /// To publish.
    Publish,
}

/// A request that is answered with an HTTP error, after which the connection ends. The texts say
/// what was wrong, where, and what to do; what a peer sent is quoted and escaped in them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request breaks the rules of HTTP or of the opening handshake.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// There is nothing at this path.
    #[error("there is nothing at this path; WebSocket clients connect to /raw?channel=NAME")]
    PathUnknown,
    /// `/echo` is not configured.
    #[error("/echo is switched off; the operator enables it with `enabled = true` under [echo]")]
    EchoDisabled,
    /// A web page of another host.
    #[error(
        "pages of {origin:?} may not connect to {host:?}; the operator allows it under [server] \
         with origins = [{origin:?}]"
    )]
    OriginNotAllowed {
        /// The page's origin as sent.
        origin: Box<str>,
        /// The host it connected to, as sent.
        host: Box<str>,
    },
    /// `/raw` without a channel.
    #[error("the query names no channel; connect to /raw?channel=NAME")]
    ChannelMissing,
    /// A channel without a name.
    #[error("channel number {number} of the query is empty; give it a name")]
    ChannelEmpty {
        /// Which one, counted from 1.
        number: usize,
    },
    /// A channel's name above [`limits::CHANNEL_NAME_MAX`].
    #[error(
        "the name of channel number {number} of the query is longer than {} bytes; shorten it",
        limits::CHANNEL_NAME_MAX
    )]
    ChannelTooLong {
        /// Which one, counted from 1.
        number: usize,
    },
    /// A channel's name that is not UTF-8.
    #[error("the name of channel number {number} of the query is not UTF-8; encode it as UTF-8")]
    ChannelNotUtf8 {
        /// Which one, counted from 1.
        number: usize,
    },
    /// More channels than [`limits::CHANNELS_PER_CONNECTION_MAX`].
    #[error(
        "the query names more than {} channels; open another connection for the rest",
        limits::CHANNELS_PER_CONNECTION_MAX
    )]
    ChannelsTooMany,
    /// `publish` is neither `0` nor `1`.
    #[error("publish takes 1 or 0; leave it out to subscribe only")]
    PublishMalformed,
    /// The channel's options do not grant it.
    #[error("{}", not_allowed(*what, channel, *denied))]
    NotAllowed {
        /// What was asked for.
        what: ChannelRight,
        /// Where.
        channel: ChannelName,
        /// Why not.
        denied: Denied,
    },
    /// A backend decides about each publication, and this protocol has no way to ask.
    #[error(
        "publishing to {channel:?} is decided by a backend, message by message, which this protocol \
         cannot ask: leave publish=1 out and publish with the Centrifuge protocol"
    )]
    PublishAsksBackend {
        /// Where.
        channel: ChannelName,
    },
    /// A backend says no.
    #[error("the application refuses this: {} (code {code})", message.escape_debug())]
    BackendRefused {
        /// Its number for it.
        code: u32,
        /// Its text for it.
        message: Arc<str>,
        /// Whether the same may be granted later.
        temporary: bool,
    },
    /// A backend that decides did not answer.
    #[error("the application does not answer; try again later")]
    BackendUnanswered,
    /// A token in the header and in the query, or twice in one of them.
    #[error("the request shows more than one token; send one, as Authorization: Bearer or ?token=")]
    TokenTwice,
    /// The token does not count.
    #[error(transparent)]
    Token(#[from] TokenRefused),
    /// The Centrifuge protocol was asked for in Protobuf.
    #[error(
        "this gateway speaks the Centrifuge protocol in JSON only: offer the subprotocol \
         centrifuge-json or none, and leave format=protobuf out of the address"
    )]
    ProtobufUnknown,
    /// The process holds as many connections as it may, or the descriptors for them ran out.
    #[error("this gateway is full; try again later")]
    Full,
    /// The shard's mailbox has no room.
    #[error("this gateway is overloaded; try again later")]
    Overloaded,
    /// The process is about to stop.
    #[error("this gateway is shutting down; connect again, to another one if there is one")]
    Draining,
}

/// What is not allowed, why, and what the operator does about it.
fn not_allowed(what: ChannelRight, channel: &str, denied: Denied) -> String {
    let (doing, key) = match what {
        ChannelRight::Subscribe => ("subscribing", "allow_subscribe"),
        ChannelRight::Publish => ("publishing", "allow_publish"),
    };
    let table = match channel::namespace(channel) {
        Some(namespace) => format!("[namespace.{namespace:?}]"),
        None => "[channel]".to_owned(),
    };
    let remedy = match denied {
        Denied::UnknownNamespace => format!("the operator adds it as {table}"),
        Denied::NameRestricted => "the users are named behind its #; $ means nobody".to_owned(),
        Denied::NotAvailable | Denied::NotPermitted => {
            format!("the operator allows it under {table} with {key} = \"anyone\"")
        }
    };
    format!("{doing} to {channel:?} is not allowed: {denied}; {remedy}")
}

impl From<HookRefused> for Refusal {
    fn from(refused: HookRefused) -> Self {
        match refused {
            HookRefused::Error { code, message, temporary } => {
                Self::BackendRefused { code, message, temporary }
            }
            HookRefused::Disconnect { code, reason } => {
                let (code, message) = (code.get().into(), reason);
                Self::BackendRefused { code, message, temporary: false }
            }
            HookRefused::Unanswered => Self::BackendUnanswered,
        }
    }
}

impl Refusal {
    /// The status of the answer.
    pub fn status(&self) -> Status {
        match self {
            Self::Handshake(error) => error.status(),
            Self::PathUnknown | Self::EchoDisabled => Status::NotFound,
            Self::Token(refused) if refused.is_temporary() => Status::Unavailable,
            Self::Token(_) => Status::Unauthorized,
            Self::BackendRefused { temporary: true, .. } | Self::BackendUnanswered => {
                Status::Unavailable
            }
            Self::OriginNotAllowed { .. }
            | Self::NotAllowed { .. }
            | Self::PublishAsksBackend { .. }
            | Self::BackendRefused { .. } => Status::Forbidden,
            Self::ChannelMissing
            | Self::ChannelEmpty { .. }
            | Self::ChannelTooLong { .. }
            | Self::ChannelNotUtf8 { .. }
            | Self::ChannelsTooMany
            | Self::PublishMalformed
            | Self::TokenTwice
            | Self::ProtobufUnknown => Status::BadRequest,
            Self::Full | Self::Overloaded | Self::Draining => Status::Unavailable,
        }
    }

    /// Appends the answer to `out`. `head_only`: the request was a HEAD, whose answer has no body.
    pub fn append_reply(&self, out: &mut Vec<u8>, head_only: bool) {
        match self {
            Self::Handshake(error) => error.append_reply(out, head_only),
            Self::Token(refused) if !refused.is_temporary() => {
                // RFC 6750 section 3.
                let headers = [("WWW-Authenticate", "Bearer error=\"invalid_token\"")];
                Reply::text(self.status(), &headers, &self.to_string()).append(out, head_only);
            }
            _ if self.status() == Status::Unavailable => {
                let seconds = limits::RETRY_AFTER_S.to_string();
                let headers = [("Retry-After", &*seconds)];
                Reply::text(self.status(), &headers, &self.to_string()).append(out, head_only);
            }
            _ => Reply::text(self.status(), &[], &self.to_string()).append(out, head_only),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_escape_what_a_peer_sent() {
        for denied in [Denied::UnknownNamespace, Denied::NameRestricted, Denied::NotPermitted] {
            let channel = "a\r\n\u{1b}[31m\":b\r\n".into();
            let refusal = Refusal::NotAllowed { what: ChannelRight::Publish, channel, denied };
            let text = refusal.to_string();
            assert!(text.starts_with(r#"publishing to "a\r\n\u{1b}[31m\":b\r\n" is"#), "{text}");
            assert!(!text.contains(['\r', '\n', '\u{1b}']), "{text}");
        }
    }

    #[test]
    fn only_want_of_room_asks_to_come_back() {
        for (refusal, retry) in
            [(Refusal::Full, true), (Refusal::Draining, true), (Refusal::PathUnknown, false)]
        {
            let mut out = Vec::new();
            refusal.append_reply(&mut out, false);
            let answer = String::from_utf8(out).expect("text");
            assert_eq!(answer.contains("\r\nRetry-After: 5\r\n"), retry, "{answer}");
        }
    }
}
