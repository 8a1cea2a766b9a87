//! Messages in fragments and pieces: of every size, with control frames between them, however the
//! bytes are cut.

mod pair;

use pair::{Raw, masked, pair, pattern, raw_and_server, run, unmasked};
use tidegate::conn::{Conn, Error, MessageKind};
use tidegate::ws::Opcode;

/// Sizes around every change of the header's form.
const SIZES: [usize; 10] = [0, 1, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536];

async fn read_pieces(conn: &mut Conn) -> (MessageKind, Vec<u8>) {
    let (kind, mut reader) = conn.next_reader().await.expect("a message");
    let mut message = Vec::new();
    while let Some(piece) = reader.read().await.expect("more of it") {
        assert!(!piece.is_empty());
        message.extend_from_slice(piece);
    }
    assert!(reader.read().await.expect("its end").is_none(), "an end is an end");
    (kind, message)
}

#[test]
fn fragments_of_every_size_make_the_message_for_both_ways_to_read() {
    run(async {
        let (mut raw, mut server) = raw_and_server();
        for first in SIZES {
            for second in SIZES {
                let message = pattern(first + second);
                let stream = [
                    masked(false, Opcode::Binary, &message[..first]),
                    masked(true, Opcode::Ping, b"between"),
                    masked(true, Opcode::Continuation, &message[first..]),
                ]
                .concat();
                raw.send(&stream);
                let read = server.read_message().await.expect("a message");
                assert!(*read.payload == message[..], "{first} and {second}");
                raw.expect(&unmasked(true, Opcode::Pong, b"between")).await;

                raw.send(&stream);
                let read = read_pieces(&mut server).await;
                assert!(read == (MessageKind::Binary, message), "{first} and {second}");
                raw.expect(&unmasked(true, Opcode::Pong, b"between")).await;
            }
        }
    });
}

#[test]
fn a_writer_sends_fragments_of_its_size_and_the_last_on_close() {
    run(async {
        let (client, server) = pair::sockets();
        let mut parts = tidegate::conn::ConnParts::new(tidegate::conn::Role::Server);
        parts.write_buffer_size = 10;
        let (mut raw, mut server) = (Raw(client), pair::conn(server, parts));
        for written in [&[25][..], &[10, 10, 5], &[3, 22], &[1; 25]] {
            let message = pattern(25);
            let mut rest = &message[..];
            let mut writer = server.next_writer(MessageKind::Binary).expect("open");
            for len in written {
                let (now, later) = rest.split_at(*len);
                writer.write(now).await.expect("room");
                rest = later;
            }
            writer.close().await.expect("a reader");
            raw.expect(&unmasked(false, Opcode::Binary, &message[..10])).await;
            raw.expect(&unmasked(false, Opcode::Continuation, &message[10..20])).await;
            raw.expect(&unmasked(true, Opcode::Continuation, &message[20..])).await;
        }
        let writer = server.next_writer(MessageKind::Text).expect("open");
        writer.close().await.expect("a reader");
        raw.expect(&unmasked(true, Opcode::Text, b"")).await;

        let mut writer = server.next_writer(MessageKind::Text).expect("open");
        writer.write(b"early").await.expect("room");
        writer.flush().await.expect("a reader");
        raw.expect(&unmasked(false, Opcode::Text, b"early")).await;
        writer.close().await.expect("a reader");
        raw.expect(&unmasked(true, Opcode::Continuation, b"")).await;
    });
}

#[test]
fn writer_and_reader_carry_messages_of_every_size_to_each_other() {
    run(async {
        let (mut client, mut server) = pair();
        for size in SIZES.into_iter().chain([1 << 20]) {
            let message = pattern(size);
            let send = async {
                let mut writer = client.next_writer(MessageKind::Binary).expect("open");
                for part in message.chunks(1_000) {
                    writer.write(part).await.expect("room");
                }
                writer.close().await.expect("a reader");
            };
            let ((), read) = tokio::join!(send, read_pieces(&mut server));
            assert!(read.1 == message, "{size} bytes");
        }
    });
}

#[test]
fn a_writer_given_up_cuts_no_message_short() {
    run(async {
        let (mut client, mut server) = pair();
        // Nothing was sent of it, so it never was.
        let mut writer = client.next_writer(MessageKind::Binary).expect("open");
        writer.write(b"forgotten").await.expect("room");
        drop(writer);
        client.write_message(MessageKind::Text, b"whole").await.expect("a reader");
        assert_eq!(server.read_message().await.expect("a message").as_text(), Some("whole"));

        let mut writer = client.next_writer(MessageKind::Binary).expect("open");
        writer.write(&pattern(10_000)).await.expect("room");
        drop(writer);
        for _ in 0..2 {
            let cut = client.write_message(MessageKind::Text, b"within").await;
            assert!(matches!(cut, Err(Error::MessageCut)), "{cut:?}");
        }
        drop(client);
        let read = server.read_message().await.map(|_| ());
        assert!(matches!(&read, Err(Error::Closed(close)) if close.code == 1006), "{read:?}");
    });
}

