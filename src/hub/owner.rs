//! The owner's side: streams are written, read, joined and left.
//!
//! `now` is in milliseconds on the shard's own clock and never goes back. What has expired is never
//! given out, whether or not [`Hub::expire`] has come to it yet.

use std::sync::Arc;

use super::ask::*;
use super::{ChannelsFull, Hub};
use crate::id::{ChannelName, ClientKey, ShardId};
use crate::publication::{ClientInfo, Draft};

impl Hub {
    /// Takes a publish: numbers it, keeps it if `options` say so, and says whom to send it to. Room
    /// in the mailbox of everyone in [`Hub::interest`] is made sure of before: once numbered, it is
    /// sent.
    ///
    /// # Errors
    /// The table is full; nothing was numbered.
    pub fn publish(
        &mut self,
        name: &ChannelName,
        draft: Draft,
        options: &StreamOptions,
        now: u64,
    ) -> Result<Published, ChannelsFull> {
        todo!()
    }

    /// Lets a client of shard `from` join: from now on that shard listens (until its
    /// disinterest comes), and the client is present if `ask` says who it is. What it missed is
    /// looked up in the same step, so nothing is numbered between the answer and what follows it.
    ///
    /// # Errors
    /// The table is full; the shard does not listen.
    pub fn join(
        &mut self,
        name: &ChannelName,
        from: ShardId,
        ask: JoinAsk,
        options: &StreamOptions,
        now: u64,
    ) -> Result<Joined, ChannelsFull> {
        todo!()
    }

    /// Takes a client out of the channel's presence. Who it was, for the notice; `None` if it was
    /// not there.
    pub fn leave(&mut self, name: &str, client: ClientKey, now: u64) -> Option<Arc<ClientInfo>> {
        todo!()
    }

    /// A page of history. Entries that are gone are skipped without a word: whoever needs every
    /// one recovers instead.
    ///
    /// # Errors
    /// Another epoch was asked for, or the channel is unknown and the table is full.
    pub fn history(
        &mut self,
        name: &ChannelName,
        ask: HistoryAsk,
        options: &StreamOptions,
        now: u64,
    ) -> Result<Page, HistoryFault> {
        todo!()
    }

    /// Drops a channel's history; offset and epoch go on.
    pub fn history_remove(&mut self, name: &str, now: u64) {
        todo!()
    }

    /// Everyone in the channel's presence, in no order.
    pub fn presence(&self, name: &str) -> Vec<Arc<ClientInfo>> {
        todo!()
    }

    /// How many are in the channel's presence.
    pub fn presence_stats(&self, name: &str) -> PresenceStats {
        todo!()
    }

    /// Drops what has expired, at most `limits::EXPIRE_PER_CALL` things. Returns when to come back:
    /// `now` if there is more to do.
    pub fn expire(&mut self, now: u64) -> Option<u64> {
        todo!()
    }

    /// Bytes of history held: the sum of `Entry::size` of every entry.
    pub fn history_bytes(&self) -> usize {
        todo!()
    }

    /// Entries dropped because history had reached its bound in bytes, since the start.
    pub fn history_evicted_count(&self) -> u64 {
        todo!()
    }
}
