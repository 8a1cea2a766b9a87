//! What control asks every shard about all it holds, piece by piece.

use tokio::sync::oneshot;

use crate::id::ChannelName;

/// A piece of a survey: the shard looks at no more than a turn allows.
#[derive(Debug)]
pub struct Survey {
    /// Of what.
    pub subject: Subject,
    /// Where to begin: 0, or what the piece before ended with.
    pub cursor: usize,
    /// Where the answer goes. A dropped receiver is ignored.
    pub reply: oneshot::Sender<Surveyed>,
}

/// What a survey is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The channels that have subscribers on the shard.
    Channels,
    /// The users of its clients.
    Users,
}

/// A piece of the answer.
#[derive(Debug)]
pub struct Surveyed {
    /// What was found.
    pub found: Found,
    /// Where the next piece begins; `None`: this was the last.
    pub next: Option<usize>,
}

/// What a piece of a survey found.
#[derive(Debug)]
pub enum Found {
    /// Channels, with their subscribers on this shard.
    Channels(Vec<(ChannelName, usize)>),
    /// A fingerprint of the user of each client, [`crate::id::Owners::fingerprint`].
    Users(Vec<u64>),
}
