//! Backends: asking them through `auth`, and what their answers lead to.
//!
//! A command that a backend decides waits for the answer as one with a token waits for its verdict.
//! What lasts for a time that a backend gave is asked about again when that is over; meanwhile it
//! goes on.

use std::sync::Arc;

use super::super::Core;
use super::super::slots::Until;
use super::client::{Pending, Slot};
use super::command::{Outcome, check_name};
use crate::id::{ClientKey, ConnId, ShardId};
use crate::limits;
use crate::mail::{Asker, AuthAsk, HookAnswer, HookAsk, Ruling};
use crate::protocol::centrifuge::code::{Disconnect, ErrorCode, Unsubscribed};
use crate::protocol::centrifuge::command::{Connect, Rpc, Subscribe};
use crate::protocol::centrifuge::reply;
use crate::protocol::claims::{ConnectClaims, SubscriptionClaims};
use crate::protocol::hook::{
    Dialect, Hook, HookCall, HookOutcome, HookRefused, HookReply, Newcomer, Refreshed, Topic,
};
use crate::publication::ClientInfo;
use crate::session::Millis;

/// Who says whether something goes on whose time is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::shard) enum Renewal {
    /// The client, with a new token, before the time is over.
    #[default]
    Client,
    /// A backend, when the time is over.
    Backend,
    /// A backend, which was asked.
    Asked,
}

/// When a connection ends, or a backend is asked whether it does.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) struct Expiry {
    /// On the shard's clock; never while the backend's answer is awaited.
    pub(in crate::shard) at: Millis,
    pub(in crate::shard) by: Renewal,
}

/// A publication as a backend allows it.
#[derive(Debug)]
pub(super) struct Allowed {
    /// What is published instead.
    pub(super) data: Option<Arc<str>>,
    /// Whether it is delivered and not kept.
    pub(super) skip_history: bool,
}

impl Core {
    /// What a backend says about the command at the head of the client's; `Err`: how it ends
    /// instead, or for now. The answer is used up.
    pub(super) fn consult(
        &mut self,
        conn: ConnId,
        id: u32,
        out: &mut Vec<u8>,
        call: impl FnOnce(&mut Self) -> HookCall,
    ) -> Result<(HookReply, ClientKey), Outcome> {
        let client = self.client_mut(conn).expect("its command is carried out");
        match client.pending.take().map(|pending| *pending) {
            None => {}
            Some(Pending::Ruled(Ruling::Hook(answer))) => {
                let reply = answer.outcome.map_err(|why| self.refuse_for_backend(id, why, out))?;
                return Ok((reply, answer.client));
            }
            Some(Pending::Ruled(Ruling::Token(_))) => unreachable!("a backend was asked"),
            Some(Pending::Asked) => {
                client.pending = Some(Box::new(Pending::Asked));
                return Err(Outcome::Later(Until::Answer));
            }
        }
        let call = call(self);
        if !self.ask_backend(conn, id, call) {
            return Err(self.refuse_command(id, ErrorCode::Internal, out));
        }
        let client = self.client_mut(conn).expect("its command is carried out");
        client.pending = Some(Box::new(Pending::Asked));
        Err(Outcome::Later(Until::Answer))
    }

    /// Whether the question could be asked: there is room for its answer.
    fn ask_backend(&mut self, conn: ConnId, command: u32, call: HookCall) -> bool {
        if self.hooks_asked >= self.settings.mailbox_len {
            self.stats.counters.hooks_turned_away.add(1);
            return false;
        }
        let asker = Asker { shard: self.id, conn, command };
        let ask = HookAsk { call: Box::new(call), asker, asked_at: self.time.now };
        self.hooks_asked += 1;
        assert!(self.post.auth_out.send(AuthAsk::Hook(ask)).is_ok(), "what is asked is counted");
        true
    }

    /// Says to the client what a backend says that grants nothing.
    fn refuse_for_backend(&mut self, id: u32, why: HookRefused, out: &mut Vec<u8>) -> Outcome {
        match why {
            HookRefused::Error { code, message, temporary } => {
                self.stats.counters.command_errors.add(1);
                reply::append_backend_error(out, id, code, &message, temporary);
                Outcome::Begun
            }
            HookRefused::Disconnect { code, reason } => Outcome::Dismissed(code, reason),
            HookRefused::Unanswered => self.refuse_command(id, ErrorCode::Internal, out),
        }
    }

    /// A question about a client that has connected.
    pub(super) fn call_of(&mut self, conn: ConnId, topic: Topic) -> HookCall {
        let info = self.info_of(conn);
        HookCall {
            client: info.client,
            user: info.user.clone(),
            dialect: Dialect::Json,
            meta: self.metas.get(&conn).cloned(),
            topic,
        }
    }

