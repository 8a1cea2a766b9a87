//! Things that would wait for ever, or far too long, if nobody looked after them: work without
//! room, a lane behind a busy one, a client the gateway itself does not read, a drain under load.

mod scripted;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate::id::{ChannelName, ShardId};
use tidegate::limits::WORK_PER_TURN;
use tidegate::mail::{Delivery, Publish, Reply, Request};
use tidegate::publication::{Entry, Epoch, Payload, Publication, PublishOptions};
use tidegate::ring::RecvOutcome;
use tidegate::ws::CloseCode;
use tokio::sync::oneshot;

use scripted::{Call, Habit, Options, World, masked, server_close, server_message};

fn publication(channel: &ChannelName, offset: u64, text: &str) -> Delivery {
    let payload = Payload::text(text);
    let entry = Entry { offset, time_ms: 0, payload, tags: None, info: None, version: 0 };
    let epoch = Epoch::from_random(1);
    let publication = Publication::new(channel.clone(), epoch, Arc::new(entry), Instant::now());
    Delivery::Publication(Arc::new(publication))
}

#[test]
fn a_subscription_that_found_the_shards_own_queue_full_is_not_forgotten() {
    let mut world = World::new(Options { lane_len: 4, ..Options::default() });
    let stuck = world.connect_raw(&["news"]);
    world.kernel().sends = Habit::Held;
    let _result = world.publish("news", "in flight");
    world.settle();
    // The turn that numbers four publications for this shard itself has no room for the owner's
    // answer, and no send ends that would cause another turn.
    let _results: Vec<_> = (0..4).map(|_| world.publish("news", "waiting")).collect();
    world.hand_over_raw(&["other"], b"");
    world.settle();
    let conn = world.newest();
    assert_ne!(conn, stuck);
    assert!(world.kernel().sending(conn).is_some(), "its 101 leaves");
}

#[test]
fn a_publish_that_found_the_shards_own_queue_full_is_not_forgotten() {
    let mut world = World::new(Options { lane_len: 4, ..Options::default() });
    let conn = world.connect_raw(&["news"]);
    world.kernel().sends = Habit::Held;
    world.kernel().recv(conn, &masked("in flight"));
    world.settle();
    let stream: Vec<_> = (0..11).flat_map(|n| masked(&format!("{n}"))).collect();
    world.kernel().recv(conn, &stream);
    world.settle();
    assert_eq!(world.stats.counters.publications.get(), 12);
    world.kernel().sends = Habit::AtOnce;
    world.kernel().finish_send_whole(conn);
    world.settle();
    let texts = (0..11).map(|n| server_message(&format!("{n}")));
    let expected: Vec<_> = [server_message("in flight")].into_iter().chain(texts).collect();
    assert_eq!(world.received(conn), expected.concat());
}

#[test]
fn room_that_an_owner_makes_while_this_shard_is_awake_is_not_overlooked() {
    let mut world = World::new(Options { shards: 2, lane_len: 4, ..Options::default() });
    let names = (0..).map(|n| format!("channel-{n}"));
    let owned = names.filter(|name| world.owners.owner(name) == ShardId(1));
    let channels: Vec<_> = owned.take(10).collect();
    world.hand_over_raw(&channels.iter().map(String::as_str).collect::<Vec<_>>(), b"");
    for channel in &channels {
        world.settle();
        world.answer_interest(channel);
    }
    world.settle();
    let conn = world.newest();
    // The owner is quick: it takes all that waits as soon as it is woken, while this shard is still
    // in the turn that woke it, and has nothing to say that would wake this shard later.
    let mut owner = world.others.remove(0);
    owner.bell.clear();
    let told = Rc::new(Cell::new(0));
    let count = Rc::clone(&told);
    world.kernel().on_wake = Some(Box::new(move || {
        owner.bell.clear();
        while let Some(request) = owner.requests_in[0].pop() {
            assert!(matches!(request, Request::Disinterest { .. }), "{request:?}");
            count.set(count.get() + 1);
        }
        if owner.requests_in[0].take_starved().is_some() {
            let sender = owner.requests_out[0].as_ref().expect("another shard");
            assert!(!sender.bell().claim(), "this shard is awake");
        }
    }));
    world.kernel().recv_end(conn);
    world.settle();
    assert_eq!(told.get(), channels.len(), "it sleeps, and the rest is not told");
}

