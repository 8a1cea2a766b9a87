//! Backends that are asked about clients.
//!
//! Each question is a task of its own, so that one which waits holds up nothing else of this
//! thread; how many there are is bounded for each hook. A question that has no answer when its time
//! is over is answered as failed, wherever it is by then.

mod answer;
mod backend;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::desk::Whose;
use crate::config;
use crate::limits;
use crate::mail::HookAnswer;
use crate::protocol::hook::{Hook, HookCall, HookOutcome, HookRefused};
use crate::stats::AuthStats;
use answer::Fault;
use backend::Backend;

/// The questions that are under way.
#[derive(Debug)]
pub(super) struct Hooks {
    /// `None`: nobody is to be asked.
    backend: Option<Arc<Backend>>,
    running: JoinSet<Over>,
    /// Questions to each hook without an answer.
    open: [usize; Hook::COUNT],
    /// Before it a failure of the hook is counted and not logged.
    next_log: [Option<Instant>; Hook::COUNT],
    stats: Arc<AuthStats>,
}

/// An answer on its way.
#[derive(Debug)]
pub(super) struct Done {
    /// Where it goes.
    pub(super) whose: Whose<HookOutcome>,
    /// What it is.
    pub(super) answer: HookAnswer,
}

/// A question that is over.
#[derive(Debug)]
struct Over {
    done: Done,
    /// Why there was no answer.
    fault: Option<Fault>,
    asked_at: Instant,
}

impl Hooks {
    /// Asks as `settings` say; this is the one writer of `stats`' hooks.
    ///
    /// # Errors
    /// A backend is to be asked over https, and this machine has no certificates to trust.
    pub(super) fn new(settings: Option<&config::Hooks>, stats: Arc<AuthStats>) -> io::Result<Self> {
        let backend = settings.map(Backend::new).transpose()?.map(Arc::new);
        Ok(Self {
            backend,
            running: JoinSet::new(),
            open: [0; Hook::COUNT],
            next_log: [None; Hook::COUNT],
            stats,
        })
    }

    /// Begins to ask. The answer comes from [`Hooks::next`].
    pub(super) fn begin(
        &mut self,
        call: Box<HookCall>,
        whose: Whose<HookOutcome>,
        asked_at: Instant,
    ) {
        let hook = call.hook();
        let stats = self.stats.clone();
        stats.hooks[hook.index()].asked.add(1);
        let backend = self.backend.clone();
        let room = backend.as_ref().map_or(0, |one| one.concurrency() + limits::HOOK_WAITING_MAX);
        let has_room = self.open[hook.index()] < room;
        self.open[hook.index()] += 1;
        stats.hooks[hook.index()].open.set(self.open[hook.index()] as u64);
        self.running.spawn(async move {
            let said = match backend.filter(|_| has_room) {
                Some(backend) => backend.ask(&call, asked_at).await,
                None => Err(Fault::Overload),
            };
            let (outcome, fault) = match said {
                Ok(outcome) => (outcome, None),
                Err(fault) => (Err(HookRefused::Unanswered), Some(fault)),
            };
            let answer =
                HookAnswer { hook, client: call.client, channel: call.channel().cloned(), outcome };
            Over { done: Done { whose, answer }, fault, asked_at }
        });
    }

    /// The next answer. Never resolves while nothing is asked. Nothing is lost if it is dropped
    /// before.
    pub(super) async fn next(&mut self) -> Done {
        match self.running.join_next().await {
            Some(over) => self.settle(over.expect("a question neither panics nor is aborted")),
            None => std::future::pending().await,
        }
    }

    /// Counts a question that is over.
    fn settle(&mut self, over: Over) -> Done {
        let Over { done, fault, asked_at } = over;
        let hook = done.answer.hook;
        self.open[hook.index()] -= 1;
        let stats = &self.stats.hooks[hook.index()];
        stats.open.set(self.open[hook.index()] as u64);
        stats.answer.record(asked_at.elapsed());
        match fault {
            Some(fault) => {
                stats.failures[fault.label_index()].add(1);
                self.log(hook, &fault);
            }
            None => stats.refused.add(u64::from(done.answer.outcome.is_err())),
        }
        done
    }

    /// Says why there was no answer, at a bounded rate.
    fn log(&mut self, hook: Hook, fault: &Fault) {
        let now = Instant::now();
        let next = &mut self.next_log[hook.index()];
        if next.is_none_or(|next| now >= next) {
            *next = Some(now + Duration::from_millis(limits::HOOK_LOG_INTERVAL_MS));
            tracing::warn!(hook = hook.name(), "a backend gave no answer: {fault}");
        }
    }
}
