//! The owner's side against a plain model of it, over thousands of operations.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::hub::HubLimits;
use crate::id::Owners;
use crate::publication::{Epoch, Payload, PublishOptions};

const KEYS_MAX: usize = 5;

/// The channels differ in what they keep.
const CHANNELS: [(&str, StreamOptions); 4] = [
    ("plain", StreamOptions { history_size: 0, history_ttl_ms: 0, history_meta_ttl_ms: 0 }),
    ("short", StreamOptions { history_size: 3, history_ttl_ms: 50, history_meta_ttl_ms: 200 }),
    ("long", StreamOptions { history_size: 100, history_ttl_ms: 900, history_meta_ttl_ms: 500 }),
    ("brief", StreamOptions { history_size: 9, history_ttl_ms: 300, history_meta_ttl_ms: 2_000 }),
];

#[derive(Clone, Debug)]
enum Step {
    Publish { channel: usize, size: usize, version: u64, epoch: u8, key: Option<u8>, skip: bool },
    Join { channel: usize, shard: u16, client: Option<u8>, recover: u8, since: AskedSince },
    Leave { channel: usize, client: u8 },
    Disinterest { channel: usize, shard: u16 },
    History { channel: usize, limit: usize, since: Option<AskedSince>, reverse: bool },
    Remove { channel: usize },
    Pass(u64),
}

/// How far behind the top, and which epoch: none, a foreign one, or one of those seen.
#[derive(Clone, Debug)]
struct AskedSince {
    behind: i64,
    epoch: Option<Option<Index>>,
}

fn since() -> impl Strategy<Value = AskedSince> {
    let seen = any::<Index>().prop_map(|index| Some(Some(index)));
    let epoch = prop_oneof![1 => Just(None), 1 => Just(Some(None)), 6 => seen];
    (-2..12i64, epoch).prop_map(|(behind, epoch)| AskedSince { behind, epoch })
}

fn step() -> impl Strategy<Value = Step> {
    let channel = || 0..CHANNELS.len();
    let key = prop_oneof![4 => Just(None), 1 => (0..9u8).prop_map(Some)];
    let version = prop_oneof![3 => Just(0), 1 => 1..6u64];
    let publish = (channel(), 0..400usize, version, 0..3u8, key, prop::bool::weighted(0.1));
    let join = (channel(), 0..3u16, prop::option::of(0..6u8), 0..3u8, since());
    let history = (channel(), 0..12usize, prop::option::of(since()), any::<bool>());
    prop_oneof![
        8 => publish.prop_map(|(channel, size, version, epoch, key, skip)| {
            Step::Publish { channel, size, version, epoch, key, skip }
        }),
        4 => join.prop_map(|(channel, shard, client, recover, since)| {
            Step::Join { channel, shard, client, recover, since }
        }),
        2 => (channel(), 0..6u8).prop_map(|(channel, client)| Step::Leave { channel, client }),
        4 => (channel(), 0..3u16).prop_map(|(channel, shard)| Step::Disinterest { channel, shard }),
        3 => history.prop_map(|(channel, limit, since, reverse)| {
            Step::History { channel, limit, since, reverse }
        }),
        1 => channel().prop_map(|channel| Step::Remove { channel }),
        3 => prop_oneof![0..60u64, 0..2_500u64, Just(300_000)].prop_map(Step::Pass),
    ]
}

/// One stream as plainly as it can be told.
#[derive(Default)]
struct Plain {
    exists: bool,
    offset: u64,
    /// What the hub called this life, once it told.
    epoch: Option<Epoch>,
    entries: Vec<(u64, Arc<Entry>)>,
    interest: BTreeSet<u16>,
    present: BTreeMap<ClientKey, Arc<ClientInfo>>,
    version: (u64, Option<Arc<str>>),
    meta_until: Option<u64>,
    used: u64,
}

struct World {
    hub: Hub,
    plain: Vec<Plain>,
    /// (channel, key, expiry, answer), oldest first.
    keys: Vec<(usize, u8, u64, Position)>,
    epochs: Vec<Epoch>,
    bytes_max: usize,
    evicted: u64,
    uses: u64,
    now: u64,
}

fn client(number: u8) -> Arc<ClientInfo> {
    let user = format!("u{}", number % 3).into();
    let client = ClientKey::from_random(u128::from(number));
    Arc::new(ClientInfo { user, client, conn_info: None, chan_info: None })
}

