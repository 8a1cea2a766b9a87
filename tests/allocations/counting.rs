//! An allocator that counts what the calling thread allocates while it is asked to.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counting.
pub(crate) struct Counting;

thread_local! {
    /// `Some`: allocations of this thread so far. Without a destructor, so that it may be used
    /// while a thread ends, and const, so that using it allocates nothing.
    static COUNT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// How often `body` allocates, or grows what it allocated, on this thread.
pub(crate) fn allocations(body: impl FnOnce()) -> usize {
    COUNT.set(Some(0));
    body();
    COUNT.take().expect("set above")
}

fn count() {
    COUNT.set(COUNT.get().map(|count| count + 1));
}

// SAFETY: every call goes to the system's allocator with the arguments as they came, and its result
// is returned as it is; counting touches a thread-local cell, allocates nothing and cannot unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the obligations of `alloc`, which are the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the obligations of `alloc_zeroed`, which are the same there.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the obligations of `realloc`; `block` came from `System`, for
        // all blocks do.
        unsafe { System.realloc(block, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the obligations of `dealloc`; `block` came from `System`, for
        // all blocks do.
        unsafe { System.dealloc(block, layout) }
    }
}
