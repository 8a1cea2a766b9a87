//! The sockets of one thread on its ring: bytes that came, bytes to send, ends.
//!
//! Knows nothing of what the bytes mean: a [`Sink`] does. A socket's place can be used again once
//! the ring is done with it.

use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tidegate::frame::FrameBytes;
use tidegate::id::ConnId;
use tidegate::ring::UringDriver;
use tidegate::ring::{CloseHow, Completion, Driver, Fault, Lease, RecvOutcome, Sock, TableSizes};

use crate::generator::{GeneratorError, new_driver};

/// What the bytes of the sockets are for.
pub(super) trait Sink {
    /// Bytes came. What is appended to `out` is sent.
    fn on_bytes(&mut self, wire: usize, bytes: &mut [u8], out: &mut Vec<u8>);

    /// The kernel took all that was to be sent.
    fn on_sent(&mut self, wire: usize, out: &mut Vec<u8>);

    /// The peer's end, or a failure. Nothing more comes or goes.
    fn on_end(&mut self, wire: usize, cause: &dyn Display);

    /// Whether the socket is to be closed now.
    fn is_over(&self, wire: usize) -> bool;

    /// The socket is closed, and its place free.
    fn on_closed(&mut self, wire: usize);
}

/// The sockets, by place.
pub(super) struct Wires {
    driver: UringDriver,
    /// Outlives the driver, which reads it.
    _bell: OwnedFd,
    wires: Vec<Wire>,
    /// Places whose receive the kernel ended.
    unarmed: Vec<usize>,
}

/// One place.
struct Wire {
    /// `None`: the place is free.
    sock: Option<Sock>,
    generation: u32,
    /// To be sent once no send is in flight.
    out: Vec<u8>,
    /// The other of two buffers that take turns; empty while the ring has it.
    spare: Vec<u8>,
    /// Bytes of the send in flight that earlier, short sends took already.
    sent_len: usize,
    /// A send is in flight: the ring has the other buffer.
    sending: bool,
    /// A receive is armed.
    recv_armed: bool,
    /// Nothing is to be received.
    paused: bool,
    /// Nothing more comes or goes: the socket waits for the ring to be done with it.
    ended: bool,
}

impl Wires {
    /// `count` free places for messages of `size` bytes, on a new ring of the calling thread.
    /// Who rings `bell` ends a wait. With a `table` sockets are held in slots.
    pub(super) fn new(
        count: usize,
        size: usize,
        table: Option<TableSizes>,
        bell: OwnedFd,
    ) -> Result<Self, GeneratorError> {
        let wires = (0..count).map(|_| Wire::new()).collect();
        Ok(Self {
            driver: new_driver(size, table, &bell)?,
            _bell: bell,
            wires,
            unarmed: Vec::with_capacity(count),
        })
    }

    /// Takes a connected socket into a free place and receives from it.
    pub(super) fn insert(&mut self, wire: usize, socket: OwnedFd) {
        let place = &mut self.wires[wire];
        assert!(place.sock.is_none(), "a place holds one socket");
        let conn = ConnId { slot: wire as u32, generation: place.generation };
        place.sock = Some(self.driver.insert(conn, socket));
        place.ended = false;
        place.paused = false;
        self.arm(wire);
    }

    /// What is to be sent: append to it, then [`Wires::flush`].
    pub(super) fn out(&mut self, wire: usize) -> &mut Vec<u8> {
        &mut self.wires[wire].out
    }

    /// Sends what was appended, unless a send is in flight: then it follows that.
    pub(super) fn flush(&mut self, wire: usize) {
        let place = &mut self.wires[wire];
        let Some(sock) = place.sock else { return };
        if place.sending || place.ended || place.out.is_empty() {
            return;
        }
        place.sending = true;
        let bytes = std::mem::replace(&mut place.out, std::mem::take(&mut place.spare));
        self.driver.submit_send(sock, FrameBytes::Owned(bytes), 0);
    }

    /// Stops receiving.
    pub(super) fn pause(&mut self, wire: usize) {
        let place = &mut self.wires[wire];
        place.paused = true;
        if let Some(sock) = place.sock
            && place.recv_armed
        {
            self.driver.disarm_recv(sock);
        }
    }

    /// Receives again.
    pub(super) fn resume(&mut self, wire: usize) {
        self.wires[wire].paused = false;
        self.arm(wire);
    }

    /// Hands over what is queued and waits until something happens or `timeout` has passed.
    pub(super) fn wait(&mut self, timeout: Duration) -> Result<(), Fault> {
        self.driver.wait(Some(timeout))
    }

