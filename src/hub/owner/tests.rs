//! Boundaries of recovery, of times, of memory, of the table.

use std::num::NonZeroU16;

use super::*;
use crate::hub::HubLimits;
use crate::id::Owners;
use crate::publication::{Epoch, Payload};

const KEPT: StreamOptions =
    StreamOptions { history_size: 1_000, history_ttl_ms: 100, history_meta_ttl_ms: 500 };

fn defaults() -> HubLimits {
    HubLimits::of_one_in(1, limits::HISTORY_BYTES_DEFAULT)
}

fn hub(limits: HubLimits) -> Hub {
    Hub::new(ShardId(0), Owners::new(NonZeroU16::MIN), limits, 7)
}

fn roomy() -> Hub {
    hub(defaults())
}

fn publish(hub: &mut Hub, name: &str, now: u64) -> Position {
    let draft = Draft::plain(Payload::text("x"), 0);
    hub.publish(&name.into(), draft, &KEPT, now).expect("room").position
}

fn join(hub: &mut Hub, name: &str, recover: Recover, now: u64) -> (bool, Vec<u64>) {
    let ask = JoinAsk { recover, presence: None };
    let joined = hub.join(&name.into(), ShardId(0), ask, &KEPT, now).expect("room");
    let offsets = joined.publications.iter().map(|entry| entry.offset);
    (joined.recovered, offsets.collect())
}

fn stream(offset: u64, epoch: Epoch) -> Recover {
    Recover::Stream(Since { offset, epoch: AskedEpoch::Known(epoch) })
}

fn cache(offset: u64, epoch: Epoch) -> Recover {
    Recover::Cache(Since { offset, epoch: AskedEpoch::Known(epoch) })
}

#[test]
fn recovery_is_gapless_or_refused() {
    let mut hub = hub(HubLimits { history_bytes_max: usize::MAX, ..defaults() });
    let epoch = publish(&mut hub, "a", 0).epoch;
    (0..9).for_each(|_| _ = publish(&mut hub, "a", 1));
    assert_eq!(join(&mut hub, "a", stream(10, epoch), 1), (true, vec![]));
    assert_eq!(join(&mut hub, "a", stream(9, epoch), 1), (true, vec![10]));
    assert_eq!(join(&mut hub, "a", stream(0, epoch), 1), (true, (1..=10).collect()));
    assert_eq!(join(&mut hub, "a", stream(11, epoch), 1), (false, vec![]), "ahead of the top");
    // The first has expired, whether or not anybody has dropped it.
    assert_eq!(join(&mut hub, "a", stream(1, epoch), 100), (true, (2..=10).collect()));
    assert_eq!(join(&mut hub, "a", stream(0, epoch), 100), (false, vec![]));
    assert_eq!(join(&mut hub, "a", stream(10, epoch), 101), (true, vec![]), "nothing is missing");
    assert_eq!(join(&mut hub, "a", stream(9, epoch), 101), (false, vec![]));
}

#[test]
fn recovery_compares_epochs_where_one_is_given() {
    let mut hub = roomy();
    let epoch = publish(&mut hub, "a", 0).epoch;
    let with = |epoch| Recover::Stream(Since { offset: 0, epoch });
    assert_eq!(join(&mut hub, "a", with(AskedEpoch::from_text("")), 0), (true, vec![1]));
    let own = AskedEpoch::from_text(epoch.as_str());
    assert_eq!(join(&mut hub, "a", with(own), 0), (true, vec![1]));
    for foreign in ["xyz", "ABCDEFGH", "abcdefghi", "äöü1"] {
        assert_eq!(AskedEpoch::from_text(foreign), AskedEpoch::Foreign);
    }
    assert_eq!(join(&mut hub, "a", with(AskedEpoch::Foreign), 0), (false, vec![]));
    let other = Epoch::from_random(1);
    assert_ne!(other, epoch);
    assert_eq!(join(&mut hub, "a", stream(1, other), 0), (false, vec![]), "at the top by number");
}

#[test]
fn recovery_hands_out_so_many_and_no_more() {
    let mut hub = roomy();
    let epoch = publish(&mut hub, "a", 0).epoch;
    (0..limits::RECOVERY_MAX).for_each(|_| _ = publish(&mut hub, "a", 0));
    let (recovered, offsets) = join(&mut hub, "a", stream(1, epoch), 0);
    assert_eq!((recovered, offsets.len()), (true, limits::RECOVERY_MAX));
    assert_eq!(join(&mut hub, "a", stream(0, epoch), 0), (false, vec![]));
}

