//! Who received each publication how often, and when first and last.

/// Tables by publication; zero: nobody did. Taken as zeroed pages, so that only what is used costs.
#[derive(Debug)]
pub(super) struct Receipts {
    /// How many connections received it, each once.
    counts: Vec<u32>,
    /// When the first subscriber that reads received it, in nanoseconds since the start.
    first_ns: Vec<u64>,
    /// When the last one did.
    last_ns: Vec<u64>,
}

impl Receipts {
    /// Of `count` publications.
    pub(super) fn new(count: usize) -> Self {
        Self { counts: vec![0; count], first_ns: vec![0; count], last_ns: vec![0; count] }
    }

    /// One more connection received it.
    pub(super) fn count(&mut self, publication: u32) {
        self.counts[publication as usize] += 1;
    }

    /// A connection that reads received it. Times do not decrease from call to call.
    pub(super) fn time(&mut self, publication: u32, now_ns: u64) {
        let first_ns = &mut self.first_ns[publication as usize];
        if *first_ns == 0 {
            *first_ns = now_ns;
        }
        self.last_ns[publication as usize] = now_ns;
    }

    /// How many connections received it.
    pub(super) fn received(&self, publication: u32) -> u32 {
        self.counts[publication as usize]
    }

    /// When the first and the last received it, if anybody did.
    pub(super) fn first_and_last_ns(&self, publication: u32) -> Option<(u64, u64)> {
        let publication = publication as usize;
        let first_ns = self.first_ns[publication];
        (first_ns > 0).then(|| (first_ns, self.last_ns[publication]))
    }

    /// Adds those of another thread.
    pub(super) fn merge(&mut self, other: &Receipts) {
        // What nobody received is not written: its pages stay untaken.
        for (publication, count) in other.counts.iter().enumerate().filter(|(_, n)| **n > 0) {
            self.counts[publication] += count;
            let (first_ns, last_ns) = (other.first_ns[publication], other.last_ns[publication]);
            let mine = &mut self.first_ns[publication];
            if first_ns > 0 && (*mine == 0 || first_ns < *mine) {
                *mine = first_ns;
            }
            self.last_ns[publication] = self.last_ns[publication].max(last_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_together_know_the_first_and_the_last() {
        let mut one = Receipts::new(3);
        let mut other = Receipts::new(3);
        for (receipts, publication, now_ns) in [(0, 0, 5), (0, 0, 9), (1, 0, 3), (1, 1, 7)] {
            let receipts = if receipts == 0 { &mut one } else { &mut other };
            receipts.count(publication);
            receipts.time(publication, now_ns);
        }
        one.merge(&other);
        let all: Vec<_> = (0..3).map(|n| (one.received(n), one.first_and_last_ns(n))).collect();
        assert_eq!(all, [(3, Some((3, 9))), (1, Some((7, 7))), (0, None)]);
    }
}
