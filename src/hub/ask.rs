//! What the owner of a channel is asked, and what it answers.

use std::sync::Arc;

use super::{ChannelsFull, InterestSet};
use crate::publication::{ClientInfo, Entry, Epoch, Position};

/// What is kept of a channel's publications. The default keeps nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamOptions {
    /// Publications kept; 0 for no history.
    pub history_size: usize,
    /// Milliseconds each is kept; 0 for no history.
    pub history_ttl_ms: u64,
    /// Milliseconds offset and epoch outlive the last use of a stream with history. A use is a
    /// publish, a join, a question for history, or the last listener's leaving.
    pub history_meta_ttl_ms: u64,
}

impl StreamOptions {
    /// Whether publications are kept at all.
    pub fn keeps_history(&self) -> bool {
        self.history_size > 0 && self.history_ttl_ms > 0
    }
}

/// What became of a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The publication's position, or that of the first with the same idempotency key; for a stale
    /// one the stream's newest. Offset 0 if the publication is not part of the stream.
    pub position: Position,
    /// Who listens.
    pub interest: InterestSet,
    /// What happened.
    pub fate: Fate,
}

/// Whether a publish made a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// To be sent to everyone in `interest`. `None`: nobody listens, nothing was kept.
    Accepted(Option<Arc<Entry>>),
    /// Its idempotency key was used before; the answer is the same again.
    Duplicate,
    /// Its version is not newer than the channel's.
    Stale,
}

/// An epoch as a client asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedEpoch {
    /// None given: taken as the stream's own.
    Any,
    /// This one.
    Known(Epoch),
    /// A text that was never an epoch here.
    Foreign,
}

impl AskedEpoch {
    /// What a request's text means.
    pub fn from_text(text: &str) -> Self {
        match Epoch::parse(text) {
            Some(epoch) => Self::Known(epoch),
            None if text.is_empty() => Self::Any,
            None => Self::Foreign,
        }
    }

    pub(super) fn fits(self, epoch: Epoch) -> bool {
        match self {
            Self::Any => true,
            Self::Known(asked) => asked == epoch,
            Self::Foreign => false,
        }
    }
}

/// The last publication somebody has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// Its offset, 0 for none.
    pub offset: u64,
    /// The stream's life then.
    pub epoch: AskedEpoch,
}

/// What a joining client wants to be given first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recover {
    /// Nothing.
    No,
    /// Every publication after this one, without a gap, at most `limits::RECOVERY_MAX`.
    Stream(Since),
    /// The newest publication, unless it is this one.
    Cache(Since),
}

/// A subscription on its way in.
#[derive(Clone, Debug)]
pub struct JoinAsk {
    /// What it missed.
    pub recover: Recover,
    /// Who joins, if the channel has presence.
    pub presence: Option<Arc<ClientInfo>>,
}

/// The owner's answer to a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The stream's newest position: what is numbered after it follows in the lane.
    pub position: Position,
    /// Whether what was missed is in `publications`, or nothing was missed.
    pub recovered: bool,
    /// In order, at most `limits::RECOVERY_MAX`.
    pub publications: Vec<Arc<Entry>>,
}

/// A question for a channel's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryAsk {
    /// Publications wanted at most; 0 for the position alone. The caller bounds it.
    pub limit: usize,
    /// Begin behind this one, in the direction asked for; `None`: at the end.
    pub since: Option<Since>,
    /// From the newest to the oldest.
    pub reverse: bool,
}

/// A page of history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The stream's newest position.
    pub position: Position,
    /// In the order asked for.
    pub publications: Vec<Arc<Entry>>,
}

/// Why there is no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryFault {
    /// The question names another life of the stream (Centrifuge error 112).
    #[error("the stream's epoch is another one than asked for")]
    Unrecoverable,
    /// The owner cannot take one more channel.
    #[error(transparent)]
    ChannelsFull(#[from] ChannelsFull),
}

/// How many are in a channel with presence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PresenceStats {
    /// Connections.
    pub num_clients: usize,
    /// Different users among them.
    pub num_users: usize,
}
