//! Compressed messages of one connection, as they arrive.

use super::pool::POOL;
use crate::ws::{DeflateSide, Inflater, MessageKind, ProtocolError, utf8};

/// Inflates the messages of one connection and checks their text.
pub(super) struct Inflate {
    side: DeflateSide,
    /// With context takeover from the first message on, else while a message is open.
    inflater: Option<Inflater>,
    text: utf8::Checker,
}

impl Inflate {
    /// For a peer that compresses as `side` says. Allocates nothing yet.
    pub(super) fn new(side: DeflateSide) -> Self {
        Self { side, inflater: None, text: utf8::Checker::default() }
    }

    /// Appends what a piece of a message inflates to; `limit` is that of the whole message.
    pub(super) fn piece(
        &mut self,
        kind: MessageKind,
        piece: &[u8],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), ProtocolError> {
        let start = out.len();
        self.inflater().inflate_piece(piece, out, limit)?;
        self.check(kind, &out[start..])
    }

    /// Appends the last of a message, which ends here.
    pub(super) fn finish(
        &mut self,
        kind: MessageKind,
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), ProtocolError> {
        let start = out.len();
        self.inflater().finish_message(out, limit)?;
        self.check(kind, &out[start..])?;
        if !self.side.context_takeover
            && let Some(inflater) = self.inflater.take()
        {
            POOL.with_borrow_mut(|pool| pool.put_inflater(inflater));
        }
        self.text.finish()
    }

    fn inflater(&mut self) -> &mut Inflater {
        let context_takeover = self.side.context_takeover;
        self.inflater.get_or_insert_with(|| {
            if context_takeover {
                Inflater::new(true)
            } else {
                POOL.with_borrow_mut(|pool| pool.take_inflater())
            }
        })
    }

    fn check(&mut self, kind: MessageKind, bytes: &[u8]) -> Result<(), ProtocolError> {
        match kind {
            MessageKind::Text => self.text.check(bytes),
            MessageKind::Binary => Ok(()),
        }
    }
}
