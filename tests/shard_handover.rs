//! What can go wrong between the hand-over of a connection and its first byte.

mod scripted;

use std::time::Duration;

use tidegate::mail::Request;
use tidegate::ring::CloseHow;
use tidegate::ws::CloseCode;

use scripted::{Habit, Options, World, masked, server_close, server_message};

/// A Close drops what waits in the outbox, but never the answer to the handshake.
#[test]
fn the_101_leaves_before_a_close_for_bytes_that_came_with_the_request() {
    let broken = [0xFF, 0xFF].to_vec();
    let close = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8].to_vec();
    let normal = server_close(CloseCode::NORMAL, "");
    for (leftover, code) in [(broken, 1002), (close, 1000)] {
        let mut world = World::new(Options::default());
        world.hand_over_echo(&leftover);
        world.settle();
        let conn = world.newest();
        // `received` asserts that the 101 comes first.
        let received = world.received(conn);
        assert_eq!(received[..2], [0x88, received[1]]);
        assert_eq!(u16::from_be_bytes([received[2], received[3]]), code);
        assert!(code != 1000 || received == normal);
    }
}

#[test]
fn the_101_leaves_before_a_slow_consumers_close_in_the_same_turn() {
    let mut world = World::new(Options { outbox_bytes: 100, ..Options::default() });
    let _first = world.connect_raw(&["news"]);
    // Taken in one turn: the subscription, then more than the outbox holds.
    world.hand_over_raw(&["news"], b"");
    for _ in 0..3 {
        let _result = world.publish("news", &"x".repeat(100));
    }
    world.settle();
    let conn = world.newest();
    let close = server_close(CloseCode::SLOW, "slow consumer");
    assert!(world.received(conn).ends_with(&close));
}

/// The answer to one connection's subscription closes it, which moves the others among the members
/// while they are still being told their places.
#[test]
fn several_that_wait_for_one_channel_are_closed_by_a_drain() {
    let mut world = World::new(Options::default());
    for _ in 0..5 {
        world.hand_over_raw(&["news"], b"");
    }
    let window = Duration::from_secs(20);
    world.gateway.push(Request::Drain { window }).expect("room");
    world.settle();
    let conns: Vec<_> = world.kernel().peers().iter().map(|peer| peer.conn).collect();
    for conn in &conns {
        let close = server_close(CloseCode::GOING_AWAY, "the gateway is stopping");
        assert_eq!(world.received(*conn), close);
        world.kernel().recv_end(*conn);
    }
    world.settle();
    assert!(conns.iter().all(|c| world.kernel().peer(*c).closed == Some(CloseHow::Orderly)));
    world.assert_empty();
}

/// Bytes behind the request head are frames like any others, also when they pause the connection.
#[test]
fn leftover_bytes_keep_their_place_before_what_is_received() {
    let mut world = World::new(Options { outbox_bytes: 100, ..Options::default() });
    world.kernel().sends = Habit::Held;
    let texts: Vec<_> = (0..30).map(|n| format!("message number {n}")).collect();
    let stream: Vec<_> = texts.iter().flat_map(|text| masked(text)).collect();
    let (leftover, rest) = stream.split_at(stream.len() / 2);
    world.hand_over_echo(leftover);
    world.settle();
    let conn = world.newest();
    let mut rest = Some(rest);
    while world.kernel().sending(conn).is_some() {
        world.kernel().finish_send_whole(conn);
        world.settle();
        if world.kernel().is_armed(conn)
            && let Some(rest) = rest.take()
        {
            world.kernel().recv(conn, rest);
            world.settle();
        }
    }
    assert_eq!(rest, None, "it is read once its leftover is done with");
    let echoes: Vec<_> = texts.iter().flat_map(|text| server_message(text)).collect();
    assert_eq!(world.received(conn), echoes);
}
