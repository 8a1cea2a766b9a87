//! Clients of the Centrifuge protocol: what they say, and what they are told, line by line.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate::id::ConnId;
use tidegate::protocol::channel::{
    Audience, ChannelHooks, ChannelOptions, Format, HistoryOptions, Namespaces, Recovery,
    SlowConsumer,
};
use tidegate::ws::{DecodeLimits, Decoder, Event, Role};

use super::{Options, World, masked};

/// Everything is allowed and nothing is kept.
pub(crate) const OPEN: ChannelOptions = ChannelOptions {
    presence: false,
    join_leave: false,
    history: None,
    recovery: Recovery::Off,
    positioning: true,
    allow_subscribe: Audience::Anyone,
    allow_publish: Audience::Anyone,
    allow_presence: Audience::Anyone,
    allow_history: Audience::Anyone,
    format: Format::Json,
    hooks: ChannelHooks { subscribe: false, publish: false, sub_refresh: false },
    slow_consumer: SlowConsumer::Disconnect,
};

/// As `--dev` has it.
pub(crate) const FULL: ChannelOptions = ChannelOptions {
    presence: true,
    join_leave: true,
    history: Some(HistoryOptions { size: 100, ttl_ms: 300_000, meta_ttl_ms: 3_600_000 }),
    recovery: Recovery::Forced,
    ..OPEN
};

pub(crate) fn channels() -> Arc<Namespaces> {
    let closed = ChannelOptions { allow_subscribe: Audience::Nobody, ..OPEN };
    let closed = ChannelOptions { allow_publish: Audience::Subscriber, ..closed };
    let binary = ChannelOptions { format: Format::Binary, ..OPEN };
    let named = [("closed", closed), ("full", FULL), ("binary", binary)];
    Arc::new(Namespaces::new(OPEN, named.map(|(name, options)| (name.into(), options))))
}

pub(crate) fn world(shards: u16, lane_len: usize) -> World {
    World::with_channels(Options { shards, lane_len, ..Options::default() }, channels())
}

/// What a client was told, line by line; a Close is its code.
pub(crate) fn told(world: &mut World, conn: ConnId) -> Vec<Value> {
    let mut told = Vec::new();
    for text in frames(world, conn) {
        told.extend(text.lines().map(|line| serde_json::from_str(line).expect("JSON")));
    }
    told
}

/// Its frames as text.
pub(crate) fn frames(world: &mut World, conn: ConnId) -> Vec<String> {
    let mut bytes = world.received(conn);
    let mut rest = &mut bytes[..];
    let limits = DecodeLimits { message_size: 1 << 20, fragments: 1 };
    let mut decoder = Decoder::new(Role::Client);
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let decoded = decoder.handle(rest, &limits).expect("whole frames");
        match decoded.event.expect("whole frames") {
            Event::Message(message) => {
                frames.push(String::from_utf8(message.payload.to_vec()).expect("text"));
            }
            Event::Close(Some((code, _))) => frames.push(code.get().to_string()),
            other => panic!("{other:?}"),
        }
        let consumed = decoded.consumed;
        rest = &mut rest[consumed..];
    }
    frames
}

pub(crate) fn say(world: &mut World, conn: ConnId, text: &str) {
    world.kernel().recv(conn, &masked(text));
    world.settle();
}

/// A connected client; its first reply is looked at.
pub(crate) fn connected(world: &mut World) -> ConnId {
    let conn = world.connect_centrifuge();
    say(world, conn, r#"{"id":1,"connect":{}}"#);
    let told = told(world, conn);
    assert_eq!(told[0]["id"], 1);
    let connect = &told[0]["connect"];
    assert_eq!((&connect["ping"], &connect["pong"]), (&json!(25), &json!(true)));
    assert_eq!(connect["client"].as_str().expect("an id").len(), 36);
    conn
}

pub(crate) fn subscribed(world: &mut World, channel: &str) -> ConnId {
    let conn = connected(world);
    say(world, conn, &json!({"id": 2, "subscribe": {"channel": channel}}).to_string());
    conn
}
