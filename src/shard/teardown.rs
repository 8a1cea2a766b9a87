//! How connections end: our Close, the peer's end, and the three steps of teardown.
//!
//! `terminate` asks every operation to end, `terminate_join` returns while one is in flight,
//! `terminate_close` lets the socket go. There is no other way out.

use super::clock::Clock;
use super::slots::Connection;
use super::timers::NO_TICK;
use super::{Core, Shard};
use crate::hub::{Member, Place};
use crate::id::ConnId;
use crate::limits;
use crate::planted::{Bug, is_planted};
use crate::protocol::centrifuge::code::{Disconnect, Unsubscribed};
use crate::protocol::centrifuge::reply;
use crate::ring::{CloseHow, Driver};
use crate::session::KeepaliveStep;
use crate::ws::{CloseCode, MessageKind, encode};

impl Core {
    /// Queues our Close behind everything that waits: the 101, answers to what the peer sent before
    /// its fault, publications it was promised. Nothing is delivered any more.
    pub(super) fn close(&mut self, conn: ConnId, code: Option<CloseCode>, reason: &str) {
        let now = self.time.ms;
        self.queue_close(conn, reason, |connection| {
            connection.session.close_after_outbox(code, reason, now);
            0
        });
    }

    /// Queues our Close and drops what waits before it, unless the 101 is among that.
    pub(super) fn close_dropping(&mut self, conn: ConnId, code: CloseCode, reason: &str) {
        let now = self.time.ms;
        self.queue_close(conn, reason, |connection| {
            if connection.flags.answered {
                connection.session.close(Some(code), reason, now)
            } else {
                connection.session.close_after_outbox(Some(code), reason, now);
                0
            }
        });
    }

    fn queue_close(
        &mut self,
        conn: ConnId,
        reason: &str,
        close: impl FnOnce(&mut Connection) -> usize,
    ) {
        let Some(connection) = self.slots.get_mut(conn) else { return };
        if !connection.session.is_open() || connection.terminating.is_some() {
            return;
        }
        let before = connection.session.outbox.total_len();
        let dropped = close(connection);
        let after = connection.session.outbox.total_len();
        // From here on the peer's bytes are read and discarded.
        connection.flags.paused = false;
        // The owners' answers it waited for are not for it any more: its 101 leaves now.
        connection.unregistered_count = 0;
        let abandoned = connection.drop_held();
        self.stats.counters.publishes_abandoned.add(abandoned);
        self.outbox_len = self.outbox_len + after - before;
        self.stats.counters.outbox_dropped_bytes.add(dropped as u64);
        self.leave_channels(conn, reason);
        self.mark_dirty(conn);
        self.set_timer(conn);
        self.queue_resume(conn);
    }

    /// The peer finished sending. Without a Close before it that is an abnormal end (1006): what
    /// waits for it is still sent.
    pub(super) fn on_peer_end(&mut self, conn: ConnId) {
        let now = self.time.ms;
        let Some(connection) = self.slots.get_mut(conn) else { return };
        connection.flags.peer_ended = true;
        if connection.flags.paused && connection.terminating.is_none() {
            // What it sent before its end waits to be decoded; `resume` comes back here.
            return;
        }
        connection.session.on_peer_end(now);
        if connection.session.outbox.is_idle() {
            self.doom(conn, CloseHow::Orderly);
        } else {
            self.leave_channels(conn, "");
            self.set_timer(conn);
        }
    }

    /// Ends the connection at the end of this turn, whatever waits for it.
    pub(super) fn doom(&mut self, conn: ConnId, how: CloseHow) {
        let Some(connection) = self.slots.get_mut(conn) else { return };
        match connection.terminating {
            None => {
                connection.terminating = Some(how);
                let dropped = connection.session.outbox.drop_waiting();
                let abandoned = connection.drop_held();
                self.stats.counters.publishes_abandoned.add(abandoned);
                self.outbox_len -= dropped;
                self.stats.counters.outbox_dropped_bytes.add(dropped as u64);
                self.leave_channels(conn, "");
                self.doomed.push_back(conn);
            }
            Some(CloseHow::Orderly) => connection.terminating = Some(how),
            Some(CloseHow::Reset) => {}
        }
    }

    /// Ends every subscription: nothing is delivered to the connection any more. `reason` is that
    /// of our Close; a backend is told.
    pub(super) fn leave_channels(&mut self, conn: ConnId, reason: &str) {
        self.leave_all(conn, reason);
        let raw = self.take_raw(conn);
        let Some(connection) = self.slots.get_mut(conn) else { return };
        let subscriptions = std::mem::take(&mut connection.subscriptions);
        self.stats.counters.subscriptions.sub(subscriptions.len() as u64);
        for (index, subscription) in (0u8..).zip(subscriptions) {
            if subscription.place == Place::Refused {
                continue;
            }
            if let Some(raw) = &raw {
                self.tell_unsubscribed(raw, subscription.channel, Unsubscribed::Disconnect);
            }
            let member = Member::new(conn, index);
            let moves = self.hub.unsubscribe(subscription, member);
            for (moved, index) in moves.into_iter().flatten() {
                self.on_moved(moved, index);
            }
        }
        if let Some(raw) = raw {
            self.tell_disconnected(conn, raw, reason);
        }
    }

