//! Bytes to frames, whatever becomes of their payload: the part of receiving that `decode` and
//! `pieces` share (RFC 6455 sections 5.2 and 5.4).
//!
//! Owns the header that is not complete, where in a payload the next byte belongs, and the rules
//! about which frame may follow which and how much a message may be. Payloads pass through, still
//! masked.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::decode::DecodeLimits;
use super::header::{HEADER_MAX, Header, HeaderRules};
use super::{CloseCode, MessageKind, Opcode, ProtocolError, close, deflate};

/// Frames of one direction of one connection. 24 bytes, part of every connection.
#[derive(Debug)]
pub(super) struct Frames {
    state: State,
    /// Fragments of the open message so far; 0 if and only if `open` is `None`.
    fragments: u32,
    open: Option<Open>,
    rules: HeaderRules,
    /// Bytes of a control frame's payload that the user of this type holds; kept here because here
    /// it costs no memory.
    pub(super) control_len: u8,
    /// Bytes at the end of what was checked of a text that begin a character; kept here for the
    /// same reason.
    pub(super) carried: u8,
}

impl Frames {
    /// At the start of a stream with these rules.
    pub(super) fn new(rules: HeaderRules) -> Self {
        Self {
            state: State::AwaitHeader(HeldHeader::default()),
            fragments: 0,
            open: None,
            rules,
            control_len: 0,
            carried: 0,
        }
    }

    /// The next piece of a frame's payload, empty if the frame is, consumed from `rest`; `None` if
    /// the bytes do not suffice, all of which are consumed then. `message_len` is how many bytes of
    /// the open message were given before.
    #[inline]
    pub(super) fn next<'a>(
        &mut self,
        rest: &mut &'a mut [u8],
        message_len: u64,
        limits: &DecodeLimits,
    ) -> Result<Option<Piece<'a>>, ProtocolError> {
        let (mut frame, begins) = match self.state {
            State::AwaitHeader(held) => match self.next_header(held, rest)? {
                Some(header) => (self.begin_frame(&header, message_len, limits)?, true),
                None => return Ok(None),
            },
            State::AwaitPayload(_) if rest.is_empty() => return Ok(None),
            State::AwaitPayload(frame) => (frame, false),
            State::Closed => {
                *rest = &mut [];
                return Ok(None);
            }
        };
        let bytes = take(rest, frame.remaining.min(rest.len()));
        let key = frame.key;
        frame.remaining -= bytes.len();
        self.state = if frame.remaining == 0 {
            State::AwaitHeader(HeldHeader::default())
        } else {
            if let Some(key) = &mut frame.key {
                let key_len = key.len();
                key.rotate_left(bytes.len() % key_len);
            }
            State::AwaitPayload(frame)
        };
        let Frame { remaining, opcode, fin, .. } = frame;
        Ok(Some(Piece { bytes, key, remaining, opcode, fin, begins }))
    }

    /// What the open message is.
    pub(super) fn open(&self) -> Option<Open> {
        self.open
    }

    /// Whether the open message is in its first fragment.
    pub(super) fn is_first_fragment(&self) -> bool {
        self.fragments == 1
    }

    /// Ends the open message, of which everything was checked.
    pub(super) fn end_message(&mut self) -> Open {
        assert!(self.fragments > 0 && self.control_len == 0 && self.carried == 0);
        self.fragments = 0;
        self.open.take().expect("a fragment was counted")
    }

    /// Takes nothing any more.
    pub(super) fn close(&mut self) {
        *self = Self { state: State::Closed, ..Self::new(self.rules) };
    }

    /// Consumes a header when all of it is there, else holds what there is.
    #[inline]
    fn next_header(
        &mut self,
        mut held: HeldHeader,
        rest: &mut &mut [u8],
    ) -> Result<Option<Header>, ProtocolError> {
        if held.len == 0
            && let Some((header, header_len)) = Header::parse(rest, self.rules)?
        {
            take(rest, header_len);
            return Ok(Some(header));
        }
        let held_len = usize::from(held.len);
        let added_len = rest.len().min(HEADER_MAX - held_len);
        let mut joined = [0; HEADER_MAX];
        joined[..held_len].copy_from_slice(&held.bytes[..held_len]);
        joined[held_len..held_len + added_len].copy_from_slice(&rest[..added_len]);
        let joined = &joined[..held_len + added_len];
        if let Some((header, header_len)) = Header::parse(joined, self.rules)? {
            take(rest, header_len - held_len);
            return Ok(Some(header));
        }
        assert!(joined.len() < HEADER_MAX, "14 bytes are a whole header");
        held.bytes[..joined.len()].copy_from_slice(joined);
        take(rest, added_len);
        held.len += added_len as u8;
        self.state = State::AwaitHeader(held);
        Ok(None)
    }

    /// Checks a header against the message that is open and the limits, before any byte of the
    /// payload is taken.
    #[inline]
    fn begin_frame(
        &mut self,
        header: &Header,
        message_len: u64,
        limits: &DecodeLimits,
    ) -> Result<Frame, ProtocolError> {
        if !header.opcode.is_control() {
            let open = match (header.opcode, self.open) {
                (Opcode::Continuation, None) => {
                    return Err(ProtocolError::ContinuationWithoutStart);
                }
                (Opcode::Continuation, Some(open)) => open,
                (_, Some(_)) => return Err(ProtocolError::StartWithinMessage),
                (Opcode::Text, None) if header.compressed => Open::CompressedText,
                (Opcode::Text, None) => Open::Text,
                (_, None) if header.compressed => Open::CompressedBinary,
                (_, None) => Open::Binary,
            };
            let size_max = if open.is_compressed() {
                deflate::wire_size_max(limits.message_size)
            } else {
                limits.message_size
            };
            // The sum is compared from this side because it could overflow from the other.
            let room = (size_max as u64).saturating_sub(message_len);
            if header.payload_len > room {
                return Err(ProtocolError::MessageTooBig);
            }
            if self.fragments >= limits.fragments {
                return Err(ProtocolError::TooManyFragments);
            }
            self.open = Some(open);
            self.fragments += 1;
        }
        Ok(Frame {
            remaining: header.payload_len as usize,
            key: header.key,
            opcode: header.opcode,
            fin: header.fin,
        })
    }
}

