//! What the kernel or a peer does to one connection, and what that connection's peer must get all
//! the same: the real shard over a scripted kernel.

mod scripted;

use std::time::Duration;

use rustix::io::Errno;
use tidegate::id::{ChannelName, ConnId, ShardId};
use tidegate::mail::Request;
use tidegate::ring::{CloseHow, Fault, RecvOutcome};
use tidegate::ws::CloseCode;

use scripted::{Call, Habit, Options, World, masked, server_close, server_message};

/// An outbox that one message of 100 bytes fills.
const NARROW: Options =
    Options { shards: 1, lane_len: 64, outbox_bytes: 100, buffers: 16, buffer_size: 4096 };

fn long(fill: &str) -> String {
    fill.repeat(100)
}

#[test]
fn a_failed_send_ends_the_connection_and_frees_its_outbox() {
    for fault in [Fault::PeerGone(Errno::PIPE), Fault::OutOfMemory(Errno::NOBUFS)] {
        let mut world = World::new(Options::default());
        let conn = world.connect_raw(&["news"]);
        world.kernel().sends = Habit::Held;
        for text in ["in flight", "waiting", "waiting too"] {
            let _result = world.publish("news", text);
            world.settle();
        }
        let in_flight = world.kernel().sending(conn).expect("the first");
        world.kernel().finish_send(conn, in_flight - 1);
        world.settle();
        world.kernel().fail_send(conn, fault);
        world.settle();
        assert_eq!(world.kernel().peer(conn).closed, Some(CloseHow::Orderly));
        assert!(world.stats.counters.outbox_dropped_bytes.get() > 0);
        world.assert_empty();
    }
}

#[test]
fn a_peer_that_ended_while_we_send_gets_all_that_waits() {
    let mut world = World::new(Options::default());
    let conn = world.connect_echo();
    world.kernel().sends = Habit::Held;
    for text in ["in flight", "waiting"] {
        world.kernel().recv(conn, &masked(text));
        world.settle();
    }
    world.kernel().recv_end(conn);
    world.settle();
    for _ in 0..2 {
        assert_eq!(world.kernel().peer(conn).closed, None);
        world.kernel().finish_send_whole(conn);
        world.settle();
    }
    assert_eq!(world.received(conn), ["in flight", "waiting"].map(server_message).concat());
    assert!(world.kernel().peer(conn).write_shut);
    assert_eq!(world.kernel().peer(conn).closed, Some(CloseHow::Orderly));
    world.assert_empty();
}

#[test]
fn bytes_received_before_the_peer_ended_are_not_lost_while_it_is_not_read() {
    let mut world = World::new(NARROW);
    let conn = world.connect_echo();
    world.kernel().sends = Habit::Held;
    world.kernel().cancels = Habit::Held;
    world.kernel().recv(conn, &masked(&long("a")));
    world.settle();
    world.kernel().recv(conn, &masked(&long("b")));
    world.kernel().recv(conn, &masked(&long("c")));
    world.kernel().recv_end(conn);
    world.settle();
    // Far slower than a Close would be given.
    for _ in 0..3 {
        world.pass(Duration::from_secs(4));
        world.settle();
        world.kernel().finish_send_whole(conn);
        world.settle();
    }
    assert_eq!(world.received(conn), ["a", "b", "c"].map(|x| server_message(&long(x))).concat());
    assert_eq!(world.kernel().peer(conn).closed, Some(CloseHow::Orderly));
    world.assert_empty();
}

#[test]
fn a_close_received_before_the_peer_ended_is_answered_after_what_waits() {
    let mut world = World::new(NARROW);
    let conn = world.connect_echo();
    world.kernel().sends = Habit::Held;
    world.kernel().cancels = Habit::Held;
    world.kernel().recv(conn, &masked(&long("a")));
    world.settle();
    let close = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8];
    world.kernel().recv(conn, &[&masked("b")[..], &close].concat());
    world.kernel().recv_end(conn);
    world.settle();
    world.kernel().sends = Habit::AtOnce;
    world.kernel().finish_send_whole(conn);
    world.settle();
    let echoes = [server_message(&long("a")), server_message("b")];
    let answer = server_close(CloseCode::NORMAL, "");
    assert_eq!(world.received(conn), [echoes.concat(), answer].concat());
    assert_eq!(world.kernel().peer(conn).closed, Some(CloseHow::Orderly));
    world.assert_empty();
}

#[test]
fn a_peer_that_does_not_end_after_our_close_is_reset_at_the_deadline() {
    let mut world = World::new(Options::default());
    let conn = world.connect_echo();
    world.kernel().recv(conn, &[0xFF, 0xFF]);
    world.settle();
    assert!(world.kernel().peer(conn).write_shut, "the Close was sent");
    world.kernel().recv(conn, b"discarded, whatever it is");
    world.pass(Duration::from_millis(4_900));
    world.settle();
    assert_eq!(world.kernel().peer(conn).closed, None);
    world.pass(Duration::from_millis(200));
    world.settle();
    assert_eq!(world.kernel().peer(conn).closed, Some(CloseHow::Reset));
    world.assert_empty();
}

