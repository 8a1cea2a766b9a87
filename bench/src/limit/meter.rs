//! What the two halves of a measurement did, readable from outside while they go on.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::server;

/// One thread's counts. The thread stores once a turn; whoever measures reads.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// The thread's id; 0 until it has started.
    tid: AtomicU32,
    messages: AtomicU64,
    turns: AtomicU64,
    enters: AtomicU64,
}

/// A thread's counts and CPU time, at one moment or between two.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reading {
    /// Messages taken or sent, whichever the half is for.
    pub(super) messages: u64,
    /// Waits that ended.
    pub(super) turns: u64,
    /// System calls of the message path.
    pub(super) enters: u64,
    /// On a core, in nanoseconds. The scheduler brings it up to date at least once a tick.
    pub(super) cpu_ns: u64,
}

impl Meter {
    /// Notes that the calling thread is the one to measure.
    pub(super) fn start(&self) {
        let tid = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        self.tid.store(tid, Ordering::Relaxed);
    }

    /// Says how far the thread has come. From that thread only.
    pub(super) fn store(&self, messages: u64, turns: u64, enters: u64) {
        self.messages.store(messages, Ordering::Relaxed);
        self.turns.store(turns, Ordering::Relaxed);
        self.enters.store(enters, Ordering::Relaxed);
    }

    /// How far it has come; `None` unless the thread is there.
    pub(super) fn read(&self) -> Option<Reading> {
        let cpu_ns = server::thread_cpu_ns(self.tid.load(Ordering::Relaxed))?;
        Some(Reading {
            messages: self.messages.load(Ordering::Relaxed),
            turns: self.turns.load(Ordering::Relaxed),
            enters: self.enters.load(Ordering::Relaxed),
            cpu_ns,
        })
    }
}

impl Reading {
    /// What happened since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            messages: self.messages - before.messages,
            turns: self.turns - before.turns,
            enters: self.enters - before.enters,
            cpu_ns: self.cpu_ns - before.cpu_ns,
        }
    }

    /// `amount` a message; not a number when there was none.
    pub(super) fn per_message(self, amount: u64) -> f64 {
        amount as f64 / self.messages as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_read_while_it_lives() {
        let meter = Meter::default();
        assert!(meter.read().is_none(), "not started");
        meter.start();
        meter.store(10, 4, 5);
        let before = meter.read().expect("this thread lives");
        meter.store(30, 8, 10);
        let passed = meter.read().expect("this thread lives").since(before);
        assert_eq!((passed.messages, passed.turns, passed.enters), (20, 4, 5));
        assert!((passed.per_message(passed.enters) - 0.25).abs() < 1e-9);
    }
}
