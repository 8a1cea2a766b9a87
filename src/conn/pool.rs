//! zlib's states for messages that need none between them, one pool a thread: connections stay on
//! the thread of their ring.

use std::cell::RefCell;

use crate::ws::DeflatePool;

thread_local! {
    /// The pool of this thread.
    pub(super) static POOL: RefCell<DeflatePool> = const { RefCell::new(DeflatePool::new()) };
}
