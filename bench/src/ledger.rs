//! Which of one connection's messages came back, how often, and in which order.

use std::ops::Range;

/// What an arrival was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// New, and behind all that came before.
    InOrder,
    /// New, but one with a higher number came before.
    Reordered,
    /// Seen before.
    Duplicate,
    /// Never sent.
    Unknown,
    /// Below what is remembered: whether it came before cannot be told.
    TooOld,
}

/// The numbers of one connection. Exact as long as what is missing lies in at most [`GAPS_MAX`]
/// gaps; beyond that the oldest are forgotten, and what arrives there is [`Arrival::TooOld`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// Messages sent; their numbers are below.
    sent_count: u32,
    /// One more than the highest number seen; 0: none was.
    next: u32,
    /// Bit n: number `next - 1 - n` was seen.
    seen: u64,
    /// What is missing behind that window; usually nothing is, and nothing is allocated.
    old: Option<Box<Old>>,
}

/// What lies behind the window.
#[derive(Clone, Debug, Default)]
struct Old {
    /// Numbers from here on are remembered.
    floor: u32,
    /// Those among them that were not seen: in order, apart, not empty.
    gaps: Vec<Range<u32>>,
}

impl Ledger {
    /// Of messages that others send: any number may arrive.
    pub(crate) fn of_others() -> Self {
        Self { sent_count: u32::MAX, ..Self::default() }
    }

    /// The number of the next message to send.
    pub(crate) fn on_send(&mut self) -> u32 {
        let sequence = self.sent_count;
        self.sent_count = sequence.checked_add(1).expect("a run sends below 2^32 per connection");
        sequence
    }

    /// Notes that `sequence` arrived.
    pub(crate) fn on_arrival(&mut self, sequence: u32) -> Arrival {
        if sequence >= self.sent_count {
            return Arrival::Unknown;
        }
        if sequence >= self.next {
            self.advance(sequence - self.next + 1);
            return Arrival::InOrder;
        }
        let behind = self.next - 1 - sequence;
        if behind >= WINDOW {
            // Behind the window and not missing there: seen.
            return self.old.as_mut().map_or(Arrival::Duplicate, |old| old.on_arrival(sequence));
        }
        if self.seen & (1 << behind) != 0 {
            return Arrival::Duplicate;
        }
        self.seen |= 1 << behind;
        Arrival::Reordered
    }

    /// Moves the window `ahead` numbers on, of which the last was seen; what leaves it without
    /// having been seen is remembered apart.
    fn advance(&mut self, ahead: u32) {
        let end = self.next.saturating_sub(WINDOW);
        self.next += ahead;
        let new_end = self.next.saturating_sub(WINDOW);
        // Numbers from `end` on leave: those that had a bit, then those that never got one.
        let mut leaving = end..new_end;
        let held = self.next - ahead;
        while leaving.start < leaving.end.min(held) {
            let behind = held - 1 - leaving.start;
            if self.seen & (1 << behind) == 0 {
                self.old.get_or_insert_default().remember(leaving.start..leaving.start + 1);
            }
            leaving.start += 1;
        }
        if leaving.start < leaving.end {
            self.old.get_or_insert_default().remember(leaving);
        }
        self.seen = if ahead < WINDOW { self.seen << ahead } else { 0 } | 1;
    }
}

impl Old {
    /// Remembers that `gap`, which lies above all others, is missing.
    fn remember(&mut self, gap: Range<u32>) {
        match self.gaps.last_mut() {
            Some(last) if last.end == gap.start => last.end = gap.end,
            _ => {
                self.make_room_for(1);
                self.gaps.push(gap);
            }
        }
    }

    fn on_arrival(&mut self, sequence: u32) -> Arrival {
        if sequence < self.floor {
            return Arrival::TooOld;
        }
        let place = self.gaps.partition_point(|gap| gap.end <= sequence);
        let Some(gap) = self.gaps.get(place).filter(|gap| gap.contains(&sequence)).cloned() else {
            return Arrival::Duplicate;
        };
        let (before, after) = (gap.start..sequence, sequence + 1..gap.end);
        match (before.is_empty(), after.is_empty()) {
            (true, true) => drop(self.gaps.remove(place)),
            (true, false) => self.gaps[place] = after,
            (false, true) => self.gaps[place] = before,
            (false, false) => {
                self.gaps[place] = after;
                self.gaps.insert(place, before);
                self.make_room_for(0);
            }
        }
        Arrival::Reordered
    }

