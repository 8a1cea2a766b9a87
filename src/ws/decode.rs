//! Frames to messages: the receiving half of one connection (RFC 6455 sections 5 to 8, RFC 7692
//! section 6).
//!
//! Owns what one frame does not tell: the header or payload that is not complete, the message that
//! is open, and how far its text is checked. Knows no limits of its own, they come with each call,
//! and sends nothing: a Pong or Close that is owed is an event.
//!
//! Invariants: `gathered` holds the bytes of the open message that arrived in earlier calls or
//! fragments, unmasked, and behind them `control_len` bytes of a control frame that is not
//! complete. Of text all is checked but its last `carried` bytes; of a compressed message nothing
//! is. Between messages nothing is held.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::header::{HEADER_MAX, Header, HeaderRules};
use super::{CloseCode, MessageKind, Opcode, ProtocolError, Role, close, deflate, mask, utf8};
use crate::limits::UNMASK_BLOCK;

/// Limits of one kind of connection, shared by all its decoders. They stay the same as long as a
/// decoder lives.
#[derive(Clone, Copy, Debug)]
pub struct DecodeLimits {
    /// Largest message in bytes, all fragments together, inclusive. A compressed one may take an
    /// eighth more on the wire, for what cannot be compressed; who inflates it applies the limit.
    pub message_size: usize,
    /// Most fragments of one message; empty ones count, and a message in one frame is one.
    pub fragments: u32,
}

/// One complete data message. Owned when it was gathered from pieces, else lying in the input.
#[derive(Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Text or binary.
    pub kind: MessageKind,
    /// Whether the payload is compressed: [`inflate_message`](super::inflate_message) makes the
    /// message of it. Never so unless the decoder was told that compression was agreed on.
    pub compressed: bool,
    /// Unmasked, and valid UTF-8 if `kind` is text and it is not compressed.
    pub payload: Cow<'a, [u8]>,
}

