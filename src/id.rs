//! Names of things that cross module and thread borders: shards, connections, channels.
//!
//! Ids are newtypes so that a slot can never be taken for a shard. A leaf: imports nothing of ours.

use std::fmt;
use std::hash::BuildHasher;
use std::num::NonZeroU16;
use std::sync::Arc;

use foldhash::fast::RandomState;

/// One event loop: the index of a shard thread, dense from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The shard's position in arrays that hold one entry per shard.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One connection on its shard: a slot and how often that slot has been taken.
///
/// A completion or a piece of mail that names an older generation is stale: it is counted and
/// ignored. Generations use [`GENERATION_BITS`] bits, as many as fit beside slot and operation in
/// an io_uring `user_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId {
    /// Index of the slot in the shard's table.
    pub slot: u32,
    /// How often the slot has been taken, modulo 2^[`GENERATION_BITS`].
    pub generation: u32,
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

/// Bits of a generation that survive the round trip through the kernel.
pub const GENERATION_BITS: u32 = 24;

/// A client to the outside: a random UUID (RFC 9562 section 5.4) that names one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey(u128);

impl ClientKey {
    /// The UUID of version 4 whose other 122 bits are those of `random`.
    pub fn from_random(random: u128) -> Self {
        const VERSION: u128 = 0xF << 76;
        const VARIANT: u128 = 0b11 << 62;
        Self(random & !VERSION & !VARIANT | 4 << 76 | 0b10 << 62)
    }
}

impl ClientKey {
    /// The key that is written so; `None` if none is.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let is_dash = |index: usize| matches!(index, 8 | 13 | 18 | 23);
        if bytes.len() != 36 {
            return None;
        }
        let mut key = 0;
        for (index, byte) in bytes.iter().enumerate() {
            match (is_dash(index), byte) {
                (true, b'-') => {}
                (false, b'0'..=b'9' | b'a'..=b'f') => {
                    key = key << 4 | u128::from(char::from(*byte).to_digit(16)?);
                }
                _ => return None,
            }
        }
        Some(Self(key))
    }
}

impl fmt::Display for ClientKey {
    /// 8-4-4-4-12 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |shift: u32, bits: u32| self.0 >> shift & ((1 << bits) - 1);
        let (low, mid, version) = (part(96, 32), part(80, 16), part(64, 16));
        write!(f, "{low:08x}-{mid:04x}-{version:04x}-{:04x}-{:012x}", part(48, 16), part(0, 48))
    }
}

/// What a client alone is told of itself: its id and a secret. Who shows it is that client, which
/// others see in presence by id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionKey {
    /// Who it is.
    pub client: ClientKey,
    /// What proves it.
    pub secret: u128,
}

impl SessionKey {
    /// The key that is written so; `None` if none is.
    pub fn parse(text: &str) -> Option<Self> {
        let (client, secret) = text.rsplit_once('-')?;
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if secret.len() != 32 || !secret.as_bytes().iter().all(is_digit) {
            return None;
        }
        let secret = u128::from_str_radix(secret, 16).ok()?;
        Some(Self { client: ClientKey::parse(client)?, secret })
    }
}

impl fmt::Display for SessionKey {
    /// The id, a dash and 32 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:032x}", self.client, self.secret)
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-[secret]", self.client)
    }
}

/// A channel's name, shared between threads. Compared and hashed as text.
pub type ChannelName = Arc<str>;

/// Which shard owns a channel: a keyed hash of the name, equal in every clone.
///
/// Outside names never meet an unkeyed hash (hash flooding); the key is drawn once per process.
#[derive(Clone, Debug)]
pub struct Owners {
    hasher: RandomState,
    shard_count: NonZeroU16,
}

impl Owners {
    /// Draws a fresh key for `shard_count` shards.
    pub fn new(shard_count: NonZeroU16) -> Self {
        Self { hasher: RandomState::default(), shard_count }
    }

    /// The shard that numbers `channel`'s publications.
    pub fn owner(&self, channel: &str) -> ShardId {
        let hash = self.hasher.hash_one(channel);
        // The high half of the product spreads a 64-bit hash over n without a division.
        let wide = u128::from(hash) * u128::from(self.shard_count.get());
        ShardId(u16::try_from(wide >> 64).expect("the product's high half is below a u16"))
    }

    /// Stands for a name in sets that all threads agree on: equal for equal names in every clone.
    pub fn fingerprint(&self, name: &str) -> u64 {
        self.hasher.hash_one(name)
    }

    /// How many shards there are.
    pub fn shard_count(&self) -> u16 {
        self.shard_count.get()
    }
}
