//! From the first signal to the last thread.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::threads::Threads;
use super::{Event, ServeError};
use crate::lifecycle::{Lifecycle, Phase};
use crate::limits;

/// How often the open connections are counted.
const LOOK: Duration = Duration::from_millis(10);

/// How a drain ended.
#[derive(Debug)]
pub(super) enum Drained {
    /// Every client is closed.
    Cleanly,
    /// The deadline came with so many clients open.
    WithRest(u32),
    /// A second signal came with so many clients open.
    Forced(u32),
    /// A thread failed meanwhile.
    Failed(ServeError),
}

/// Closes every client over `window`, then ends all threads. Publishing stays open until the last
/// client is closed.
pub(super) fn drain(
    mut threads: Threads,
    lifecycle: &Lifecycle,
    window: Duration,
    happened: &Receiver<Event>,
) -> Drained {
    threads.drain(window);
    let grace = Duration::from_secs(limits::DRAIN_FLUSH_S + limits::CLOSE_TIMEOUT_S + 1);
    let deadline = Instant::now() + window + grace;
    loop {
        let open = threads.permits.total();
        if open == 0 || Instant::now() >= deadline {
            lifecycle.advance(Phase::Drained);
            return match threads.stop() {
                Err(error) => Drained::Failed(error),
                Ok(()) if open == 0 => Drained::Cleanly,
                Ok(()) => Drained::WithRest(open),
            };
        }
        match happened.recv_timeout(LOOK) {
            Ok(Event::Signal) => return Drained::Forced(open),
            Ok(Event::Failed(error)) => return Drained::Failed(error),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => unreachable!("the signal thread never ends"),
        }
    }
}
