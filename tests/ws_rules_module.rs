//! The frame rules on the module: decoder and encoder with an echo between them, whole and one byte
//! at a time, every byte compared. Over TCP the same rows run against the binary.

use std::collections::HashSet;

use tidegate::limits;
use tidegate::ws::{DecodeLimits, Decoder, Event, Role, encode};

use rules::{End, FrameRow};

#[path = "rules/frames.rs"]
mod rules;

/// What the server does on `/echo`, without a socket.
struct Echo {
    decoder: Decoder,
    out: Vec<u8>,
    closed: bool,
}

impl Echo {
    fn new() -> Self {
        Self { decoder: Decoder::new(Role::Server), out: Vec::new(), closed: false }
    }

    fn handle(&mut self, piece: &[u8]) {
        let mut input = piece.to_vec();
        let mut rest = &mut input[..];
        loop {
            let decoded = match self.decoder.handle(rest, &LIMITS) {
                Ok(decoded) => decoded,
                Err(fault) => {
                    assert!(!self.closed, "a fault after the end");
                    let code = Some(fault.close_code());
                    encode::append_close(&mut self.out, code, &fault.to_string());
                    self.closed = true;
                    return;
                }
            };
            let consumed = decoded.consumed;
            let Some(event) = decoded.event else {
                assert_eq!(consumed, rest.len(), "no event, yet bytes are left");
                return;
            };
            assert!(!self.closed, "an event after the end");
            match event {
                Event::Message(message) => {
                    encode::append_message(&mut self.out, message.kind, &message.payload);
                }
                Event::Ping(payload) => encode::append_pong(&mut self.out, &payload),
                Event::Pong(_) => {}
                Event::Close(body) => {
                    let code = body.map(|(code, _)| code);
                    encode::append_close(&mut self.out, code, "");
                    self.closed = true;
                }
            }
            rest = &mut rest[consumed..];
        }
    }
}

fn run(row: &FrameRow, piece_len: usize) {
    run_pieces(row, row.input.chunks(piece_len), &format!("pieces of {piece_len}"));
}

fn run_pieces<'a>(row: &FrameRow, pieces: impl IntoIterator<Item = &'a [u8]>, how: &str) {
    let label = format!("{} {}, {how}", row.rule, row.name);
    let mut echo = Echo::new();
    pieces.into_iter().for_each(|piece| echo.handle(piece));
    let agree = echo
        .out
        .iter()
        .zip(&row.expect)
        .take_while(|(actual, expected)| actual == expected)
        .count();
    assert!(
        echo.out == row.expect,
        "{label}: at byte {agree} came {:02x?}, expected {:02x?}",
        &echo.out[agree..echo.out.len().min(agree + 40)],
        &row.expect[agree..row.expect.len().min(agree + 40)],
    );
    assert_eq!(echo.closed, row.end == End::Closes, "{label}");
    if row.end == End::Open {
        echo.handle(&[0x89, 0x80, 1, 2, 3, 4]);
        assert!(echo.out.ends_with(&[0x8A, 0]), "{label}: no pong");
    }
}

#[test]
fn frame_rules_whole() {
    for row in rules::rows() {
        run(&row, row.input.len());
    }
}

#[test]
fn frame_rules_one_byte_at_a_time() {
    for row in rules::rows() {
        run(&row, 1);
    }
}

#[test]
fn frame_rules_in_odd_pieces() {
    for row in rules::rows() {
        for piece_len in [2, 3, 5, 7, 13, 1_000, 16_384] {
            run(&row, piece_len);
        }
    }
}

#[test]
fn frame_rules_cut_once_anywhere() {
    let short = |row: &FrameRow| row.input.len() <= 2_000;
    for row in rules::rows().into_iter().filter(short) {
        for cut in 0..=row.input.len() {
            let (before, after) = row.input.split_at(cut);
            run_pieces(&row, [before, after], &format!("cut at {cut}"));
        }
    }
}

#[test]
fn every_frame_rule_has_a_row_and_every_row_its_name() {
    let rows = rules::rows();
    let names: HashSet<_> = rows.iter().map(|row| (row.rule, row.name)).collect();
    assert_eq!(names.len(), rows.len());
    for number in 1..=17 {
        let rule = format!("F{number}");
        assert!(rows.iter().any(|row| row.rule == rule), "{rule}");
    }
}

const LIMITS: DecodeLimits = DecodeLimits {
    message_size: limits::ECHO_MESSAGE_SIZE_DEFAULT,
    fragments: limits::ECHO_FRAGMENTS_DEFAULT,
};
