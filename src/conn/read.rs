//! The receiving half of a connection.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use tokio::time::{Sleep, sleep};

use super::controls::{CloseHandler, ControlHandler, Controls, Handlers};
use super::deadline::Deadline;
use super::incoming::Incoming;
use super::inflate::Inflate;
use super::join::JoinMessages;
use super::message::{Message, Payload, Spare};
use super::outgoing::Outgoing;
use super::reader::MessageReader;
use super::{CloseError, ConnParts, Error, HandlerError};
use crate::limits;
use crate::ws::pieces::{Event, PieceDecoder};
use crate::ws::{DecodeLimits, MessageKind, ProtocolError};

/// The receiving half of a connection, from [`Conn::split`](super::Conn::split). There is one, and
/// it cannot be cloned. It still answers Pings and Closes: the answers share the other half's
/// queue, and go out between its frames.
///
/// The socket closes when both halves are dropped.
pub struct ReadHalf {
    pub(super) incoming: Incoming,
    pub(super) outgoing: Rc<RefCell<Outgoing>>,
    decoder: PieceDecoder,
    limits: DecodeLimits,
    inflate: Option<Inflate>,
    handlers: Handlers,
    deadline: Deadline,
    /// The message whose end was not reached.
    open: Option<Open>,
    /// What was taken of it for [`read_message`](Self::read_message).
    gathered: Vec<u8>,
    /// What was taken of it for a [`MessageReader`] and does not lie in the buffer of the socket.
    made: Vec<u8>,
    spare: Spare,
    ended: Option<Ended>,
    pub(super) subprotocol: Option<String>,
}

/// A message whose end was not reached.
struct Open {
    kind: MessageKind,
    compressed: bool,
    /// Whether a [`MessageReader`] has it, or had it: then nobody else wants the rest.
    lent: bool,
    /// Whether `made` holds its first bytes, which nobody has seen.
    head_made: bool,
    /// The bytes of the last piece that were not taken.
    piece: Range<usize>,
    /// Whether that piece ends it.
    ends: bool,
}

/// Some bytes of a message, until the next are asked for.
#[derive(Clone, Debug)]
pub(super) enum Lent {
    /// In the buffer of the socket.
    Received(Range<usize>),
    /// Inflated, or gathered by an earlier call.
    Made(Range<usize>),
}

/// Why nothing is read any more.
struct Ended {
    error: Error,
    /// Where our last frame ends, and how long it may take to be sent before the reader is told.
    flush: Option<(u64, Pin<Box<Sleep>>)>,
}

impl ReadHalf {
    pub(super) fn new(
        parts: &ConnParts,
        incoming: Incoming,
        outgoing: Rc<RefCell<Outgoing>>,
    ) -> Self {
        let decoder = match parts.deflate {
            Some(_) => PieceDecoder::with_deflate(parts.role),
            None => PieceDecoder::new(parts.role),
        };
        Self {
            incoming,
            handlers: Handlers::new(Controls::new(&outgoing)),
            outgoing,
            decoder,
            limits: DecodeLimits {
                message_size: limits::CONN_READ_LIMIT_DEFAULT,
                fragments: limits::CONN_FRAGMENTS_DEFAULT,
            },
            inflate: parts.deflate.map(|params| Inflate::new(params.incoming(parts.role))),
            deadline: Deadline::default(),
            open: None,
            gathered: Vec::new(),
            made: Vec::new(),
            spare: Spare::default(),
            ended: None,
            subprotocol: parts.subprotocol.clone(),
        }
    }

    /// The next message, whole. Control frames that arrive before its end go to their handlers.
    /// What an earlier [`MessageReader`] left of its message is skipped.
    ///
    /// While it waits, everything queued on this connection is sent. A message that comes while the
    /// one before it is dropped already allocates nothing, up to
    /// [`limits::CONN_BUFFER_KEPT_MAX`] bytes.
    ///
    /// Cancellation: a call that is dropped loses nothing. The next one goes on where it stopped,
    /// also within a message.
    ///
    /// # Errors
    /// [`Error::TimedOut`]: the deadline passed; nothing is lost, and the connection may be read
    /// again. Every other error is final: all later reads give the same. [`Error::Closed`],
    /// [`Error::Protocol`], [`Error::Handler`], [`Error::Io`]. When our Close is owed to the peer,
    /// it is sent before the error is returned, if the peer takes it within a second.
    pub async fn read_message(&mut self) -> Result<Message, Error> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    /// The next message, as soon as its first frame's header is there; its bytes are for the reader
    /// to give. The message is not held in memory.
    ///
    /// Cancellation and errors are those of [`read_message`](Self::read_message). If a call of that
    /// was dropped within a message, the reader gives that message from its beginning.
    ///
    /// # Errors
    /// As [`read_message`](Self::read_message).
    pub async fn next_reader(&mut self) -> Result<(MessageKind, MessageReader<'_>), Error> {
        let kind = poll_fn(|cx| self.poll_next(cx)).await?;
        Ok((kind, MessageReader::new(self)))
    }

