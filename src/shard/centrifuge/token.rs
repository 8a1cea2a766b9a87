//! Tokens: asking `auth`, what its verdicts lead to, and the end of what they allowed.
//!
//! A command with a token waits at the head of its client's commands until the verdict is there,
//! and is then carried out from the start. So nothing of it is kept but its text, and nothing that
//! follows overtakes it.

use std::sync::Arc;

use super::super::Core;
use super::super::slots::Until;
use super::client::{Client, Pending, Slot};
use super::command::Outcome;
use super::hook::{Expiry, Renewal};
use crate::id::{ClientKey, ConnId};
use crate::limits;
use crate::mail::{Asker, AuthAsk, Ruling, TokenAsk, TokenKind, TokenResult, Verdict};
use crate::protocol::centrifuge::code::{Disconnect, ErrorCode, Unsubscribed};
use crate::protocol::centrifuge::command::{Connect, SubRefresh, Subscribe};
use crate::protocol::centrifuge::reply;
use crate::protocol::claims::{ConnectClaims, SubscriptionClaims, TokenRefused, TokenText};
use crate::protocol::hook::Hook;
use crate::publication::ClientInfo;
use crate::session::Millis;

/// A client that may stay.
#[derive(Debug)]
pub(super) struct Accepted {
    /// What it is called.
    pub(super) client: ClientKey,
    /// Who it is.
    pub(super) claims: ConnectClaims,
    /// Who says whether it goes on when its time is over.
    pub(super) renewal: Renewal,
}

/// What a subscription token, or a backend, allowed beyond the channel's options.
#[derive(Debug)]
pub(super) struct Grant {
    /// Which of the client's subscriptions.
    pub(super) index: u8,
    /// When it ends, on the shard's clock; `None`: with the connection.
    pub(super) expires_at: Option<Millis>,
    /// Who says whether it goes on then.
    pub(super) renewal: Renewal,
    /// Who the client is in this channel, if it differs.
    pub(super) info: Option<Arc<ClientInfo>>,
    /// JSON for the client, until it is told of its subscription.
    pub(super) data: Option<Arc<str>>,
}

impl Core {
    /// What `token` says, or nothing yet: then the command is to be put off.
    pub(super) fn judge(
        &mut self,
        conn: ConnId,
        command: u32,
        kind: TokenKind,
        token: &str,
    ) -> Option<TokenResult> {
        let (has_keys, has_room) =
            (self.settings.tokens, self.tokens_asked < self.settings.mailbox_len);
        let client = self.client_mut(conn).expect("its command is carried out");
        match client.pending.take().map(|pending| *pending) {
            Some(Pending::Ruled(Ruling::Token(result))) => return Some(result),
            Some(Pending::Ruled(Ruling::Hook(_))) => unreachable!("a token was shown"),
            Some(Pending::Asked) => {
                client.pending = Some(Box::new(Pending::Asked));
                return None;
            }
            None if !has_keys => {
                return Some(TokenResult::refused(kind, TokenRefused::NotConfigured));
            }
            None if token.len() > limits::TOKEN_SIZE_MAX => {
                return Some(TokenResult::refused(kind, TokenRefused::TooLong));
            }
            None if !has_room => {
                self.stats.counters.tokens_turned_away.add(1);
                return Some(TokenResult::refused(kind, TokenRefused::Overloaded));
            }
            None => client.pending = Some(Box::new(Pending::Asked)),
        }
        let asker = Asker { shard: self.id, conn, command };
        let ask = TokenAsk { kind, token: TokenText::new(token), asker, asked_at: self.time.now };
        self.tokens_asked += 1;
        assert!(self.post.auth_out.send(AuthAsk::Token(ask)).is_ok(), "what is asked is counted");
        None
    }

    /// The verdict on a token, or a backend's answer.
    pub(in crate::shard) fn on_verdict(&mut self, verdict: Verdict) {
        let Verdict { asker, ruling } = verdict;
        match ruling {
            Ruling::Token(_) => {
                self.tokens_asked -= 1;
                self.settle_pending(asker.conn, ruling);
            }
            Ruling::Hook(answer) => self.on_backend_answer(asker.conn, answer),
        }
    }

    /// What the command at the head of a client's commands depends on is there: it is carried out
    /// now.
    pub(super) fn settle_pending(&mut self, conn: ConnId, ruling: Ruling) {
        let pending = self.client_mut(conn).and_then(|client| client.pending.as_mut());
        match pending {
            Some(pending) => **pending = Pending::Ruled(ruling),
            None => return self.stats.counters.ring_stale.add(1),
        }
        self.queue_resume(conn);
    }

