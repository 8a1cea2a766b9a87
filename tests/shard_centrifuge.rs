//! The Centrifuge protocol over the real shard and a scripted kernel: what a client may say when,
//! and what ends it.

mod scripted;

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::limits;
use tidegate::protocol::centrifuge::code::Disconnect;
use tidegate::ws::{CloseCode, MessageKind, encode};

use scripted::centrifuge::{connected, frames, say, told, world};
use scripted::{masked, server_close};

/// What follows the reply to connect, after `text`.
fn reply_to(text: &str) -> Vec<Value> {
    let mut world = world(1, 64);
    let conn = connected(&mut world);
    say(&mut world, conn, text);
    told(&mut world, conn).split_off(1)
}

#[test]
fn what_ends_a_connection() {
    let connect = r#"{"id":1,"connect":{}}"#;
    for (messages, code) in [
        (vec![r#"{"id":1,"subscribe":{"channel":"a"}}"#], 3501),
        (vec![r#"{"send":{}}"#], 3501),
        (vec!["{}"], 3501),
        (vec![connect, connect], 3501),
        (vec![connect, "{}"], 3501),
        (vec![connect, ""], 3501),
        (vec![connect, "nonsense"], 3501),
        (vec![connect, r#"{"id":2,"ping":{}}"#], 3501),
        (vec![connect, r#"{"subscribe":{"channel":"a"}}"#], 3501),
        (vec![connect, r#"{"id":2,"subscribe":{}}"#], 3501),
        (vec![connect, r#"{"id":2,"subscribe":{"channel":"a","delta":"other"}}"#], 3501),
        (vec![connect, r#"{"id":2,"unsubscribe":{"channel":""}}"#], 3501),
        (vec![connect, r#"{"send":{"data":1}}"#], 3508),
    ] {
        let mut world = world(1, 64);
        let conn = world.connect_centrifuge();
        for message in &messages {
            say(&mut world, conn, message);
        }
        assert_eq!(told(&mut world, conn).last(), Some(&json!(code)), "{messages:?}");
        world.kernel().recv_end(conn);
        world.settle();
        world.assert_empty();
    }
}

#[test]
fn what_is_no_text_or_too_large_ends_a_connection() {
    let mut binary = Vec::new();
    encode::append_message_masked(&mut binary, MessageKind::Binary, b"{}", [1; 4]);
    let mut not_utf8 = Vec::new();
    encode::append_message_masked(&mut not_utf8, MessageKind::Text, b"{\xff}", [1; 4]);
    let large = masked(&format!("{{\"id\":1,\"connect\":{{}}}}{}", " ".repeat(64 * 1024)));
    let deep = masked(&"[".repeat(30_000));
    for (bytes, code) in [(binary, 3501), (not_utf8, 1007), (large, 1009), (deep, 3501)] {
        let mut world = world(1, 64);
        let conn = world.connect_centrifuge();
        for piece in bytes.chunks(4096) {
            if world.kernel().is_armed(conn) {
                world.kernel().recv(conn, piece);
                world.settle();
            }
        }
        assert_eq!(told(&mut world, conn).last(), Some(&json!(code)));
    }
}

#[test]
fn what_is_answered_with_an_error() {
    let long = "c".repeat(limits::CHANNEL_NAME_MAX + 1);
    for (command, code) in [
        (json!({"subscribe": {"channel": long}}), 107),
        (json!({"subscribe": {"channel": "unknown:a"}}), 102),
        (json!({"subscribe": {"channel": "closed:a"}}), 103),
        (json!({"subscribe": {"channel": "$a"}}), 103),
        (json!({"subscribe": {"channel": "a#ann"}}), 103),
        (json!({"subscribe": {"channel": "a", "type": 1}}), 108),
        (json!({"subscribe": {"channel": "a", "tf": {"op": ""}}}), 108),
        (json!({"subscribe": {"channel": "binary:a"}}), 108),
        (json!({"publish": {"channel": "a"}}), 107),
        (json!({"publish": {"channel": "", "data": 1}}), 107),
        (json!({"publish": {"channel": long, "data": 1}}), 107),
        (json!({"publish": {"channel": "a", "data": 1, "type": 2}}), 108),
        (json!({"publish": {"channel": "closed:a", "data": 1}}), 103),
        (json!({"publish": {"channel": "unknown:a", "data": 1}}), 102),
        (json!({"presence": {"channel": "a"}}), 108),
        (json!({"presence_stats": {"channel": "unknown:a"}}), 102),
        (json!({"history": {"channel": "a"}}), 108),
        (
            json!({"history": {"channel": "full:a", "limit": 1, "since": {"offset": 1, "epoch": "x"}}}),
            112,
        ),
        (json!({"rpc": {"method": "a"}}), 104),
    ] {
        let mut command = command;
        command["id"] = json!(7);
        let told = reply_to(&command.to_string());
        assert_eq!(
            (&told[0]["id"], &told[0]["error"]["code"]),
            (&json!(7), &json!(code)),
            "{command}"
        );
        assert_eq!(told.len(), 1, "{told:?}");
    }
}

#[test]
fn subscriptions_are_counted_and_made_once() {
    let mut world = world(1, 1024);
    let conn = connected(&mut world);
    let most = limits::CHANNELS_PER_CONNECTION_MAX;
    for n in 0..=most {
        let subscribe = json!({"id": n + 2, "subscribe": {"channel": format!("c{n}")}});
        say(&mut world, conn, &subscribe.to_string());
    }
    let told_so_far = told(&mut world, conn);
    assert_eq!(told_so_far[most + 1]["error"]["code"], 106);
    assert_eq!(world.stats.counters.subscriptions.get(), most as u64);
    say(&mut world, conn, r#"{"id":900,"subscribe":{"channel":"c7"}}"#);
    say(&mut world, conn, r#"{"id":901,"unsubscribe":{"channel":"c7"}}"#);
    say(&mut world, conn, r#"{"id":902,"unsubscribe":{"channel":"c7"}}"#);
    say(&mut world, conn, r#"{"id":903,"subscribe":{"channel":"c7"}}"#);
    let last = told(&mut world, conn).split_off(most + 2);
    assert_eq!(last[0]["error"]["code"], 105);
    assert_eq!(
        last[1..3],
        [json!({"id":901,"unsubscribe":{}}), json!({"id":902,"unsubscribe":{}})]
    );
    assert_eq!(last[3]["subscribe"]["positioned"], true);
    world.kernel().recv_end(conn);
    world.settle();
    world.assert_empty();
}

#[test]
fn replies_that_are_there_at_once_leave_in_one_frame() {
    let mut world = world(1, 64);
    let conn = world.connect_centrifuge();
    let text = concat!(
        "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}\n",
        "{\n\"id\": 3,\n\"rpc\": {}\n}\n{\"id\":4,\"publish\":{\"channel\":\"a\",\"data\":{\n\"x\":1}}}"
    );
    say(&mut world, conn, text);
    let frames = frames(&mut world, conn);
    assert_eq!(frames[0].lines().count(), 2, "{frames:?}");
    let told = told(&mut world, conn);
    let ids: Vec<_> = told.iter().filter_map(|line| line["id"].as_u64()).collect();
    assert_eq!(ids, [1, 3, 2, 4]);
    let pushes: Vec<_> = told.iter().filter(|line| line.get("push").is_some()).collect();
    assert_eq!(pushes[0]["push"]["pub"]["data"], json!({"x": 1}));
    assert_eq!(pushes[0]["push"]["pub"]["offset"], 1);
}

#[test]
fn who_has_left_is_not_counted_by_the_next_command() {
    let mut world = world(1, 64);
    let conn = connected(&mut world);
    let text = concat!(
        "{\"id\":2,\"subscribe\":{\"channel\":\"full:a\"}}\n",
        "{\"id\":3,\"unsubscribe\":{\"channel\":\"full:a\"}}\n",
        "{\"id\":4,\"presence_stats\":{\"channel\":\"full:a\"}}\n",
        "{\"id\":5,\"presence\":{\"channel\":\"full:a\"}}",
    );
    say(&mut world, conn, text);
    let told = told(&mut world, conn);
    let reply = |id: u64| told.iter().find(|line| line["id"] == id).expect("a reply");
    assert_eq!(reply(4)["presence_stats"], json!({"num_clients": 0, "num_users": 0}));
    assert_eq!(reply(5)["presence"], json!({"presence": {}}));
}

#[test]
fn who_does_not_connect_is_stale() {
    let mut world = world(1, 64);
    let conn = world.connect_centrifuge();
    world.pass(Duration::from_millis(9_900));
    world.settle();
    assert!(told(&mut world, conn).is_empty());
    world.pass(Duration::from_millis(200));
    world.settle();
    assert_eq!(told(&mut world, conn), [json!(3502)]);
}

#[test]
fn pings_are_empty_objects_and_must_be_answered() {
    let mut world = world(1, 64);
    let conn = connected(&mut world);
    world.pass(Duration::from_millis(12_400));
    world.settle();
    assert_eq!(told(&mut world, conn).len(), 1, "no ping in the first half");
    world.pass(Duration::from_millis(12_800));
    world.settle();
    assert_eq!(frames(&mut world, conn)[1..], ["{}"]);
    say(&mut world, conn, "{}");
    world.pass(Duration::from_millis(24_800));
    world.settle();
    assert_eq!(told(&mut world, conn).len(), 2);
    world.pass(Duration::from_millis(400));
    world.settle();
    assert_eq!(told(&mut world, conn).len(), 3, "the next ping");
    // Other traffic does not replace the pong.
    world.pass(Duration::from_millis(9_000));
    say(&mut world, conn, r#"{"id":9,"rpc":{}}"#);
    world.pass(Duration::from_millis(1_200));
    world.settle();
    assert_eq!(told(&mut world, conn).last(), Some(&json!(3012)));
}

#[test]
fn pings_are_control_frames_for_those_who_ask_for_that() {
    let ping = [0x89, 0];
    let pong = [0x8A, 0x80, 1, 2, 3, 4];
    let mut world = world(1, 64);
    let conn = world.connect_pinged(true);
    say(&mut world, conn, r#"{"id":1,"connect":{}}"#);
    let reply = told(&mut world, conn).remove(0);
    let connect = reply["connect"].as_object().expect("connected");
    assert!(!connect.contains_key("ping") && !connect.contains_key("pong"), "{reply}");
    let reply_len = world.received(conn).len();
    for pings in 1..=3 {
        world.pass(Duration::from_millis(25_100));
        world.settle();
        assert_eq!(world.received(conn)[reply_len..], ping.repeat(pings));
        world.kernel().recv(conn, &pong);
        world.settle();
    }
    world.pass(Duration::from_millis(25_100));
    world.settle();
    world.pass(Duration::from_millis(10_100));
    world.settle();
    let close = server_close(CloseCode::NO_PONG, "no pong");
    assert_eq!(world.received(conn)[reply_len..], [&ping.repeat(4)[..], &close].concat());
}

#[test]
fn one_kind_of_pong_does_not_stand_for_the_other() {
    let pong = [0x8A, 0x80, 1, 2, 3, 4];
    // A pong in a control frame answers no ping of the protocol.
    let mut protocol_pings = world(1, 64);
    let conn = connected(&mut protocol_pings);
    protocol_pings.pass(Duration::from_millis(25_100));
    protocol_pings.settle();
    protocol_pings.kernel().recv(conn, &pong);
    protocol_pings.settle();
    protocol_pings.pass(Duration::from_millis(10_100));
    protocol_pings.settle();
    assert_eq!(told(&mut protocol_pings, conn).last(), Some(&json!(3012)));
    // An empty object answers no control frame.
    let mut frame_pings = world(1, 64);
    let conn = frame_pings.connect_pinged(true);
    say(&mut frame_pings, conn, r#"{"id":1,"connect":{}}"#);
    let reply_len = frame_pings.received(conn).len();
    frame_pings.pass(Duration::from_millis(25_100));
    frame_pings.settle();
    say(&mut frame_pings, conn, "{}");
    let close = server_close(Disconnect::BadRequest.code(), Disconnect::BadRequest.reason());
    assert_eq!(frame_pings.received(conn)[reply_len..], [&[0x89, 0][..], &close].concat());
}

#[test]
fn a_pong_does_not_put_off_the_connect_command() {
    for asked in [false, true] {
        let mut world = world(1, 64);
        let conn = world.connect_pinged(asked);
        world.pass(Duration::from_millis(5_000));
        world.kernel().recv(conn, &[0x8A, 0x80, 1, 2, 3, 4]);
        world.settle();
        world.pass(Duration::from_millis(5_100));
        world.settle();
        assert_eq!(told(&mut world, conn), [json!(3502)]);
    }
}