#[test]
fn a_stopped_reader_gets_whole_frames_then_3008_if_it_reads_in_time() {
    // In flight, waiting, and one more than there is room for.
    let mut world = World::new(Options { outbox_bytes: 250, ..NARROW });
    let conn = world.connect_raw(&["news"]);
    world.kernel().sends = Habit::Held;
    let texts = ["a", "b", "c"].map(long);
    for text in &texts {
        let _result = world.publish("news", text);
        world.settle();
    }
    let counters = &world.stats.counters;
    assert_eq!(counters.slow_consumers_disconnected.get(), 1);
    assert_eq!(counters.deliveries.get(), 2);
    assert_eq!(counters.outbox_dropped_bytes.get(), server_message(&texts[1]).len() as u64);
    assert_eq!(counters.subscriptions.get(), 0, "nothing is delivered any more");
    world.pass(Duration::from_millis(4_900));
    world.settle();
    // A byte more, then the rest: the frame in flight is finished.
    world.kernel().finish_send(conn, 1);
    world.settle();
    world.kernel().sends = Habit::AtOnce;
    world.kernel().finish_send_whole(conn);
    world.settle();
    let close = server_close(CloseCode::SLOW, "slow consumer");
    assert_eq!(world.received(conn), [server_message(&texts[0]), close].concat());
    world.kernel().recv_end(conn);
    world.settle();
    assert_eq!(world.kernel().peer(conn).closed, Some(CloseHow::Orderly));
    world.assert_empty();
}

#[test]
fn a_stopped_reader_that_never_reads_is_reset() {
    let mut world = World::new(NARROW);
    let conn = world.connect_raw(&["news"]);
    world.kernel().sends = Habit::Held;
    for _ in 0..2 {
        let _result = world.publish("news", &long("a"));
        world.settle();
    }
    world.pass(Duration::from_secs(6));
    world.settle();
    assert_eq!(world.kernel().peer(conn).closed, Some(CloseHow::Reset));
    world.assert_empty();
}

/// Pieces of every length cut the messages, sends are short, the receive ends and is cancelled at
/// awkward moments: the echo is byte for byte what was sent.
/// Publications of one channel wait behind the 101 until the owner of another has answered.
#[test]
fn who_is_too_slow_before_its_101_is_told_so_behind_it() {
    let mut world = World::new(Options { shards: 2, outbox_bytes: 200, ..Options::default() });
    let [near, far] = [ShardId(0), ShardId(1)].map(|owner| world.channel_of(owner));
    world.hand_over_raw(&[&near, &far], b"");
    world.settle();
    let conn = world.newest();
    let results: Vec<_> = (0..2).map(|_| world.publish(&near, &long("p"))).collect();
    world.settle();
    assert_eq!(results.len(), 2);
    assert_eq!(world.stats.counters.slow_consumers_disconnected.get(), 1);
    let received = world.received(conn);
    let expected = [server_message(&long("p")), server_close(CloseCode::SLOW, "slow consumer")];
    assert_eq!(received, expected.concat());
    world.answer_interest(&far);
    world.kernel().recv_end(conn);
    world.settle();
    world.assert_empty();
}

#[test]
fn a_paused_echo_reader_loses_and_reorders_nothing() {
    let mut world = World::new(NARROW);
    let conn = world.connect_echo();
    world.kernel().sends = Habit::Held;
    let texts: Vec<_> = (0..300).map(|n| format!("{n}:{}", "x".repeat(n % 90))).collect();
    let stream: Vec<_> = texts.iter().flat_map(|text| masked(text)).collect();
    let mut rest = &stream[..];
    let mut step = 0;
    while !rest.is_empty() || world.kernel().sending(conn).is_some() {
        step += 1;
        if world.kernel().is_armed(conn) && !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(1 + step * 7 % 97));
            rest = after;
            world.kernel().finish_recv(conn, RecvOutcome::Data, Some(piece), step % 3 > 0);
        }
        if step % 2 == 0
            && let Some(left) = world.kernel().sending(conn)
        {
            world.kernel().finish_send(conn, left.min(1 + step * 11 % 150));
        }
        world.settle();
        // At most one message goes beyond the limit.
        assert!(world.stats.counters.outbox_bytes.get() < 100 + 100);
    }
    let echoes: Vec<_> = texts.iter().flat_map(|text| server_message(text)).collect();
    assert_eq!(world.received(conn), echoes);
    assert!(world.stats.counters.reads_paused.get() > 10);
    assert!(world.stats.counters.short_sends.get() > 10);
    assert_eq!(world.stats.counters.slow_consumers_disconnected.get(), 0);
}

/// A client that publishes more than its channel's owner has room for, and is not read any more;
/// with what it publishes, and a channel that is its own shard's.
fn parked() -> (World, ConnId, Vec<String>, ChannelName) {
    let options = Options { shards: 2, lane_len: 4, ..Options::default() };
    let mut world = World::new(options);
    let local = world.channel_of(ShardId(0));
    let remote = world.channel_of(ShardId(1));
    world.hand_over_raw(&[&remote, &local], b"");
    world.settle();
    let conn = world.newest();
    world.answer_interest(&remote);
    world.settle();
    let texts: Vec<_> = (0..11).map(|n| format!("publication {n}")).collect();
    let stream: Vec<_> = texts.iter().flat_map(|text| masked(text)).collect();
    world.kernel().recv(conn, &stream);
    world.settle();
    assert_eq!(world.stats.counters.reads_paused.get(), 1);
    assert!(!world.kernel().is_armed(conn), "not read while its publish is parked");
    (world, conn, texts, local)
}

