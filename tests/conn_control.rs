//! Control frames of `tidegate::conn`: their handlers, their place between other frames, and how a
//! connection closes.

mod pair;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use pair::{Raw, masked, pair, pattern, raw_and_server, run, unmasked};
use tidegate::conn::{
    CloseCode, Conn, ConnParts, Control, Controls, Error, MessageKind, Role, format_close_message,
    is_close_error, is_unexpected_close_error,
};
use tidegate::ws::Opcode;
use tokio::sync::Notify;

#[test]
fn pings_are_answered_while_reading_and_pongs_are_not() {
    run(async {
        let (mut raw, mut server) = raw_and_server();
        for payload in [&b""[..], b"x", &[0xFF; 125]] {
            raw.send(&masked(true, Opcode::Ping, payload));
            raw.send(&masked(true, Opcode::Pong, payload));
            raw.send(&masked(true, Opcode::Text, b"on"));
            server.read_message().await.expect("a message");
            raw.expect(&unmasked(true, Opcode::Pong, payload)).await;
        }
        server.write_message(MessageKind::Text, b"end").await.expect("a reader");
        raw.expect(&unmasked(true, Opcode::Text, b"end")).await;
    });
}

#[test]
fn handlers_take_the_place_of_the_default_and_may_call_it() {
    run(async {
        let (mut raw, mut server) = raw_and_server();
        let seen = Rc::new(RefCell::new(Vec::new()));
        let (seen_ping, seen_pong) = (Rc::clone(&seen), Rc::clone(&seen));
        let answer = server.ping_handler();
        server.set_ping_handler(move |controls, payload| {
            seen_ping.borrow_mut().push(payload.to_vec());
            controls.queue(Control::Ping(b"and you?"))?;
            answer(controls, payload)
        });
        server.set_pong_handler(move |_, payload| {
            seen_pong.borrow_mut().push(payload.to_vec());
            if payload == b"bad" { Err("not a good pong".into()) } else { Ok(()) }
        });
        server.set_close_handler(|controls, close| {
            assert_eq!((close.code, &*close.reason), (1001, "leaving"));
            Ok(controls.queue(Control::Close(Some(CloseCode::NORMAL), "fine"))?)
        });
        raw.send(&masked(true, Opcode::Ping, b"there?"));
        raw.send(&masked(true, Opcode::Pong, b"here"));
        raw.send(&masked(true, Opcode::Close, b"\x03\xE9leaving"));
        let error = server.read_message().await.map(|_| ()).expect_err("a Close");
        assert!(is_close_error(&error, &[1001]), "{error}");
        assert_eq!(*seen.borrow(), [b"there?".to_vec(), b"here".to_vec()]);
        raw.expect(&unmasked(true, Opcode::Ping, b"and you?")).await;
        raw.expect(&unmasked(true, Opcode::Pong, b"there?")).await;
        raw.expect(&unmasked(true, Opcode::Close, b"\x03\xE8fine")).await;

        let (mut raw, mut server) = raw_and_server();
        server.set_pong_handler(|_, _| Err("not a good pong".into()));
        raw.send(&masked(true, Opcode::Pong, b""));
        for _ in 0..2 {
            let error = server.read_message().await.map(|_| ()).expect_err("the handler's");
            assert!(matches!(&error, Error::Handler(cause) if cause.to_string().contains("good")));
        }
    });
}

#[test]
fn a_close_is_answered_before_the_reader_is_told_and_told_ever_after() {
    run(async {
        let bodies: [(&[u8], &[u8], u16, &str); 3] = [
            (b"\x03\xE8done", b"\x03\xE8", 1000, "done"),
            (b"", b"", 1005, ""),
            (b"\x0F\xA0", b"\x0F\xA0", 4000, ""),
        ];
        for (body, echoed, code, reason) in bodies {
            let (mut raw, mut server) = raw_and_server();
            raw.send(&masked(true, Opcode::Close, body));
            for _ in 0..3 {
                let error = server.read_message().await.map(|_| ()).expect_err("a Close");
                let Error::Closed(close) = &error else { panic!("{error}") };
                assert_eq!((close.code, &*close.reason), (code, reason));
                assert!(!is_unexpected_close_error(&error, &[1000, 1005, 4000]));
                assert!(is_unexpected_close_error(&error, &[1006]));
            }
            raw.expect(&unmasked(true, Opcode::Close, echoed)).await;
            let after = server.write_message(MessageKind::Text, b"too late").await;
            assert!(matches!(after, Err(Error::CloseSent)), "{after:?}");
            let after = server.next_reader().await.map(|_| ());
            assert!(matches!(after, Err(Error::Closed(_))), "{after:?}");
        }
    });
}

