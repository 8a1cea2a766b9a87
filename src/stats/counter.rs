//! Numbers with one writer.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a metric is to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// Name, meaning and kind of one metric.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    /// Without the prefix `tidegate_`.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Counter or gauge.
    pub kind: MetricKind,
}

/// A number that only grows. One thread adds; any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// How Prometheus calls it.
    pub const METRIC_KIND: MetricKind = MetricKind::Counter;

    /// Adds `n`. Call from the owning thread only: concurrent additions would be lost.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down. One thread changes it; any thread reads.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// How Prometheus calls it.
    pub const METRIC_KIND: MetricKind = MetricKind::Gauge;

    /// Adds `n`, from the owning thread only.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes `n` away, from the owning thread only.
    pub fn sub(&self, n: u64) {
        let before = self.0.load(Ordering::Relaxed);
        debug_assert!(before >= n, "a gauge went below zero");
        self.0.store(before.wrapping_sub(n), Ordering::Relaxed);
    }

    /// Sets the value, from the owning thread only.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
