//! A timer wheel: who is to be looked at when.
//!
//! Every connection has at most one entry, a link of its slot in the list of a tick; the connection
//! remembers the tick. So an entry goes when its connection goes, and the wheel is as large as the
//! table of connections, however fast they come and go.

use std::time::Duration;

use crate::chunks::Chunks;
use crate::session::Millis;

/// Width of one tick.
const TICK_MS: Millis = 64;

/// Ticks the wheel spans: about 65 s. Later deadlines are looked at early and put off.
const SPAN: usize = 1024;

/// A moment in ticks.
pub(super) type Tick = u64;

/// The tick of a connection without an entry: later than any other.
pub(super) const NO_TICK: Tick = u64::MAX;

/// No slot: the end of a list.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Timers {
    /// The first slot of every tick's list, by tick modulo the span.
    firsts: Box<[u32; SPAN]>,
    /// One bit per tick that holds an entry, so that the next one is found without a walk.
    filled: [u64; SPAN / 64],
    /// Every tick before it was taken.
    next_tick: Tick,
    /// The first slot of the list that is being taken.
    due: u32,
    /// The entries, by slot.
    links: Chunks<Link>,
}

/// A slot's neighbours in its list. Both are of no meaning while it is in none.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    previous: u32,
    next: u32,
}

impl Timers {
    pub(super) fn new() -> Self {
        Self {
            firsts: Box::new([NONE; SPAN]),
            filled: [0; SPAN / 64],
            next_tick: 0,
            due: NONE,
            links: Chunks::default(),
        }
    }

    /// Plans a look at the connection in `slot`, which has no entry, at `deadline` or, if that is
    /// beyond the wheel's span, before. Never before `deadline` otherwise. Returns the tick for the
    /// connection to remember.
    pub(super) fn insert(&mut self, slot: u32, deadline: Millis) -> Tick {
        let wanted = Self::tick_of(deadline);
        let tick = wanted.clamp(self.next_tick, self.next_tick + SPAN as u64 - 1);
        let index = index_of(tick);
        while self.links.len() <= slot as usize {
            self.links.grow();
        }
        let next = std::mem::replace(&mut self.firsts[index], slot);
        *self.link(slot) = Link { previous: NONE, next };
        if next != NONE {
            self.link(next).previous = slot;
        }
        self.filled[index / 64] |= 1 << (index % 64);
        tick
    }

    /// Takes the entry of `slot` away, which was planned for `tick`; with `NO_TICK` there is none.
    pub(super) fn remove(&mut self, slot: u32, tick: Tick) {
        if tick == NO_TICK {
            return;
        }
        let Link { previous, next } = *self.link(slot);
        if next != NONE {
            self.link(next).previous = previous;
        }
        if previous != NONE {
            self.link(previous).next = next;
        } else if self.due == slot {
            self.due = next;
        } else {
            let index = index_of(tick);
            debug_assert_eq!(self.firsts[index], slot, "planned for another tick");
            self.firsts[index] = next;
            if next == NONE {
                self.filled[index / 64] &= !(1 << (index % 64));
            }
        }
    }

    /// The tick `insert` would choose, to see whether a planned look is early enough.
    pub(super) fn tick_of(deadline: Millis) -> Tick {
        deadline.div_ceil(TICK_MS)
    }

    /// Takes the next entry that is due by `now`: its slot.
    pub(super) fn take_due(&mut self, now: Millis) -> Option<u32> {
        if self.due == NONE {
            let next = self.next_filled()?;
            if next > now / TICK_MS {
                return None;
            }
            self.next_tick = next + 1;
            let index = index_of(next);
            self.filled[index / 64] &= !(1 << (index % 64));
            self.due = std::mem::replace(&mut self.firsts[index], NONE);
        }
        let slot = self.due;
        self.due = self.link(slot).next;
        if self.due != NONE {
            let due = self.due;
            self.link(due).previous = NONE;
        }
        Some(slot)
    }

    fn link(&mut self, slot: u32) -> &mut Link {
        self.links.get_mut(slot as usize).expect("a slot with an entry has its link")
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
        let start = index_of(self.next_tick);
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

/// Where a tick's list begins in the wheel.
fn index_of(tick: Tick) -> usize {
    (tick % SPAN as u64) as usize
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
        assert_eq!(timers.take_due(1_024), Some(1));
        assert!(timers.take_due(1_024).is_none());
        assert!(timers.next_due(1_024).is_none());
    }

    #[test]
    fn deadlines_beyond_the_span_come_up_early() {
        let mut timers = Timers::new();
        timers.insert(1, 10_000_000);
        assert!(timers.next_due(0).expect("planned") <= Duration::from_millis(64 * 1024));
    }

    #[test]
    fn whoever_ends_while_a_tick_is_taken_is_not_taken() {
        let mut timers = Timers::new();
        let tick = timers.insert(1, 64);
        for slot in 2..=4 {
            assert_eq!(timers.insert(slot, 64), tick);
        }
        assert_eq!(timers.take_due(64), Some(4));
        timers.remove(3, tick);
        timers.remove(1, tick);
        // What is planned meanwhile comes with a later tick.
        assert_eq!(timers.insert(4, 0), tick + 1);
        assert_eq!(timers.take_due(64), Some(2));
        assert_eq!(timers.take_due(64), None);
        assert_eq!(timers.take_due(128), Some(4));
        assert!(timers.next_due(128).is_none());
    }

    #[test]
    fn the_wheel_is_as_large_as_the_table_however_many_came_and_went() {
        let mut timers = Timers::new();
        for round in 0..100_000 {
            let slot = round % 100;
            let tick = timers.insert(slot, u64::from(round));
            timers.remove(slot, tick);
        }
        assert_eq!(timers.links.len(), crate::chunks::CHUNK_LEN);
        assert!(timers.next_due(0).is_none());
    }

    proptest! {
        #[test]
        fn every_entry_comes_up_once_unless_it_is_taken_away(
            steps in prop::collection::vec((0..60_000u64, 1..5_000u64, any::<Option<u8>>()), 1..60)
        ) {
            let mut timers = Timers::new();
            let mut now = 0;
            let mut open = std::collections::BTreeMap::new();
            for (slot, (ahead, pass, gone)) in (0u32..).zip(steps) {
                let deadline = now + ahead;
                let tick = timers.insert(slot, deadline);
                open.insert(slot, (deadline, tick));
                if let Some(gone) = gone {
                    let (&slot, &(_, tick)) =
                        open.iter().nth(usize::from(gone) % open.len()).expect("one of them");
                    timers.remove(slot, tick);
                    open.remove(&slot);
                }
                now += pass;
                while let Some(slot) = timers.take_due(now) {
                    let (deadline, _) = open.remove(&slot).expect("once");
                    prop_assert!(deadline <= now);
                }
                timers.settle(now);
                for (deadline, _) in open.values() {
                    prop_assert!(now < deadline.div_ceil(TICK_MS) * TICK_MS, "overdue");
                }
                prop_assert_eq!(timers.next_due(now).is_some(), !open.is_empty());
            }
        }
    }
}
