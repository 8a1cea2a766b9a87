//! The channels of one shard: who listens here, and the streams this shard owns.
//!
//! A channel has up to two roles on a shard, in one entry:
//!
//! * **local**: members on this shard, and whether the owner knows that this shard listens;
//! * **owned**: offset, epoch and the set of shards that listen, on the owner only.
//!
//! Values in, values out: what owners must be told comes out of [`Hub::poll_mail`], and the shard
//! mails it when there is room. A shard tells itself in the same way, through its own queue, so
//! that a subscription takes its place among the publications like everybody else's. Nothing here
//! knows frames, sockets or mailboxes.

mod ask;
mod members;
mod owner;
mod registration;
mod stream;

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

pub use ask::{
    AskedEpoch, Fate, HistoryAsk, HistoryFault, JoinAsk, Joined, Page, PresenceStats, Published,
    Recover, Since, StreamOptions,
};
pub use members::{Member, Moves};
pub use stream::InterestSet;

use crate::id::{ChannelName, Owners, ShardId};
use crate::publication::Position;
use members::Members;
use registration::{Registration, Tell};
use stream::Stream;

/// A channel on this shard: an index that may be used again once the channel is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChannelId(u32);

/// One connection's place in one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The channel.
    pub channel: ChannelId,
    /// Where among the members (or, before the owner answered, among those who wait).
    pub place: Place,
}

/// Where a subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Publications are delivered; the index among the members.
    Member(u32),
    /// The owner has not answered yet.
    Waiting,
    /// The owner refused; the hub knows nothing of it.
    Refused,
}

/// A join on its way to the owner and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinTicket {
    /// The channel.
    pub channel: ChannelId,
    /// Whether it is this join that tells the owner of this shard's interest.
    asked: bool,
}

/// What the owner of a channel must be told.
#[derive(Debug, PartialEq, Eq)]
pub enum InterestMail {
    /// This shard listens from now on.
    Interest(ChannelName),
    /// This shard does not listen any more.
    Disinterest(ChannelName),
}

/// A table of channels is full and holds no idle one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shard's table of channels is full")]
pub struct ChannelsFull;

#[derive(Debug)]
struct Channel {
    name: ChannelName,
    members: Members,
    waiting: Vec<Member>,
    registration: Registration,
    /// Present on the owner once something was published or a shard registered.
    stream: Option<Stream>,
}

/// All channels of one shard.
#[derive(Debug)]
pub struct Hub {
    shard: ShardId,
    owners: Owners,
    by_name: HashMap<ChannelName, ChannelId, RandomState>,
    channels: Vec<Option<Channel>>,
    free: Vec<u32>,
    /// Channels whose owner may have to be told something; each at most once.
    untold: VecDeque<ChannelId>,
    /// Where the search for an idle channel goes on.
    sweep_index: usize,
    channels_max: usize,
    evicted_count: u64,
    random: fastrand::Rng,
}

