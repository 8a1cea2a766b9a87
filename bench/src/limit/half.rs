//! What every half on a ring has: a driver, its eventfd, and a turn that tells the meter.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::EventfdFlags;
use tidegate::frame::FrameBytes;
use tidegate::id::ConnId;
use tidegate::ring::{Completion, Driver, Fault, RingSizes, Sock, UringDriver};

use super::LimitError;
use super::meter::{Meter, Reading};

/// What both halves and whoever measures share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Counts of the server half.
    pub(super) server: Meter,
    /// Counts of the client half.
    pub(super) client: Meter,
    /// Wakes the server half.
    pub(super) server_bell: Arc<OwnedFd>,
    stopping: AtomicBool,
}

impl Shared {
    /// Nothing counted, nobody told to stop.
    pub(super) fn new() -> Result<Self, LimitError> {
        Ok(Self {
            server: Meter::default(),
            client: Meter::default(),
            server_bell: Arc::new(bell()?),
            stopping: AtomicBool::new(false),
        })
    }

    /// Tells both halves to end; they look at least every [`STEP`].
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        ring(&self.server_bell);
    }

    /// How far the server half has come.
    pub(super) fn read_server(&self) -> Result<Reading, LimitError> {
        self.server.read().ok_or(LimitError::HalfGone)
    }

    /// Whether they were told.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// An eventfd to wake a half by.
pub(super) fn bell() -> Result<OwnedFd, LimitError> {
    Ok(rustix::event::eventfd(0, EventfdFlags::CLOEXEC).map_err(std::io::Error::from)?)
}

/// Wakes whoever reads `bell`.
pub(super) fn ring(bell: impl AsFd) {
    // A full count means that it is rung already.
    let _ = rustix::io::write(bell, &1u64.to_ne_bytes());
}

/// A ring with sockets in it. Made, used and dropped on one thread.
pub(super) struct RingHalf {
    pub(super) driver: UringDriver,
    /// Outlives the driver, which reads it.
    _bell: Arc<OwnedFd>,
    socks: Vec<Sock>,
    turns: u64,
    /// Receives and sends the kernel has not ended.
    alive_count: usize,
}

impl RingHalf {
    /// Takes `sockets`, in order; no operation is started.
    pub(super) fn new(
        sizes: RingSizes,
        bell: Arc<OwnedFd>,
        sockets: Vec<OwnedFd>,
    ) -> Result<Self, LimitError> {
        let mut driver = UringDriver::new(sizes, bell.as_raw_fd())?;
        let socks = (0..)
            .zip(sockets)
            .map(|(slot, socket)| driver.insert(ConnId { slot, generation: 0 }, socket))
            .collect();
        Ok(Self { driver, _bell: bell, socks, turns: 0, alive_count: 0 })
    }

    /// How many sockets there are.
    pub(super) fn socket_count(&self) -> usize {
        self.socks.len()
    }

    /// Arms the receive of socket `index`.
    pub(super) fn arm(&mut self, index: usize) {
        self.alive_count += 1;
        self.driver.arm_recv(self.socks[index]);
    }

    /// Arms the receives of all sockets.
    pub(super) fn arm_all(&mut self) {
        for index in 0..self.socks.len() {
            self.arm(index);
        }
    }

    /// Sends `bytes` on socket `index`, which sends nothing now.
    pub(super) fn send(&mut self, index: usize, bytes: FrameBytes) {
        self.alive_count += 1;
        self.driver.submit_send(self.socks[index], bytes, 0);
    }

    /// Sends nothing more on socket `index`.
    pub(super) fn shutdown_write(&mut self, index: usize) {
        self.driver.shutdown_write(self.socks[index]);
    }

    /// Tells `meter` how far this half has come, and waits for completions.
    pub(super) fn wait(&mut self, meter: &Meter, messages: u64) -> Result<(), Fault> {
        meter.store(messages, self.turns, self.driver.counts().enters);
        self.turns += 1;
        self.driver.wait(Some(STEP))
    }

    /// The next completion of the last wait.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Completion> {
        let completion = self.driver.next_completion();
        if let Some(Completion::Send { .. } | Completion::Recv { armed: false, .. }) = completion {
            self.alive_count -= 1;
        }
        completion
    }

    /// Ends every operation and closes the sockets: a ring that still had some could not give its
    /// memory back.
    pub(super) fn close(mut self) -> Result<(), Fault> {
        for sock in &self.socks {
            self.driver.disarm_recv(*sock);
            self.driver.cancel_send(*sock);
        }
        while self.alive_count > 0 {
            self.driver.wait(Some(STEP))?;
            while let Some(completion) = self.next() {
                if let Completion::Recv { lease: Some(lease), .. } = completion {
                    self.driver.release(lease);
                }
            }
        }
        Ok(())
    }
}

/// Longest wait between two looks at whether to stop.
pub(super) const STEP: Duration = Duration::from_millis(20);
