//! Where the process stands between start and exit, seen by every thread.
//!
//! A leaf. One thread (`gateway`) moves it forward; all others only read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// A phase of the process. Phases only move forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Threads are being built; the client listener is not open yet.
    Starting,
    /// Clients are accepted.
    Serving,
    /// SIGTERM or SIGINT came: `/health` answers 503, upgrades are refused with 503 and
    /// `Retry-After`, closes are spread over the window, publishing stays open.
    Draining,
    /// The last client is closed: publishing answers 503 too.
    Drained,
}

/// A shared view of the phase.
#[derive(Clone, Debug)]
pub struct Lifecycle(Arc<AtomicU8>);

impl Lifecycle {
    /// A process that is starting.
    pub fn new() -> Self {
        Self(Arc::new(AtomicU8::new(Phase::Starting as u8)))
    }

    /// The current phase.
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            2 => Phase::Draining,
            _ => Phase::Drained,
        }
    }

    /// Moves to `phase`; an earlier phase than the current one is ignored.
    pub fn advance(&self, phase: Phase) {
        self.0.fetch_max(phase as u8, Ordering::AcqRel);
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}
