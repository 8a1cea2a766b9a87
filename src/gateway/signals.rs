//! SIGTERM and SIGINT, taken by one thread.

use std::sync::mpsc::Sender;

use nix::sys::signal::{SigSet, Signal};

use super::Event;

/// The signals that drain the gateway, blocked in the calling thread and in every thread started
/// after, so that no system call of theirs is interrupted.
#[derive(Debug)]
pub(super) struct Signals(SigSet);

impl Signals {
    /// Blocks them. Call before any thread is started.
    pub(super) fn block() -> Self {
        let mut set = SigSet::empty();
        set.add(Signal::SIGTERM);
        set.add(Signal::SIGINT);
        set.thread_block().expect("blocking two valid signals cannot fail");
        Self(set)
    }

    /// Starts the thread that waits for them and sends each as an event.
    pub(super) fn forward(self, events: Sender<Event>) {
        let wait = move || {
            loop {
                self.0.wait().expect("waiting for two valid signals cannot fail");
                if events.send(Event::Signal).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(wait)
            .expect("a thread could be started for every shard before");
    }
}
