//! The frame header, read and written, for both roles (RFC 6455 section 5.2).
//!
//! Knows the rules one header can break by itself, those of RFC 7692's bit included. What depends
//! on the frames before it, and on limits, is `decode`'s.

#![forbid(unsafe_code)]

use std::fmt;

use super::{MessageKind, ProtocolError, Role};
use crate::limits::CONTROL_PAYLOAD_MAX;

/// Longest frame header: 2 bytes, 8 of length, 4 of mask.
pub const HEADER_MAX: usize = 14;

/// What a frame is (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// 0: more of the message that is open.
    Continuation,
    /// 1: a text message, or its first fragment.
    Text,
    /// 2: a binary message, or its first fragment.
    Binary,
    /// 8: the last frame of its direction.
    Close,
    /// 9: asks for a Pong.
    Ping,
    /// 10: answers a Ping, or none.
    Pong,
}

impl Opcode {
    /// The opcode of the low four bits of a frame's first byte; `None` if reserved.
    pub fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Opcode::Continuation),
            1 => Some(Opcode::Text),
            2 => Some(Opcode::Binary),
            8 => Some(Opcode::Close),
            9 => Some(Opcode::Ping),
            10 => Some(Opcode::Pong),
            _ => None,
        }
    }

    /// The four bits on the wire.
    pub fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0,
            Opcode::Text => 1,
            Opcode::Binary => 2,
            Opcode::Close => 8,
            Opcode::Ping => 9,
            Opcode::Pong => 10,
        }
    }

    /// Whether this is Close, Ping or Pong.
    pub fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

impl From<MessageKind> for Opcode {
    fn from(kind: MessageKind) -> Self {
        match kind {
            MessageKind::Text => Opcode::Text,
            MessageKind::Binary => Opcode::Binary,
        }
    }
}

/// What a reader's headers must be like: which role's mask they have, and whether RSV1 may be set.
/// One byte, laid out for the two comparisons each header takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HeaderRules(u8);

impl HeaderRules {
    /// The rules for a reader of this role: a server wants a mask, a client wants none. `deflate`:
    /// permessage-deflate was agreed on, RSV1 marks a compressed message.
    pub const fn new(role: Role, deflate: bool) -> Self {
        let mask = match role {
            Role::Server => MASK_BIT,
            Role::Client => 0,
        };
        Self(mask | if deflate { RSV_BITS & !RSV1_BIT } else { RSV_BITS })
    }

    fn refused_bits(self) -> u8 {
        self.0 & RSV_BITS
    }

    fn mask_bit(self) -> u8 {
        self.0 & MASK_BIT
    }
}

impl fmt::Debug for HeaderRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderRules")
            .field("masked", &(self.mask_bit() != 0))
            .field("deflate", &(self.refused_bits() != RSV_BITS))
            .finish()
    }
}

/// One frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether the frame ends its message.
    pub fin: bool,
    /// RSV1: the frame begins a message that is compressed (RFC 7692 section 6).
    pub compressed: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The masking key, if the payload is masked.
    pub key: Option<[u8; 4]>,
    /// Bytes of payload; below 2^63.
    pub payload_len: u64,
}

impl Header {
    /// The header at the start of `bytes` and its length, or `None` if more bytes are needed; 14
    /// always suffice.
    ///
    /// Rules are checked in the order of the bytes and as soon as those are there, so the answer
    /// to a stream does not depend on how it was cut.
    ///
    /// # Errors
    /// The peer's fault: a reserved bit or opcode, a control frame that is fragmented or too long,
    /// a mask that is missing or must not be, a length that is not minimal or has its top bit set.
    #[inline]
    pub fn parse(bytes: &[u8], rules: HeaderRules) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        let (fin, compressed, opcode) = parse_first(first, rules)?;
        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        let masked = parse_second(second, opcode, rules)?;
        let Some((payload_len, rest)) = parse_len(second & LEN_BITS, &bytes[2..])? else {
            return Ok(None);
        };
        if !masked {
            let header = Self { fin, compressed, opcode, key: None, payload_len };
            return Ok(Some((header, bytes.len() - rest.len())));
        }
        let Some((&key, rest)) = rest.split_first_chunk() else {
            return Ok(None);
        };
        let header = Self { fin, compressed, opcode, key: Some(key), payload_len };
        Ok(Some((header, bytes.len() - rest.len())))
    }

    /// Bytes this header takes on the wire.
    pub fn wire_len(&self) -> usize {
        let len_form = match self.payload_len {
            0..=LEN_7_MAX => 0,
            LEN_16_MIN..=LEN_16_MAX => 2,
            _ => 8,
        };
        2 + len_form + if self.key.is_some() { 4 } else { 0 }
    }

    /// Appends the header, its length in the shortest form.
    #[inline]
    pub fn append(&self, out: &mut Vec<u8>) {
        self.emit(|bytes| out.extend_from_slice(bytes));
    }

    /// Writes the header to the start of `out`, which has at least [`Header::wire_len`] bytes.
    pub(super) fn write(&self, mut out: &mut [u8]) {
        self.emit(|bytes| {
            let (head, rest) = std::mem::take(&mut out).split_at_mut(bytes.len());
            head.copy_from_slice(bytes);
            out = rest;
        });
    }

    #[inline]
    fn emit(&self, mut put: impl FnMut(&[u8])) {
        debug_assert!(self.payload_len <= LEN_MAX);
        let fin = if self.fin { FIN_BIT } else { 0 };
        let compressed = if self.compressed { RSV1_BIT } else { 0 };
        let first = fin | compressed | self.opcode.bits();
        let mask = if self.key.is_some() { MASK_BIT } else { 0 };
        match self.payload_len {
            len @ 0..=LEN_7_MAX => put(&[first, mask | len as u8]),
            len @ LEN_16_MIN..=LEN_16_MAX => {
                let [high, low] = (len as u16).to_be_bytes();
                put(&[first, mask | LEN_16, high, low]);
            }
            len => {
                put(&[first, mask | LEN_64]);
                put(&len.to_be_bytes());
            }
        }
        if let Some(key) = self.key {
            put(&key);
        }
    }
}

