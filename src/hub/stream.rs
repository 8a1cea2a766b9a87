//! The owner's side of a channel.

use std::sync::Arc;

use super::history::History;
use super::presence::Presence;
use super::{AskedEpoch, HistoryAsk, Recover, StreamOptions};
use crate::id::ShardId;
use crate::limits;
use crate::planted::{Bug, is_planted};
use crate::publication::{Entry, Epoch, Position};

/// The shards that listen to a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterestSet(u64);

const _: () = assert!(crate::limits::SHARDS_MAX as u32 <= u64::BITS);

impl InterestSet {
    pub(super) fn insert(&mut self, shard: ShardId) {
        self.0 |= 1 << shard.0;
    }

    /// True if it was there.
    pub(super) fn remove(&mut self, shard: ShardId) -> bool {
        let before = self.0;
        self.0 &= !(1 << shard.0);
        self.0 != before
    }

    /// Whether nobody listens.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The shards, in order.
    pub fn iter(self) -> impl Iterator<Item = ShardId> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let index = rest.trailing_zeros();
            rest &= rest - 1;
            Some(ShardId(index as u16))
        })
    }
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) position: Position,
    pub(super) interest: InterestSet,
    /// Present once there was something to keep. Apart, because most channels keep nothing.
    pub(super) kept: Option<Box<Kept>>,
}

/// What a stream keeps beside its position.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) history: History,
    pub(super) presence: Presence,
    /// The newest version published, 0 before the first.
    pub(super) version: u64,
    /// Within which that version counts.
    pub(super) version_epoch: Option<Arc<str>>,
    /// Milliseconds position and versions outlive the last use; 0 for a stream that never kept
    /// history.
    meta_ttl_ms: u64,
    /// From when on they are forgotten, unless somebody listens then.
    meta_until: u64,
    /// The stream's key among those by last use, while it has history.
    pub(super) used: Option<u64>,
    /// When expiry looks at it.
    pub(super) planned: Option<u64>,
}

impl Stream {
    pub(super) fn new(random: u64) -> Self {
        let position = Position { offset: 0, epoch: Epoch::from_random(random) };
        Self { position, interest: InterestSet::default(), kept: None }
    }

    pub(super) fn keep(&mut self) -> &mut Kept {
        self.kept.get_or_insert_default()
    }

    /// Whether a shard listens or a client is present.
    pub(super) fn is_heard(&self) -> bool {
        !self.interest.is_empty()
            || self.kept.as_ref().is_some_and(|kept| !kept.presence.is_empty())
    }

    /// Until when somebody who comes back may rely on its position, if anybody may.
    pub(super) fn live_until(&self, now: u64) -> Option<u64> {
        self.kept.as_ref().map(|kept| kept.meta_until).filter(|until| *until > now)
    }

    /// Whether it had metadata whose time is over, with nobody listening.
    pub(super) fn is_over(&self, now: u64) -> bool {
        !self.is_heard()
            && self.kept.as_ref().is_some_and(|kept| kept.meta_until > 0 && kept.meta_until <= now)
    }

    /// Notes a use at `now` of a stream with these options.
    pub(super) fn note_use(&mut self, options: &StreamOptions, now: u64) {
        if options.keeps_history() {
            let kept = self.keep();
            // Metadata never goes before the entries it numbers.
            kept.meta_ttl_ms = options.history_meta_ttl_ms.max(options.history_ttl_ms);
            kept.renew(now);
        }
    }

    /// What a joining client gets first, and whether that is all it missed.
    pub(super) fn recover(&self, ask: Recover, now: u64) -> (bool, Vec<Arc<Entry>>) {
        let history = self.kept.as_ref().map(|kept| &kept.history);
        let top = self.position.offset;
        match ask {
            Recover::No => (false, Vec::new()),
            Recover::Stream(since) => {
                let missing = top.checked_sub(since.offset).and_then(|n| usize::try_from(n).ok());
                let missing = missing.filter(|count| *count <= limits::RECOVERY_MAX);
                let Some(missing) = missing.filter(|_| since.epoch.fits(self.position.epoch))
                else {
                    return (false, Vec::new());
                };
                // History has no gap and ends at the top, so the right number is the right ones.
                let late = usize::from(is_planted(Bug::RecoveryOffByOne)).min(missing);
                let from = since.offset + late as u64;
                let found = history.into_iter().flat_map(|history| history.after(from, now));
                let found: Vec<_> = found.cloned().collect();
                if found.len() + late == missing { (true, found) } else { (false, Vec::new()) }
            }
            Recover::Cache(since) => {
                let has_it = since.epoch == AskedEpoch::Known(self.position.epoch);
                if has_it && since.offset == top && top > 0 {
                    return (true, Vec::new());
                }
                let newest = history.and_then(|history| history.live(now).next_back());
                (newest.is_some(), newest.cloned().into_iter().collect())
            }
        }
    }

    /// A page of history; the epoch asked for was compared.
    pub(super) fn page(&self, ask: HistoryAsk, now: u64) -> Vec<Arc<Entry>> {
        let Some(kept) = &self.kept else { return Vec::new() };
        let offset = ask.since.map(|since| since.offset);
        if ask.reverse {
            let found = kept.history.before(offset.unwrap_or(u64::MAX), now);
            found.take(ask.limit).cloned().collect()
        } else {
            let found = kept.history.after(offset.unwrap_or(0), now);
            found.take(ask.limit).cloned().collect()
        }
    }

    /// When expiry has something to do with it.
    pub(super) fn next_expiry(&self) -> Option<u64> {
        let kept = self.kept.as_ref()?;
        let metadata = (kept.meta_until > 0 && !self.is_heard()).then_some(kept.meta_until);
        kept.history.next_expiry().into_iter().chain(metadata).min()
    }
}

impl Kept {
    /// Has the metadata live on from `now`.
    pub(super) fn renew(&mut self, now: u64) {
        if self.meta_ttl_ms > 0 {
            self.meta_until = now.saturating_add(self.meta_ttl_ms);
        }
    }

    /// Whether nothing is left of what was kept.
    pub(super) fn is_spent(&self) -> bool {
        self.history.is_empty()
            && self.presence.is_empty()
            && self.version == 0
            && self.meta_until == 0
    }

    /// Whether a publish of this version is not newer than what there is.
    pub(super) fn is_stale(&self, version: u64, epoch: Option<&Arc<str>>) -> bool {
        let comparable = epoch.is_none_or(|epoch| self.version_epoch.as_ref() == Some(epoch));
        version <= self.version && comparable
    }
}
