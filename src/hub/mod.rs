//! Channels of one shard.
