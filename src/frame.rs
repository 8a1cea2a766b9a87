//! Bytes ready for the wire and who shares them.
//!
//! A leaf between the modules that make frames (`publication`, `session`) and the one that hands
//! them to the kernel (`ring`): whatever variant it is, the bytes lie on the heap and do not move
//! while the value is alive, however the value itself is moved.

use std::rc::Rc;
use std::sync::Arc;

/// A run of bytes that waits for a socket or is in flight to it.
#[derive(Clone, Debug)]
pub enum FrameBytes {
    /// Bytes of one connection alone: replies, control frames, echoes, gathered small frames.
    Owned(Vec<u8>),
    /// One publication's frame, shared by all subscribers of a shard. The `Arc` crosses threads
    /// once per shard; the `Rc` is what each subscriber counts, without an atomic.
    Shared(Rc<Arc<[u8]>>),
    /// As `Shared`, and a reader that does not keep up may miss it.
    Droppable(Rc<Droppable>),
}

/// A publication's frame that may be dropped while it waits, but not once it is in flight.
#[derive(Debug)]
pub struct Droppable {
    /// The frame, header included.
    pub bytes: Arc<[u8]>,
    /// Whose publication it is, in the numbers of the shard.
    pub channel: u32,
    /// When it may be dropped.
    pub policy: DropPolicy,
}

/// When a frame that waits may be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropPolicy {
    /// When room is needed: those that have waited longest first.
    Oldest,
    /// When a newer one of its channel comes, and for nothing else.
    Superseded,
}

impl FrameBytes {
    /// A publication's frame, for all subscribers of a shard: `policy` says whether and when it may
    /// be dropped, `channel` whose it is.
    pub fn shared(bytes: Arc<[u8]>, channel: u32, policy: Option<DropPolicy>) -> Self {
        match policy {
            None => FrameBytes::Shared(Rc::new(bytes)),
            Some(policy) => FrameBytes::Droppable(Rc::new(Droppable { bytes, channel, policy })),
        }
    }

    /// Bytes held.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes. Their address is stable until the value is dropped or, for `Owned`, grown.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            FrameBytes::Owned(bytes) => bytes,
            FrameBytes::Shared(frame) => frame,
            FrameBytes::Droppable(frame) => &frame.bytes,
        }
    }
}
