//! What shards ask a channel's owner on behalf of clients, and what it answers.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::hub::{
    self, ChannelsFull, HistoryAsk, HistoryFault, JoinTicket, Page, PresenceStats, Recover,
};
use crate::id::{ChannelName, ConnId, ShardId};
use crate::publication::ClientInfo;

/// One subscription of one client; stale once its connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// The client's shard.
    pub shard: ShardId,
    /// The client.
    pub conn: ConnId,
    /// Which of its subscriptions.
    pub subscription_index: u8,
}

/// A subscription on its way to the channel's owner.
#[derive(Debug)]
pub struct Join {
    /// To what.
    pub channel: ChannelName,
    /// Whose it is.
    pub subscriber: Subscriber,
    /// Comes back with the answer.
    pub ticket: JoinTicket,
    /// What it missed.
    pub recover: Recover,
    /// Who it is, for presence and notices.
    pub info: Arc<ClientInfo>,
    /// Who learns of it.
    pub visibility: Visibility,
}

/// Who learns of a subscription: as the channel has it, unless a token or a backend says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Visibility {
    /// Whoever asks who is there.
    pub presence: bool,
    /// Subscribers that want to know who comes and goes.
    pub join_leave: bool,
}

/// The owner's answer to a [`Join`]. Everything numbered after it follows in the same lane.
#[derive(Debug)]
pub struct Joined {
    /// Whose it is; may be stale. The ticket is taken back all the same.
    pub subscriber: Subscriber,
    /// As it was sent.
    pub ticket: JoinTicket,
    /// Where it begins and what it missed.
    pub result: Result<hub::Joined, ChannelsFull>,
    /// The notice of this join, for those on this shard who want it; others get it as mail.
    pub notice: Option<Arc<Notice>>,
}

/// A subscription that is over, for presence and notices.
#[derive(Debug)]
pub struct Leave {
    /// Of what.
    pub channel: ChannelName,
    /// Whose it was.
    pub info: Arc<ClientInfo>,
    /// Who learned of it.
    pub visibility: Visibility,
}

/// Who came or went: a frame for the subscribers that asked for such news.
#[derive(Debug)]
pub struct Notice {
    /// Where.
    pub channel: ChannelName,
    /// A text frame of the Centrifuge protocol, header included.
    pub frame: Arc<[u8]>,
}

/// A question to the owner of a channel.
#[derive(Debug)]
pub struct Ask {
    /// About what.
    pub channel: ChannelName,
    /// What.
    pub question: Question,
    /// Whose.
    pub reply: AskReply,
}

/// Who wants the answer to a question.
#[derive(Debug)]
pub enum AskReply {
    /// A client.
    Client(Asker),
    /// An HTTP request waits in control. A dropped receiver is ignored.
    Control(oneshot::Sender<Answer>),
}

/// Where an answer goes; stale once the connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The client's shard.
    pub shard: ShardId,
    /// The client.
    pub conn: ConnId,
    /// The number of its command.
    pub command: u32,
}

/// What may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Earlier publications.
    History(HistoryAsk),
    /// Who is there.
    Presence,
    /// How many are there.
    PresenceStats,
    /// That earlier publications be forgotten.
    HistoryRemove,
}

/// What is answered.
#[derive(Debug)]
pub enum Answer {
    /// To [`Question::History`].
    History(Result<Page, HistoryFault>),
    /// To [`Question::Presence`].
    Presence(Vec<Arc<ClientInfo>>),
    /// To [`Question::PresenceStats`].
    PresenceStats(PresenceStats),
    /// To [`Question::HistoryRemove`].
    HistoryRemoved,
}
