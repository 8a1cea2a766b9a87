//! The kernel, behind one narrow seam: insert a socket, receive, send, cancel, shut down, close,
//! wake, wait for completions.
//!
//! A shard knows only [`Driver`]. [`UringDriver`] is the real one; a scripted driver in the tests
//! plays every pitfall of io_uring against the same shard. Sockets are named by an opaque [`Sock`],
//! errors by [`Fault`]: errno is read in `fault.rs` and nowhere else.
//!
//! Ownership: the kernel owns a send's bytes from [`Driver::submit_send`] to the completion that
//! gives them back, and a receive buffer is the shard's from the completion that carries its
//! [`Lease`] to [`Driver::release`].

mod buffers;
pub mod fault;
pub mod fd;
mod setup;
mod table;
mod table_probe;
mod token;
mod uring;

use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;

pub use fault::{Fault, SetupError};
pub use setup::{RingSizes, probe};
pub use table::TableSizes;
pub use table_probe::{TableFault, probe_table};
pub use uring::UringDriver;

use crate::frame::FrameBytes;
use crate::id::{ConnId, ShardId};

/// A socket inside a driver. Means nothing to anybody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sock(pub(crate) u32);

impl Sock {
    /// A name for the `index`th socket; only a driver makes one.
    pub fn from_index(index: u32) -> Self {
        Self(index)
    }

    /// The index given to [`Sock::from_index`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A filled receive buffer, lent by the driver. Cannot be copied; must be given back with
/// [`Driver::release`] within the turn.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a lease that is not released starves every receive of the shard"]
pub struct Lease {
    /// Which buffer.
    pub(crate) buffer_index: u16,
    /// How many bytes the kernel filled.
    pub(crate) filled_len: u32,
}

impl Lease {
    /// A lease of buffer `buffer_index` holding `filled_len` bytes; only a driver makes one.
    pub fn new(buffer_index: u16, filled_len: u32) -> Self {
        Self { buffer_index, filled_len }
    }

    /// The buffer's index.
    pub fn buffer_index(&self) -> u16 {
        self.buffer_index
    }

    /// Bytes filled.
    pub fn filled_len(&self) -> usize {
        self.filled_len as usize
    }
}

/// What a receive brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvOutcome {
    /// Bytes, in the completion's lease.
    Data,
    /// The peer finished sending.
    End,
    /// Every buffer was taken. Flow control, not an error: arm again once buffers are back.
    NoBuffers,
    /// The receive was cancelled by [`Driver::disarm_recv`].
    Cancelled,
    /// The kernel ended the multishot for a reason of its own (such as an overflowing completion
    /// queue) without an error of the socket: arm again.
    Ended,
    /// The socket failed.
    Failed(Fault),
}

/// Something the kernel finished.
#[derive(Debug)]
pub enum Completion {
    /// A receive brought something. `lease` can be there whatever the outcome: a cancelled receive
    /// may still have taken a buffer.
    Recv {
        /// Whose.
        conn: ConnId,
        /// What.
        outcome: RecvOutcome,
        /// The buffer, if one was taken.
        lease: Option<Lease>,
        /// Whether the receive stays armed. False: nothing more comes until it is armed again.
        armed: bool,
    },
    /// A send ended; the kernel is done with `bytes`.
    Send {
        /// Whose.
        conn: ConnId,
        /// What was handed to [`Driver::submit_send`].
        bytes: FrameBytes,
        /// Bytes taken by the kernel, counted from the offset given; may be short.
        result: Result<usize, Fault>,
    },
    /// Somebody rang: look at the mailboxes.
    Woken,
}

/// How a socket is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseHow {
    /// What was sent is delivered.
    Orderly,
    /// The peer gets a reset and nothing waits.
    Reset,
}

/// What the driver counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverCounts {
    /// `io_uring_enter` calls.
    pub enters: u64,
    /// Submission queue entries handed over.
    pub submissions: u64,
    /// Completions taken.
    pub completions: u64,
    /// Waits after which the completion queue had overflowed.
    pub overflows: u64,
}

/// The seam between a shard and the kernel.
///
/// Operations are queued; the kernel sees them at the next [`Driver::wait`] (or earlier, when the
/// queue is full). No call but `wait` blocks.
pub trait Driver {
    /// Takes a connected socket. No operation is started.
    fn insert(&mut self, conn: ConnId, socket: OwnedFd) -> Sock;

    /// Starts a receive that goes on until a completion says `armed: false`. At most one per
    /// socket.
    fn arm_recv(&mut self, sock: Sock);

    /// Asks for the receive to end. Its last completion still comes and may carry a buffer.
    fn disarm_recv(&mut self, sock: Sock);

    /// Sends `bytes` from offset `from` on. At most one per socket: several would reorder. The
    /// driver owns `bytes` until the completion gives them back.
    fn submit_send(&mut self, sock: Sock, bytes: FrameBytes, from: usize);

    /// Asks for the send in flight to end; its completion still comes.
    fn cancel_send(&mut self, sock: Sock);

    /// Tells the peer that nothing more will be sent. Receiving goes on.
    fn shutdown_write(&mut self, sock: Sock);

    /// Lets the socket go. No receive may be armed and no send in flight.
    fn close(&mut self, sock: Sock, how: CloseHow);

    /// Wakes another shard out of its `wait`.
    fn wake(&mut self, shard: ShardId);

    /// Hands over what is queued and waits until something is finished or `timeout` has passed
    /// (`None`: for ever; zero: only looks).
    ///
    /// # Errors
    /// The ring itself is broken; the process cannot go on.
    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), Fault>;

    /// The next completion of the last [`Driver::wait`].
    fn next_completion(&mut self) -> Option<Completion>;

    /// The bytes of a lease.
    fn buffer(&mut self, lease: &Lease) -> &mut [u8];

    /// Gives a buffer back to the kernel.
    fn release(&mut self, lease: Lease);

    /// How many receive buffers there are.
    fn buffer_count(&self) -> usize;

    /// What was counted so far.
    fn counts(&self) -> DriverCounts;
}

/// The descriptors of all shards' rings, by shard; what [`Driver::wake`] aims at.
pub type RingFds = std::sync::Arc<[RawFd]>;
