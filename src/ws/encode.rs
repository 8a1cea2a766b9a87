//! Values to frames, appended to a buffer (RFC 6455 section 5.2, RFC 7692 section 6).
//!
//! Everything appends, and allocates nothing but the buffer's growth: a buffer with room for header
//! and payload is not moved. Servers send unmasked frames, clients masked ones; the key is the
//! caller's, who draws a new one for each frame (section 5.3).

#![forbid(unsafe_code)]

use std::sync::Arc;

use super::header::Header;
use super::{CloseCode, MessageKind, Opcode, close, mask};
use crate::limits::CONTROL_PAYLOAD_MAX;

pub use super::header::HEADER_MAX;

/// Appends an unmasked frame header (server role). The caller appends `payload_len` bytes.
pub fn append_header(out: &mut Vec<u8>, fin: bool, opcode: Opcode, payload_len: usize) {
    frame_header(fin, opcode.into(), payload_len, None).append(out);
}

/// Appends an unmasked header of the first frame of a compressed message (server role); `fin`: it
/// is the only one. The caller appends `payload_len` bytes. Further frames are
/// [`append_header`]'s.
pub fn append_compressed_header(
    out: &mut Vec<u8>,
    fin: bool,
    kind: MessageKind,
    payload_len: usize,
) {
    frame_header(fin, First::compressed(kind), payload_len, None).append(out);
}

/// Appends a whole unmasked message in one frame (server role).
#[inline]
pub fn append_message(out: &mut Vec<u8>, kind: MessageKind, payload: &[u8]) {
    append_frame(out, true, kind.into(), &[payload], None);
}

/// A whole unmasked message in one frame (server role), in the one allocation it is shared in.
pub fn shared_message(kind: MessageKind, payload: &[u8]) -> Arc<[u8]> {
    shared_frame(kind.into(), payload)
}

/// As [`shared_message`], of a payload that is `deflated` already.
pub fn shared_compressed_message(kind: MessageKind, deflated: &[u8]) -> Arc<[u8]> {
    shared_frame(First::compressed(kind), deflated)
}

fn shared_frame(first: First, payload: &[u8]) -> Arc<[u8]> {
    let header = frame_header(true, first, payload.len(), None);
    let header_len = header.wire_len();
    let mut frame: Arc<[u8]> = std::iter::repeat_n(0, header_len + payload.len()).collect();
    let bytes = Arc::get_mut(&mut frame).expect("nobody else knows it yet");
    header.write(bytes);
    bytes[header_len..].copy_from_slice(payload);
    frame
}

/// Bytes before the payload of an unmasked frame that this module made.
pub fn header_len(frame: &[u8]) -> usize {
    // Without a mask the second byte is the length, or says how many bytes hold it.
    match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}

/// Appends a whole masked message in one frame (client role).
#[inline]
pub fn append_message_masked(out: &mut Vec<u8>, kind: MessageKind, payload: &[u8], key: [u8; 4]) {
    append_frame(out, true, kind.into(), &[payload], Some(key));
}

/// Appends a whole unmasked message whose payload is `deflated` already (server role).
pub fn append_compressed_message(out: &mut Vec<u8>, kind: MessageKind, deflated: &[u8]) {
    append_frame(out, true, First::compressed(kind), &[deflated], None);
}

/// Appends a whole masked message whose payload is `deflated` already (client role).
pub fn append_compressed_message_masked(
    out: &mut Vec<u8>,
    kind: MessageKind,
    deflated: &[u8],
    key: [u8; 4],
) {
    append_compressed_masked(out, true, kind, deflated, key);
}

/// Appends the first masked frame of a compressed message (client role); `fin`: it is the only one.
/// Further frames are [`append_masked`]'s.
pub fn append_compressed_masked(
    out: &mut Vec<u8>,
    fin: bool,
    kind: MessageKind,
    deflated: &[u8],
    key: [u8; 4],
) {
    append_frame(out, fin, First::compressed(kind), &[deflated], Some(key));
}

/// Appends an unmasked Ping frame (server role).
///
/// # Panics
/// If the payload has more than 125 bytes.
pub fn append_ping(out: &mut Vec<u8>, payload: &[u8]) {
    append_frame(out, true, Opcode::Ping.into(), &[payload], None);
}

/// Appends an unmasked Pong frame (server role).
///
/// # Panics
/// If the payload has more than 125 bytes; that of a Ping that was received never has.
pub fn append_pong(out: &mut Vec<u8>, payload: &[u8]) {
    append_frame(out, true, Opcode::Pong.into(), &[payload], None);
}

/// Appends an unmasked Close frame (server role). Without a code the body is empty and the reason
/// is not sent; else the reason is cut to 123 bytes, where a character ends.
pub fn append_close(out: &mut Vec<u8>, code: Option<CloseCode>, reason: &str) {
    append_close_frame(out, code, reason, None);
}

/// Appends a masked Close frame (client role); as [`append_close`] otherwise.
pub fn append_close_masked(out: &mut Vec<u8>, code: Option<CloseCode>, reason: &str, key: [u8; 4]) {
    append_close_frame(out, code, reason, Some(key));
}

/// Appends a masked frame of any kind (client role).
///
/// # Panics
/// If it is a control frame that is not final or has more than 125 bytes.
pub fn append_masked(out: &mut Vec<u8>, fin: bool, opcode: Opcode, payload: &[u8], key: [u8; 4]) {
    append_frame(out, fin, opcode.into(), &[payload], Some(key));
}

