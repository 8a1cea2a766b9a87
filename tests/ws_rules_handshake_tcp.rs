//! The handshake rules over TCP: every row as raw bytes against the running gateway, whole and one
//! byte at a time, every byte of the answer compared, and how the connection ends.

mod gateway;
mod rules;

use std::time::{Duration, Instant};

use gateway::Gateway;
use gateway::raw::{self, Verdict};
use rules::handshake::{End, HandshakeRow, rows};

/// The frame that rows cut, and what `/echo` answers to it.
const FRAME: &[u8] = b"\x81\x82\0\0\0\0hi";
const ECHO: &[u8] = b"\x81\x02hi";

/// The timeout of the gateway that is tried with silence.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_millis(400);

fn check(gateway: &Gateway, row: &HandshakeRow, piece_len: usize) -> Verdict {
    let started = Instant::now();
    let mut stream = raw::connect(gateway.clients);
    raw::send(&mut stream, &row.input, piece_len)?;
    raw::expect(&mut stream, "answer", &row.expect)?;
    raw::expect(&mut stream, "frames", &row.expect_frames)?;
    match row.end {
        End::Open => {
            let cut = row.expect_frames.is_empty() && !row.leftover.is_empty();
            if cut {
                let rest = FRAME.strip_prefix(&row.leftover[..]).expect("a part of the frame");
                raw::send(&mut stream, rest, piece_len)?;
                raw::expect(&mut stream, "rest of the frame", ECHO)?;
            }
            raw::expect_open(&mut stream)
        }
        End::Closed => raw::expect_end(&mut stream),
        End::Deadline => {
            raw::expect_end(&mut stream)?;
            let waited = started.elapsed();
            if waited < HANDSHAKE_TIMEOUT {
                return Err(format!("ended after {waited:?}, before the deadline"));
            }
            Ok(())
        }
    }
}

fn check_all(gateway: &Gateway, at_a_time: usize, timed: bool) {
    let mut rows = rows();
    rows.retain(|row| (row.end == End::Deadline) == timed);
    for piece_len in [usize::MAX, 1] {
        raw::run(&rows, at_a_time, |row| {
            check(gateway, row, piece_len).map_err(|fault| {
                format!("{} {} in pieces of {piece_len}: {fault}", row.rule, row.name)
            })
        });
    }
    gateway.await_no_clients();
}

#[test]
fn every_handshake_rule_holds_over_tcp() {
    let gateway = Gateway::dev(&[]);
    check_all(&gateway, 16, false);
    gateway.stop();
}

#[test]
fn every_handshake_rule_holds_with_the_smallest_rings() {
    let gateway = Gateway::dev(gateway::TINY);
    // As many as a mailbox holds: one more could be refused for want of room.
    check_all(&gateway, 4, false);
    gateway.stop();
}

#[test]
fn silence_ends_at_the_deadline() {
    let timeout = format!("--set=limits.handshake_timeout={}ms", HANDSHAKE_TIMEOUT.as_millis());
    let gateway = Gateway::dev(&[&timeout]);
    check_all(&gateway, 16, true);
    let expected = 2 * rows().iter().filter(|row| row.end == End::Deadline).count() as u64;
    gateway.await_metrics("every one is counted", |metrics| {
        metrics.sum("tidegate_handshakes_timed_out_total") == expected
    });
    gateway.stop();
}
