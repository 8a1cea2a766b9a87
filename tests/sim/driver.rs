//! [`SimDriver`]: a kernel that does everything it may, at the time that suits least.
//!
//! It holds the shard to the contract of `ring::Driver` as the scripted kernel does, and panics
//! when it is broken. A shard's turn is one call, so while it "waits" the driver keeps the bell as
//! the shard left it: clear, if it fell asleep.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;
use tidegate::frame::FrameBytes;
use tidegate::id::{ConnId, ShardId};
use tidegate::mail::Bell;
use tidegate::ring::{
    CloseHow, Completion, Driver, DriverCounts, Fault as RingFault, Lease, RecvOutcome, Sock,
};

use super::buffers::ScriptedBuffers;
use super::env::Env;
use super::faults::Fault;
use super::link::Link;
use super::wire;

/// Sizes of one ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) buffers: u16,
    pub(crate) buffer_size: usize,
    /// Completions after which the queue overflows.
    pub(crate) completions: usize,
}

pub(crate) struct SimDriver {
    shard: ShardId,
    env: Rc<Env>,
    bell: Bell,
    sizes: Sizes,
    socks: BTreeMap<u32, SockState>,
    buffers: ScriptedBuffers,
    /// What the kernel finished and the shard has not been given.
    finished: Vec<Completion>,
    /// What the last wait brought.
    ready: VecDeque<Completion>,
    /// Messages to other rings that leave with the next wait.
    outgoing: Vec<ShardId>,
    /// Connections that are no more.
    gone: Vec<ConnId>,
    /// When the wait ends by itself.
    wake_at: Option<Duration>,
    /// Whether the bell was clear when the shard fell asleep.
    is_bell_clear: bool,
    counts: DriverCounts,
}

struct SockState {
    conn: ConnId,
    socket: OwnedFd,
    link: Rc<Link>,
    /// From `arm_recv` until the shard takes the completion that ends it.
    recv_armed: bool,
    /// From `arm_recv` until the kernel ends it.
    recv_live: bool,
    recv_cancel_asked: bool,
    /// From `submit_send` until the shard takes its completion.
    sending: bool,
    send: Option<SendInFlight>,
    send_cancel_asked: bool,
    write_shut: bool,
}

/// A send in the kernel's hands.
struct SendInFlight {
    bytes: FrameBytes,
    from: usize,
    /// Bytes that are on the wire already.
    taken: usize,
}

/// What the kernel may do next.
#[derive(Clone, Copy)]
enum Step {
    Recv(u32),
    Send(u32),
}

impl SimDriver {
    pub(crate) fn new(shard: ShardId, env: Rc<Env>, bell: Bell, sizes: Sizes) -> Self {
        Self {
            shard,
            env,
            bell,
            sizes,
            socks: BTreeMap::new(),
            buffers: ScriptedBuffers::new(sizes.buffers, sizes.buffer_size),
            finished: Vec::new(),
            ready: VecDeque::new(),
            outgoing: Vec::new(),
            gone: Vec::new(),
            wake_at: Some(Duration::ZERO),
            is_bell_clear: false,
            counts: DriverCounts::default(),
        }
    }

    /// Whether the shard's wait is over.
    pub(crate) fn is_awake(&self) -> bool {
        !self.finished.is_empty() || self.wake_at.is_some_and(|at| at <= self.env.now())
    }

    /// Call before a turn: the wait is over and brings what the kernel has finished.
    pub(crate) fn wake_up(&mut self) {
        self.bell.mute();
        let is_later = |a: &Completion, b: &Completion| match (a, b) {
            (Completion::Recv { conn: a, .. }, Completion::Recv { conn: b, .. })
            | (Completion::Send { conn: a, .. }, Completion::Send { conn: b, .. }) => {
                a.slot == b.slot
            }
            _ => false,
        };
        for index in 1..self.finished.len() {
            let (a, b) = (&self.finished[index - 1], &self.finished[index]);
            if !is_later(a, b) && self.env.strikes(Fault::Reordered) {
                self.finished.swap(index - 1, index);
            }
        }
        let mut count = self.finished.len();
        if count > 1 && self.env.strikes(Fault::LateCompletion) {
            count = 1 + self.env.below(count - 1);
        }
        self.ready.extend(self.finished.drain(..count));
    }

