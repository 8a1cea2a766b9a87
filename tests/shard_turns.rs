//! What happens to a connection when much happens to it in one turn of its shard.

mod loopback;

use std::io::{ErrorKind, Read};
use std::time::Instant;

use loopback::{ANSWER, Alone, PATIENCE, raw, settings};
use tidegate::limits::MAILBOX_LEN_DEFAULT;
use tidegate::publication::Payload;
use tidegate::shard::ShardSettings;
use tidegate::ws::{DecodeLimits, Decoder, Event, Role};

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
    alone.publish("news", Payload::binary(&PAYLOAD));
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

#[test]
fn publications_that_wait_together_keep_their_order_between_those_of_other_channels() {
    let mut alone = Alone::new();
    let mut news = alone.connect(raw(&["news"], false));
    let mut both = alone.connect(raw(&["news", "other"], false));
    for (channel, text) in [("news", "1"), ("news", "2"), ("other", "3"), ("news", "4")] {
        alone.publish(channel, Payload::text(text));
    }
    for (client, expected) in [(&mut news, "124"), (&mut both, "1234")] {
        let frames: Vec<u8> = expected.bytes().flat_map(|digit| [0x81, 1, digit]).collect();
        let mut received = vec![0; frames.len()];
        alone.read_exact(client, &mut received);
        assert_eq!(received, frames);
    }
    let counters = &alone.stats.counters;
    assert_eq!((counters.deliveries.get(), counters.messages_sent.get()), (7, 7));
    assert_eq!(alone.stats.delivery.snapshot().buckets.iter().sum::<u64>(), 4);
}
