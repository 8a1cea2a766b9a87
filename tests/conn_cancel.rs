//! Calls that are dropped before their end, deadlines, and connections that are dropped.

mod pair;

use std::future::{Future, poll_fn};
use std::io::Write;
use std::pin::pin;
use std::time::{Duration, Instant};

use pair::{masked, pair, pattern, raw_and_server, run, unmasked};
use tidegate::conn::{Conn, Error, Message, MessageKind};
use tidegate::ws::Opcode;

/// Reads a message with a call for each time the task is woken, each dropped at its first wait.
async fn read_message_dropping(conn: &mut Conn, dropped_count: &mut usize) -> Message {
    let message = poll_fn(|cx| {
        let call = pin!(conn.read_message());
        *dropped_count += 1;
        call.poll(cx)
    });
    message.await.expect("a message")
}

#[test]
fn a_message_in_single_bytes_survives_calls_dropped_at_every_wait() {
    run(async {
        let (mut raw, mut server) = raw_and_server();
        let message = pattern(1 << 20);
        let stream = [
            masked(false, Opcode::Binary, &message[..500_000]),
            masked(true, Opcode::Continuation, &message[500_000..]),
            masked(true, Opcode::Text, b"next"),
        ]
        .concat();
        let writer = std::thread::spawn(move || {
            for byte in stream.chunks(1) {
                raw.0.write_all(byte).expect("the server reads");
            }
            raw
        });
        let mut dropped_count = 0;
        let read = read_message_dropping(&mut server, &mut dropped_count).await;
        assert!(*read.payload == message[..]);
        let next = read_message_dropping(&mut server, &mut dropped_count).await;
        assert_eq!(next.as_text(), Some("next"));
        assert!(dropped_count > 2, "nothing ever waited");
        drop(writer.join().expect("no panic"));
    });
}

#[test]
fn a_reader_goes_on_where_a_dropped_call_stopped() {
    run(async {
        let (mut raw, mut server) = raw_and_server();
        let message = pattern(300);
        let stream = masked(true, Opcode::Binary, &message);
        for cut in [0, 1, 4, 8, 9, 150, stream.len() - 1] {
            raw.send(&stream[..cut]);
            let pause = Duration::from_millis(5);
            assert!(tokio::time::timeout(pause, server.read_message()).await.is_err());
            raw.send(&stream[cut..]);
            let (_, mut reader) = server.next_reader().await.expect("the same message");
            let mut read = Vec::new();
            reader.read_to_end(&mut read).await.expect("all of it");
            assert!(read == message, "cut at {cut}");
        }
    });
}

#[test]
fn calls_that_read_pieces_may_be_dropped_at_every_wait() {
    run(async {
        let (mut raw, mut server) = raw_and_server();
        let message = pattern(20_000);
        let stream = masked(true, Opcode::Binary, &message);
        let writer = std::thread::spawn(move || {
            for bytes in stream.chunks(7) {
                raw.0.write_all(bytes).expect("the server reads");
            }
            raw
        });
        let opened = poll_fn(|cx| match pin!(server.next_reader()).poll(cx) {
            std::task::Poll::Ready(opened) => std::task::Poll::Ready(opened.map(|_| ())),
            std::task::Poll::Pending => std::task::Poll::Pending,
        });
        opened.await.expect("a message");
        drop(writer.join().expect("no panic"));

        let (mut raw, mut server) = raw_and_server();
        let stream = masked(true, Opcode::Binary, &message);
        let writer = std::thread::spawn(move || {
            for bytes in stream.chunks(7) {
                raw.0.write_all(bytes).expect("the server reads");
            }
            raw
        });
        let (_, mut reader) = server.next_reader().await.expect("a message");
        let mut read = Vec::new();
        loop {
            let more = poll_fn(|cx| {
                let piece = std::task::ready!(pin!(reader.read()).poll(cx)).expect("more of it");
                std::task::Poll::Ready(piece.map(|piece| read.extend_from_slice(piece)).is_some())
            });
            if !more.await {
                break;
            }
        }
        assert!(read == message);
        drop(writer.join().expect("no panic"));
    });
}

#[test]
fn a_deadline_in_the_middle_of_a_message_loses_nothing() {
    run(async {
        let (mut raw, mut server) = raw_and_server();
        let stream = masked(true, Opcode::Text, "in two parts".as_bytes());
        for cut in 0..stream.len() {
            raw.send(&stream[..cut]);
            server.set_read_deadline(Some(Instant::now() + Duration::from_millis(2)));
            for _ in 0..2 {
                let late = server.read_message().await;
                assert!(matches!(late, Err(Error::TimedOut)), "{late:?}");
            }
            raw.send(&stream[cut..]);
            server.set_read_deadline(Some(Instant::now() + Duration::from_secs(20)));
            let message = server.read_message().await.expect("the whole message");
            assert_eq!(message.as_text(), Some("in two parts"));
        }
    });
}

