//! The owner's side of a channel.

use crate::id::ShardId;
use crate::publication::{Epoch, Position};

/// The shards that listen to a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterestSet(u64);

const _: () = assert!(crate::limits::SHARDS_MAX as u32 <= u64::BITS);

impl InterestSet {
    pub(super) fn insert(&mut self, shard: ShardId) {
        self.0 |= 1 << shard.0;
    }

    pub(super) fn remove(&mut self, shard: ShardId) {
        self.0 &= !(1 << shard.0);
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
}

impl Stream {
    pub(super) fn new(random: u64) -> Self {
        let position = Position { offset: 0, epoch: Epoch::from_random(random) };
        Self { position, interest: InterestSet::default() }
    }
}
