//! permessage-deflate through `tidegate::conn`: whole messages and pieces, prepared ones, with and
//! without context takeover, and what a peer may make of little.

mod pair;

use pair::{masked, pair_with, pattern, raw_and_server_with, run, unmasked};
use tidegate::conn::{Conn, ConnParts, DeflateParams, Error, MessageKind, PreparedMessage, Role};
use tidegate::ws::{DeflateSide, Deflater, Opcode, ProtocolError};

const TAKEOVER: DeflateParams = DeflateParams {
    server_window_bits: 15,
    client_window_bits: 15,
    server_no_context_takeover: false,
    client_no_context_takeover: false,
};

const NO_TAKEOVER: DeflateParams = DeflateParams {
    server_no_context_takeover: true,
    client_no_context_takeover: true,
    ..TAKEOVER
};

const SMALL_WINDOW: DeflateParams =
    DeflateParams { server_window_bits: 9, client_window_bits: 9, ..TAKEOVER };

/// Text that compresses, and differs from place to place.
fn text(len: usize) -> String {
    let words = (0..).map(|number| format!("word {} of {}, ", number % 97, number / 7));
    let mut text: String = words.take(len / 10 + 1).collect();
    text.truncate(len);
    text
}

async fn read_pieces(conn: &mut Conn) -> (MessageKind, Vec<u8>) {
    let (kind, mut reader) = conn.next_reader().await.expect("a message");
    let mut message = Vec::new();
    reader.read_to_end(&mut message).await.expect("all of it");
    (kind, message)
}

#[test]
fn messages_of_all_forms_arrive_whole_and_in_pieces() {
    run(async {
        for params in [TAKEOVER, NO_TAKEOVER, SMALL_WINDOW] {
            let (mut client, mut server) = pair_with(Some(params));
            let text = text(100_000);
            // Another text, so that whoever takes it for the one before it goes astray.
            let shout = text.to_uppercase();
            let prepared = PreparedMessage::new(MessageKind::Text, &*shout).expect("UTF-8");
            for round in 0..4 {
                // Every way of sending changes what the next one may refer to.
                let send = async {
                    client.write_message(MessageKind::Text, text.as_bytes()).await.expect("sent");
                    let mut writer = client.next_writer(MessageKind::Text).expect("open");
                    for part in text.as_bytes().chunks(777) {
                        writer.write(part).await.expect("sent");
                    }
                    writer.close().await.expect("sent");
                    client.write_prepared(&prepared).await.expect("sent");
                    client.write_message(MessageKind::Text, text.as_bytes()).await.expect("sent");
                    client.enable_write_compression(false);
                    client.write_message(MessageKind::Text, text.as_bytes()).await.expect("sent");
                    client.write_prepared(&prepared).await.expect("sent");
                    client.enable_write_compression(true);
                    let given_up = client.next_writer(MessageKind::Text).expect("open");
                    drop(given_up);
                    client.write_message(MessageKind::Text, b"").await.expect("sent");
                    client.set_compression_level(1 + 2 * round);
                    client.write_message(MessageKind::Text, text.as_bytes()).await.expect("sent");
                };
                let receive = async {
                    for expected in [&*text, &text, &shout, &text, &text, &shout, "", &text] {
                        if round % 2 == 0 {
                            let read = server.read_message().await.expect("a message");
                            assert_eq!(read.as_text(), Some(expected));
                        } else {
                            let read = read_pieces(&mut server).await;
                            assert_eq!(read, (MessageKind::Text, expected.as_bytes().to_vec()));
                        }
                    }
                };
                tokio::join!(send, receive);
            }
            assert_eq!(prepared.deflated_count(), 3, "once for each level in use");
        }
    });
}

#[test]
fn a_prepared_message_is_compressed_once_for_all_connections() {
    run(async {
        let text = text(10_000);
        let prepared = PreparedMessage::new(MessageKind::Text, &*text).expect("UTF-8");
        assert!(matches!(
            PreparedMessage::new(MessageKind::Text, *b"\xFF"),
            Err(Error::TextNotUtf8)
        ));
        assert_eq!(prepared.deflated_count(), 0);
        for deflate in [None, Some(TAKEOVER), Some(NO_TAKEOVER), None, Some(TAKEOVER)] {
            let (mut client, mut server) = pair_with(deflate);
            for _ in 0..2 {
                client.write_prepared(&prepared).await.expect("sent");
                server.write_prepared(&prepared).await.expect("sent");
                let at_server = server.read_message().await.expect("a message");
                let at_client = client.read_message().await.expect("a message");
                assert_eq!(at_server.as_text(), Some(&*text));
                assert_eq!(at_client.as_text(), Some(&*text));
            }
        }
        assert_eq!(prepared.deflated_count(), 1);
    });
}

