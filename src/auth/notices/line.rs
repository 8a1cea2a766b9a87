//! One batch after another: sent, sent again, given up.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Pace;
use super::post::{SendError, Sender};
use super::queue::{Batch, Queue};
use crate::config;
use crate::limits;
use crate::mail::News;
use crate::stats::NoticeCounters;

/// The notices that wait, and the batch that is on its way.
#[derive(Debug)]
pub(super) struct Line {
    sender: Sender,
    pace: Pace,
    batch_size: usize,
    batch_delay: Duration,
    queue: Queue,
    state: State,
    /// Failures since the last success.
    failure_count: u32,
    /// Nothing is sent before it.
    not_before: Instant,
    complaints: Complaints,
    random: fastrand::Rng,
    counters: Arc<NoticeCounters>,
}

#[derive(Debug)]
enum State {
    /// No batch is on its way.
    Gathering,
    /// The backend has it, or will.
    AwaitAnswer { batch: Batch, running: JoinHandle<Result<(), SendError>> },
    /// The backend has not taken it and is given a pause.
    AwaitRetry { batch: Batch },
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Step {
    /// A batch is to be made.
    Gather,
    /// A batch was answered, or not.
    Answered(Result<(), SendError>),
    /// A batch is to be sent again.
    Retry,
}

/// What is said in the log, now and then.
#[derive(Debug)]
struct Complaints {
    /// Nothing is said before it.
    not_before: Instant,
    /// Since the last line.
    given_up: usize,
    dropped: usize,
}

impl Line {
    pub(super) fn new(
        sender: Sender,
        settings: &config::Notices,
        pace: Pace,
        run: u64,
        counters: Arc<NoticeCounters>,
    ) -> Self {
        let now = Instant::now();
        Self {
            sender,
            pace,
            batch_size: settings.batch_size,
            batch_delay: settings.batch_delay,
            queue: Queue::new(pace.queue_bytes, run),
            state: State::Gathering,
            failure_count: 0,
            not_before: now,
            complaints: Complaints { not_before: now, given_up: 0, dropped: 0 },
            random: fastrand::Rng::with_seed(run),
            counters,
        }
    }

    /// Takes a piece of news, if there is room.
    pub(super) fn take(&mut self, news: &News) {
        if !self.queue.push(news, Instant::now()) {
            self.counters.dropped.add(1);
            self.complaints.dropped += 1;
            self.complain(&"too many wait");
        }
        self.count_waiting();
    }

    /// Nothing more is worth waiting for: what waits is sent now, and failures are not spared.
    pub(super) fn hurry(&mut self) {
        self.batch_delay = Duration::ZERO;
        self.pace.retry_max = self.pace.retry_min;
        self.not_before = Instant::now();
    }

    /// Whether nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Gathering) && self.queue.len() == 0
    }

    /// What comes next. Never resolves while there is nothing to do; nothing is lost if it is
    /// dropped before.
    pub(super) async fn next(&mut self) -> Step {
        match &mut self.state {
            State::Gathering => {
                let Some(since) = self.queue.since() else { return std::future::pending().await };
                let is_full = self.queue.is_batch_full(self.batch_size);
                let due = if is_full { since } else { since + self.batch_delay };
                tokio::time::sleep_until(due.max(self.not_before)).await;
                Step::Gather
            }
            State::AwaitAnswer { running, .. } => {
                Step::Answered(running.await.expect("sending neither panics nor is aborted"))
            }
            State::AwaitRetry { .. } => {
                tokio::time::sleep_until(self.not_before).await;
                Step::Retry
            }
        }
    }