impl Hub {
    /// An empty hub of `shard` that holds at most `channels_max` channels. `seed` makes epochs.
    pub fn new(shard: ShardId, owners: Owners, channels_max: usize, seed: u64) -> Self {
        Self {
            shard,
            owners,
            by_name: HashMap::default(),
            channels: Vec::new(),
            free: Vec::new(),
            untold: VecDeque::new(),
            sweep_index: 0,
            channels_max,
            evicted_count: 0,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Subscribes a connection. `Place::Member`: publications flow from now on. `Place::Waiting`:
    /// they flow once [`Hub::on_registered`] names the member.
    ///
    /// # Errors
    /// The table is full.
    pub fn subscribe(
        &mut self,
        name: &ChannelName,
        member: Member,
    ) -> Result<Subscription, ChannelsFull> {
        let id = self.find_or_make(name)?;
        let channel = self.channel_mut(id);
        let place = if channel.registration.is_live() {
            Place::Member(channel.members.add(member))
        } else {
            channel.waiting.push(member);
            Place::Waiting
        };
        self.look_at(id);
        Ok(Subscription { channel: id, place })
    }

    /// Ends a subscription. Says which members moved, so that their connections can be told.
    pub fn unsubscribe(&mut self, subscription: Subscription, member: Member) -> Moves {
        let channel = self.channel_mut(subscription.channel);
        let moves = match subscription.place {
            Place::Member(index) => channel.members.remove(index),
            Place::Waiting => {
                channel.waiting.retain(|waiting| *waiting != member);
                [None, None]
            }
            Place::Refused => panic!("a refused subscription has nothing to end"),
        };
        self.look_at(subscription.channel);
        moves
    }

    /// Begins a subscription that asks the owner by [`Hub::join`]: call it when the mail to the owner
    /// is sent. The ticket travels with it; the channel is kept until the answer came and
    /// [`Hub::finish_join`] or [`Hub::abandon_join`] took the ticket back.
    ///
    /// # Errors
    /// The table is full; send no mail.
    pub fn begin_join(&mut self, name: &ChannelName) -> Result<JoinTicket, ChannelsFull> {
        todo!()
    }

    /// The owner let the member in: publications flow from now on. Returns its place. `joined` is
    /// called for those of [`Hub::subscribe`] whom the same answer lets in.
    pub fn finish_join(
        &mut self,
        ticket: JoinTicket,
        member: Member,
        joined: impl FnMut(Member, u32),
    ) -> Place {
        todo!()
    }

    /// The answer came and admits nobody: the connection is gone or wants the channel no more, or
    /// (`accepted` false) the owner refused. `joined` and `refused` are called for those of
    /// [`Hub::subscribe`] to whom the same answer matters.
    pub fn abandon_join(
        &mut self,
        ticket: JoinTicket,
        accepted: bool,
        joined: impl FnMut(Member, u32),
        refused: impl FnMut(Member),
    ) {
        todo!()
    }

    /// Local: visits the channels that have members here, with their count, from slot `cursor` on,
    /// over at most `budget` slots. Returns where to go on; `None` at the end. A channel that is
    /// there all the while is visited once.
    pub fn list(
        &self,
        cursor: usize,
        budget: usize,
        visit: impl FnMut(&ChannelName, usize),
    ) -> Option<usize> {
        todo!()
    }

    /// The next thing an owner must be told; `can_send` says whether there is room in the owner's
    /// mailbox. Channels without room stay queued. `None`: nothing that can be told now.
    pub fn poll_mail(
        &mut self,
        mut can_send: impl FnMut(ShardId) -> bool,
    ) -> Option<(ShardId, InterestMail)> {
        for _ in 0..self.untold.len() {
            let id = self.untold.pop_front().expect("counted");
            let channel = self.channels[id.0 as usize].as_ref().expect("queued channels exist");
            let wanted = channel.is_wanted();
            let tell = channel.registration.tell(wanted);
            let owner = self.owners.owner(&channel.name);
            if tell != Tell::Nothing && !can_send(owner) {
                self.untold.push_back(id);
                continue;
            }
            let channel = self.channel_mut(id);
            channel.registration.queued = false;
            channel.registration.note_told(tell);
            let name = channel.name.clone();
            self.forget_if_over(id);
            match tell {
                Tell::Nothing => {}
                Tell::Interest => return Some((owner, InterestMail::Interest(name))),
                Tell::Disinterest => return Some((owner, InterestMail::Disinterest(name))),
            }
        }
        None
    }

    /// The owner answered. Calls `joined` for every waiting member with its new index, or `refused`
    /// if the owner's table was full; those members are subscribed no more.
    pub fn on_registered(
        &mut self,
        name: &str,
        accepted: bool,
        mut joined: impl FnMut(Member, u32),
        mut refused: impl FnMut(Member),
    ) {
        let id = *self.by_name.get(name).expect("a channel with an answer owed is kept");
        let channel = self.channel_mut(id);
        let current = channel.registration.note_answer();
        if !accepted && current {
            channel.registration.note_refused();
            std::mem::take(&mut channel.waiting).into_iter().for_each(&mut refused);
        } else if current {
            for member in std::mem::take(&mut channel.waiting) {
                let index = channel.members.add(member);
                joined(member, index);
            }
        }
        self.look_at(id);
        self.forget_if_over(id);
    }

    /// Owner: shard `from` listens from now on. The newest position goes back to it.
    ///
    /// # Errors
    /// The table is full.
    pub fn on_interest(
        &mut self,
        name: &ChannelName,
        from: ShardId,
    ) -> Result<Position, ChannelsFull> {
        let id = self.find_or_make(name)?;
        let stream = self.stream_mut(id);
        stream.interest.insert(from);
        Ok(stream.position)
    }

    /// Owner: shard `from` does not listen any more.
    pub fn on_disinterest(&mut self, name: &str, from: ShardId, now: u64) {
        if let Some(id) = self.by_name.get(name).copied() {
            self.stream_mut(id).interest.remove(from);
        }
    }

    /// Owner: who would get a publication of `name` now.
    pub fn interest(&self, name: &str) -> InterestSet {
        let stream = self.by_name.get(name).and_then(|id| {
            self.channels[id.0 as usize].as_ref().and_then(|channel| channel.stream.as_ref())
        });
        stream.map_or_else(InterestSet::default, |stream| stream.interest)
    }

    /// Owner: numbers a publication. Room in every interested shard's mailbox is made sure of
    /// before: once numbered, it is sent.
    ///
    /// # Errors
    /// The table is full; nothing was numbered.
    pub fn number(&mut self, name: &ChannelName) -> Result<(Position, InterestSet), ChannelsFull> {
        debug_assert_eq!(self.owners.owner(name), self.shard);
        let id = self.find_or_make(name)?;
        let stream = self.stream_mut(id);
        stream.position.offset += 1;
        Ok((stream.position, stream.interest))
    }

    /// Local: starts the fan-out of a publication of `name`; `None` if nobody listens here.
    pub fn begin_fan_out(&mut self, name: &str) -> Option<ChannelId> {
        let id = *self.by_name.get(name)?;
        let channel = self.channel_mut(id);
        if channel.members.is_empty() {
            return None;
        }
        channel.members.begin_fan_out();
        Some(id)
    }

    /// The next member that is owed the publication; `None` when everyone has it.
    pub fn next_owed(&mut self, id: ChannelId) -> Option<Member> {
        // The channel may have been forgotten, even its index reused, since the last piece: then
        // nobody is owed anything.
        self.channels.get_mut(id.0 as usize)?.as_mut()?.members.next_owed()
    }

    /// A channel's name.
    pub fn name(&self, id: ChannelId) -> &ChannelName {
        let channel = self.channels[id.0 as usize].as_ref();
        &channel.expect("ids name channels that exist").name
    }

    /// Channels in the table.
    pub fn channel_count(&self) -> usize {
        self.by_name.len()
    }

    /// Idle channels forgotten because the table was full, since the start.
    pub fn evicted_count(&self) -> u64 {
        self.evicted_count
    }

    fn find_or_make(&mut self, name: &ChannelName) -> Result<ChannelId, ChannelsFull> {
        if let Some(id) = self.by_name.get(name) {
            return Ok(*id);
        }
        if self.by_name.len() >= self.channels_max && !self.evict_idle() {
            return Err(ChannelsFull);
        }
        let channel = Channel {
            name: name.clone(),
            members: Members::default(),
            waiting: Vec::new(),
            registration: Registration::default(),
            stream: None,
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.channels.push(None);
            u32::try_from(self.channels.len() - 1).expect("channels_max fits a u32")
        });
        self.channels[index as usize] = Some(channel);
        let id = ChannelId(index);
        self.by_name.insert(name.clone(), id);
        Ok(id)
    }

    /// Forgets one channel that nobody listens to, at most a bounded search away.
    fn evict_idle(&mut self) -> bool {
        const SEARCH_MAX: usize = 256;
        for _ in 0..SEARCH_MAX.min(self.channels.len()) {
            self.sweep_index = (self.sweep_index + 1) % self.channels.len();
            let idle = self.channels[self.sweep_index].as_ref().is_some_and(Channel::is_idle);
            if idle {
                self.evicted_count += 1;
                self.forget(ChannelId(self.sweep_index as u32));
                return true;
            }
        }
        false
    }

    /// Forgets a channel without a stream that nobody here listens to. Channels with a stream stay:
    /// their offsets go on until the table is full.
    fn forget_if_over(&mut self, id: ChannelId) {
        let channel = self.channel_mut(id);
        if channel.is_idle() && channel.stream.is_none() {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: ChannelId) {
        let channel = self.channels[id.0 as usize].take().expect("forgotten once");
        self.by_name.remove(&channel.name);
        self.free.push(id.0);
    }

    /// Queues a channel whose owner may have to be told something.
    fn look_at(&mut self, id: ChannelId) {
        let channel = self.channel_mut(id);
        let tell = channel.registration.tell(channel.is_wanted());
        if tell != Tell::Nothing && !channel.registration.queued {
            channel.registration.queued = true;
            self.untold.push_back(id);
        }
    }

    fn channel_mut(&mut self, id: ChannelId) -> &mut Channel {
        self.channels[id.0 as usize].as_mut().expect("ids name channels that exist")
    }

    fn stream_mut(&mut self, id: ChannelId) -> &mut Stream {
        let channel = self.channels[id.0 as usize].as_mut().expect("ids name existing channels");
        let random = &mut self.random;
        channel.stream.get_or_insert_with(|| Stream::new(random.u64(..)))
    }
}

impl Channel {
    fn is_wanted(&self) -> bool {
        !self.members.is_empty() || !self.waiting.is_empty()
    }

    /// Whether it may be forgotten: nobody here listens, no shard does, nothing is to be told and
    /// no answer is on its way.
    fn is_idle(&self) -> bool {
        let unheard = self.stream.as_ref().is_none_or(|stream| stream.interest.is_empty());
        !self.is_wanted() && !self.registration.queued && self.registration.is_over() && unheard
    }
}

#[cfg(test)]
mod tests;
