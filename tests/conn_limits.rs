//! What a peer may not do to a `tidegate::conn`, and what it gets for it.

mod pair;

use pair::{masked, raw_and_server, run, unmasked};
use tidegate::conn::{Conn, Error, MessageKind};
use tidegate::ws::{Opcode, ProtocolError};

/// Reads in pieces until there is an error.
async fn read_to_error(conn: &mut Conn) -> Error {
    loop {
        let mut reader = match conn.next_reader().await {
            Ok((_, reader)) => reader,
            Err(error) => return error,
        };
        if let Err(error) = reader.read_to_end(&mut Vec::new()).await {
            return error;
        }
    }
}

#[test]
fn the_read_limit_counts_all_fragments_whole_or_in_pieces() {
    run(async {
        for in_pieces in [false, true] {
            for (first, second, fits) in
                [(60, 40, true), (60, 41, false), (101, 0, false), (0, 101, false)]
            {
                let (mut raw, mut server) = raw_and_server();
                server.set_read_limit(100);
                raw.send(&masked(false, Opcode::Binary, &vec![1; first]));
                raw.send(&masked(true, Opcode::Ping, b""));
                raw.send(&masked(true, Opcode::Continuation, &vec![1; second]));
                raw.send(&masked(true, Opcode::Close, &[3, 232]));
                let error = if in_pieces {
                    read_to_error(&mut server).await
                } else {
                    loop {
                        if let Err(error) = server.read_message().await {
                            break error;
                        }
                    }
                };
                if first <= 100 {
                    raw.expect(&unmasked(true, Opcode::Pong, b"")).await;
                }
                if fits {
                    assert!(matches!(error, Error::Closed(_)), "{error}");
                    raw.expect(&unmasked(true, Opcode::Close, &[3, 232])).await;
                    continue;
                }
                assert!(matches!(error, Error::Protocol(ProtocolError::MessageTooBig)));
                let body = b"\x03\xF1message over the size limit";
                raw.expect(&unmasked(true, Opcode::Close, body)).await;
                for _ in 0..2 {
                    let again = server.read_message().await.map(|_| ());
                    assert!(matches!(again, Err(Error::Protocol(ProtocolError::MessageTooBig))));
                }
                let write = server.write_message(MessageKind::Text, b"more").await;
                assert!(matches!(write, Err(Error::CloseSent)));
            }
        }
    });
}

#[test]
fn the_fragment_limit_counts_empty_ones() {
    run(async {
        let (mut raw, mut server) = raw_and_server();
        server.set_fragment_limit(3);
        raw.send(&masked(false, Opcode::Binary, b""));
        raw.send(&masked(false, Opcode::Continuation, b"").repeat(3));
        let error = server.read_message().await.map(|_| ()).expect_err("too many");
        assert!(matches!(error, Error::Protocol(ProtocolError::TooManyFragments)));
        raw.expect(&unmasked(true, Opcode::Close, b"\x03\xF0too many fragments")).await;
    });
}

#[test]
fn a_broken_rule_ends_the_connection_with_its_code_and_reason() {
    run(async {
        let unmasked_text = unmasked(true, Opcode::Text, b"no mask");
        let mut compressed = masked(true, Opcode::Text, b"not agreed");
        compressed[0] |= 0x40;
        let faults = [
            (unmasked_text, ProtocolError::FrameNotMasked),
            (compressed, ProtocolError::ReservedBitSet),
            (masked(true, Opcode::Continuation, b""), ProtocolError::ContinuationWithoutStart),
            (masked(true, Opcode::Text, b"\xFF"), ProtocolError::TextNotUtf8),
            (masked(true, Opcode::Close, b"\x03"), ProtocolError::CloseCodeCut),
        ];
        for (frame, fault) in faults {
            let (mut raw, mut server) = raw_and_server();
            raw.send(&masked(true, Opcode::Text, b"good"));
            raw.send(&frame);
            server.read_message().await.expect("a good message");
            for _ in 0..2 {
                let error = server.read_message().await.map(|_| ()).expect_err("a fault");
                assert!(matches!(error, Error::Protocol(found) if found == fault), "{error}");
            }
            let mut body = fault.close_code().get().to_be_bytes().to_vec();
            body.extend_from_slice(fault.to_string().as_bytes());
            raw.expect(&unmasked(true, Opcode::Close, &body)).await;
        }
    });
}

#[test]
fn an_end_without_a_close_is_abnormal() {
    run(async {
        for begun in [&b""[..], &masked(false, Opcode::Text, b"begun")[..], b"\x81"] {
            let (mut raw, mut server) = raw_and_server();
            raw.send(begun);
            raw.0.shutdown(std::net::Shutdown::Write).expect("an open socket");
            for _ in 0..2 {
                let error = server.read_message().await.map(|_| ()).expect_err("the end");
                assert!(matches!(&error, Error::Closed(close) if close.code == 1006), "{error}");
            }
            // Half a connection still sends.
            server.write_message(MessageKind::Text, b"bye").await.expect("a reader");
            raw.expect(&unmasked(true, Opcode::Text, b"bye")).await;
        }
    });
}
