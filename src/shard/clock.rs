//! The shard's one look at the time per turn.

use std::time::{Duration, Instant, SystemTime};

use crate::session::Millis;

/// Where a shard reads the time. A simulator brings its own.
pub trait Clock {
    /// The time now; never goes back.
    fn now(&mut self) -> Instant;

    /// The time of day, for what clients are told; may go back.
    fn time_of_day(&mut self) -> SystemTime {
        SystemTime::now()
    }
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
    /// Milliseconds since 1970 by the time of day.
    pub(super) unix_ms: Millis,
}

impl TurnTime {
    pub(super) fn new(clock: &mut impl Clock) -> Self {
        let start = clock.now();
        Self { start, now: start, ms: 0, unix_ms: unix_ms(clock) }
    }

    /// The moment `unix_s`, in seconds since 1970, on the shard's clock; now, if it has passed.
    pub(super) fn at_unix_s(&self, unix_s: u64) -> Millis {
        let unix_ms = unix_s.saturating_mul(1_000);
        self.ms.saturating_add(unix_ms.saturating_sub(self.unix_ms))
    }

    pub(super) fn advance(&mut self, clock: &mut impl Clock) {
        self.now = clock.now();
        self.ms = millis(self.now.saturating_duration_since(self.start));
        self.unix_ms = unix_ms(clock);
    }
}

/// A machine that does not know the time may say it is before 1970: then 0, which means unknown.
fn unix_ms(clock: &mut impl Clock) -> Millis {
    let since = clock.time_of_day().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, millis)
}

fn millis(time: Duration) -> Millis {
    Millis::try_from(time.as_millis()).expect("584 million years")
}
