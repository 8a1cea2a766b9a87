//! A second driver behind `tidegate::ring::Driver`: the kernel as a script.
//!
//! A test runs the real shard over [`ScriptedDriver`], lets the "kernel" finish operations in any
//! order and with any result, and reads what every peer got. The driver holds the shard to the
//! seam's contract and panics when it is broken: a second receive or send on a socket, a send after
//! the write side was shut, a close with an operation alive, a buffer kept beyond its turn. Bytes
//! are poisoned as soon as the shard may no longer count on them, so that a use after that shows on
//! the wire.
//!
//! Nothing here draws random numbers or reads a clock: a simulator decides for itself what to
//! finish next, asking [`ScriptedDriver::armed`], [`ScriptedDriver::sending`] and
//! [`ScriptedDriver::asked_to_cancel`] what there is.

#![allow(dead_code, unused_imports, reason = "every test file uses a part of this module")]

pub(crate) mod backend;
mod buffers;
pub(crate) mod centrifuge;
pub(crate) mod connecting;
mod world;

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::time::Duration;

use tidegate::frame::FrameBytes;
use tidegate::id::{ConnId, ShardId};
use tidegate::ring::{CloseHow, Completion, Driver, DriverCounts, Fault, Lease, RecvOutcome, Sock};

pub(crate) use buffers::{POISON, ScriptedBuffers};
pub(crate) use world::{
    Options, START_UNIX_S, World, masked, masked_close, server_close, server_message,
};

/// One call of the shard, in the order made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Insert(ConnId),
    ArmRecv(ConnId),
    DisarmRecv(ConnId),
    /// `from` and the length of what was to be sent from there on.
    SubmitSend(ConnId, usize, usize),
    CancelSend(ConnId),
    ShutdownWrite(ConnId),
    Close(ConnId, CloseHow),
    Wake(ShardId),
    /// A receive buffer, by index.
    Release(u16),
    Wait(Option<Duration>),
}

/// What the kernel does with an operation when the script says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// It is finished by the next wait: a send whole, a cancelled operation as cancelled.
    AtOnce,
    /// It stays until the script finishes it.
    Held,
}

/// The kernel as a script.
pub(crate) struct ScriptedDriver {
    /// What happens to sends.
    pub(crate) sends: Habit,
    /// What happens to operations that were asked to end.
    pub(crate) cancels: Habit,
    socks: BTreeMap<u32, SockState>,
    peers: Vec<Peer>,
    buffers: ScriptedBuffers,
    /// What the kernel finished during a turn: the next wait brings it.
    finished: VecDeque<Completion>,
    /// What the last wait brought and the shard has not taken.
    ready: VecDeque<Completion>,
    /// True from a wait to the first look at its completions: the shard sleeps, and what the
    /// script finishes now belongs to that wait.
    waiting: bool,
    calls: Vec<Call>,
    counts: DriverCounts,
    /// What the other threads do when the shard wakes another, in the middle of its turn.
    pub(crate) on_wake: Option<Box<dyn FnMut()>>,
}

/// What one peer has seen. Outlives its socket.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) conn: ConnId,
    /// Every byte the kernel took for it, in order.
    pub(crate) wire: Vec<u8>,
    pub(crate) write_shut: bool,
    pub(crate) closed: Option<CloseHow>,
}

/// A socket in the driver. The descriptor is held and never touched.
struct SockState {
    conn: ConnId,
    _socket: OwnedFd,
    /// From `arm_recv` until the shard takes the completion that ends it.
    recv_armed: bool,
    /// From `arm_recv` until the kernel ends it: it may still bring something.
    recv_live: bool,
    recv_cancel_asked: bool,
    send: Option<SendInFlight>,
    send_cancel_asked: bool,
    write_shut: bool,
}

/// A send from `submit_send` until the shard takes its completion.
enum SendInFlight {
    /// In the kernel's hands.
    Live { bytes: FrameBytes, from: usize, checksum: u64 },
    /// Its completion is on the way.
    Finished,
}

impl ScriptedDriver {
    /// A kernel that sends and cancels at once, with `count` receive buffers of `size` bytes.
    pub(crate) fn new(count: u16, size: usize) -> Self {
        Self {
            sends: Habit::AtOnce,
            cancels: Habit::AtOnce,
            socks: BTreeMap::new(),
            peers: Vec::new(),
            buffers: ScriptedBuffers::new(count, size),
            finished: VecDeque::new(),
            ready: VecDeque::new(),
            waiting: false,
            calls: Vec::new(),
            counts: DriverCounts::default(),
            on_wake: None,
        }
    }