    /// Who a client is, as a backend says; `Err`: how the command ends instead.
    pub(super) fn consult_connect(
        &mut self,
        conn: ConnId,
        id: u32,
        connect: &Connect<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(ConnectClaims, ClientKey), Outcome> {
        let call = |core: &mut Self| HookCall {
            client: ClientKey::from_random(core.random.u128(..)),
            user: core.no_user.clone(),
            dialect: Dialect::Json,
            meta: None,
            topic: Topic::Connect(Box::new(Newcomer {
                token: connect.token.shown(),
                name: (*connect.name).into(),
                version: (*connect.version).into(),
                channels: connect
                    .subs
                    .keys()
                    .filter(|name| check_name(name).is_ok())
                    .take(limits::CHANNELS_PER_CONNECTION_MAX)
                    .map(|name| core.channel_name(name))
                    .collect(),
                data: connect.data.map(|data| data.get().into()),
                // A client that gets an error is of no use any more: nobody asks again.
                headers: core.headers.remove(&conn).unwrap_or_default(),
            })),
        };
        match self.consult(conn, id, out, call) {
            Ok((HookReply::Connect(claims), client)) => Ok((claims, client)),
            Ok(_) => unreachable!("the answer is to this question"),
            Err(Outcome::Begun) => {
                self.client_mut(conn).expect("its command is carried out").refused = true;
                Err(Outcome::Refused)
            }
            Err(outcome) => Err(outcome),
        }
    }

    /// What a backend says to a subscription; `Err`: how the command ends instead.
    pub(super) fn consult_subscribe(
        &mut self,
        conn: ConnId,
        id: u32,
        ask: &Subscribe<'_>,
        out: &mut Vec<u8>,
    ) -> Result<SubscriptionClaims, Outcome> {
        let call = |core: &mut Self| {
            let channel = core.channel_name(&ask.channel);
            let (token, data) = (ask.token.shown(), ask.data.map(|data| data.get().into()));
            core.call_of(conn, Topic::Subscribe { channel, token, data })
        };
        match self.consult(conn, id, out, call)? {
            (HookReply::Subscribe(claims), _) => Ok(claims),
            _ => unreachable!("the answer is to this question"),
        }
    }

    /// What a backend says to a publication; `Err`: how the command ends instead.
    pub(super) fn consult_publish(
        &mut self,
        conn: ConnId,
        id: u32,
        channel: &str,
        data: &str,
        out: &mut Vec<u8>,
    ) -> Result<Allowed, Outcome> {
        // The answer stays where it is until it can be carried out.
        let owner = self.owners.owner(channel);
        if self.is_ruled(conn) && !self.can_publish(owner, channel) {
            self.stats.counters.mail_full.add(1);
            return Err(Outcome::Later(Until::Room(owner)));
        }
        let call = |core: &mut Self| {
            let channel = core.channel_name(channel);
            core.call_of(conn, Topic::Publish { channel, data: data.into() })
        };
        let allowed = match self.consult(conn, id, out, call)? {
            (HookReply::Publish { data, skip_history }, _) => Allowed { data, skip_history },
            _ => unreachable!("the answer is to this question"),
        };
        let data_len = allowed.data.as_ref().map_or(0, |data| data.len());
        if data_len > self.settings.protocol.publication_size {
            return Err(self.refuse_command(id, ErrorCode::Internal, out));
        }
        Ok(allowed)
    }

    /// Whether what the command at the head of the client's depends on is there.
    pub(super) fn is_ruled(&mut self, conn: ConnId) -> bool {
        let client = self.client_mut(conn).expect("its command is carried out");
        matches!(client.pending.as_deref(), Some(Pending::Ruled(_)))
    }

    /// Whether a client's publication can be sent to the owner now, or numbered here.
    fn can_publish(&self, owner: ShardId, channel: &str) -> bool {
        if owner == self.id {
            self.has_room_for_both(channel, self.id)
        } else {
            self.can_request(owner)
        }
    }

    /// A call of the backend.
    pub(super) fn on_rpc(
        &mut self,
        conn: ConnId,
        id: u32,
        rpc: &Rpc<'_>,
        out: &mut Vec<u8>,
    ) -> Outcome {
        if !self.settings.hooks.has(Hook::Rpc) {
            return self.refuse_command(id, ErrorCode::MethodNotFound, out);
        }
        let topic = || {
            let (method, data) = ((*rpc.method).into(), rpc.data.map(|data| data.get().into()));
            Topic::Rpc { method, data }
        };
        match self.consult(conn, id, out, |core| core.call_of(conn, topic())) {
            Ok((HookReply::Rpc { data }, _)) => {
                reply::append_called(out, id, data.as_deref());
                Outcome::Begun
            }
            Ok(_) => unreachable!("the answer is to this question"),
            Err(outcome) => outcome,
        }
    }

    /// A backend's answer: its command is carried out now, or what was asked about goes on or ends.
    pub(super) fn on_backend_answer(&mut self, conn: ConnId, answer: HookAnswer) {
        self.hooks_asked -= 1;
        match answer.hook {
            Hook::Refresh => self.on_refreshed(conn, answer.outcome),
            Hook::SubRefresh => self.on_sub_refreshed(conn, answer),
            Hook::Connect | Hook::Subscribe | Hook::Publish | Hook::Rpc => {
                self.settle_pending(conn, Ruling::Hook(answer));
            }
        }
    }

    /// Asks whether a connection goes on whose time is over.
    pub(super) fn ask_refresh(&mut self, conn: ConnId) {
        let call = self.call_of(conn, Topic::Refresh);
        let expiry = if self.ask_backend(conn, 0, call) {
            Expiry { at: Millis::MAX, by: Renewal::Asked }
        } else {
            Expiry { at: self.backend_retry(), by: Renewal::Backend }
        };
        self.set_expiry(conn, Some(expiry));
    }

    fn on_refreshed(&mut self, conn: ConnId, outcome: HookOutcome) {
        let asked = self.expiries.get(&conn).is_some_and(|expiry| expiry.by == Renewal::Asked);
        if !asked || self.client_mut(conn).is_none() {
            return self.stats.counters.ring_stale.add(1);
        }
        let at = match outcome {
            Ok(HookReply::Refresh(Refreshed { expired: true, .. })) => {
                let why = Disconnect::ConnectionExpired;
                return self.close(conn, Some(why.code()), why.reason());
            }
            Ok(HookReply::Refresh(Refreshed { expire_at, info, .. })) => {
                if let Some(text) = info {
                    self.set_conn_info(conn, text);
                }
                expire_at.map(|end| self.time.at_unix_s(end))
            }
            Ok(_) => unreachable!("the answer is to this question"),
            Err(HookRefused::Disconnect { code, reason }) => {
                return self.close(conn, Some(code), &reason);
            }
            Err(HookRefused::Error { .. } | HookRefused::Unanswered) => Some(self.backend_retry()),
        };
        self.set_expiry(conn, at.map(|at| Expiry { at, by: Renewal::Backend }));
        self.set_timer(conn);
    }

    /// Asks whether a subscription goes on whose time is over.
    pub(super) fn ask_sub_refresh(&mut self, conn: ConnId, index: u8, slot: Slot) {
        let subscription = slot.subscription().expect("a subscription in force");
        let channel = self.hub.name(subscription.channel).clone();
        let call = self.call_of(conn, Topic::SubRefresh { channel });
        let is_asked = self.ask_backend(conn, 0, call);
        let retry = self.backend_retry();
        let client = self.client_mut(conn).expect("its subscription is in force");
        let grant = client.find_grant_mut(index).expect("its time is over");
        if is_asked {
            (grant.expires_at, grant.renewal) = (None, Renewal::Asked);
        } else {
            grant.expires_at = Some(retry);
        }
    }

    fn on_sub_refreshed(&mut self, conn: ConnId, answer: HookAnswer) {
        let retry = self.backend_retry();
        let channel = answer.channel.expect("this hook is asked about channels");
        let found = self.hub.find(&channel);
        let client = self.client_mut(conn);
        let slot = client.zip(found).and_then(|(client, channel)| {
            let (index, slot) = client.find(channel)?;
            let grant = client.find_grant(index)?;
            (grant.renewal == Renewal::Asked).then_some((index, slot))
        });
        let Some((index, slot)) = slot else {
            return self.stats.counters.ring_stale.add(1);
        };
        let (expires_at, info) = match answer.outcome {
            Ok(HookReply::Refresh(Refreshed { expired: true, .. })) => {
                let mut push = Vec::new();
                self.end_subscription(conn, index, slot, Unsubscribed::Expired, &mut push);
                return self.send_replies(conn, &mut push);
            }
            Ok(HookReply::Refresh(Refreshed { expire_at, info, .. })) => {
                (expire_at.map(|end| self.time.at_unix_s(end)), info)
            }
            Ok(_) => unreachable!("the answer is to this question"),
            Err(HookRefused::Disconnect { code, reason }) => {
                return self.close(conn, Some(code), &reason);
            }
            Err(HookRefused::Error { .. } | HookRefused::Unanswered) => (Some(retry), None),
        };
        let connection_info = self.info_of(conn);
        let client = self.client_mut(conn).expect("just found");
        let grant = client.find_grant_mut(index).expect("just found");
        (grant.expires_at, grant.renewal) = (expires_at, Renewal::Backend);
        if let Some(text) = info {
            let chan_info = Some(text);
            grant.info = Some(Arc::new(ClientInfo { chan_info, ..(*connection_info).clone() }));
        }
        self.set_timer(conn);
    }

    /// Changes what others see of a client in later subscriptions.
    pub(super) fn set_conn_info(&mut self, conn: ConnId, text: Arc<str>) {
        let Some(client) = self.client_mut(conn) else { return };
        if let Some(before) = &client.info {
            let conn_info = Some(text);
            client.info = Some(Arc::new(ClientInfo { conn_info, ..(**before).clone() }));
        }
    }

    /// When a backend is asked again that did not answer.
    fn backend_retry(&self) -> Millis {
        self.time.ms + limits::HOOK_RETRY_S * 1_000
    }
}
