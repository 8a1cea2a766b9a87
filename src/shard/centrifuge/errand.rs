//! What backends have done to clients: a bounded piece of it each turn.
//!
//! An errand is over, and its backend told so, once it was done to every client that is meant; a
//! subscription is done when the owner has let the client in, so what is published after the answer
//! reaches it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::super::Core;
use super::asked::{Asked, By};
use super::client::{Client, Slot};
use super::hook::{Expiry, Renewal};
use super::token::Grant;
use crate::id::{ChannelName, ConnId};
use crate::limits;
use crate::mail::{Deed, Enrolment, Selector, Steer, SteerReply, Unanswered};
use crate::protocol::centrifuge::code::{Disconnect, Unsubscribed};
use crate::protocol::centrifuge::reply::{self, Subscribed};

/// What is to be done to clients.
#[derive(Debug, Default)]
pub(in crate::shard) struct Errands {
    /// Those with clients that it was not begun with.
    queue: VecDeque<u32>,
    by_id: HashMap<u32, Errand, RandomState>,
    next_id: u32,
    /// True when the last time ended because its work was enough for one turn.
    cut: bool,
}

#[derive(Debug)]
struct Errand {
    deed: Deed,
    /// Clients it is to be done to.
    left: Vec<ConnId>,
    /// Joins whose answer is on its way.
    joining_count: usize,
    result: Result<(), Unanswered>,
    reply: SteerReply,
}

impl Errands {
    /// Whether the next turn goes on with what this one left.
    pub(in crate::shard) fn is_cut(&self) -> bool {
        self.cut
    }
}

impl Core {
    /// Takes an errand, unless there are too many.
    pub(in crate::shard) fn take_errand(&mut self, steer: Steer) {
        let Steer { who, deed, reply } = steer;
        if self.errands.by_id.len() >= limits::ERRANDS_MAX {
            // Nobody waits any more when the HTTP client is gone.
            let _ = reply.send(Err(Unanswered::Full));
            return;
        }
        let left = self.meant(&who);
        let id = self.errands.next_id;
        self.errands.next_id = id.wrapping_add(1);
        let errand = Errand { deed, left, joining_count: 0, result: Ok(()), reply };
        self.errands.by_id.insert(id, errand);
        self.errands.queue.push_back(id);
    }

    /// The clients that are meant.
    fn meant(&mut self, who: &Selector) -> Vec<ConnId> {
        let client = who.client.or(who.session.map(|session| session.client));
        let mut conns = match (&client, &who.user) {
            (Some(client), _) => self.roll.client(*client).into_iter().collect(),
            (None, Some(user)) => self.roll.user(user),
            (None, None) => Vec::new(),
        };
        conns.retain(|conn| {
            let info = self.slots.get_mut(*conn).and_then(|c| c.client.as_ref()?.info.clone());
            info.is_some_and(|info| {
                who.user.as_ref().is_none_or(|user| *user == info.user)
                    && who.session.is_none_or(|session| session == self.sessions.of(info.client))
                    && !who.spared.contains(&info.client)
            })
        });
        conns
    }

    /// Goes on with errands, in order, until the turn's work is done or there is no room.
    pub(in crate::shard) fn run_errands(&mut self) {
        let mut budget = limits::WORK_PER_TURN;
        self.errands.cut = false;
        while let Some(id) = self.errands.queue.front().copied() {
            let errand = self.errands.by_id.get_mut(&id).expect("queued errands exist");
            let Some(conn) = errand.left.pop() else {
                self.errands.queue.pop_front();
                self.end_errand(id);
                continue;
            };
            let deed = errand.deed.clone();
            if budget == 0 || !self.carry_out(id, conn, &deed) {
                let errand = self.errands.by_id.get_mut(&id).expect("it is not over");
                errand.left.push(conn);
                self.errands.cut = budget == 0;
                return;
            }
            budget -= 1;
        }
    }

    /// Does it to one client. False: there is no room now; this shard is woken when there is.
    fn carry_out(&mut self, id: u32, conn: ConnId, deed: &Deed) -> bool {
        match deed {
            Deed::Disconnect { code, reason } => self.close(conn, Some(*code), reason),
            Deed::Refresh { expire_at, info } => self.renew(conn, *expire_at, info.as_ref()),
            Deed::Unsubscribe(channel) => self.revoke(conn, channel),
            Deed::Subscribe(enrolment) => return self.enrol(id, conn, enrolment),
        }
        true
    }

    /// The client, unless its connection ends or its connect command was refused.
    fn staying(&mut self, conn: ConnId) -> Option<&mut Client> {
        let connection = self.slots.get_mut(conn)?;
        let stays = connection.session.is_open() && connection.terminating.is_none();
        connection.client.as_deref_mut().filter(|client| stays && client.info.is_some())
    }

