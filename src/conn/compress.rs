//! What one connection sends compressed.

use super::pool::POOL;
use super::prepared::PreparedMessage;
use crate::limits;
use crate::ws::{DeflateSide, Deflater};

/// Compresses the messages of one connection.
pub(super) struct Compress {
    side: DeflateSide,
    /// Whether messages are compressed: true until the program says otherwise.
    enabled: bool,
    level: u8,
    /// With context takeover, between messages. None while a message writer has it.
    deflater: Option<Deflater>,
    /// Room for a compressed message.
    deflated: Vec<u8>,
}

impl Compress {
    /// For what was agreed on as `side`. Allocates nothing yet.
    pub(super) fn new(side: DeflateSide) -> Self {
        let level = limits::CONN_DEFLATE_LEVEL_DEFAULT;
        Self { side, enabled: true, level, deflater: None, deflated: Vec::new() }
    }

    /// Whether the next message is to be compressed.
    pub(super) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Says whether the next message is to be compressed.
    pub(super) fn enable(&mut self, enabled: bool) {
        self.enabled = enabled;
    }

    /// Compresses at `level` from the next message on. A deflater may always forget what it has
    /// sent, so another takes over.
    pub(super) fn set_level(&mut self, level: u8) {
        self.level = level;
        self.deflater = None;
    }

    /// The compressed form of a message, until the next one.
    pub(super) fn message(&mut self, payload: &[u8]) -> &[u8] {
        let mut deflater = self.take();
        if self.deflated.capacity() > limits::CONN_BUFFER_KEPT_MAX {
            self.deflated = Vec::new();
        }
        self.deflated.clear();
        deflater.deflate_message(payload, &mut self.deflated);
        self.put(deflater);
        &self.deflated
    }

    /// The compressed form of a message that many connections send. Compressed by itself, it is
    /// unknown to this connection's deflater while the peer has seen it; so another takes over.
    pub(super) fn prepared(&mut self, message: &PreparedMessage) -> std::sync::Arc<[u8]> {
        self.deflater = None;
        message.deflated(self.side.window_bits, self.level)
    }

    /// A deflater at the start of a message. If it is not [put](Self::put) back, the message was
    /// given up, and the next one is compressed without it.
    pub(super) fn take(&mut self) -> Deflater {
        let DeflateSide { window_bits, context_takeover } = self.side;
        if context_takeover {
            let deflater = self.deflater.take();
            return deflater.unwrap_or_else(|| Deflater::new(self.side, self.level));
        }
        POOL.with_borrow_mut(|pool| pool.take_deflater(window_bits, self.level))
    }

    /// Takes a deflater back after its message.
    pub(super) fn put(&mut self, deflater: Deflater) {
        if !self.side.context_takeover {
            POOL.with_borrow_mut(|pool| pool.put_deflater(deflater));
        } else if deflater.level() == self.level {
            self.deflater = Some(deflater);
        }
    }
}
