//! Tokens and questions to backends on their way to `auth`, and the verdicts.
//!
//! A shard asks at most as much as its lane of verdicts holds before it has had the answers, so
//! `auth` never finds that lane full and never waits for a shard. One half of the lane is for
//! tokens, the other for backends: one that hangs leaves tokens their room.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use rtrb::{Consumer, Producer, RingBuffer};
use tokio::sync::{Notify, mpsc, oneshot};

use super::{Asker, Request, Sender};
use crate::id::{ChannelName, ClientKey};
use crate::limits;
use crate::protocol::claims::{ConnectClaims, SubscriptionClaims, TokenRefused, TokenText};
use crate::protocol::hook::{Hook, HookCall, HookOutcome, HookRefused};

/// What a shard has to ask.
#[derive(Debug)]
pub enum AuthAsk {
    /// Whether a token holds.
    Token(TokenAsk),
    /// What a backend says.
    Hook(HookAsk),
}

/// A token that a client of a shard showed.
#[derive(Debug)]
pub struct TokenAsk {
    /// What it is to be.
    pub kind: TokenKind,
    /// As it was sent.
    pub token: TokenText,
    /// Whose it is.
    pub asker: Asker,
    /// When it came.
    pub asked_at: Instant,
}

/// A question to a backend about a client of a shard.
#[derive(Debug)]
pub struct HookAsk {
    /// What is asked.
    pub call: Box<HookCall>,
    /// For whom; the command is 0 if the client gave none.
    pub asker: Asker,
    /// When.
    pub asked_at: Instant,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A connection.
    Connection,
    /// One subscription.
    Subscription,
}

/// The answer to an [`AuthAsk`].
#[derive(Debug)]
pub struct Verdict {
    /// Who asked; may be stale.
    pub asker: Asker,
    /// What there is to say.
    pub ruling: Ruling,
}

/// What an [`AuthAsk`] came to.
#[derive(Debug)]
pub enum Ruling {
    /// What a token says, or why it does not count.
    Token(TokenResult),
    /// What a backend says.
    Hook(HookAnswer),
}

/// What a backend says, with what it was asked about.
#[derive(Debug)]
pub struct HookAnswer {
    /// Which hook was asked.
    pub hook: Hook,
    /// About which client.
    pub client: ClientKey,
    /// About which channel, if about one.
    pub channel: Option<ChannelName>,
    /// What it says.
    pub outcome: HookOutcome,
}

/// What a token says, or why it does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenResult {
    /// To [`TokenKind::Connection`].
    Connection(Result<ConnectClaims, TokenRefused>),
    /// To [`TokenKind::Subscription`].
    Subscription(Result<SubscriptionClaims, TokenRefused>),
}

impl TokenResult {
    /// A refusal.
    pub fn refused(kind: TokenKind, why: TokenRefused) -> Self {
        match kind {
            TokenKind::Connection => Self::Connection(Err(why)),
            TokenKind::Subscription => Self::Subscription(Err(why)),
        }
    }

    /// Why it was refused, if it was.
    pub fn refusal(&self) -> Option<TokenRefused> {
        match self {
            Self::Connection(result) => result.as_ref().err().copied(),
            Self::Subscription(result) => result.as_ref().err().copied(),
        }
    }
}

/// What a request has to ask, which waits for the answer before its 101. Dropped receivers are
/// ignored.
#[derive(Debug)]
pub enum AuthRequest {
    /// Whether its connection token holds.
    Token {
        /// As it was sent.
        token: TokenText,
        /// When it came.
        asked_at: Instant,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<ConnectClaims, TokenRefused>>,
    },
    /// What a backend says.
    Hook {
        /// What is asked.
        call: Box<HookCall>,
        /// When.
        asked_at: Instant,
        /// Where the answer goes.
        reply: oneshot::Sender<HookOutcome>,
    },
}

/// Where a shard leaves what it has to ask.
#[derive(Debug)]
pub struct AuthSender {
    lane: Producer<AuthAsk>,
    alarm: Arc<Notify>,
}

impl AuthSender {
    /// Leaves a question and wakes whoever answers it. Never waits.
    ///
    /// # Errors
    /// The lane is full; the question comes back.
    pub fn send(&mut self, ask: AuthAsk) -> Result<(), AuthAsk> {
        self.lane.push(ask).map_err(|rtrb::PushError::Full(ask)| ask)?;
        self.alarm.notify_one();
        Ok(())
    }
}

/// Where acceptors leave what requests have to ask.
#[derive(Clone, Debug)]
pub struct AuthDesk(mpsc::Sender<AuthRequest>);

impl AuthDesk {
    /// What a connection token says. Returns when it has been checked; dropping the future forgets
    /// the question.
    ///
    /// # Errors
    /// Why it does not count; [`TokenRefused::Overloaded`] at once if too many wait.
    pub async fn check(&self, token: TokenText) -> Result<ConnectClaims, TokenRefused> {
        let (reply, answer) = oneshot::channel();
        let request = AuthRequest::Token { token, asked_at: Instant::now(), reply };
        self.0.try_send(request).map_err(|_| TokenRefused::Overloaded)?;
        // Whoever should answer is gone when the process ends.
        answer.await.unwrap_or(Err(TokenRefused::Overloaded))
    }

    /// Asks a backend now; the future has its answer, no later than the configured time. Dropping
    /// it forgets the question. Too many that wait are [`HookRefused::Unanswered`] at once.
    pub fn ask(&self, call: HookCall) -> impl Future<Output = HookOutcome> + use<> {
        let (reply, answer) = oneshot::channel();
        let (call, asked_at) = (Box::new(call), Instant::now());
        // A question that is not taken drops its sender, and the answer is that.
        let _ = self.0.try_send(AuthRequest::Hook { call, asked_at, reply });
        async move { answer.await.unwrap_or(Err(HookRefused::Unanswered)) }
    }
}

/// What ends at the thread that answers.
#[derive(Debug)]
pub struct AuthPost {
    /// Questions of clients, by shard.
    pub asks_in: Vec<Consumer<AuthAsk>>,
    /// Questions of requests.
    pub requests_in: mpsc::Receiver<AuthRequest>,
    /// Verdicts, by shard.
    pub verdicts_out: Vec<Sender<Request>>,
    /// Rung for every question of a client.
    pub alarm: Arc<Notify>,
}

/// The lanes of questions of `shard_count` shards, with the ends of the shards and of the
/// acceptors; the lanes of verdicts are still to be put in.
pub(super) fn wire_auth(
    shard_count: u16,
    lane_len: usize,
) -> (Vec<AuthSender>, AuthDesk, AuthPost) {
    let alarm = Arc::new(Notify::new());
    let lanes = (0..shard_count).map(|_| RingBuffer::new(lane_len));
    let (senders, asks_in) =
        lanes.map(|(lane, consumer)| (AuthSender { lane, alarm: alarm.clone() }, consumer)).unzip();
    let (desk, requests_in) = mpsc::channel(limits::AUTH_REQUESTS_MAX);
    let post = AuthPost { asks_in, requests_in, verdicts_out: Vec::new(), alarm };
    (senders, AuthDesk(desk), post)
}
