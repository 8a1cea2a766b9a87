//! Three hubs, the lanes between them, and a plain model of both.
//!
//! The model knows what the owners have published, who listens to what and who was promised what
//! from which publication on; it knows nothing of registrations, tickets or the order of members.

mod local;
mod owner;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU16;
use std::sync::Arc;

use tidegate::hub::{
    AskedEpoch, ChannelId, Fate, HistoryAsk, Hub, HubLimits, InterestMail, JoinAsk, JoinTicket,
    Joined, Member, Place, Recover, Since, StreamOptions, Subscription,
};
use tidegate::id::{ChannelName, ClientKey, ConnId, Owners, ShardId};
use tidegate::publication::{ClientInfo, Draft, Entry, Epoch, Payload, Position};

const SHARDS: usize = 3;
const CHANNELS: usize = 6;
/// Few, so that channels are often without any.
const SUBSCRIPTIONS_MAX: usize = 10;
const HISTORY_SIZE: usize = 4;
const HISTORY_TTL_MS: u64 = 300;

/// Every second channel keeps history.
fn options_of(channel: usize) -> StreamOptions {
    let history_size = if channel.is_multiple_of(2) { HISTORY_SIZE } else { 0 };
    // Longer than any run: streams do not end here, the model of the owner is about that.
    let history_meta_ttl_ms = u64::MAX / 4;
    StreamOptions { history_size, history_ttl_ms: HISTORY_TTL_MS, history_meta_ttl_ms }
}

/// What goes from a shard to an owner.
enum Request {
    Interest { channel: usize },
    Disinterest { channel: usize },
    Join { channel: usize, slot: u32, ticket: JoinTicket, since: Option<u64> },
}

/// What goes from an owner to a shard.
enum Delivery {
    Publication { channel: usize, offset: u64 },
    Registered { channel: usize, accepted: Option<Position> },
    Joined { channel: usize, slot: u32, ticket: JoinTicket, answer: Option<Joined> },
}

/// What the owner of a channel has.
#[derive(Default)]
struct Stream {
    epoch: Option<Epoch>,
    offset: u64,
    entries: Vec<(u64, Arc<Entry>)>,
    interest: BTreeSet<usize>,
    present: BTreeMap<ClientKey, Arc<ClientInfo>>,
}

/// One subscription of one client.
struct Subscriber {
    channel: usize,
    state: State,
}

enum State {
    /// Of `Hub::subscribe`, not admitted yet.
    Waiting(Subscription),
    /// Of `Hub::begin_join`; `abandoned`: its client is gone.
    Joining { abandoned: bool },
    /// Gets everything from this offset on.
    Member { subscription: Subscription, next: u64 },
}

/// One shard: the hub under test and what the model knows of its clients.
struct Local {
    hub: Hub,
    subscribers: BTreeMap<u32, Subscriber>,
    /// The fan-out that was cut: which channel's publication, and who is still owed it.
    fan_out: Option<(ChannelId, u64, BTreeSet<u32>)>,
    /// Of each channel the newest offset that a publication or an answer brought here.
    delivered: [u64; CHANNELS],
}

