//! Closing every client, spread over a window, without a gap in what each was promised.

use std::time::Duration;

use super::Core;
use crate::id::ConnId;
use crate::limits;
use crate::protocol::centrifuge::code::Disconnect;
use crate::ring::CloseHow;
use crate::session::Millis;
use crate::ws::CloseCode;

/// How often a drain takes its next step.
const STEP: Duration = Duration::from_millis(10);

/// A drain under way.
#[derive(Debug)]
pub(super) struct Drain {
    started: Millis,
    window: Millis,
    /// Connections when it began.
    total: usize,
    closed_count: usize,
    /// The slot to look at next.
    next_slot: u32,
    done: bool,
}

impl Drain {
    /// When to take the next step; `None` when every connection had its turn.
    pub(super) fn next_step(&self) -> Option<Duration> {
        (!self.done).then_some(STEP)
    }

    /// Whether the window is over by so much that deliveries are not waited for any more.
    fn is_overdue(&self, now: Millis) -> bool {
        now - self.started >= self.window.saturating_add(limits::DRAIN_FLUSH_S * 1000)
    }

    /// How many should have been closed by `now`.
    fn due_count(&self, now: Millis) -> usize {
        let elapsed = now - self.started;
        if elapsed >= self.window {
            return usize::MAX;
        }
        (self.total as u64 * elapsed).div_ceil(self.window) as usize
    }
}

impl Core {
    pub(super) fn begin_drain(&mut self, window: Duration) {
        if self.drain.is_none() {
            self.drain = Some(Drain {
                started: self.time.ms,
                window: Millis::try_from(window.as_millis()).unwrap_or(Millis::MAX),
                total: self.slots.len(),
                closed_count: 0,
                next_slot: 0,
                done: false,
            });
        }
    }

    /// Closes the connections that are due, at most `limits::WORK_PER_TURN`.
    ///
    /// Only when no delivery waits: whatever was acknowledged before lies in the outboxes by then,
    /// so each client gets all of it before its Close. Under a stream of publications that this
    /// shard cannot keep up with that moment never comes; what was acknowledged before the drain
    /// began is long delivered when the window and `limits::DRAIN_FLUSH_S` are over.
    pub(super) fn drain_step(&mut self) {
        let Some(drain) = &self.drain else { return };
        if drain.done || (self.has_deliveries() && !drain.is_overdue(self.time.ms)) {
            return;
        }
        let due = drain.due_count(self.time.ms);
        for _ in 0..limits::WORK_PER_TURN {
            let drain = self.drain.as_mut().expect("looked at above");
            if drain.closed_count >= due {
                return;
            }
            let Some(conn) = self.slots.next_from(drain.next_slot) else {
                drain.done = true;
                return;
            };
            drain.next_slot = conn.slot + 1;
            drain.closed_count += 1;
            let connection = self.slots.get_mut(conn).expect("just found");
            if connection.unregistered_count > 0 {
                // Its 101 was never sent: nothing was promised.
                self.doom(conn, CloseHow::Orderly);
            } else {
                self.close_for_drain(conn);
            }
        }
    }

    /// Closes a client because the gateway stops, in the words of its protocol.
    pub(super) fn close_for_drain(&mut self, conn: ConnId) {
        let Some(connection) = self.slots.get_mut(conn) else { return };
        if connection.client.is_some() {
            self.close(conn, Some(Disconnect::Shutdown.code()), Disconnect::Shutdown.reason());
        } else {
            self.close(conn, Some(CloseCode::GOING_AWAY), "the gateway is stopping");
        }
    }
}
