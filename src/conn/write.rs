//! The sending half of a connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::Error;
use super::deadline::Deadline;
use super::outgoing::Outgoing;
use crate::ws::{CloseCode, MessageKind, utf8};

/// The sending half of a connection.
pub struct WriteHalf {
    pub(super) outgoing: Rc<RefCell<Outgoing>>,
    deadline: Deadline,
}

impl WriteHalf {
    pub(super) fn new(outgoing: Rc<RefCell<Outgoing>>) -> Self {
        Self { outgoing, deadline: Deadline::default() }
    }

    /// Sends a message and waits until the kernel has taken it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn write_message(&mut self, kind: MessageKind, payload: &[u8]) -> Result<(), Error> {
        self.feed(kind, payload).await?;
        self.flush().await
    }

    /// Queues a message, to be sent with the ones behind it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn feed(&mut self, kind: MessageKind, payload: &[u8]) -> Result<(), Error> {
        if kind == MessageKind::Text && utf8::check(payload) != Ok(0) {
            return Err(Error::TextNotUtf8);
        }
        poll_fn(|cx| self.bounded(cx, |outgoing, cx| outgoing.poll_room(cx))).await?;
        self.outgoing.borrow_mut().queue(true, kind.into(), payload);
        Ok(())
    }

    /// Waits until the kernel has taken all that is queued.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn flush(&mut self) -> Result<(), Error> {
        let end = self.outgoing.borrow().end();
        poll_fn(|cx| self.bounded(cx, |outgoing, cx| outgoing.poll_written(cx, end))).await
    }

    /// When writes give up.
    pub fn set_write_deadline(&mut self, at: Option<Instant>) {
        self.deadline.set(at);
    }

    /// Sends a Close.
    pub(super) async fn send_close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        self.outgoing.borrow_mut().queue_close(Some(code), reason);
        self.flush().await
    }

    /// Waits for the queue, but not past the deadline: then the connection cannot send any more.
    fn bounded(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl Fn(&mut Outgoing, &mut Context<'_>) -> Poll<Result<(), Error>>,
    ) -> Poll<Result<(), Error>> {
        let mut outgoing = self.outgoing.borrow_mut();
        if let Poll::Ready(result) = poll(&mut outgoing, cx) {
            return Poll::Ready(result);
        }
        if self.deadline.poll_passed(cx).is_ready() {
            outgoing.fail(Error::TimedOut);
            return Poll::Ready(Err(Error::TimedOut));
        }
        Poll::Pending
    }
}