#[test]
fn cache_recovery_gives_the_newest_unless_the_client_has_it() {
    let mut hub = roomy();
    let none = Recover::Cache(Since { offset: 0, epoch: AskedEpoch::Any });
    assert_eq!(join(&mut hub, "a", none, 0), (false, vec![]), "nothing was ever published");
    let epoch = publish(&mut hub, "a", 0).epoch;
    publish(&mut hub, "a", 0);
    assert_eq!(join(&mut hub, "a", none, 0), (true, vec![2]));
    assert_eq!(join(&mut hub, "a", cache(2, epoch), 0), (true, vec![]));
    assert_eq!(join(&mut hub, "a", cache(1, epoch), 0), (true, vec![2]));
    assert_eq!(join(&mut hub, "a", cache(2, Epoch::from_random(1)), 0), (true, vec![2]));
    assert_eq!(join(&mut hub, "a", cache(2, epoch), 100), (true, vec![]), "expired, but it has it");
    assert_eq!(join(&mut hub, "a", cache(1, epoch), 100), (false, vec![]));
}

#[test]
fn metadata_outlives_entries_and_then_begins_anew() {
    let mut hub = roomy();
    let first = publish(&mut hub, "a", 0);
    assert_eq!(hub.expire(99), Some(100));
    assert_eq!(hub.expire(100), Some(500), "the entry is gone");
    assert_eq!(hub.history_bytes(), 0);
    let second = publish(&mut hub, "a", 499);
    assert_eq!((second.epoch, second.offset), (first.epoch, 2));
    let third = publish(&mut hub, "a", 999);
    assert_eq!(third.offset, 1);
    assert_ne!(third.epoch, first.epoch);
    while hub.expire(1_499).is_some() {}
    assert_eq!(hub.channel_count(), 0, "nothing is left of it");
}

#[test]
fn metadata_lives_while_somebody_listens_and_from_when_they_leave() {
    let mut hub = roomy();
    let first = publish(&mut hub, "a", 0);
    join(&mut hub, "a", Recover::No, 0);
    hub.expire(10_000);
    assert_eq!(publish(&mut hub, "a", 10_000).epoch, first.epoch);
    hub.on_disinterest("a", ShardId(0), 20_000);
    hub.expire(20_499);
    assert_eq!(join(&mut hub, "a", stream(2, first.epoch), 20_499), (true, vec![]));
    hub.on_disinterest("a", ShardId(0), 20_499);
    assert_eq!(join(&mut hub, "a", stream(2, first.epoch), 20_999), (false, vec![]));
}

#[test]
fn expiry_is_bounded_a_call() {
    let mut hub = roomy();
    (0..=limits::EXPIRE_PER_CALL).for_each(|_| _ = publish(&mut hub, "a", 0));
    assert_eq!(hub.expire(100), Some(100), "one is left, and due");
    let one = hub.history_bytes();
    assert_ne!(one, 0);
    assert_eq!(hub.expire(100), Some(500));
    assert_eq!(hub.history_bytes(), 0);
}

#[test]
fn past_the_bound_the_stream_not_used_for_longest_loses_its_oldest() {
    let entry = |text| {
        let payload = Payload::text(text);
        Entry { offset: 1, time_ms: 0, payload, tags: None, info: None, version: 0 }.size()
    };
    let mut hub = hub(HubLimits { history_bytes_max: 4 * entry("x"), ..defaults() });
    let epoch = publish(&mut hub, "old", 0).epoch;
    publish(&mut hub, "old", 0);
    publish(&mut hub, "new", 0);
    publish(&mut hub, "new", 0);
    assert_eq!(hub.history_bytes(), 4 * entry("x"), "the bound itself is allowed");
    // Reading is a use too.
    assert_eq!(join(&mut hub, "old", stream(0, epoch), 0), (true, vec![1, 2]));
    publish(&mut hub, "third", 0);
    assert_eq!(hub.history_evicted_count(), 1);
    assert_eq!(join(&mut hub, "old", stream(0, epoch), 0), (true, vec![1, 2]));
    let ask = HistoryAsk { limit: 9, since: None, reverse: false };
    let page = hub.history(&"new".into(), ask, &KEPT, 0).expect("known");
    assert_eq!(page.publications.iter().map(|entry| entry.offset).collect::<Vec<_>>(), [2]);
    // An entry above the bound is not kept, and everything else has gone for it.
    let draft = Draft::plain(Payload::binary(&[0; 4_096]), 0);
    hub.publish(&"old".into(), draft, &KEPT, 0).expect("room");
    assert_eq!((hub.history_bytes(), hub.history_evicted_count()), (0, 6));
    assert_eq!(join(&mut hub, "old", stream(2, epoch), 0), (false, vec![]));
    assert_eq!(join(&mut hub, "old", stream(3, epoch), 0), (true, vec![]));
}

