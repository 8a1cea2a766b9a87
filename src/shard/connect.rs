//! From hand-off to the 101: a connection takes its slot and its subscriptions.

use super::centrifuge::{Client, Expiry, Renewal};
use super::slots::{Connection, Flags, Held};
use super::timers::NO_TICK;
use super::{Core, lend_spare};
use crate::hub::{Member, Place, Subscription};
use crate::id::{ChannelName, ConnId};
use crate::mail::Handoff;
use crate::protocol::Protocol;
use crate::protocol::admission::Entry;
use crate::protocol::hook::ForwardedHeaders;
use crate::ring::Driver;
use crate::session::{Keepalive, Session};
use crate::ws::CloseCode;

impl Core {
    /// Takes an upgraded connection from an acceptor. Its 101 lies at the head of its outbox and
    /// leaves once every subscription is registered with its owner.
    pub(super) fn connect(&mut self, driver: &mut impl Driver, handoff: Handoff) {
        let Handoff { socket, response, leftover, peer, entry, deflate, permit } = handoff;
        debug_assert_eq!(permit.shard(), self.id);
        permit.keep();
        let conn = self.slots.reserve();
        let (mut expiry, mut user) = (None, None);
        let (protocol, channels) = match entry {
            Entry::Echo => (Protocol::Echo, Box::default()),
            Entry::Raw(raw) => {
                let at = raw.expire_at.map(|end| self.time.at_unix_s(end));
                expiry = at.map(|at| Expiry { at, by: Renewal::Client });
                user = raw.user;
                (Protocol::Raw { publish: raw.publish }, raw.channels)
            }
            Entry::Centrifuge { headers, frame_pings } => {
                if headers != ForwardedHeaders::default() {
                    self.headers.insert(conn, headers);
                }
                (Protocol::Centrifuge { frame_pings }, Box::default())
            }
        };
        let times = &self.settings.keepalive;
        let (keepalive, client) = match protocol {
            Protocol::Echo | Protocol::Raw { .. } => {
                (Keepalive::new(self.time.ms, times, self.random.u64(..)), None)
            }
            Protocol::Centrifuge { .. } => {
                let deadline = self.time.ms + self.settings.connect_timeout;
                (Keepalive::awaiting(deadline), Some(Box::<Client>::default()))
            }
        };
        let held = Held { backlog: leftover, ..Held::default() };
        let connection = Connection {
            session: Session::new(keepalive, deflate.is_some()),
            protocol,
            sock: driver.insert(conn, socket),
            subscriptions: Box::default(),
            held: (!held.backlog.is_empty()).then(|| Box::new(held)),
            client,
            timer: NO_TICK,
            sent_len: 0,
            peer,
            unregistered_count: 0,
            // Not decoded before it is open.
            flags: Flags { paused: true, compressed: deflate.is_some(), ..Flags::default() },
            terminating: None,
        };
        self.slots.fill(conn, connection);
        if let Protocol::Raw { .. } = protocol {
            self.note_raw(conn, user);
        }
        self.set_expiry(conn, expiry);
        self.stats.counters.connections_opened.add(1);
        if let Some(params) = deflate {
            self.begin_compression(conn, protocol, params);
        }
        self.append(conn, |out| out.extend_from_slice(&response));
        self.set_timer(conn);
        self.subscribe(conn, &channels);
    }

    /// Subscribes to all channels, then opens the connection or leaves that to the owners' answers.
    fn subscribe(&mut self, conn: ConnId, channels: &[ChannelName]) {
        let mut subscriptions = Vec::with_capacity(channels.len());
        let mut waiting_count = 0;
        for (index, name) in (0u8..).zip(channels) {
            match self.hub.subscribe(name, Member::new(conn, index)) {
                Ok(subscription) => {
                    waiting_count += u8::from(subscription.place == Place::Waiting);
                    subscriptions.push(subscription);
                }
                // The places found so far end with the connection.
                Err(_) => break,
            }
        }
        self.stats.counters.subscriptions.add(subscriptions.len() as u64);
        let connection = self.slots.get_mut(conn).expect("just filled");
        connection.subscriptions = subscriptions.into();
        connection.unregistered_count = waiting_count;
        if connection.subscriptions.len() < channels.len() {
            self.refuse(conn);
        } else if waiting_count == 0 {
            self.open(conn);
        }
    }