    /// Who a client is that connects, and what it is called: as its token says, or a backend;
    /// `Err`: how the command ends instead.
    pub(super) fn judge_connect(
        &mut self,
        conn: ConnId,
        id: u32,
        connect: &Connect<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Accepted, Outcome> {
        let token = &*connect.token;
        if self.settings.hooks.has(Hook::Connect) && (token.is_empty() || !self.settings.tokens) {
            let (claims, client) = self.consult_connect(conn, id, connect, out)?;
            let renewal = match self.settings.hooks.has(Hook::Refresh) {
                true => Renewal::Backend,
                false => Renewal::Client,
            };
            return Ok(Accepted { client, claims, renewal });
        }
        let accepted = |core: &mut Self, claims| {
            let client = ClientKey::from_random(core.random.u128(..));
            Ok(Accepted { client, claims, renewal: Renewal::Client })
        };
        if token.is_empty() {
            if !self.settings.channels.welcome_anonymous() {
                return Err(Outcome::Disconnect(Disconnect::BadRequest));
            }
            let user = self.no_user.clone();
            return accepted(self, ConnectClaims { user, ..ConnectClaims::default() });
        }
        let refused = match self.judge(conn, id, TokenKind::Connection, token) {
            None => return Err(Outcome::Later(Until::Answer)),
            Some(TokenResult::Connection(Ok(claims))) => return accepted(self, claims),
            Some(result) => result.refusal().expect("a connection token was asked for"),
        };
        tracing::debug!(%conn, cause = %refused, "refused the token of a connection");
        let Some(code) = ErrorCode::of_token(refused) else {
            return Err(Outcome::Disconnect(Disconnect::InvalidToken));
        };
        Err(self.refuse_connect(conn, id, code, out))
    }

    /// What a subscription's token says, if it has one; `Err`: how the command ends instead.
    pub(super) fn judge_subscribe(
        &mut self,
        conn: ConnId,
        id: u32,
        ask: &Subscribe<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<SubscriptionClaims>, Outcome> {
        let options = self.settings.channels.options(&ask.channel);
        let has_hook = options.is_ok_and(|options| options.hooks.subscribe);
        let is_for_backend = has_hook && !self.settings.tokens;
        if ask.token.is_empty() || is_for_backend {
            return Ok(None);
        }
        match self.judge_subscription(conn, id, &ask.channel, &ask.token)? {
            Ok(claims) => Ok(Some(claims)),
            Err(refused) if refused.is_for_another() => {
                Err(Outcome::Disconnect(Disconnect::InvalidToken))
            }
            Err(refused) => {
                let code = ErrorCode::of_token(refused).unwrap_or(ErrorCode::PermissionDenied);
                Err(self.refuse_command(id, code, out))
            }
        }
    }

    fn judge_subscription(
        &mut self,
        conn: ConnId,
        id: u32,
        channel: &str,
        token: &str,
    ) -> Result<Result<SubscriptionClaims, TokenRefused>, Outcome> {
        let info = self.info_of(conn);
        let checked = match self.judge(conn, id, TokenKind::Subscription, token) {
            None => return Err(Outcome::Later(Until::Answer)),
            Some(TokenResult::Subscription(Ok(claims))) => {
                let client = info.client.to_string();
                claims.check(channel, &info.user, &client).map(|()| claims)
            }
            Some(result) => Err(result.refusal().expect("a subscription token was asked for")),
        };
        if let Err(cause) = checked {
            tracing::debug!(%conn, %cause, "refused the token of a subscription");
        }
        Ok(checked)
    }

    /// A new connection token.
    pub(super) fn on_refresh(
        &mut self,
        conn: ConnId,
        id: u32,
        token: &str,
        out: &mut Vec<u8>,
    ) -> Outcome {
        if token.is_empty() {
            return Outcome::Disconnect(Disconnect::BadRequest);
        }
        let info = self.info_of(conn);
        let refused = match self.judge(conn, id, TokenKind::Connection, token) {
            None => return Outcome::Later(Until::Answer),
            Some(TokenResult::Connection(Ok(claims))) if claims.user == info.user => {
                let client = info.client;
                self.take_claims(conn, Accepted { client, claims, renewal: Renewal::Client });
                let ttl = self.connection_ttl(conn);
                reply::append_refreshed(out, id, client, ttl);
                return Outcome::Begun;
            }
            Some(TokenResult::Connection(Ok(_))) => TokenRefused::WrongUser,
            Some(result) => result.refusal().expect("a connection token was asked for"),
        };
        tracing::debug!(%conn, cause = %refused, "refused the new token of a connection");
        match refused {
            TokenRefused::Expired => Outcome::Disconnect(Disconnect::ConnectionExpired),
            refused => match ErrorCode::of_token(refused) {
                Some(code) => self.refuse_command(id, code, out),
                None => Outcome::Disconnect(Disconnect::InvalidToken),
            },
        }
    }

    /// A new subscription token.
    pub(super) fn on_sub_refresh(
        &mut self,
        conn: ConnId,
        id: u32,
        ask: &SubRefresh<'_>,
        out: &mut Vec<u8>,
    ) -> Outcome {
        if ask.channel.is_empty() || ask.token.is_empty() {
            return Outcome::Disconnect(Disconnect::BadRequest);
        }
        let checked = match self.judge_subscription(conn, id, &ask.channel, &ask.token) {
            Ok(checked) => checked,
            Err(outcome) => return outcome,
        };
        let found = self.hub.find(&ask.channel);
        let client = self.client_mut(conn).expect("its command is carried out");
        let Some((index, slot)) = found.and_then(|channel| client.find(channel)) else {
            return self.refuse_command(id, ErrorCode::PermissionDenied, out);
        };
        match checked {
            Ok(claims) => {
                self.grant(conn, index, &claims, Renewal::Client);
                let ttl = self.subscription_ttl(conn, index);
                reply::append_sub_refreshed(out, id, ttl);
                Outcome::Begun
            }
            // The client resubscribes on the push, and passes over the error then.
            Err(TokenRefused::Expired) if slot.subscription().is_some() => {
                self.end_subscription(conn, index, slot, Unsubscribed::Expired, out);
                self.refuse_command(id, ErrorCode::TokenExpired, out)
            }
            Err(refused) => match ErrorCode::of_token(refused) {
                Some(code) => self.refuse_command(id, code, out),
                None => Outcome::Disconnect(Disconnect::InvalidToken),
            },
        }
    }

    /// Who the client is from now on, and for how long.
    pub(super) fn take_claims(&mut self, conn: ConnId, accepted: Accepted) {
        let Accepted { client, claims, renewal } = accepted;
        let expiry =
            claims.expire_at.map(|end| Expiry { at: self.end_of(end, renewal), by: renewal });
        let info =
            ClientInfo { user: claims.user, client, conn_info: claims.info, chan_info: None };
        let client = self.client_mut(conn).expect("its command is carried out");
        client.info = Some(Arc::new(info));
        // Nobody else would ever look at it.
        if let Some(meta) = claims.meta.filter(|_| !self.settings.hooks.is_empty()) {
            self.metas.insert(conn, meta);
        }
        self.set_expiry(conn, expiry);
        self.set_timer(conn);
    }

    /// Notes what the token of a subscription, or a backend, allows.
    pub(super) fn grant(
        &mut self,
        conn: ConnId,
        index: u8,
        claims: &SubscriptionClaims,
        renewal: Renewal,
    ) {
        let expires_at = claims.expire_at.map(|end| self.end_of(end, renewal));
        let info = self.channel_info(conn, claims.info.as_ref());
        let data = claims.data.clone();
        self.note_grant(conn, Grant { index, expires_at, renewal, info, data });
    }

    /// Who a connected client is in a channel in which it is said to be something else.
    pub(super) fn channel_info(
        &mut self,
        conn: ConnId,
        chan_info: Option<&Arc<str>>,
    ) -> Option<Arc<ClientInfo>> {
        let chan_info = Some(chan_info?.clone());
        Some(Arc::new(ClientInfo { chan_info, ..(*self.info_of(conn)).clone() }))
    }

    /// Notes what a subscription is allowed, instead of what it was.
    pub(super) fn note_grant(&mut self, conn: ConnId, grant: Grant) {
        let client = self.client_mut(conn).expect("its subscription is begun");
        client.take_grant(grant.index);
        if grant.expires_at.is_some() || grant.info.is_some() || grant.data.is_some() {
            client.grants.push(grant);
        }
        self.set_timer(conn);
    }

    /// What a client is to be told of its subscription, once.
    pub(super) fn take_grant_data(&mut self, conn: ConnId, index: u8) -> Option<Arc<str>> {
        let client = self.client_mut(conn)?;
        let grant = client.find_grant_mut(index)?;
        let data = grant.data.take();
        let says_nothing =
            grant.info.is_none() && grant.expires_at.is_none() && grant.renewal != Renewal::Asked;
        if says_nothing {
            client.take_grant(index);
        }
        data
    }

    /// Seconds until the client must have brought a new connection token.
    pub(super) fn connection_ttl(&self, conn: ConnId) -> Option<u64> {
        let now = self.time.ms;
        let expiry = self.expiries.get(&conn).filter(|expiry| expiry.by == Renewal::Client);
        expiry.map(|expiry| ttl(expiry.at, now))
    }

    /// Seconds until the client must have brought a new token for this subscription.
    pub(super) fn subscription_ttl(&mut self, conn: ConnId, index: u8) -> Option<u64> {
        let now = self.time.ms;
        let grant = self.client_mut(conn)?.find_grant(index)?;
        grant.expires_at.filter(|_| grant.renewal == Renewal::Client).map(|at| ttl(at, now))
    }

    /// Notes when the connection ends, or a backend is asked whether it does.
    pub(in crate::shard) fn set_expiry(&mut self, conn: ConnId, expiry: Option<Expiry>) {
        match expiry {
            Some(expiry) => self.expiries.insert(conn, expiry),
            None => self.expiries.remove(&conn),
        };
    }

    /// Ends what was allowed until now, or asks the backend that allowed it. Whether the connection
    /// is among what ends.
    pub(in crate::shard) fn end_expired(&mut self, conn: ConnId) -> bool {
        let now = self.time.ms;
        let over = self.expiries.get(&conn).filter(|expiry| expiry.at <= now);
        if over.is_some_and(|expiry| expiry.by == Renewal::Backend) {
            self.ask_refresh(conn);
        } else if over.is_some() {
            let why = Disconnect::ConnectionExpired;
            self.close(conn, Some(why.code()), why.reason());
            return true;
        }
        let mut pushes = Vec::new();
        while let Some((index, slot)) = self.client_mut(conn).and_then(|one| one.expired(now)) {
            let client = self.client_mut(conn).expect("just looked at");
            if client.find_grant(index).is_some_and(|grant| grant.renewal == Renewal::Backend) {
                self.ask_sub_refresh(conn, index, slot);
            } else if matches!(slot, Slot::Member { by_server: true, .. }) {
                // The client could not subscribe again by itself: it is to come back instead.
                self.send_replies(conn, &mut pushes);
                let why = Disconnect::SubscriptionExpired;
                self.close(conn, Some(why.code()), why.reason());
                return true;
            } else {
                self.end_subscription(conn, index, slot, Unsubscribed::Expired, &mut pushes);
            }
        }
        self.send_replies(conn, &mut pushes);
        false
    }

    /// The end of what lasts until `unix_s`, in seconds since 1970, on the shard's clock.
    pub(super) fn end_of(&self, unix_s: u64, renewal: Renewal) -> Millis {
        match renewal {
            Renewal::Client => self.deadline(unix_s),
            Renewal::Backend | Renewal::Asked => self.time.at_unix_s(unix_s),
        }
    }

    /// The end of what lasts until `unix_s`, in seconds since 1970, on the shard's clock: the
    /// client is given some time to bring a new token.
    pub(super) fn deadline(&self, unix_s: u64) -> Millis {
        self.time.at_unix_s(unix_s.saturating_add(limits::EXPIRED_CLOSE_DELAY_S))
    }
}

impl Client {
    /// What the subscription at `index` is allowed.
    pub(super) fn find_grant(&self, index: u8) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.index == index)
    }