    /// Call after a turn: while the shard waits, its bell is as it left it.
    pub(crate) fn fall_asleep(&mut self) {
        if self.is_bell_clear {
            self.bell.clear();
        }
    }

    /// Somebody's message, or a ring of the bell, arrives.
    pub(crate) fn deliver_wake(&mut self) {
        self.finished.push(Completion::Woken);
    }

    /// The kernel goes on with one operation. False: there is nothing it could do.
    pub(crate) fn progress(&mut self) -> bool {
        let recvs = self.socks.iter().filter(|(_, sock)| sock.can_recv());
        let mut steps: Vec<Step> = recvs.map(|(slot, _)| Step::Recv(*slot)).collect();
        let sends = self.socks.iter().filter(|(_, sock)| sock.can_send());
        steps.extend(sends.map(|(slot, _)| Step::Send(*slot)));
        if steps.is_empty() {
            return false;
        }
        match *self.env.pick(&steps) {
            Step::Recv(slot) => self.progress_recv(slot),
            Step::Send(slot) => self.progress_send(slot),
        }
        true
    }

    /// The kernel does something nobody asked for.
    pub(crate) fn misbehave(&mut self) {
        let live = self.socks.values().filter(|sock| sock.recv_live);
        let live: Vec<ConnId> = live.map(|sock| sock.conn).collect();
        if !live.is_empty() && self.env.strikes(Fault::Ended) {
            let conn = *self.env.pick(&live);
            self.finish_recv(conn, RecvOutcome::Ended, None, false);
        } else if !live.is_empty() && self.env.strikes(Fault::Overflow) {
            self.counts.overflows += 1;
            for conn in live {
                self.finish_recv(conn, RecvOutcome::Ended, None, false);
            }
        }
        let sending = self.socks.values().filter(|sock| sock.send.is_some());
        let sending: Vec<u32> = sending.map(|sock| sock.conn.slot).collect();
        if !sending.is_empty() && self.env.one_in(16) && self.env.strikes(Fault::SendFailed) {
            let slot = *self.env.pick(&sending);
            self.socks[&slot].link.excused.set(true);
            self.finish_send(slot, Err(RingFault::OutOfMemory(Errno::NOBUFS)));
        }
        self.bring_stale();
    }

    /// Everything that must be gone when nobody is connected.
    pub(crate) fn assert_idle(&self) {
        assert_eq!(self.socks.len(), 0, "sockets left open");
        assert_eq!(self.buffers.free_count(), self.buffers.count(), "receive buffers lost");
        let left = self.finished.iter().find(|one| !matches!(one, Completion::Woken));
        assert!(left.is_none() && self.ready.is_empty(), "completions left");
    }