    /// Every subscription is registered: the 101 leaves, messages flow.
    fn open(&mut self, conn: ConnId) {
        self.note_opened(conn);
        self.mark_dirty(conn);
        self.queue_resume(conn);
        if self.drain.is_some() {
            self.close_for_drain(conn);
        }
    }

    /// A table of channels is full: the client is upgraded and told to try again later.
    fn refuse(&mut self, conn: ConnId) {
        let Some(connection) = self.slots.get_mut(conn) else { return };
        tracing::warn!(%conn, peer = %connection.peer, "a subscription was refused: the table of channels is full");
        self.close(conn, Some(CloseCode::TRY_AGAIN), "the table of channels is full");
    }

    /// The owner of `channel` answered this shard's question.
    pub(super) fn on_registered(&mut self, channel: &str, accepted: bool) {
        let mut joined = Vec::new();
        let mut refused = Vec::new();
        self.hub.on_registered(
            channel,
            accepted,
            |member, index| joined.push((member, index)),
            |member| refused.push(member),
        );
        self.settle_waiting(joined, refused);
    }

    /// Those who waited for an owner's answer have it.
    pub(super) fn settle_waiting(&mut self, joined: Vec<(Member, u32)>, refused: Vec<Member>) {
        // All places first: opening one may close it at once (in a drain), which moves others.
        for (member, index) in &joined {
            self.on_moved(*member, *index);
        }
        for (member, _) in joined {
            self.on_joined(member);
        }
        for member in refused {
            self.on_refused(member);
        }
    }

    fn on_joined(&mut self, member: Member) {
        let connection = self.slots.get_mut(member.conn).expect("members are open connections");
        connection.unregistered_count -= 1;
        if connection.unregistered_count == 0 {
            self.open(member.conn);
        }
    }

    /// The hub has forgotten this one subscription already; the others end with the connection.
    fn on_refused(&mut self, member: Member) {
        let connection = self.slots.get_mut(member.conn).expect("members are open connections");
        // A second refusal finds the connection closing and its subscriptions gone.
        if let Some(subscription) =
            connection.subscriptions.get_mut(usize::from(member.subscription_index))
        {
            subscription.place = Place::Refused;
            self.refuse(member.conn);
        }
    }

    /// A member has a new place, because it joined or because a removal moved it.
    pub(super) fn on_moved(&mut self, member: Member, index: u32) {
        let connection = self.slots.get_mut(member.conn).expect("members are open connections");
        match &mut connection.client {
            None => connection.subscription_mut(member).place = Place::Member(index),
            Some(client) => client.set_member_index(member.subscription_index, index),
        }
    }

    /// Appends bytes of this connection alone to its outbox. Does not flush.
    pub(super) fn append(&mut self, conn: ConnId, fill: impl FnOnce(&mut Vec<u8>)) {
        let Some(connection) = self.slots.get_mut(conn) else { return };
        let spare = &mut self.spare;
        let spare_len = &mut self.spare_len;
        let outbox = &mut connection.session.outbox;
        let tail = outbox.tail_mut(|| lend_spare(spare, spare_len));
        let before = tail.len();
        fill(tail);
        let added = tail.len() - before;
        debug_assert!(added > 0, "an append of nothing");
        outbox.note_added(added);
        self.outbox_len += added;
    }
}

impl Connection {
    /// The subscription a member stands for.
    pub(super) fn subscription_mut(&mut self, member: Member) -> &mut Subscription {
        &mut self.subscriptions[usize::from(member.subscription_index)]
    }

    /// Drops what waits while it is not read; says how many messages of the client that were.
    pub(super) fn drop_held(&mut self) -> u64 {
        let Some(held) = self.held.take() else { return 0 };
        u64::from(held.publish.is_some() || held.commands.is_some())
    }

    /// Whether bytes of the peer are of use: to be decoded, or to be discarded after our Close.
    pub(super) fn wants_recv(&self) -> bool {
        self.terminating.is_none() && !self.flags.peer_ended && !self.flags.paused
    }
}
