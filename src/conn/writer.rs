//! A message that is sent as it is written.

use std::future::poll_fn;

use super::Error;
use super::write::WriteHalf;
use crate::ws::{Deflater, MessageKind, Opcode, utf8};

/// Sends one message in fragments, each when it is full, and the last on [`close`](Self::close).
///
/// A writer that is dropped before has sent no more than whole fragments. If it has sent none, the
/// message never was; else the peer waits for the rest, which cannot be made up, and the next call
/// that sends a message fails with [`Error::MessageCut`]. gorilla/websocket would end the message
/// there, and the peer would take it for whole.
#[derive(Debug)]
pub struct MessageWriter<'a> {
    half: &'a mut WriteHalf,
    kind: MessageKind,
    text: utf8::Checker,
    /// What belongs to the next fragment: payload, compressed if there is a deflater.
    fragment: Vec<u8>,
    deflater: Option<Deflater>,
    /// Whether the first fragment is not queued yet.
    is_first: bool,
}

impl<'a> MessageWriter<'a> {
    pub(super) fn new(half: &'a mut WriteHalf, kind: MessageKind) -> Self {
        let compress = half.compress.as_mut().filter(|compress| compress.is_enabled());
        let deflater = compress.map(|compress| compress.take());
        let text = utf8::Checker::default();
        Self { half, kind, text, fragment: Vec::new(), deflater, is_first: true }
    }

    /// Writes more of the message. Full fragments are on their way when it returns; it waits only
    /// while the queue is full.
    ///
    /// Cancellation: dropped, it may have taken a part of `bytes`; then the message can only be
    /// given up.
    ///
    /// # Errors
    /// [`Error::TextNotUtf8`]: the text up to the end of `bytes` cannot be UTF-8; none of them was
    /// taken, and the message may go on with others. Else the connection cannot send any more, see
    /// [`WriteHalf::write_message`].
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.kind == MessageKind::Text {
            let mut text = self.text;
            text.check(bytes).map_err(|_| Error::TextNotUtf8)?;
            self.text = text;
        }
        match &mut self.deflater {
            None => self.write_plain(bytes).await,
            Some(_) => self.write_deflated(bytes).await,
        }
    }

    /// Sends what was written so far, in a fragment that may not be full, and waits until the
    /// kernel has taken it. A compressed message keeps back what its compressor still works on.
    ///
    /// # Errors
    /// See [`WriteHalf::write_message`].
    pub async fn flush(&mut self) -> Result<(), Error> {
        if !self.fragment.is_empty() {
            self.send_fragment(false).await?;
        }
        self.half.flush().await
    }

    /// Sends the last fragment, which ends the message, and waits until the kernel has taken it.
    ///
    /// # Errors
    /// [`Error::TextNotUtf8`]: the last character is not complete; the message is given up. Else as
    /// [`WriteHalf::write_message`].
    pub async fn close(mut self) -> Result<(), Error> {
        self.text.finish().map_err(|_| Error::TextNotUtf8)?;
        if let Some(deflater) = &mut self.deflater {
            deflater.finish_message(&mut self.fragment);
        }
        self.send_fragment(true).await?;
        if let (Some(compress), Some(deflater)) = (&mut self.half.compress, self.deflater.take()) {
            compress.put(deflater);
        }
        self.half.flush().await
    }

    async fn write_plain(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        let fragment_size = self.half.fragment_size;
        while self.fragment.len() + bytes.len() > fragment_size {
            let (taken, rest) = bytes.split_at(fragment_size - self.fragment.len());
            if self.fragment.is_empty() {
                self.wait_room().await?;
                self.queue(false, taken);
            } else {
                self.fragment.extend_from_slice(taken);
                self.send_fragment(false).await?;
            }
            bytes = rest;
        }
        self.fragment.extend_from_slice(bytes);
        Ok(())
    }

    async fn write_deflated(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let fragment_size = self.half.fragment_size;
        for block in bytes.chunks(fragment_size) {
            let deflater = self.deflater.as_mut().expect("the message is compressed");
            deflater.deflate_piece(block, &mut self.fragment);
            if self.fragment.len() >= fragment_size {
                self.send_fragment(false).await?;
            }
        }
        Ok(())
    }

    /// Queues what was gathered as a fragment, and begins to send it.
    async fn send_fragment(&mut self, fin: bool) -> Result<(), Error> {
        self.wait_room().await?;
        let mut fragment = std::mem::take(&mut self.fragment);
        self.queue(fin, &fragment);
        fragment.clear();
        self.fragment = fragment;
        Ok(())
    }

    async fn wait_room(&mut self) -> Result<(), Error> {
        let half = &mut *self.half;
        poll_fn(|cx| half.poll_bounded(cx, |outgoing, cx| outgoing.poll_room(cx))).await
    }

    fn queue(&mut self, fin: bool, payload: &[u8]) {
        let mut outgoing = self.half.outgoing.borrow_mut();
        if !self.is_first {
            outgoing.queue(fin, Opcode::Continuation, payload);
        } else if self.deflater.is_some() {
            outgoing.queue_compressed(fin, self.kind, payload);
        } else {
            outgoing.queue(fin, self.kind.into(), payload);
        }
        outgoing.submit_queued();
        self.is_first = false;
        self.half.message_open = !fin;
    }
}
