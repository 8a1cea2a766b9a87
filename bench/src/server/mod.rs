//! What processes of this machine use: the server's, by its id, and this one's threads.

mod machine;
mod process;
mod watch;

pub(crate) use process::{Usage, own_cpu_ns, thread_cpu_ns};
pub(crate) use watch::{Observation, ObserveError, ServerUse};
