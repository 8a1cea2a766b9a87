//! A timer wheel: who is to be looked at when.
//!
//! Every connection has one entry that counts (its slot remembers the tick); entries that were
//! overtaken by an earlier one stay in the wheel and are told by that when they come up. So an
//! entry names a slot alone: whoever has it when the tick comes and remembers the tick is due then,
//! whoever had it when the entry was made.

use std::time::Duration;

use crate::session::Millis;

/// Width of one tick.
const TICK_MS: Millis = 64;

/// Ticks the wheel spans: about 65 s. Later deadlines are looked at early and put off.
const SPAN: usize = 1024;

/// A moment in ticks. `u64::MAX`: no timer.
pub(super) type Tick = u64;

#[derive(Debug)]
pub(super) struct Timers {
    /// Slots of connections by tick, modulo the span.
    ticks: Vec<Vec<u32>>,
    /// One bit per tick that holds an entry, so that the next one is found without a walk.
    filled: [u64; SPAN / 64],
    /// Every tick before it has been taken.
    next_tick: Tick,
}

impl Timers {
    pub(super) fn new() -> Self {
        Self { ticks: vec![Vec::new(); SPAN], filled: [0; SPAN / 64], next_tick: 0 }
    }

    /// Plans a look at the connection in `slot` at `deadline` or, if that is beyond the wheel's
    /// span, before. Never before `deadline` otherwise. Returns the tick for the connection to
    /// remember.
    pub(super) fn insert(&mut self, slot: u32, deadline: Millis) -> Tick {
        let wanted = deadline.div_ceil(TICK_MS);
        let tick = wanted.clamp(self.next_tick, self.next_tick + SPAN as u64 - 1);
        let index = (tick % SPAN as u64) as usize;
        self.ticks[index].push(slot);
        self.filled[index / 64] |= 1 << (index % 64);
        tick
    }

    /// The tick `insert` would choose, to see whether a planned look is early enough.
    pub(super) fn tick_of(deadline: Millis) -> Tick {
        deadline.div_ceil(TICK_MS)
    }

    /// Takes the entries of the next tick that is due by `now`, with that tick.
    pub(super) fn take_due(&mut self, now: Millis) -> Option<(Tick, Vec<u32>)> {
        let now_tick = now / TICK_MS;
        let next = self.next_filled()?;
        if next > now_tick {
            return None;
        }
        self.next_tick = next + 1;
        let index = (next % SPAN as u64) as usize;
        self.filled[index / 64] &= !(1 << (index % 64));
        Some((next, std::mem::take(&mut self.ticks[index])))
    }

    /// Moves on over empty ticks. Call after the due ones were taken.
    pub(super) fn settle(&mut self, now: Millis) {
        let now_tick = now / TICK_MS;
        let next = self.next_filled().unwrap_or(u64::MAX);
        self.next_tick = self.next_tick.max(now_tick.min(next));
    }

    /// How long until the next entry is due.
    pub(super) fn next_due(&self, now: Millis) -> Option<Duration> {
        let due = self.next_filled()? * TICK_MS;
        Some(Duration::from_millis(due.saturating_sub(now)))
    }

    /// The first tick from `next_tick` on that holds an entry.
    fn next_filled(&self) -> Option<Tick> {
        let words = self.filled.len();
        let start = (self.next_tick % SPAN as u64) as usize;
        for step in 0..=words {
            let word = (start / 64 + step) % words;
            let mut bits = self.filled[word];
            if step == 0 {
                bits &= u64::MAX << (start % 64);
            } else if step == words {
                bits &= !(u64::MAX << (start % 64));
            }
            if bits != 0 {
                let index = word * 64 + bits.trailing_zeros() as usize;
                let ahead = (index + SPAN - start) % SPAN;
                return Some(self.next_tick + ahead as u64);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn never_early_within_the_span_and_never_more_than_a_tick_late() {
        let mut timers = Timers::new();
        timers.insert(1, 1_000);
        assert_eq!(timers.next_due(0), Some(Duration::from_millis(1_024)));
        assert!(timers.take_due(1_023).is_none());
        let (_, due) = timers.take_due(1_024).expect("due");
        assert_eq!(due, [1]);
        assert!(timers.next_due(1_024).is_none());
    }

    #[test]
    fn deadlines_beyond_the_span_come_up_early() {
        let mut timers = Timers::new();
        timers.insert(1, 10_000_000);
        assert!(timers.next_due(0).expect("planned") <= Duration::from_millis(64 * 1024));
    }

    proptest! {
        #[test]
        fn every_entry_comes_up_once(
            steps in prop::collection::vec((0..60_000u64, 1..5_000u64), 1..60)
        ) {
            let mut timers = Timers::new();
            let mut now = 0;
            let mut open = std::collections::BTreeMap::new();
            for (slot, (ahead, pass)) in (0u32..).zip(steps) {
                let deadline = now + ahead;
                timers.insert(slot, deadline);
                open.insert(slot, deadline);
                now += pass;
                while let Some((tick, due)) = timers.take_due(now) {
                    for slot in due {
                        let deadline = open.remove(&slot).expect("once");
                        prop_assert!(deadline <= now);
                        prop_assert_eq!(tick.max(Timers::tick_of(deadline)), tick);
                    }
                }
                timers.settle(now);
                for deadline in open.values() {
                    prop_assert!(now < deadline.div_ceil(TICK_MS) * TICK_MS, "overdue");
                }
            }
        }
    }
}
