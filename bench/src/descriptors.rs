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
    /// Descriptors where there are enough for all connections, or too few threads; else slots.
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
        "{connections} connections do not fit into table slots, at most {limit} per thread here: add --threads {threads}"
    )]
    Threads { connections: u32, limit: u64, threads: u64 },
}

/// The table of each thread's ring for the connections of `connect`; `None`: descriptors hold them,
/// as far as there are any.
///
/// # Errors
/// Slots are asked for, and there are too few threads or they do not work.
pub(crate) fn table(connect: &ConnectArgs) -> Result<Option<TableSizes>, TableError> {
    let ConnectArgs { connections, threads, .. } = *connect;
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let others = OTHERS + u64::from(threads) * (IN_FLIGHT_MAX as u64 + OTHERS_OF_THREAD);
    let enough = u64::from(connections) + others <= limit;
    let slots = connections.div_ceil(threads.into());
    let sizes = Some(TableSizes { slots, ordinary_max: 0 });
    let fits = u64::from(slots) <= limit;
    match connect.descriptors {
        Descriptors::Auto if !enough && fits && probe_table().is_ok() => Ok(sizes),
        Descriptors::Auto | Descriptors::Ordinary => Ok(None),
        Descriptors::Table if fits => {
            probe_table()?;
            Ok(sizes)
        }
        Descriptors::Table => {
            let threads = u64::from(connections).div_ceil(limit);
            Err(TableError::Threads { connections, limit, threads })
        }
    }
}

/// Descriptors of a process beside those of its threads: standard streams, reports, `/proc`.
const OTHERS: u64 = 64;

/// Descriptors of a thread beside its handshakes: ring, bell, epoll, and what is set aside.
const OTHERS_OF_THREAD: u64 = 16;
