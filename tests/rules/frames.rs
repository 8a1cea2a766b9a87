//! The frame rules F1-F17 (RFC 6455 sections 5, 7 and 8) as a table of bytes.
//!
//! A row is what a client sends to `/echo` after the upgrade and every byte that must come back.
//! The same rows run on the module and, over TCP, against the binary. The limits they assume are
//! those of `/echo`: messages of 16 MiB inclusive, 131,072 fragments. Every Ping is answered by a
//! Pong of its own, and a Close by one with the same code and no reason.
//!
//! Frames are put together here from bytes, without the code under test. `form` has the rows about
//! headers and their order (F1-F9), `content` those about what frames carry (F10-F17).

mod content;
mod form;

/// One rule in one case.
pub(crate) struct FrameRow {
    /// The rule, `F1` to `F17`.
    pub(crate) rule: &'static str,
    /// The case, unique within the rule.
    pub(crate) name: &'static str,
    /// What the client sends.
    pub(crate) input: Vec<u8>,
    /// Every byte the server answers.
    pub(crate) expect: Vec<u8>,
    /// What becomes of the connection.
    pub(crate) end: End,
}

/// What becomes of the connection when the input is sent and the answer received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It stays. The input ends at a frame's border, so that a Ping may be sent and is answered.
    Open,
    /// The server sent a Close and then ends its side.
    Closes,
}

/// All rows, in the order of the rules.
pub(crate) fn rows() -> Vec<FrameRow> {
    let mut rows = Vec::new();
    form::masking(&mut rows);
    form::first_byte(&mut rows);
    form::length_forms(&mut rows);
    form::control_frames(&mut rows);
    form::fragmentation(&mut rows);
    content::pings(&mut rows);
    content::close_bodies(&mut rows);
    content::close_codes(&mut rows);
    content::after_close(&mut rows);
    content::good_text(&mut rows);
    content::bad_text(&mut rows);
    content::sizes(&mut rows);
    content::fragment_counts(&mut rows);
    content::mask_phases(&mut rows);
    content::empty_frames(&mut rows);
    rows
}

fn open(
    rows: &mut Vec<FrameRow>,
    rule: &'static str,
    name: &'static str,
    input: Vec<u8>,
    expect: Vec<u8>,
) {
    rows.push(FrameRow { rule, name, input, expect, end: End::Open });
}

fn closes(
    rows: &mut Vec<FrameRow>,
    rule: &'static str,
    name: &'static str,
    input: Vec<u8>,
    expect: Vec<u8>,
) {
    rows.push(FrameRow { rule, name, input, expect, end: End::Closes });
}

/// A masked frame.
fn client(first: u8, payload: &[u8]) -> Vec<u8> {
    client_keyed(first, payload, KEY)
}

fn client_keyed(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut frame = header(first, 0x80, payload.len());
    frame.extend_from_slice(&key);
    frame.extend((0..).zip(payload).map(|(index, byte)| byte ^ key[index % 4]));
    frame
}

/// An unmasked frame, as a server sends them.
fn answer(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, 0, payload.len());
    frame.extend_from_slice(payload);
    frame
}

fn close(code: u16, reason: &str) -> Vec<u8> {
    answer(0x88, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

fn header(first: u8, mask: u8, len: usize) -> Vec<u8> {
    match len {
        0..=125 => vec![first, mask | len as u8],
        126..=65_535 => vec![first, mask | 126, (len >> 8) as u8, len as u8],
        _ => [&[first, mask | 127], &(len as u64).to_be_bytes()[..]].concat(),
    }
}

/// The header of a masked frame with a length of 64 bits, whatever the length, and no payload.
fn declared(first: u8, len: u64) -> Vec<u8> {
    [&[first, 0xFF], &len.to_be_bytes()[..], &KEY].concat()
}

/// Bytes of which no 256 in a row repeat with the key's period.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index + index / 256) as u8).collect()
}

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

const MESSAGE_LIMIT: u64 = 16 * 1024 * 1024;

const FRAGMENT_LIMIT: usize = 131_072;