    /// The kernel receives bytes for `conn` and keeps the receive armed.
    pub(crate) fn recv(&mut self, conn: ConnId, bytes: &[u8]) {
        self.finish_recv(conn, RecvOutcome::Data, Some(bytes), true);
    }

    /// The peer of `conn` has finished sending.
    pub(crate) fn recv_end(&mut self, conn: ConnId) {
        self.finish_recv(conn, RecvOutcome::End, None, false);
    }

    /// A completion of the receive armed on `conn`. `bytes`, even none, take a buffer.
    pub(crate) fn finish_recv(
        &mut self,
        conn: ConnId,
        outcome: RecvOutcome,
        bytes: Option<&[u8]>,
        armed: bool,
    ) {
        let sock = self.sock_mut(conn);
        assert!(sock.recv_live, "script: {conn} has no receive to finish");
        sock.recv_live = armed;
        let lease = bytes.map(|bytes| self.buffers.fill(bytes));
        self.finish(Completion::Recv { conn, outcome, lease, armed });
    }

    /// A completion that belongs to nothing the shard knows, such as one of an older generation.
    pub(crate) fn finish_stale_recv(
        &mut self,
        conn: ConnId,
        outcome: RecvOutcome,
        bytes: Option<&[u8]>,
    ) {
        let known = self.socks.get(&conn.slot).is_some_and(|sock| sock.conn == conn);
        assert!(!known, "script: {conn} is not stale");
        let lease = bytes.map(|bytes| self.buffers.fill(bytes));
        self.finish(Completion::Recv { conn, outcome, lease, armed: false });
    }

    /// A send's completion for a connection that is gone.
    pub(crate) fn finish_stale_send(&mut self, conn: ConnId, bytes: FrameBytes) {
        let known = self.socks.get(&conn.slot).is_some_and(|sock| sock.conn == conn);
        assert!(!known, "script: {conn} is not stale");
        let result = Ok(bytes.len());
        self.finish(Completion::Send { conn, bytes, result });
    }

    /// The kernel takes `count` bytes of the send in flight on `conn` and finishes it, short or
    /// not.
    pub(crate) fn finish_send(&mut self, conn: ConnId, count: usize) {
        self.end_send(conn, Ok(count));
    }

    /// The kernel takes the whole send in flight on `conn`.
    pub(crate) fn finish_send_whole(&mut self, conn: ConnId) {
        let count = self.sending(conn).expect("script: no send to finish");
        self.end_send(conn, Ok(count));
    }

    /// The send in flight on `conn` fails.
    pub(crate) fn fail_send(&mut self, conn: ConnId, fault: Fault) {
        self.end_send(conn, Err(fault));
    }

    /// The completion queue overflows: every armed receive ends, with or without an error of its
    /// own, and the overflow is counted. `outcome` says what each of them brings.
    pub(crate) fn overflow(&mut self, mut outcome: impl FnMut(ConnId) -> (RecvOutcome, Vec<u8>)) {
        self.counts.overflows += 1;
        for conn in self.armed() {
            let (outcome, bytes) = outcome(conn);
            let bytes = (!bytes.is_empty()).then_some(&*bytes);
            self.finish_recv(conn, outcome, bytes, false);
        }
    }

    /// Connections with a receive that may still bring something.
    pub(crate) fn armed(&self) -> Vec<ConnId> {
        self.socks.values().filter(|sock| sock.recv_live).map(|sock| sock.conn).collect()
    }

    /// Whether a receive is armed on `conn`, as the kernel sees it.
    pub(crate) fn is_armed(&self, conn: ConnId) -> bool {
        self.armed().contains(&conn)
    }

    /// Bytes left of the send in flight on `conn`.
    pub(crate) fn sending(&self, conn: ConnId) -> Option<usize> {
        match &self.socks.get(&conn.slot).filter(|sock| sock.conn == conn)?.send {
            Some(SendInFlight::Live { bytes, from, .. }) => Some(bytes.len() - from),
            _ => None,
        }
    }

    /// Whether the receive and the send of `conn` were asked to end and have not.
    pub(crate) fn asked_to_cancel(&self, conn: ConnId) -> (bool, bool) {
        let sock = &self.socks[&conn.slot];
        let send_live = matches!(sock.send, Some(SendInFlight::Live { .. }));
        (sock.recv_cancel_asked && sock.recv_live, sock.send_cancel_asked && send_live)
    }

