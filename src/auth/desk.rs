//! Questions and answers: tokens are taken in turn, checked, and answered.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, oneshot};

use super::jwks::FetchError;
use super::token::{Checker, IssuerKey};
use crate::limits;
use crate::mail::{
    Asker, Request, TokenAsk, TokenKind, TokenPost, TokenRequest, TokenResult, Verdict,
};
use crate::protocol::claims::{ConnectClaims, TokenRefused, TokenText};
use crate::stats::{AuthCounters, AuthStats};

/// Everything of the thread but its key set.
#[derive(Debug)]
pub(super) struct Desk {
    checker: Checker,
    post: TokenPost,
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
    whose: Whose,
    /// Keys were fetched for it: it is not put off again.
    has_waited: bool,
}

/// Where an answer goes.
#[derive(Debug)]
enum Whose {
    Client(Asker),
    Request(oneshot::Sender<Result<ConnectClaims, TokenRefused>>),
}

impl Desk {
    pub(super) fn new(checker: Checker, post: TokenPost, stats: Arc<AuthStats>) -> Self {
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

    /// Rung for every token that lies in a lane.
    pub(super) fn alarm(&self) -> Arc<Notify> {
        self.post.alarm.clone()
    }

    /// The next token of a request.
    pub(super) async fn next_request(&mut self) -> TokenRequest {
        match self.post.requests_in.recv().await {
            Some(request) => request,
            // No acceptor is left; there may still be shards.
            None => std::future::pending().await,
        }
    }

    /// Takes a request's token; the next turn checks it.
    pub(super) fn take_request(&mut self, request: TokenRequest) {
        let TokenRequest { token, asked_at, reply } = request;
        let kind = TokenKind::Connection;
        let question =
            Question { kind, token, asked_at, whose: Whose::Request(reply), has_waited: false };
        self.returned.push_back(question);
    }

    /// Whether a token waits for keys.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn counters(&self) -> &AuthCounters {
        &self.stats.counters
    }

    /// Checks a bounded number of tokens at `now`, in seconds since 1970. `can_fetch` says whether
    /// keys are fetched, or may be; `None`: there is no key set. Whether more tokens are there.
    pub(super) fn turn(&mut self, can_fetch: Option<bool>, now: u64) -> bool {
        let final_look = self.returned.len().min(limits::AUTH_WORK_PER_TURN);
        for _ in 0..final_look {
            let question = self.returned.pop_front().expect("counted");
            self.look(question, can_fetch, now);
        }
        for _ in 0..self.post.asks_in.len() {
            let lane = self.next_lane;
            self.next_lane = (lane + 1) % self.post.asks_in.len();
            for _ in 0..limits::AUTH_WORK_PER_TURN {
                let Ok(ask) = self.post.asks_in[lane].pop() else { break };
                let TokenAsk { kind, token, asker, asked_at } = ask;
                let question = Question {
                    kind,
                    token,
                    asked_at,
                    whose: Whose::Client(asker),
                    has_waited: false,
                };
                self.look(question, can_fetch, now);
            }
        }
        for lane in self.answered.drain(..) {
            self.post.verdicts_out[lane].bell().ring();
        }
        for _ in 0..limits::AUTH_WORK_PER_TURN {
            let Ok(request) = self.post.requests_in.try_recv() else { break };
            self.take_request(request);
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
                self.checker.set_issuer_keys(keys);
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
        let result = match question.kind {
            TokenKind::Connection => {
                TokenResult::Connection(self.checker.connect(question.token.expose(), now))
            }
            TokenKind::Subscription => {
                TokenResult::Subscription(self.checker.subscription(question.token.expose(), now))
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
            Whose::Client(asker) => {
                let verdict = Request::Verdict(Box::new(Verdict { asker, result }));
                let lane = asker.shard.index();
                if self.answered.last() != Some(&lane) {
                    self.answered.push(lane);
                }
                let lane = &mut self.post.verdicts_out[lane];
                assert!(lane.push(verdict).is_ok(), "a shard asks no more than it has room for");
            }
            Whose::Request(reply) => {
                let TokenResult::Connection(result) = result else {
                    unreachable!("requests show connection tokens")
                };
                // Whoever asked may be gone.
                let _ = reply.send(result);
            }
        }
    }
}
