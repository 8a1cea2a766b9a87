//! Compression on a shard: one copy for all who agreed on it, made only if one of them can take it;
//! what clients send inflated within its limit; nothing for the others.

mod loopback;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use loopback::{Alone, PATIENCE, raw, settings};
use tidegate::limits::MAILBOX_LEN_DEFAULT;
use tidegate::protocol::admission::Entry;
use tidegate::protocol::channel::{Audience, ChannelOptions, Namespaces, SlowConsumer};
use tidegate::protocol::hook::ForwardedHeaders;
use tidegate::publication::Payload;
use tidegate::shard::ShardSettings;
use tidegate::ws::{
    DecodeLimits, Decoder, DeflateParams, Deflater, Event, Inflater, MessageKind, Role, encode,
    inflate_message,
};

const SHARED: DeflateParams = DeflateParams {
    server_window_bits: 15,
    client_window_bits: 15,
    server_no_context_takeover: true,
    client_no_context_takeover: true,
};

const TAKEOVER: DeflateParams = DeflateParams {
    server_window_bits: 9,
    client_window_bits: 12,
    server_no_context_takeover: false,
    client_no_context_takeover: false,
};

const LIMITS: DecodeLimits = DecodeLimits { message_size: 1 << 20, fragments: 1 };

/// What came: a message, or a close code and its reason.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Message { compressed: bool, payload: Vec<u8> },
    Close(u16, String),
}

/// A client's end with its decoder.
struct Client {
    stream: TcpStream,
    decoder: Decoder,
    inflater: Inflater,
    received: Vec<u8>,
}

impl Client {
    fn new(alone: &mut Alone, entry: Entry, deflate: Option<DeflateParams>) -> Self {
        let stream = alone.connect_compressed(entry, deflate);
        let decoder =
            deflate.map_or(Decoder::new(Role::Client), |_| Decoder::with_deflate(Role::Client));
        let takeover = deflate.is_some_and(|params| !params.server_no_context_takeover);
        Self { stream, decoder, inflater: Inflater::new(takeover), received: Vec::new() }
    }

    /// The next thing that is said, turning the shard while nothing is there.
    fn next(&mut self, alone: &mut Alone) -> Said {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut input = std::mem::take(&mut self.received);
            let decoded = self.decoder.handle(&mut input, &LIMITS).expect("good frames");
            let consumed = decoded.consumed;
            let said = match decoded.event {
                Some(Event::Message(message)) => {
                    let compressed = message.compressed;
                    let mut payload = message.payload.into_owned();
                    if compressed {
                        let deflated = std::mem::take(&mut payload);
                        let inflater = &mut self.inflater;
                        inflate_message(inflater, message.kind, &deflated, 1 << 20, &mut payload)
                            .expect("a good message");
                    }
                    Some(Said::Message { compressed, payload })
                }
                Some(Event::Close(Some((code, reason)))) => {
                    Some(Said::Close(code.get(), reason.into_owned()))
                }
                None => None,
                other => panic!("{other:?}"),
            };
            self.received = input.split_off(consumed);
            if let Some(said) = said {
                return said;
            }
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => panic!("the end"),
                Ok(len) => self.received.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    assert!(Instant::now() < deadline, "nothing was said in time");
                    alone.shard.turn().expect("the ring works");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn send_plain(&mut self, text: &str) {
        let mut frame = Vec::new();
        encode::append_message_masked(&mut frame, MessageKind::Text, text.as_bytes(), [1, 2, 3, 4]);
        self.stream.write_all(&frame).expect("room");
    }

    fn send(&mut self, kind: MessageKind, deflated: &[u8]) {
        let mut frame = Vec::new();
        encode::append_compressed_message_masked(&mut frame, kind, deflated, [1, 2, 3, 4]);
        self.stream.write_all(&frame).expect("room");
    }
}

fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Deflater::new(SHARED.outgoing(Role::Client), 6).deflate_message(payload, &mut out);
    out
}

fn prose(index: usize) -> Vec<u8> {
    format!("{{\"n\":{index},\"text\":\"{}\"}}", "the same again, ".repeat(20)).into_bytes()
}

fn noise(len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(1);
    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
}

