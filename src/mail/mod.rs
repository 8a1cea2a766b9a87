//! What may be sent to a shard, over bounded queues with one producer and one consumer each.
//!
//! Every pair of threads has its own *lanes*, so a producer knows the room before it pushes. A
//! shard has two kinds of lanes coming in:
//!
//! * **requests** (from acceptors, control and other shards): work that may need room in somebody
//!   else's lane before it can be done. A shard may leave the head of a request lane in place.
//! * **deliveries** (from other shards): always consumed, because taking one needs no room
//!   anywhere. So room always appears again, and two shards that publish to each other's channels
//!   cannot wait for each other.
//!
//! Waking: a shard that is about to wait clears its bell before it looks once more, at the lanes
//! for mail and at what it asked for room for an answer; whoever pushes or makes such room rings,
//! and only the first ring after a clear costs a system call.

mod auth;
mod bell;
mod channel;
mod flag;
mod lane;
mod news;
mod permit;
mod steer;
mod survey;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

pub use auth::{
    AuthAsk, AuthDesk, AuthPost, AuthRequest, AuthSender, HookAnswer, HookAsk, Ruling, TokenAsk,
    TokenKind, TokenResult, Verdict,
};
pub use bell::Bell;
pub use channel::{
    Answer, Ask, AskReply, Asker, Join, Joined, Leave, Notice, Question, Subscriber, Visibility,
};
pub use lane::{Post, Receiver, Sender, Wiring, wire};
pub use news::{News, NewsDropped, NewsEvent, NewsPlan, NewsPost, NewsSender, Party, carry_news};
pub use permit::{Permit, Permits};
pub use steer::{Deed, Enrolment, Selector, Steer, SteerReply};
pub use survey::{Found, Subject, Survey, Surveyed};

use crate::id::{ChannelName, ConnId, ShardId};
use crate::protocol::admission::Entry;
use crate::publication::{ClientInfo, Payload, Position, Publication, PublishOptions};
use crate::ws::DeflateParams;

/// Work asked of a shard. May wait at the head of its lane until the shard can do it.
#[derive(Debug)]
pub enum Request {
    /// An upgraded connection, from an acceptor.
    Connect(Box<Handoff>),
    /// A publish to a channel this shard owns, from control or a shard whose client published.
    Publish(Box<Publish>),
    /// Shard `from` has its first subscriber of `channel`: send it what is published from now on.
    Interest {
        /// Who asks.
        from: ShardId,
        /// Of which channel.
        channel: ChannelName,
    },
    /// Shard `from` has no subscriber of `channel` any more.
    Disinterest {
        /// Who asks.
        from: ShardId,
        /// Of which channel.
        channel: ChannelName,
    },
    /// A client of shard `from` subscribes: let it in, which is an interest too.
    Join(Box<Join>),
    /// A client whose subscription the owner keeps account of is not subscribed any more.
    Leave(Box<Leave>),
    /// A question about a channel this shard owns.
    Ask(Box<Ask>),
    /// A piece of a survey of everything the shard holds.
    Survey(Box<Survey>),
    /// What is to be done to clients of the shard.
    Steer(Box<Steer>),
    /// What a token says that a client of this shard showed, or a backend about the client.
    Verdict(Box<Verdict>),
    /// Close every client with 1001, spread over `window` from now.
    Drain {
        /// How long the closes are spread.
        window: Duration,
    },
    /// Leave the loop now: all clients are gone, or a second signal came.
    Stop,
}

/// News for a shard. Consumed without needing room anywhere.
#[derive(Debug)]
pub enum Delivery {
    /// A publication of a channel in which this shard registered interest.
    Publication(Arc<Publication>),
    /// The answer to [`Request::Interest`]: every publication after `position` follows in this
    /// lane. `None`: the owner's table of channels is full.
    Registered {
        /// Of which channel.
        channel: ChannelName,
        /// The channel's newest position, offset 0 when nothing was published.
        position: Option<Position>,
    },
    /// A publish that a client of this shard asked for was refused by the owner.
    PublishFailed {
        /// Whose it was; may be stale.
        conn: ConnId,
        /// Why.
        error: PublishError,
    },
    /// The outcome of a publish that a client of this shard wants to know.
    Published {
        /// Whose it was; may be stale.
        conn: ConnId,
        /// The number of its command.
        command: u32,
        /// What became of it.
        result: PublishResult,
    },
    /// The answer to [`Request::Join`].
    Joined(Box<Joined>),
    /// Who came or went in a channel in which this shard registered interest.
    Notice(Arc<Notice>),
    /// The answer to [`Request::Ask`].
    Answer {
        /// Whose the question was; may be stale.
        asker: Asker,
        /// What the owner knows.
        answer: Box<Answer>,
    },
}

