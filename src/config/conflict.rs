//! Settings that do not go together.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::value::duration_text;

/// Which settings do not go together, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// One publication with its frame header does not fit into an empty outbox.
    OutboxBelowPublication {
        /// The outbox.
        outbox: usize,
        /// What it must hold.
        needed: usize,
    },
    /// A shard's budget is smaller than one outbox.
    ShardBelowOutbox {
        /// The budget.
        shard: usize,
        /// One outbox.
        outbox: usize,
    },
    /// The completion queue is smaller than two submission queues.
    CompletionsBelowSubmissions {
        /// Submission queue entries.
        submissions: u32,
        /// Completion queue entries.
        completions: u32,
    },
    /// A ping would be sent before the answer to the one before it is late.
    PongAfterNextPing {
        /// From ping to pong.
        pong: Duration,
        /// Between pings.
        ping: Duration,
    },
    /// More connections than the shards have slots.
    ConnectionsAboveSlots {
        /// The connections.
        connections: u32,
        /// The slots of all shards.
        slots: u32,
    },
    /// Clients and admin would share one port.
    SamePort {
        /// Where clients connect.
        listen: SocketAddr,
        /// Where the admin port is.
        admin: SocketAddr,
    },
    /// The admin port would be open to the network without a key.
    AdminWithoutKey {
        /// Where the admin port is.
        admin: SocketAddr,
    },
    /// A core is outside the affinity mask.
    CoreNotAllowed {
        /// The core.
        core: usize,
    },
    /// No client could be subscribed to its personal channel.
    PersonalChannelsClosed,
    /// Recovery is on and nothing is kept to recover from.
    RecoveryWithoutHistory,
    /// Publications may be dropped, and subscribers count on a position without gaps.
    DropsWithPosition,
    /// Publications would be forgotten before or with the stream they stand in.
    MetaBelowHistory {
        /// How long the stream's position is kept.
        meta: Duration,
        /// How long its publications are kept.
        history: Duration,
    },
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutboxBelowPublication { outbox, needed } => write!(
                f,
                "one publication must fit into an empty outbox: raise limits.outbox_bytes from \
                 {outbox} to at least {needed} bytes, or lower limits.publication_size"
            ),
            Self::ShardBelowOutbox { shard, outbox } => write!(
                f,
                "a shard's outboxes must hold at least one: raise limits.outbox_shard_bytes from \
                 {shard} to at least {outbox} bytes, or lower limits.outbox_bytes"
            ),
            Self::CompletionsBelowSubmissions { submissions, completions } => write!(
                f,
                "each submission may complete more than once: raise limits.cq_entries from \
                 {completions} to at least {}, or lower limits.sq_entries",
                u64::from(*submissions) * 2
            ),
            Self::PongAfterNextPing { pong, ping } => write!(
                f,
                "a ping must be answered before the next one: lower limits.pong_timeout from {} \
                 to at most {}, or raise limits.ping_interval",
                duration_text(*pong),
                duration_text(*ping)
            ),
            Self::ConnectionsAboveSlots { connections, slots } => write!(
                f,
                "{connections} connections do not fit into the shards: lower limits.connections \
                 to at most {slots}, or raise server.shards"
            ),
            Self::SamePort { listen, admin } => write!(
                f,
                "clients ({listen}) and admin ({admin}) need ports of their own: change \
                 server.listen or server.admin"
            ),
            Self::AdminWithoutKey { admin } => write!(
                f,
                "the admin address {admin} is not loopback and there is no API key, so anyone who \
                 reaches it could publish: set TIDEGATE_API_KEY or server.api_key_file, or bind \
                 server.admin to 127.0.0.1"
            ),
            Self::PersonalChannelsClosed => f.write_str(
                "no client could have a personal channel there: give that namespace a table \
                 [namespace.NAME] with publication_format = \"json\", or change \
                 client.personal_namespace",
            ),
            Self::RecoveryWithoutHistory => f.write_str(
                "recovery needs something to recover from: set both history_size and history_ttl, \
                 or recovery = false",
            ),
            Self::DropsWithPosition => f.write_str(
                "a slow subscriber would miss publications and believe that it has them: set \
                 recovery to \"cache\" or false and positioning = false, or slow_consumer = \
                 \"disconnect\"",
            ),
            Self::MetaBelowHistory { meta, history } => write!(
                f,
                "a stream must be known for as long as its publications are kept: raise \
                 history_meta_ttl from {} to at least {}, or lower history_ttl",
                duration_text(*meta),
                duration_text(*history)
            ),
            Self::CoreNotAllowed { core } => write!(
                f,
                "core {core} of server.cpus is not among those this process may use: change \
                 server.cpus, or the mask (taskset, cpuset) the process starts with"
            ),
        }
    }
}
