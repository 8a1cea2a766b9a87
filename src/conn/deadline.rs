//! A point in time after which a direction of a connection waits no longer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// No deadline, until one is set. Allocates once, when the first is set.
#[derive(Default)]
pub(super) struct Deadline {
    at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Sets it, or takes it away.
    pub(super) fn set(&mut self, at: Option<std::time::Instant>) {
        self.at = at.map(Instant::from_std);
        if let (Some(at), Some(timer)) = (self.at, &mut self.timer) {
            timer.as_mut().reset(at);
        }
    }

    /// Ready when it has passed. For a task that waits for something else and got nothing.
    pub(super) fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else {
            return Poll::Pending;
        };
        self.timer.get_or_insert_with(|| Box::pin(sleep_until(at))).as_mut().poll(cx)
    }
}
