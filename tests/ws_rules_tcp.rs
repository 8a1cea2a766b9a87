//! The frame rules over TCP: every row as raw bytes against the running gateway, whole and one byte
//! at a time, every byte of the answer compared, and how the connection ends.

mod gateway;

#[path = "rules/frames.rs"]
mod rules;

use std::io::Write;

use gateway::Gateway;
use gateway::raw::{self, Verdict};
use rules::{End, FrameRow};

/// The example of RFC 6455 section 1.3.
const REQUEST: &[u8] = b"GET /echo HTTP/1.1\r\nHost: server.example.com\r\n\
    Upgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Pieces a row is cut into at most: "one byte at a time" of a megabyte shows no more than this.
const PIECES_MAX: usize = 20_000;

/// How a row is sent.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// Request, then all frames in one piece.
    Whole,
    /// Request and frames together in one piece.
    WithTheRequest,
    /// Request and frames byte by byte.
    Bytes,
}

fn check(gateway: &Gateway, row: &FrameRow, cut: Cut) -> Verdict {
    let mut stream = raw::connect(gateway.clients);
    let piece_len = match cut {
        Cut::Bytes => row.input.len().div_ceil(PIECES_MAX).max(1),
        Cut::Whole | Cut::WithTheRequest => usize::MAX,
    };
    if let Cut::WithTheRequest = cut {
        raw::send(&mut stream, &[REQUEST, &row.input].concat(), piece_len)?;
        raw::expect(&mut stream, "handshake", SWITCHING)?;
    } else {
        raw::send(&mut stream, REQUEST, piece_len)?;
        raw::expect(&mut stream, "handshake", SWITCHING)?;
        raw::send(&mut stream, &row.input, piece_len)?;
    }
    raw::expect(&mut stream, "answer", &row.expect)?;
    match row.end {
        End::Open => raw::expect_open(&mut stream),
        End::Closes => raw::expect_half_closed(&mut stream),
    }
}

fn check_all(gateway: &Gateway, at_a_time: usize, cut: Cut) {
    let rows = rules::rows();
    raw::run(&rows, at_a_time, |row| {
        check(gateway, row, cut).map_err(|fault| format!("{} {}: {fault}", row.rule, row.name))
    });
    gateway.await_no_clients();
}

#[test]
fn every_frame_rule_holds_over_tcp() {
    let gateway = Gateway::dev(&[]);
    for cut in [Cut::Whole, Cut::WithTheRequest, Cut::Bytes] {
        check_all(&gateway, 16, cut);
    }
    gateway.stop();
}

#[test]
fn every_frame_rule_holds_with_the_smallest_rings() {
    let gateway = Gateway::dev(gateway::TINY);
    for cut in [Cut::WithTheRequest, Cut::Bytes] {
        // As many as a mailbox holds: one more could be refused for want of room.
        check_all(&gateway, 4, cut);
    }
    let metrics = gateway.metrics();
    assert!(metrics.sum("tidegate_buffer_shortages_total") > 0, "{metrics}");
    gateway.stop();
}

#[test]
fn after_our_close_a_megabyte_is_received_and_no_reset_comes() {
    let gateway = Gateway::dev(&[]);
    let mut stream = raw::connect(gateway.clients);
    stream.write_all(&[REQUEST, b"\x83\x80\0\0\0\0"].concat()).unwrap();
    let fault = [SWITCHING, b"\x88\x11\x03\xEAreserved opcode"].concat();
    raw::expect(&mut stream, "answer", &fault).unwrap();
    raw::expect_end(&mut stream).unwrap();
    stream.write_all(&vec![0; 1024 * 1024]).unwrap();
    drop(stream);
    let metrics = gateway.await_no_clients();
    assert_eq!(metrics.sum_with("tidegate_connections_closed_total", "code=\"1002\""), 1);
    gateway.stop();
}
