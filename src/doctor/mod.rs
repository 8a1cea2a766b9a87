//! Explains whether this machine can run the gateway, and if not, what mends it.
//!
//! [`Facts`] are what the system says, gathered in `facts`; everything else is a judgement on those
//! values, so that each refusal can be tested without a machine that refuses. Changes nothing but
//! the soft open-file limit, and that only in [`raise_open_files`].

mod descriptors;
mod facts;
mod judge;
mod refusal;
mod report;
#[cfg(test)]
mod tests;

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub use descriptors::wanted_table;
pub use facts::Facts;
pub use refusal::{RingRefusal, RingRefusalCause, explain_ring_refusal};
pub use report::{Finding, Report, Verdict};

use crate::config::Config;

/// Looks at the machine and judges it for a gateway with these settings. Sets up one ring with the
/// configured queues and takes it down again.
pub fn examine(config: &Config) -> Report {
    judge::judge(&Facts::gather(&config.limits), config)
}

/// The open-file limits of the process. A limit that is not set is `u64::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// The soft limit before it was raised.
    pub before: u64,
    /// The soft limit now.
    pub after: u64,
    /// The hard limit, which only a privileged process may raise.
    pub hard: u64,
}

/// Raises the soft open-file limit to the hard one: each client needs a descriptor, and the usual
/// soft limit of 1,024 is for programs that use `select`. A refusal shows as an `after` below
/// `hard`.
pub fn raise_open_files() -> OpenFiles {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised: io::Result<()> = if current == maximum {
        Ok(())
    } else {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).map_err(Into::into)
    };
    let unlimited = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    OpenFiles {
        before: unlimited(current),
        after: unlimited(if raised.is_ok() { maximum } else { current }),
        hard: unlimited(maximum),
    }
}
