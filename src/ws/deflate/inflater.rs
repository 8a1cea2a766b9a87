//! Compressed bytes to bytes of messages.

use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};

use super::TAIL;
use crate::limits::{INFLATE_BLOCK_MAX, INFLATE_BLOCK_MIN};
use crate::ws::{MessageKind, ProtocolError, utf8};

/// Inflates the messages of one direction of a connection, or without context takeover those of
/// any number of them, one after another. Owns about 40 KiB.
///
/// Its window is the largest, whatever was agreed: zlib takes the memory for that anyway, and what
/// was compressed within less can be read within more, 8 bits included.
pub struct Inflater {
    stream: Decompress,
    context_takeover: bool,
    state: State,
    /// Bytes the message that is open was inflated to so far.
    produced: usize,
}

impl Inflater {
    /// An inflater. `context_takeover`: messages may refer to those before them. Allocates.
    pub fn new(context_takeover: bool) -> Self {
        let stream = Decompress::new(false);
        Self { stream, context_takeover, state: State::AwaitMessage, produced: 0 }
    }

    /// Whether it keeps what messages said for those after them.
    pub fn context_takeover(&self) -> bool {
        self.context_takeover
    }

    /// Takes more of a compressed message and appends what it inflates to. `limit` is that of the
    /// whole message in bytes, inclusive, however much of it the caller took out of `out` already.
    ///
    /// Inflating stops one byte past the limit, and `out` grows with what is produced, not with
    /// what was announced.
    ///
    /// # Errors
    /// `MessageTooBig` or `DeflateCorrupt`, the peer's fault. The connection does not survive it,
    /// and the inflater is of no more use to it.
    pub fn inflate_piece(
        &mut self,
        mut piece: &[u8],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), ProtocolError> {
        while !piece.is_empty() {
            if self.state == State::AwaitStream {
                // What stands behind a final block is a stream of its own. A compressor that goes
                // on has forgotten what was before, and so has its peer.
                self.stream.reset(false);
            }
            self.state = State::WithinStream;
            piece = self.run(piece, out, limit)?;
        }
        Ok(())
    }

    /// Ends the message: puts back the tail that the wire does not carry and appends the last of
    /// it. `limit` as with [`inflate_piece`](Self::inflate_piece).
    ///
    /// # Errors
    /// As [`inflate_piece`](Self::inflate_piece); also if the message ends within a block.
    pub fn finish_message(&mut self, out: &mut Vec<u8>, limit: usize) -> Result<(), ProtocolError> {
        if self.state == State::WithinStream {
            let before = self.produced;
            let tail = if self.context_takeover { &TAIL[..] } else { &LAST_TAIL };
            let rest = self.run(tail, out, limit)?;
            // Between blocks the tail is an empty one, which makes no output; anywhere else it
            // would be taken for content. A stream that ends here proves it.
            let ended = self.state == State::AwaitStream && rest.is_empty();
            if self.produced != before || ended == self.context_takeover {
                return Err(ProtocolError::DeflateCorrupt);
            }
        }
        if self.state == State::AwaitStream {
            self.stream.reset(false);
        }
        self.state = State::AwaitMessage;
        self.produced = 0;
        Ok(())
    }

    /// Forgets the message that was begun, a fault, and what earlier messages said.
    pub(super) fn reset(&mut self) {
        self.stream.reset(false);
        self.state = State::AwaitMessage;
        self.produced = 0;
    }

    /// Inflates until the input is used up or a final block has ended; gives the rest.
    fn run<'a>(
        &mut self,
        mut input: &'a [u8],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<&'a [u8], ProtocolError> {
        loop {
            let start = out.len();
            // One byte past the limit tells a message that is too big from one that just fits.
            let room = limit.saturating_sub(self.produced).saturating_add(1);
            let block = self.produced.clamp(INFLATE_BLOCK_MIN, INFLATE_BLOCK_MAX).min(room);
            out.resize(start + block, 0);
            let (taken, made) = (self.stream.total_in(), self.stream.total_out());
            let status = self.stream.decompress(input, &mut out[start..], FlushDecompress::Sync);
            let made = (self.stream.total_out() - made) as usize;
            input = &input[(self.stream.total_in() - taken) as usize..];
            out.truncate(start + made);
            self.produced += made;
            let status = status.map_err(|_| ProtocolError::DeflateCorrupt)?;
            if self.produced > limit {
                return Err(ProtocolError::MessageTooBig);
            }
            if status == Status::StreamEnd {
                self.state = State::AwaitStream;
                return Ok(input);
            }
            if made < block {
                // With room left zlib stops for want of input only.
                return if input.is_empty() {
                    Ok(input)
                } else {
                    Err(ProtocolError::DeflateCorrupt)
                };
            }
        }
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("context_takeover", &self.context_takeover)
            .field("state", &self.state)
            .field("produced", &self.produced)
            .finish_non_exhaustive()
    }
}

/// Appends what a whole compressed message inflates to: at most `limit` bytes, and UTF-8 if it is
/// text.
///
/// # Errors
/// `MessageTooBig`, `DeflateCorrupt` or `TextNotUtf8`, the peer's fault; `out` then holds bytes of
/// no use, at most `limit` and one more.
pub fn inflate_message(
    inflater: &mut Inflater,
    kind: MessageKind,
    payload: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), ProtocolError> {
    let start = out.len();
    inflater.inflate_piece(payload, out, limit)?;
    inflater.finish_message(out, limit)?;
    if kind == MessageKind::Text {
        let carried = utf8::check(&out[start..])?;
        utf8::check_end(carried)?;
    }
    Ok(())
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A message whose first byte was not seen.
    AwaitMessage,
    /// A stream of blocks.
    WithinStream,
    /// Nothing yet: a final block has ended its stream, the message may go on with another.
    AwaitStream,
}

/// The tail, and a final block without content behind it: where nothing of the stream is needed
/// afterwards, its end shows that the message was whole, and makes the next one begin anew.
const LAST_TAIL: [u8; 6] = [TAIL[0], TAIL[1], TAIL[2], TAIL[3], 0x03, 0x00];
