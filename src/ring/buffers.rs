//! The ring of receive buffers shared with the kernel.
//!
//! The kernel picks a buffer when data arrives, so an idle connection owns none.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

use super::Lease;
use super::fault::SetupError;

/// The one buffer group of a ring.
pub(super) const GROUP: u16 = 0;

/// The kernel wants the ring of entries on a page border.
const PAGE: usize = 4096;

/// Buffers and the ring that offers them to the kernel. Owns both; the kernel may write to any
/// offered buffer until the io_uring itself is gone, so the owner drops the io_uring first.
#[derive(Debug)]
pub(super) struct BufferRing {
    entries: NonNull<BufRingEntry>,
    buffers: NonNull<u8>,
    count: u16,
    buffer_size: u32,
    /// Entries ever offered, modulo 2^16; the kernel sees it through the ring's tail.
    tail: u16,
    /// Buffers lent to the shard now; a second release of one would go below zero.
    lent_count: u16,
    /// True if the memory is not to be freed.
    leaked: bool,
}

impl BufferRing {
    /// Allocates `count` buffers (a power of two) of `buffer_size` bytes, registers and offers
    /// them.
    pub(super) fn register(
        submitter: &Submitter<'_>,
        count: u16,
        buffer_size: u32,
    ) -> Result<Self, SetupError> {
        assert!(count.is_power_of_two(), "configuration admits powers of two only");
        assert!(buffer_size > 0);
        let entries = allocate(entries_layout(count)).cast::<BufRingEntry>();
        let buffers = allocate(buffers_layout(count, buffer_size));
        let mut ring = Self {
            entries,
            buffers,
            count,
            buffer_size,
            tail: 0,
            lent_count: count,
            leaked: false,
        };
        // SAFETY: `entries` is page-aligned memory for `count` entries that this value owns and
        // frees only when dropped, after the io_uring (see `UringDriver`'s field order).
        let registered = unsafe {
            submitter.register_buf_ring_with_flags(entries.as_ptr() as u64, count, GROUP, 0)
        };
        registered.map_err(|source| SetupError::Buffers { count, source })?;
        for buffer_index in 0..count {
            ring.release(Lease { buffer_index, filled_len: 0 });
        }
        Ok(ring)
    }

    /// Notes that the kernel handed buffer `buffer_index` over with `filled_len` bytes.
    pub(super) fn lend(&mut self, buffer_index: u16, filled_len: u32) -> Lease {
        assert!(buffer_index < self.count && filled_len <= self.buffer_size);
        self.lent_count += 1;
        assert!(self.lent_count <= self.count, "the kernel handed out a buffer it did not have");
        Lease { buffer_index, filled_len }
    }

    /// The filled part of a lent buffer.
    pub(super) fn filled(&mut self, lease: &Lease) -> &mut [u8] {
        let start = self.buffer_start(lease.buffer_index);
        // SAFETY: the kernel gave this buffer up when it completed the receive and gets it back in
        // `release` only, which needs the lease that we borrow here; leases cannot be copied and
        // `&mut self` allows one slice at a time. The whole buffer was initialised with zeroes.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), lease.filled_len as usize) }
    }

    /// Offers a buffer to the kernel again.
    pub(super) fn release(&mut self, lease: Lease) {
        assert!(self.lent_count > 0, "released more buffers than were lent");
        self.lent_count -= 1;
        let address = self.buffer_start(lease.buffer_index).as_ptr() as u64;
        let index = usize::from(self.tail & (self.count - 1));
        // SAFETY: the index is below `count`, so the entry lies in our allocation.
        let entry = unsafe { self.entries.add(index) };
        // SAFETY: the kernel reads entries from its head up to the published tail; this one lies
        // past the tail because at most `count` buffers are ever offered, so nobody else uses it.
        let entry = unsafe { &mut *entry.as_ptr() };
        entry.set_addr(address);
        entry.set_len(self.buffer_size);
        entry.set_bid(lease.buffer_index);
        self.tail = self.tail.wrapping_add(1);
        self.publish_tail();
    }

    /// Never frees the memory: the kernel may still write to it.
    pub(super) fn leak(&mut self) {
        self.leaked = true;
    }

    /// How many buffers there are.
    pub(super) fn count(&self) -> u16 {
        self.count
    }

    fn publish_tail(&mut self) {
        // SAFETY: `entries` is the base of a registered buffer ring, as `tail` asks.
        let tail = unsafe { BufRingEntry::tail(self.entries.as_ptr()) };
        // SAFETY: the tail is an aligned u16 inside our allocation that only this thread writes
        // and the kernel reads; an atomic store with release order publishes the entries above.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    fn buffer_start(&self, buffer_index: u16) -> NonNull<u8> {
        assert!(buffer_index < self.count);
        let offset = usize::from(buffer_index) * self.buffer_size as usize;
        // SAFETY: the index is below `count`, so the offset lies in the allocation.
        unsafe { self.buffers.add(offset) }
    }
}

impl Drop for BufferRing {
    fn drop(&mut self) {
        if self.leaked {
            return;
        }
        let entries = self.entries.cast::<u8>().as_ptr();
        // SAFETY: allocated in `register` with this layout; the io_uring is gone, so the kernel
        // reads no entry any more.
        unsafe { dealloc(entries, entries_layout(self.count)) };
        let layout = buffers_layout(self.count, self.buffer_size);
        // SAFETY: allocated in `register` with this layout; the io_uring is gone, so the kernel
        // writes to no buffer any more, and leases do not outlive a turn.
        unsafe { dealloc(self.buffers.as_ptr(), layout) };
    }
}

fn entries_layout(count: u16) -> Layout {
    let size = usize::from(count) * size_of::<BufRingEntry>();
    Layout::from_size_align(size, PAGE).expect("at most 2^16 entries of 16 bytes")
}

fn buffers_layout(count: u16, buffer_size: u32) -> Layout {
    let size = usize::from(count) * buffer_size as usize;
    Layout::from_size_align(size, PAGE).expect("at most 2^16 buffers of below 2^32 bytes")
}

fn allocate(layout: Layout) -> NonNull<u8> {
    assert!(layout.size() > 0);
    // SAFETY: the layout's size is not zero.
    let memory = unsafe { alloc_zeroed(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}
