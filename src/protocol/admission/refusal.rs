//! Why a request gets no 101 and no page.

use crate::id::ChannelName;
use crate::limits;
use crate::ws::handshake::{HandshakeError, Reply, Status};

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
    /// No pattern grants the subscription.
    #[error(
        "subscribing to {channel:?} is not allowed; the operator allows it under [raw] with \
         allow_subscribe = [{channel:?}]"
    )]
    SubscribeNotAllowed {
        /// To what.
        channel: ChannelName,
    },
    /// No pattern grants the publishing.
    #[error(
        "publishing to {channel:?} is not allowed; the operator allows it under [raw] with \
         allow_publish = [{channel:?}]"
    )]
    PublishNotAllowed {
        /// To what.
        channel: ChannelName,
    },
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

impl Refusal {
    /// The status of the answer.
    pub fn status(&self) -> Status {
        match self {
            Self::Handshake(error) => error.status(),
            Self::PathUnknown | Self::EchoDisabled => Status::NotFound,
            Self::OriginNotAllowed { .. }
            | Self::SubscribeNotAllowed { .. }
            | Self::PublishNotAllowed { .. } => Status::Forbidden,
            Self::ChannelMissing
            | Self::ChannelEmpty { .. }
            | Self::ChannelTooLong { .. }
            | Self::ChannelNotUtf8 { .. }
            | Self::ChannelsTooMany
            | Self::PublishMalformed => Status::BadRequest,
            Self::Full | Self::Overloaded | Self::Draining => Status::Unavailable,
        }
    }

    /// Appends the answer to `out`. `head_only`: the request was a HEAD, whose answer has no body.
    pub fn append_reply(&self, out: &mut Vec<u8>, head_only: bool) {
        match self {
            Self::Handshake(error) => error.append_reply(out, head_only),
            Self::Full | Self::Overloaded | Self::Draining => {
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
        let refusal = Refusal::SubscribeNotAllowed { channel: "a\r\n\u{1b}[31m\"".into() };
        let text = refusal.to_string();
        assert!(text.contains(r#"allow_subscribe = ["a\r\n\u{1b}[31m\""]"#), "{text}");
        assert!(!text.contains(['\r', '\n', '\u{1b}']));
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