#[test]
fn a_publication_is_compressed_once_and_only_for_those_who_agreed() {
    let mut alone = Alone::new();
    let mut plain = Client::new(&mut alone, raw(&["news"], false), None);
    alone.publish("news", Payload::binary(&prose(0)));
    assert_eq!(plain.next(&mut alone), Said::Message { compressed: false, payload: prose(0) });
    assert_eq!(alone.stats.counters.messages_compressed.get(), 0, "nobody agreed");

    let mut clients: Vec<_> =
        (0..50).map(|_| Client::new(&mut alone, raw(&["news"], false), Some(SHARED))).collect();
    for index in 1..=20 {
        alone.publish("news", Payload::binary(&prose(index)));
        for client in &mut clients {
            let expected = Said::Message { compressed: true, payload: prose(index) };
            assert_eq!(client.next(&mut alone), expected);
        }
        let expected = Said::Message { compressed: false, payload: prose(index) };
        assert_eq!(plain.next(&mut alone), expected);
    }
    let counters = &alone.stats.counters;
    assert_eq!(counters.messages_compressed.get(), 20);
    let before: usize = (1..=20).map(|index| prose(index).len()).sum();
    assert_eq!(counters.compression_input_bytes.get(), before as u64);
    assert!(counters.compression_output_bytes.get() < before as u64 / 3);
    assert_eq!(counters.compressed_connections.get(), 50);
    assert_eq!(counters.deliveries.get(), 1 + 20 * 51);
}

#[test]
fn a_push_of_the_centrifuge_protocol_is_compressed_once_too() {
    // Delivered together where they wait together, and one by one.
    for slow_consumer in [SlowConsumer::Disconnect, SlowConsumer::Newest] {
        check_pushes(slow_consumer);
    }
}

fn check_pushes(slow_consumer: SlowConsumer) {
    let options = ChannelOptions {
        allow_subscribe: Audience::Anyone,
        slow_consumer,
        ..ChannelOptions::default()
    };
    let channels = Arc::new(Namespaces::new(options, []));
    let mut alone = Alone::with(ShardSettings { channels, ..settings(MAILBOX_LEN_DEFAULT) });
    let headers = ForwardedHeaders::default();
    let entry = Entry::Centrifuge { headers, frame_pings: false };
    let mut clients: Vec<_> = (0..40)
        .map(|n| Client::new(&mut alone, entry.clone(), (n % 4 > 0).then_some(SHARED)))
        .collect();
    let mut raw = Client::new(&mut alone, raw(&["news"], false), Some(SHARED));
    // What a client says may be compressed or not; what it alone is told is not.
    let commands = "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"news\"}}";
    for (n, client) in clients.iter_mut().enumerate() {
        match n % 4 {
            0 => client.send_plain(commands),
            _ => client.send(MessageKind::Text, &deflated(commands.as_bytes())),
        }
        let mut told = String::new();
        while told.lines().count() < 2 {
            let said = client.next(&mut alone);
            let Said::Message { compressed: false, payload } = said else { panic!("{said:?}") };
            told.push_str(std::str::from_utf8(&payload).expect("text"));
            told.push('\n');
        }
        assert!(told.ends_with("{\"id\":2,\"subscribe\":{}}\n"), "{told}");
    }
    assert_eq!(alone.stats.counters.messages_inflated.get(), 30);
    // Several wait together: each is a message of its own all the same, between plain ones.
    for round in 0..4 {
        let numbers = 5 * round..5 * (round + 1);
        numbers.clone().for_each(|n| alone.publish("news", Payload::binary(&prose(n))));
        alone.publish("news", Payload::binary(b"[1]"));
        for (n, client) in clients.iter_mut().enumerate() {
            for number in numbers.clone() {
                let said = client.next(&mut alone);
                let Said::Message { compressed, payload } = said else { panic!("{said:?}") };
                assert_eq!(compressed, n % 4 > 0);
                let pub_start = b"{\"push\":{\"channel\":\"news\",\"pub\":{\"data\":";
                let data = payload.strip_prefix(pub_start).expect("a push");
                assert!(data.starts_with(&prose(number)));
            }
            let said = client.next(&mut alone);
            assert!(matches!(said, Said::Message { compressed: false, .. }), "{said:?}");
        }
        for number in numbers {
            let expected = Said::Message { compressed: true, payload: prose(number) };
            assert_eq!(raw.next(&mut alone), expected);
        }
        raw.next(&mut alone);
    }
    // Once for each protocol.
    assert_eq!(alone.stats.counters.messages_compressed.get(), 2 * 20);
    assert_eq!(alone.stats.counters.publications_superseded.get(), 0);
}

#[test]
fn what_is_short_or_gains_nothing_is_sent_as_it_is() {
    let mut alone = Alone::new();
    let mut client = Client::new(&mut alone, raw(&["news"], false), Some(SHARED));
    for (payload, runs) in [(vec![b'a'; 127], 0), (noise(1_000), 1), (Vec::new(), 1)] {
        alone.publish("news", Payload::binary(&payload));
        let expected = Said::Message { compressed: false, payload };
        assert_eq!(client.next(&mut alone), expected);
        assert_eq!(alone.stats.counters.messages_compressed.get(), runs);
    }
}

