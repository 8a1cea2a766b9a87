//! Subscriptions: begun by a command, let in by the owner, ended by a command or with the client.

use super::super::Core;
use super::super::slots::Until;
use super::asked::{Asked, By};
use super::client::{Slot, identity};
use super::command::{Outcome, check_name};
use super::hook::Renewal;
use crate::hub::{self, AskedEpoch, ChannelId, ChannelsFull, Member, Since};
use crate::id::{ChannelName, ConnId, ShardId};
use crate::mail::{Join, Joined, Party, Request, Subscriber, Unanswered, Visibility};
use crate::protocol::centrifuge::code::{Disconnect, ErrorCode, Unsubscribed};
use crate::protocol::centrifuge::command::Subscribe;
use crate::protocol::centrifuge::reply::{self, Done, Subscribed};
use crate::protocol::channel::{Format, Permitted};
use crate::protocol::claims::SubscriptionClaims;

/// The one form of differences between publications that clients may offer; it is not used.
const DELTA_KNOWN: &str = "fossil";

impl Core {
    pub(super) fn on_subscribe(
        &mut self,
        conn: ConnId,
        id: u32,
        ask: &Subscribe<'_>,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let outcome = self.begin_subscribe(conn, id, ask, out);
        if !matches!(outcome, Outcome::Later(_)) {
            // It may have ended otherwise, as when a backend subscribed the client meanwhile: the
            // next command has nothing to do with what this one waited for.
            self.client_mut(conn).expect("its command is carried out").pending = None;
        }
        outcome
    }

    fn begin_subscribe(
        &mut self,
        conn: ConnId,
        id: u32,
        ask: &Subscribe<'_>,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let is_delta_known = ask.delta.is_empty() || &*ask.delta == DELTA_KNOWN;
        if ask.channel.is_empty() || !is_delta_known {
            return Outcome::Disconnect(Disconnect::BadRequest);
        }
        let channel = self.channel_name(&ask.channel);
        let owner = self.owners.owner(&channel);
        // What was ruled is used up when it can be carried out, and asked for once.
        let is_known = self.settings.channels.options(&channel).is_ok();
        let most = Visibility { presence: true, join_leave: true };
        if is_known && self.is_ruled(conn) && !self.can_join(owner, &channel, most) {
            return Outcome::Later(Until::Room(owner));
        }
        let claims = match self.judge_subscribe(conn, id, ask, out) {
            Ok(claims) => claims,
            Err(outcome) => return outcome,
        };
        let (permitted, index) = match self.decide_subscribe(conn, ask, &claims) {
            Ok(decided) => decided,
            Err(code) => return self.refuse_command(id, code, out),
        };
        let options = self.options_of(&channel);
        let (claims, renewal) = match permitted {
            Permitted::Yes => (claims, Renewal::Client),
            Permitted::IfBackendSays => match self.consult_subscribe(conn, id, ask, out) {
                Ok(claims) if options.hooks.sub_refresh => (Some(claims), Renewal::Backend),
                Ok(claims) => (Some(claims), Renewal::Client),
                Err(outcome) => return outcome,
            },
        };
        let overrides = claims.as_ref().map(|claims| claims.overrides).unwrap_or_default();
        let asked = Asked::by_client(id, ask, &options, &overrides);
        if !self.can_join(owner, &channel, asked.visibility) {
            return Outcome::Later(Until::Room(owner));
        }
        let Ok(ticket) = self.hub.begin_join(&channel) else {
            return self.refuse_command(id, ErrorCode::Internal, out);
        };
        if let Some(claims) = &claims {
            self.grant(conn, index, claims, renewal);
        }
        let epoch = AskedEpoch::from_text(&ask.epoch);
        let since = ask.recover.then_some(Since { offset: ask.offset, epoch });
        self.ask_to_join(conn, index, (ticket, channel), asked, since);
        self.note_asked(conn)
    }

    /// Asks the owner to let the client in. [`Core::can_join`] was asked before.
    pub(super) fn ask_to_join(
        &mut self,
        conn: ConnId,
        index: u8,
        (ticket, channel): (hub::JoinTicket, ChannelName),
        asked: Asked,
        since: Option<Since>,
    ) {
        let info = self.info_of(conn);
        let client = self.client_mut(conn).expect("its subscription is begun");
        client.set_slot(index, Slot::Joining { channel: ticket.channel, asked });
        let channel_info = client.find_grant(index).and_then(|grant| grant.info.clone());
        let owner = self.owners.owner(&channel);
        let join = Join {
            channel,
            subscriber: Subscriber { shard: self.id, conn, subscription_index: index },
            ticket,
            recover: asked.recover(since),
            info: channel_info.unwrap_or(info),
            visibility: asked.visibility,
        };
        if owner == self.id {
            self.let_in(join);
        } else {
            self.request(owner, Request::Join(Box::new(join)));
        }
    }

