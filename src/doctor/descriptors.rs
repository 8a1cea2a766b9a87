//! How many clients the descriptors of the process hold, and how many table slots help out.

use crate::config::{Config, Descriptors};
use crate::limits;
use crate::ring::TableSizes;

/// Descriptors that `config` needs for other things than clients.
pub(super) fn reserved(config: &Config) -> u64 {
    DESCRIPTORS_PROCESS + u64::from(config.server.shards.get()) * DESCRIPTORS_PER_CORE
}

/// The table each shard's ring is to have for `config` under a limit of `open_files`, if slots work
/// here; `None`: descriptors are enough, or all that may be used.
pub fn wanted_table(config: &Config, open_files: u64) -> Option<TableSizes> {
    let shards = u64::from(config.server.shards.get());
    let connections = u64::from(config.limits.connections);
    let room = open_files.saturating_sub(reserved(config));
    let ordinary_max = match config.server.descriptors {
        Descriptors::Ordinary => return None,
        Descriptors::Auto if connections <= room => return None,
        Descriptors::Auto => room / limits::DESCRIPTORS_SHARE / shards,
        Descriptors::Table => 0,
    };
    // A new connection goes to the least loaded shard, so none gets more than its part.
    let slots = connections.div_ceil(shards).min(open_files).min(limits::TABLE_SLOTS_MAX.into());
    Some(TableSizes { slots: narrow(slots), ordinary_max: narrow(ordinary_max) })
}

/// Clients that `config` has descriptors or slots for.
pub(super) fn client_room(config: &Config, open_files: u64, table: Option<TableSizes>) -> u64 {
    let Some(TableSizes { slots, ordinary_max }) = table else {
        return open_files.saturating_sub(reserved(config));
    };
    let of_shard = u64::from(slots) + u64::from(ordinary_max);
    u64::from(config.server.shards.get()) * of_shard
}

fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Descriptors of the process whatever it serves: standard streams, listeners, the runtime's, and
/// some connections of the admin port.
const DESCRIPTORS_PROCESS: u64 = 64;

/// Descriptors of a shard and its acceptor: two rings, their wake-ups, a copy of the listener.
const DESCRIPTORS_PER_CORE: u64 = 8;
