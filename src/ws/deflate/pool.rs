//! States of zlib for messages that need none between them.

use super::{DeflateSide, Deflater, Inflater};
use crate::limits::DEFLATE_SPARES_MAX;

/// Inflaters and deflaters without context takeover, lent for a message and taken back after it.
/// One for each thread: ten thousand connections need as many as have a message half done.
#[derive(Debug, Default)]
pub struct DeflatePool {
    inflaters: Vec<Inflater>,
    deflaters: Vec<Deflater>,
}

impl DeflatePool {
    /// A pool that holds nothing.
    pub const fn new() -> Self {
        Self { inflaters: Vec::new(), deflaters: Vec::new() }
    }

    /// An inflater at the start of a message. Allocates if none is spare.
    pub fn take_inflater(&mut self) -> Inflater {
        self.inflaters.pop().unwrap_or_else(|| Inflater::new(false))
    }

    /// Takes an inflater back, in whatever state a message or a fault left it. One with context
    /// takeover, or one too many, is dropped.
    pub fn put_inflater(&mut self, mut inflater: Inflater) {
        if !inflater.context_takeover() && self.inflaters.len() < DEFLATE_SPARES_MAX {
            inflater.reset();
            self.inflaters.push(inflater);
        }
    }

    /// A deflater at the start of a message, with exactly this window and level. Allocates if no
    /// such one is spare.
    ///
    /// # Panics
    /// As [`Deflater::new`].
    pub fn take_deflater(&mut self, window_bits: u8, level: u8) -> Deflater {
        let side = DeflateSide { window_bits, context_takeover: false };
        let is_fit = |spare: &Deflater| spare.side() == side && spare.level() == level;
        match self.deflaters.iter().position(is_fit) {
            Some(index) => self.deflaters.remove(index),
            None => Deflater::new(side, level),
        }
    }

    /// Takes a deflater back, whether its message was finished or given up. One with context
    /// takeover is dropped; of too many, the one that was not used for longest.
    pub fn put_deflater(&mut self, mut deflater: Deflater) {
        if deflater.side().context_takeover {
            return;
        }
        if deflater.is_within_message() {
            deflater.reset();
        }
        if self.deflaters.len() == DEFLATE_SPARES_MAX {
            self.deflaters.remove(0);
        }
        self.deflaters.push(deflater);
    }

    /// How many states are held, inflaters and deflaters.
    pub fn spares(&self) -> (usize, usize) {
        (self.inflaters.len(), self.deflaters.len())
    }
}
