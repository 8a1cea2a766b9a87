//! Messages put together to one stream of bytes.

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
}

impl AsyncRead for JoinMessages<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let filled_before = buf.filled().len();
        while buf.remaining() > 0 && buf.filled().len() == filled_before {
            match &mut this.state {
                State::AwaitMessage => match ready!(this.half.poll_next(cx)) {
                    Ok(_) => this.state = State::WithinMessage(Lent::Made(0..0)),
                    Err(error) if is_regular_end(&error) => return Poll::Ready(Ok(())),
                    Err(error) => return Poll::Ready(Err(error.into())),
                },
                State::WithinMessage(rest) if rest.is_empty() => {
                    match ready!(this.half.poll_lend(cx))? {
                        Some(lent) => *rest = lent,
                        None => this.state = State::WithinSeparator(0),
                    }
                }
                State::WithinMessage(rest) => rest.copy_to(this.half, buf),
                State::WithinSeparator(given) if *given == this.separator.len() => {
                    this.state = State::AwaitMessage;
                }
                State::WithinSeparator(given) => {
                    let rest = &this.separator[*given..];
                    let len = rest.len().min(buf.remaining());
                    buf.put_slice(&rest[..len]);
                    *given += len;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn is_regular_end(error: &Error) -> bool {
    is_close_error(error, &[CloseCode::NORMAL.get(), CloseCode::GOING_AWAY.get()])
}
