//! Questions a session may not wait for: whether a token holds, what a backend says of a client.
//!
//! One thread with a tokio runtime. Questions come from shards in lanes and from acceptors over a
//! queue; answers go out as mail and are stale when their client is gone. No signature is checked
//! anywhere else. While an issuer's keys are fetched only the tokens that need them wait; a key
//! server that does not answer fails those, and nothing else. The same holds for backends: each
//! question to one is a task of its own.
//!
//! Beside it [`Notices`] tells a backend what has happened, on a thread of its own.
//!
//! Invariants: only configured addresses are asked, whatever a token or a client says; an issuer's
//! is asked at most once per [`limits::JWKS_INTERVAL_MIN_S`]; every question gets one answer.

mod claims;
mod desk;
mod hooks;
mod https;
mod jwks;
mod notices;
pub mod sign;
pub mod token;

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use notices::Notices;

use crate::config::{self, PublicKeys, Token};
use crate::limits;
use crate::mail::AuthPost;
use crate::stats::AuthStats;
use desk::Desk;
use hooks::Hooks;
use jwks::{FetchError, Fetcher};
use token::{Checker, IssuerKey};

/// The thread that checks tokens and asks backends, complete but for the thread.
#[derive(Debug)]
pub struct Auth {
    desk: Desk,
    hooks: Hooks,
    fetcher: Option<Fetcher>,
    pace: Pace,
}

/// How often an issuer's keys are asked for.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Between two fetches at least.
    interval_min: Duration,
    /// Between two fetches at most.
    interval_max: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            interval_min: Duration::from_secs(limits::JWKS_INTERVAL_MIN_S),
            interval_max: Duration::from_secs(limits::JWKS_INTERVAL_MAX_S),
        }
    }
}

impl Auth {
    /// Checks tokens by `token` and asks the backends of `hooks`; it is the one writer of `stats`.
    ///
    /// # Errors
    /// Something is to be asked over https, and this machine has no certificates to trust.
    pub fn new(
        token: Option<&Token>,
        hooks: Option<&config::Hooks>,
        post: AuthPost,
        stats: Arc<AuthStats>,
    ) -> io::Result<Self> {
        let fetcher = match token.map(|settings| &settings.public_keys) {
            Some(PublicKeys::Jwks(address)) => Some(Fetcher::new(address.clone())?),
            Some(PublicKeys::None | PublicKeys::File(_)) | None => None,
        };
        let hooks = Hooks::new(hooks, stats.clone())?;
        let desk = Desk::new(token.map(Checker::new), post, stats);
        Ok(Self { desk, hooks, fetcher, pace: Pace::default() })
    }

    /// Answers on the calling thread until `stopped` resolves or its sender is dropped.
    /// Questions that wait by then stay without an answer: nobody is left who asked.
    ///
    /// # Errors
    /// The kernel refused the runtime's epoll instance.
    pub fn run(self, stopped: oneshot::Receiver<()>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.serve(stopped));
        Ok(())
    }

    async fn serve(self, mut stopped: oneshot::Receiver<()>) {
        let Self { mut desk, mut hooks, fetcher, pace } = self;
        let mut keys = fetcher.map(|fetcher| Keys::new(fetcher, pace));
        if let Some(keys) = &mut keys {
            keys.start(&desk);
        }
        let alarm = desk.alarm();
        loop {
            let can_fetch = keys.as_ref().map(Keys::can_start);
            let more = desk.turn(can_fetch, unix_now(), &mut hooks);
            if let Some(keys) = &mut keys
                && desk.is_waiting()
            {
                keys.start(&desk);
            }
            tokio::select! {
                biased;
                _ = &mut stopped => return,
                done = hooks.next() => desk.pass_on(done),
                step = Keys::next(&mut keys) => match step {
                    KeyStep::Fetched(fetched) => desk.on_keys(fetched),
                    KeyStep::Due => keys.as_mut().expect("they are due").start(&desk),
                },
                // Rung before the look above, it resolves at once.
                () = alarm.notified(), if !more => {}
                request = desk.next_request(), if !more => {
                    desk.take_request(request, &mut hooks);
                }
                () = tokio::task::yield_now(), if more => {}
            }
        }
    }
}

/// The fetching of a key set: when, and the fetch that runs.
#[derive(Debug)]
struct Keys {
    fetcher: Fetcher,
    pace: Pace,
    running: Option<JoinHandle<Result<Vec<IssuerKey>, FetchError>>>,
    /// Before it nothing is fetched, whatever tokens name.
    not_before: Instant,
    /// When keys in use are looked at anew.
    due: Instant,
}

impl Keys {
    fn new(fetcher: Fetcher, pace: Pace) -> Self {
        let now = Instant::now();
        Self { fetcher, pace, running: None, not_before: now, due: now }
    }

    /// Whether a fetch runs, or one may begin.
    fn can_start(&self) -> bool {
        self.running.is_some() || Instant::now() >= self.not_before
    }

    /// Begins a fetch, unless one runs or the last began too short a time ago.
    fn start(&mut self, desk: &Desk) {
        let now = Instant::now();
        if self.running.is_some() || now < self.not_before {
            return;
        }
        self.not_before = now + self.pace.interval_min;
        self.due = now + self.pace.interval_max;
        desk.counters().key_fetches.add(1);
        let fetcher = self.fetcher.clone();
        self.running = Some(tokio::spawn(async move { fetcher.fetch().await }));
    }

    /// The outcome of the fetch that runs, or that it is time for the next one. Never resolves
    /// without a key set. Nothing is lost if it is dropped before.
    async fn next(keys: &mut Option<Self>) -> KeyStep {
        let Some(keys) = keys else { return std::future::pending().await };
        let Some(running) = &mut keys.running else {
            tokio::time::sleep_until(keys.due).await;
            return KeyStep::Due;
        };
        let fetched = running.await.expect("a fetch neither panics nor is aborted");
        keys.running = None;
        if fetched.is_err() {
            keys.due = keys.not_before;
        }
        KeyStep::Fetched(fetched)
    }
}

/// What comes next in the life of a key set.
enum KeyStep {
    Fetched(Result<Vec<IssuerKey>, FetchError>),
    Due,
}

/// Seconds since 1970.
fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    // A clock before 1970 is not set: then no token is good that ends, which shows.
    since.map_or(u64::MAX, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
