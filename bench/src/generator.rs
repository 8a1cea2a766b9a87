//! One generator: a thread's connections on a ring of its own.
//!
//! A turn sends what is due, waits, and takes what came. The clock is read once after the wait:
//! everything that came with it was received then, and what it leads to is sent then.
//!
//! At most one message is out per connection, at a given rate too: one that is due while its
//! connection waits goes out as soon as that is free, and its latency counts from when it was due.
//! The histogram from sending to receiving shows what such a stall hides.

#[cfg(test)]
mod allocations;

use std::num::NonZeroU64;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::EventfdFlags;
use tidegate::frame::FrameBytes;
use tidegate::id::ConnId;
use tidegate::ring::{CloseHow, Completion, Driver, Fault, Lease, RecvOutcome, UringDriver};
use tidegate::ring::{RingSizes, SetupError, TableSizes};

use crate::dial::{Dialed, Host};
use crate::output::Meter;
use crate::server;
use crate::session::Protocol;
use crate::tally::Tally;
use crate::traffic::{Load, REPLY_TIMEOUT, Traffic, Window};

/// Why a generator could not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GeneratorError {
    #[error("the generator has no ring: {0}")]
    Setup(#[from] SetupError),
    #[error("the generator's ring broke: {0}")]
    Ring(#[from] Fault),
    #[error("the kernel refused an eventfd, a timer slack or a core: {0}")]
    Refused(#[from] rustix::io::Errno),
    #[error("the generator cannot wait for its handshakes: {0}")]
    Dial(std::io::Error),
}

/// One thread's connections. Made, used and dropped on that thread.
pub(crate) struct Generator {
    driver: UringDriver,
    /// Outlives the driver, which reads it; nobody rings.
    _bell: OwnedFd,
    traffic: Traffic,
    start: Instant,
    /// Connections whose receive the kernel ended.
    unarmed: Vec<u32>,
    /// When overdue replies are looked for next.
    next_look: Instant,
}

impl Generator {
    /// A new ring for `capacity` connections, with a table if they are to be held in slots.
    /// Payloads have `size` bytes; servers speak `protocol`, and with `compression` connections
    /// have agreed on it.
    pub(crate) fn new(
        capacity: usize,
        table: Option<TableSizes>,
        size: usize,
        protocol: Protocol,
        compression: bool,
    ) -> Result<Self, GeneratorError> {
        // The default of 50 us would make every message of a schedule late by as much.
        rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN))?;
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Self {
            driver: new_driver(size, table, &bell)?,
            _bell: bell,
            traffic: Traffic::new(capacity, size, protocol, compression),
            start: Instant::now() + UNSTARTED,
            unarmed: Vec::with_capacity(capacity),
            next_look: Instant::now(),
        })
    }

    /// Sends `load` from `start` to the end of `window`, waits for what is still out, closes every
    /// connection, and tells what it counted since `meter` last took it. `at_edge` is called at
    /// both ends of the window, while the connections are open.
    pub(crate) fn run(
        mut self,
        load: Load,
        window: Window,
        start: Instant,
        meter: &mut Meter,
        at_edge: &mut dyn FnMut(),
    ) -> Result<Tally, GeneratorError> {
        self.start = start;
        while Instant::now() < start {
            self.turn(start.saturating_duration_since(Instant::now()))?;
        }
        self.traffic.begin(load, window);
        for index in 0..self.traffic.connections.len() as u32 {
            self.traffic.pump(index, &mut self.driver);
        }
        let mut cpu_before = None;
        while self.traffic.now_ns < window.end_ns {
            if cpu_before.is_none() && self.traffic.now_ns >= window.start_ns {
                at_edge();
                cpu_before = server::own_cpu_ns();
            }
            self.step(meter)?;
        }
        if let (Some(before), Some(after)) = (cpu_before, server::own_cpu_ns()) {
            self.traffic.tally.cpu_ns = after - before;
        }
        at_edge();
        // What fell due in a last turn that took too long is late, not forgiven.
        self.send_due();
        self.drain()?;
        self.close()?;
        Ok(self.traffic.tally)
    }

    /// Sends what is due, waits for what is next, and takes what came.
    fn step(&mut self, meter: &mut Meter) -> Result<(), Fault> {
        self.send_due();
        let next_ns = self.next_ns().min(meter.next_ns());
        self.turn(Duration::from_nanos(next_ns.saturating_sub(self.traffic.now_ns)))?;
        meter.cut(self.traffic.now_ns, &mut self.traffic.tally);
        Ok(())
    }

    /// Sends every message that is due, or has its connection owe it.
    fn send_due(&mut self) {
        while let Some(index) = self.traffic.take_due() {
            self.traffic.pump(index, &mut self.driver);
        }
    }

    /// When to look at the clock again if nothing comes.
    fn next_ns(&self) -> u64 {
        let Traffic { load, window, now_ns, .. } = &self.traffic;
        let due_ns = match load {
            Load::Open(schedule) => schedule.next_due_ns(),
            Load::Idle | Load::Closed => u64::MAX,
        };
        let edge_ns = if *now_ns < window.start_ns { window.start_ns } else { window.end_ns };
        due_ns.min(edge_ns)
    }

    /// Waits for messages that are out or owed.
    fn drain(&mut self) -> Result<(), Fault> {
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        while Instant::now() < deadline && self.traffic.is_waiting() {
            self.turn(STEP)?;
        }
        Ok(())
    }

    /// Says goodbye on every connection, and waits a moment for the answers.
    fn close(&mut self) -> Result<(), Fault> {
        for index in 0..self.traffic.connections.len() as u32 {
            self.traffic.queue_close(index);
            self.traffic.pump(index, &mut self.driver);
        }
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        while Instant::now() < deadline && self.traffic.open_count > 0 {
            self.turn(STEP)?;
        }
        Ok(())
    }

    /// Waits and takes what came; how much that was.
    fn turn(&mut self, timeout: Duration) -> Result<u64, Fault> {
        let before = self.driver.counts().completions;
        self.driver.wait(Some(timeout))?;
        let now = Instant::now();
        let since_start = now.saturating_duration_since(self.start);
        self.traffic.now_ns = u64::try_from(since_start.as_nanos()).expect("584 years");
        while let Some(completion) = self.driver.next_completion() {
            match completion {
                Completion::Recv { conn, outcome, lease, armed } => {
                    self.reap_recv(conn.slot, outcome, lease, armed);
                }
                Completion::Send { conn, bytes, result } => {
                    self.reap_send(conn.slot, bytes, result);
                }
                // Nobody rings.
                Completion::Woken => {}
            }
        }
        while let Some(index) = self.unarmed.pop() {
            self.arm(index);
        }
        if now >= self.next_look {
            self.next_look = now + REPLY_TIMEOUT / 8;
            let driver = &mut self.driver;
            self.traffic.give_up_overdue(|traffic, index| traffic.pump(index, driver));
        }
        Ok(self.driver.counts().completions - before)
    }

    fn reap_recv(&mut self, index: u32, outcome: RecvOutcome, lease: Option<Lease>, armed: bool) {
        self.traffic.connections[index as usize].recv_armed = armed;
        if let Some(lease) = lease {
            self.traffic.feed(index, self.driver.buffer(&lease));
            self.driver.release(lease);
        }
        match outcome {
            RecvOutcome::End => self.traffic.end(index, &"the server closed without a Close"),
            RecvOutcome::Failed(fault) => self.traffic.end(index, &fault),
            RecvOutcome::Data
            | RecvOutcome::NoBuffers
            | RecvOutcome::Cancelled
            | RecvOutcome::Ended => self.traffic.pump(index, &mut self.driver),
        }
        if !armed {
            self.unarmed.push(index);
        }
        self.retire(index);
    }

    fn reap_send(&mut self, index: u32, bytes: FrameBytes, result: Result<usize, Fault>) {
        let connection = &mut self.traffic.connections[index as usize];
        connection.sent_len += *result.as_ref().unwrap_or(&0);
        if result.is_ok_and(|taken| taken > 0) && connection.sent_len < bytes.len() {
            self.driver.submit_send(connection.sock, bytes, connection.sent_len);
            return;
        }
        connection.sending = false;
        connection.sent_len = 0;
        if let FrameBytes::Owned(mut frame) = bytes {
            frame.clear();
            connection.frame = frame;
        }
        match result {
            Ok(_) => self.traffic.pump(index, &mut self.driver),
            Err(fault) => self.traffic.end(index, &fault),
        }
        self.retire(index);
    }

    fn arm(&mut self, index: u32) {
        let connection = &mut self.traffic.connections[index as usize];
        if !connection.ended && !connection.recv_armed {
            connection.recv_armed = true;
            self.driver.arm_recv(connection.sock);
        }
    }

    /// Gives an ended connection's socket back once the ring is done with it, so that the server
    /// sees its end while the run goes on.
    fn retire(&mut self, index: u32) {
        let connection = &mut self.traffic.connections[index as usize];
        if !connection.ended || connection.retired {
            return;
        }
        if connection.recv_armed {
            self.driver.disarm_recv(connection.sock);
        } else if !connection.sending {
            connection.retired = true;
            self.driver.close(connection.sock, CloseHow::Orderly);
        }
    }
}

