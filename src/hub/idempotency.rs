//! Answers to publishes that may be asked for again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::id::ChannelName;
use crate::limits;
use crate::publication::Position;

type Key = (ChannelName, Arc<str>);

/// What was answered, by channel and key, for `limits::IDEMPOTENCY_TTL_MS`.
#[derive(Debug)]
pub(super) struct Idempotency {
    answers: HashMap<Key, (u64, Position), RandomState>,
    /// When each key expires, in that order. One that was used again after it had expired may stand
    /// here twice.
    queue: VecDeque<(u64, Key)>,
    keys_max: usize,
    forgotten_count: u64,
}

impl Idempotency {
    pub(super) fn new(keys_max: usize) -> Self {
        let (answers, queue) = (HashMap::default(), VecDeque::new());
        Self { answers, queue, keys_max, forgotten_count: 0 }
    }

    /// The answer given before.
    pub(super) fn find(&self, channel: &ChannelName, key: &Arc<str>, now: u64) -> Option<Position> {
        let (expires, position) = self.answers.get(&(channel.clone(), key.clone()))?;
        (*expires > now).then_some(*position)
    }

    /// Remembers an answer; [`Idempotency::find`] did not know its key.
    pub(super) fn insert(
        &mut self,
        channel: &ChannelName,
        key: &Arc<str>,
        position: Position,
        now: u64,
    ) {
        debug_assert!(key.len() <= limits::IDEMPOTENCY_KEY_SIZE_MAX, "the caller checks");
        if self.queue.len() >= self.keys_max {
            self.forgotten_count += u64::from(self.next_expiry().is_some_and(|due| due > now));
            self.pop();
        }
        let key = (channel.clone(), key.clone());
        let expires = now + limits::IDEMPOTENCY_TTL_MS;
        self.answers.insert(key.clone(), (expires, position));
        self.queue.push_back((expires, key));
    }

    /// When the oldest key expires.
    pub(super) fn next_expiry(&self) -> Option<u64> {
        self.queue.front().map(|(expires, _)| *expires)
    }

    /// Drops the oldest key if it has expired.
    pub(super) fn drop_due(&mut self, now: u64) -> bool {
        let due = self.next_expiry().is_some_and(|expires| expires <= now);
        if due {
            self.pop();
        }
        due
    }

    /// Keys dropped before their time because there were too many.
    pub(super) fn forgotten_count(&self) -> u64 {
        self.forgotten_count
    }

    fn pop(&mut self) {
        let Some((expires, key)) = self.queue.pop_front() else { return };
        if self.answers.get(&key).is_some_and(|(current, _)| *current == expires) {
            self.answers.remove(&key);
        }
    }
}
