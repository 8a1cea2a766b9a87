//! The sending half of a connection.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use serde::Serialize;

use super::compress::Compress;
use super::controls::{Control, Controls};
use super::deadline::Deadline;
use super::outgoing::Outgoing;
use super::prepared::PreparedMessage;
use super::writer::MessageWriter;
use super::{ConnParts, Error};
use crate::limits::COMPRESSION_LEVEL_MAX;
use crate::ws::{MessageKind, utf8};

/// The sending half of a connection, from [`Conn::split`](super::Conn::split). There is one, and it
/// cannot be cloned; control frames may be sent beside it through [`Controls`].
///
/// The socket closes when both halves are dropped.
pub struct WriteHalf {
    pub(super) outgoing: Rc<RefCell<Outgoing>>,
    pub(super) compress: Option<Compress>,
    /// Bytes of payload in a fragment of a message writer.
    pub(super) fragment_size: usize,
    /// Whether a message writer has sent a fragment and not its last.
    pub(super) message_open: bool,
    deadline: Deadline,
}

impl WriteHalf {
    pub(super) fn new(parts: &ConnParts, outgoing: Rc<RefCell<Outgoing>>) -> Self {
        let compress = parts.deflate.map(|params| Compress::new(params.outgoing(parts.role)));
        Self {
            outgoing,
            compress,
            fragment_size: parts.write_buffer_size.max(1),
            message_open: false,
            deadline: Deadline::default(),
        }
    }

    /// Sends a message in one frame and waits until the kernel has taken it. Sends what was
    /// [fed](Self::feed) before it as well.
    ///
    /// Cancellation: dropped before there is room in the queue, the call has done nothing; dropped
    /// later, the message is queued whole and goes out with the next write, or while a read waits.
    ///
    /// # Errors
    /// [`Error::TextNotUtf8`]: nothing was sent, and the connection survives.
    /// [`Error::TimedOut`], [`Error::Io`], [`Error::MessageCut`]: it cannot send any more.
    /// [`Error::CloseSent`].
    pub async fn write_message(&mut self, kind: MessageKind, payload: &[u8]) -> Result<(), Error> {
        self.feed(kind, payload).await?;
        self.flush().await
    }

    /// Queues a message, to be sent together with what is queued behind it. It goes out with the
    /// next [`flush`](Self::flush) or write, when the queue is full, and whenever a read of this
    /// connection has to wait: a loop that reads and feeds needs no flush. A program that waits for
    /// something else has to flush first.
    ///
    /// Waits while the queue is full, that is until the peer takes what was sent before.
    /// Cancellation: dropped, it has done nothing.
    ///
    /// # Errors
    /// As [`write_message`](Self::write_message).
    pub async fn feed(&mut self, kind: MessageKind, payload: &[u8]) -> Result<(), Error> {
        if kind == MessageKind::Text && utf8::check(payload) != Ok(0) {
            return Err(Error::TextNotUtf8);
        }
        self.wait_room().await?;
        let mut outgoing = self.outgoing.borrow_mut();
        match &mut self.compress {
            Some(compress) if compress.is_enabled() => {
                outgoing.queue_compressed(true, kind, compress.message(payload));
            }
            _ => outgoing.queue(true, kind.into(), payload),
        }
        Ok(())
    }

    /// Sends a prepared message; as [`write_message`](Self::write_message) otherwise.
    ///
    /// # Errors
    /// As [`write_message`](Self::write_message).
    pub async fn write_prepared(&mut self, message: &PreparedMessage) -> Result<(), Error> {
        self.feed_prepared(message).await?;
        self.flush().await
    }

    /// Queues a prepared message; as [`feed`](Self::feed) otherwise.
    ///
    /// # Errors
    /// As [`write_message`](Self::write_message).
    pub async fn feed_prepared(&mut self, message: &PreparedMessage) -> Result<(), Error> {
        self.wait_room().await?;
        let mut outgoing = self.outgoing.borrow_mut();
        match &mut self.compress {
            Some(compress) if compress.is_enabled() => {
                outgoing.queue_compressed(true, message.kind(), &compress.prepared(message));
            }
            _ => outgoing.queue(true, message.kind().into(), message.payload()),
        }
        Ok(())
    }