impl World {
    fn new(bytes_max: usize) -> Self {
        let owners = Owners::new(NonZeroU16::MIN);
        let (idempotency_keys_max, channels_max) = (KEYS_MAX, 10);
        let limits = HubLimits { channels_max, history_bytes_max: bytes_max, idempotency_keys_max };
        let hub = Hub::new(ShardId(0), owners, limits, 7);
        let plain = CHANNELS.iter().map(|_| Plain::default()).collect();
        let (keys, epochs) = (Vec::new(), Vec::new());
        Self { hub, plain, keys, epochs, bytes_max, evicted: 0, uses: 0, now: 1 }
    }

    fn name(channel: usize) -> ChannelName {
        CHANNELS[channel].0.into()
    }

    /// Makes the stream exist at this time, and notes the use.
    fn enter(&mut self, channel: usize) -> &mut Plain {
        self.drop_expired();
        let (now, options) = (self.now, CHANNELS[channel].1);
        let plain = &mut self.plain[channel];
        plain.exists = true;
        if options.keeps_history() {
            let ttl = options.history_meta_ttl_ms.max(options.history_ttl_ms);
            plain.meta_until = Some(now + ttl);
        }
        plain
    }

    fn note_use(&mut self, channel: usize) {
        self.uses += 1;
        self.plain[channel].used = self.uses;
    }

    fn drop_expired(&mut self) {
        for plain in &mut self.plain {
            plain.entries.retain(|(expires, _)| *expires > self.now);
            let heard = !plain.interest.is_empty() || !plain.present.is_empty();
            if !heard && plain.meta_until.is_some_and(|until| until <= self.now) {
                *plain = Plain::default();
            }
        }
        self.keys.retain(|(_, _, expires, _)| *expires > self.now);
    }

    fn drop_surplus(&mut self) {
        loop {
            let all = self.plain.iter().flat_map(|plain| &plain.entries);
            if all.map(|(_, entry)| entry.size()).sum::<usize>() <= self.bytes_max {
                return;
            }
            let with = self.plain.iter_mut().filter(|plain| !plain.entries.is_empty());
            with.min_by_key(|plain| plain.used).expect("the sum is not 0").entries.remove(0);
            self.evicted += 1;
        }
    }

    /// The hub told an epoch: that of this life, or the first word of a new one.
    fn check_epoch(&mut self, channel: usize, epoch: Epoch) {
        match self.plain[channel].epoch {
            Some(known) => assert_eq!(known, epoch, "one life, one epoch"),
            None => {
                assert!(!self.epochs.contains(&epoch), "another life, another epoch");
                self.epochs.push(epoch);
                self.plain[channel].epoch = Some(epoch);
            }
        }
    }

    fn since(&self, channel: usize, asked: &AskedSince) -> Since {
        let offset = self.plain[channel].offset.saturating_add_signed(-asked.behind);
        let epoch = match &asked.epoch {
            None => AskedEpoch::Any,
            Some(Some(index)) if !self.epochs.is_empty() => {
                // The stream's own more often than another's.
                let own = self.plain[channel].epoch.filter(|_| index.index(4) > 0);
                AskedEpoch::Known(own.unwrap_or(*index.get(&self.epochs)))
            }
            Some(_) => AskedEpoch::Foreign,
        };
        Since { offset, epoch }
    }

    fn fits(&self, channel: usize, epoch: AskedEpoch) -> bool {
        match epoch {
            AskedEpoch::Any => true,
            AskedEpoch::Known(epoch) => self.plain[channel].epoch == Some(epoch),
            AskedEpoch::Foreign => false,
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Publish { channel, size, version, epoch, key, skip } => {
                let version_epoch = (epoch > 0).then(|| format!("v{epoch}").into());
                let idempotency_key = key.map(|key| format!("k{key}").into());
                let options = PublishOptions {
                    version,
                    version_epoch,
                    idempotency_key,
                    skip_history: skip,
                    tags: None,
                };
                self.publish(channel, size, key, options);
            }
            Step::Join { channel, shard, client: number, recover, since } => {
                self.join(channel, shard, number, recover, &since);
            }
            Step::Leave { channel, client: number } => {
                self.drop_expired();
                let key = client(number).client;
                let left = self.hub.leave(CHANNELS[channel].0, key, self.now);
                let expected = self.plain[channel].present.remove(&key);
                assert_eq!(left, expected);
                if left.is_some() {
                    self.note_unheard(channel);
                }
            }
            Step::Disinterest { channel, shard } => {
                self.drop_expired();
                self.hub.on_disinterest(CHANNELS[channel].0, ShardId(shard), self.now);
                if self.plain[channel].interest.remove(&shard) {
                    self.note_unheard(channel);
                }
            }
            Step::History { channel, limit, since, reverse } => {
                self.history(channel, limit, since.as_ref(), reverse);
            }
            Step::Remove { channel } => {
                self.hub.history_remove(CHANNELS[channel].0);
                self.plain[channel].entries.clear();
            }
            Step::Pass(ms) => self.now += ms,
        }
    }

