//! Messages put together to one stream of bytes.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::read::{Lent, ReadHalf};
use super::{Error, is_close_error};
use crate::ws::CloseCode;

/// All messages of a connection, text and binary, as one stream of bytes with a separator behind
/// each: an [`AsyncRead`], and with tokio's `BufReader` a stream of lines. No message is held in
/// memory.
///
/// The stream ends where the peer closes with code 1000 or 1001; every other end is an
/// [`io::Error`] that holds the [`Error`]. Dropped, it leaves the rest of the message it was in for
/// the next read to skip.
#[derive(Debug)]
pub struct JoinMessages<'a> {
    half: &'a mut ReadHalf,
    separator: Vec<u8>,
    state: State,
}

/// What the next byte belongs to.
#[derive(Debug)]
enum State {
    AwaitMessage,
    WithinMessage(Lent),
    /// As many bytes of the separator were given.
    WithinSeparator(usize),
}

impl<'a> JoinMessages<'a> {
    pub(super) fn new(half: &'a mut ReadHalf, separator: Vec<u8>) -> Self {
        Self { half, separator, state: State::AwaitMessage }
    }

    /// Copies the next bytes of the stream to `buf` and says how many; 0 is its end, unless `buf`
    /// is empty. Cancellation: a call that is dropped loses nothing.
    ///
    /// # Errors
    /// As [`ReadHalf::read_message`]; after [`Error::TimedOut`] the stream goes on.
    pub async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        let mut buf = ReadBuf::new(buf);
        poll_fn(|cx| self.poll_copy(cx, &mut buf)).await?;
        Ok(buf.filled().len())
    }

    fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Error>> {
        let filled_before = buf.filled().len();
        while buf.remaining() > 0 && buf.filled().len() == filled_before {
            match &mut self.state {
                State::AwaitMessage => match ready!(self.half.poll_next(cx)) {
                    Ok(_) => self.state = State::WithinMessage(Lent::Made(0..0)),
                    Err(error) if is_regular_end(&error) => return Poll::Ready(Ok(())),
                    Err(error) => return Poll::Ready(Err(error)),
                },
                State::WithinMessage(rest) if rest.is_empty() => {
                    match ready!(self.half.poll_lend(cx))? {
                        Some(lent) => *rest = lent,
                        None => self.state = State::WithinSeparator(0),
                    }
                }
                State::WithinMessage(rest) => rest.copy_to(self.half, buf),
                State::WithinSeparator(given) if *given == self.separator.len() => {
                    self.state = State::AwaitMessage;
                }
                State::WithinSeparator(given) => {
                    let rest = &self.separator[*given..];
                    let len = rest.len().min(buf.remaining());
                    buf.put_slice(&rest[..len]);
                    *given += len;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for JoinMessages<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().poll_copy(cx, buf).map_err(io::Error::from)
    }
}

fn is_regular_end(error: &Error) -> bool {
    is_close_error(error, &[CloseCode::NORMAL.get(), CloseCode::GOING_AWAY.get()])
}
