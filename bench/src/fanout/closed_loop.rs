//! What publishers of a closed loop wait for: each has one publication out, and the next is due
//! when every subscriber of its channel that is open and reads has it.
//!
//! Shared by all threads; the first one publishes, and the others wake it.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::event::EventfdFlags;
use rustix::io::Errno;

use super::plan::Plan;

/// How far the publication of each publisher has come.
#[derive(Debug)]
pub(super) struct ClosedLoop {
    /// By channel: subscribers that are open and read.
    readers: Vec<AtomicU32>,
    /// By publisher: the publication that is out in the high half, in the low one how many readers
    /// have it. In one word, so that a late receipt of one before cannot count for it.
    out: Vec<AtomicU64>,
    /// Wakes the thread that publishes.
    bell: OwnedFd,
}

impl ClosedLoop {
    /// Nothing out, nobody there.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub(super) fn new(plan: &Plan) -> Result<Self, Errno> {
        Ok(Self {
            readers: plan.channels.iter().map(|_| AtomicU32::new(0)).collect(),
            out: (0..plan.publisher_count).map(|_| AtomicU64::new(NOTHING_OUT)).collect(),
            bell: rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?,
        })
    }

    /// A twin of the bell, for the ring of the thread that publishes.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub(super) fn bell(&self) -> Result<OwnedFd, Errno> {
        rustix::io::fcntl_dupfd_cloexec(&self.bell, 0)
    }

    /// A subscriber of `channel` reads from now on.
    pub(super) fn join(&self, channel: u16) {
        self.readers[usize::from(channel)].fetch_add(1, Ordering::Relaxed);
    }

    /// One that read does so no more: nobody waits for it.
    pub(super) fn leave(&self, channel: u16) {
        self.readers[usize::from(channel)].fetch_sub(1, Ordering::Relaxed);
    }

    /// `publisher` sends `publication`.
    pub(super) fn begin(&self, publisher: u16, publication: u32) {
        let out = u64::from(publication) << 32;
        self.out[usize::from(publisher)].store(out, Ordering::Relaxed);
    }

    /// A reader of `channel` has `publication`; whether it was the last. One that is not out any
    /// more was given up, and counts for nothing.
    pub(super) fn on_receipt(&self, publisher: u16, publication: u32, channel: u16) -> bool {
        let out = &self.out[usize::from(publisher)];
        let one_more = |now: u64| ((now >> 32) as u32 == publication).then(|| now + 1);
        out.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
            && self.has_arrived(publisher, publication, channel)
    }

    /// Whether every reader of `channel` has `publication`, and there is one.
    pub(super) fn has_arrived(&self, publisher: u16, publication: u32, channel: u16) -> bool {
        let out = self.out[usize::from(publisher)].load(Ordering::Relaxed);
        let readers = self.readers[usize::from(channel)].load(Ordering::Relaxed);
        (out >> 32) as u32 == publication && out as u32 >= readers.max(1)
    }

    /// Wakes the thread that publishes.
    pub(super) fn ring(&self) {
        // A full count means that it is rung already.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}

/// No publication has the highest number.
const NOTHING_OUT: u64 = u64::MAX << 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fanout::plan::tests::plan;

    #[test]
    fn the_next_is_due_when_the_last_reader_has_it() {
        let closed = ClosedLoop::new(&plan(&["--rate", "0", "--channels", "2"])).expect("room");
        assert!(!closed.on_receipt(0, 0, 0), "nothing is out");
        closed.join(0);
        closed.join(0);
        closed.join(1);
        closed.begin(0, 8);
        assert!(!closed.on_receipt(0, 8, 0));
        assert!(!closed.on_receipt(0, 0, 0), "one that was given up");
        assert!(!closed.has_arrived(0, 8, 0));
        assert!(closed.on_receipt(0, 8, 0));
        closed.begin(0, 16);
        assert!(!closed.on_receipt(0, 16, 0));
        closed.leave(0);
        assert!(closed.has_arrived(0, 16, 0), "the other has gone");
        closed.leave(0);
        closed.begin(0, 24);
        assert!(!closed.has_arrived(0, 24, 0), "with nobody there it is given up");
    }
}
