//! Both halves of a fan-out: one prebuilt message to all sockets, by `send` or by a ring, and the
//! half that receives. The next round begins when the last socket has its message.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use rustix::net::SendFlags;
use tidegate::frame::FrameBytes;
use tidegate::ring::{Completion, Driver, RecvOutcome, RingSizes};

use super::LimitError;
use super::half::{self, RingHalf, Shared};
use super::wire;

/// Sends `message` to each of `sockets` by one `send` call each, round after round.
pub(super) fn run_send(
    sockets: &[OwnedFd],
    message: &[u8],
    shared: &Shared,
) -> Result<(), LimitError> {
    let (mut messages, mut rounds) = (0, 0);
    while !shared.is_stopping() {
        for socket in sockets {
            match rustix::net::send(socket, message, SendFlags::NOSIGNAL) {
                Ok(sent) if sent == message.len() => messages += 1,
                _ if shared.is_stopping() => return Ok(()),
                _ => return Err(LimitError::Ended),
            }
        }
        rounds += 1;
        shared.server.store(messages, rounds, messages + rounds);
        let mut count = [0; 8];
        rustix::io::read(&shared.server_bell, &mut count).map_err(std::io::Error::from)?;
    }
    Ok(())
}

/// Sends `message` to each of `sockets` by one ring, an operation each, round after round.
pub(super) fn run_uring(
    sockets: Vec<OwnedFd>,
    message: &[u8],
    shared: &Shared,
) -> Result<(), LimitError> {
    let message: Rc<Arc<[u8]>> = Rc::new(Arc::from(message));
    let mut half = RingHalf::new(wire::SIZES, Arc::clone(&shared.server_bell), sockets)?;
    let mut messages = 0;
    while !shared.is_stopping() {
        for index in 0..half.socket_count() {
            half.send(index, FrameBytes::Shared(Rc::clone(&message)));
        }
        let (mut sending, mut rung) = (half.socket_count(), false);
        while (sending > 0 || !rung) && !shared.is_stopping() {
            half.wait(&shared.server, messages)?;
            while let Some(completion) = half.next() {
                match completion {
                    Completion::Send { result, .. } => {
                        sending -= 1;
                        messages += 1;
                        if !result.is_ok_and(|taken| taken == message.len()) {
                            return if shared.is_stopping() {
                                Ok(())
                            } else {
                                Err(LimitError::Ended)
                            };
                        }
                    }
                    Completion::Woken => rung = true,
                    Completion::Recv { .. } => unreachable!("no receive is armed"),
                }
            }
        }
    }
    Ok(half.close()?)
}

/// Takes messages of `size` bytes on all of `sockets`, and rings the server half each time all
/// have one more.
pub(super) fn run_sink(
    sockets: Vec<OwnedFd>,
    size: usize,
    shared: &Shared,
) -> Result<(), LimitError> {
    let round_len = sockets.len() * size;
    let mut half = RingHalf::new(SINK_SIZES, Arc::new(half::bell()?), sockets)?;
    half.arm_all();
    let (mut received_len, mut rung_len) = (0, 0);
    while !shared.is_stopping() {
        half.wait(&shared.client, (received_len / size) as u64)?;
        while let Some(completion) = half.next() {
            let Completion::Recv { conn, outcome, lease, armed } = completion else { continue };
            if let Some(lease) = lease {
                received_len += lease.filled_len();
                half.driver.release(lease);
            }
            if matches!(outcome, RecvOutcome::End | RecvOutcome::Failed(_)) {
                return if shared.is_stopping() { Ok(()) } else { Err(LimitError::Ended) };
            }
            if !armed {
                half.arm(conn.slot as usize);
            }
        }
        if received_len - rung_len >= round_len {
            rung_len += round_len;
            half::ring(&shared.server_bell);
        }
    }
    Ok(half.close()?)
}

/// One small buffer for every message of a round of a thousand sockets, and as many more.
const SINK_SIZES: RingSizes =
    RingSizes { recv_buffers: 2_048, recv_buffer_size: 2_048, ..wire::SIZES };
