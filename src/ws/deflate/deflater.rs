//! Bytes of messages to compressed bytes.

use std::fmt;

use flate2::{Compress, Compression, FlushCompress, Status};

use super::{DeflateSide, TAIL, WINDOW_BITS_MAX, WINDOW_BITS_MIN};
use crate::limits::COMPRESSION_LEVEL_MAX;

/// Compresses the messages of one direction of a connection, or without context takeover those of
/// any number of them, one after another. Owns about 300 KiB.
pub struct Deflater {
    stream: Compress,
    side: DeflateSide,
    level: u8,
    /// Whether bytes of a message were taken that is not finished.
    within_message: bool,
}

impl Deflater {
    /// A compressor for what `side` agreed to. Levels: 0 only stores, 1 is the fastest, 9 the
    /// smallest. Allocates.
    ///
    /// To change the level of a connection, drop its deflater between two messages and make
    /// another: a compressor may always forget what it has sent.
    ///
    /// # Panics
    /// If the window is not 9 to 15 bits or the level is above 9.
    pub fn new(side: DeflateSide, level: u8) -> Self {
        assert!((WINDOW_BITS_MIN..=WINDOW_BITS_MAX).contains(&side.window_bits));
        assert!(level <= COMPRESSION_LEVEL_MAX);
        let compression = Compression::new(level.into());
        let stream = Compress::new_with_window_bits(compression, false, side.window_bits);
        Self { stream, side, level, within_message: false }
    }

    /// What was agreed for the direction it compresses.
    pub fn side(&self) -> DeflateSide {
        self.side
    }

    /// The level it was made with.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Whether a message was begun and is not finished.
    pub fn is_within_message(&self) -> bool {
        self.within_message
    }

    /// Takes more of a message and appends what is ready of its compressed form, often nothing.
    pub fn deflate_piece(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        if piece.is_empty() {
            return;
        }
        self.within_message = true;
        self.run(piece, FlushCompress::None, out);
    }

    /// Ends the message: appends all that is left of its compressed form, without the tail that the
    /// wire does not carry. What earlier pieces appended may be gone from `out` by now.
    pub fn finish_message(&mut self, out: &mut Vec<u8>) {
        if !self.within_message {
            // zlib makes nothing of nothing; this is the head of an empty stored block (RFC 7692
            // section 7.2.3.6).
            out.push(0);
            return;
        }
        self.run(&[], FlushCompress::Sync, out);
        let kept = out.len().checked_sub(TAIL.len()).filter(|kept| out[*kept..] == TAIL);
        out.truncate(kept.expect("a sync flush ends with an empty stored block"));
        self.forget_message();
    }

    /// Appends the compressed form of a whole message.
    ///
    /// # Panics
    /// If a message was begun in pieces and is not finished.
    pub fn deflate_message(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        assert!(!self.within_message, "one message after another");
        self.deflate_piece(payload, out);
        self.finish_message(out);
    }

    /// Gives up the message that was begun, if any. With context takeover its peer can then read
    /// no further message of it.
    pub(super) fn reset(&mut self) {
        self.stream.reset();
        self.within_message = false;
    }

    fn forget_message(&mut self) {
        self.within_message = false;
        if !self.side.context_takeover {
            self.stream.reset();
        }
    }

    fn run(&mut self, mut input: &[u8], flush: FlushCompress, out: &mut Vec<u8>) {
        loop {
            // A flush that is cut off within six bytes would begin anew and end in two markers.
            out.reserve((input.len() / 2).clamp(OUT_MIN, OUT_MAX));
            let taken = self.stream.total_in();
            let status = self.stream.compress_vec(input, out, flush);
            let status = status.expect("the state of a deflater is sound");
            assert!(status != Status::StreamEnd, "a deflater never finishes its stream");
            input = &input[(self.stream.total_in() - taken) as usize..];
            // Room that was left says that zlib had nothing more to write.
            if input.is_empty() && out.len() < out.capacity() {
                return;
            }
        }
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater")
            .field("side", &self.side)
            .field("level", &self.level)
            .field("within_message", &self.within_message)
            .finish_non_exhaustive()
    }
}

/// Bytes of room zlib is given at least.
const OUT_MIN: usize = 256;

/// Bytes of room made at a time, so that the output grows with what it needs.
const OUT_MAX: usize = 64 * 1024;
