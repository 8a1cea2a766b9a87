//! Client half without a generator: keeps one message out per connection and looks at nothing but
//! how many bytes came back. What the generator costs beyond it is the generator's own.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use tidegate::frame::FrameBytes;
use tidegate::ring::{Completion, Driver, RecvOutcome};

use super::LimitError;
use super::half::{self, RingHalf, Shared};
use super::wire;

/// Sends `message` on each of `sockets`, and again whenever `answer_len` bytes are back, until it
/// is told to stop. Call on a thread of its own.
pub(super) fn run(
    sockets: Vec<OwnedFd>,
    message: Vec<u8>,
    answer_len: usize,
    shared: &Shared,
) -> Result<(), LimitError> {
    let mut missing = vec![answer_len; sockets.len()];
    let message: Rc<Arc<[u8]>> = Rc::new(Arc::from(message));
    let mut half = RingHalf::new(wire::SIZES, Arc::new(half::bell()?), sockets)?;
    half.arm_all();
    let mut messages = 0;
    for index in 0..half.socket_count() {
        half.send(index, FrameBytes::Shared(Rc::clone(&message)));
    }
    while !shared.is_stopping() {
        half.wait(&shared.client, messages)?;
        while let Some(completion) = half.next() {
            let Completion::Recv { conn, outcome, lease, armed } = completion else { continue };
            let index = conn.slot as usize;
            if let Some(lease) = lease {
                missing[index] = missing[index].saturating_sub(lease.filled_len());
                half.driver.release(lease);
                if missing[index] == 0 {
                    missing[index] = answer_len;
                    messages += 1;
                    let again = FrameBytes::Shared(Rc::clone(&message));
                    half.send(index, again);
                }
            }
            if matches!(outcome, RecvOutcome::End | RecvOutcome::Failed(_)) {
                return if shared.is_stopping() { Ok(()) } else { Err(LimitError::Ended) };
            }
            if !armed {
                half.arm(index);
            }
        }
    }
    Ok(half.close()?)
}
