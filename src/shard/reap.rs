//! What the kernel finished, completion by completion.

use super::Shard;
use super::clock::Clock;
use crate::frame::FrameBytes;
use crate::id::ConnId;
use crate::planted::{Bug, is_planted};
use crate::ring::{CloseHow, Completion, Driver, Fault, Lease, RecvOutcome};

impl<D: Driver, C: Clock> Shard<D, C> {
    /// Takes every completion of the last wait.
    pub(super) fn reap(&mut self) {
        while let Some(completion) = self.driver.next_completion() {
            match completion {
                Completion::Recv { conn, outcome, lease, armed } => {
                    self.reap_recv(conn, outcome, lease, armed);
                }
                Completion::Send { conn, bytes, result } => self.reap_send(conn, bytes, result),
                // Mail is looked at every turn.
                Completion::Woken => {}
            }
        }
    }

    fn reap_recv(&mut self, conn: ConnId, outcome: RecvOutcome, lease: Option<Lease>, armed: bool) {
        if let Some(connection) = self.core.slots.get_mut(conn) {
            // Ended with data or without: the more-flag alone says so.
            let cut = !armed && !connection.flags.recv_disarming;
            if cut && matches!(outcome, RecvOutcome::Data | RecvOutcome::Ended) {
                self.core.stats.counters.recv_rearmed.add(1);
            }
            connection.flags.recv_armed = armed && !is_planted(Bug::RearmTwice);
            connection.flags.recv_disarming &= armed;
            if let (RecvOutcome::Data, Some(lease)) = (outcome, &lease) {
                let bytes = self.driver.buffer(lease);
                self.core.stats.counters.bytes_received.add(bytes.len() as u64);
                self.core.feed(conn, bytes);
            }
            self.reap_recv_outcome(conn, outcome);
        } else {
            self.core.stats.counters.ring_stale.add(1);
        }
        // A buffer may come with any outcome, for a connection that is gone too.
        if let Some(lease) = lease {
            self.driver.release(lease);
        }
        if outcome == RecvOutcome::Ended && is_planted(Bug::NoRearm) {
            return;
        }
        self.settle_recv(conn);
    }

    fn reap_recv_outcome(&mut self, conn: ConnId, outcome: RecvOutcome) {
        let core = &mut self.core;
        match outcome {
            RecvOutcome::Data | RecvOutcome::Cancelled | RecvOutcome::Ended => {}
            RecvOutcome::NoBuffers => core.stats.counters.buffer_shortages.add(1),
            RecvOutcome::End => core.on_peer_end(conn),
            RecvOutcome::Failed(fault) => {
                if let Fault::Other(_) | Fault::OutOfMemory(_) = fault {
                    tracing::warn!(%conn, %fault, "a receive failed; the connection ends");
                }
                core.doom(conn, CloseHow::Orderly);
            }
        }
    }

    fn reap_send(&mut self, conn: ConnId, bytes: FrameBytes, result: Result<usize, Fault>) {
        let core = &mut self.core;
        let Some(connection) = core.slots.get_mut(conn) else {
            core.stats.counters.ring_stale.add(1);
            return;
        };
        let taken = *result.as_ref().unwrap_or(&0);
        core.stats.counters.bytes_sent.add(taken as u64);
        connection.sent_len += u32::try_from(taken).expect(SENT_FITS);
        let done = connection.sent_len as usize == bytes.len()
            || taken > 0 && is_planted(Bug::ShortSendTakenAsWhole);
        if !done && taken > 0 && connection.terminating.is_none() {
            // MSG_WAITALL makes short sends rare; it does not rule them out.
            core.stats.counters.short_sends.add(1);
            self.driver.submit_send(connection.sock, bytes, connection.sent_len as usize);
            return;
        }
        connection.sent_len = 0;
        connection.session.outbox.note_sent();
        core.outbox_len -= bytes.len();
        if let FrameBytes::Owned(bytes) = bytes {
            core.give_spare(bytes);
        }
        if done {
            self.reap_send_done(conn);
            return;
        }
        if let Err(fault @ (Fault::Other(_) | Fault::OutOfMemory(_))) = result {
            tracing::warn!(%conn, %fault, "a send failed; the connection ends");
        }
        core.doom(conn, CloseHow::Orderly);
        self.terminate_join(conn);
    }

    fn reap_send_done(&mut self, conn: ConnId) {
        let core = &mut self.core;
        let now = core.time.ms;
        let connection = core.slots.get_mut(conn).expect("looked up by the caller");
        if connection.terminating.is_some() {
            self.terminate_join(conn);
        } else if !connection.session.outbox.is_empty() {
            core.mark_dirty(conn);
            core.resume_if_drained(conn);
        } else if connection.session.on_outbox_sent(now) {
            self.driver.shutdown_write(connection.sock);
            if connection.flags.peer_ended {
                core.doom(conn, CloseHow::Orderly);
            } else {
                core.set_timer(conn);
            }
        } else {
            core.resume_if_drained(conn);
        }
    }

    /// Makes the receive follow the connection's state: asked to end when it pauses or ends, armed
    /// again when the kernel ended it. The one place that decides.
    pub(super) fn settle_recv(&mut self, conn: ConnId) {
        let Some(connection) = self.core.slots.get_mut(conn) else { return };
        let wants = connection.wants_recv();
        let flags = &mut connection.flags;
        if flags.recv_armed {
            if !wants && !flags.recv_disarming {
                flags.recv_disarming = true;
                self.driver.disarm_recv(connection.sock);
            }
        } else if wants && !flags.recv_queued {
            flags.recv_queued = true;
            self.core.recv_queue.push_back(conn);
        } else if connection.terminating.is_some() {
            self.terminate_join(conn);
        }
    }
}

const SENT_FITS: &str = "no send is longer than the largest message with its header";