impl Host for Generator {
    /// Takes the connection into the ring and arms its receive.
    fn take(&mut self, dialed: Dialed) {
        let Dialed { socket, mut leftover, .. } = dialed;
        let index = self.traffic.connections.len() as u32;
        let sock = self.driver.insert(ConnId { slot: index, generation: 0 }, socket);
        self.traffic.add(sock);
        self.arm(index);
        self.traffic.feed(index, &mut leftover);
        self.traffic.pump(index, &mut self.driver);
    }

    fn serve(&mut self, timeout: Duration) {
        let mut left = self.turn(timeout);
        while let Ok(1..) = left {
            left = self.turn(Duration::ZERO);
        }
    }
}

/// A ring for payloads of `size` bytes that holds connections as `table` says. `bell` must outlive
/// it.
pub(crate) fn new_driver(
    size: usize,
    table: Option<TableSizes>,
    bell: &OwnedFd,
) -> Result<UringDriver, SetupError> {
    let mut driver = UringDriver::new(ring_sizes(size), bell.as_raw_fd())?;
    table.map(|sizes| driver.register_table(sizes)).transpose()?;
    Ok(driver)
}

/// Sizes of the ring for payloads of `size` bytes: a receive buffer holds a whole frame where that
/// is not too much, and there are as many as fit into [`BUFFERS_SIZE`].
fn ring_sizes(size: usize) -> RingSizes {
    let frame = size + tidegate::ws::encode::HEADER_MAX;
    let recv_buffer_size = frame.next_power_of_two().clamp(2 * 1024, 64 * 1024);
    RingSizes {
        sq_entries: 4_096,
        cq_entries: 16_384,
        recv_buffers: (BUFFERS_SIZE / recv_buffer_size) as u16,
        recv_buffer_size: recv_buffer_size as u32,
    }
}

/// Until a run begins its start lies ahead, and no time of it has passed.
pub(crate) const UNSTARTED: Duration = Duration::from_secs(24 * 3_600);

/// Bytes of all receive buffers of a generator.
const BUFFERS_SIZE: usize = 16 * 1024 * 1024;

/// How long messages that are out at the end of a run may take to come back, and those behind one
/// that is lost to follow.
const DRAIN_TIMEOUT: Duration = REPLY_TIMEOUT.saturating_mul(2);

/// How long the server may take to answer our Closes.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest wait between two looks at whether a run has ended.
const STEP: Duration = Duration::from_millis(20);