#[test]
fn what_a_slow_client_does_not_get_is_not_compressed_for_it() {
    // The publication fits into an empty outbox to the byte, and not behind a 101.
    let payload = prose(0).repeat(100);
    let outbox_bytes = payload.len() + 4;
    let mut alone = Alone::with(ShardSettings { outbox_bytes, ..settings(MAILBOX_LEN_DEFAULT) });
    // Registered already, so that the next subscriber is a member at once.
    let mut plain = Client::new(&mut alone, raw(&["news"], false), None);
    let _slow = alone.hand_over_compressed(raw(&["news"], false), Some(SHARED));
    alone.publish("news", Payload::binary(&payload));
    assert_eq!(plain.next(&mut alone), Said::Message { compressed: false, payload });
    assert_eq!(alone.stats.counters.slow_consumers_disconnected.get(), 1);
    assert_eq!(alone.stats.counters.messages_compressed.get(), 0);
}

#[test]
fn a_client_publishes_compressed_and_others_receive_it_plain() {
    let mut alone = Alone::new();
    let mut publisher = Client::new(&mut alone, raw(&["news"], true), Some(SHARED));
    let mut plain = Client::new(&mut alone, raw(&["news"], false), None);
    for index in 0..3 {
        publisher.send(MessageKind::Text, &deflated(&prose(index)));
        let payload = prose(index);
        assert_eq!(plain.next(&mut alone), Said::Message { compressed: false, payload });
        let payload = prose(index);
        assert_eq!(publisher.next(&mut alone), Said::Message { compressed: true, payload });
    }
    assert_eq!(alone.stats.counters.messages_inflated.get(), 3);
}

#[test]
fn faults_in_compressed_messages_end_one_connection_with_their_code() {
    let bomb = deflated(&vec![0; 65_537]);
    let just_fits = deflated(&vec![0; 65_536]);
    for (wire, kind, expected) in [
        (&bomb[..], MessageKind::Binary, (1009, "message over the size limit")),
        (&[0xFF; 30], MessageKind::Binary, (1007, "compressed message is corrupt")),
        (&deflated(b"\xC3\x28"), MessageKind::Text, (1007, "text is not UTF-8")),
    ] {
        let mut alone = Alone::new();
        let mut other = Client::new(&mut alone, raw(&["news"], true), Some(SHARED));
        let mut faulty = Client::new(&mut alone, raw(&["news"], true), Some(SHARED));
        faulty.send(kind, wire);
        assert_eq!(faulty.next(&mut alone), Said::Close(expected.0, expected.1.to_owned()));
        other.send(MessageKind::Binary, &just_fits);
        let payload = vec![0; 65_536];
        assert_eq!(other.next(&mut alone), Said::Message { compressed: true, payload });
    }
}

#[test]
fn who_may_not_publish_is_told_so_without_anything_inflated() {
    let mut alone = Alone::new();
    let mut client = Client::new(&mut alone, raw(&["news"], false), Some(SHARED));
    client.send(MessageKind::Binary, &deflated(&vec![0; 65_537]));
    let expected = Said::Close(1008, "to publish, connect with publish=1".to_owned());
    assert_eq!(client.next(&mut alone), expected);
    assert_eq!(alone.stats.counters.messages_inflated.get(), 0);
}

#[test]
fn an_echo_keeps_to_windows_and_takeover_of_its_connection() {
    let mut alone = Alone::new();
    for params in [SHARED, TAKEOVER] {
        let mut client = Client::new(&mut alone, Entry::Echo, Some(params));
        let mut deflater = Deflater::new(params.outgoing(Role::Client), 6);
        let before = alone.stats.counters.compression_output_bytes.get();
        for _ in 0..3 {
            let mut wire = Vec::new();
            deflater.deflate_message(&noise(200), &mut wire);
            client.send(MessageKind::Binary, &wire);
            let payload = noise(200);
            assert_eq!(client.next(&mut alone), Said::Message { compressed: true, payload });
        }
        let sent = alone.stats.counters.compression_output_bytes.get() - before;
        let one = deflated(&noise(200)).len() as u64;
        assert_eq!(sent < 2 * one, !params.server_no_context_takeover, "{sent} for {one}");
        let mut wire = Vec::new();
        deflater.deflate_message(b"short", &mut wire);
        client.send(MessageKind::Text, &wire);
        let payload = b"short".to_vec();
        assert_eq!(client.next(&mut alone), Said::Message { compressed: false, payload });
    }
}

#[test]
fn the_end_of_a_connection_ends_its_compression() {
    let mut alone = Alone::new();
    for params in [SHARED, TAKEOVER] {
        let mut client = Client::new(&mut alone, Entry::Echo, Some(params));
        client.send(MessageKind::Text, &deflated(&prose(1)));
        client.next(&mut alone);
    }
    let deadline = Instant::now() + PATIENCE;
    while alone.stats.counters.compressed_connections.get() > 0 {
        assert!(Instant::now() < deadline, "connections that are gone are still counted");
        alone.shard.turn().expect("the ring works");
    }
}
