//! Frames to messages: the receiving half of one connection (RFC 6455 sections 5 to 8, RFC 7692
//! section 6).
//!
//! Owns the message that is not complete, and how far its text is checked; `frames` knows what a
//! frame is and which may follow which. Knows no limits of its own, they come with each call, and
//! sends nothing: a Pong or Close that is owed is an event.
//!
//! Invariants: `gathered` holds the bytes of the open message that arrived in earlier calls or
//! fragments, unmasked, and behind them `control_len` bytes of a control frame that is not
//! complete. Of text all is checked but its last `carried` bytes; of a compressed message nothing
//! is. Between messages nothing is held.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::frames::{self, Control, Frames, Open, Piece};
use super::header::HeaderRules;
use super::{CloseCode, MessageKind, Opcode, ProtocolError, Role, mask, utf8};
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

/// Frames to messages, for one direction of one connection. At most 32 bytes; owns heap only while
/// a frame or message is incomplete.
#[derive(Debug)]
pub struct Decoder {
    // Boxed, for every connection pays for the place and by far most gather nothing.
    #[expect(clippy::box_collection)]
    gathered: Option<Box<Vec<u8>>>,
    frames: Frames,
}

impl Decoder {
    /// A decoder at the start of a stream. `role` is the reader's: a server's decoder takes masked
    /// frames, a client's unmasked ones.
    pub fn new(role: Role) -> Self {
        Self { gathered: None, frames: Frames::new(HeaderRules::new(role, false)) }
    }

    /// A decoder as [`new`](Self::new) makes it, where permessage-deflate was agreed on: data
    /// messages may be compressed, which their first frame says.
    pub fn with_deflate(role: Role) -> Self {
        Self { gathered: None, frames: Frames::new(HeaderRules::new(role, true)) }
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
        self.gathered.as_ref().map_or(0, |gathered| gathered.capacity())
    }

    fn handle_rest<'a>(
        &mut self,
        rest: &mut &'a mut [u8],
        limits: &DecodeLimits,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        loop {
            let Some(piece) = self.frames.next(rest, self.gathered_len() as u64, limits)? else {
                return Ok(None);
            };
            if let Some(event) = self.handle_piece(piece)? {
                return Ok(Some(event));
            }
        }
    }

    /// Takes a piece of a frame's payload. `None`: the payload is not complete, or the frame was a
    /// fragment of a message that goes on.
    fn handle_piece<'a>(&mut self, piece: Piece<'a>) -> Result<Option<Event<'a>>, ProtocolError> {
        let Piece { remaining, opcode, fin, .. } = piece;
        let is_control = opcode.is_control();
        let lies_whole = remaining == 0 && !self.has_part_of(opcode);
        if lies_whole && (is_control || (fin && self.frames.is_first_fragment())) {
            return self.finish_whole(piece).map(Some);
        }

        self.gather(piece)?;
        if remaining > 0 {
            return Ok(None);
        }
        if is_control {
            let payload = self.take_control();
            return frames::control(opcode, Cow::Owned(payload))
                .map(|control| Some(control.into()));
        }
        if fin {
            return self.finish_gathered().map(Some);
        }
        Ok(None)
    }

    /// Whether bytes of this frame, or of the message it ends, were gathered.
    fn has_part_of(&self, opcode: Opcode) -> bool {
        if opcode.is_control() { self.frames.control_len > 0 } else { self.gathered_len() > 0 }
    }

    /// Completes a frame that is a control frame or a message, and lies whole in the input.
    fn finish_whole<'a>(&mut self, piece: Piece<'a>) -> Result<Event<'a>, ProtocolError> {
        let Piece { bytes, key, opcode, .. } = piece;
        if opcode == Opcode::Text && self.frames.open() == Some(Open::Text) {
            utf8::unmask_and_check(bytes, key)?;
        } else if let Some(key) = key {
            mask::apply(bytes, key, 0);
        }
        if opcode.is_control() {
            return frames::control(opcode, Cow::Borrowed(bytes)).map(Event::from);
        }
        let open = self.frames.end_message();
        Ok(Event::Message(open.message(Cow::Borrowed(bytes))))
    }

    /// Completes the message whose last fragment was gathered, and gives its bytes away.
    fn finish_gathered(&mut self) -> Result<Event<'static>, ProtocolError> {
        utf8::check_end(usize::from(self.frames.carried))?;
        let open = self.frames.end_message();
        Ok(Event::Message(open.message(Cow::Owned(self.take_gathered()))))
    }

    /// Appends a piece of a frame's payload, unmasked, and checks it if it is text, in blocks that
    /// stay in the cache.
    fn gather(&mut self, piece: Piece<'_>) -> Result<(), ProtocolError> {
        let Piece { bytes, mut key, remaining, opcode, fin, .. } = piece;
        let is_control = opcode.is_control();
        debug_assert!(is_control || self.frames.control_len == 0);
        let is_text = !is_control && self.frames.open() == Some(Open::Text);
        let mut frame_rest = bytes.len() + remaining;
        for block in bytes.chunks(UNMASK_BLOCK) {
            let gathered = self.gathered.get_or_insert_default();
            reserve(gathered, block.len(), (fin && !is_control).then_some(frame_rest));
            let start = gathered.len();
            gathered.extend_from_slice(block);
            if let Some(key) = &mut key {
                let phase = mask::apply(&mut gathered[start..], *key, 0);
                key.rotate_left(phase);
            }
            if is_text {
                let checked = start - usize::from(self.frames.carried);
                self.frames.carried = utf8::check(&gathered[checked..])? as u8;
            }
            frame_rest -= block.len();
        }
        if is_control {
            self.frames.control_len += bytes.len() as u8;
        }
        Ok(())
    }

    /// Takes a gathered control frame's payload from behind the message.
    fn take_control(&mut self) -> Vec<u8> {
        let message_len = self.gathered_len() - usize::from(self.frames.control_len);
        self.frames.control_len = 0;
        match &mut self.gathered {
            Some(gathered) if message_len > 0 => gathered.split_off(message_len),
            _ => self.take_gathered(),
        }
    }

    fn take_gathered(&mut self) -> Vec<u8> {
        self.gathered.take().map_or_else(Vec::new, |gathered| *gathered)
    }

    fn gathered_len(&self) -> usize {
        self.gathered.as_ref().map_or(0, |gathered| gathered.len())
    }

    /// Gives back all memory and takes nothing any more.
    fn close(&mut self) {
        self.gathered = None;
        self.frames.close();
    }
}

/// Makes room by doubling, so that the heap follows what arrived and not what was declared, and
/// not beyond the end of the message where that is known: `message_rest` bytes from here.
fn reserve(gathered: &mut Vec<u8>, block_len: usize, message_rest: Option<usize>) {
    let needed = gathered.len() + block_len;
    if needed <= gathered.capacity() {
        return;
    }
    let doubled = needed.max(2 * gathered.capacity());
    let target = match message_rest {
        Some(message_rest) => doubled.min(gathered.len() + message_rest),
        None => doubled,
    };
    gathered.reserve_exact(target - gathered.len());
}

impl<'a> From<Control<'a>> for Event<'a> {
    fn from(control: Control<'a>) -> Self {
        match control {
            Control::Ping(payload) => Self::Ping(payload),
            Control::Pong(payload) => Self::Pong(payload),
            Control::Close(body) => Self::Close(body),
        }
    }
}

impl Open {
    fn message(self, payload: Cow<'_, [u8]>) -> Message<'_> {
        Message { kind: self.kind(), compressed: self.is_compressed(), payload }
    }
}

#[cfg(test)]
pub(super) mod tests;
