//! [`UringDriver`]: the seam over a real ring.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use io_uring::types::{Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use slab::Slab;

use super::buffers::{self, BufferRing};
use super::fault::{EnterVerdict, Fault, SetupError, enter_verdict, recv_outcome};
use super::setup::{self, RingSizes};
use super::table::{File, Table, TableSizes};
use super::token::{self, Op};
use super::{CloseHow, Completion, Driver, DriverCounts, Lease, RingFds, Sock, fd};
use crate::chunks::Chunks;
use crate::frame::FrameBytes;
use crate::id::{ConnId, ShardId};

/// A shard's ring: `SINGLE_ISSUER | DEFER_TASKRUN`, provided buffers, multishot receives.
///
/// Must be made, used and dropped on one thread. One `io_uring_enter` a turn submits everything
/// queued and waits.
pub struct UringDriver {
    // Dropped first: the kernel must be done with everything below.
    ring: IoUring,
    buffers: BufferRing,
    socks: Chunks<Option<SockState>>,
    table: Table,
    /// What the kernel is sending now: far less than there are sockets.
    sends: Slab<FrameBytes>,
    /// Completions of the last wait, taken out of the shared queue so that it has room again.
    taken: VecDeque<cqueue::Entry>,
    bell: BellRead,
    peers: RingFds,
    counts: DriverCounts,
}

struct SockState {
    file: File,
    generation: u32,
    /// True from `arm_recv` to the completion that says the receive ended.
    recv_armed: bool,
    /// Where in `sends` the bytes lie that the kernel is sending now.
    in_flight: Option<u32>,
}

/// Every connection has one of these beside what the shard keeps of it.
const _: () = assert!(size_of::<Option<SockState>>() <= 24);

/// The socket option with which a close sends a reset and frees everything at once.
static RESET_ON_CLOSE: libc::linger = libc::linger { l_onoff: 1, l_linger: 0 };

/// The read that other threads end by ringing.
struct BellRead {
    eventfd: RawFd,
    /// Where the kernel puts the eventfd's count. Boxed: the address must not move with the driver.
    count: Box<u64>,
    armed: bool,
}

impl UringDriver {
    /// Builds the ring on the calling thread. `bell` is the shard's eventfd; it must stay open as
    /// long as the driver lives (the shard holds it in its `mail::Post`).
    ///
    /// # Errors
    /// The kernel refused; `doctor` explains why.
    pub fn new(sizes: RingSizes, eventfd: RawFd) -> Result<Self, SetupError> {
        let ring = setup::build(sizes)?;
        let buffers =
            BufferRing::register(&ring.submitter(), sizes.recv_buffers, sizes.recv_buffer_size)?;
        Ok(Self {
            ring,
            buffers,
            socks: Chunks::default(),
            sends: Slab::new(),
            table: Table::none(),
            taken: VecDeque::new(),
            bell: BellRead { eventfd, count: Box::new(0), armed: false },
            peers: RingFds::from([]),
            counts: DriverCounts::default(),
        })
    }

    /// Holds sockets in slots of a table from now on, as `sizes` says. Before the first socket.
    ///
    /// # Errors
    /// The kernel refused the table: it is larger than `RLIMIT_NOFILE`, or memory is short.
    pub fn register_table(&mut self, sizes: TableSizes) -> Result<(), SetupError> {
        assert!(self.socks.len() == 0, "the table comes before the sockets");
        self.table = Table::register(&self.ring.submitter(), sizes)?;
        Ok(())
    }

    /// The ring's descriptor: what other shards' messages aim at.
    pub fn ring_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// Names the rings of all shards, by shard, once all are built. They must outlive every
    /// thread that may wake them.
    pub fn set_peers(&mut self, peers: RingFds) {
        self.peers = peers;
    }

    fn sock(&mut self, sock: Sock) -> &mut SockState {
        let state = self.socks.get_mut(sock.index()).and_then(Option::as_mut);
        state.expect("the shard names open sockets only")
    }

    fn conn(&mut self, sock: Sock) -> ConnId {
        ConnId { slot: sock.0, generation: self.sock(sock).generation }
    }

    /// Queues one entry; hands the queue over first when it is full.
    fn push(&mut self, entry: squeue::Entry) {
        while self.ring.submission().is_full() {
            if let EnterVerdict::Broken(fault) = self.enter(0, Some(Duration::ZERO)) {
                panic!("the ring refuses submissions: {fault}");
            }
        }
        // SAFETY: what the entry points to outlives the operation: a send's bytes lie in
        // `UringDriver::sends` until its completion, the bell's count is boxed in the driver,
        // receives point to the registered buffers, a socket option points to a static,
        // descriptors are closed after the last completion (`close` asserts it), a slot is given
        // to another socket after it (`Table` counts), and the ring is dropped before all of these.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.expect("the queue has room: it was just checked");
        self.counts.submissions += 1;
    }

