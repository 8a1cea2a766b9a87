//! An allocator that counts what the calling thread, or a kind of threads, allocates while it is
//! asked to.

#![allow(dead_code, reason = "each test program uses a part")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The system's allocator, counting.
pub(crate) struct Counting;

thread_local! {
    /// `Some`: allocations of this thread so far. Without a destructor, so that it may be used
    /// while a thread ends, and const, so that using it allocates nothing.
    static COUNT: Cell<Option<usize>> = const { Cell::new(None) };

    /// Whether this is a shard's thread, once that was asked.
    static IS_SHARD: Cell<Option<bool>> = const { Cell::new(None) };
}

/// Whether allocations of shards' threads are counted.
static SHARDS_WATCHED: AtomicBool = AtomicBool::new(false);

/// How many of them are shown with their backtraces: `SHOW_ALLOCATIONS=9`, for whoever looks for a
/// cause.
static SHOWN_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Those that were counted.
static OF_SHARDS: AtomicUsize = AtomicUsize::new(0);

/// How often `body` allocates, or grows what it allocated, on this thread.
pub(crate) fn allocations(body: impl FnOnce()) -> usize {
    COUNT.set(Some(0));
    body();
    COUNT.take().expect("set above")
}

/// How often threads called `shard-…` allocate, or grow what they allocated, while `body` runs
/// here. One caller at a time, and not before those threads have their names.
pub(crate) fn allocations_of_shards(body: impl FnOnce()) -> usize {
    let shown = std::env::var("SHOW_ALLOCATIONS").ok().and_then(|shown| shown.parse().ok());
    SHOWN_COUNT.store(shown.unwrap_or(0), Ordering::Relaxed);
    OF_SHARDS.store(0, Ordering::Relaxed);
    SHARDS_WATCHED.store(true, Ordering::Release);
    body();
    SHARDS_WATCHED.store(false, Ordering::Release);
    OF_SHARDS.load(Ordering::Relaxed)
}

fn count() {
    COUNT.set(COUNT.get().map(|count| count + 1));
    if SHARDS_WATCHED.load(Ordering::Relaxed) && is_shard() {
        let before = OF_SHARDS.fetch_add(1, Ordering::Relaxed);
        if before < SHOWN_COUNT.load(Ordering::Relaxed) {
            // What showing allocates is not to be counted, or shown.
            IS_SHARD.set(Some(false));
            eprintln!("allocated by\n{}", Backtrace::force_capture());
            IS_SHARD.set(Some(true));
        }
    }
}

fn is_shard() -> bool {
    IS_SHARD.get().unwrap_or_else(|| {
        // Asking allocates.
        IS_SHARD.set(Some(false));
        let is_shard =
            rustix::thread::name().is_ok_and(|name| name.to_bytes().starts_with(b"shard-"));
        IS_SHARD.set(Some(is_shard));
        is_shard
    })
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
