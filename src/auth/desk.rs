//! Questions and answers: tokens are taken in turn, checked, and answered; what is for backends is
//! handed on, and its answers are sent from here too.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, oneshot};

use super::hooks::{Done, Hooks};
use super::jwks::FetchError;
use super::token::{Checker, IssuerKey};
use crate::limits;
use crate::mail::{
    Asker, AuthAsk, AuthPost, AuthRequest, HookAsk, Request, Ruling, TokenAsk, TokenKind,
    TokenResult, Verdict,
};
use crate::protocol::claims::{ConnectClaims, TokenRefused, TokenText};
use crate::stats::{AuthCounters, AuthStats};

/// Everything of the thread but its key set and its questions to backends.
#[derive(Debug)]
pub(super) struct Desk {
    /// `None`: there are no tokens here.
    checker: Option<Checker>,
    post: AuthPost,
    stats: Arc<AuthStats>,
    /// Tokens of a key that is not here while a fetch runs that may bring it; at most
    /// `limits::AUTH_WAITING_MAX`.
    waiting: VecDeque<Question>,
    /// Those whose fetch is over: they are looked at once more and then answered.
    returned: VecDeque<Question>,
    /// Whether the last fetch brought keys.
    has_keys: bool,
    next_lane: usize,
    /// Lanes of shards that have new verdicts.
    answered: Vec<usize>,
}

/// A token that is to be checked.
#[derive(Debug)]
struct Question {
    kind: TokenKind,
    token: TokenText,
    asked_at: Instant,
    whose: Whose<Result<ConnectClaims, TokenRefused>>,
    /// Keys were fetched for it: it is not put off again.
    has_waited: bool,
}

/// Where an answer goes.
#[derive(Debug)]
pub(super) enum Whose<T> {
    /// To a client of a shard.
    Client(Asker),
    /// To a request.
    Request(oneshot::Sender<T>),
}

impl Desk {
    pub(super) fn new(checker: Option<Checker>, post: AuthPost, stats: Arc<AuthStats>) -> Self {
        Self {
            checker,
            post,
            stats,
            waiting: VecDeque::new(),
            returned: VecDeque::new(),
            has_keys: false,
            next_lane: 0,
            answered: Vec::new(),
        }
    }

    /// Rung for every question that lies in a lane.
    pub(super) fn alarm(&self) -> Arc<Notify> {
        self.post.alarm.clone()
    }

    /// The next question of a request.
    pub(super) async fn next_request(&mut self) -> AuthRequest {
        match self.post.requests_in.recv().await {
            Some(request) => request,
            // No acceptor is left; there may still be shards.
            None => std::future::pending().await,
        }
    }

    /// Takes a request's question; the next turn checks a token.
    pub(super) fn take_request(&mut self, request: AuthRequest, hooks: &mut Hooks) {
        match request {
            AuthRequest::Token { token, asked_at, reply } => {
                let (kind, whose) = (TokenKind::Connection, Whose::Request(reply));
                let question = Question { kind, token, asked_at, whose, has_waited: false };
                self.returned.push_back(question);
            }
            AuthRequest::Hook { call, asked_at, reply } => {
                hooks.begin(call, Whose::Request(reply), asked_at);
            }
        }
    }

