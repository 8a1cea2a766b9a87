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
mod history;
mod idempotency;
mod joining;
mod ledger;
mod members;
mod owner;
mod presence;
mod registration;
mod stream;

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

pub use ask::{
    AskedEpoch, Fate, HistoryAsk, HistoryFault, JoinAsk, Joined, Page, PresenceStats, Published,
    Recover, Since, StreamOptions,
};
pub use joining::JoinTicket;
pub use members::{Member, Moves};
pub use stream::InterestSet;

use crate::id::{ChannelName, Owners, ShardId};
use crate::limits;
use crate::planted::{Bug, is_planted};
use idempotency::Idempotency;
use ledger::Ledger;
use members::Members;
use registration::{Registration, Tell};
use stream::Stream;

/// A channel on this shard: an index that may be used again once the channel is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(u32);

impl ChannelId {
    /// Its number among the channels of its shard.
    pub fn number(self) -> u32 {
        self.0
    }
}

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
    /// Joins whose answer is on its way.
    joining: u32,
    registration: Registration,
    /// Present on the owner once something was published or a shard registered.
    stream: Option<Stream>,
}

/// What one shard's hub may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HubLimits {
    /// Channels in its table.
    pub channels_max: usize,
    /// Bytes of history, as `Entry::size` counts them.
    pub history_bytes_max: usize,
    /// Idempotency keys.
    pub idempotency_keys_max: usize,
}

impl HubLimits {
    /// Those of one of `shard_count` shards, which share `history_bytes` evenly.
    pub fn of_one_in(shard_count: u16, history_bytes: usize) -> Self {
        Self {
            channels_max: limits::CHANNELS_PER_SHARD_MAX,
            history_bytes_max: history_bytes / usize::from(shard_count),
            idempotency_keys_max: limits::IDEMPOTENCY_KEYS_PER_SHARD_MAX,
        }
    }
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
    streams_lost_count: u64,
    /// Owned channels that some shard listens to.
    heard_count: usize,
    ledger: Ledger,
    history_evicted_count: u64,
    idempotency: Idempotency,
    /// The newest time a call brought.
    now: u64,
    random: fastrand::Rng,
}

