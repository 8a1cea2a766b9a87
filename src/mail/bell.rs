//! What wakes one shard.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

use super::flag::AwakeFlag;

/// Wakes one shard; cheap when it is awake already.
///
/// A set flag means that the shard is awake or that somebody is waking it. Before it waits, the
/// shard clears the flag and *then* looks once more at its lanes, and whether room has come that it
/// asked for: what came earlier is seen, what comes later finds the flag clear and wakes it. Shards
/// wake each other with `MSG_RING` ([`Bell::claim`]); other threads write to the eventfd on which
/// the shard's ring keeps a read armed ([`Bell::ring`]).
#[derive(Clone, Debug)]
pub struct Bell {
    awake: Arc<AwakeFlag>,
    eventfd: Arc<OwnedFd>,
}

impl Bell {
    /// A silent bell.
    ///
    /// # Errors
    /// The descriptor table is full.
    pub fn new() -> io::Result<Self> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Self { awake: Arc::new(AwakeFlag::new()), eventfd: Arc::new(eventfd) })
    }

    /// Rings from a thread without a ring of its own that can send `MSG_RING`. One system call if
    /// this is the first ring since the shard's last clear, none otherwise.
    pub fn ring(&self) {
        if !self.claim() {
            return;
        }
        let one = 1u64.to_ne_bytes();
        loop {
            match rustix::io::write(&self.eventfd, &one) {
                Ok(_) => return,
                Err(rustix::io::Errno::INTR) => {}
                // The counter would have to pass 2^64-2; the shard reads it at every wake.
                Err(errno) => unreachable!("writing to an eventfd failed: {errno}"),
            }
        }
    }

    /// Claims the right to wake the shard: true for the first caller since the last clear, who
    /// must then wake it; false when somebody else already does.
    #[must_use]
    pub fn claim(&self) -> bool {
        self.awake.claim()
    }

    /// Called by the shard before it looks at its lanes for the last time and waits.
    pub fn clear(&self) {
        self.awake.clear();
    }

    /// Called by the shard when it is awake: nobody need wake it until the next clear.
    pub fn mute(&self) {
        self.awake.mute();
    }

    /// The eventfd on which the shard keeps a read armed.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}
