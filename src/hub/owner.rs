//! The owner's side: streams are written, read, joined and left.
//!
//! `now` is in milliseconds on the shard's own clock and never goes back. What has expired is never
//! given out, whether or not [`Hub::expire`] has come to it yet.

use std::sync::Arc;

use super::ask::*;
use super::ledger::Ledger;
use super::stream::Stream;
use super::{ChannelId, ChannelsFull, Hub, InterestSet};
use crate::id::{ChannelName, ClientKey, ShardId};
use crate::limits;
use crate::publication::{ClientInfo, Draft, Entry, Position};

impl Hub {
    /// Owner: shard `from` listens from now on. The newest position goes back to it.
    ///
    /// # Errors
    /// The table is full.
    pub fn on_interest(
        &mut self,
        name: &ChannelName,
        from: ShardId,
        now: u64,
    ) -> Result<Position, ChannelsFull> {
        let id = self.find_or_make_stream(name, now)?;
        self.note_listener(id, from);
        let (stream, _) = self.stream_mut(id);
        Ok(stream.position)
    }

    /// Owner: shard `from` does not listen any more. True if it was the last that did.
    pub fn on_disinterest(&mut self, name: &str, from: ShardId, now: u64) -> bool {
        self.note_time(now);
        let Some(id) = self.find_stream(name) else { return false };
        let (stream, _) = self.stream_mut(id);
        // A stream that nobody listened to before is not in use now either.
        if !stream.interest.remove(from) {
            return false;
        }
        let was_last = stream.interest.is_empty();
        self.heard_count -= usize::from(was_last);
        self.note_unheard(id, now);
        was_last
    }

    /// Owner: who would get a publication of `name` now.
    pub fn interest(&self, name: &str) -> InterestSet {
        self.stream(name).map_or_else(InterestSet::default, |stream| stream.interest)
    }