pub(crate) struct World {
    random: fastrand::Rng,
    names: Vec<ChannelName>,
    owners: Vec<usize>,
    locals: Vec<Local>,
    streams: Vec<Stream>,
    /// By sender, then receiver.
    requests: [[VecDeque<Request>; SHARDS]; SHARDS],
    deliveries: [[VecDeque<Delivery>; SHARDS]; SHARDS],
    next_slot: u32,
    now: u64,
    /// How often something of each kind happened.
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let owners = Owners::new(NonZeroU16::new(SHARDS as u16).expect("not zero"));
        let names: Vec<_> = (0..CHANNELS).map(|n| ChannelName::from(format!("c{n}"))).collect();
        let limits = HubLimits { channels_max: 2 * CHANNELS, ..HubLimits::of_one_in(1, 1 << 30) };
        let local = |shard| Local {
            hub: Hub::new(ShardId(shard), owners.clone(), limits, seed ^ u64::from(shard)),
            subscribers: BTreeMap::new(),
            fan_out: None,
            delivered: [0; CHANNELS],
        };
        Self {
            random: fastrand::Rng::with_seed(seed),
            owners: names.iter().map(|name| owners.owner(name).index()).collect(),
            names,
            locals: (0..SHARDS as u16).map(local).collect(),
            streams: (0..CHANNELS).map(|_| Stream::default()).collect(),
            requests: std::array::from_fn(|_| Default::default()),
            deliveries: std::array::from_fn(|_| Default::default()),
            next_slot: 0,
            now: 0,
            counts: BTreeMap::new(),
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// One thing happens somewhere.
    pub(crate) fn step(&mut self) {
        let (shard, channel) = (self.random.usize(..SHARDS), self.random.usize(..CHANNELS));
        let is_full = self.locals[shard].subscribers.len() >= SUBSCRIPTIONS_MAX;
        match self.random.u8(..16) {
            0 if !is_full => self.subscribe(shard, channel),
            1 if !is_full => self.begin_join(shard, channel),
            2 | 3 => self.unsubscribe(shard),
            4 | 5 => self.mail_interest(shard),
            6 | 7 => self.take_request(shard),
            8 | 9 => self.take_delivery(shard),
            10 => self.publish(channel),
            11 => self.history(channel),
            12 => self.leave(channel),
            13 => _ = self.fan_out(shard, 2),
            14 => self.now += self.random.u64(..HISTORY_TTL_MS / 8),
            _ => _ = self.locals[shard].hub.expire(self.now),
        }
    }

    /// What must hold between any two steps.
    pub(crate) fn check(&self) {
        for (channel, stream) in self.streams.iter().enumerate() {
            let (hub, name) = (&self.locals[self.owners[channel]].hub, &self.names[channel]);
            assert!(
                hub.interest(name).iter().map(ShardId::index).eq(stream.interest.iter().copied())
            );
            assert_eq!(hub.presence_stats(name).num_clients, stream.present.len());
        }
        for local in &self.locals {
            let mut counts: BTreeMap<_, usize> = BTreeMap::new();
            for subscriber in local.subscribers.values() {
                if matches!(subscriber.state, State::Member { .. }) {
                    *counts.entry(&self.names[subscriber.channel]).or_default() += 1;
                }
            }
            let mut listed = BTreeMap::new();
            let end = local.hub.list(0, usize::MAX, |name, count| {
                assert!(listed.insert(name.clone(), count).is_none(), "listed once");
            });
            assert_eq!(end, None);
            assert!(listed.iter().map(|(name, count)| (name, *count)).eq(counts));
        }
    }

    /// Everything on its way arrives: nobody waits, and owners know exactly who listens.
    pub(crate) fn quiesce(&mut self) {
        let mut idle = 0;
        for _ in 0..20_000 {
            for shard in 0..SHARDS {
                self.mail_interest(shard);
                self.take_request(shard);
                self.take_delivery(shard);
            }
            let requests = self.requests.iter().flatten().all(VecDeque::is_empty);
            let deliveries = self.deliveries.iter().flatten().all(VecDeque::is_empty);
            let fan_outs = self.locals.iter().all(|local| local.fan_out.is_none());
            // Whether an owner has room for mail is left to chance.
            idle = if requests && deliveries && fan_outs { idle + 1 } else { 0 };
            if idle == 50 {
                break;
            }
        }
        assert!(self.requests.iter().flatten().all(VecDeque::is_empty));
        assert!(self.deliveries.iter().flatten().all(VecDeque::is_empty));
        for (shard, local) in self.locals.iter_mut().enumerate() {
            assert!(local.hub.poll_mail(|_| true).is_none(), "all is told");
            let subscribers = local.subscribers.values();
            let waiting = |one: &&Subscriber| !matches!(one.state, State::Member { .. });
            assert_eq!(subscribers.clone().filter(waiting).count(), 0, "nobody waits");
            let listened: BTreeSet<_> = subscribers.map(|one| one.channel).collect();
            for (channel, stream) in self.streams.iter().enumerate() {
                assert_eq!(stream.interest.contains(&shard), listened.contains(&channel));
            }
        }
        for local in &self.locals {
            for one in local.subscribers.values() {
                let State::Member { next, .. } = one.state else { unreachable!("checked") };
                assert_eq!(next, self.streams[one.channel].offset + 1, "all was delivered");
            }
        }
    }
}

fn member(slot: u32) -> Member {
    Member::new(ConnId { slot, generation: 0 }, 0)
}

fn client(slot: u32) -> Arc<ClientInfo> {
    let (user, client) = (format!("u{}", slot % 5).into(), ClientKey::from_random(slot.into()));
    Arc::new(ClientInfo { user, client, conn_info: None, chan_info: None })
}