#[test]
fn both_ends_may_close_at_once() {
    run(async {
        for _ in 0..50 {
            let (mut client, mut server) = pair();
            client.feed(MessageKind::Text, b"still under way").await.expect("room");
            server.feed(MessageKind::Text, b"this one too").await.expect("room");
            let (at_client, at_server) = tokio::join!(
                client.close(CloseCode::NORMAL, "client"),
                server.close(CloseCode::GOING_AWAY, "server"),
            );
            let at_client = at_client.expect("the server's Close");
            assert_eq!((at_client.code, &*at_client.reason), (1001, "server"));
            let at_server = at_server.expect("the client's Close");
            assert_eq!((at_server.code, &*at_server.reason), (1000, "client"));
        }
    });
}

#[test]
fn closing_goes_on_to_the_end_of_the_stream_and_reads_what_is_under_way() {
    run(async {
        let (mut raw, server) = raw_and_server();
        let closing = tokio_uring::spawn(server.close(CloseCode::NORMAL, "bye"));
        raw.expect(&unmasked(true, Opcode::Close, b"\x03\xE8bye")).await;
        raw.expect_end().await;
        raw.send(&masked(true, Opcode::Binary, &pattern(100_000)));
        raw.send(&masked(true, Opcode::Close, b"\x0B\xBA"));
        raw.send(b"bytes behind the Close are no frames");
        tokio::task::yield_now().await;
        assert!(!closing.is_finished(), "it waits for the peer to close the socket");
        drop(raw);
        assert_eq!(closing.await.expect("no panic").expect("a Close").code, 3002);

        let (raw, server) = raw_and_server();
        drop(raw);
        let error = server.close(CloseCode::NORMAL, "").await.expect_err("no Close came");
        assert!(is_close_error(&error, &[1006]), "{error}");
    });
}

/// Payloads that arrived.
type Noted = Rc<RefCell<Vec<Vec<u8>>>>;

/// A client over `raw` that notes the Pongs and Pings it gets instead of answering.
fn noting_client(raw: &Raw) -> (Conn, Noted, Noted) {
    let socket = raw.0.try_clone().expect("a descriptor");
    let mut client = pair::conn(socket, ConnParts::new(Role::Client));
    let (pongs, pings) = (Rc::default(), Rc::default());
    let note = |list: &Noted| {
        let list = Rc::clone(list);
        move |_: &Controls, payload: &[u8]| {
            list.borrow_mut().push(payload.to_vec());
            Ok(())
        }
    };
    client.set_pong_handler(note(&pongs));
    client.set_ping_handler(note(&pings));
    (client, pongs, pings)
}

