//! What happens to a connection when much happens to it in one turn of its shard.

mod loopback;

use std::io::{ErrorKind, Read};
use std::time::Instant;

use loopback::{ANSWER, Alone, PATIENCE, raw, settings};
use tidegate::limits::MAILBOX_LEN_DEFAULT;
use tidegate::mail::{Publish, Reply, Request};
use tidegate::publication::{Payload, PublishOptions};
use tidegate::shard::ShardSettings;
use tidegate::ws::{DecodeLimits, Decoder, Event, Role};
use tokio::sync::oneshot;

static PAYLOAD: [u8; 60_000] = [7; 60_000];

#[test]
fn who_is_too_slow_in_the_turn_of_its_upgrade_reads_the_101_first() {
    // A publication fits into an empty outbox to the byte, and not behind a 101.
    let frame_len = PAYLOAD.len() + 4;
    let mut alone =
        Alone::with(ShardSettings { outbox_bytes: frame_len, ..settings(MAILBOX_LEN_DEFAULT) });
    // Registered already, so that the next subscriber is a member at once.
    let _first = alone.connect(raw(&["news"], false));
    let mut client = alone.hand_over(raw(&["news"], false));
    let (reply, _outcome) = oneshot::channel();
    let publish = Publish {
        channel: "news".into(),
        payload: Payload::binary(&PAYLOAD),
        options: PublishOptions::default(),
        info: None,
        accepted_at: Instant::now(),
        reply: Reply::Control(reply),
    };
    let pushed = alone.requests.push(Request::Publish(Box::new(publish)));
    assert!(pushed.is_ok(), "the lane has room");
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
    assert_eq!(alone.stats.counters.slow_consumers_disconnected.get(), 1);

    let limits = DecodeLimits { message_size: PAYLOAD.len(), fragments: 1 };
    let mut decoder = Decoder::new(Role::Client);
    let decoded = decoder.handle(&mut bytes[ANSWER.len()..], &limits).expect("whole frames");
    let Some(Event::Close(Some((code, _)))) = decoded.event else { panic!("{decoded:?}") };
    assert_eq!(code.get(), 3008);
}