fn append_close_frame(
    out: &mut Vec<u8>,
    code: Option<CloseCode>,
    reason: &str,
    key: Option<[u8; 4]>,
) {
    match code {
        None => append_frame(out, true, Opcode::Close.into(), &[], key),
        Some(code) => {
            let reason = close::cut_reason(reason).as_bytes();
            let body = [&code.get().to_be_bytes()[..], reason];
            append_frame(out, true, Opcode::Close.into(), &body, key);
        }
    }
}

#[inline]
fn append_frame(
    out: &mut Vec<u8>,
    fin: bool,
    first: First,
    payload: &[&[u8]],
    key: Option<[u8; 4]>,
) {
    let payload_len = payload.iter().map(|part| part.len()).sum();
    let header = frame_header(fin, first, payload_len, key);
    out.reserve(header.wire_len() + payload_len);
    header.append(out);
    let payload_start = out.len();
    for part in payload {
        out.extend_from_slice(part);
    }
    if let Some(key) = key {
        mask::apply(&mut out[payload_start..], key, 0);
    }
}

#[inline]
fn frame_header(fin: bool, first: First, payload_len: usize, key: Option<[u8; 4]>) -> Header {
    let First { opcode, compressed } = first;
    assert!(
        !opcode.is_control() || (fin && payload_len <= CONTROL_PAYLOAD_MAX),
        "a control frame is final and holds at most 125 bytes"
    );
    Header { fin, compressed, opcode, key, payload_len: payload_len as u64 }
}

/// What a frame's first byte says but for FIN.
#[derive(Clone, Copy)]
struct First {
    opcode: Opcode,
    compressed: bool,
}

impl First {
    fn compressed(kind: MessageKind) -> Self {
        Self { opcode: kind.into(), compressed: true }
    }
}

impl From<MessageKind> for First {
    fn from(kind: MessageKind) -> Self {
        Opcode::from(kind).into()
    }
}

impl From<Opcode> for First {
    fn from(opcode: Opcode) -> Self {
        Self { opcode, compressed: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

    #[test]
    fn messages_at_boundary_lengths() {
        let headers: [(usize, &[u8]); 7] = [
            (0, &[0x82, 0]),
            (1, &[0x82, 1]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (127, &[0x82, 126, 0, 127]),
            (65_535, &[0x82, 126, 0xFF, 0xFF]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ];
        for (len, header) in headers {
            let payload: Vec<u8> = (0..len).map(|index| index as u8).collect();
            let mut out = b"before".to_vec();
            append_message(&mut out, MessageKind::Binary, &payload);
            assert_eq!(out, [b"before", header, &payload].concat());
            let shared = shared_message(MessageKind::Binary, &payload);
            assert_eq!((&*shared, header_len(&shared)), (&out[6..], header.len()));

            let mut masked = Vec::new();
            append_message_masked(&mut masked, MessageKind::Binary, &payload, KEY);
            let mut expected = header.to_vec();
            expected[1] |= 0x80;
            expected.extend_from_slice(&KEY);
            let expected_start = expected.len();
            expected.extend_from_slice(&payload);
            mask::apply_bytewise(&mut expected[expected_start..], KEY, 0);
            assert_eq!(masked, expected);
        }
    }

    #[test]
    fn examples_of_section_5_7() {
        let mut out = Vec::new();
        append_message(&mut out, MessageKind::Text, b"Hello");
        assert_eq!(out, b"\x81\x05Hello");

        let mut out = Vec::new();
        append_message_masked(&mut out, MessageKind::Text, b"Hello", KEY);
        assert_eq!(out, b"\x81\x85\x37\xFA\x21\x3D\x7F\x9F\x4D\x51\x58");

        let mut out = Vec::new();
        append_header(&mut out, false, Opcode::Text, 3);
        append_header(&mut out, true, Opcode::Continuation, 2);
        assert_eq!(out, b"\x01\x03\x80\x02");

        let mut out = Vec::new();
        append_ping(&mut out, b"Hello");
        append_masked(&mut out, true, Opcode::Pong, b"Hello", KEY);
        assert_eq!(out, b"\x89\x05Hello\x8A\x85\x37\xFA\x21\x3D\x7F\x9F\x4D\x51\x58");
    }

    #[test]
    fn close_carries_code_and_a_reason_that_fits() {
        let mut out = Vec::new();
        append_close(&mut out, None, "");
        append_close(&mut out, Some(CloseCode::NORMAL), "");
        append_close(&mut out, Some(CloseCode::TOO_BIG), "big");
        assert_eq!(out, b"\x88\x00\x88\x02\x03\xE8\x88\x05\x03\xF1big");

        let mut out = Vec::new();
        append_close(&mut out, Some(CloseCode::NORMAL), &"ü".repeat(100));
        assert_eq!(out[..4], [0x88, 124, 3, 232]);
        assert_eq!(out[4..], *"ü".repeat(61).as_bytes());

        let mut out = Vec::new();
        append_close_masked(&mut out, Some(CloseCode::NORMAL), "bye", [0; 4]);
        append_close_masked(&mut out, None, "", KEY);
        assert_eq!(out, b"\x88\x85\0\0\0\0\x03\xE8bye\x88\x80\x37\xFA\x21\x3D");
    }

    #[test]
    fn room_for_the_frame_is_all_it_takes() {
        let payload = [7; 300];
        let mut out = Vec::with_capacity(payload.len() + 4);
        let capacity = out.capacity();
        append_message(&mut out, MessageKind::Binary, &payload);
        assert_eq!(out.capacity(), capacity);
    }

    #[test]
    #[should_panic(expected = "at most 125 bytes")]
    fn a_long_ping_is_our_own_mistake() {
        append_ping(&mut Vec::new(), &[0; 126]);
    }
}