    /// Completions of connections that are gone, whose slots others may have taken.
    fn bring_stale(&mut self) {
        if self.gone.is_empty() {
            return;
        }
        let conn = *self.env.pick(&self.gone);
        if self.env.strikes(Fault::StaleRecv) {
            let bytes = wire::client_text(r#"{"stale":true}"#, [1, 2, 3, 4]);
            let lease = (self.buffers.free_count() > 0 && bytes.len() <= self.sizes.buffer_size)
                .then(|| self.buffers.fill(&bytes));
            let outcome = if lease.is_some() { RecvOutcome::Data } else { RecvOutcome::Cancelled };
            self.finished.push(Completion::Recv { conn, outcome, lease, armed: false });
        } else if self.env.strikes(Fault::StaleSend) {
            let bytes = FrameBytes::Owned(b"stale".to_vec());
            self.finished.push(Completion::Send { conn, bytes, result: Ok(5) });
        }
    }

    fn progress_recv(&mut self, slot: u32) {
        let sock = &self.socks[&slot];
        let (conn, link) = (sock.conn, sock.link.clone());
        let cancel = sock.recv_cancel_asked;
        if cancel && !(link.up_len() > 0 && self.env.strikes(Fault::LateCancel)) {
            self.env.faults.note(Fault::CancelledRecv);
            // A cancelled receive may have taken a buffer.
            let bytes = (self.buffers.free_count() > 0 && self.env.one_in(4)).then_some(Vec::new());
            self.finish_recv(conn, RecvOutcome::Cancelled, bytes.as_deref(), false);
        } else if link.reset.get() {
            let fault = RingFault::PeerGone(Errno::CONNRESET);
            self.finish_recv(conn, RecvOutcome::Failed(fault), None, false);
        } else if link.up_len() > 0 {
            self.progress_data(conn, &link);
        } else {
            self.finish_recv(conn, RecvOutcome::End, None, false);
        }
    }

    fn progress_data(&mut self, conn: ConnId, link: &Link) {
        if self.buffers.free_count() == 0 || self.env.strikes(Fault::NoBuffers) {
            self.env.faults.note(Fault::NoBuffers);
            self.finish_recv(conn, RecvOutcome::NoBuffers, None, false);
            return;
        }
        let mut len = link.up_len().min(self.sizes.buffer_size);
        if self.env.faults.are_on() && self.env.one_in(2) {
            len = 1 + self.env.below(len);
        }
        let bytes = link.take_up(len);
        let mut armed = !self.env.strikes(Fault::MoreOff);
        if self.env.faults.are_on() && self.finished.len() >= self.sizes.completions {
            self.env.faults.note(Fault::Overflow);
            self.counts.overflows += 1;
            armed = false;
        }
        self.finish_recv(conn, RecvOutcome::Data, Some(&bytes), armed);
    }

    fn progress_send(&mut self, slot: u32) {
        let env = self.env.clone();
        let sock = self.socks.get_mut(&slot).expect("just looked at");
        let link = sock.link.clone();
        let cancel = sock.send_cancel_asked;
        let send = sock.send.as_mut().expect("just looked at");
        if link.reset.get() {
            let result = match send.taken {
                0 => Err(RingFault::PeerGone(Errno::PIPE)),
                taken => Ok(taken),
            };
            return self.finish_send(slot, result);
        }
        let rest = send.bytes.len() - send.from - send.taken;
        let mut len = rest.min(link.room_down());
        if env.faults.are_on() && len > 1 && env.one_in(3) {
            len = 1 + env.below(len - 1);
        }
        let start = send.from + send.taken;
        link.send_down(&send.bytes.as_slice()[start..start + len]);
        send.taken += len;
        let taken = send.taken;
        if len == rest {
            self.finish_send(slot, Ok(taken));
        } else if cancel {
            env.faults.note(Fault::CancelledSend);
            let result = if taken == 0 { Err(RingFault::Cancelled) } else { Ok(taken) };
            self.finish_send(slot, result);
        } else if taken > 0 && env.strikes(Fault::ShortSend) {
            self.finish_send(slot, Ok(taken));
        } else if link.room_down() == 0 {
            env.faults.note(Fault::FullWindow);
        }
    }

    fn finish_recv(
        &mut self,
        conn: ConnId,
        outcome: RecvOutcome,
        bytes: Option<&[u8]>,
        armed: bool,
    ) {
        let sock = self.socks.get_mut(&conn.slot).expect("its receive is live");
        assert!(sock.recv_live);
        sock.recv_live = armed;
        let lease = bytes.map(|bytes| self.buffers.fill(bytes));
        self.env.trace(|| {
            let len = bytes.map(<[u8]>::len);
            format!("shard {} recv {conn} {outcome:?} {len:?} armed {armed}", self.shard)
        });
        self.finished.push(Completion::Recv { conn, outcome, lease, armed });
    }

    fn finish_send(&mut self, slot: u32, result: Result<usize, RingFault>) {
        let sock = self.socks.get_mut(&slot).expect("its send is live");
        let (conn, send) = (sock.conn, sock.send.take().expect("its send is live"));
        self.env.trace(|| format!("shard {} sent {conn} {result:?}", self.shard));
        self.finished.push(Completion::Send { conn, bytes: send.bytes, result });
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
                    sock.sending = false;
                    sock.send_cancel_asked = false;
                }
            }
            Completion::Woken => {}
        }
    }
}

impl SockState {
    fn can_recv(&self) -> bool {
        let link = &self.link;
        let comes = link.reset.get() || link.up_len() > 0 || link.up_ended.get();
        self.recv_live && (self.recv_cancel_asked || comes)
    }

    fn can_send(&self) -> bool {
        let link = &self.link;
        let goes = link.reset.get() || link.room_down() > 0;
        self.send.is_some() && (self.send_cancel_asked || goes)
    }
}