/// What the peer said.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole data message.
    Message(Message<'a>),
    /// A Ping: a Pong with the same payload is owed, at most 125 bytes.
    Ping(Cow<'a, [u8]>),
    /// A Pong.
    Pong(Cow<'a, [u8]>),
    /// A Close; code and reason, `None` for an empty body. A Close is owed if none was sent.
    Close(Option<(CloseCode, Cow<'a, str>)>),
}

/// How much of the input was used and what it completed.
#[derive(Debug)]
pub struct Decoded<'a> {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// The event those bytes completed; `None`: all input was consumed and more is needed.
    pub event: Option<Event<'a>>,
}

/// Frames to messages, for one direction of one connection. At most 64 bytes; owns heap only while
/// a frame or message is incomplete.
#[derive(Debug)]
pub struct Decoder {
    gathered: Vec<u8>,
    state: State,
    /// Fragments of the open message so far; 0 if and only if `open` is `None`.
    fragments: u32,
    open: Option<Open>,
    rules: HeaderRules,
    control_len: u8,
    carried: u8,
}

impl Decoder {
    /// A decoder at the start of a stream. `role` is the reader's: a server's decoder takes masked
    /// frames, a client's unmasked ones.
    pub fn new(role: Role) -> Self {
        Self::with_rules(HeaderRules::new(role, false))
    }

    /// A decoder as [`new`](Self::new) makes it, where permessage-deflate was agreed on: data
    /// messages may be compressed, which their first frame says.
    pub fn with_deflate(role: Role) -> Self {
        Self::with_rules(HeaderRules::new(role, true))
    }

    fn with_rules(rules: HeaderRules) -> Self {
        Self {
            gathered: Vec::new(),
            state: State::AwaitHeader(HeldHeader::default()),
            fragments: 0,
            open: None,
            rules,
            control_len: 0,
            carried: 0,
        }
    }

    /// Takes bytes until one event is complete or the input ends; call again with the rest until
    /// the event is `None`. Any cutting of a stream gives the same events and the same error.
    ///
    /// A frame that lies whole in the input is unmasked there and handed out without a copy. One
    /// that does not is copied to the heap as it arrives; the heap grows with what arrived, at most
    /// doubling, and a gathered message is given away with it. After a Close, and after an error,
    /// all further bytes are consumed and ignored.
    ///
    /// # Errors
    /// The peer's fault. The connection does not survive it: a Close with the fault's code is owed,
    /// unless one was sent.
    pub fn handle<'a>(
        &mut self,
        input: &'a mut [u8],
        limits: &DecodeLimits,
    ) -> Result<Decoded<'a>, ProtocolError> {
        let input_len = input.len();
        let mut rest = input;
        let result = self.handle_rest(&mut rest, limits);
        if matches!(result, Err(_) | Ok(Some(Event::Close(_)))) {
            self.close();
        }
        let event = result?;
        debug_assert!(event.is_some() || rest.is_empty());
        Ok(Decoded { consumed: input_len - rest.len(), event })
    }

    /// Bytes of heap held, for accounting: 0 between messages.
    pub fn held_bytes(&self) -> usize {
        self.gathered.capacity()
    }

    fn handle_rest<'a>(
        &mut self,
        rest: &mut &'a mut [u8],
        limits: &DecodeLimits,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        loop {
            let frame = match self.state {
                State::AwaitHeader(held) => match self.handle_header(held, rest)? {
                    Some(header) => self.begin_frame(&header, limits)?,
                    None => return Ok(None),
                },
                State::AwaitPayload(frame) => frame,
                State::Closed => {
                    *rest = &mut [];
                    return Ok(None);
                }
            };
            let event = self.handle_payload(frame, rest)?;
            if event.is_some() || rest.is_empty() {
                return Ok(event);
            }
        }
    }

    /// Consumes a header when all of it is there, else holds what there is.
    fn handle_header(
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
    fn begin_frame(
        &mut self,
        header: &Header,
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
            let room = size_max.saturating_sub(self.gathered.len());
            if header.payload_len > room as u64 {
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

    /// Takes what there is of a frame's payload. `None`: the payload is not complete and the input
    /// is used up, or the frame was a fragment of a message that goes on.
    fn handle_payload<'a>(
        &mut self,
        mut frame: Frame,
        rest: &mut &'a mut [u8],
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        let piece_len = frame.remaining.min(rest.len());
        let piece = take(rest, piece_len);
        let lies_whole = piece_len == frame.remaining && !self.has_part_of(&frame);
        if lies_whole && (frame.opcode.is_control() || (frame.fin && self.fragments == 1)) {
            self.state = State::AwaitHeader(HeldHeader::default());
            return self.finish_whole(&frame, piece).map(Some);
        }

        self.gather(&mut frame, piece)?;
        if frame.remaining > 0 {
            self.state = State::AwaitPayload(frame);
            return Ok(None);
        }
        self.state = State::AwaitHeader(HeldHeader::default());
        if frame.opcode.is_control() {
            let payload = self.take_control();
            return control_event(frame.opcode, Cow::Owned(payload)).map(Some);
        }
        if frame.fin {
            return self.finish_gathered().map(Some);
        }
        Ok(None)
    }

    /// Whether bytes of this frame, or of the message it ends, were gathered.
    fn has_part_of(&self, frame: &Frame) -> bool {
        if frame.opcode.is_control() { self.control_len > 0 } else { !self.gathered.is_empty() }
    }

    /// Completes a frame that is a control frame or a message, and lies whole in the input.
    fn finish_whole<'a>(
        &mut self,
        frame: &Frame,
        payload: &'a mut [u8],
    ) -> Result<Event<'a>, ProtocolError> {
        if frame.opcode == Opcode::Text && self.open == Some(Open::Text) {
            utf8::unmask_and_check(payload, frame.key)?;
        } else if let Some(key) = frame.key {
            mask::apply(payload, key, 0);
        }
        if frame.opcode.is_control() {
            return control_event(frame.opcode, Cow::Borrowed(payload));
        }
        let open = self.end_message();
        Ok(Event::Message(open.message(Cow::Borrowed(payload))))
    }

    /// Completes the message whose last fragment was gathered, and gives its bytes away.
    fn finish_gathered(&mut self) -> Result<Event<'static>, ProtocolError> {
        utf8::check_end(usize::from(self.carried))?;
        let open = self.end_message();
        Ok(Event::Message(open.message(Cow::Owned(std::mem::take(&mut self.gathered)))))
    }

    fn end_message(&mut self) -> Open {
        assert!(self.fragments > 0 && self.control_len == 0 && self.carried == 0);
        self.fragments = 0;
        self.open.take().expect("a fragment was counted")
    }

    /// Appends a piece of a frame's payload, unmasked, and checks it if it is text, in blocks that
    /// stay in the cache.
    fn gather(&mut self, frame: &mut Frame, piece: &[u8]) -> Result<(), ProtocolError> {
        let is_control = frame.opcode.is_control();
        debug_assert!(is_control || self.control_len == 0);
        let is_text = !is_control && self.open == Some(Open::Text);
        for block in piece.chunks(UNMASK_BLOCK) {
            self.reserve(frame, block.len());
            let start = self.gathered.len();
            self.gathered.extend_from_slice(block);
            if let Some(key) = &mut frame.key {
                let phase = mask::apply(&mut self.gathered[start..], *key, 0);
                key.rotate_left(phase);
            }
            if is_text {
                let checked = start - usize::from(self.carried);
                self.carried = utf8::check(&self.gathered[checked..])? as u8;
            }
            frame.remaining -= block.len();
        }
        if is_control {
            self.control_len += piece.len() as u8;
        }
        Ok(())
    }

    /// Makes room by doubling, so that the heap follows what arrived and not what was declared, and
    /// not beyond the end of the message where that is known.
    fn reserve(&mut self, frame: &Frame, block_len: usize) {
        let needed = self.gathered.len() + block_len;
        if needed <= self.gathered.capacity() {
            return;
        }
        let doubled = needed.max(2 * self.gathered.capacity());
        let target = if frame.fin && !frame.opcode.is_control() {
            doubled.min(self.gathered.len() + frame.remaining)
        } else {
            doubled
        };
        self.gathered.reserve_exact(target - self.gathered.len());
    }

    /// Takes a gathered control frame's payload from behind the message.
    fn take_control(&mut self) -> Vec<u8> {
        let message_len = self.gathered.len() - usize::from(self.control_len);
        self.control_len = 0;
        if message_len == 0 {
            return std::mem::take(&mut self.gathered);
        }
        self.gathered.split_off(message_len)
    }

    /// Gives back all memory and takes nothing any more.
    fn close(&mut self) {
        *self = Self { state: State::Closed, ..Self::with_rules(self.rules) };
    }
}

/// What the message that is open is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Text,
    Binary,
    CompressedText,
    CompressedBinary,
}

impl Open {
    fn is_compressed(self) -> bool {
        matches!(self, Open::CompressedText | Open::CompressedBinary)
    }

    fn message(self, payload: Cow<'_, [u8]>) -> Message<'_> {
        let kind = match self {
            Open::Text | Open::CompressedText => MessageKind::Text,
            Open::Binary | Open::CompressedBinary => MessageKind::Binary,
        };
        Message { kind, compressed: self.is_compressed(), payload }
    }
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

/// The event of a complete control frame.
fn control_event(opcode: Opcode, payload: Cow<'_, [u8]>) -> Result<Event<'_>, ProtocolError> {
    match opcode {
        Opcode::Ping => Ok(Event::Ping(payload)),
        Opcode::Pong => Ok(Event::Pong(payload)),
        Opcode::Close => close::parse_body(payload).map(Event::Close),
        Opcode::Continuation | Opcode::Text | Opcode::Binary => {
            unreachable!("a data frame is not a control frame")
        }
    }
}

#[cfg(test)]
mod tests;