#[test]
fn an_owner_is_told_at_once_that_the_last_subscriber_left() {
    let options = Options { shards: 2, outbox_bytes: 100, ..Options::default() };
    let mut world = World::new(options);
    let channel = world.channel_of(ShardId(1));
    world.hand_over_raw(&[&channel], b"");
    world.settle();
    world.answer_interest(&channel);
    world.settle();
    world.kernel().sends = Habit::Held;
    for offset in 1..=2 {
        let lane = world.others[0].deliveries_out[0].as_mut().expect("the other shard");
        lane.push(publication(&channel, offset, &"x".repeat(100))).expect("room");
    }
    world.turn();
    assert_eq!(world.stats.counters.slow_consumers_disconnected.get(), 0);
    world.kernel().take_calls();
    world.others[0].bell.clear();
    world.turn();
    assert_eq!(world.stats.counters.slow_consumers_disconnected.get(), 1);
    let told = world.others[0].requests_in[0].pop();
    assert!(matches!(told, Some(Request::Disinterest { .. })), "{told:?}");
    assert!(world.kernel().calls().contains(&Call::Wake(ShardId(1))));
}

#[test]
fn a_busy_lane_does_not_starve_the_others() {
    let lane_len = 2 * WORK_PER_TURN;
    let mut world = World::new(Options { shards: 2, lane_len, ..Options::default() });
    let channel = world.channel_of(ShardId(0));
    let mut result = world.publish(&channel, "from control");
    for turn in 0.. {
        assert!(turn < 16, "control's publish was not looked at");
        let lane = world.others[0].requests_out[0].as_mut().expect("the other shard");
        while lane.room() > 0 {
            let publish = Publish {
                channel: channel.clone(),
                payload: Payload::text("from the other shard"),
                options: PublishOptions::default(),
                info: None,
                accepted_at: Instant::now(),
                reply: Reply::Control(oneshot::channel().0),
            };
            lane.push(Request::Publish(Box::new(publish))).expect("room");
        }
        world.turn();
        if result.try_recv().is_ok() {
            return;
        }
    }
}

#[test]
fn a_client_the_gateway_does_not_read_is_not_blamed_for_its_pong() {
    let mut world = World::new(Options { outbox_bytes: 100, ..Options::default() });
    let conn = world.connect_echo();
    world.kernel().sends = Habit::Held;
    let text = "x".repeat(100);
    world.kernel().recv(conn, &masked(&text));
    world.settle();
    assert!(!world.kernel().is_armed(conn), "paused");
    for _ in 0..60 {
        world.pass(Duration::from_secs(1));
        world.settle();
    }
    assert_eq!(world.stats.counters.pings_sent.get(), 1);
    world.kernel().sends = Habit::AtOnce;
    world.kernel().finish_send_whole(conn);
    world.settle();
    assert!(world.kernel().is_armed(conn), "read again");
    let ping = [0x89, 0].to_vec();
    assert_eq!(world.received(conn), [server_message(&text), ping.clone()].concat());
    // From here on the client answers, or is gone.
    world.pass(Duration::from_secs(9));
    world.settle();
    assert_eq!(world.stats.counters.pong_timeouts.get(), 0);
    world.pass(Duration::from_secs(2));
    world.settle();
    let close = server_close(CloseCode::NO_PONG, "no pong");
    assert_eq!(world.received(conn), [server_message(&text), ping, close].concat());
}

#[test]
fn a_drain_ends_under_a_steady_stream_of_publications() {
    let lane_len = 2 * WORK_PER_TURN;
    let mut world = World::new(Options { shards: 2, lane_len, ..Options::default() });
    let channel = world.channel_of(ShardId(1));
    world.hand_over_raw(&[&channel], b"");
    world.settle();
    let conn = world.newest();
    world.answer_interest(&channel);
    world.settle();
    world.gateway.push(Request::Drain { window: Duration::from_secs(1) }).expect("room");
    let mut offset = 0;
    while world.kernel().peer(conn).closed.is_none() {
        assert!(offset < 1_000_000, "the drain never comes to its client");
        let lane = world.others[0].deliveries_out[0].as_mut().expect("the other shard");
        while lane.room() > 0 {
            offset += 1;
            lane.push(publication(&channel, offset, "x")).expect("room");
        }
        world.pass(Duration::from_millis(50));
        world.turn();
        if world.kernel().peer(conn).write_shut && world.kernel().is_armed(conn) {
            world.kernel().finish_recv(conn, RecvOutcome::End, None, false);
        }
    }
    // All of what it got came without a gap, then the Close.
    let close = server_close(CloseCode::GOING_AWAY, "the gateway is stopping");
    let received = world.received(conn);
    let frames = received.strip_suffix(&close[..]).expect("the Close is last");
    assert!(frames.chunks(3).all(|frame| frame == server_message("x")));
}