/// FIN, RSV1 and the opcode.
#[inline]
fn parse_first(first: u8, rules: HeaderRules) -> Result<(bool, bool, Opcode), ProtocolError> {
    if first & rules.refused_bits() != 0 {
        return Err(ProtocolError::ReservedBitSet);
    }
    let opcode = Opcode::from_bits(first & OPCODE_BITS).ok_or(ProtocolError::ReservedOpcode)?;
    let compressed = first & RSV1_BIT != 0;
    if compressed && !matches!(opcode, Opcode::Text | Opcode::Binary) {
        return Err(ProtocolError::ReservedBitSet);
    }
    let fin = first & FIN_BIT != 0;
    if opcode.is_control() && !fin {
        return Err(ProtocolError::ControlFragmented);
    }
    Ok((fin, compressed, opcode))
}

/// Whether a mask follows.
#[inline]
fn parse_second(second: u8, opcode: Opcode, rules: HeaderRules) -> Result<bool, ProtocolError> {
    let masked = second & MASK_BIT != 0;
    if second & MASK_BIT != rules.mask_bit() {
        return Err(if masked {
            ProtocolError::FrameMasked
        } else {
            ProtocolError::FrameNotMasked
        });
    }
    if opcode.is_control() && usize::from(second & LEN_BITS) > CONTROL_PAYLOAD_MAX {
        return Err(ProtocolError::ControlTooLong);
    }
    Ok(masked)
}

/// The payload length, from the seven bits of the second byte and what follows it, and the rest.
#[inline]
fn parse_len(short: u8, bytes: &[u8]) -> Result<Option<(u64, &[u8])>, ProtocolError> {
    let (len, len_min, rest) = match short {
        LEN_16 => {
            let Some((&len, rest)) = bytes.split_first_chunk() else {
                return Ok(None);
            };
            (u64::from(u16::from_be_bytes(len)), LEN_16_MIN, rest)
        }
        LEN_64 => {
            let Some((&len, rest)) = bytes.split_first_chunk() else {
                return Ok(None);
            };
            (u64::from_be_bytes(len), LEN_16_MAX + 1, rest)
        }
        _ => (u64::from(short), 0, bytes),
    };
    if len > LEN_MAX {
        return Err(ProtocolError::LengthTopBitSet);
    }
    if len < len_min {
        return Err(ProtocolError::LengthNotMinimal);
    }
    Ok(Some((len, rest)))
}

const FIN_BIT: u8 = 0x80;
const RSV_BITS: u8 = 0x70;
const RSV1_BIT: u8 = 0x40;
const OPCODE_BITS: u8 = 0x0F;
const MASK_BIT: u8 = 0x80;
const LEN_BITS: u8 = 0x7F;

