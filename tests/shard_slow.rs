//! Readers that do not keep up, in channels that would rather have them miss publications than
//! lose them: the real shard over a scripted kernel that takes nothing until it is told to.

mod scripted;

use std::sync::Arc;

use serde_json::json;
use tidegate::id::ConnId;
use tidegate::protocol::channel::{ChannelOptions, Namespaces, SlowConsumer};

use scripted::centrifuge::{OPEN, connected, frames, say, told};
use scripted::{Habit, Options, World, masked};

/// What may wait for one client: four publications of [`text`] on the raw protocol.
const OUTBOX: usize = 4 * 102;

/// A world in which the namespaces `all`, `oldest` and `newest` have a policy each.
fn world_of(outbox_bytes: usize) -> World {
    let with = |slow_consumer| ChannelOptions { slow_consumer, positioning: false, ..OPEN };
    let named = [
        ("all", with(SlowConsumer::Disconnect)),
        ("oldest", ChannelOptions { join_leave: true, ..with(SlowConsumer::DropOldest) }),
        ("newest", with(SlowConsumer::Newest)),
    ];
    let named = named.map(|(name, options)| (name.into(), options));
    let options = Options { outbox_bytes, ..Options::default() };
    World::with_channels(options, Arc::new(Namespaces::new(OPEN, named)))
}

/// JSON of 100 bytes that tells `n`.
fn text(n: usize) -> String {
    format!("{n:0100}").replacen('0', "1", 1)
}

fn number(text: &str) -> usize {
    text[1..].parse().expect("a number")
}

fn publish(world: &mut World, channel: &str, numbers: impl IntoIterator<Item = usize>) {
    for n in numbers {
        let mut result = world.publish(channel, &text(n));
        world.settle();
        result.try_recv().expect("answered").expect("numbered");
    }
}

/// The kernel takes no more, and what it has is in flight to `conn`: publication 0.
fn stall(world: &mut World, channel: &str) {
    world.kernel().sends = Habit::Held;
    publish(world, channel, [0]);
}

/// The kernel takes all that waits again.
fn take_all(world: &mut World, conn: ConnId) {
    world.kernel().sends = Habit::AtOnce;
    world.kernel().finish_send_whole(conn);
    world.settle();
}

/// The publications a raw client got; a Close is its code.
fn got(world: &mut World, conn: ConnId) -> Vec<usize> {
    let texts = frames(world, conn);
    texts.iter().map(|text| if text.len() == 4 { 3008 } else { number(text) }).collect()
}

/// What a Centrifuge client got of one channel, if it is numbers.
fn pushed(world: &mut World, conn: ConnId, channel: &str) -> Vec<u64> {
    let pushes = told(world, conn).into_iter().filter(|line| line["push"]["channel"] == channel);
    pushes.filter_map(|line| line["push"]["pub"]["data"].as_u64()).collect()
}

#[test]
fn who_keeps_up_misses_nothing_whatever_the_channel_says() {
    for channel in ["all:a", "oldest:a", "newest:a"] {
        let mut world = world_of(OUTBOX);
        let conn = world.connect_raw(&[channel]);
        // More than the outbox holds at a time, in turns of several.
        for first in (0..30).step_by(3) {
            let results: Vec<_> =
                (first..first + 3).map(|n| world.publish(channel, &text(n))).collect();
            world.settle();
            drop(results);
        }
        assert_eq!(got(&mut world, conn), (0..30).collect::<Vec<_>>(), "{channel}");
        let counters = &world.stats.counters;
        let dropped = [&counters.publications_dropped_oldest, &counters.publications_superseded];
        assert_eq!(dropped.map(|counter| counter.get()), [0, 0], "{channel}");
    }
}

#[test]
fn a_slow_reader_misses_the_oldest() {
    let mut world = world_of(OUTBOX);
    let slow = world.connect_raw(&["oldest:a"]);
    stall(&mut world, "oldest:a");
    publish(&mut world, "oldest:a", 1..=9);
    assert_eq!(world.stats.counters.outbox_bytes.get(), OUTBOX as u64);
    take_all(&mut world, slow);
    // The one in flight, and what there is room for beside it.
    assert_eq!(got(&mut world, slow), [0, 7, 8, 9]);
    let counters = &world.stats.counters;
    assert_eq!(counters.publications_dropped_oldest.get(), 6);
    assert_eq!(counters.outbox_dropped_bytes.get(), 6 * 102);
    assert_eq!(counters.slow_consumers_disconnected.get(), 0);
    assert_eq!(counters.outbox_bytes.get(), 0);
}

#[test]
fn a_slow_reader_gets_the_newest_of_each_channel() {
    let mut world = world_of(OUTBOX);
    let slow = world.connect_raw(&["newest:a", "newest:b"]);
    stall(&mut world, "newest:a");
    for n in 1..=50 {
        publish(&mut world, "newest:a", [2 * n]);
        publish(&mut world, "newest:b", [2 * n + 1]);
    }
    take_all(&mut world, slow);
    assert_eq!(got(&mut world, slow), [0, 100, 101]);
    assert_eq!(world.stats.counters.publications_superseded.get(), 98);
    // It keeps up again.
    publish(&mut world, "newest:a", [110, 112]);
    assert_eq!(got(&mut world, slow), [0, 100, 101, 110, 112]);
}

