//! The methods of the HTTP API, by name.

/// One method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// To one channel.
    Publish,
    /// To several channels.
    Broadcast,
    /// Subscribes clients.
    Subscribe,
    /// Ends subscriptions of clients.
    Unsubscribe,
    /// Ends clients' connections.
    Disconnect,
    /// Ends them, for their time is over.
    Refresh,
    /// Who is in a channel.
    Presence,
    /// How many are in a channel.
    PresenceStats,
    /// What was published to a channel.
    History,
    /// Forgets it.
    HistoryRemove,
    /// Which channels have subscribers.
    Channels,
    /// What this process is and does.
    Info,
    /// A call to the backend.
    Rpc,
    /// Several of these.
    Batch,
}

impl Method {
    /// All of them, in the order of the documentation.
    pub(super) const ALL: [Self; 14] = [
        Self::Publish,
        Self::Broadcast,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Disconnect,
        Self::Refresh,
        Self::Presence,
        Self::PresenceStats,
        Self::History,
        Self::HistoryRemove,
        Self::Channels,
        Self::Info,
        Self::Rpc,
        Self::Batch,
    ];

    /// The method called `name`.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    /// Its name, the last part of its path.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Broadcast => "broadcast",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Disconnect => "disconnect",
            Self::Refresh => "refresh",
            Self::Presence => "presence",
            Self::PresenceStats => "presence_stats",
            Self::History => "history",
            Self::HistoryRemove => "history_remove",
            Self::Channels => "channels",
            Self::Info => "info",
            Self::Rpc => "rpc",
            Self::Batch => "batch",
        }
    }
}
