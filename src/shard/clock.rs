//! The shard's one look at the time per turn.

use std::time::Instant;

use crate::session::Millis;

/// Where a shard reads the time. A simulator brings its own.
pub trait Clock {
    /// The time now; never goes back.
    fn now(&mut self) -> Instant;
}

/// The machine's monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&mut self) -> Instant {
        Instant::now()
    }
}

/// The time of this turn, in both forms in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct TurnTime {
    start: Instant,
    /// The reading itself.
    pub(super) now: Instant,
    /// Milliseconds since the shard's start.
    pub(super) ms: Millis,
}

impl TurnTime {
    pub(super) fn new(start: Instant) -> Self {
        Self { start, now: start, ms: 0 }
    }

    pub(super) fn advance(&mut self, now: Instant) {
        self.now = now;
        let since = now.saturating_duration_since(self.start);
        self.ms = Millis::try_from(since.as_millis()).expect("584 million years");
    }
}