#[test]
fn a_parked_publish_resumes_in_order_once_its_owner_has_room() {
    let (mut world, conn, texts, _) = parked();
    let mut got = Vec::new();
    while let Some(request) = world.others[0].requests_in[0].pop() {
        let Request::Publish(publish) = request else { panic!("not a publish: {request:?}") };
        got.push(String::from_utf8(publish.payload.bytes().to_vec()).expect("text"));
        let starved = world.others[0].requests_in[0].take_starved();
        assert_eq!(starved.is_some(), got.len() + 4 <= texts.len(), "asked to be woken");
        if starved.is_some() {
            world.settle();
        }
    }
    assert_eq!(got, texts);
    assert!(world.kernel().is_armed(conn));
}

#[test]
fn a_parked_publish_of_a_client_that_is_gone_is_counted() {
    let (mut world, conn, _, local) = parked();
    world.kernel().sends = Habit::Held;
    let _result = world.publish(&local, "to nobody any more");
    world.settle();
    assert_eq!(world.stats.counters.publishes_abandoned.get(), 0);
    world.kernel().fail_send(conn, Fault::PeerGone(Errno::PIPE));
    world.settle();
    assert_eq!(world.stats.counters.publishes_abandoned.get(), 1);
}

/// More subscribers than a turn serves, one of whom leaves in between: everyone else gets it once.
/// Whoever makes room while the shard is awake does not wake it: it must look before it sleeps.
#[test]
fn room_that_comes_at_the_end_of_a_turn_is_seen() {
    let mut world = World::new(Options { shards: 2, lane_len: 4, ..Options::default() });
    let remote = world.channel_of(ShardId(1));
    world.hand_over_raw(&[&remote], b"");
    world.settle();
    let conn = world.newest();
    world.answer_interest(&remote);
    world.settle();
    let stream: Vec<_> = (0..5).flat_map(|n| masked(&n.to_string())).collect();
    world.kernel().recv(conn, &stream);
    world.settle();
    assert_eq!(world.stats.counters.reads_paused.get(), 1, "the fifth found no room");
    let mut other = world.others.remove(0);
    world.turn_interrupted(move || {
        let lane = &mut other.requests_in[0];
        lane.pop().expect("four wait");
        assert_eq!(lane.take_starved(), Some(ShardId(0)));
        let bell = other.requests_out[0].as_ref().expect("another shard").bell();
        assert!(!bell.claim(), "it is awake");
    });
    assert!(!world.sleeps(), "its publish has room now");
    world.settle();
    assert!(world.kernel().is_armed(conn));
}

#[test]
fn a_fan_out_larger_than_a_turn_goes_on_next_turn() {
    let mut world = World::new(Options { lane_len: 2_048, ..Options::default() });
    for _ in 0..1_500 {
        world.hand_over_raw(&["news"], b"");
    }
    world.settle();
    let conns: Vec<_> = world.kernel().peers().iter().map(|peer| peer.conn).collect();
    let _result = world.publish("news", "to all");
    world.turn();
    let served = world.stats.counters.deliveries.get();
    assert!((1_000..1_500).contains(&served), "{served} deliveries in a turn");
    assert_eq!(world.next_wait(), Some(Duration::ZERO));
    let unserved = { conns.iter().copied() }.filter(|conn| world.received(*conn).is_empty());
    let leaver = { unserved.collect::<Vec<_>>().into_iter() }
        .find(|conn| world.kernel().sending(*conn).is_none())
        .expect("some are still owed");
    world.kernel().recv_end(leaver);
    world.settle();
    for conn in conns {
        let got = world.received(conn);
        // Whoever left may have been served in the turn that took the end.
        assert!(got == server_message("to all") || conn == leaver);
        assert!(got.len() <= server_message("to all").len());
    }
}

/// Closing thousands at once is spread over turns.
#[test]
fn a_mass_teardown_closes_a_bounded_number_a_turn() {
    let mut world = World::new(Options { lane_len: 4_096, ..Options::default() });
    for _ in 0..2_500 {
        world.hand_over_echo(b"");
    }
    world.settle();
    let conns: Vec<_> = world.kernel().peers().iter().map(|peer| peer.conn).collect();
    for conn in conns {
        world.kernel().recv_end(conn);
    }
    world.kernel().take_calls();
    world.settle();
    let calls = world.kernel().take_calls();
    let per_turn = calls.split(|call| matches!(call, Call::Wait(_)));
    let most = per_turn.map(|turn| turn.iter().filter(|c| matches!(c, Call::Close(..))).count());
    assert_eq!(most.max(), Some(tidegate::limits::WORK_PER_TURN));
    world.assert_empty();
}
