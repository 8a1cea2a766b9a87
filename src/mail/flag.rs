//! The flags by which threads learn that there is mail, or room for it.
//!
//! A flag only says whether somebody must be woken; who wakes, and how, is not its business. What
//! must hold is that nobody waits for what is there already. It rests on the orderings below, so
//! `tests/mail_orderings.rs` compiles this file a second time, over loom's atomics, and tries every
//! order in which two or three threads can get here, with every value a weak memory may show them.

use super::sync::{AtomicBool, Ordering, fence};

/// Whether a shard is awake, or somebody is waking it.
///
/// Every access reads and writes in one step. So each sees the one before it, whichever thread's
/// that was, and with it everything done before that: what a thread pushed before a
/// [`claim`](Self::claim) is seen by the shard after its next [`clear`](Self::clear) or
/// [`mute`](Self::mute). A plain store would cut this chain.
#[derive(Debug)]
pub(super) struct AwakeFlag(AtomicBool);

impl AwakeFlag {
    /// A flag of a shard that sleeps.
    pub(super) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Whether the caller must wake the shard: true for the first one since it slept.
    pub(super) fn claim(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// The shard will sleep, unless it finds something in the look that follows.
    pub(super) fn clear(&self) {
        self.0.swap(false, Ordering::AcqRel);
    }

    /// The shard is awake and will look at everything before it sleeps.
    pub(super) fn mute(&self) {
        self.0.swap(true, Ordering::AcqRel);
    }
}

/// Whether the producer of a lane found too little room and is to be told when there is more.
#[derive(Debug)]
pub(super) struct StarvedFlag(AtomicBool);

impl StarvedFlag {
    /// A flag of a lane with room.
    pub(super) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Called by the producer when there was no room, before it looks again: either it sees the
    /// room that was made meanwhile, or who made it sees the flag.
    pub(super) fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Called by the consumer after it has made room: whether the producer wants to know.
    pub(super) fn take(&self) -> bool {
        fence(Ordering::SeqCst);
        // Mostly it is not raised, and nothing need be written.
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}