/// What the message that is open is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open {
    Text,
    Binary,
    CompressedText,
    CompressedBinary,
}

impl Open {
    /// Text or binary.
    pub(super) fn kind(self) -> MessageKind {
        match self {
            Open::Text | Open::CompressedText => MessageKind::Text,
            Open::Binary | Open::CompressedBinary => MessageKind::Binary,
        }
    }

    /// Whether RSV1 was set on its first frame.
    pub(super) fn is_compressed(self) -> bool {
        matches!(self, Open::CompressedText | Open::CompressedBinary)
    }
}

/// A run of bytes of one frame's payload.
pub(super) struct Piece<'a> {
    /// The bytes, still masked.
    pub(super) bytes: &'a mut [u8],
    /// The key, turned so that its first byte is for the first of `bytes`.
    pub(super) key: Option<[u8; 4]>,
    /// Bytes of the payload that follow these.
    pub(super) remaining: usize,
    /// What the frame is.
    pub(super) opcode: Opcode,
    /// Whether the frame ends its message.
    pub(super) fin: bool,
    /// Whether these are the frame's first bytes.
    pub(super) begins: bool,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum State {
    AwaitHeader(HeldHeader),
    AwaitPayload(Frame),
    Closed,
}

/// The bytes of a header that is not complete.
#[derive(Clone, Copy, Debug, Default)]
struct HeldHeader {
    bytes: [u8; HEADER_MAX - 1],
    len: u8,
}

/// A frame whose payload is not complete.
#[derive(Clone, Copy, Debug)]
struct Frame {
    remaining: usize,
    /// Turned so that its first byte is for the next byte of payload.
    key: Option<[u8; 4]>,
    opcode: Opcode,
    fin: bool,
}

/// The first `len` bytes of the rest, consumed. Its length is checked by the caller.
fn take<'a>(rest: &mut &'a mut [u8], len: usize) -> &'a mut [u8] {
    rest.split_off_mut(..len).expect("no more is taken than there is")
}

/// What a complete control frame says.
pub(super) enum Control<'a> {
    Ping(Cow<'a, [u8]>),
    Pong(Cow<'a, [u8]>),
    Close(Option<(CloseCode, Cow<'a, str>)>),
}

/// Reads a control frame by its whole, unmasked payload.
pub(super) fn control(
    opcode: Opcode,
    payload: Cow<'_, [u8]>,
) -> Result<Control<'_>, ProtocolError> {
    match opcode {
        Opcode::Ping => Ok(Control::Ping(payload)),
        Opcode::Pong => Ok(Control::Pong(payload)),
        Opcode::Close => close::parse_body(payload).map(Control::Close),
        Opcode::Continuation | Opcode::Text | Opcode::Binary => {
            unreachable!("a data frame is not a control frame")
        }
    }
}
