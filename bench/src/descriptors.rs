//! How connections are held where there may be more of them than open files: each thread's ring has
//! a table, whose slots are no open files.

use clap::ValueEnum;
use rustix::process::{Resource, getrlimit};
use tidegate::ring::{TableFault, TableSizes, probe_table};

use crate::cli::ConnectArgs;
use crate::dial::IN_FLIGHT_MAX;

/// What holds a connection once it is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Descriptors {
    /// Descriptors where there are enough for all connections, else slots.
    #[default]
    Auto,
    /// A descriptor each.
    Ordinary,
    /// A slot of its thread's ring each.
    Table,
}

/// Why there cannot be so many connections.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    #[error("connections cannot be held in table slots: {0}")]
    Fault(#[from] TableFault),
    #[error(
        "{connections} connections are more than {limit} open files and need table slots, at most as many per thread: add --threads {threads}"
    )]
    Threads { connections: u32, limit: u64, threads: u64 },
}

/// The table of each thread's ring for the connections of `connect`; `None`: descriptors hold them,
/// as far as there are any.
///
/// # Errors
/// There are too few threads, or slots are asked for and do not work.
pub(crate) fn table(connect: &ConnectArgs) -> Result<Option<TableSizes>, TableError> {
    let ConnectArgs { connections, threads, .. } = *connect;
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let others = OTHERS + u64::from(threads) * (IN_FLIGHT_MAX as u64 + OTHERS_OF_THREAD);
    let enough = u64::from(connections) + others <= limit;
    match connect.descriptors {
        Descriptors::Ordinary => return Ok(None),
        Descriptors::Auto if enough || probe_table().is_err() => return Ok(None),
        Descriptors::Auto => {}
        Descriptors::Table => probe_table()?,
    }
    let slots = connections.div_ceil(threads.into());
    if u64::from(slots) > limit {
        let threads = u64::from(connections).div_ceil(limit);
        return Err(TableError::Threads { connections, limit, threads });
    }
    Ok(Some(TableSizes { slots, ordinary_max: 0 }))
}

/// Descriptors of a process beside those of its threads: standard streams, reports, `/proc`.
const OTHERS: u64 = 64;

/// Descriptors of a thread beside its handshakes: ring, bell, epoll, and what is set aside.
const OTHERS_OF_THREAD: u64 = 16;