#[test]
fn a_small_message_on_the_wire_is_what_it_says() {
    run(async {
        let mut parts = ConnParts::new(Role::Server);
        parts.deflate = Some(NO_TAKEOVER);
        let (mut raw, mut server) = raw_and_server_with(parts);
        let side = DeflateSide { window_bits: 15, context_takeover: false };
        let mut deflated = Vec::new();
        Deflater::new(side, 1).deflate_message(text(5_000).as_bytes(), &mut deflated);
        assert!(deflated.len() < 2_000);
        server.write_message(MessageKind::Text, text(5_000).as_bytes()).await.expect("sent");
        let mut frame = unmasked(true, Opcode::Text, &deflated);
        frame[0] |= 0x40;
        raw.expect(&frame).await;
        // Skipped compressed messages, and plain ones among them, leave the rest readable.
        let mut compressed = masked(true, Opcode::Text, &deflated);
        compressed[0] |= 0x40;
        raw.send(&compressed);
        raw.send(&masked(true, Opcode::Text, b"plain"));
        raw.send(&compressed);
        server.next_reader().await.expect("a message to skip");
        assert_eq!(server.read_message().await.expect("a message").as_text(), Some("plain"));
        let last = server.read_message().await.expect("a message");
        assert_eq!(last.as_text(), Some(&*text(5_000)));
    });
}

#[test]
fn skipped_messages_stay_known_to_those_that_refer_to_them() {
    run(async {
        let (mut client, mut server) = pair_with(Some(TAKEOVER));
        for round in 0..10 {
            let text = text(3_000 + round);
            for _ in 0..3 {
                client.write_message(MessageKind::Text, text.as_bytes()).await.expect("sent");
            }
            let (_, mut reader) = server.next_reader().await.expect("a message");
            if round % 2 == 0 {
                reader.read().await.expect("a piece");
            }
            server.next_reader().await.expect("another to skip");
            assert_eq!(server.read_message().await.expect("a message").as_text(), Some(&*text));
        }
    });
}

#[test]
fn the_read_limit_counts_what_is_inflated() {
    run(async {
        for in_pieces in [false, true] {
            for (len, fits) in [(100_000, true), (100_001, false), (50_000_000, false)] {
                let mut parts = ConnParts::new(Role::Server);
                parts.deflate = Some(NO_TAKEOVER);
                let (mut raw, mut server) = raw_and_server_with(parts);
                server.set_read_limit(100_000);
                let side = DeflateSide { window_bits: 15, context_takeover: false };
                let mut deflated = Vec::new();
                Deflater::new(side, 9).deflate_message(&vec![0; len], &mut deflated);
                let middle = deflated.len() / 2;
                let mut first = masked(false, Opcode::Binary, &deflated[..middle]);
                first[0] |= 0x40;
                raw.send(&first);
                raw.send(&masked(true, Opcode::Continuation, &deflated[middle..]));
                let read = if in_pieces {
                    match server.next_reader().await {
                        Err(error) => Err(error),
                        Ok((_, mut reader)) => reader.read_to_end(&mut Vec::new()).await,
                    }
                } else {
                    server.read_message().await.map(|_| ())
                };
                if fits {
                    read.expect("it fits");
                    continue;
                }
                assert!(matches!(read, Err(Error::Protocol(ProtocolError::MessageTooBig))));
                let body = b"\x03\xF1message over the size limit";
                raw.expect(&unmasked(true, Opcode::Close, body)).await;
            }
        }
    });
}

#[test]
fn a_reader_holds_little_of_what_little_becomes() {
    run(async {
        let (mut client, mut server) = pair_with(Some(TAKEOVER));
        client.set_compression_level(9);
        client.write_message(MessageKind::Binary, &vec![0; 16 << 20]).await.expect("sent");
        let (_, mut reader) = server.next_reader().await.expect("a message");
        let mut read_len = 0;
        while let Some(piece) = reader.read().await.expect("more of it") {
            assert!(piece.len() < 512 * 1024, "{}", piece.len());
            read_len += piece.len();
        }
        assert_eq!(read_len, 16 << 20);
    });
}

#[test]
fn inflated_text_is_checked_and_corrupt_bytes_are_a_fault() {
    run(async {
        let side = DeflateSide { window_bits: 15, context_takeover: false };
        let deflate = |message: &[u8]| {
            let mut deflated = Vec::new();
            Deflater::new(side, 1).deflate_message(message, &mut deflated);
            deflated
        };
        let cut = [text(9_000).as_bytes(), &"€".as_bytes()[..2]].concat();
        let faults = [
            (deflate(&cut), ProtocolError::TextNotUtf8),
            (deflate(b"\xFF"), ProtocolError::TextNotUtf8),
            (pattern(200), ProtocolError::DeflateCorrupt),
        ];
        for (payload, fault) in faults {
            for in_pieces in [false, true] {
                let mut parts = ConnParts::new(Role::Server);
                parts.deflate = Some(NO_TAKEOVER);
                let (mut raw, mut server) = raw_and_server_with(parts);
                let mut frame = masked(true, Opcode::Text, &payload);
                frame[0] |= 0x40;
                raw.send(&frame);
                let read = if in_pieces {
                    let (_, mut reader) = server.next_reader().await.expect("a header");
                    reader.read_to_end(&mut Vec::new()).await
                } else {
                    server.read_message().await.map(|_| ())
                };
                let found = read.expect_err("a fault");
                assert!(matches!(found, Error::Protocol(found) if found == fault), "{found}");
            }
        }
    });
}
