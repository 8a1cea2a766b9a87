//! Everybody who waits for one operation.
//!
//! An operation of the ring keeps one waker, and the reader of a connection may wait for a write as
//! well as its writer does. So the operation gets one waker that wakes all who registered.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Wake, Waker};

/// The wakers of those who wait. Allocates only until it has grown to its largest number of
/// waiters, which is the number of tasks that use a connection.
#[derive(Debug, Default)]
pub(super) struct Wakers {
    waiting: Mutex<Vec<Waker>>,
}

impl Wakers {
    /// Wakes the owner of `waker` too, once.
    pub(super) fn register(&self, waker: &Waker) {
        let mut waiting = self.lock();
        if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.waiting.lock().expect("nobody panics while holding it")
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // What a waker does is not ours to know, so none is woken under the lock.
        let mut woken = std::mem::take(&mut *self.lock());
        woken.drain(..).for_each(Waker::wake);
        let mut waiting = self.lock();
        if waiting.capacity() < woken.capacity() {
            woken.append(&mut waiting);
            *waiting = woken;
        }
    }
}