    /// Whether a token waits for keys.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn counters(&self) -> &AuthCounters {
        &self.stats.counters
    }

    /// Checks a bounded number of tokens at `now`, in seconds since 1970, and hands questions to
    /// backends on. `can_fetch` says whether keys are fetched, or may be; `None`: there is no key
    /// set. Whether more is there.
    pub(super) fn turn(&mut self, can_fetch: Option<bool>, now: u64, hooks: &mut Hooks) -> bool {
        let final_look = self.returned.len().min(limits::AUTH_WORK_PER_TURN);
        for _ in 0..final_look {
            let question = self.returned.pop_front().expect("counted");
            self.look(question, can_fetch, now);
        }
        for _ in 0..self.post.asks_in.len() {
            let lane = self.next_lane;
            self.next_lane = (lane + 1) % self.post.asks_in.len();
            for _ in 0..limits::AUTH_WORK_PER_TURN {
                match self.post.asks_in[lane].pop() {
                    Err(_) => break,
                    Ok(AuthAsk::Token(TokenAsk { kind, token, asker, asked_at })) => {
                        let whose = Whose::Client(asker);
                        let question = Question { kind, token, asked_at, whose, has_waited: false };
                        self.look(question, can_fetch, now);
                    }
                    Ok(AuthAsk::Hook(HookAsk { call, asker, asked_at })) => {
                        hooks.begin(call, Whose::Client(asker), asked_at);
                    }
                }
            }
        }
        for lane in self.answered.drain(..) {
            self.post.verdicts_out[lane].bell().ring();
        }
        for _ in 0..limits::AUTH_WORK_PER_TURN {
            let Ok(request) = self.post.requests_in.try_recv() else { break };
            self.take_request(request, hooks);
        }
        let in_lanes: usize = self.post.asks_in.iter().map(|lane| lane.slots()).sum();
        let waiting =
            self.waiting.len() + self.returned.len() + self.post.requests_in.len() + in_lanes;
        self.counters().tokens_waiting.set(waiting as u64);
        in_lanes > 0 || !self.returned.is_empty()
    }

    /// What the fetch of keys brought: those who waited for it are looked at again.
    pub(super) fn on_keys(&mut self, fetched: Result<Vec<IssuerKey>, FetchError>) {
        match fetched {
            Ok(keys) => {
                tracing::debug!(count = keys.len(), "fetched the keys of tokens");
                let checker = self.checker.as_mut().expect("keys are fetched to check tokens");
                checker.set_issuer_keys(keys);
                self.has_keys = true;
            }
            Err(error) => {
                self.counters().key_fetches_failed.add(1);
                self.has_keys = false;
                tracing::warn!("cannot fetch the keys of tokens from token.jwks_url: {error}");
            }
        }
        self.waiting.iter_mut().for_each(|question| question.has_waited = true);
        self.returned.append(&mut self.waiting);
    }

    fn look(&mut self, question: Question, can_fetch: Option<bool>, now: u64) {
        let text = question.token.expose();
        let result = match (&self.checker, question.kind) {
            (None, kind) => TokenResult::refused(kind, TokenRefused::NotConfigured),
            (Some(checker), TokenKind::Connection) => {
                TokenResult::Connection(checker.connect(text, now))
            }
            (Some(checker), TokenKind::Subscription) => {
                TokenResult::Subscription(checker.subscription(text, now))
            }
        };
        let key_unknown = result.refusal() == Some(TokenRefused::KeyUnknown);
        let can_fetch = can_fetch.map(|can_fetch| can_fetch && !question.has_waited);
        match can_fetch.filter(|_| key_unknown) {
            Some(true) if self.waiting.len() < limits::AUTH_WAITING_MAX => {
                self.waiting.push_back(question);
            }
            Some(can_fetch) if can_fetch || !self.has_keys => {
                let result = TokenResult::refused(question.kind, TokenRefused::KeysUnavailable);
                self.answer(question, result);
            }
            _ => self.answer(question, result),
        }
    }

    fn answer(&mut self, question: Question, result: TokenResult) {
        let counters = &self.stats.counters;
        counters.tokens_checked.add(1);
        match result.refusal() {
            Some(why) if why.is_temporary() => counters.tokens_put_off.add(1),
            Some(why) => {
                counters.tokens_refused.add(1);
                counters.tokens_expired.add(u64::from(why == TokenRefused::Expired));
                tracing::debug!(cause = %why, "refused a token");
            }
            None => {}
        }
        self.stats.check.record(question.asked_at.elapsed());
        match question.whose {
            Whose::Client(asker) => self.send(asker, Ruling::Token(result)),
            Whose::Request(reply) => {
                let TokenResult::Connection(result) = result else {
                    unreachable!("requests show connection tokens")
                };
                // Whoever asked may be gone.
                let _ = reply.send(result);
            }
        }
    }

    /// Sends a backend's answer on.
    pub(super) fn pass_on(&mut self, done: Done) {
        let Done { whose, answer } = done;
        match whose {
            Whose::Client(asker) => self.send(asker, Ruling::Hook(answer)),
            Whose::Request(reply) => {
                // Whoever asked may be gone.
                let _ = reply.send(answer.outcome);
            }
        }
    }

    /// Puts a verdict into its shard's lane; the end of the turn rings.
    fn send(&mut self, asker: Asker, ruling: Ruling) {
        let verdict = Request::Verdict(Box::new(Verdict { asker, ruling }));
        let lane = asker.shard.index();
        if self.answered.last() != Some(&lane) {
            self.answered.push(lane);
        }
        let lane = &mut self.post.verdicts_out[lane];
        assert!(lane.push(verdict).is_ok(), "a shard asks no more than it has room for");
    }
}
