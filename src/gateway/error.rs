//! Why the gateway could not start or go on.

use std::io;
use std::net::SocketAddr;

use crate::doctor;
use crate::ring::{SetupError, TableFault};

/// Each says what failed, why, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The kernel refuses io_uring.
    #[error("{error}\n  cause and remedy: {explanation}\n  more: tidegate doctor")]
    Ring {
        /// What was refused.
        error: SetupError,
        /// Why, and what mends it.
        explanation: String,
    },
    /// Table slots are asked for and do not work.
    #[error(
        "cannot hold clients in table slots: {0}\n  remedy: set server.descriptors = \"auto\", and raise the limit on open files (ulimit -n) for more clients"
    )]
    Table(TableFault),
    /// An address could not be bound.
    #[error("cannot bind {key} = \"{address}\": {source}\n  remedy: {}", bind_remedy(source))]
    Bind {
        /// The key of the configuration.
        key: &'static str,
        /// Its value.
        address: SocketAddr,
        /// The kernel's error.
        source: io::Error,
    },
    /// A core could not be used.
    #[error(
        "cannot run on cores {cpus:?}: {source}\n  remedy: choose server.cpus within the allowed cores (taskset -pc $$ shows them)"
    )]
    Cpus {
        /// The cores asked for.
        cpus: Vec<usize>,
        /// The kernel's error.
        source: io::Error,
    },
    /// Descriptors, threads or random numbers ran out at start.
    #[error(
        "cannot start {what}: {source}\n  remedy: raise the limits on open files and threads (ulimit -n, ulimit -u)"
    )]
    Resources {
        /// What could not be had.
        what: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// A thread ended by itself.
    #[error("the {thread} thread ended: {cause}")]
    Thread {
        /// Which.
        thread: String,
        /// Why.
        cause: String,
    },
    /// A second signal came before the drain was done.
    #[error("stopped at once by a second signal; {connections} connections were cut off")]
    Forced {
        /// Connections open at that moment.
        connections: u32,
    },
}

impl ServeError {
    /// Explains a refused ring.
    pub(super) fn from_ring(error: SetupError) -> Self {
        let explanation = match error.io() {
            Some(source) => doctor::explain_ring_refusal(source).to_string(),
            None => "this kernel is too old; Linux 6.1 or newer is needed".to_owned(),
        };
        ServeError::Ring { error, explanation }
    }

    pub(super) fn resources(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| ServeError::Resources { what, source }
    }
}

fn bind_remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there (ss -ltnp shows which); stop it or choose another port"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher port"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address (ip addr shows them); 0.0.0.0 takes all"
        }
        _ => "choose an address this machine can listen on",
    }
}