    /// One `io_uring_enter`, then moves completions out of the shared queue.
    fn enter(&mut self, want: usize, timeout: Option<Duration>) -> EnterVerdict {
        let timespec = timeout.map(|t| Timespec::new().sec(t.as_secs()).nsec(t.subsec_nanos()));
        let mut args = SubmitArgs::new();
        if let Some(timespec) = &timespec {
            args = args.timespec(timespec);
        }
        self.counts.enters += 1;
        let verdict = enter_verdict(self.ring.submitter().submit_with_args(want, &args));
        if self.ring.submission().cq_overflow() {
            self.counts.overflows += 1;
        }
        let before = self.taken.len();
        self.taken.extend(self.ring.completion());
        self.counts.completions += (self.taken.len() - before) as u64;
        verdict
    }

    /// Closes the socket in `slot`; its completion frees the slot.
    fn close_slot(&mut self, slot: u32, how: CloseHow) {
        if how == CloseHow::Reset {
            let (level, name) = (libc::SOL_SOCKET as u32, libc::SO_LINGER as u32);
            let value = (&raw const RESET_ON_CLOSE).cast();
            let len = size_of::<libc::linger>() as u32;
            let option = opcode::SetSockOpt::new(Fixed(slot), level, name, value, len).build();
            // Done when it is submitted, hence before the close. An error leaves an ordinary one.
            let option = option.flags(squeue::Flags::SKIP_SUCCESS);
            self.push(option.user_data(token::pack_plain(Op::Reset, slot)));
        }
        let close = opcode::Close::new(Fixed(slot)).build();
        self.push(close.user_data(token::pack_plain(Op::Slot, slot)));
    }

    fn arm_bell(&mut self) {
        let address: *mut u64 = &raw mut *self.bell.count;
        let len = size_of::<u64>() as u32;
        let read = opcode::Read::new(Fd(self.bell.eventfd), address.cast(), len);
        self.push(read.build().user_data(token::pack_plain(Op::Bell, 0)));
        self.bell.armed = true;
    }

    fn translate(&mut self, entry: &cqueue::Entry) -> Option<Completion> {
        let (op, conn) = token::unpack(entry.user_data()).expect("every entry carries a token");
        match op {
            Op::Recv => Some(self.reap_recv(conn, entry)),
            Op::Send => self.reap_send(conn, entry.result()),
            Op::Cancel | Op::Reset => None,
            Op::Slot => {
                self.table.release(conn.slot);
                None
            }
            Op::Bell => {
                self.bell.armed = false;
                Some(Completion::Woken)
            }
            Op::Woken => Some(Completion::Woken),
            Op::Wake => {
                self.reap_wake(ShardId(conn.slot as u16), entry.result());
                None
            }
        }
    }

    fn reap_recv(&mut self, conn: ConnId, entry: &cqueue::Entry) -> Completion {
        let armed = cqueue::more(entry.flags());
        let result = entry.result();
        // A buffer may come with any outcome, a cancelled receive included.
        let lease = cqueue::buffer_select(entry.flags())
            .map(|index| self.buffers.lend(index, u32::try_from(result).unwrap_or(0)));
        let outcome = recv_outcome(result, lease.is_some(), armed);
        if let Some(Some(state)) = self.socks.get_mut(conn.slot as usize)
            && state.generation == conn.generation
        {
            state.recv_armed = armed;
        }
        Completion::Recv { conn, outcome, lease, armed }
    }

    fn reap_send(&mut self, conn: ConnId, result: i32) -> Option<Completion> {
        let state = self.socks.get_mut(conn.slot as usize)?.as_mut()?;
        assert_eq!(state.generation, conn.generation, "a socket was closed with a send in flight");
        let key = state.in_flight.take().expect("a send's bytes wait for its completion");
        let bytes = self.sends.remove(key as usize);
        let result = usize::try_from(result).map_err(|_| Fault::from_result(result));
        Some(Completion::Send { conn, bytes, result })
    }

    /// A message to another ring failed. Without memory for it, it is tried again. Any other error
    /// says that the ring has completions for its shard anyway, or that its thread is gone because
    /// the process ends: trying again would only spin.
    fn reap_wake(&mut self, shard: ShardId, result: i32) {
        if result >= 0 {
            return;
        }
        let fault = Fault::from_result(result);
        tracing::debug!(%shard, %fault, "a wake-up was refused");
        if let Fault::OutOfMemory(_) = fault {
            self.wake(shard);
        }
    }
}

impl Drop for UringDriver {
    /// The kernel ends the operations of a closed ring some time later and tells nobody when, so
    /// memory it may still use is leaked, not freed. With no socket open that is eight bytes.
    fn drop(&mut self) {
        let mut alive = false;
        for state in self.socks.iter_mut().flatten() {
            alive |= state.recv_armed;
        }
        std::mem::forget(std::mem::take(&mut self.sends));
        if alive {
            self.buffers.leak();
        }
        std::mem::forget(std::mem::take(&mut self.bell.count));
    }
}