    fn note_unheard(&mut self, channel: usize) {
        let (now, options) = (self.now, CHANNELS[channel].1);
        let plain = &mut self.plain[channel];
        if plain.interest.is_empty() && plain.present.is_empty() && plain.meta_until.is_some() {
            let ttl = options.history_meta_ttl_ms.max(options.history_ttl_ms);
            plain.meta_until = Some(now + ttl);
        }
    }

    fn publish(&mut self, channel: usize, size: usize, key: Option<u8>, asked: PublishOptions) {
        let options = CHANNELS[channel].1;
        let payload = Payload::binary(&[7; 400][..size]);
        let draft = Draft { options: asked.clone(), ..Draft::plain(payload.clone(), 5) };
        let name = Self::name(channel);
        let published = self.hub.publish(&name, draft, &options, self.now).expect("room");
        self.drop_expired();
        let same = |known: &&(usize, u8, u64, Position)| known.0 == channel && Some(known.1) == key;
        if let Some((_, _, _, position)) = self.keys.iter().find(same) {
            assert_eq!((published.position, published.fate), (*position, Fate::Duplicate));
            return;
        }
        let now = self.now;
        let plain = self.enter(channel);
        let (newest, epoch) = plain.version.clone();
        let comparable = asked.version_epoch.is_none() || asked.version_epoch == epoch;
        if asked.version > 0 && comparable && asked.version <= newest {
            assert_eq!((published.position.offset, published.fate), (plain.offset, Fate::Stale));
            self.check_epoch(channel, published.position.epoch);
            return;
        }
        if asked.version > 0 {
            plain.version = (asked.version, asked.version_epoch);
        }
        let live_only = options.keeps_history() && asked.skip_history;
        plain.offset += u64::from(!live_only);
        let offset = if live_only { 0 } else { plain.offset };
        let version = asked.version;
        let entry = Entry { offset, time_ms: 5, payload, tags: None, info: None, version };
        let keep = options.keeps_history() && !live_only;
        if keep {
            plain.entries.push((now + options.history_ttl_ms, Arc::new(entry.clone())));
            if plain.entries.len() > options.history_size {
                plain.entries.remove(0);
            }
        }
        let heard: Vec<_> = plain.interest.iter().copied().map(ShardId).collect();
        let entry = (keep || !heard.is_empty()).then(|| Arc::new(entry));
        assert_eq!(published.interest.iter().collect::<Vec<_>>(), heard);
        assert_eq!(published.fate, Fate::Accepted(entry));
        assert_eq!(published.position.offset, offset);
        self.check_epoch(channel, published.position.epoch);
        self.note_use(channel);
        if let Some(key) = key {
            if self.keys.len() == KEYS_MAX {
                self.keys.remove(0);
            }
            let expires = now + limits::IDEMPOTENCY_TTL_MS;
            self.keys.push((channel, key, expires, published.position));
        }
        self.drop_surplus();
    }