    /// The next message, read as JSON, whether text or binary.
    ///
    /// # Errors
    /// [`Error::Json`]: it is not the JSON of a `T`; the connection survives, and the message is
    /// consumed. Else as [`read_message`](Self::read_message).
    pub async fn read_json<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        let message = self.read_message().await?;
        Ok(serde_json::from_slice(&message.payload)?)
    }

    /// All messages from here as one stream of bytes, with `separator` behind each. It ends where
    /// the peer closes with code 1000 or 1001.
    pub fn join_messages(&mut self, separator: impl Into<Vec<u8>>) -> JoinMessages<'_> {
        JoinMessages::new(self, separator.into())
    }

    /// Sets the largest message that is read, in bytes, all fragments together and inflated; a
    /// larger one is answered with Close 1009. [`limits::CONN_READ_LIMIT_DEFAULT`] at first.
    pub fn set_read_limit(&mut self, bytes: usize) {
        self.limits.message_size = bytes;
    }

    /// Sets how many fragments a message may have; more are answered with Close 1008.
    /// [`limits::CONN_FRAGMENTS_DEFAULT`] at first.
    pub fn set_fragment_limit(&mut self, fragments: u32) {
        self.limits.fragments = fragments;
    }

    /// Sets when calls that read give up; `None`: never. gorilla/websocket's connections are of no
    /// use after that; here nothing is lost, and a later deadline lets the next call go on.
    pub fn set_read_deadline(&mut self, at: Option<Instant>) {
        self.deadline.set(at);
    }

    /// Sets what is done with Pings. At first each is answered with a Pong. The handler runs within
    /// the calls that read, and must not wait.
    pub fn set_ping_handler(
        &mut self,
        handler: impl Fn(&Controls, &[u8]) -> Result<(), HandlerError> + 'static,
    ) {
        self.handlers.ping = Rc::new(handler);
    }

    /// Sets what is done with Pongs. At first nothing. The handler runs within the calls that read,
    /// and must not wait.
    pub fn set_pong_handler(
        &mut self,
        handler: impl Fn(&Controls, &[u8]) -> Result<(), HandlerError> + 'static,
    ) {
        self.handlers.pong = Rc::new(handler);
    }

    /// Sets what is done with the peer's Close. At first it is answered with a Close of the same
    /// code. The handler runs within the calls that read, and must not wait; what it queues is sent
    /// before the reader is told.
    pub fn set_close_handler(
        &mut self,
        handler: impl Fn(&Controls, &CloseError) -> Result<(), HandlerError> + 'static,
    ) {
        self.handlers.close = Rc::new(handler);
    }

    /// What is done with Pings, for a handler that does more.
    pub fn ping_handler(&self) -> ControlHandler {
        Rc::clone(&self.handlers.ping)
    }

    /// What is done with Pongs, for a handler that does more.
    pub fn pong_handler(&self) -> ControlHandler {
        Rc::clone(&self.handlers.pong)
    }

    /// What is done with the peer's Close, for a handler that does more.
    pub fn close_handler(&self) -> CloseHandler {
        Rc::clone(&self.handlers.close)
    }

    /// Sends control frames from elsewhere on this thread.
    pub fn controls(&self) -> Controls {
        self.handlers.controls.clone()
    }

    /// The subprotocol that was agreed on.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// How the peer closed the connection, if reading has come to that.
    pub(super) fn closed(&self) -> Option<&CloseError> {
        match &self.ended {
            Some(Ended { error: Error::Closed(close), .. }) => Some(close),
            _ => None,
        }
    }

    /// Why nothing is read any more.
    pub(super) fn fault(&self) -> Option<Error> {
        self.ended.as_ref().map(|ended| ended.error.clone())
    }

    /// Reads until the end of the stream, the peer's Close on the way, but not much more than
    /// `bytes_max`.
    pub(super) async fn discard(&mut self, bytes_max: usize) {
        let mut discarded = 0;
        while self.ended.is_none() && discarded < bytes_max {
            // An error ends reading.
            if poll_fn(|cx| self.poll_piece(cx)).await.is_ok() {
                let open = self.open.as_mut().expect("a piece belongs to a message");
                discarded += std::mem::take(&mut open.piece).len();
                self.open.take_if(|open| open.ends);
            }
        }
        while discarded < bytes_max {
            let rest_len = self.incoming.rest().len();
            self.incoming.consume(rest_len);
            match poll_fn(|cx| self.incoming.poll_fill(cx)).await {
                Ok(received_len @ 1..) => discarded += received_len,
                Ok(0) | Err(_) => return,
            }
        }
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Error>> {
        ready!(self.poll_next_open(cx))?;
        loop {
            let open = self.open.as_mut().expect("a message was begun");
            let kind = open.kind;
            let piece = std::mem::take(&mut open.piece);
            let (compressed, ends) = (open.compressed, open.ends);
            let received = self.incoming.received(&piece);
            let taken = match (&mut self.inflate, compressed) {
                (Some(inflate), true) => {
                    let limit = self.limits.message_size;
                    let out = &mut self.gathered;
                    let taken = inflate.piece(kind, received, out, limit);
                    if ends { taken.and_then(|()| inflate.finish(kind, out, limit)) } else { taken }
                }
                _ => {
                    self.gathered.extend_from_slice(received);
                    Ok(())
                }
            };
            if let Err(fault) = taken {
                return self.fail(fault, cx);
            }
            if ends {
                self.open = None;
                let payload = Payload::new(std::mem::take(&mut self.gathered), self.spare.clone());
                return Poll::Ready(Ok(Message { kind, payload }));
            }
            ready!(self.poll_piece(cx))?;
        }
    }

    /// Waits for the message that a new [`MessageReader`] is to give.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<MessageKind, Error>> {
        ready!(self.poll_next_open(cx))?;
        let open = self.open.as_mut().expect("a message was begun");
        open.lent = true;
        // What a call of `read_message` gathered and did not return.
        open.head_made = !self.gathered.is_empty();
        std::mem::swap(&mut self.gathered, &mut self.made);
        Poll::Ready(Ok(open.kind))
    }

    /// Waits for a message that no reader had: the one that is open, or else the next.
    fn poll_next_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.open.as_ref().is_some_and(|open| open.lent) {
            ready!(self.poll_lend(cx))?;
        }
        if self.open.is_none() {
            ready!(self.poll_piece(cx))?;
            self.gathered.clear();
            if self.made.capacity() > limits::CONN_BUFFER_KEPT_MAX {
                self.made = Vec::new();
            }
            if self.gathered.capacity() == 0 {
                self.gathered = self.spare.take();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for more bytes of the open message, which a reader has; `None` once it has ended.
    /// Compressed ones are inflated little by little, lest a few bytes become many at once.
    pub(super) fn poll_lend(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Lent>, Error>> {
        loop {
            if self.ended.is_some() {
                return self.poll_ended(cx).map(Err);
            }
            let Some(open) = &mut self.open else {
                return Poll::Ready(Ok(None));
            };
            if std::mem::take(&mut open.head_made) {
                return Poll::Ready(Ok(Some(Lent::Made(0..self.made.len()))));
            }
            let Open { kind, compressed, ends, .. } = *open;
            let mut piece = std::mem::take(&mut open.piece);
            if !compressed && !piece.is_empty() {
                return Poll::Ready(Ok(Some(Lent::Received(piece))));
            }
            if let (Some(inflate), true) = (&mut self.inflate, compressed) {
                let step_end = piece.end.min(piece.start + limits::CONN_INFLATE_STEP);
                let step = piece.start..step_end;
                piece.start = step_end;
                let is_last = ends && piece.is_empty();
                open.piece = piece;
                let limit = self.limits.message_size;
                self.made.clear();
                let received = self.incoming.received(&step);
                let mut taken = inflate.piece(kind, received, &mut self.made, limit);
                if is_last {
                    taken = taken.and_then(|()| inflate.finish(kind, &mut self.made, limit));
                }
                if let Err(fault) = taken {
                    return self.fail(fault, cx);
                }
                if is_last {
                    self.open = None;
                }
                if !self.made.is_empty() {
                    return Poll::Ready(Ok(Some(Lent::Made(0..self.made.len()))));
                }
                if !step.is_empty() {
                    continue;
                }
            }
            if ends {
                self.open = None;
            } else {
                ready!(self.poll_piece(cx))?;
            }
        }
    }

    /// The bytes that were lent.
    pub(super) fn lent(&self, lent: &Lent) -> &[u8] {
        match lent {
            Lent::Received(at) => self.incoming.received(at),
            Lent::Made(at) => &self.made[at.clone()],
        }
    }

    /// Waits for the next piece of the open message, or of the next one, and puts it into `open`.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            if self.ended.is_some() {
                return self.poll_ended(cx).map(Err);
            }
            let start = self.incoming.position();
            let Self { decoder, incoming, limits, handlers, .. } = self;
            let decoded = match decoder.handle(incoming.rest(), limits) {
                Ok(decoded) => decoded,
                Err(fault) => return self.fail(fault, cx),
            };
            let consumed = decoded.consumed;
            let mut closed = None;
            let handled = match decoded.event {
                Some(Event::Piece(piece)) => {
                    let at = start + consumed - piece.bytes.len()..start + consumed;
                    let (kind, compressed, ends) = (piece.kind, piece.compressed, piece.ends);
                    incoming.consume(consumed);
                    let open = self.open.get_or_insert(Open {
                        kind,
                        compressed,
                        lent: false,
                        head_made: false,
                        piece: 0..0,
                        ends: false,
                    });
                    (open.piece, open.ends) = (at, ends);
                    return Poll::Ready(Ok(()));
                }
                Some(Event::Ping(payload)) => (handlers.ping)(&handlers.controls, payload),
                Some(Event::Pong(payload)) => (handlers.pong)(&handlers.controls, payload),
                Some(Event::Close(body)) => {
                    let body = body.as_ref().map(|(code, reason)| (*code, &**reason));
                    let close = CloseError::of_body(body);
                    let handled = (handlers.close)(&handlers.controls, &close);
                    closed = Some(close);
                    handled
                }
                None => {
                    incoming.consume(consumed);
                    ready!(self.poll_receive(cx))?;
                    continue;
                }
            };
            incoming.consume(consumed);
            match (handled, closed) {
                (Err(error), _) => self.end(Error::from(error)),
                (Ok(()), Some(close)) => self.end(Error::Closed(close)),
                (Ok(()), None) => {}
            }
        }
    }

    /// Waits for bytes, and sends what is queued meanwhile.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.outgoing.borrow_mut().poll_progress(cx);
        match self.incoming.poll_fill(cx) {
            Poll::Ready(Ok(1..)) => return Poll::Ready(Ok(())),
            Poll::Ready(Ok(0)) => self.end(CloseError::abnormal().into()),
            Poll::Ready(Err(error)) => self.end(error.into()),
            Poll::Pending => {
                ready!(self.deadline.poll_passed(cx));
                return Poll::Ready(Err(Error::TimedOut));
            }
        }
        self.poll_ended(cx).map(Err)
    }

    /// Tells the peer what it did wrong, and reads nothing any more.
    fn fail<T>(&mut self, fault: ProtocolError, cx: &mut Context<'_>) -> Poll<Result<T, Error>> {
        let close = super::Control::Close(Some(fault.close_code()), &fault.to_string());
        // An error means that a Close was sent, or that nothing can be.
        let _ = self.outgoing.borrow_mut().queue_control(close);
        self.end(Error::Protocol(fault));
        self.poll_ended(cx).map(Err)
    }

    /// Reads nothing any more.
    fn end(&mut self, error: Error) {
        let end = self.outgoing.borrow().end();
        let patience = Duration::from_millis(limits::CONN_CLOSE_FLUSH_MS);
        self.open = None;
        self.ended = Some(Ended { error, flush: Some((end, Box::pin(sleep(patience)))) });
    }

    /// Gives why reading ended, once what is queued was sent.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let ended = self.ended.as_mut().expect("reading has ended");
        if let Some((end, patience)) = &mut ended.flush {
            // That it cannot be sent matters to those who write.
            let is_sent = self.outgoing.borrow_mut().poll_written(cx, *end).is_ready();
            if !is_sent {
                ready!(patience.as_mut().poll(cx));
            }
            ended.flush = None;
        }
        Poll::Ready(ended.error.clone())
    }
}

impl fmt::Debug for ReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadHalf")
            .field("subprotocol", &self.subprotocol)
            .field("limits", &self.limits)
            .field("within_message", &self.open.is_some())
            .field("ended", &self.ended.as_ref().map(|ended| &ended.error))
            .finish_non_exhaustive()
    }
}
