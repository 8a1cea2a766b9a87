//! Which of one connection's messages came back, how often, and in which order.

/// Numbers behind the highest one seen that are remembered one by one.
const WINDOW: u32 = u64::BITS;

/// What an arrival was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// New, and behind all that came before.
    InOrder,
    /// New, but one with a higher number came before.
    Reordered,
    /// Seen before, or too far back to tell.
    Duplicate,
    /// Never sent.
    Unknown,
}

/// The numbers of one connection: constant size, exact for what arrives at most 64 late.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ledger {
    /// Messages sent; their numbers are below.
    sent_count: u32,
    /// One more than the highest number seen; 0: none was.
    next: u32,
    /// Bit n: number `next - 1 - n` was seen.
    seen: u64,
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
            let ahead = sequence - self.next + 1;
            self.seen = if ahead < WINDOW { self.seen << ahead } else { 0 } | 1;
            self.next = sequence + 1;
            return Arrival::InOrder;
        }
        let behind = self.next - 1 - sequence;
        if behind >= WINDOW || self.seen & (1 << behind) != 0 {
            return Arrival::Duplicate;
        }
        self.seen |= 1 << behind;
        Arrival::Reordered
    }
}

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
            // 64 behind: its bit is gone.
            (3, Arrival::Duplicate),
            (199, Arrival::InOrder),
            (198, Arrival::Reordered),
            (200, Arrival::Unknown),
        ] {
            assert_eq!(ledger.on_arrival(sequence), arrival, "{sequence}");
        }
    }
}