    /// Sets anew until when a client may stay, and tells it; and what others see of it.
    fn renew(&mut self, conn: ConnId, expire_at: Option<u64>, info: Option<&Arc<str>>) {
        if self.staying(conn).is_none() {
            return;
        }
        if let Some(text) = info {
            self.set_conn_info(conn, text.clone());
        }
        let Some(expire_at) = expire_at else { return };
        if self.time.at_unix_s(expire_at) <= self.time.ms {
            let why = Disconnect::ConnectionExpired;
            return self.close(conn, Some(why.code()), why.reason());
        }
        let by = match self.expiries.get(&conn) {
            None | Some(Expiry { by: Renewal::Client, .. }) => Renewal::Client,
            Some(Expiry { by: Renewal::Backend | Renewal::Asked, .. }) => Renewal::Backend,
        };
        self.set_expiry(conn, Some(Expiry { at: self.end_of(expire_at, by), by }));
        self.set_timer(conn);
        if by == Renewal::Backend {
            // The client has nothing to do about it.
            return;
        }
        let mut push = Vec::new();
        reply::append_renewed(&mut push, self.connection_ttl(conn));
        self.send_replies(conn, &mut push);
    }

    /// Ends a client's subscription, or has it end as soon as it has begun.
    fn revoke(&mut self, conn: ConnId, channel: &ChannelName) {
        let Some(found) = self.hub.find(channel) else { return };
        let Some(client) = self.client_mut(conn) else { return };
        let Some((index, slot)) = client.find(found) else { return };
        match slot {
            Slot::Free => {}
            Slot::Joining { channel, asked } => {
                let asked = Asked { revoked: true, ..asked };
                client.set_slot(index, Slot::Joining { channel, asked });
            }
            Slot::Member { .. } => self.revoke_at(conn, index),
        }
    }

    /// Ends a subscription, if it is in force, and tells the client.
    pub(super) fn revoke_at(&mut self, conn: ConnId, index: u8) {
        let slot = self.client_mut(conn).map_or(Slot::Free, |client| client.slot(index));
        if slot.subscription().is_none() {
            // Telling it of the subscription was too much: its end has begun.
            return;
        }
        let mut push = Vec::new();
        self.end_subscription(conn, index, slot, Unsubscribed::Server, &mut push);
        self.send_replies(conn, &mut push);
    }

    /// Begins a subscription for a client.
    fn enrol(&mut self, id: u32, conn: ConnId, enrolment: &Enrolment) -> bool {
        let channel = &enrolment.channel;
        let found = self.hub.find(channel);
        let expires_at = enrolment.expire_at.map(|at| self.time.at_unix_s(at));
        if expires_at.is_some_and(|at| at <= self.time.ms) {
            return true;
        }
        let Some(client) = self.staying(conn) else { return true };
        if found.is_some_and(|channel| client.find(channel).is_some()) {
            return true;
        }
        let Some(index) = client.free_index() else {
            let why = Disconnect::ChannelLimit;
            self.close(conn, Some(why.code()), why.reason());
            return true;
        };
        let asked = Asked::by_server(
            By::Errand(id),
            enrolment.since,
            &self.options_of(channel),
            &enrolment.overrides,
        );
        let owner = self.owners.owner(channel);
        if !self.can_join(owner, channel, asked.visibility) {
            return false;
        }
        let errand = self.errands.by_id.get_mut(&id).expect("it is being done");
        let Ok(ticket) = self.hub.begin_join(channel) else {
            errand.result = Err(Unanswered::Full);
            return true;
        };
        errand.joining_count += 1;
        let info = self.channel_info(conn, enrolment.info.as_ref());
        let (renewal, data) = (Renewal::Client, enrolment.data.clone());
        self.note_grant(conn, Grant { index, expires_at, renewal, info, data });
        self.ask_to_join(conn, index, (ticket, channel.clone()), asked, enrolment.since);
        true
    }

    /// Tells a client of its subscription, and what it missed.
    pub(super) fn push_subscribed(
        &mut self,
        conn: ConnId,
        channel: &str,
        subscribed: &Subscribed<'_>,
        epoch: crate::publication::Epoch,
    ) {
        let mut pushes = Vec::new();
        reply::append_enrolled(&mut pushes, channel, subscribed);
        for entry in subscribed.publications {
            reply::append_published(&mut pushes, channel, entry, epoch);
        }
        self.send_replies(conn, &mut pushes);
    }

    /// A join of an errand has its answer, or the client is gone.
    pub(super) fn settle_errand(&mut self, id: u32, result: Result<(), Unanswered>) {
        let errand = self.errands.by_id.get_mut(&id).expect("it waits for its joins");
        errand.joining_count -= 1;
        errand.result = errand.result.and(result);
        self.end_errand(id);
    }

    /// Tells the backend, if nothing is left to do.
    fn end_errand(&mut self, id: u32) {
        let errand = self.errands.by_id.get(&id).expect("it is ended once");
        let is_queued = self.errands.queue.contains(&id);
        if is_queued || errand.joining_count > 0 {
            return;
        }
        let errand = self.errands.by_id.remove(&id).expect("just found");
        // Nobody waits any more when the HTTP client is gone.
        let _ = errand.reply.send(errand.result);
    }
}
