//! Server half of an echo: a bare loop over a ring. No sessions, timers or statistics.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tidegate::frame::FrameBytes;
use tidegate::ring::{Completion, Driver, Lease, RecvOutcome};

use super::LimitError;
use super::framing::Framing;
use super::half::{RingHalf, Shared};
use super::wire;

/// Answers on `sockets` until it is told to stop or all have ended. Call on a thread of its own.
pub(super) fn run(
    sockets: Vec<OwnedFd>,
    framing: Framing,
    shared: &Shared,
) -> Result<(), LimitError> {
    let peers = sockets.iter().map(|_| Peer::default()).collect();
    let bell = Arc::clone(&shared.server_bell);
    let half = RingHalf::new(wire::SIZES, bell, sockets)?;
    let mut echo = Echo { half, peers, framing, messages: 0, open_count: 0 };
    echo.open_count = echo.peers.len();
    echo.half.arm_all();
    while !shared.is_stopping() && echo.open_count > 0 {
        echo.half.wait(&shared.server, echo.messages)?;
        while let Some(completion) = echo.half.next() {
            echo.reap(completion)?;
        }
    }
    Ok(echo.half.close()?)
}

struct Echo {
    half: RingHalf,
    peers: Vec<Peer>,
    framing: Framing,
    messages: u64,
    open_count: usize,
}

/// What is kept of one connection.
#[derive(Debug, Default)]
struct Peer {
    /// Answers that wait for the send in flight; usually empty.
    waiting: Vec<u8>,
    /// Memory of the last send.
    spare: Vec<u8>,
    sending: bool,
    /// The peer sent a Close: nothing is sent behind the answer to it.
    closing: bool,
}

impl Echo {
    fn reap(&mut self, completion: Completion) -> Result<(), LimitError> {
        match completion {
            Completion::Recv { conn, outcome, lease, armed } => {
                if let Some(lease) = lease {
                    self.take(conn.slot as usize, lease)?;
                }
                if matches!(outcome, RecvOutcome::End | RecvOutcome::Failed(_)) {
                    self.open_count -= 1;
                } else if !armed {
                    self.half.arm(conn.slot as usize);
                }
            }
            Completion::Send { conn, bytes, result } => {
                let complete = result.is_ok_and(|taken| taken == bytes.len());
                self.sent(conn.slot as usize, bytes, complete);
            }
            Completion::Woken => {}
        }
        Ok(())
    }

    fn take(&mut self, index: usize, lease: Lease) -> Result<(), LimitError> {
        let peer = &mut self.peers[index];
        let driver = &mut self.half.driver;
        let answer = if peer.sending { &mut peer.waiting } else { &mut peer.spare };
        let input = driver.buffer(&lease);
        peer.closing |= self.framing.is_close(input);
        let answered = self.framing.answer(input, answer);
        driver.release(lease);
        self.messages += answered.map_err(|_| LimitError::Unfit)?;
        if !peer.sending && !peer.spare.is_empty() {
            peer.sending = true;
            let answer = FrameBytes::Owned(std::mem::take(&mut peer.spare));
            self.half.send(index, answer);
        }
        Ok(())
    }

    /// A short or failed send means that the peer has gone: nothing follows.
    fn sent(&mut self, index: usize, bytes: FrameBytes, complete: bool) {
        let peer = &mut self.peers[index];
        peer.sending = false;
        if let FrameBytes::Owned(mut bytes) = bytes {
            bytes.clear();
            peer.spare = bytes;
        }
        if complete && !peer.waiting.is_empty() {
            peer.sending = true;
            std::mem::swap(&mut peer.waiting, &mut peer.spare);
            let answer = FrameBytes::Owned(std::mem::take(&mut peer.spare));
            self.half.send(index, answer);
        } else if peer.closing {
            self.half.shutdown_write(index);
        }
    }
}