    /// Tells `sink` what happened, at most [`HAPPENINGS_MAX`] things: the rest waits for the next
    /// turn, so that a publication that falls due meanwhile is not held up by all of them. How many
    /// there were.
    pub(super) fn reap(&mut self, sink: &mut impl Sink) -> usize {
        let mut count = 0;
        while count < HAPPENINGS_MAX {
            let Some(completion) = self.driver.next_completion() else { break };
            count += 1;
            match completion {
                Completion::Recv { conn, outcome, lease, armed } => {
                    self.reap_recv(conn.slot as usize, outcome, lease, armed, sink);
                }
                Completion::Send { conn, bytes, result } => {
                    self.reap_send(conn.slot as usize, bytes, result, sink);
                }
                // Whoever rang left nothing here to be taken.
                Completion::Woken => {}
            }
        }
        while let Some(wire) = self.unarmed.pop() {
            self.arm(wire);
        }
        count
    }

    fn reap_recv(
        &mut self,
        wire: usize,
        outcome: RecvOutcome,
        lease: Option<Lease>,
        armed: bool,
        sink: &mut impl Sink,
    ) {
        let place = &mut self.wires[wire];
        place.recv_armed = armed;
        if let Some(lease) = lease {
            if !place.ended {
                sink.on_bytes(wire, self.driver.buffer(&lease), &mut place.out);
            }
            self.driver.release(lease);
        }
        match outcome {
            RecvOutcome::End => self.end(wire, &"the server closed without a Close", sink),
            RecvOutcome::Failed(fault) => self.end(wire, &fault, sink),
            RecvOutcome::Data
            | RecvOutcome::NoBuffers
            | RecvOutcome::Cancelled
            | RecvOutcome::Ended => self.flush(wire),
        }
        if !armed {
            self.unarmed.push(wire);
        }
        self.settle(wire, sink);
    }

    fn reap_send(
        &mut self,
        wire: usize,
        bytes: FrameBytes,
        result: Result<usize, Fault>,
        sink: &mut impl Sink,
    ) {
        let place = &mut self.wires[wire];
        let sock = place.sock.expect("a place with a send in flight is taken");
        place.sent_len += *result.as_ref().unwrap_or(&0);
        if result.is_ok_and(|taken| taken > 0) && place.sent_len < bytes.len() {
            self.driver.submit_send(sock, bytes, place.sent_len);
            return;
        }
        place.sending = false;
        place.sent_len = 0;
        if let FrameBytes::Owned(mut spare) = bytes {
            spare.clear();
            place.spare = spare;
        }
        match result {
            Ok(_) => {
                if !place.ended && place.out.is_empty() {
                    sink.on_sent(wire, &mut place.out);
                }
                self.flush(wire);
            }
            Err(fault) => self.end(wire, &fault, sink),
        }
        self.settle(wire, sink);
    }

    fn end(&mut self, wire: usize, cause: &dyn Display, sink: &mut impl Sink) {
        if !self.wires[wire].ended {
            self.wires[wire].ended = true;
            sink.on_end(wire, cause);
        }
    }

    /// Gives the socket back if it has ended, or the sink is done with it and its last bytes have
    /// left; as soon as the ring is done with it too.
    pub(super) fn settle(&mut self, wire: usize, sink: &mut impl Sink) {
        let place = &mut self.wires[wire];
        let Some(sock) = place.sock else { return };
        if !place.ended && sink.is_over(wire) && !place.sending && place.out.is_empty() {
            place.ended = true;
        }
        if !place.ended {
            return;
        }
        if place.recv_armed {
            self.driver.disarm_recv(sock);
        } else if !place.sending {
            self.driver.close(sock, CloseHow::Orderly);
            place.sock = None;
            place.generation += 1;
            place.out.clear();
            sink.on_closed(wire);
        }
    }

    fn arm(&mut self, wire: usize) {
        let place = &mut self.wires[wire];
        if let Some(sock) = place.sock
            && !place.ended
            && !place.recv_armed
            && !place.paused
        {
            place.recv_armed = true;
            self.driver.arm_recv(sock);
        }
    }
}

impl Wire {
    fn new() -> Self {
        Self {
            sock: None,
            generation: 0,
            out: Vec::new(),
            spare: Vec::new(),
            sent_len: 0,
            sending: false,
            recv_armed: false,
            paused: false,
            ended: false,
        }
    }
}

/// Completions taken in one turn: about 100 us of work.
const HAPPENINGS_MAX: usize = 128;