    /// Takes the step that [`Line::next`] gave.
    pub(super) fn advance(&mut self, step: Step) {
        let state = std::mem::replace(&mut self.state, State::Gathering);
        self.state = match (state, step) {
            (State::Gathering, Step::Gather) => self.gather(),
            (State::AwaitAnswer { batch, .. }, Step::Answered(Ok(()))) => {
                self.counters.sent.add(batch.count as u64);
                if std::mem::take(&mut self.failure_count) > 0 {
                    tracing::info!(waiting = self.queue.len(), "the backend takes notices again");
                }
                State::Gathering
            }
            (State::AwaitAnswer { batch, .. }, Step::Answered(Err(error))) => {
                self.on_failure(batch, &error)
            }
            (State::AwaitRetry { batch }, Step::Retry) => {
                self.counters.retries.add(1);
                self.send(batch)
            }
            (state, step) => unreachable!("{step:?} does not come from {state:?}"),
        };
        self.count_waiting();
    }

    /// Counts what is left, `untaken` pieces of news that were not looked at among it.
    pub(super) fn end(mut self, untaken: usize) {
        let in_hand = match self.state {
            State::Gathering => 0,
            State::AwaitAnswer { batch, .. } | State::AwaitRetry { batch } => batch.count,
        };
        let left = self.queue.len() + in_hand + untaken;
        self.state = State::Gathering;
        self.counters.waiting.set(0);
        self.counters.given_up.add(left as u64);
        if left > 0 {
            tracing::warn!(
                count = left,
                "the gateway stopped before the backend had taken these notices"
            );
        }
    }

    /// Makes a batch of what is not too old and sends it.
    fn gather(&mut self) -> State {
        let now = Instant::now();
        if let Some(moment) = now.checked_sub(self.pace.give_up) {
            let count = self.queue.drop_since(moment);
            self.give_up(count);
        }
        match self.queue.take_batch(self.batch_size, unix_ms()) {
            Some(batch) => self.send(batch),
            None => State::Gathering,
        }
    }

    fn send(&self, batch: Batch) -> State {
        let (sender, body) = (self.sender.clone(), batch.body.clone());
        State::AwaitAnswer { batch, running: tokio::spawn(async move { sender.send(body).await }) }
    }

    /// Has the batch wait for its next try, or gives it up.
    fn on_failure(&mut self, batch: Batch, error: &SendError) -> State {
        let now = Instant::now();
        let pause = self.pause();
        self.failure_count = self.failure_count.saturating_add(1);
        self.not_before = now + pause;
        let end = batch.since + self.pace.give_up;
        let state = if now >= end {
            self.give_up(batch.count);
            State::Gathering
        } else {
            // The last try is at the end.
            self.not_before = self.not_before.min(end);
            State::AwaitRetry { batch }
        };
        self.complain(error);
        state
    }

    /// How long the backend is left alone after one failure more: twice as long each time, up to a
    /// bound, less up to half of it, lest many gateways come back at once.
    fn pause(&mut self) -> Duration {
        let doubled = self.pace.retry_min.saturating_mul(1 << self.failure_count.min(16));
        let longest = doubled.min(self.pace.retry_max);
        longest.mul_f64(1.0 - self.random.f64() / 2.0)
    }

    fn give_up(&mut self, count: usize) {
        self.counters.given_up.add(count as u64);
        self.complaints.given_up += count;
    }

    /// Says that notices are not delivered, unless that was said a short time ago.
    fn complain(&mut self, cause: &dyn std::fmt::Display) {
        let now = Instant::now();
        let Complaints { not_before, given_up, dropped } = self.complaints;
        if now < not_before {
            return;
        }
        tracing::warn!(
            waiting = self.queue.len(),
            given_up,
            dropped,
            "notices to hooks.notices.url are not delivered: {cause}; each is tried for {} s",
            self.pace.give_up.as_secs()
        );
        let not_before = now + Duration::from_secs(limits::NOTICE_LOG_INTERVAL_S);
        self.complaints = Complaints { not_before, given_up: 0, dropped: 0 };
    }

    fn count_waiting(&self) {
        let in_hand = match &self.state {
            State::Gathering => 0,
            State::AwaitAnswer { batch, .. } | State::AwaitRetry { batch } => batch.count,
        };
        self.counters.waiting.set((self.queue.len() + in_hand) as u64);
    }
}

/// Milliseconds since 1970.
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
