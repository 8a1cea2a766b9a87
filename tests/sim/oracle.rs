//! The oracle: what was published, what each subscription must have received of it, and whether it
//! did. It shares no code with the hub or the engine and is told nothing by them but what any
//! client or backend is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidegate::protocol::channel::SlowConsumer;

use super::order::{Order, Thing};

/// Who published something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Publisher {
    Backend,
    Client(usize),
}

/// How far a publish has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// No answer yet, or none is owed.
    Unknown,
    Accepted,
    /// Nothing was published.
    Refused,
}

struct Published {
    channel: usize,
    publisher: Publisher,
    fate: Fate,
    /// The moment at which it was asked for.
    asked: u64,
    /// The time then.
    asked_at: Duration,
    is_seen: bool,
}

/// What one subscription received, from its beginning to its end.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) channel: usize,
    /// Which publications may be missing.
    loss: SlowConsumer,
    /// The moment at which the client learned of it.
    pub(crate) began: u64,
    /// The last thing that has a place, and how far the run is past it.
    last: Option<(Thing, i64)>,
    /// Where the client stands, if it is told positions.
    pub(crate) position: Option<Position>,
    first: Option<u32>,
    received: BTreeSet<u32>,
    last_of: BTreeMap<Publisher, u32>,
    /// Who came or went, as it was told.
    pub(crate) present: BTreeMap<String, bool>,
}

/// A position as a client keeps it to come back to.
#[derive(Clone, Debug)]
pub(crate) struct Position {
    pub(crate) epoch: String,
    pub(crate) offset: u64,
    /// All that follows was published after this.
    pub(crate) since: Duration,
}

/// What is known of all publications.
#[derive(Default)]
pub(crate) struct Oracle {
    published: Vec<Published>,
    orders: BTreeMap<usize, Order>,
}

impl Run {
    /// A subscription that begins behind `position`, if that is told.
    pub(crate) fn new(
        channel: usize,
        began: u64,
        position: Option<Position>,
        loss: SlowConsumer,
    ) -> Self {
        let last = position
            .as_ref()
            .map(|at| (Thing::Epoch(at.epoch.clone()), i64::try_from(at.offset).expect("small")));
        Self {
            channel,
            loss,
            began,
            last,
            position,
            first: None,
            received: BTreeSet::new(),
            last_of: BTreeMap::new(),
            present: BTreeMap::new(),
        }
    }

    /// Whether publications may be missing.
    fn is_lossy(&self) -> bool {
        self.loss != SlowConsumer::Disconnect
    }

    /// Somebody came or went, as the client is told.
    pub(crate) fn note_presence(&mut self, client: &str, is_here: bool) {
        let before = self.present.insert(client.to_owned(), is_here);
        assert_ne!(before, Some(is_here), "told twice that {client} came or went");
    }
}

impl Oracle {
    /// Somebody is about to publish; the publication's number.
    pub(crate) fn publish(
        &mut self,
        channel: usize,
        publisher: Publisher,
        asked: u64,
        asked_at: Duration,
    ) -> u32 {
        let fate = Fate::Unknown;
        let one = Published { channel, publisher, fate, asked, asked_at, is_seen: false };
        self.published.push(one);
        u32::try_from(self.published.len() - 1).expect("few")
    }

    /// The publisher was told that it is published, perhaps also where.
    pub(crate) fn accept(&mut self, id: u32, position: Option<(&str, u64)>) {
        let one = &mut self.published[id as usize];
        assert_eq!(one.fate, Fate::Unknown, "two answers to one publish");
        one.fate = Fate::Accepted;
        let channel = one.channel;
        if let Some((epoch, offset)) = position {
            self.place(channel, epoch, offset, id);
        }
    }

    /// The publisher was told that nothing was published.
    pub(crate) fn refuse(&mut self, id: u32) {
        let one = &mut self.published[id as usize];
        assert_eq!(one.fate, Fate::Unknown, "two answers to one publish");
        assert!(!one.is_seen, "publication {id} was refused, and delivered");
        one.fate = Fate::Refused;
    }