impl Driver for SimDriver {
    fn insert(&mut self, conn: ConnId, socket: OwnedFd) -> Sock {
        let link = self.env.sockets.borrow().get(&socket.as_raw_fd()).cloned();
        let state = SockState {
            conn,
            socket,
            link: link.expect("contract: a socket that was handed over"),
            recv_armed: false,
            recv_live: false,
            recv_cancel_asked: false,
            sending: false,
            send: None,
            send_cancel_asked: false,
            write_shut: false,
        };
        assert!(self.socks.insert(conn.slot, state).is_none(), "contract: a slot holds one socket");
        assert!(!self.gone.contains(&conn), "contract: generations differ");
        Sock::from_index(conn.slot)
    }

    fn arm_recv(&mut self, sock: Sock) {
        self.counts.submissions += 1;
        let sock = self.named(sock);
        assert!(!sock.recv_armed, "contract: a second receive on {}", sock.conn);
        sock.recv_armed = true;
        sock.recv_live = true;
        self.env.interrupt(self.shard);
    }

    fn disarm_recv(&mut self, sock: Sock) {
        self.counts.submissions += 1;
        let sock = self.named(sock);
        assert!(sock.recv_armed, "contract: {} has no receive to disarm", sock.conn);
        assert!(!sock.recv_cancel_asked, "contract: {} was disarmed already", sock.conn);
        sock.recv_cancel_asked = true;
    }

    fn submit_send(&mut self, sock: Sock, bytes: FrameBytes, from: usize) {
        self.counts.submissions += 1;
        let sock = self.named(sock);
        let conn = sock.conn;
        assert!(!sock.sending, "contract: a second send on {conn}");
        assert!(!sock.write_shut, "contract: a send on {conn} after its write side was shut");
        assert!(from < bytes.len(), "contract: a send of nothing on {conn}");
        sock.sending = true;
        sock.send = Some(SendInFlight { bytes, from, taken: 0 });
        self.env.interrupt(self.shard);
    }

    fn cancel_send(&mut self, sock: Sock) {
        self.counts.submissions += 1;
        let sock = self.named(sock);
        assert!(sock.sending, "contract: {} has no send to cancel", sock.conn);
        assert!(!sock.send_cancel_asked, "contract: the send of {} was cancelled", sock.conn);
        sock.send_cancel_asked = true;
    }

    fn shutdown_write(&mut self, sock: Sock) {
        let sock = self.named(sock);
        assert!(!sock.sending, "contract: {} was shut with a send in flight", sock.conn);
        assert!(!sock.write_shut, "contract: {} was shut already", sock.conn);
        sock.write_shut = true;
        sock.link.down_ended.set(true);
    }

    fn close(&mut self, sock: Sock, how: CloseHow) {
        let state = self.named(sock);
        let conn = state.conn;
        assert!(!state.recv_armed, "contract: {conn} was closed with a receive armed");
        assert!(!state.sending, "contract: {conn} was closed with a send in flight");
        let state = self.socks.remove(&conn.slot).expect("just looked at");
        self.env.sockets.borrow_mut().remove(&state.socket.as_raw_fd());
        self.env.trace(|| format!("shard {} closed {conn} {how:?}", self.shard));
        state.link.close(how == CloseHow::Reset, self.env.one_in(2));
        self.gone.push(conn);
        self.env.interrupt(self.shard);
    }

    fn wake(&mut self, shard: ShardId) {
        self.counts.submissions += 1;
        assert_ne!(shard, self.shard, "contract: a shard does not wake itself");
        self.outgoing.push(shard);
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), RingFault> {
        assert!(self.ready.is_empty(), "contract: a turn takes every completion");
        self.buffers.assert_none_lent();
        self.counts.enters += 1;
        self.env.wakes.borrow_mut().append(&mut self.outgoing);
        self.wake_at = timeout.map(|timeout| self.env.now() + timeout);
        self.env.interrupt(self.shard);
        self.is_bell_clear = self.bell.claim();
        if self.is_bell_clear {
            self.bell.clear();
        }
        Ok(())
    }

    fn next_completion(&mut self) -> Option<Completion> {
        let completion = self.ready.pop_front()?;
        self.counts.completions += 1;
        self.hand_over(&completion);
        Some(completion)
    }

    fn buffer(&mut self, lease: &Lease) -> &mut [u8] {
        self.buffers.filled(lease)
    }

    fn release(&mut self, lease: Lease) {
        self.buffers.release(&lease);
        self.env.interrupt(self.shard);
    }

    fn buffer_count(&self) -> usize {
        self.buffers.count()
    }

    fn counts(&self) -> DriverCounts {
        self.counts
    }
}
