//! Frames to messages in pieces: the receiving half of a connection that need not hold a message
//! (RFC 6455 sections 5 to 8, RFC 7692 section 6).
//!
//! The same rules as in `decode`, out of the same code; but a message is given out as it arrives,
//! in the input's own memory, and nothing of it is kept. Control frames come whole, between pieces.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::decode::DecodeLimits;
use super::frames::{self, Control, Frames, Open};
use super::header::HeaderRules;
use super::{CloseCode, MessageKind, Opcode, ProtocolError, Role, mask, utf8};
use crate::limits::{CONTROL_PAYLOAD_MAX, UNMASK_BLOCK};

/// Some of a data message.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Text or binary; that of the whole message.
    pub kind: MessageKind,
    /// Whether the message is compressed: the bytes of its pieces are for an
    /// [`Inflater`](super::Inflater). Never so unless the decoder was told that compression was
    /// agreed on.
    pub compressed: bool,
    /// Whether this is the message's first piece. It may be empty.
    pub begins: bool,
    /// The next bytes, unmasked. Of a text that is not compressed all pieces up to this one are
    /// UTF-8, but that the last character need not be complete.
    pub bytes: &'a mut [u8],
    /// Whether this is the message's last piece. It may be empty. The last character is complete.
    pub ends: bool,
}

/// What the peer said.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Some of a data message.
    Piece(Piece<'a>),
    /// A Ping: a Pong with the same payload is owed, at most 125 bytes.
    Ping(&'a [u8]),
    /// A Pong.
    Pong(&'a [u8]),
    /// A Close; code and reason, `None` for an empty body. A Close is owed if none was sent.
    Close(Option<(CloseCode, Cow<'a, str>)>),
}

/// How much of the input was used and what it gave.
#[derive(Debug)]
pub struct Decoded<'a> {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// What those bytes say. A piece's bytes are the last of them. `None`: all input was consumed
    /// and more is needed.
    pub event: Option<Event<'a>>,
}

/// Frames to pieces of messages, for one direction of one connection. Owns no heap.
#[derive(Debug)]
pub struct PieceDecoder {
    frames: Frames,
    /// Bytes of the open message that were given out.
    message_len: u64,
    text: utf8::Checker,
    /// The payload of a control frame that is not complete.
    control: [u8; CONTROL_PAYLOAD_MAX],
}

impl PieceDecoder {
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
            frames: Frames::new(rules),
            message_len: 0,
            text: utf8::Checker::default(),
            control: [0; CONTROL_PAYLOAD_MAX],
        }
    }

    /// Takes bytes until there is an event or the input ends; call again with the rest until the
    /// event is `None`. Any cutting of a stream gives the same messages, control frames and error,
    /// though not the same pieces.
    ///
    /// The limits may change between calls. After a Close, and after an error, all further bytes
    /// are consumed and ignored.
    ///
    /// # Errors
    /// The peer's fault. The connection does not survive it: a Close with the fault's code is owed,
    /// unless one was sent.
    pub fn handle<'a>(
        &'a mut self,
        input: &'a mut [u8],
        limits: &DecodeLimits,
    ) -> Result<Decoded<'a>, ProtocolError> {
        let input_len = input.len();
        let mut rest = input;
        loop {
            let piece = match self.frames.next(&mut rest, self.message_len, limits) {
                Ok(Some(piece)) => piece,
                Ok(None) => return Ok(Decoded { consumed: input_len, event: None }),
                Err(fault) => return Err(self.fail(fault)),
            };
            let consumed = input_len - rest.len();
            if !piece.opcode.is_control() {
                return match self.handle_data(piece) {
                    Ok(piece) => Ok(Decoded { consumed, event: Some(Event::Piece(piece)) }),
                    Err(fault) => Err(self.fail(fault)),
                };
            }
            let opcode = piece.opcode;
            if let Some(payload_len) = self.gather_control(piece) {
                let event = self.finish_control(opcode, payload_len)?;
                return Ok(Decoded { consumed, event: Some(event) });
            }
        }
    }

    fn handle_data<'a>(&mut self, piece: frames::Piece<'a>) -> Result<Piece<'a>, ProtocolError> {
        let frames::Piece { bytes, key, remaining, fin, begins, .. } = piece;
        let open = self.frames.open().expect("a data frame belongs to a message");
        let is_text = open == Open::Text;
        let mut phase = 0;
        for block in bytes.chunks_mut(UNMASK_BLOCK) {
            if let Some(key) = key {
                phase = mask::apply(block, key, phase);
            }
            if is_text {
                self.text.check(block)?;
            }
        }
        self.message_len += bytes.len() as u64;
        let begins = begins && self.frames.is_first_fragment();
        let ends = fin && remaining == 0;
        if ends {
            if is_text {
                self.text.finish()?;
            }
            self.frames.end_message();
            self.message_len = 0;
        }
        Ok(Piece { kind: open.kind(), compressed: open.is_compressed(), begins, bytes, ends })
    }

    /// Takes a piece of a control frame's payload; the length of the whole if it is the last.
    fn gather_control(&mut self, piece: frames::Piece<'_>) -> Option<usize> {
        let frames::Piece { bytes, key, remaining, .. } = piece;
        if let Some(key) = key {
            mask::apply(bytes, key, 0);
        }
        let start = usize::from(self.frames.control_len);
        let end = start + bytes.len();
        self.control[start..end].copy_from_slice(bytes);
        self.frames.control_len = if remaining == 0 { 0 } else { end as u8 };
        (remaining == 0).then_some(end)
    }

    fn finish_control(
        &mut self,
        opcode: Opcode,
        payload_len: usize,
    ) -> Result<Event<'_>, ProtocolError> {
        let payload = &self.control[..payload_len];
        let control = frames::control(opcode, Cow::Borrowed(payload));
        if opcode == Opcode::Close {
            self.frames.close();
        }
        Ok(match control? {
            Control::Ping(_) => Event::Ping(payload),
            Control::Pong(_) => Event::Pong(payload),
            Control::Close(body) => Event::Close(body),
        })
    }

    /// Takes nothing any more.
    fn fail(&mut self, fault: ProtocolError) -> ProtocolError {
        self.frames.close();
        fault
    }
}

#[cfg(test)]
mod tests;