#[test]
fn a_full_table_keeps_streams_that_somebody_may_come_back_to() {
    let mut hub = hub(HubLimits { channels_max: 3, ..defaults() });
    let kept = publish(&mut hub, "kept", 0);
    let plain = |hub: &mut Hub, name: &str, now| {
        let draft = Draft::plain(Payload::text("x"), 0);
        hub.publish(&name.into(), draft, &StreamOptions::default(), now).map(|_| ())
    };
    for name in ["b", "c", "d", "e"] {
        plain(&mut hub, name, 1).expect("a plain one goes");
    }
    assert_eq!((hub.evicted_count(), hub.streams_lost_count()), (2, 0));
    publish(&mut hub, "kept too", 2);
    publish(&mut hub, "kept three", 2);
    assert_eq!(publish(&mut hub, "kept", 3).epoch, kept.epoch);
    assert_eq!((hub.evicted_count(), hub.streams_lost_count()), (4, 0));
    plain(&mut hub, "f", 4).expect("nothing else is left");
    assert_eq!((hub.evicted_count(), hub.streams_lost_count()), (5, 1));
    assert_eq!(publish(&mut hub, "kept", 5).epoch, kept.epoch, "its time would end last");
}

#[test]
fn an_idempotency_key_is_answered_the_same_for_its_time() {
    let mut hub = hub(HubLimits { idempotency_keys_max: 2, ..defaults() });
    let mut ask = |name: &str, key: &str, now| {
        let mut draft = Draft::plain(Payload::text("x"), 0);
        draft.options.idempotency_key = Some(key.into());
        let published = hub.publish(&name.into(), draft, &KEPT, now).expect("room");
        (published.position.offset, published.fate == Fate::Duplicate)
    };
    assert_eq!(ask("a", "k", 0), (1, false));
    assert_eq!(ask("a", "k", 0), (1, true));
    assert_eq!(ask("b", "k", 0), (1, false), "another channel's");
    assert_eq!(ask("a", "k", limits::IDEMPOTENCY_TTL_MS - 1), (1, true));
    assert_eq!(ask("a", "k", limits::IDEMPOTENCY_TTL_MS), (1, false), "and its stream is anew");
    assert_eq!(ask("a", "l", limits::IDEMPOTENCY_TTL_MS), (2, false));
    assert_eq!(hub.idempotency_forgotten_count(), 0, "those forgotten had expired");
    let mut ask = |key: &str| {
        let mut draft = Draft::plain(Payload::text("x"), 0);
        draft.options.idempotency_key = Some(key.into());
        hub.publish(&"a".into(), draft, &KEPT, limits::IDEMPOTENCY_TTL_MS).expect("room").fate
    };
    assert_ne!(ask("m"), Fate::Duplicate);
    assert_ne!(ask("k"), Fate::Duplicate, "forgotten for it");
    assert_eq!(hub.idempotency_forgotten_count(), 2);
}

/// With an unkeyed hash, `Aa` for `BB` and back makes any number of names that collide. That all
/// of them are taken before anybody loses patience is half of the test.
#[test]
fn names_made_to_collide_spread_like_others() {
    let unkeyed = |name: &str| {
        name.bytes().fold(0u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()))
    };
    let mut hub = roomy();
    let names = (0..200_000u32).map(|number| -> ChannelName {
        let pairs = (0..18).map(|bit| if number >> bit & 1 == 0 { "Aa" } else { "BB" });
        pairs.collect::<String>().into()
    });
    let mut loads = vec![0u8; 1 << 18];
    let mut same = None;
    for name in names {
        assert_eq!(*same.get_or_insert(unkeyed(&name)), unkeyed(&name));
        use std::hash::BuildHasher;
        let hash = hub.by_name.hasher().hash_one(&*name);
        loads[hash as usize % (1 << 18)] += 1;
        hub.publish(&name, Draft::plain(Payload::text("x"), 0), &KEPT, 0).expect("room");
    }
    assert_eq!(hub.channel_count(), 200_000);
    assert!(*loads.iter().max().expect("there are some") < 16, "they crowd");
}
