//! Tokens: asking `auth`, what its verdicts lead to, and the end of what they allowed.
//!
//! A command with a token waits at the head of its client's commands until the verdict is there,
//! and is then carried out from the start. So nothing of it is kept but its text, and nothing that
//! follows overtakes it.

use std::sync::Arc;

use super::super::Core;
use super::super::slots::Until;
use super::client::{Client, Slot};
use super::command::Outcome;
use crate::id::ConnId;
use crate::limits;
use crate::mail::{Asker, TokenAsk, TokenKind, TokenResult, Verdict};
use crate::protocol::centrifuge::code::{Disconnect, ErrorCode, Unsubscribed};
use crate::protocol::centrifuge::command::SubRefresh;
use crate::protocol::centrifuge::reply;
use crate::protocol::claims::{ConnectClaims, SubscriptionClaims, TokenRefused, TokenText};
use crate::publication::ClientInfo;
use crate::session::Millis;

/// The token of the command at the head of a client's commands.
#[derive(Debug)]
pub(super) enum Shown {
    /// It was given to `auth`.
    Asked,
    /// This is the verdict.
    Judged(TokenResult),
}

/// What a subscription token, or a backend, allowed beyond the channel's options.
#[derive(Debug)]
pub(super) struct Grant {
    /// Which of the client's subscriptions.
    pub(super) index: u8,
    /// When it ends, on the shard's clock; `None`: with the connection.
    pub(super) expires_at: Option<Millis>,
    /// Who the client is in this channel, if it differs.
    pub(super) info: Option<Arc<ClientInfo>>,
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
        match client.shown.take() {
            Some(shown) => match *shown {
                Shown::Judged(result) => return Some(result),
                Shown::Asked => {
                    client.shown = Some(shown);
                    return None;
                }
            },
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
            None => client.shown = Some(Box::new(Shown::Asked)),
        }
        let asker = Asker { shard: self.id, conn, command };
        let ask = TokenAsk { kind, token: TokenText::new(token), asker, asked_at: self.time.now };
        self.tokens_asked += 1;
        assert!(self.post.tokens_out.send(ask).is_ok(), "what is asked is counted");
        None
    }

    /// The verdict on a token: its command is carried out now.
    pub(in crate::shard) fn on_verdict(&mut self, verdict: Verdict) {
        let Verdict { asker, result } = verdict;
        self.tokens_asked -= 1;
        let shown = self.client_mut(asker.conn).and_then(|client| client.shown.as_mut());
        match shown {
            Some(shown) => **shown = Shown::Judged(result),
            None => return self.stats.counters.ring_stale.add(1),
        }
        self.queue_resume(asker.conn);
    }

    /// What a connection's token says; `Err`: how the command ends instead.
    pub(super) fn judge_connect(
        &mut self,
        conn: ConnId,
        id: u32,
        token: &str,
        out: &mut Vec<u8>,
    ) -> Result<ConnectClaims, Outcome> {
        if token.is_empty() {
            if !self.settings.channels.welcome_anonymous() {
                return Err(Outcome::Disconnect(Disconnect::BadRequest));
            }
            let user = self.no_user.clone();
            return Ok(ConnectClaims { user, ..ConnectClaims::default() });
        }
        let refused = match self.judge(conn, id, TokenKind::Connection, token) {
            None => return Err(Outcome::Later(Until::Answer)),
            Some(TokenResult::Connection(Ok(claims))) => return Ok(claims),
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
        channel: &str,
        token: &str,
        out: &mut Vec<u8>,
    ) -> Result<Option<SubscriptionClaims>, Outcome> {
        if token.is_empty() {
            return Ok(None);
        }
        match self.judge_subscription(conn, id, channel, token)? {
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
                self.take_claims(conn, claims, client);
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
                self.grant(conn, index, &claims);
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
    pub(super) fn take_claims(
        &mut self,
        conn: ConnId,
        claims: ConnectClaims,
        key: crate::id::ClientKey,
    ) {
        let expires_at = claims.expire_at.map(|end| self.deadline(end));
        let info =
            ClientInfo { user: claims.user, client: key, conn_info: claims.info, chan_info: None };
        let client = self.client_mut(conn).expect("its command is carried out");
        client.info = Some(Arc::new(info));
        self.set_expiry(conn, expires_at);
        self.set_timer(conn);
    }

    /// Notes what the token of a subscription allows.
    pub(super) fn grant(&mut self, conn: ConnId, index: u8, claims: &SubscriptionClaims) {
        let expires_at = claims.expire_at.map(|end| self.deadline(end));
        self.note_grant(conn, index, expires_at, claims.info.clone());
    }

    /// Notes what a subscription is allowed, instead of what it was; `info`: what others see of the
    /// client in the channel.
    pub(super) fn note_grant(
        &mut self,
        conn: ConnId,
        index: u8,
        expires_at: Option<Millis>,
        info: Option<Arc<str>>,
    ) {
        let connection_info = self.info_of(conn);
        let info = info.map(|chan_info| {
            let chan_info = Some(chan_info);
            Arc::new(ClientInfo { chan_info, ..(*connection_info).clone() })
        });
        let client = self.client_mut(conn).expect("its subscription is begun");
        client.take_grant(index);
        if expires_at.is_some() || info.is_some() {
            client.grants.push(Grant { index, expires_at, info });
        }
        self.set_timer(conn);
    }

    /// Seconds until the client must have brought a new connection token.
    pub(super) fn connection_ttl(&self, conn: ConnId) -> Option<u64> {
        let now = self.time.ms;
        self.expiries.get(&conn).map(|at| ttl(*at, now))
    }

    /// Seconds until the client must have brought a new token for this subscription.
    pub(super) fn subscription_ttl(&mut self, conn: ConnId, index: u8) -> Option<u64> {
        let now = self.time.ms;
        self.client_mut(conn)?.find_grant(index)?.expires_at.map(|at| ttl(at, now))
    }

    /// Notes when the connection ends with its token.
    pub(in crate::shard) fn set_expiry(&mut self, conn: ConnId, expires_at: Option<Millis>) {
        match expires_at {
            Some(at) => self.expiries.insert(conn, at),
            None => self.expiries.remove(&conn),
        };
    }

    /// Ends what was allowed until now. Whether the connection is among that.
    pub(in crate::shard) fn end_expired(&mut self, conn: ConnId) -> bool {
        let now = self.time.ms;
        if self.expiries.get(&conn).is_some_and(|at| *at <= now) {
            let why = Disconnect::ConnectionExpired;
            self.close(conn, Some(why.code()), why.reason());
            return true;
        }
        let mut pushes = Vec::new();
        while let Some((index, slot)) = self.client_mut(conn).and_then(|one| one.expired(now)) {
            if matches!(slot, Slot::Member { by_server: true, .. }) {
                // The client could not subscribe again by itself: it is to come back instead.
                self.send_replies(conn, &mut pushes);
                let why = Disconnect::SubscriptionExpired;
                self.close(conn, Some(why.code()), why.reason());
                return true;
            }
            self.end_subscription(conn, index, slot, Unsubscribed::Expired, &mut pushes);
        }
        self.send_replies(conn, &mut pushes);
        false
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