    /// Owner: takes a publish; numbers it, keeps it if `options` say so, and says whom to send it
    /// to. Room in the mailbox of everyone in [`Hub::interest`] is made sure of before: once
    /// numbered, it is sent.
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
        debug_assert_eq!(self.owners.owner(name), self.shard);
        let Draft { payload, info, time_ms, options: asked } = draft;
        let known = asked.idempotency_key.as_ref();
        if let Some(position) = known.and_then(|key| self.idempotency.find(name, key, now)) {
            let interest = self.interest(name);
            return Ok(Published { position, interest, fate: Fate::Duplicate });
        }
        let id = self.find_or_make_stream(name, now)?;
        let (stream, _) = self.stream_mut(id);
        stream.note_use(options, now);
        let interest = stream.interest;
        if asked.version > 0 {
            let kept = stream.keep();
            if kept.is_stale(asked.version, asked.version_epoch.as_ref()) {
                return Ok(Published { position: stream.position, interest, fate: Fate::Stale });
            }
            kept.version = asked.version;
            kept.version_epoch = asked.version_epoch;
        }
        let mut position = stream.position;
        if options.keeps_history() && asked.skip_history {
            position.offset = 0;
        } else {
            position.offset += 1;
            stream.position = position;
        }
        let keep = options.keeps_history() && !asked.skip_history;
        let entry = (keep || !interest.is_empty()).then(|| {
            let (offset, tags, version) = (position.offset, asked.tags, asked.version);
            Arc::new(Entry { offset, time_ms, payload, tags, info, version })
        });
        match &entry {
            Some(entry) if keep => self.store(id, entry.clone(), options, now),
            // A stream is not continued with a gap.
            _ if position.offset > 0 => self.clear(id),
            _ => {}
        }
        self.settle(id);
        if let Some(key) = &asked.idempotency_key {
            self.idempotency.insert(name, key, position, now);
        }
        Ok(Published { position, interest, fate: Fate::Accepted(entry) })
    }

    /// Owner: lets a client of shard `from` join: from now on that shard listens (until its
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
        let id = self.find_or_make_stream(name, now)?;
        self.note_listener(id, from);
        let (stream, ledger) = self.stream_mut(id);
        stream.note_use(options, now);
        if let Some(info) = ask.presence {
            stream.keep().presence.insert(info);
        }
        let (recovered, publications) = stream.recover(ask.recover, now);
        let position = stream.position;
        touch(id, stream, ledger);
        Ok(Joined { position, recovered, publications })
    }

    /// Owner: takes a client out of the channel's presence. Who it was, for the notice; `None` if
    /// it was not there.
    pub fn leave(&mut self, name: &str, client: ClientKey, now: u64) -> Option<Arc<ClientInfo>> {
        self.note_time(now);
        let id = self.find_stream(name)?;
        let (stream, _) = self.stream_mut(id);
        let info = stream.kept.as_mut()?.presence.remove(client)?;
        self.note_unheard(id, now);
        Some(info)
    }

    /// Owner: a page of history. Entries that are gone are skipped without a word: whoever needs
    /// every one recovers instead.
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
        let id = self.find_or_make_stream(name, now)?;
        let (stream, ledger) = self.stream_mut(id);
        stream.note_use(options, now);
        touch(id, stream, ledger);
        let position = stream.position;
        if ask.since.is_some_and(|since| !since.epoch.fits(position.epoch)) {
            return Err(HistoryFault::Unrecoverable);
        }
        Ok(Page { position, publications: stream.page(ask, now) })
    }

    /// Owner: drops a channel's history; offset and epoch go on.
    pub fn history_remove(&mut self, name: &str) {
        if let Some(id) = self.find_stream(name) {
            self.clear(id);
        }
    }

    /// Owner: everyone in the channel's presence, in no order.
    pub fn presence(&self, name: &str) -> Vec<Arc<ClientInfo>> {
        let kept = self.stream(name).and_then(|stream| stream.kept.as_ref());
        kept.map_or_else(Vec::new, |kept| kept.presence.iter().cloned().collect())
    }

    /// Owner: how many are in the channel's presence.
    pub fn presence_stats(&self, name: &str) -> PresenceStats {
        let kept = self.stream(name).and_then(|stream| stream.kept.as_ref());
        kept.map_or_else(PresenceStats::default, |kept| kept.presence.stats())
    }

    /// Drops what has expired, at most `limits::EXPIRE_PER_CALL` things. Returns when to come back,
    /// `now` if there is more to do; `None` while nothing is kept that expires.
    pub fn expire(&mut self, now: u64) -> Option<u64> {
        self.note_time(now);
        for _ in 0..limits::EXPIRE_PER_CALL {
            if self.idempotency.drop_due(now) {
                continue;
            }
            match self.ledger.next_deadline() {
                Some((deadline, id)) if deadline <= now => self.expire_one(id, now),
                _ => break,
            }
        }
        self.next_expiry().map(|deadline| deadline.max(now))
    }

    /// When [`Hub::expire`] has something to do; `None` while nothing is kept that expires.
    pub fn next_expiry(&self) -> Option<u64> {
        let stream = self.ledger.next_deadline().map(|(deadline, _)| deadline);
        stream.into_iter().chain(self.idempotency.next_expiry()).min()
    }

    /// Bytes of history held: the sum of `Entry::size` of every entry.
    pub fn history_bytes(&self) -> usize {
        self.ledger.bytes()
    }

    /// Entries dropped because history had reached its bound in bytes, since the start.
    pub fn history_evicted_count(&self) -> u64 {
        self.history_evicted_count
    }

    /// Streams forgotten before their time because the table was full, since the start: who comes
    /// back finds another epoch.
    pub fn streams_lost_count(&self) -> u64 {
        self.streams_lost_count
    }

    /// Idempotency keys forgotten before their time because there were too many, since the start.
    pub fn idempotency_forgotten_count(&self) -> u64 {
        self.idempotency.forgotten_count()
    }

    fn note_listener(&mut self, id: ChannelId, from: ShardId) {
        let (stream, _) = self.stream_mut(id);
        let is_first = stream.interest.is_empty();
        stream.interest.insert(from);
        self.heard_count += usize::from(is_first);
    }

    fn note_time(&mut self, now: u64) {
        debug_assert!(self.now <= now, "time never goes back");
        self.now = now;
    }

    fn stream(&self, name: &str) -> Option<&Stream> {
        let id = self.by_name.get(name)?;
        self.channels[id.0 as usize].as_ref()?.stream.as_ref()
    }

    fn find_stream(&self, name: &str) -> Option<ChannelId> {
        let id = *self.by_name.get(name)?;
        self.channels[id.0 as usize].as_ref()?.stream.is_some().then_some(id)
    }

    fn stream_mut(&mut self, id: ChannelId) -> (&mut Stream, &mut Ledger) {
        let channel = self.channels[id.0 as usize].as_mut().expect("ids name existing channels");
        (channel.stream.as_mut().expect("the caller made it or found it"), &mut self.ledger)
    }

    /// The channel's stream, a new one if there is none or its time is over.
    fn find_or_make_stream(
        &mut self,
        name: &ChannelName,
        now: u64,
    ) -> Result<ChannelId, ChannelsFull> {
        self.note_time(now);
        let id = self.find_or_make(name)?;
        let channel = self.channels[id.0 as usize].as_mut().expect("just found or made");
        if let Some(stream) = channel.stream.as_mut().filter(|stream| stream.is_over(now)) {
            let kept = stream.kept.as_mut().expect("only kept metadata is ever over");
            self.ledger.remove(id, kept);
            channel.stream = None;
        }
        let random = &mut self.random;
        channel.stream.get_or_insert_with(|| Stream::new(random.u64(..)));
        Ok(id)
    }

    /// Adds the newest entry and drops the oldest ones past the stream's size.
    fn store(&mut self, id: ChannelId, entry: Arc<Entry>, options: &StreamOptions, now: u64) {
        let (stream, ledger) = self.stream_mut(id);
        let history = &mut stream.keep().history;
        ledger.add(history.push(entry, now.saturating_add(options.history_ttl_ms)));
        while history.len() > options.history_size {
            ledger.subtract(history.pop().expect("it has more than none"));
        }
    }

    /// Notes that a stream was written to, and has history fit its bound in bytes.
    fn settle(&mut self, id: ChannelId) {
        let (stream, ledger) = self.stream_mut(id);
        touch(id, stream, ledger);
        while let Some(id) = self.ledger.surplus() {
            self.history_evicted_count += 1;
            self.pop_oldest(id);
        }
    }

    /// Drops a stream's oldest entry.
    fn pop_oldest(&mut self, id: ChannelId) {
        let (stream, ledger) = self.stream_mut(id);
        let kept = stream.keep();
        ledger.subtract(kept.history.pop().expect("the ledger names streams with history"));
        if kept.history.is_empty() {
            ledger.note_empty(kept);
        }
    }

    /// Drops a stream's history.
    fn clear(&mut self, id: ChannelId) {
        let (stream, ledger) = self.stream_mut(id);
        let Some(kept) = stream.kept.as_mut() else { return };
        ledger.subtract(std::mem::take(&mut kept.history).bytes());
        ledger.note_empty(kept);
    }

    /// If nobody listens or is present any more, has the metadata live on from now, or frees what
    /// was kept for the present alone.
    fn note_unheard(&mut self, id: ChannelId, now: u64) {
        let (stream, ledger) = self.stream_mut(id);
        if stream.is_heard() {
            return;
        }
        let Some(kept) = stream.kept.as_mut() else { return };
        if kept.is_spent() {
            ledger.remove(id, kept);
            stream.kept = None;
            return;
        }
        kept.renew(now);
        plan(id, stream, ledger);
    }

    /// Drops one thing of a stream whose deadline has come, and plans its next one.
    fn expire_one(&mut self, id: ChannelId, now: u64) {
        let (stream, _) = self.stream_mut(id);
        let history = &stream.kept.as_ref().expect("it has a deadline").history;
        if history.next_expiry().is_some_and(|expires| expires <= now) {
            self.pop_oldest(id);
        } else if stream.is_over(now) {
            self.end_stream(id);
            return;
        }
        let (stream, ledger) = self.stream_mut(id);
        if stream.next_expiry().is_none_or(|next| next > now) {
            ledger.unplan(id, stream.keep());
            plan(id, stream, ledger);
        }
    }

    /// Forgets a stream, and its channel if nobody here listens.
    fn end_stream(&mut self, id: ChannelId) {
        let channel = self.channels[id.0 as usize].as_mut().expect("ids name existing channels");
        if channel.is_idle() {
            self.forget(id);
        } else if let Some(kept) = channel.stream.take().and_then(|stream| stream.kept).as_mut() {
            self.ledger.remove(id, kept);
        }
    }
}

/// Notes a use of a stream that may have history, and plans when it expires.
fn touch(id: ChannelId, stream: &mut Stream, ledger: &mut Ledger) {
    if let Some(kept) = &mut stream.kept {
        ledger.note_use(id, kept);
        plan(id, stream, ledger);
    }
}

fn plan(id: ChannelId, stream: &mut Stream, ledger: &mut Ledger) {
    let deadline = stream.next_expiry();
    if let Some(kept) = &mut stream.kept {
        ledger.plan(id, kept, deadline);
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