    /// Forgets the oldest gaps until there is room for `more`.
    fn make_room_for(&mut self, more: usize) {
        while self.gaps.len() + more > GAPS_MAX {
            self.floor = self.gaps.remove(0).end;
        }
    }
}

/// Numbers behind the highest one seen that have a bit of their own.
const WINDOW: u32 = u64::BITS;

/// Most gaps remembered of one connection: 2 KiB. A server that loses so much is not told apart
/// from one that answers as much too late any more.
const GAPS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(count: u32) -> Ledger {
        let mut ledger = Ledger::default();
        for sequence in 0..count {
            assert_eq!(ledger.on_send(), sequence);
        }
        ledger
    }

    #[test]
    fn order_gaps_duplicates_and_strangers() {
        let mut ledger = sent(200);
        for (sequence, arrival) in [
            (0, Arrival::InOrder),
            (0, Arrival::Duplicate),
            (3, Arrival::InOrder),
            (1, Arrival::Reordered),
            (1, Arrival::Duplicate),
            (2, Arrival::Reordered),
            (66, Arrival::InOrder),
            (4, Arrival::Reordered),
            (3, Arrival::Duplicate),
            (67, Arrival::InOrder),
            // 64 behind, and more: what was seen is known, and so is what was not.
            (3, Arrival::Duplicate),
            (199, Arrival::InOrder),
            (5, Arrival::Reordered),
            (5, Arrival::Duplicate),
            (0, Arrival::Duplicate),
            (66, Arrival::Duplicate),
            (130, Arrival::Reordered),
            (130, Arrival::Duplicate),
            (131, Arrival::Reordered),
            (129, Arrival::Reordered),
            (198, Arrival::Reordered),
            (200, Arrival::Unknown),
        ] {
            assert_eq!(ledger.on_arrival(sequence), arrival, "{sequence}");
        }
    }

    #[test]
    fn equals_a_set_of_numbers() {
        let mut random = fastrand::Rng::with_seed(11);
        for spread in [1, 10, 100, 1_000] {
            let (mut ledger, mut seen) = (Ledger::of_others(), std::collections::BTreeSet::new());
            let mut highest = 0;
            for step in 0..20_000u32 {
                // About as many gaps as one advance leaves behind.
                let sequence = (step * 3 / 4).saturating_sub(random.u32(0..spread));
                let expected = match (seen.insert(sequence), sequence >= highest) {
                    (false, _) => Arrival::Duplicate,
                    (true, true) => Arrival::InOrder,
                    (true, false) => Arrival::Reordered,
                };
                highest = highest.max(sequence + 1);
                let arrival = ledger.on_arrival(sequence);
                if arrival != Arrival::TooOld {
                    assert_eq!(arrival, expected, "{sequence} of {highest}, spread {spread}");
                }
                assert!(arrival != Arrival::TooOld || spread > 100, "{sequence} of {highest}");
            }
        }
    }

    #[test]
    fn beyond_its_limit_it_says_that_it_cannot_tell() {
        let mut ledger = Ledger::of_others();
        // Every other number is missing; one gap more than is remembered has left the window.
        let missing = GAPS_MAX as u32 + 1 + WINDOW / 2;
        for number in 0..=missing {
            assert_eq!(ledger.on_arrival(2 * number), Arrival::InOrder);
        }
        for sequence in [0, 1] {
            assert_eq!(ledger.on_arrival(sequence), Arrival::TooOld, "{sequence}");
        }
        for (sequence, arrival) in [(2, Arrival::Duplicate), (3, Arrival::Reordered)] {
            assert_eq!(ledger.on_arrival(sequence), arrival, "{sequence}");
        }
        // All missing, one range: nothing is forgotten.
        let mut ledger = Ledger::of_others();
        ledger.on_arrival(1_000_000);
        for sequence in [0, 999_000, 500_000] {
            assert_eq!(ledger.on_arrival(sequence), Arrival::Reordered, "{sequence}");
            assert_eq!(ledger.on_arrival(sequence), Arrival::Duplicate, "{sequence}");
        }
    }
}