    /// What the subscription at `index` is allowed, to be changed.
    pub(super) fn find_grant_mut(&mut self, index: u8) -> Option<&mut Grant> {
        self.grants.iter_mut().find(|grant| grant.index == index)
    }

    /// Forgets what the subscription at `index` is allowed.
    pub(super) fn take_grant(&mut self, index: u8) -> Option<Grant> {
        let at = self.grants.iter().position(|grant| grant.index == index)?;
        Some(self.grants.swap_remove(at))
    }

    /// When the first thing ends that is allowed for a time.
    pub(in crate::shard) fn next_expiry(&self) -> Millis {
        let grants = self.grants.iter().filter_map(|grant| grant.expires_at);
        grants.min().unwrap_or(Millis::MAX)
    }

    /// A subscription in force whose time is over.
    fn expired(&self, now: Millis) -> Option<(u8, Slot)> {
        let over = self.grants.iter().filter(|grant| grant.expires_at.is_some_and(|at| at <= now));
        over.map(|grant| (grant.index, self.slot(grant.index)))
            .find(|(_, slot)| slot.subscription().is_some())
    }
}

/// Seconds until a new token is due, for something that ends at `at`; at least one, for clients
/// take 0 for never.
fn ttl(at: Millis, now: Millis) -> u64 {
    (at.saturating_sub(now) / 1_000).saturating_sub(limits::EXPIRED_CLOSE_DELAY_S).max(1)
}