/// In the seven length bits: 16 bits of length follow.
const LEN_16: u8 = 126;
/// In the seven length bits: 64 bits of length follow.
const LEN_64: u8 = 127;
/// Largest length the seven bits hold themselves.
const LEN_7_MAX: u64 = 125;
/// Smallest length of the 16-bit form.
const LEN_16_MIN: u64 = LEN_7_MAX + 1;
/// Largest length of the 16-bit form.
const LEN_16_MAX: u64 = 0xFFFF;
/// Largest length there is: the top bit of the 64-bit form is always 0.
const LEN_MAX: u64 = u64::MAX >> 1;

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: HeaderRules = HeaderRules::new(Role::Server, false);
    const CLIENT: HeaderRules = HeaderRules::new(Role::Client, false);
    const KEY: [u8; 4] = [1, 2, 3, 4];

    fn header(payload_len: u64, key: Option<[u8; 4]>) -> Header {
        Header { fin: true, compressed: false, opcode: Opcode::Binary, key, payload_len }
    }

    #[test]
    fn what_is_appended_is_parsed_at_every_boundary() {
        let lens = [
            (0, 2),
            (1, 2),
            (125, 2),
            (126, 4),
            (127, 4),
            (65_535, 4),
            (65_536, 10),
            (LEN_MAX, 10),
        ];
        for (payload_len, wire_len) in lens {
            for (rules, key) in [(CLIENT, None), (SERVER, Some(KEY))] {
                let header = header(payload_len, key);
                let mut wire = Vec::new();
                header.append(&mut wire);
                assert_eq!(wire.len(), wire_len + key.map_or(0, |_| 4));
                assert_eq!(wire.len(), header.wire_len());
                for cut in 0..wire.len() {
                    assert_eq!(Header::parse(&wire[..cut], rules), Ok(None));
                }
                wire.push(0xFF);
                let parsed = Header::parse(&wire, rules);
                assert_eq!(parsed, Ok(Some((header, wire.len() - 1))));
            }
        }
    }

    #[test]
    fn first_byte_is_fin_rsv1_where_it_has_a_meaning_and_opcode() {
        for (first, deflate) in (0..=u8::MAX).flat_map(|first| [(first, false), (first, true)]) {
            let parsed = Header::parse(&[first, 0], HeaderRules::new(Role::Client, deflate));
            let opcode = Opcode::from_bits(first & 0x0F);
            let fin = first >= 0x80;
            let expected = match (first & 0x70, opcode) {
                (0, None) => Err(ProtocolError::ReservedOpcode),
                (0x40, None) if deflate => Err(ProtocolError::ReservedOpcode),
                (0, Some(opcode)) if opcode.is_control() && !fin => {
                    Err(ProtocolError::ControlFragmented)
                }
                (0, Some(opcode)) => Ok((opcode, false)),
                (0x40, Some(opcode @ (Opcode::Text | Opcode::Binary))) if deflate => {
                    Ok((opcode, true))
                }
                _ => Err(ProtocolError::ReservedBitSet),
            };
            let expected = expected.map(|(opcode, compressed)| {
                Some((Header { fin, compressed, opcode, key: None, payload_len: 0 }, 2))
            });
            assert_eq!(parsed, expected, "first byte {first:#04x}, deflate {deflate}");
            if let Ok(Some((header, _))) = parsed {
                let mut wire = Vec::new();
                header.append(&mut wire);
                assert_eq!(wire, [first, 0]);
            }
        }
    }

    #[test]
    fn mask_is_required_of_clients_and_forbidden_to_servers() {
        let unmasked = Header::parse(&[0x82, 0x00], SERVER);
        assert_eq!(unmasked, Err(ProtocolError::FrameNotMasked));
        let masked = Header::parse(&[0x82, 0x80], CLIENT);
        assert_eq!(masked, Err(ProtocolError::FrameMasked));
    }

    #[test]
    fn longer_forms_of_short_lengths_are_refused() {
        for len in [0_u16, 1, 125] {
            let [high, low] = len.to_be_bytes();
            let parsed = Header::parse(&[0x82, 126, high, low], CLIENT);
            assert_eq!(parsed, Err(ProtocolError::LengthNotMinimal));
        }
        for len in [0_u64, 125, 126, 65_535] {
            let mut wire = vec![0x82, 127];
            wire.extend_from_slice(&len.to_be_bytes());
            let parsed = Header::parse(&wire, CLIENT);
            assert_eq!(parsed, Err(ProtocolError::LengthNotMinimal));
        }
    }

    #[test]
    fn top_bit_of_the_length_is_refused_before_the_key_arrives() {
        for len in [1 << 63, (1 << 63) + 1, u64::MAX - 3, u64::MAX] {
            let mut wire = vec![0x82, 0xFF];
            wire.extend_from_slice(&len.to_be_bytes());
            let parsed = Header::parse(&wire, SERVER);
            assert_eq!(parsed, Err(ProtocolError::LengthTopBitSet));
        }
    }

    #[test]
    fn control_frames_are_short() {
        for opcode in [Opcode::Close, Opcode::Ping, Opcode::Pong] {
            let first = 0x80 | opcode.bits();
            assert!(matches!(Header::parse(&[first, 125], CLIENT), Ok(Some((_, 2)))));
            for len in [126, 127] {
                let parsed = Header::parse(&[first, len], CLIENT);
                assert_eq!(parsed, Err(ProtocolError::ControlTooLong));
            }
        }
    }
}