impl Driver for UringDriver {
    fn insert(&mut self, conn: ConnId, socket: OwnedFd) -> Sock {
        let index = conn.slot as usize;
        while self.socks.len() <= index {
            self.socks.grow();
        }
        let file = self.table.insert(&self.ring.submitter(), socket);
        let state =
            SockState { file, generation: conn.generation, recv_armed: false, in_flight: None };
        let before = self.socks.get_mut(index).expect("it was just made sure of").replace(state);
        assert!(before.is_none(), "a slot holds one socket");
        Sock(conn.slot)
    }

    fn arm_recv(&mut self, sock: Sock) {
        let conn = self.conn(sock);
        let state = self.sock(sock);
        assert!(!state.recv_armed, "a second receive on one socket");
        state.recv_armed = true;
        let (fd, kind) = state.file.operand();
        let recv = opcode::RecvMulti::new(fd, buffers::GROUP).build().flags(kind);
        self.push(recv.user_data(token::pack(Op::Recv, conn)));
    }

    fn disarm_recv(&mut self, sock: Sock) {
        let conn = self.conn(sock);
        if self.sock(sock).recv_armed {
            let cancel = opcode::AsyncCancel::new(token::pack(Op::Recv, conn)).build();
            self.push(cancel.user_data(token::pack(Op::Cancel, conn)));
        }
    }

    fn submit_send(&mut self, sock: Sock, bytes: FrameBytes, from: usize) {
        let key = self.sends.insert(bytes);
        let state = self.socks.get_mut(sock.index()).and_then(Option::as_mut);
        let state = state.expect("the shard names open sockets only");
        let conn = ConnId { slot: sock.0, generation: state.generation };
        assert!(state.in_flight.is_none(), "a second send on one socket");
        let rest = &self.sends[key].as_slice()[from..];
        assert!(!rest.is_empty(), "a send of nothing");
        let rest_len = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        let (fd, kind) = state.file.operand();
        let send = opcode::Send::new(fd, rest.as_ptr(), rest_len)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            .flags(kind);
        state.in_flight = Some(u32::try_from(key).expect("at most one send a socket"));
        self.push(send.user_data(token::pack(Op::Send, conn)));
    }

    fn cancel_send(&mut self, sock: Sock) {
        let conn = self.conn(sock);
        if self.sock(sock).in_flight.is_some() {
            let cancel = opcode::AsyncCancel::new(token::pack(Op::Send, conn)).build();
            self.push(cancel.user_data(token::pack(Op::Cancel, conn)));
        }
    }

    fn shutdown_write(&mut self, sock: Sock) {
        match self.sock(sock).file {
            // IORING_OP_SHUTDOWN would go to a worker thread; the call itself does not block.
            File::Ordinary(ref fd) => fd::shutdown_write(fd),
            File::Slot(slot) => {
                // The worker looks the slot up: until then it must be this socket's.
                self.table.hold(slot);
                let shutdown = opcode::Shutdown::new(Fixed(slot), libc::SHUT_WR).build();
                self.push(shutdown.user_data(token::pack_plain(Op::Slot, slot)));
            }
        }
    }

    fn close(&mut self, sock: Sock, how: CloseHow) {
        let state = self.socks.get_mut(sock.index()).and_then(Option::take);
        let state = state.expect("the shard closes a socket once");
        assert!(!state.recv_armed && state.in_flight.is_none(), "closed with an operation alive");
        match state.file {
            File::Ordinary(socket) => {
                if how == CloseHow::Reset {
                    fd::reset_on_close(&socket);
                }
                self.table.forget_ordinary();
            }
            File::Slot(slot) => self.close_slot(slot, how),
        }
    }

    fn wake(&mut self, shard: ShardId) {
        let fd = Fd(self.peers[shard.index()]);
        let woken = token::pack_plain(Op::Woken, 0);
        let message = opcode::MsgRingData::new(fd, 0, woken, None).build();
        // Our own completion says nothing when it succeeds.
        let message = message.flags(squeue::Flags::SKIP_SUCCESS);
        self.push(message.user_data(token::pack_plain(Op::Wake, u32::from(shard.0))));
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), Fault> {
        if !self.bell.armed {
            self.arm_bell();
        }
        // Completions taken while the submission queue was full are waiting already.
        let timeout = if self.taken.is_empty() { timeout } else { Some(Duration::ZERO) };
        loop {
            match self.enter(1, timeout) {
                EnterVerdict::Fine => return Ok(()),
                EnterVerdict::TakeCompletions if self.taken.is_empty() => {}
                EnterVerdict::TakeCompletions => return Ok(()),
                EnterVerdict::Broken(fault) => return Err(fault),
            }
        }
    }

    fn next_completion(&mut self) -> Option<Completion> {
        while let Some(entry) = self.taken.pop_front() {
            if let Some(completion) = self.translate(&entry) {
                return Some(completion);
            }
        }
        None
    }

    fn buffer(&mut self, lease: &Lease) -> &mut [u8] {
        self.buffers.filled(lease)
    }

    fn release(&mut self, lease: Lease) {
        self.buffers.release(lease);
    }

    fn buffer_count(&self) -> usize {
        usize::from(self.buffers.count())
    }

    fn counts(&self) -> DriverCounts {
        self.counts
    }
}