    /// Whether the client may subscribe, and a place for the subscription.
    fn decide_subscribe(
        &mut self,
        conn: ConnId,
        ask: &Subscribe<'_>,
        claims: &Option<SubscriptionClaims>,
    ) -> Result<(Permitted, u8), ErrorCode> {
        let channel = &*ask.channel;
        check_name(channel)?;
        if ask.kind != 0 || ask.tags_filter.is_some() {
            return Err(ErrorCode::NotAvailable);
        }
        let found = self.hub.find(channel);
        let client = self.client_mut(conn).expect("its command is carried out");
        if found.is_some_and(|channel| client.find(channel).is_some()) {
            return Err(ErrorCode::AlreadySubscribed);
        }
        let index = client.free_index().ok_or(ErrorCode::LimitExceeded)?;
        let info = self.info_of(conn);
        let channels = &self.settings.channels;
        let decided = match claims {
            // Whoever signed the token has decided.
            Some(_) => channels.options(channel).map(|_| Permitted::Yes),
            None => channels.decide_subscribe(channel, identity(&info)),
        };
        let permitted = decided.map_err(ErrorCode::of_denial)?;
        // What is no JSON could not be sent to this client.
        if self.options_of(channel).format == Format::Binary {
            return Err(ErrorCode::NotAvailable);
        }
        Ok((permitted, index))
    }

    /// Whether a join can be sent to the owner now, or carried out here. One that follows a leave
    /// must not overtake it.
    pub(super) fn can_join(
        &mut self,
        owner: ShardId,
        channel: &str,
        visibility: Visibility,
    ) -> bool {
        if !self.has_told_leaves(owner) {
            return false;
        }
        if owner == self.id {
            return self.has_room_for_notice(channel, visibility) && self.can_deliver(owner, 1);
        }
        self.can_request(owner)
    }

    /// The owner's answer to a join. Also for a client that is gone: the hub wants its ticket back.
    pub(in crate::shard) fn on_let_in(&mut self, joined: Joined) {
        let Joined { subscriber, ticket, result, notice } = joined;
        let (conn, subscription_index) = (subscriber.conn, subscriber.subscription_index);
        let slot =
            self.client_mut(conn).map_or(Slot::Free, |client| client.slot(subscription_index));
        match (slot, result) {
            (Slot::Joining { asked, .. }, Ok(result)) => {
                if asked.reject_unrecovered && asked.recover_from.is_some() && !result.recovered {
                    self.mail_leave(conn, subscription_index, ticket.channel, asked.visibility);
                    self.abandon_join(ticket, true);
                    let code = ErrorCode::UnrecoverablePosition;
                    self.end_join(conn, subscription_index, asked.by, code);
                } else {
                    self.finish_join(conn, subscription_index, ticket, asked);
                    self.tell_subscribed(conn, subscription_index, ticket.channel, &asked, &result);
                    if asked.revoked {
                        self.revoke_at(conn, subscription_index);
                    }
                }
            }
            (Slot::Joining { asked, .. }, Err(ChannelsFull)) => {
                self.abandon_join(ticket, false);
                self.end_join(conn, subscription_index, asked.by, ErrorCode::Internal);
            }
            (_, result) => {
                self.stats.counters.ring_stale.add(1);
                self.abandon_join(ticket, result.is_ok());
            }
        }
        if let Some(notice) = notice {
            self.begin_notice(&notice);
        }
    }

    fn finish_join(&mut self, conn: ConnId, index: u8, ticket: hub::JoinTicket, asked: Asked) {
        let Asked { by, wants_notices, visibility, .. } = asked;
        let member = Member { conn, subscription_index: index, wants_notices };
        let mut joined = Vec::new();
        let place = self.hub.finish_join(ticket, member, |member, at| joined.push((member, at)));
        let hub::Place::Member(at) = place else { unreachable!("a finished join is a member") };
        let client = self.client_mut(conn).expect("looked up by the caller");
        let (channel, by_server) = (ticket.channel, by.is_server());
        let slot = Slot::Member { channel, index: at, visibility, by_server };
        client.set_slot(index, slot);
        self.stats.counters.subscriptions.add(1);
        self.settle_waiting(joined, Vec::new());
    }

    /// Gives the ticket back; those who wait for the same answer learn it.
    fn abandon_join(&mut self, ticket: hub::JoinTicket, accepted: bool) {
        let mut joined = Vec::new();
        let mut refused = Vec::new();
        self.hub.abandon_join(
            ticket,
            accepted,
            |member, at| joined.push((member, at)),
            |member| refused.push(member),
        );
        self.settle_waiting(joined, refused);
    }

    fn end_join(&mut self, conn: ConnId, index: u8, by: By, code: ErrorCode) {
        let client = self.client_mut(conn).expect("looked up by the caller");
        client.set_slot(index, Slot::Free);
        client.take_grant(index);
        let command = match by {
            By::Command(command) => command,
            By::Errand(errand) => {
                self.settle_errand(errand, Err(Unanswered::Full));
                return self.resume_commands(conn);
            }
            By::Connect => return self.settle_wanted(conn, Some(code)),
        };
        self.reply_with(conn, |core, out| {
            core.refuse_command(command, code, out);
        });
    }