    /// Whether the shard would wake up at once: its wait has brought something.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// What the peer of `conn` has seen.
    pub(crate) fn peer(&self, conn: ConnId) -> &Peer {
        let peer = self.peers.iter().find(|peer| peer.conn == conn);
        peer.expect("script: the connection was never inserted")
    }

    /// Everyone who was ever connected.
    pub(crate) fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// Buffers the kernel can receive into.
    pub(crate) fn free_buffers(&self) -> usize {
        self.buffers.free_count()
    }

    /// Sockets that were inserted and not closed.
    pub(crate) fn open_count(&self) -> usize {
        self.socks.len()
    }

    /// The calls since the last time they were taken.
    pub(crate) fn take_calls(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.calls)
    }

    /// The calls since they were last taken.
    pub(crate) fn calls(&self) -> &[Call] {
        &self.calls
    }

    fn finish(&mut self, completion: Completion) {
        let queue = if self.waiting { &mut self.ready } else { &mut self.finished };
        queue.push_back(completion);
    }

    fn end_send(&mut self, conn: ConnId, result: Result<usize, Fault>) {
        let sock = self.sock_mut(conn);
        let send = sock.send.replace(SendInFlight::Finished);
        let Some(SendInFlight::Live { mut bytes, from, checksum }) = send else {
            panic!("script: {conn} has no send to finish");
        };
        assert_eq!(checksum_of(&bytes), checksum, "bytes changed while the kernel owned them");
        let end = from + result.unwrap_or(0);
        let peer = self.peers.iter_mut().find(|peer| peer.conn == conn).expect("inserted");
        peer.wire.extend_from_slice(&bytes.as_slice()[from..end]);
        // What was taken is done with: sent again, or recycled without being cleared, it would
        // show. Shared frames belong to other peers too and cannot be written to.
        if let FrameBytes::Owned(owned) = &mut bytes {
            owned[..end].fill(POISON);
        }
        self.finish(Completion::Send { conn, bytes, result });
    }

    fn sock_mut(&mut self, conn: ConnId) -> &mut SockState {
        let sock = self.socks.get_mut(&conn.slot).filter(|sock| sock.conn == conn);
        sock.expect("script: the connection is not open")
    }

    fn named(&mut self, sock: Sock) -> &mut SockState {
        let slot = u32::try_from(sock.index()).expect("slots are u32");
        self.socks.get_mut(&slot).expect("contract: the shard names open sockets only")
    }

    /// The completion leaves for the shard: from its view the operation is over.
    fn hand_over(&mut self, completion: &Completion) {
        match completion {
            Completion::Recv { conn, armed, lease, .. } => {
                if let Some(lease) = lease {
                    self.buffers.lend(lease);
                }
                if let Some(sock) = self.socks.get_mut(&conn.slot).filter(|s| s.conn == *conn) {
                    sock.recv_armed = *armed;
                    sock.recv_cancel_asked &= *armed;
                }
            }
            Completion::Send { conn, .. } => {
                if let Some(sock) = self.socks.get_mut(&conn.slot).filter(|s| s.conn == *conn) {
                    sock.send = None;
                    sock.send_cancel_asked = false;
                }
            }
            Completion::Woken => {}
        }
    }
}

impl Driver for ScriptedDriver {
    fn insert(&mut self, conn: ConnId, socket: OwnedFd) -> Sock {
        self.calls.push(Call::Insert(conn));
        let state = SockState {
            conn,
            _socket: socket,
            recv_armed: false,
            recv_live: false,
            recv_cancel_asked: false,
            send: None,
            send_cancel_asked: false,
            write_shut: false,
        };
        assert!(self.socks.insert(conn.slot, state).is_none(), "contract: a slot holds one socket");
        assert!(self.peers.iter().all(|peer| peer.conn != conn), "contract: generations differ");
        self.peers.push(Peer { conn, wire: Vec::new(), write_shut: false, closed: None });
        Sock::from_index(conn.slot)
    }

    fn arm_recv(&mut self, sock: Sock) {
        self.counts.submissions += 1;
        let sock = self.named(sock);
        assert!(!sock.recv_armed, "contract: a second receive on {}", sock.conn);
        sock.recv_armed = true;
        sock.recv_live = true;
        let call = Call::ArmRecv(sock.conn);
        self.calls.push(call);
    }

