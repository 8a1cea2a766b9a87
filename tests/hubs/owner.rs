//! What owners do with requests, and what backends and clients ask of them.

use super::*;

impl World {
    /// An owner looks at the next request of some shard.
    pub(super) fn take_request(&mut self, owner: usize) {
        let from = self.random.usize(..SHARDS);
        let Some(request) = self.requests[from][owner].pop_front() else { return };
        let from_id = ShardId(from as u16);
        let (Request::Interest { channel }
        | Request::Disinterest { channel }
        | Request::Join { channel, .. }) = request;
        // An owner with a full table refuses whoever it does not know yet.
        let known = self.streams[channel].interest.contains(&from);
        let refused = !known && self.random.u8(..4) == 0;
        let name = self.names[channel].clone();
        let delivery = match request {
            Request::Disinterest { .. } => {
                self.locals[owner].hub.on_disinterest(&name, from_id, self.now);
                self.streams[channel].interest.remove(&from);
                return;
            }
            Request::Interest { .. } if refused => Delivery::Registered { channel, accepted: None },
            Request::Join { slot, ticket, .. } if refused => {
                Delivery::Joined { channel, slot, ticket, answer: None }
            }
            Request::Interest { .. } => {
                let position = self.locals[owner].hub.on_interest(&name, from_id, self.now);
                let position = position.expect("room");
                self.check_position(channel, position);
                self.streams[channel].interest.insert(from);
                Delivery::Registered { channel, accepted: Some(position) }
            }
            Request::Join { slot, ticket, since, .. } => {
                let answer = Some(self.join(channel, from, slot, since));
                Delivery::Joined { channel, slot, ticket, answer }
            }
        };
        self.deliveries[owner][from].push_back(delivery);
        self.count(if refused { "refusal" } else { "answer" });
    }

    pub(super) fn join(
        &mut self,
        channel: usize,
        from: usize,
        slot: u32,
        since: Option<u64>,
    ) -> Joined {
        let name = self.names[channel].clone();
        let offset_asked = since.map(|offset| Since { offset, epoch: AskedEpoch::Any });
        let recover = offset_asked.map_or(Recover::No, Recover::Stream);
        let info = client(slot);
        let ask = JoinAsk { recover, presence: Some(info.clone()) };
        let (options, owner, now) = (options_of(channel), self.owners[channel], self.now);
        let hub = &mut self.locals[owner].hub;
        let joined = hub.join(&name, ShardId(from as u16), ask, &options, now).expect("room");
        self.check_position(channel, joined.position);
        let stream = &mut self.streams[channel];
        stream.interest.insert(from);
        stream.present.insert(info.client, info);
        stream.entries.retain(|(expires, _)| *expires > now);
        let wanted = since.unwrap_or(stream.offset) + 1..=stream.offset;
        let entries = stream.entries.iter().map(|(_, entry)| entry);
        let found: Vec<_> = entries.filter(|entry| wanted.contains(&entry.offset)).collect();
        let whole = found.iter().map(|entry| entry.offset).eq(wanted);
        assert_eq!(joined.recovered, since.is_some() && whole);
        if joined.recovered {
            assert!(joined.publications.iter().eq(found));
        } else {
            assert!(joined.publications.is_empty());
        }
        joined
    }

    /// The owner told a position: the stream's newest.
    pub(super) fn check_position(&mut self, channel: usize, position: Position) {
        let stream = &mut self.streams[channel];
        assert_eq!(position.offset, stream.offset);
        assert_eq!(*stream.epoch.get_or_insert(position.epoch), position.epoch);
    }

    pub(super) fn publish(&mut self, channel: usize) {
        let (owner, now, options) = (self.owners[channel], self.now, options_of(channel));
        let draft = Draft::plain(Payload::text("x"), 0);
        let hub = &mut self.locals[owner].hub;
        let published = hub.publish(&self.names[channel], draft, &options, now).expect("room");
        self.streams[channel].offset += 1;
        self.check_position(channel, published.position);
        let stream = &mut self.streams[channel];
        let listening: Vec<_> = published.interest.iter().map(ShardId::index).collect();
        assert!(listening.iter().eq(&stream.interest), "{listening:?}");
        let Fate::Accepted(entry) = published.fate else { panic!("neither old nor known") };
        assert_eq!(entry.is_some(), !listening.is_empty() || options.keeps_history());
        if let Some(entry) = entry.filter(|_| options.keeps_history()) {
            stream.entries.push((now + HISTORY_TTL_MS, entry));
            if stream.entries.len() > HISTORY_SIZE {
                stream.entries.remove(0);
            }
        }
        let offset = stream.offset;
        for shard in listening {
            self.deliveries[owner][shard].push_back(Delivery::Publication { channel, offset });
        }
        self.count("publish");
    }

    pub(super) fn history(&mut self, channel: usize) {
        let (owner, now, options) = (self.owners[channel], self.now, options_of(channel));
        let ask = HistoryAsk { limit: 3, since: None, reverse: true };
        let page = self.locals[owner].hub.history(&self.names[channel], ask, &options, now);
        let page = page.expect("room");
        self.check_position(channel, page.position);
        let stream = &mut self.streams[channel];
        stream.entries.retain(|(expires, _)| *expires > now);
        let newest = stream.entries.iter().rev().take(3).map(|(_, entry)| entry);
        assert!(page.publications.iter().eq(newest));
        self.count("history");
    }

    /// A client's leave reaches the owner.
    pub(super) fn leave(&mut self, channel: usize) {
        let stream = &mut self.streams[channel];
        let Some(key) = stream.present.keys().next().copied() else { return };
        let left = self.locals[self.owners[channel]].hub.leave(&self.names[channel], key, self.now);
        assert_eq!(left, stream.present.remove(&key));
        self.count("leave");
    }
}
