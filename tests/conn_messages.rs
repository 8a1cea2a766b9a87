//! Whole messages between two ends of `tidegate::conn`.

mod pair;

use std::collections::{BTreeMap, BTreeSet};

use pair::{conn, masked, pair, raw_and_server, run, sockets, unmasked};
use tidegate::conn::{
    CloseCode, ConnParts, Error, MessageKind, PreparedMessage, Role, is_close_error,
    is_unexpected_close_error,
};
use tidegate::ws::Opcode;

#[test]
fn messages_of_every_boundary_length_arrive_in_both_directions() {
    run(async {
        let (mut client, mut server) = pair();
        let echo = tokio_uring::spawn(async move {
            loop {
                match server.read_message().await {
                    Ok(message) => server
                        .write_message(message.kind, &message.payload)
                        .await
                        .expect("a reader"),
                    Err(error) => return error,
                }
            }
        });
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20] {
            let payload: Vec<u8> = (0..len).map(|index| (index % 251) as u8).collect();
            client.write_message(MessageKind::Binary, &payload).await.expect("an echo");
            let message = client.read_message().await.expect("an echo");
            assert_eq!(message.kind, MessageKind::Binary);
            assert!(*message.payload == payload[..], "{len} bytes");
        }
        client.write_message(MessageKind::Text, "grüße".as_bytes()).await.expect("an echo");
        assert_eq!(client.read_message().await.expect("an echo").as_text(), Some("grüße"));

        client.close(CloseCode::GOING_AWAY, "bye").await.expect("an answer");
        let error = echo.await.expect("no panic");
        assert!(is_close_error(&error, &[1000, 1001]), "{error}");
        assert!(!is_unexpected_close_error(&error, &[1001]), "{error}");
    });
}

#[test]
fn a_message_larger_than_all_buffers_is_taken_bit_by_bit() {
    run(async {
        let (raw, server) = sockets();
        rustix::net::sockopt::set_socket_recv_buffer_size(&raw, 64 * 1_024)
            .expect("an open socket");
        rustix::net::sockopt::set_socket_send_buffer_size(&server, 64 * 1_024)
            .expect("an open socket");
        let mut raw = pair::Raw(raw);
        let mut server = conn(server, ConnParts::new(Role::Server));
        let payload = pair::pattern(1 << 20);
        let frame = unmasked(true, Opcode::Binary, &payload);
        let write = server.write_message(MessageKind::Binary, &payload);
        let (written, received) = tokio::join!(write, raw.receive(frame.len()));
        written.expect("a reader");
        assert!(received == frame);
    });
}

#[test]
fn json_is_written_as_text_and_read_from_any_message() {
    run(async {
        let (mut raw, mut server) = raw_and_server();
        server.write_json(&BTreeMap::from([("n", 1)])).await.expect("a reader");
        raw.expect(&unmasked(true, Opcode::Text, br#"{"n":1}"#)).await;
        raw.send(&masked(true, Opcode::Text, br#"{"n":2}"#));
        raw.send(&masked(true, Opcode::Binary, b"[3]"));
        raw.send(&masked(true, Opcode::Text, b"no JSON"));
        raw.send(&masked(true, Opcode::Text, b"4"));
        let object: BTreeMap<String, u32> = server.read_json().await.expect("an object");
        assert_eq!(object["n"], 2);
        assert_eq!(server.read_json::<Vec<u32>>().await.expect("a list"), [3]);
        assert!(matches!(server.read_json::<u32>().await, Err(Error::Json(_))));
        assert_eq!(server.read_json::<u32>().await.expect("the connection survives"), 4);
        // A map whose keys are no strings has no JSON.
        let refused = server.write_json(&BTreeMap::from([((1, 2), 3)])).await;
        assert!(matches!(refused, Err(Error::Json(_))));
    });
}

#[test]
fn a_clients_frames_have_keys_of_their_own_prepared_ones_too() {
    run(async {
        let (client, server) = sockets();
        let (mut client, mut raw) = (conn(client, ConnParts::new(Role::Client)), pair::Raw(server));
        let prepared = PreparedMessage::new(MessageKind::Binary, *b"same").expect("binary");
        let mut keys = BTreeSet::new();
        for _ in 0..200 {
            client.write_prepared(&prepared).await.expect("a reader");
            let frame = raw.receive(10).await;
            assert_eq!(frame[..2], [0x82, 0x84]);
            let key: [u8; 4] = frame[2..6].try_into().expect("four bytes");
            let payload: Vec<u8> = frame[6..].iter().zip(key).map(|(a, b)| a ^ b).collect();
            assert_eq!(payload, b"same");
            keys.insert(key);
        }
        assert!(keys.len() > 190, "{} keys for 200 frames", keys.len());
    });
}

#[test]
fn what_the_handshake_left_over_comes_first() {
    run(async {
        let frame = masked(true, Opcode::Text, b"early");
        for cut in 0..=frame.len() {
            let (raw, server) = sockets();
            let mut parts = ConnParts::new(Role::Server);
            parts.leftover = frame[..cut].to_vec();
            parts.subprotocol = Some("chat".to_owned());
            parts.read_buffer_size = 1;
            let (mut raw, mut server) = (pair::Raw(raw), conn(server, parts));
            raw.send(&frame[cut..]);
            raw.send(&masked(true, Opcode::Text, b"and then"));
            let early = server.read_message().await.expect("a message");
            assert_eq!(early.as_text(), Some("early"));
            let then = server.read_message().await.expect("a message");
            assert_eq!(then.as_text(), Some("and then"));
            assert_eq!(then.payload.into_vec(), b"and then");
            assert_eq!(server.subprotocol(), Some("chat"));
            assert_eq!(server.peer_addr().expect("open"), raw.0.local_addr().expect("open"));
            assert_eq!(server.local_addr().expect("open"), raw.0.peer_addr().expect("open"));
        }
    });
}