#[test]
fn a_write_that_times_out_is_the_last_and_reading_goes_on() {
    run(async {
        let (mut raw, mut server) = raw_and_server();
        server.set_write_deadline(Some(Instant::now() + Duration::from_millis(20)));
        let large = pattern(32 << 20);
        let late = server.write_message(MessageKind::Binary, &large).await;
        assert!(matches!(late, Err(Error::TimedOut)), "{late:?}");
        server.set_write_deadline(None);
        let after = server.write_message(MessageKind::Text, b"after").await;
        assert!(matches!(after, Err(Error::TimedOut)), "{after:?}");
        raw.send(&masked(true, Opcode::Text, b"still there?"));
        let message = server.read_message().await.expect("a message");
        assert_eq!(message.as_text(), Some("still there?"));
    });
}

#[test]
fn a_message_whose_call_was_dropped_is_sent_whole_or_not_at_all() {
    run(async {
        let (mut client, mut server) = pair();
        // Far more than the kernel buffers, so that calls wait for the queue and are dropped there.
        let sending = async {
            let mut sent = Vec::new();
            for number in 0..400_u32 {
                let mut message = pattern(100_000);
                message[..4].copy_from_slice(&number.to_be_bytes());
                let done = poll_fn(|cx| {
                    let call = pin!(client.write_message(MessageKind::Binary, &message));
                    match call.poll(cx) {
                        std::task::Poll::Ready(result) => std::task::Poll::Ready(Some(result)),
                        std::task::Poll::Pending => std::task::Poll::Ready(None),
                    }
                });
                if let Some(result) = done.await {
                    result.expect("a reader");
                }
                sent.push(number);
                tokio::task::yield_now().await;
            }
            client.flush().await.expect("a reader");
            client.write_message(MessageKind::Text, b"end").await.expect("a reader");
            sent
        };
        let receiving = async {
            let mut received = Vec::new();
            loop {
                let message = server.read_message().await.expect("a message");
                if message.kind == MessageKind::Text {
                    return received;
                }
                assert_eq!(message.payload[4..], pattern(100_000)[4..]);
                let number = message.payload[..4].try_into().expect("four bytes");
                received.push(u32::from_be_bytes(number));
            }
        };
        let (sent, received) = tokio::join!(sending, receiving);
        assert!(received.is_sorted(), "no message overtakes another");
        assert!(!received.is_empty() && received.len() <= sent.len());
    });
}

#[test]
fn dropping_a_connection_closes_its_socket_whatever_is_in_flight() {
    run(async {
        // Nothing in flight.
        let (mut raw, server) = raw_and_server();
        drop(server);
        raw.expect_end().await;

        // A read.
        let (mut raw, mut server) = raw_and_server();
        let pause = Duration::from_millis(5);
        assert!(tokio::time::timeout(pause, server.read_message()).await.is_err());
        drop(server);
        raw.expect_end().await;

        // A read and a write, in halves, of which the last one counts.
        let (mut raw, server) = raw_and_server();
        let (mut read, mut write) = server.split();
        assert!(tokio::time::timeout(pause, read.read_message()).await.is_err());
        drop(read);
        write.write_message(MessageKind::Text, b"still open").await.expect("a reader");
        raw.expect(&unmasked(true, Opcode::Text, b"still open")).await;
        let large = pattern(32 << 20);
        let write_large = write.write_message(MessageKind::Binary, &large);
        assert!(tokio::time::timeout(pause, write_large).await.is_err());
        let controls = write.controls();
        drop(write);
        // What the kernel had taken still comes.
        assert!(raw.receive(64 << 20).await.len() < large.len());
        let gone = controls.queue(tidegate::conn::Control::Ping(b""));
        assert!(matches!(gone, Err(Error::Dropped)));
    });
}

#[test]
fn the_socket_is_given_back_with_what_was_not_consumed() {
    run(async {
        let (mut raw, mut server) = raw_and_server();
        raw.send(&[&masked(true, Opcode::Text, b"last")[..], b"other protocol"].concat());
        server.read_message().await.expect("a message");
        let (socket, rest) = server.into_inner().expect("nothing in flight");
        assert_eq!(rest, b"other protocol");
        let (result, _) = socket.write_all(b"and back".to_vec()).await;
        result.expect("an open socket");
        raw.expect(b"and back").await;

        let (mut raw, mut server) = raw_and_server();
        let pause = Duration::from_millis(5);
        assert!(tokio::time::timeout(pause, server.read_message()).await.is_err());
        let mut server = server.into_inner().err().expect("a read is in flight");
        raw.send(&masked(true, Opcode::Text, b"still a connection"));
        let message = server.read_message().await.expect("a message");
        assert_eq!(message.as_text(), Some("still a connection"));
        server.feed(MessageKind::Text, b"fed").await.expect("room");
        assert!(server.into_inner().is_err(), "something is queued");
    });
}
