//! Places for connections: a bound for the process and a count per shard.

use super::sync::{Arc, AtomicU32, Ordering};
use crate::id::ShardId;

/// How many connections each shard holds or was promised, and how many the process may hold.
///
/// Counts are taken by acceptors before the 101 and given back by shards at close, so a connection
/// is counted from the acceptor's decision on.
#[derive(Clone, Debug)]
pub struct Permits(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    total: AtomicU32,
    max: u32,
    shards: Box<[AtomicU32]>,
}

impl Permits {
    /// `max` places spread over `shard_count` shards.
    pub fn new(shard_count: u16, max: u32) -> Self {
        let shards = (0..shard_count).map(|_| AtomicU32::new(0)).collect();
        Self(Arc::new(Counts { total: AtomicU32::new(0), max, shards }))
    }

    /// Takes a place on the least loaded shard; `None` when the process is full.
    pub fn take(&self) -> Option<Permit> {
        let counts = &self.0;
        let taken = counts.total.fetch_update(Ordering::AcqRel, Ordering::Acquire, |total| {
            (total < counts.max).then_some(total + 1)
        });
        taken.ok()?;
        let least =
            (0u16..).zip(counts.shards.iter()).min_by_key(|(_, n)| n.load(Ordering::Relaxed));
        let (index, count) = least.expect("there is at least one shard");
        count.fetch_add(1, Ordering::AcqRel);
        Some(Permit { permits: self.clone(), shard: ShardId(index), kept: false })
    }

    /// Connections held or promised, all shards.
    pub fn total(&self) -> u32 {
        self.0.total.load(Ordering::Acquire)
    }

    /// Connections held or promised on one shard.
    pub fn on_shard(&self, shard: ShardId) -> u32 {
        self.0.shards[shard.index()].load(Ordering::Acquire)
    }

    /// The bound for the process.
    pub fn max(&self) -> u32 {
        self.0.max
    }

    /// Gives one place of `shard` back: the other half of [`Permit::keep`].
    pub fn give_back(&self, shard: ShardId) {
        let before = self.0.shards[shard.index()].fetch_sub(1, Ordering::AcqRel);
        assert!(before > 0, "more permits given back than taken");
        self.0.total.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One connection's place; given back when dropped unless [`Permit::keep`] was called.
#[derive(Debug)]
pub struct Permit {
    permits: Permits,
    shard: ShardId,
    /// True once a shard has taken over the duty to give the place back.
    kept: bool,
}

impl Permit {
    /// The shard the connection is to live on.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Hands the duty to give the place back to the shard, which calls [`Permits::give_back`] at
    /// close and so need not keep 16 bytes per connection.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.kept {
            self.permits.give_back(self.shard);
        }
    }
}