#[test]
fn a_client_of_either_protocol_misses_the_same_and_no_reply() {
    let mut world = world_of(4096);
    let slow = connected(&mut world);
    for (id, channel) in [(2, "newest:a"), (3, "oldest:a")] {
        say(&mut world, slow, &json!({"id": id, "subscribe": {"channel": channel}}).to_string());
    }
    stall(&mut world, "newest:a");
    for n in 1..=200 {
        for channel in ["newest:a", "oldest:a"] {
            drop(world.publish(channel, &n.to_string()));
            world.settle();
        }
        if n == 100 {
            world
                .kernel()
                .recv(slow, &masked(r#"{"id":9,"presence_stats":{"channel":"oldest:a"}}"#));
            world.settle();
        }
    }
    let counters = &world.stats.counters;
    assert_eq!(counters.publications_superseded.get(), 199);
    let missed = counters.publications_dropped_oldest.get();
    assert!((1..200).contains(&missed), "{missed}");
    take_all(&mut world, slow);
    let newest = pushed(&mut world, slow, "newest:a");
    assert_eq!(newest, [200]);
    assert_eq!(pushed(&mut world, slow, "oldest:a"), (missed + 1..=200).collect::<Vec<_>>());
    let replies = told(&mut world, slow);
    assert_eq!(replies.iter().filter(|line| line["id"] == 9).count(), 1, "the reply came");
}

#[test]
fn what_does_not_fit_however_much_is_dropped_ends_in_3008() {
    // The publications of the other channel may not be dropped.
    for (other, channel) in [("all:a", "oldest:a"), ("newest:b", "oldest:a"), ("all:a", "newest:a")]
    {
        let mut world = world_of(OUTBOX);
        let slow = world.connect_raw(&["all:a", "oldest:a", "newest:a", "newest:b"]);
        stall(&mut world, other);
        for n in 1..=3 {
            // Not superseded: of another channel each time.
            let channel = if other == "newest:b" && n < 3 { "all:a" } else { other };
            publish(&mut world, channel, [n]);
        }
        assert_eq!(world.stats.counters.slow_consumers_disconnected.get(), 0);
        publish(&mut world, channel, [4]);
        assert_eq!(world.stats.counters.slow_consumers_disconnected.get(), 1, "{other} {channel}");
        take_all(&mut world, slow);
        assert_eq!(got(&mut world, slow), [0, 3008]);
    }
}

#[test]
fn a_publication_that_must_not_be_missed_makes_no_room_for_itself() {
    let mut world = world_of(OUTBOX);
    let slow = world.connect_raw(&["all:a", "oldest:a"]);
    stall(&mut world, "oldest:a");
    publish(&mut world, "oldest:a", 1..=3);
    publish(&mut world, "all:a", [4]);
    assert_eq!(world.stats.counters.slow_consumers_disconnected.get(), 1);
    assert_eq!(world.stats.counters.publications_dropped_oldest.get(), 0);
    take_all(&mut world, slow);
}

#[test]
fn who_comes_and_goes_is_told_at_the_cost_of_publications() {
    let mut world = world_of(1000);
    let slow = connected(&mut world);
    let subscribe = json!({"id": 2, "subscribe": {"channel": "oldest:a", "join_leave": true}});
    say(&mut world, slow, &subscribe.to_string());
    stall(&mut world, "oldest:a");
    publish(&mut world, "oldest:a", 1..=9);
    let missed = world.stats.counters.publications_dropped_oldest.get();
    world.kernel().sends = Habit::AtOnce;
    // Somebody comes: the join is told, though there is no room for it.
    let other = connected(&mut world);
    say(&mut world, other, &json!({"id": 2, "subscribe": {"channel": "oldest:a"}}).to_string());
    let counters = &world.stats.counters;
    assert!(counters.publications_dropped_oldest.get() > missed);
    assert_eq!(counters.slow_consumers_disconnected.get(), 0);
    take_all(&mut world, slow);
    let joins =
        told(&mut world, slow).iter().filter(|line| !line["push"]["join"].is_null()).count();
    assert_eq!(joins, 2, "its own, and the other's");
}

#[test]
fn a_slow_reader_whose_outbox_stays_full_is_read_all_the_same() {
    let mut world = world_of(OUTBOX);
    let slow = world.connect_raw(&["oldest:a"]);
    stall(&mut world, "oldest:a");
    publish(&mut world, "oldest:a", 1..=9);
    // A pong is owed, and the outbox is full: it is not read.
    let ping = [0x89, 0x80, 0, 0, 0, 0];
    world.kernel().recv(slow, &ping);
    world.settle();
    assert!(!world.kernel().is_armed(slow));
    // It takes a little and is sent as much again: what may be dropped is no reason not to read it.
    world.kernel().finish_send_whole(slow);
    publish(&mut world, "oldest:a", 10..=19);
    assert!(world.kernel().is_armed(slow), "it is read");
    take_all(&mut world, slow);
}

#[test]
fn a_shard_without_room_makes_its_slow_readers_miss_publications_too() {
    let slow_consumer = SlowConsumer::DropOldest;
    let options = ChannelOptions { slow_consumer, positioning: false, ..OPEN };
    let mut world = World::with_settings(Options::default(), |settings| {
        settings.channels = Arc::new(Namespaces::new(options, []));
        settings.outbox_shard_bytes = OUTBOX;
    });
    let readers = [world.connect_raw(&["a"]), world.connect_raw(&["b"])];
    stall(&mut world, "a");
    publish(&mut world, "b", 0..=9);
    assert_eq!(world.stats.counters.outbox_bytes.get(), OUTBOX as u64);
    assert_eq!(world.stats.counters.slow_consumers_disconnected.get(), 0);
    for conn in readers {
        take_all(&mut world, conn);
    }
    assert_eq!(got(&mut world, readers[0]), [0]);
    assert_eq!(got(&mut world, readers[1]), [0, 8, 9]);
}
