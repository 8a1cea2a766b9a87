//! What a generator counted and timed.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

/// Longest time told apart in a histogram; longer ones count as this: ten minutes.
const HIGHEST_NS: u64 = 600 * 1_000_000_000;

/// Digits a histogram keeps of each value.
const DIGITS: u8 = 3;

/// Counts and times of one thread, or of all once merged. "Measured" is what was due between the
/// end of the warm-up and the end of the run.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Measured messages: how many fell due.
    pub(crate) due: u64,
    /// Measured messages that were sent.
    pub(crate) sent: u64,
    /// Measured messages that came back, each once.
    pub(crate) delivered: u64,
    /// Measured messages the server dropped by a policy it stated with a close code.
    pub(crate) dropped_by_policy: u64,
    /// Measured messages of connections that did not read and were cut off.
    pub(crate) undelivered_at_forced_close: u64,
    /// Messages that came back again.
    pub(crate) duplicated: u64,
    /// Messages that came back behind one sent later on their connection.
    pub(crate) reordered: u64,
    /// Messages that nobody sent, or that came back changed.
    pub(crate) unknown: u64,
    /// Messages that came so late that nothing tells any more whether they came before.
    pub(crate) too_old: u64,
    /// Messages that came back while it was measured, whenever they were due.
    pub(crate) received_in_window: u64,
    /// Handshakes that were timed and started.
    pub(crate) started: u64,
    /// Those that failed, or were not tried because they would have.
    pub(crate) failed: u64,
    /// Bytes received while it was measured, headers and control frames included.
    pub(crate) wire_bytes: u64,
    /// Bytes of messages received while it was measured, inflated.
    pub(crate) payload_bytes: u64,
    /// Pings answered.
    pub(crate) pings: u64,
    /// Connections that ended before the run did, by cause.
    pub(crate) lost_connections: BTreeMap<String, u32>,
    /// From due to received, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// From sent to received, in nanoseconds.
    pub(crate) latency_raw: Histogram<u64>,
    /// From due to noticed: the generator's own lateness, whatever the server does.
    pub(crate) lag: Histogram<u64>,
    /// CPU time of the generator's threads while it was measured.
    pub(crate) cpu_ns: u64,
}

/// A histogram of nanoseconds; all have the same bounds.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, HIGHEST_NS, DIGITS).expect("the bounds are valid")
}

impl Tally {
    /// Nothing counted.
    pub(crate) fn new() -> Self {
        Self {
            due: 0,
            sent: 0,
            delivered: 0,
            dropped_by_policy: 0,
            undelivered_at_forced_close: 0,
            duplicated: 0,
            reordered: 0,
            unknown: 0,
            too_old: 0,
            received_in_window: 0,
            started: 0,
            failed: 0,
            wire_bytes: 0,
            payload_bytes: 0,
            pings: 0,
            lost_connections: BTreeMap::new(),
            latency: histogram(),
            latency_raw: histogram(),
            lag: histogram(),
            cpu_ns: 0,
        }
    }

    /// Bytes on the wire a message, headers of frames included.
    pub(crate) fn bytes_per_delivery(&self) -> Option<f64> {
        let (bytes, count) = (self.wire_bytes, self.received_in_window);
        (bytes > 0 && count > 0).then(|| bytes as f64 / count as f64)
    }

    /// Adds what another thread counted.
    pub(crate) fn merge(&mut self, other: &Tally) {
        self.due += other.due;
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.dropped_by_policy += other.dropped_by_policy;
        self.undelivered_at_forced_close += other.undelivered_at_forced_close;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.unknown += other.unknown;
        self.too_old += other.too_old;
        self.received_in_window += other.received_in_window;
        self.started += other.started;
        self.failed += other.failed;
        self.wire_bytes += other.wire_bytes;
        self.payload_bytes += other.payload_bytes;
        self.pings += other.pings;
        self.cpu_ns += other.cpu_ns;
        for (cause, count) in &other.lost_connections {
            *self.lost_connections.entry(cause.clone()).or_default() += count;
        }
        for (mine, theirs) in [
            (&mut self.latency, &other.latency),
            (&mut self.latency_raw, &other.latency_raw),
            (&mut self.lag, &other.lag),
        ] {
            mine.add(theirs).expect("all histograms have the same bounds");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_threads_equal_one_recorder() {
        let mut whole = Tally::new();
        let mut parts = [Tally::new(), Tally::new(), Tally::new()];
        for index in 0..10_000u64 {
            let value = 1 + index * index * 7_919 % 1_000_000_007;
            whole.latency.saturating_record(value);
            parts[(index % 3) as usize].latency.saturating_record(value);
        }
        let mut merged = Tally::new();
        for part in &parts {
            merged.merge(part);
        }
        assert_eq!(merged.latency, whole.latency);
    }
}