#[test]
fn a_reader_given_up_leaves_the_rest_to_be_skipped() {
    run(async {
        let (mut raw, mut server) = raw_and_server();
        for piece_count in 0..3 {
            raw.send(&masked(false, Opcode::Text, b"one"));
            raw.send(&masked(false, Opcode::Continuation, b"two"));
            let (kind, mut reader) = server.next_reader().await.expect("a message");
            assert_eq!(kind, MessageKind::Text);
            for _ in 0..piece_count {
                reader.read().await.expect("more of it").expect("a piece");
            }
            raw.send(&masked(true, Opcode::Continuation, b"three"));
            raw.send(&masked(true, Opcode::Text, b"next"));
            let next = server.read_message().await.expect("the next");
            assert_eq!(next.as_text(), Some("next"));
        }
    });
}

#[test]
fn every_chopping_of_the_stream_gives_the_same_messages() {
    run(async {
        let stream = [
            masked(false, Opcode::Text, "grü".as_bytes()),
            masked(true, Opcode::Ping, b"p"),
            masked(false, Opcode::Continuation, &"ße €".as_bytes()[..5]),
            masked(true, Opcode::Continuation, &"ße €".as_bytes()[5..]),
            masked(true, Opcode::Binary, &[7; 130]),
        ]
        .concat();
        for cut in 1..stream.len() {
            let (mut raw, mut server) = raw_and_server();
            raw.send(&stream[..cut]);
            let read = async {
                let message = server.read_message().await.expect("a message");
                assert_eq!(message.as_text(), Some("grüße €"));
                assert_eq!(read_pieces(&mut server).await.1, [7; 130]);
            };
            let mut read = std::pin::pin!(read);
            // What is there so far is taken before the rest comes.
            let pause = std::time::Duration::from_millis(1);
            assert!(tokio::time::timeout(pause, &mut read).await.is_err());
            raw.send(&stream[cut..]);
            read.await;
            raw.expect(&unmasked(true, Opcode::Pong, b"p")).await;
        }
    });
}

#[test]
fn text_is_checked_on_the_way_in_and_out_across_fragments() {
    run(async {
        let (mut client, mut server) = pair();
        for text in [&b"\xC0"[..], b"a\xE2\x82", "€".as_bytes().split_at(2).1] {
            let refused = client.write_message(MessageKind::Text, text).await;
            assert!(matches!(refused, Err(Error::TextNotUtf8)));
        }
        let mut writer = client.next_writer(MessageKind::Text).expect("open");
        writer.write(&"€".as_bytes()[..1]).await.expect("the beginning of a character");
        assert!(matches!(writer.write(b"x").await, Err(Error::TextNotUtf8)));
        writer.write(&"€".as_bytes()[1..]).await.expect("its rest");
        writer.close().await.expect("a reader");
        assert_eq!(server.read_message().await.expect("a message").as_text(), Some("€"));

        let mut writer = client.next_writer(MessageKind::Text).expect("open");
        writer.write(&"€".as_bytes()[..2]).await.expect("the beginning of a character");
        assert!(matches!(writer.close().await, Err(Error::TextNotUtf8)));

        let (mut raw, mut server) = raw_and_server();
        raw.send(&masked(false, Opcode::Text, &"€".as_bytes()[..2]));
        raw.send(&masked(true, Opcode::Continuation, b"x"));
        let (_, mut reader) = server.next_reader().await.expect("a message");
        assert_eq!(reader.read().await.expect("valid so far"), Some(&"€".as_bytes()[..2]));
        for _ in 0..2 {
            let fault = reader.read().await.map(|_| ());
            assert!(matches!(fault, Err(Error::Protocol(_))), "{fault:?}");
        }
        raw.expect(&unmasked(true, Opcode::Close, b"\x03\xEFtext is not UTF-8")).await;
    });
}

#[test]
fn joined_messages_are_one_stream_that_ends_with_a_regular_close() {
    run(async {
        let (mut raw, mut server) = raw_and_server();
        raw.send(&masked(true, Opcode::Text, b"one"));
        raw.send(&masked(false, Opcode::Binary, b"tw"));
        raw.send(&masked(true, Opcode::Ping, b""));
        raw.send(&masked(true, Opcode::Continuation, b"o"));
        raw.send(&masked(true, Opcode::Text, b""));
        raw.send(&masked(true, Opcode::Close, &[3, 232]));
        let mut stream = server.join_messages("\r\n");
        let mut joined = Vec::new();
        let mut buf = [0; 4];
        while let len @ 1.. = stream.read(&mut buf).await.expect("a regular end") {
            joined.extend_from_slice(&buf[..len]);
        }
        assert_eq!(joined, b"one\r\ntwo\r\n\r\n");

        let (mut raw, mut server) = raw_and_server();
        raw.send(&masked(false, Opcode::Text, b"cut"));
        drop(raw);
        let mut stream = server.join_messages("");
        let mut buf = [0; 4];
        assert_eq!(stream.read(&mut buf).await.expect("what there is"), 3);
        for _ in 0..2 {
            let end = stream.read(&mut buf).await;
            assert!(matches!(&end, Err(Error::Closed(close)) if close.code == 1006), "{end:?}");
        }
    });
}
