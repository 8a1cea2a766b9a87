//! Tokens on their way to whoever checks them, and the verdicts.
//!
//! A shard asks at most as much as its lane of verdicts holds before it has had the answers, so
//! `auth` never finds that lane full and never waits for a shard.

use std::sync::Arc;
use std::time::Instant;

use rtrb::{Consumer, Producer, RingBuffer};
use tokio::sync::{Notify, mpsc, oneshot};

use super::{Asker, Request, Sender};
use crate::limits;
use crate::protocol::claims::{ConnectClaims, SubscriptionClaims, TokenRefused, TokenText};

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

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A connection.
    Connection,
    /// One subscription.
    Subscription,
}

/// The answer to a [`TokenAsk`].
#[derive(Debug)]
pub struct Verdict {
    /// Whose token it was; may be stale.
    pub asker: Asker,
    /// What it says, or why it does not count.
    pub result: TokenResult,
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

/// A connection token in a request, which waits for the answer before its 101.
#[derive(Debug)]
pub struct TokenRequest {
    /// As it was sent.
    pub token: TokenText,
    /// When it came.
    pub asked_at: Instant,
    /// Where the answer goes. A dropped receiver is ignored.
    pub reply: oneshot::Sender<Result<ConnectClaims, TokenRefused>>,
}

/// Where a shard leaves tokens to be checked.
#[derive(Debug)]
pub struct TokenSender {
    lane: Producer<TokenAsk>,
    alarm: Arc<Notify>,
}

impl TokenSender {
    /// Leaves a token and wakes whoever checks it. Never waits.
    ///
    /// # Errors
    /// The lane is full; the token comes back.
    pub fn send(&mut self, ask: TokenAsk) -> Result<(), TokenAsk> {
        self.lane.push(ask).map_err(|rtrb::PushError::Full(ask)| ask)?;
        self.alarm.notify_one();
        Ok(())
    }
}

/// Where acceptors leave the tokens of requests.
#[derive(Clone, Debug)]
pub struct TokenDesk(mpsc::Sender<TokenRequest>);

impl TokenDesk {
    /// What a connection token says. Returns when it has been checked; dropping the future forgets
    /// the question.
    ///
    /// # Errors
    /// Why it does not count; [`TokenRefused::Overloaded`] at once if too many wait.
    pub async fn check(&self, token: TokenText) -> Result<ConnectClaims, TokenRefused> {
        let (reply, answer) = oneshot::channel();
        let request = TokenRequest { token, asked_at: Instant::now(), reply };
        self.0.try_send(request).map_err(|_| TokenRefused::Overloaded)?;
        // Whoever should answer is gone when the process ends.
        answer.await.unwrap_or(Err(TokenRefused::Overloaded))
    }
}

/// What ends at the thread that checks tokens.
#[derive(Debug)]
pub struct TokenPost {
    /// Tokens of clients, by shard.
    pub asks_in: Vec<Consumer<TokenAsk>>,
    /// Tokens of requests.
    pub requests_in: mpsc::Receiver<TokenRequest>,
    /// Verdicts, by shard.
    pub verdicts_out: Vec<Sender<Request>>,
    /// Rung for every token of a client.
    pub alarm: Arc<Notify>,
}

/// The lanes of tokens of `shard_count` shards, with the ends of the shards and of the acceptors;
/// the lanes of verdicts are still to be put in.
pub(super) fn wire_tokens(
    shard_count: u16,
    lane_len: usize,
) -> (Vec<TokenSender>, TokenDesk, TokenPost) {
    let alarm = Arc::new(Notify::new());
    let lanes = (0..shard_count).map(|_| RingBuffer::new(lane_len));
    let (senders, asks_in) = lanes
        .map(|(lane, consumer)| (TokenSender { lane, alarm: alarm.clone() }, consumer))
        .unzip();
    let (desk, requests_in) = mpsc::channel(limits::AUTH_REQUESTS_MAX);
    let post = TokenPost { asks_in, requests_in, verdicts_out: Vec::new(), alarm };
    (senders, TokenDesk(desk), post)
}
