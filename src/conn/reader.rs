//! A message that is read as it arrives.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::Error;
use super::read::{Lent, ReadHalf};

/// Reads one message in pieces, each in the memory it was received or inflated in. Also an
/// [`AsyncRead`], which copies.
///
/// A reader that is dropped before the end leaves the rest for the next read to skip.
#[derive(Debug)]
pub struct MessageReader<'a> {
    half: &'a mut ReadHalf,
    /// What was lent and not given.
    rest: Lent,
}

impl<'a> MessageReader<'a> {
    pub(super) fn new(half: &'a mut ReadHalf) -> Self {
        Self { half, rest: Lent::Made(0..0) }
    }

    /// The next bytes of the message, at least one; `None` at its end. Of a text each piece
    /// continues valid UTF-8, and may end within a character.
    ///
    /// The read limit counts for the whole message. Cancellation: a call that is dropped loses
    /// nothing.
    ///
    /// # Errors
    /// As [`ReadHalf::read_message`]; after [`Error::TimedOut`] the message goes on.
    pub async fn read(&mut self) -> Result<Option<&[u8]>, Error> {
        let mut given = std::mem::replace(&mut self.rest, Lent::Made(0..0));
        if given.is_empty() {
            match poll_fn(|cx| self.half.poll_lend(cx)).await? {
                Some(lent) => given = lent,
                None => return Ok(None),
            }
        }
        Ok(Some(self.half.lent(&given)))
    }

    /// Appends all that is left of the message to `out`.
    ///
    /// # Errors
    /// As [`read`](Self::read); what came before the error was appended.
    pub async fn read_to_end(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        while let Some(piece) = self.read().await? {
            out.extend_from_slice(piece);
        }
        Ok(())
    }
}

impl AsyncRead for MessageReader<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if this.rest.is_empty() {
            match ready!(this.half.poll_lend(cx))? {
                Some(lent) => this.rest = lent,
                None => return Poll::Ready(Ok(())),
            }
        }
        this.rest.copy_to(this.half, buf);
        Poll::Ready(Ok(()))
    }
}

impl Lent {
    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        let (Lent::Received(at) | Lent::Made(at)) = self;
        at.is_empty()
    }

    /// Copies as much as `buf` takes, and keeps the rest.
    pub(super) fn copy_to(&mut self, half: &ReadHalf, buf: &mut ReadBuf<'_>) {
        let bytes = half.lent(self);
        let len = bytes.len().min(buf.remaining());
        buf.put_slice(&bytes[..len]);
        let (Lent::Received(at) | Lent::Made(at)) = self;
        at.start += len;
    }
}
