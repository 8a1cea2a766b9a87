//! How a ring names its sockets: by ordinary descriptors, or by slots of the ring's own table.
//!
//! A slot is no open file in the eyes of `RLIMIT_NOFILE`, so connections in slots are not bound by
//! that limit; each table holds at most as many as the limit says. A socket comes as an ordinary
//! descriptor all the same; once it has a slot the descriptor is closed.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use io_uring::squeue::Flags;
use io_uring::{Submitter, types};

use super::fault::SetupError;

/// Which sockets of one ring are held in slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSizes {
    /// Slots of the ring's table; at most `RLIMIT_NOFILE`.
    pub slots: u32,
    /// Sockets that keep their ordinary descriptors; those that come while so many do get slots.
    pub ordinary_max: u32,
}

/// A socket's file, as operations name it.
#[derive(Debug)]
pub(super) enum File {
    /// An ordinary descriptor.
    Ordinary(OwnedFd),
    /// A slot of the ring's table.
    Slot(u32),
}

impl File {
    /// What an operation takes: the number, and the flag that says which kind of number it is.
    pub(super) fn operand(&self) -> (types::Fd, Flags) {
        match self {
            File::Ordinary(fd) => (types::Fd(fd.as_raw_fd()), Flags::empty()),
            File::Slot(slot) => (types::Fd(*slot as RawFd), Flags::FIXED_FILE),
        }
    }
}

/// The slots of one ring: which are free, and how many sockets have none.
#[derive(Debug)]
pub(super) struct Table {
    sizes: TableSizes,
    /// Sockets with ordinary descriptors.
    ordinary_len: u32,
    /// Slots that were used and are free again.
    free: Vec<u32>,
    /// By slot, of those ever used: the socket in it and every operation on the slot that may not
    /// be met by another socket. At 0 the slot is free.
    holders: Vec<u8>,
}

impl Table {
    /// No slots: every socket keeps its descriptor.
    pub(super) fn none() -> Self {
        let sizes = TableSizes { slots: 0, ordinary_max: u32::MAX };
        Self { sizes, ordinary_len: 0, free: Vec::new(), holders: Vec::new() }
    }

    /// Registers empty slots with the ring.
    pub(super) fn register(
        submitter: &Submitter<'_>,
        sizes: TableSizes,
    ) -> Result<Self, SetupError> {
        let refused = |source| SetupError::Table { slots: sizes.slots, source };
        submitter.register_files_sparse(sizes.slots).map_err(refused)?;
        Ok(Self { sizes, ..Self::none() })
    }

    /// Takes a socket: its descriptor while few have one, else into a slot. Without a free slot, or
    /// if the kernel has no memory for it, the socket keeps its descriptor.
    pub(super) fn insert(&mut self, submitter: &Submitter<'_>, socket: OwnedFd) -> File {
        if self.ordinary_len >= self.sizes.ordinary_max
            && let Some(slot) = self.reserve()
        {
            if submitter.register_files_update(slot, &[socket.as_raw_fd()]).is_ok() {
                return File::Slot(slot);
            }
            self.release(slot);
        }
        self.ordinary_len += 1;
        File::Ordinary(socket)
    }

    /// A socket with an ordinary descriptor is closed.
    pub(super) fn forget_ordinary(&mut self) {
        self.ordinary_len -= 1;
    }

    /// An operation on `slot` begins that must not meet the slot's next socket.
    pub(super) fn hold(&mut self, slot: u32) {
        self.holders[slot as usize] += 1;
    }

    /// An operation that held `slot` has ended; its close ends what the socket held.
    pub(super) fn release(&mut self, slot: u32) {
        let holders = &mut self.holders[slot as usize];
        *holders = holders.checked_sub(1).expect("a slot is released as often as it is held");
        if *holders == 0 {
            self.free.push(slot);
        }
    }

    /// A free slot, held by the socket that is to come.
    fn reserve(&mut self) -> Option<u32> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let unused = u32::try_from(self.holders.len()).expect("at most `slots`");
                (unused < self.sizes.slots).then(|| self.holders.push(0))?;
                unused
            }
        };
        self.hold(slot);
        Some(slot)
    }
}