/// An upgraded connection on its way from acceptor to shard.
#[derive(Debug)]
pub struct Handoff {
    /// The socket, its options set, non-blocking irrelevant (io_uring).
    pub socket: OwnedFd,
    /// The 101 response (RFC 6455 section 4.2.2), sent by the shard once the subscriptions are
    /// registered: who has seen the 101 misses nothing that is acknowledged afterwards.
    pub response: Vec<u8>,
    /// Bytes that came behind the request head; they belong to the frame decoder.
    pub leftover: Vec<u8>,
    /// The peer, through a trusted proxy where one is configured; for logs.
    pub peer: std::net::IpAddr,
    /// What the path asked for and admission granted.
    pub entry: Entry,
    /// What the 101 says about permessage-deflate; `None`: nothing is compressed. On `/raw` it is
    /// what [`DeflatePolicy::SHARED`](crate::ws::handshake::DeflatePolicy::SHARED) allows.
    pub deflate: Option<DeflateParams>,
    /// The connection's place among the shard's; given back at close.
    pub permit: Permit,
}

/// A publish on its way to the channel's owner shard.
#[derive(Debug)]
pub struct Publish {
    /// Where to.
    pub channel: ChannelName,
    /// What.
    pub payload: Payload,
    /// What the publisher asked for beside it.
    pub options: PublishOptions,
    /// The client that publishes, if others may know.
    pub info: Option<Arc<ClientInfo>>,
    /// When the gateway took it.
    pub accepted_at: Instant,
    /// Who wants to know the outcome.
    pub reply: Reply,
}

/// Where the outcome of a publish goes.
#[derive(Debug)]
pub enum Reply {
    /// An HTTP request waits in control. A dropped receiver is ignored.
    Control(oneshot::Sender<PublishResult>),
    /// A client of shard `shard`, told only of a failure: the raw protocol acknowledges nothing.
    ClientOnFailure {
        /// The client's shard.
        shard: ShardId,
        /// The client.
        conn: ConnId,
    },
    /// A client that waits for the reply to its command.
    Client(Asker),
}

/// The outcome of a publish: its position once the owner has numbered it.
pub type PublishResult = Result<Position, PublishError>;

/// Why control gets no answer to what is no publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// A mailbox has no room, or a shard has too much to do: the gateway is overloaded, try again.
    #[error("the gateway has too much to do; nothing was done, try again")]
    Full,
    /// The shard ended before it answered, because the process stops.
    #[error("the gateway is stopping")]
    Stopping,
}

/// Why a publish was not numbered; nothing was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// A mailbox on the way has no room: the gateway is overloaded, try again.
    #[error("a mailbox on the way is full; nothing was published, try again")]
    MailboxFull,
    /// The owner's table of channels is full and none of them is idle.
    #[error("the table of channels is full; nothing was published")]
    ChannelsFull,
    /// The channel's namespace is not configured.
    #[error("the channel's namespace is not configured; nothing was published")]
    UnknownChannel,
    /// The channel takes JSON, and the payload is none.
    #[error("the channel takes JSON only, and this is none; nothing was published")]
    NotJson,
    /// The owner ended before it answered, because the process stops. Nothing was acknowledged.
    #[error("the gateway is stopping; the publication was not accepted")]
    Stopping,
}

/// What flags and permits are made of. `tests/mail_orderings.rs` puts loom's in their place.
mod sync {
    pub(super) use std::sync::Arc;
    pub(super) use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_loaded_shard_first_and_bound_holds() {
        let permits = Permits::new(2, 3);
        let first = permits.take().expect("empty");
        let second = permits.take().expect("one left");
        assert_ne!(first.shard(), second.shard());
        let third = permits.take().expect("last");
        assert!(permits.take().is_none());
        let shard = third.shard();
        third.keep();
        drop(second);
        assert_eq!(permits.total(), 2);
        permits.give_back(shard);
        drop(first);
        assert_eq!(permits.total(), 0);
    }
}