    /// Tells a client of its subscription: by the reply to its command, or unasked.
    fn tell_subscribed(
        &mut self,
        conn: ConnId,
        index: u8,
        channel: ChannelId,
        asked: &Asked,
        result: &hub::Joined,
    ) {
        let ttl = self.subscription_ttl(conn, index);
        let was_recovering = asked.recover_from.is_some();
        let mut position = result.position;
        // The client moves on by the publications it is given.
        if let (Some(from), true, false) = (asked.recover_from, result.recovered, asked.newest_only)
        {
            position.offset = from;
        }
        let counters = &self.stats.counters;
        match (was_recovering, result.recovered) {
            (true, true) => counters.recovered.add(1),
            (true, false) => counters.unrecovered.add(1),
            (false, _) => {}
        }
        let data = self.take_grant_data(conn, index);
        let subscribed = Subscribed {
            data: data.as_deref(),
            ttl,
            position: asked.positioned.then_some(position),
            recoverable: asked.recoverable,
            was_recovering,
            // The newest is for everyone, and clients look for it in what is recovered.
            recovered: result.recovered
                && (was_recovering || (asked.newest_only && asked.by == By::Connect)),
            publications: &result.publications,
        };
        match asked.by {
            By::Command(command) => self.reply_with(conn, |_, out| {
                reply::append_subscribed(out, command, &subscribed);
            }),
            By::Errand(errand) => {
                let channel = self.hub.name(channel).clone();
                self.push_subscribed(conn, &channel, &subscribed, position.epoch);
                self.settle_errand(errand, Ok(()));
                self.resume_commands(conn);
            }
            By::Connect => {
                let channel = self.hub.name(channel).clone();
                self.note_wanted(conn, &channel, &subscribed);
            }
        }
    }

    pub(super) fn on_unsubscribe(
        &mut self,
        conn: ConnId,
        id: u32,
        channel: &str,
        out: &mut Vec<u8>,
    ) -> Outcome {
        if channel.is_empty() {
            return Outcome::Disconnect(Disconnect::BadRequest);
        }
        let found = self.hub.find(channel);
        let client = self.client_mut(conn).expect("its command is carried out");
        match found.and_then(|channel| client.find(channel)) {
            // The reply to the subscription comes first.
            Some((_, Slot::Joining { .. })) => return Outcome::Later(Until::Answer),
            Some((index, slot)) => {
                client.set_slot(index, Slot::Free);
                self.leave(conn, index, slot, Unsubscribed::Client);
            }
            None => {}
        }
        reply::append_done(out, id, Done::Unsubscribe);
        Outcome::Begun
    }

    /// Ends a subscription in force from our side and appends the push that says so.
    pub(super) fn end_subscription(
        &mut self,
        conn: ConnId,
        index: u8,
        slot: Slot,
        why: Unsubscribed,
        out: &mut Vec<u8>,
    ) {
        let subscription = slot.subscription().expect("a subscription in force");
        let channel = self.hub.name(subscription.channel).clone();
        let client = self.client_mut(conn).expect("its subscription is in force");
        client.set_slot(index, Slot::Free);
        self.leave(conn, index, slot, why);
        reply::append_unsubscribed(out, &channel, why);
    }

    /// Ends every subscription of a client that ends, by our Close with `reason` or otherwise.
    pub(in crate::shard) fn leave_all(&mut self, conn: ConnId, reason: &str) {
        let Some(client) = self.client_mut(conn) else { return };
        let (info, slots) = (client.info().cloned(), client.take_slots());
        self.drop_connecting(conn);
        for (index, slot) in (0u8..).zip(slots) {
            self.leave(conn, index, slot, Unsubscribed::Disconnect);
        }
        if let Some(info) = info
            && self.roll.remove(&info, conn)
        {
            self.tell_disconnected(conn, Party::Client(info), reason);
        }
    }

    /// Ends one subscription, whose slot is free already.
    pub(super) fn leave(&mut self, conn: ConnId, index: u8, slot: Slot, why: Unsubscribed) {
        match slot {
            Slot::Free => {}
            // Its answer finds nobody and gives the ticket back; the owner has let it in by then.
            Slot::Joining { channel, asked } => {
                self.mail_leave(conn, index, channel, asked.visibility);
                if let By::Errand(errand) = asked.by {
                    self.settle_errand(errand, Ok(()));
                }
            }
            Slot::Member { channel, visibility, .. } => {
                self.mail_leave(conn, index, channel, visibility);
                if self.tells_of_subscriptions() {
                    let who = Party::Client(self.info_of(conn));
                    self.tell_unsubscribed(&who, channel, why);
                }
                let subscription = slot.subscription().expect("a member");
                let member = Member::new(conn, index);
                let moves = self.hub.unsubscribe(subscription, member);
                for (moved, index) in moves.into_iter().flatten() {
                    self.on_moved(moved, index);
                }
                self.stats.counters.subscriptions.sub(1);
            }
        }
        if let Some(client) = self.client_mut(conn) {
            client.take_grant(index);
        }
    }
}
