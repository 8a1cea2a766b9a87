//! Notices to a backend: what shards tell is put into words, gathered, signed and sent.
//!
//! One thread with a tokio runtime of its own, so that a storm of disconnects does not hold up the
//! tokens of those who come back. One batch is on its way at a time: what one shard tells arrives
//! in order. A batch that is not answered with 2xx is sent again, byte for byte and with the same
//! id, so a backend that has taken it after all can tell.
//!
//! Invariants: only the configured address is asked; every notice is counted once, as sent, given
//! up or dropped; shards never wait for any of this.

mod line;
mod post;
mod queue;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::config;
use crate::limits;
use crate::mail::NewsPost;
use crate::stats::NoticeCounters;
use line::Line;
use post::Sender;

/// The thread that sends notices, complete but for the thread.
#[derive(Debug)]
pub struct Notices {
    news: NewsPost,
    line: Line,
    pace: Pace,
}

/// How long things take, and how much waits.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// From the first failure of a batch to its next try, at most; doubled with each.
    retry_min: Duration,
    /// Longest such pause.
    retry_max: Duration,
    /// After which a notice is given up.
    give_up: Duration,
    /// For how long what waits is still sent when the gateway stops.
    stop: Duration,
    /// Bytes that may wait.
    queue_bytes: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            retry_min: Duration::from_millis(limits::NOTICE_RETRY_MIN_MS),
            retry_max: Duration::from_millis(limits::NOTICE_RETRY_MAX_MS),
            give_up: Duration::from_secs(limits::NOTICE_GIVE_UP_S),
            stop: Duration::from_secs(limits::NOTICE_STOP_S),
            queue_bytes: limits::NOTICE_QUEUE_BYTES_MAX,
        }
    }
}

impl Notices {
    /// Sends what comes in `news` by `settings`; it is the one writer of `counters`.
    ///
    /// # Errors
    /// Notices go over https and this machine has no certificates to trust, or it has no random
    /// numbers.
    pub fn new(
        settings: &config::Notices,
        news: NewsPost,
        counters: Arc<NoticeCounters>,
    ) -> io::Result<Self> {
        Self::with_pace(settings, news, counters, Pace::default())
    }

    fn with_pace(
        settings: &config::Notices,
        news: NewsPost,
        counters: Arc<NoticeCounters>,
        pace: Pace,
    ) -> io::Result<Self> {
        let run = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
        let line = Line::new(Sender::new(settings)?, settings, pace, run, counters);
        Ok(Self { news, line, pace })
    }

    /// Sends notices on the calling thread until `stopped` resolves or its sender is dropped, and
    /// then what is left for [`limits::NOTICE_STOP_S`] seconds at most. Call with the shards ended,
    /// or it takes as long.
    ///
    /// # Errors
    /// The kernel refused the runtime's epoll instance.
    pub fn run(self, stopped: oneshot::Receiver<()>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.serve(stopped));
        Ok(())
    }

    async fn serve(self, mut stopped: oneshot::Receiver<()>) {
        let Self { mut news, mut line, pace } = self;
        let mut taken = Vec::new();
        let mut open = true;
        let mut deadline = None;
        while deadline.is_none() || open || !line.is_idle() {
            tokio::select! {
                _ = &mut stopped, if deadline.is_none() => {
                    deadline = Some(Instant::now() + pace.stop);
                    line.hurry();
                }
                () = sleep_until(deadline) => break,
                more = news.take(&mut taken), if open => {
                    open = more;
                    taken.drain(..).for_each(|one| line.take(&one));
                }
                step = line.next() => line.advance(step),
            }
        }
        line.end(news.len());
    }
}

/// Never resolves without a deadline.
async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
