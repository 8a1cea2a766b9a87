//! Closed connections by close code.

use super::Counter;

/// The values of the label `code`: the codes the gateway sends itself, `1000` and `1001` of peers,
/// every other code a peer sent, and connections that ended without a Close frame.
pub const CLOSE_LABELS: [&str; 22] = [
    "1000", "1001", "1002", "1003", "1007", "1008", "1009", "1011", "1013", "3001", "3005", "3006",
    "3008", "3012", "3500", "3501", "3502", "3503", "3505", "3508", "other", "none",
];

/// One counter per label, so that no peer can invent a new one.
#[derive(Debug, Default)]
pub struct CloseCounters([Counter; CLOSE_LABELS.len()]);

impl CloseCounters {
    /// Counts one closed connection; `None`: it ended without a Close frame.
    pub fn count(&self, code: Option<u16>) {
        let index = match code {
            Some(1000) => 0,
            Some(1001) => 1,
            Some(1002) => 2,
            Some(1003) => 3,
            Some(1007) => 4,
            Some(1008) => 5,
            Some(1009) => 6,
            Some(1011) => 7,
            Some(1013) => 8,
            Some(3001) => 9,
            Some(3005) => 10,
            Some(3006) => 11,
            Some(3008) => 12,
            Some(3012) => 13,
            Some(3500) => 14,
            Some(3501) => 15,
            Some(3502) => 16,
            Some(3503) => 17,
            Some(3505) => 18,
            Some(3508) => 19,
            Some(_) => 20,
            None => 21,
        };
        self.0[index].add(1);
    }

    /// Label and count.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        CLOSE_LABELS.into_iter().zip(self.0.iter().map(Counter::get))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_counts_its_own_code() {
        let closes = CloseCounters::default();
        for label in CLOSE_LABELS {
            closes.count(match label {
                "other" => Some(4000),
                "none" => None,
                code => Some(code.parse().expect("a code")),
            });
        }
        assert!(closes.values().all(|(_, count)| count == 1));
    }
}