    fn join(&mut self, channel: usize, shard: u16, who: Option<u8>, how: u8, asked: &AskedSince) {
        self.drop_expired();
        let since = self.since(channel, asked);
        let recover =
            [Recover::No, Recover::Stream(since), Recover::Cache(since)][usize::from(how)];
        let ask = JoinAsk { recover, presence: who.map(client) };
        let (name, options) = (Self::name(channel), CHANNELS[channel].1);
        let joined = self.hub.join(&name, ShardId(shard), ask, &options, self.now).expect("room");
        let plain = self.enter(channel);
        plain.interest.insert(shard);
        plain.present.extend(who.map(|who| (client(who).client, client(who))));
        self.check_epoch(channel, joined.position.epoch);
        self.note_use(channel);
        let plain = &self.plain[channel];
        assert_eq!(joined.position.offset, plain.offset);
        let mut all = plain.entries.iter().map(|(_, entry)| entry.clone());
        let (recovered, publications): (bool, Vec<_>) = match recover {
            Recover::No => (false, vec![]),
            Recover::Stream(since) => {
                let wanted = since.offset + 1..=plain.offset;
                let found: Vec<_> = all.filter(|entry| wanted.contains(&entry.offset)).collect();
                let whole = found.iter().map(|entry| entry.offset).eq(wanted);
                let possible = self.fits(channel, since.epoch) && since.offset <= plain.offset;
                if whole && possible { (true, found) } else { (false, vec![]) }
            }
            Recover::Cache(since) => {
                let has_it = since.epoch != AskedEpoch::Any && self.fits(channel, since.epoch);
                match all.next_back() {
                    _ if has_it && since.offset == plain.offset && plain.offset > 0 => {
                        (true, vec![])
                    }
                    Some(newest) => (true, vec![newest]),
                    None => (false, vec![]),
                }
            }
        };
        assert_eq!((joined.recovered, joined.publications), (recovered, publications));
    }

    fn history(&mut self, channel: usize, limit: usize, asked: Option<&AskedSince>, reverse: bool) {
        self.drop_expired();
        let since = asked.map(|asked| self.since(channel, asked));
        let (name, options) = (Self::name(channel), CHANNELS[channel].1);
        let ask = HistoryAsk { limit, since, reverse };
        let answer = self.hub.history(&name, ask, &options, self.now);
        self.enter(channel);
        self.note_use(channel);
        if since.is_some_and(|since| !self.fits(channel, since.epoch)) {
            assert_eq!(answer, Err(HistoryFault::Unrecoverable));
            return;
        }
        let page = answer.expect("room, and the epoch fits");
        self.check_epoch(channel, page.position.epoch);
        let plain = &self.plain[channel];
        assert_eq!(page.position.offset, plain.offset);
        let mut found: Vec<_> = plain.entries.iter().map(|(_, entry)| entry.clone()).collect();
        if reverse {
            found.reverse();
            found.retain(|entry| since.is_none_or(|since| entry.offset < since.offset));
        } else {
            found.retain(|entry| since.is_none_or(|since| entry.offset > since.offset));
        }
        found.truncate(limit);
        assert_eq!(page.publications, found);
    }

    /// What must hold between any two steps. `eager`: the hub has dropped what has expired.
    fn check(&mut self, eager: bool) {
        self.drop_expired();
        for (plain, (name, _)) in self.plain.iter().zip(CHANNELS) {
            let users: BTreeSet<_> = plain.present.values().map(|info| info.user.clone()).collect();
            let (num_clients, num_users) = (plain.present.len(), users.len());
            assert_eq!(self.hub.presence_stats(name), PresenceStats { num_clients, num_users });
            let mut present = self.hub.presence(name);
            present.sort_by_key(|info| info.client);
            assert!(present.iter().eq(plain.present.values()));
            if eager {
                assert_eq!(self.hub.find_stream(name).is_some(), plain.exists);
            }
        }
        if eager {
            let all = self.plain.iter().flat_map(|plain| &plain.entries);
            let bytes: usize = all.map(|(_, entry)| entry.size()).sum();
            assert_eq!(self.hub.history_bytes(), bytes);
            assert!(bytes <= self.bytes_max);
            assert_eq!(self.hub.history_evicted_count(), self.evicted);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// With a bound that a few entries reach, and expiry that keeps up.
    #[test]
    fn a_bounded_hub_does_what_the_model_does(
        steps in prop::collection::vec(step(), 1..400),
        bytes_max in 0..5_000usize,
    ) {
        let mut world = World::new(bytes_max);
        for step in steps {
            world.run(step);
            while world.hub.expire(world.now).is_some_and(|next| next <= world.now) {}
            world.check(true);
        }
    }

    /// What is given out does not depend on whether expiry has come to it.
    #[test]
    fn a_hub_that_never_expires_anything_answers_the_same(
        steps in prop::collection::vec(step(), 1..400),
    ) {
        let mut world = World::new(usize::MAX);
        for step in steps {
            world.run(step);
            world.check(false);
        }
    }
}