    /// A subscription received a publication.
    pub(crate) fn receive(&mut self, run: &mut Run, id: u32, offset: Option<u64>) {
        let one = self.published.get_mut(id as usize).expect("somebody published it");
        assert_eq!(one.channel, run.channel, "publication {id} in another channel");
        assert_ne!(one.fate, Fate::Refused, "publication {id} was refused, and delivered");
        one.is_seen = true;
        assert!(run.received.insert(id), "publication {id} came twice");
        if let Some(before) = run.last_of.insert(one.publisher, id) {
            assert!(before < id, "{:?}: {before} came before {id}", one.publisher);
        }
        run.first.get_or_insert(id);
        let asked_at = one.asked_at;
        let thing = Thing::Publication(id);
        let channel = run.channel;
        if let Some((last, past)) = run.last.take() {
            if run.is_lossy() {
                let ahead = self.orders.entry(channel).or_default().distance(&last, &thing);
                assert!(ahead.is_none_or(|ahead| ahead > past), "{id} came behind {last:?}");
            } else {
                self.relate(channel, &last, past + 1, &thing);
            }
        }
        let is_lossy = run.is_lossy();
        if let (Some(position), Some(offset)) = (&mut run.position, offset) {
            let is_next = offset == position.offset + 1;
            let is_later = is_lossy && offset > position.offset;
            assert!(is_next || is_later, "a gap before publication {id}");
            position.offset = offset;
            position.since = asked_at;
            let epoch = position.epoch.clone();
            self.place(channel, &epoch, offset, id);
        }
        run.last = Some((thing, 0));
    }

    /// Whether a subscription in force has all it is owed: what was accepted and had been asked for
    /// after the client learned of its subscription.
    pub(crate) fn assert_all_received(&self, who: &str, run: &Run) {
        match run.loss {
            SlowConsumer::Disconnect => {}
            // The last one too, for a publication of another channel.
            SlowConsumer::DropOldest => return,
            SlowConsumer::Newest => return self.assert_last_received(who, run),
        }
        for (id, one) in (0u32..).zip(&self.published) {
            let is_owed =
                one.channel == run.channel && one.fate == Fate::Accepted && one.asked > run.began;
            assert!(
                !is_owed || run.received.contains(&id),
                "{who} lacks publication {id} of channel {}",
                run.channel
            );
        }
    }

    /// Whether a subscription that may miss publications has the last one.
    fn assert_last_received(&self, who: &str, run: &Run) {
        let Some(order) = self.orders.get(&run.channel) else { return };
        let of_channel = (0u32..).zip(&self.published).filter(|(_, one)| {
            one.channel == run.channel && (one.fate == Fate::Accepted || one.is_seen)
        });
        let last = of_channel.reduce(|last, next| {
            let [a, b] = [last.0, next.0].map(Thing::Publication);
            if order.distance(&a, &b).is_some_and(|ahead| ahead > 0) { next } else { last }
        });
        let Some((id, one)) = last else { return };
        let is_owed = one.asked > run.began;
        // Where it stands may be behind that, as far as anybody can tell.
        let last = run.last.as_ref().filter(|_| !run.received.is_empty());
        let has_it = last.is_some_and(|(last, _)| {
            order.distance(&Thing::Publication(id), last).is_none_or(|ahead| ahead >= 0)
        });
        assert!(!is_owed || has_it, "{who} lacks {id}, the last one");
    }

    /// Whether a subscription that ended has nothing before its first publication that it was owed.
    pub(crate) fn assert_no_late_start(&self, who: &str, run: &Run) {
        if run.is_lossy() {
            return;
        }
        let Some(order) = self.orders.get(&run.channel) else { return };
        let Some(first) = run.first else { return };
        for (id, one) in (0u32..).zip(&self.published) {
            let is_owed = one.channel == run.channel
                && one.fate == Fate::Accepted
                && one.asked > run.began
                && !run.received.contains(&id);
            let behind = order.distance(&Thing::Publication(first), &Thing::Publication(id));
            assert!(
                !is_owed || behind.is_none_or(|behind| behind > 0),
                "{who} began behind publication {id} of channel {}, which it was owed",
                run.channel
            );
        }
    }

    /// Whether a client got back what it published to a channel it was subscribed to all the time.
    pub(crate) fn assert_own_received(&self, who: usize, run: &Run) {
        for (id, one) in (0u32..).zip(&self.published) {
            let is_own = !run.is_lossy()
                && one.channel == run.channel
                && one.publisher == Publisher::Client(who);
            assert!(!is_own || run.received.contains(&id), "client {who} lacks its own {id}");
        }
    }

    /// Where a publication was published.
    pub(crate) fn channel_of(&self, id: u32) -> usize {
        self.published.get(id as usize).expect("somebody published it").channel
    }

    /// How many publishes there were.
    pub(crate) fn count(&self) -> usize {
        self.published.len()
    }

    /// A publication stands at this position.
    pub(crate) fn place(&mut self, channel: usize, epoch: &str, offset: u64, id: u32) {
        let offset = i64::try_from(offset).expect("small");
        self.relate(channel, &Thing::Epoch(epoch.into()), offset, &Thing::Publication(id));
    }

    fn relate(&mut self, channel: usize, first: &Thing, distance: i64, second: &Thing) {
        let order = self.orders.entry(channel).or_default();
        if let Err(fault) = order.relate(first, distance, second) {
            panic!("channel {channel}: {fault}");
        }
    }
}