    /// Sends `value` as JSON, in a text message.
    ///
    /// # Errors
    /// [`Error::Json`]: the value has no JSON; nothing was sent, and the connection survives. Else
    /// as [`write_message`](Self::write_message).
    pub async fn write_json<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let text = serde_json::to_vec(value)?;
        self.write_message(MessageKind::Text, &text).await
    }

    /// Begins a message that is sent in fragments as it is written.
    ///
    /// # Errors
    /// [`Error::MessageCut`]: the message before it was begun and not finished. Else as
    /// [`write_message`](Self::write_message).
    pub fn next_writer(&mut self, kind: MessageKind) -> Result<MessageWriter<'_>, Error> {
        self.check_between_messages()?;
        self.outgoing.borrow().check_open()?;
        Ok(MessageWriter::new(self, kind))
    }

    /// Sends a control frame and waits until the kernel has taken it; also within the message of a
    /// writer, through [`controls`](Self::controls). After a Close nothing can be sent.
    ///
    /// # Errors
    /// [`Error::ControlTooLong`]: nothing was sent, and the connection survives. Else as
    /// [`write_message`](Self::write_message).
    pub async fn write_control(&mut self, control: Control<'_>) -> Result<(), Error> {
        super::controls::check_control(control)?;
        poll_fn(|cx| self.poll_bounded(cx, |outgoing, cx| outgoing.poll_room(cx))).await?;
        self.outgoing.borrow_mut().queue_control(control)?;
        self.flush().await
    }

    /// Waits until the kernel has taken all that is queued. Dropped, it leaves the rest queued.
    ///
    /// # Errors
    /// [`Error::TimedOut`], [`Error::Io`] or [`Error::MessageCut`]: the connection cannot send any
    /// more.
    pub async fn flush(&mut self) -> Result<(), Error> {
        let end = self.outgoing.borrow().end();
        poll_fn(|cx| self.poll_bounded(cx, |outgoing, cx| outgoing.poll_written(cx, end))).await
    }

    /// Sends control frames from elsewhere on this thread.
    pub fn controls(&self) -> Controls {
        Controls::new(&self.outgoing)
    }

    /// Sets when calls that send give up; `None`: never. A peer that has not taken what was sent by
    /// then is given up: the connection cannot send any more.
    pub fn set_write_deadline(&mut self, at: Option<Instant>) {
        self.deadline.set(at);
    }

    /// Says whether messages are compressed from the next one on: they are from the start, if
    /// permessage-deflate was agreed on, and never else.
    pub fn enable_write_compression(&mut self, enabled: bool) {
        if let Some(compress) = &mut self.compress {
            compress.enable(enabled);
        }
    }

    /// Compresses at `level` from the next message on: 1 is the fastest, 9 the smallest, 0 only
    /// stores. Has no effect if permessage-deflate was not agreed on.
    ///
    /// # Panics
    /// If the level is above 9.
    pub fn set_compression_level(&mut self, level: u8) {
        assert!(level <= COMPRESSION_LEVEL_MAX, "levels go from 0 to 9");
        if let Some(compress) = &mut self.compress {
            compress.set_level(level);
        }
    }

    /// Waits until another message may be queued.
    async fn wait_room(&mut self) -> Result<(), Error> {
        self.check_between_messages()?;
        poll_fn(|cx| self.poll_bounded(cx, |outgoing, cx| outgoing.poll_room(cx))).await
    }

    /// Fails if a message was begun and given up: no other may begin within it.
    fn check_between_messages(&self) -> Result<(), Error> {
        let mut outgoing = self.outgoing.borrow_mut();
        if self.message_open && outgoing.check_open().is_ok() {
            outgoing.fail(Error::MessageCut);
        }
        outgoing.check_open()
    }

    /// Waits for the queue, but not past the deadline: then the connection cannot send any more.
    pub(super) fn poll_bounded(
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

impl fmt::Debug for WriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteHalf")
            .field("compresses", &self.compress.is_some())
            .field("message_open", &self.message_open)
            .finish_non_exhaustive()
    }
}