impl Hub {
    /// An empty hub of `shard`. `seed` makes epochs.
    pub fn new(shard: ShardId, owners: Owners, limits: HubLimits, seed: u64) -> Self {
        Self {
            shard,
            owners,
            by_name: HashMap::default(),
            channels: Vec::new(),
            free: Vec::new(),
            untold: VecDeque::new(),
            sweep_index: 0,
            channels_max: limits.channels_max,
            evicted_count: 0,
            streams_lost_count: 0,
            heard_count: 0,
            ledger: Ledger::new(limits.history_bytes_max),
            history_evicted_count: 0,
            idempotency: Idempotency::new(limits.idempotency_keys_max),
            now: 0,
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
        self.settle_answer(id, accepted, &mut joined, &mut refused);
        self.look_at(id);
        self.forget_if_over(id);
    }

    /// An answer to this shard's interest arrived.
    fn settle_answer(
        &mut self,
        id: ChannelId,
        accepted: bool,
        joined: &mut impl FnMut(Member, u32),
        refused: &mut impl FnMut(Member),
    ) {
        let channel = self.channel_mut(id);
        let current = channel.registration.note_answer();
        if !accepted && current {
            channel.registration.note_refused();
            std::mem::take(&mut channel.waiting).into_iter().for_each(refused);
        } else if current {
            channel.admit_waiting(joined);
        }
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

    /// Local: starts the fan-out of a notice of `name`; `None` if nobody here wants to know. All
    /// members are walked, those who do not want it too.
    pub fn begin_notice(&mut self, name: &str) -> Option<ChannelId> {
        let id = *self.by_name.get(name)?;
        let members = &mut self.channel_mut(id).members;
        if !members.wants_notices() {
            return None;
        }
        members.begin_fan_out();
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

    /// The channel of this name, if the table has it.
    pub fn find(&self, name: &str) -> Option<ChannelId> {
        self.by_name.get(name).copied()
    }

    /// Channels in the table.
    pub fn channel_count(&self) -> usize {
        self.by_name.len()
    }

    /// Owner: visits the channels that some shard listens to.
    pub fn heard(&self) -> impl Iterator<Item = &ChannelName> {
        let is_heard =
            |channel: &&Channel| channel.stream.as_ref().is_some_and(|s| !s.interest.is_empty());
        self.channels.iter().flatten().filter(is_heard).map(|channel| &channel.name)
    }

    /// Owner: how many channels some shard listens to. Over all owners that is every channel with
    /// subscribers, once.
    pub fn heard_count(&self) -> usize {
        self.heard_count
    }

    /// Local: visits the channels that have members here, with their count, from slot `cursor` on,
    /// over at most `budget` slots. Returns where to go on; `None` at the end. A channel that is
    /// there all the while is visited once.
    pub fn list(
        &self,
        cursor: usize,
        budget: usize,
        mut visit: impl FnMut(&ChannelName, usize),
    ) -> Option<usize> {
        let end = cursor.saturating_add(budget).min(self.channels.len());
        for channel in self.channels.get(cursor..end)?.iter().flatten() {
            if !channel.members.is_empty() {
                visit(&channel.name, channel.members.len());
            }
        }
        (end < self.channels.len()).then_some(end)
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
            joining: 0,
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

    /// Forgets one channel that nobody listens to, at most a bounded search away. One whose stream
    /// somebody may come back for goes only if the search finds no other, and of those the one that
    /// would have been forgotten first.
    fn evict_idle(&mut self) -> bool {
        const SEARCH_MAX: usize = 256;
        let mut fallback: Option<(u64, ChannelId)> = None;
        for _ in 0..SEARCH_MAX.min(self.channels.len()) {
            self.sweep_index = (self.sweep_index + 1) % self.channels.len();
            let Some(channel) = &self.channels[self.sweep_index] else { continue };
            if !channel.is_idle() {
                continue;
            }
            let id = ChannelId(self.sweep_index as u32);
            match channel.stream.as_ref().and_then(|stream| stream.live_until(self.now)) {
                Some(until) => {
                    let found = (until, id);
                    fallback = Some(fallback.map_or(found, |fallback| fallback.min(found)));
                }
                None => {
                    self.evicted_count += 1;
                    self.forget(id);
                    return true;
                }
            }
        }
        let Some((_, id)) = fallback else { return false };
        self.evicted_count += 1;
        self.streams_lost_count += 1;
        self.forget(id);
        true
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
        let mut channel = self.channels[id.0 as usize].take().expect("forgotten once");
        if let Some(kept) = channel.stream.as_mut().and_then(|stream| stream.kept.as_mut()) {
            self.ledger.remove(id, kept);
        }
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
}

impl Channel {
    /// Makes members of those who wait: publications reach this shard without a gap from now on.
    fn admit_waiting(&mut self, joined: &mut impl FnMut(Member, u32)) {
        for member in std::mem::take(&mut self.waiting) {
            let index = self.members.add(member);
            joined(member, index);
        }
    }

    fn is_wanted(&self) -> bool {
        let spared = usize::from(is_planted(Bug::ReferenceCountOffByOne));
        self.members.len() > spared || !self.waiting.is_empty() || self.joining > 0
    }

    /// Whether it may be forgotten: nobody here listens, no shard does, nobody is present, nothing
    /// is to be told and no answer is on its way.
    fn is_idle(&self) -> bool {
        let unheard = self.stream.as_ref().is_none_or(|stream| !stream.is_heard());
        !self.is_wanted() && !self.registration.queued && self.registration.is_over() && unheard
    }
}

#[cfg(test)]
mod tests;