#[test]
fn control_frames_get_between_the_frames_of_a_half_that_is_writing() {
    run(async {
        let (mut raw, server) = raw_and_server();
        let (mut read, mut write) = server.split();
        let controls = write.controls();
        // The message is far larger than what the kernel takes while the peer does not read.
        let message = pattern(8 << 20);
        let sent = message.clone();
        let writing = tokio_uring::spawn(async move {
            let mut writer = write.next_writer(MessageKind::Binary).expect("open");
            writer.write(&sent).await.expect("a reader");
            writer.close().await.expect("a reader");
            write
        });
        let all_pinged = Rc::new(Notify::new());
        let note = Rc::clone(&all_pinged);
        let answer = read.ping_handler();
        read.set_ping_handler(move |controls, payload| {
            if payload == [99] {
                note.notify_one();
            }
            answer(controls, payload)
        });
        let reading = tokio_uring::spawn(async move {
            let message = read.read_message().await.expect("a message");
            (read, message)
        });
        for number in 0..100_u8 {
            raw.send(&masked(true, Opcode::Ping, &[number]));
        }
        all_pinged.notified().await;
        assert!(!writing.is_finished());
        let pinging = tokio_uring::spawn(async move {
            controls.write_control(Control::Ping(b"from elsewhere")).await
        });

        let (mut client, pongs, pings) = noting_client(&raw);
        let received = client.read_message().await.expect("the message");
        assert!(*received.payload == message[..], "no frame was torn apart");
        pinging.await.expect("no panic").expect("sent");
        let mut write = writing.await.expect("no panic");
        write.write_message(MessageKind::Text, b"end").await.expect("a reader");
        assert_eq!(client.read_message().await.expect("the end").as_text(), Some("end"));
        assert_eq!(*pings.borrow(), [b"from elsewhere"]);
        assert!(pongs.borrow().is_sorted(), "in order");
        assert_eq!(pongs.borrow().last(), Some(&vec![99]), "the latest Ping is answered");

        raw.send(&masked(true, Opcode::Text, b"reading goes on"));
        let (read, message) = reading.await.expect("no panic");
        assert_eq!(message.as_text(), Some("reading goes on"));
        drop(Conn::reunite(read, write));
    });
}

#[test]
fn a_reader_that_waits_sends_what_was_fed() {
    run(async {
        let (mut raw, mut server) = raw_and_server();
        for text in ["one", "two"] {
            server.feed(MessageKind::Text, text.as_bytes()).await.expect("room");
        }
        let read = async {
            let message = server.read_message().await.expect("a message");
            assert_eq!(message.as_text(), Some("go on"));
        };
        let peer = async {
            raw.expect(&unmasked(true, Opcode::Text, b"one")).await;
            raw.expect(&unmasked(true, Opcode::Text, b"two")).await;
            raw.send(&masked(true, Opcode::Text, b"go on"));
        };
        tokio::join!(read, peer);
    });
}

#[test]
fn feeding_waits_while_the_peer_takes_nothing() {
    run(async {
        let (_raw, mut server) = raw_and_server();
        let message = pattern(50_000);
        let feeding = async {
            for _ in 0..10_000 {
                server.feed(MessageKind::Binary, &message).await.expect("room");
            }
        };
        assert!(tokio::time::timeout(Duration::from_millis(200), feeding).await.is_err());
    });
}

#[test]
fn control_frames_are_checked_and_end_with_a_close() {
    run(async {
        let (mut raw, mut server) = raw_and_server();
        let long = [0; 126];
        for control in [Control::Ping(&long), Control::Pong(&long)] {
            let refused = server.write_control(control).await;
            assert!(matches!(refused, Err(Error::ControlTooLong)));
        }
        server.write_control(Control::Ping(b"ping")).await.expect("a reader");
        server.write_control(Control::Pong(b"pong")).await.expect("a reader");
        let reason = "ü".repeat(100);
        let close = Control::Close(Some(CloseCode::GOING_AWAY), &reason);
        server.write_control(close).await.expect("a reader");
        for control in [Control::Ping(b""), Control::Close(None, "")] {
            let refused = server.write_control(control).await;
            assert!(matches!(refused, Err(Error::CloseSent)));
        }
        assert!(matches!(server.next_writer(MessageKind::Text), Err(Error::CloseSent)));
        raw.expect(&unmasked(true, Opcode::Ping, b"ping")).await;
        raw.expect(&unmasked(true, Opcode::Pong, b"pong")).await;
        let body = format_close_message(Some(CloseCode::GOING_AWAY), &reason);
        assert_eq!(body, [b"\x03\xE9", "ü".repeat(61).as_bytes()].concat());
        raw.expect(&unmasked(true, Opcode::Close, &body)).await;
        assert_eq!(format_close_message(None, "not sent"), b"");

        // A Ping behind our Close is not answered, the peer's Close ends reading.
        raw.send(&masked(true, Opcode::Ping, b"late"));
        raw.send(&masked(true, Opcode::Close, &body));
        let error = server.read_message().await.map(|_| ()).expect_err("a Close");
        assert!(is_close_error(&error, &[1001]), "{error}");
        drop(server);
        raw.expect_end().await;
    });
}