    fn disarm_recv(&mut self, sock: Sock) {
        self.counts.submissions += 1;
        let cancels = self.cancels;
        let sock = self.named(sock);
        let conn = sock.conn;
        assert!(sock.recv_armed, "contract: {conn} has no receive to disarm");
        assert!(!sock.recv_cancel_asked, "contract: {conn} was disarmed already");
        sock.recv_cancel_asked = true;
        let live = sock.recv_live;
        self.calls.push(Call::DisarmRecv(conn));
        if live && cancels == Habit::AtOnce {
            self.finish_recv(conn, RecvOutcome::Cancelled, None, false);
        }
    }

    fn submit_send(&mut self, sock: Sock, bytes: FrameBytes, from: usize) {
        self.counts.submissions += 1;
        let sends = self.sends;
        let sock = self.named(sock);
        let conn = sock.conn;
        assert!(sock.send.is_none(), "contract: a second send on {conn}");
        assert!(!sock.write_shut, "contract: a send on {conn} after its write side was shut");
        assert!(from < bytes.len(), "contract: a send of nothing on {conn}");
        let call = Call::SubmitSend(conn, from, bytes.len() - from);
        let checksum = checksum_of(&bytes);
        sock.send = Some(SendInFlight::Live { bytes, from, checksum });
        self.calls.push(call);
        if sends == Habit::AtOnce {
            self.finish_send_whole(conn);
        }
    }

    fn cancel_send(&mut self, sock: Sock) {
        self.counts.submissions += 1;
        let cancels = self.cancels;
        let sock = self.named(sock);
        let conn = sock.conn;
        assert!(sock.send.is_some(), "contract: {conn} has no send to cancel");
        assert!(!sock.send_cancel_asked, "contract: the send of {conn} was cancelled already");
        sock.send_cancel_asked = true;
        let live = matches!(sock.send, Some(SendInFlight::Live { .. }));
        self.calls.push(Call::CancelSend(conn));
        if live && cancels == Habit::AtOnce {
            self.fail_send(conn, Fault::Cancelled);
        }
    }

    fn shutdown_write(&mut self, sock: Sock) {
        let sock = self.named(sock);
        let conn = sock.conn;
        assert!(sock.send.is_none(), "contract: {conn} was shut with a send in flight");
        assert!(!sock.write_shut, "contract: {conn} was shut already");
        sock.write_shut = true;
        self.calls.push(Call::ShutdownWrite(conn));
        self.peers.iter_mut().filter(|p| p.conn == conn).for_each(|p| p.write_shut = true);
    }

    fn close(&mut self, sock: Sock, how: CloseHow) {
        let state = self.named(sock);
        let conn = state.conn;
        assert!(!state.recv_armed, "contract: {conn} was closed with a receive armed");
        assert!(state.send.is_none(), "contract: {conn} was closed with a send in flight");
        self.socks.remove(&conn.slot);
        self.calls.push(Call::Close(conn, how));
        self.peers.iter_mut().filter(|p| p.conn == conn).for_each(|p| p.closed = Some(how));
    }

    fn wake(&mut self, shard: ShardId) {
        self.counts.submissions += 1;
        self.calls.push(Call::Wake(shard));
        if let Some(on_wake) = &mut self.on_wake {
            on_wake();
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), Fault> {
        assert!(self.ready.is_empty(), "contract: a turn takes every completion");
        self.buffers.assert_none_lent();
        self.calls.push(Call::Wait(timeout));
        self.counts.enters += 1;
        std::mem::swap(&mut self.ready, &mut self.finished);
        self.waiting = true;
        Ok(())
    }

    fn next_completion(&mut self) -> Option<Completion> {
        self.waiting = false;
        let completion = self.ready.pop_front()?;
        self.counts.completions += 1;
        self.hand_over(&completion);
        Some(completion)
    }

    fn buffer(&mut self, lease: &Lease) -> &mut [u8] {
        self.buffers.filled(lease)
    }

    fn release(&mut self, lease: Lease) {
        self.calls.push(Call::Release(lease.buffer_index()));
        self.buffers.release(&lease);
    }

    fn buffer_count(&self) -> usize {
        self.buffers.count()
    }

    fn counts(&self) -> DriverCounts {
        self.counts
    }
}

/// FNV-1a: enough to see that somebody wrote to bytes in flight.
fn checksum_of(bytes: &FrameBytes) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.as_slice().iter().fold(0xcbf2_9ce4_8422_2325, step)
}
