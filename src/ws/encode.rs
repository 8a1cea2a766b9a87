//! stub
use super::{CloseCode, MessageKind, Opcode};
/// Longest frame header: 2 bytes, 8 of length, 4 of mask.
pub const HEADER_MAX: usize = 14;
/// Appends an unmasked server frame header.
pub fn append_header(_out: &mut Vec<u8>, _fin: bool, _opcode: Opcode, _payload_len: usize) {
    todo!()
}
/// Appends a whole unmasked message in one frame (server role).
pub fn append_message(_out: &mut Vec<u8>, _kind: MessageKind, _payload: &[u8]) {
    todo!()
}
/// Appends an unmasked Ping or Pong frame (at most 125 bytes).
pub fn append_ping(_out: &mut Vec<u8>, _payload: &[u8]) {
    todo!()
}
/// stub
pub fn append_pong(_out: &mut Vec<u8>, _payload: &[u8]) {
    todo!()
}
/// Appends an unmasked Close frame; `None`: empty body. The reason is cut to 123 bytes at a char boundary.
pub fn append_close(_out: &mut Vec<u8>, _code: Option<CloseCode>, _reason: &str) {
    todo!()
}
/// Appends a masked frame (client role).
pub fn append_masked(_out: &mut Vec<u8>, _fin: bool, _opcode: Opcode, _payload: &[u8], _key: [u8; 4]) {
    todo!()
}
