//! What happens to a connection when much happens to it in one turn of its shard.

mod loopback;

use std::io::{ErrorKind, Read};
use std::time::Instant;

use loopback::{ANSWER, Alone, PATIENCE, raw};
use tidegate::mail::{Publish, Reply, Request};
use tidegate::publication::Payload;
use tidegate::ws::{DecodeLimits, Decoder, Event, Role};
use tokio::sync::oneshot;

#[test]
fn who_is_too_slow_in_the_turn_of_its_upgrade_reads_the_101_first() {
    let mut alone = Alone::new();
    // Registered already, so that the next subscriber is a member at once.
    let _first = alone.connect(raw(&["news"], false));
    let mut client = alone.hand_over(raw(&["news"], false));
    let payload = Payload::binary(&[7; 60_000]);
    for _ in 0..30 {
        let (reply, _outcome) = oneshot::channel();
        let publish = Publish {
            channel: "news".into(),
            payload: payload.clone(),
            accepted_at: Instant::now(),
            reply: Reply::Control(reply),
        };
        let pushed = alone.requests.push(Request::Publish(Box::new(publish)));
        assert!(pushed.is_ok(), "the lane has room");
    }
    let mut bytes = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match client.read_to_end(&mut bytes) {
            Ok(_) => break,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(Instant::now() < deadline, "no end after {} bytes", bytes.len());
        alone.shard.turn().expect("the ring works");
    }
    assert!(bytes.starts_with(ANSWER), "{:?}", &bytes[..20]);
    assert_eq!(alone.stats.counters.slow_consumers_disconnected.get(), 2);

    let limits = DecodeLimits { message_size: 60_000, fragments: 1 };
    let mut decoder = Decoder::new(Role::Client);
    let mut rest = &mut bytes[ANSWER.len()..];
    let close = loop {
        let decoded = decoder.handle(rest, &limits).expect("whole frames");
        match decoded.event.expect("frames until the Close") {
            Event::Message(message) => assert!(*message.payload == [7; 60_000]),
            Event::Close(close) => break close,
            other => panic!("{other:?}"),
        }
        let consumed = decoded.consumed;
        rest = &mut rest[consumed..];
    };
    assert_eq!(close.expect("a code").0.get(), 3008);
}
