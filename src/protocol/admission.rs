//! Which paths, channels and permissions are acceptable before the 101.

use crate::id::ChannelName;

/// What an admitted connection is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// `/echo`: every message comes back.
    Echo,
    /// `/raw`: publications of `channels` arrive as messages.
    Raw(RawEntry),
}

/// What `/raw` was asked for and granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEntry {
    /// At least one, at most `limits::CHANNELS_PER_CONNECTION_MAX`, without duplicates, in the
    /// order asked.
    pub channels: Box<[ChannelName]>,
    /// Whether messages of the client are published to the first channel.
    pub publish: bool,
}