    /// Looks at every connection whose time has come.
    pub(super) fn fire_timers(&mut self) {
        let now = self.time.ms;
        while let Some(slot) = self.timers.take_due(now) {
            let (conn, connection) = self.slots.occupant(slot).expect(TIMER_GOES_WITH_IT);
            connection.timer = NO_TICK;
            self.on_timer(conn);
            self.set_timer(conn);
        }
        self.timers.settle(now);
    }

    fn on_timer(&mut self, conn: ConnId) {
        let now = self.time.ms;
        let Some(connection) = self.slots.get_mut(conn) else { return };
        if connection.terminating.is_some() {
            return;
        }
        if connection.session.is_close_overdue(now) {
            self.doom(conn, CloseHow::Reset);
            return;
        }
        if !connection.session.is_open() || self.end_expired(conn) {
            return;
        }
        let Some(connection) = self.slots.get_mut(conn) else { return };
        let (awaits_connect, paused) = (connection.awaits_connect(), connection.flags.paused);
        let Some(keepalive) = connection.session.keepalive_mut() else { return };
        match keepalive.handle_timeout(now, &self.settings.keepalive) {
            KeepaliveStep::Wait => {}
            KeepaliveStep::Ping => {
                self.stats.counters.pings_sent.add(1);
                let frame_pings = connection.protocol.has_frame_pings();
                self.append(conn, |out| match frame_pings {
                    true => encode::append_ping(out, b""),
                    false => encode::append_message(out, MessageKind::Text, reply::PING),
                });
                self.mark_dirty(conn);
            }
            // Its pong may lie where this shard does not read.
            KeepaliveStep::Dead if paused => keepalive.put_off(now, &self.settings.keepalive),
            KeepaliveStep::Dead if awaits_connect => {
                self.close(conn, Some(Disconnect::Stale.code()), Disconnect::Stale.reason());
            }
            KeepaliveStep::Dead => {
                self.stats.counters.pong_timeouts.add(1);
                self.close(conn, Some(CloseCode::NO_PONG), "no pong");
            }
        }
    }
}

impl<D: Driver, C: Clock> Shard<D, C> {
    /// Step one for doomed connections, a bounded number a turn: every operation is asked to end.
    pub(super) fn terminate(&mut self) {
        for _ in 0..self.core.doomed.len().min(limits::WORK_PER_TURN) {
            let conn = self.core.doomed.pop_front().expect("counted");
            let Some(connection) = self.core.slots.get_mut(conn) else { continue };
            connection.flags.ending = true;
            let sock = connection.sock;
            if connection.session.outbox.is_sending() {
                self.driver.cancel_send(sock);
            }
            if connection.flags.recv_armed && !connection.flags.recv_disarming {
                connection.flags.recv_disarming = true;
                self.driver.disarm_recv(sock);
            }
            self.terminate_join(conn);
        }
    }

    /// Step two: returns while an operation is in flight; its completion calls again.
    pub(super) fn terminate_join(&mut self, conn: ConnId) {
        let Some(connection) = self.core.slots.get_mut(conn) else { return };
        let is_sending = connection.session.outbox.is_sending() && !is_planted(Bug::NoJoin);
        let in_flight = connection.flags.recv_armed || is_sending;
        // Before step one has come to it there is nothing to join.
        if connection.flags.ending && !in_flight {
            self.terminate_close(conn);
        }
    }

    /// Step three: the socket is closed, the slot and the permit are free again.
    fn terminate_close(&mut self, conn: ConnId) {
        let connection = self.core.slots.remove(conn);
        self.core.timers.remove(conn.slot, connection.timer);
        self.core.expiries.remove(&conn);
        self.core.metas.remove(&conn);
        self.core.headers.remove(&conn);
        let how = connection.terminating.expect("only terminating connections are joined");
        self.driver.close(connection.sock, how);
        self.core.stats.closes.count(connection.session.close_code());
        self.core.permits.give_back(self.core.id);
        if connection.flags.compressed {
            self.core.end_compression(conn);
        }
        tracing::debug!(%conn, peer = %connection.peer, code = connection.session.close_code(), "closed");
    }
}

const TIMER_GOES_WITH_IT: &str = "a connection's timer is removed with it";
