//! The receiving half of a connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::deadline::Deadline;
use super::incoming::Incoming;
use super::message::{Message, Payload, Spare};
use super::outgoing::Outgoing;
use super::{CloseError, Error};
use crate::limits;
use crate::ws::{DecodeLimits, Decoder, Event, ProtocolError, Role};

/// The receiving half of a connection.
pub struct ReadHalf {
    incoming: Incoming,
    pub(super) outgoing: Rc<RefCell<Outgoing>>,
    decoder: Decoder,
    limits: DecodeLimits,
    deadline: Deadline,
    spare: Spare,
    ended: Option<Error>,
}

impl ReadHalf {
    pub(super) fn new(role: Role, incoming: Incoming, outgoing: Rc<RefCell<Outgoing>>) -> Self {
        Self {
            incoming,
            outgoing,
            decoder: Decoder::new(role),
            limits: DecodeLimits {
                message_size: limits::CONN_READ_LIMIT_DEFAULT,
                fragments: limits::CONN_FRAGMENTS_DEFAULT,
            },
            deadline: Deadline::default(),
            spare: Spare::default(),
            ended: None,
        }
    }

    /// The next message, whole.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn read_message(&mut self) -> Result<Message, Error> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    /// Largest message in bytes.
    pub fn set_read_limit(&mut self, bytes: usize) {
        self.limits.message_size = bytes;
    }

    /// When reads give up.
    pub fn set_read_deadline(&mut self, at: Option<Instant>) {
        self.deadline.set(at);
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Error>> {
        if let Some(error) = &self.ended {
            return Poll::Ready(Err(error.clone()));
        }
        loop {
            let decoded = self.decoder.handle(self.incoming.rest(), &self.limits);
            let (consumed, event) = match decoded {
                Err(fault) => return Poll::Ready(Err(self.end_with(fault))),
                Ok(decoded) => (decoded.consumed, decoded.event),
            };
            let message = match event {
                None => None,
                Some(Event::Message(message)) => {
                    let mut bytes = self.spare.take();
                    bytes.extend_from_slice(&message.payload);
                    let payload = Payload::new(bytes, self.spare.clone());
                    Some(Ok(Message { kind: message.kind, payload }))
                }
                Some(Event::Ping(payload)) => {
                    self.outgoing.borrow_mut().queue_pong(&payload);
                    self.incoming.consume(consumed);
                    continue;
                }
                Some(Event::Pong(_)) => {
                    self.incoming.consume(consumed);
                    continue;
                }
                Some(Event::Close(body)) => {
                    let code = body.as_ref().map(|body| body.0);
                    self.outgoing.borrow_mut().queue_close(code, "");
                    let close =
                        CloseError::of_body(body.as_ref().map(|(code, text)| (*code, &**text)));
                    Some(Err(Error::Closed(close)))
                }
            };
            self.incoming.consume(consumed);
            match message {
                Some(Ok(message)) => return Poll::Ready(Ok(message)),
                Some(Err(error)) => {
                    self.ended = Some(error.clone());
                    return Poll::Ready(Err(error));
                }
                None => {}
            }
            self.outgoing.borrow_mut().poll_progress(cx);
            match self.incoming.poll_fill(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0)) => {
                    self.ended = Some(CloseError::abnormal().into());
                    return self.poll_message(cx);
                }
                Poll::Ready(Err(error)) => {
                    self.ended = Some(error.into());
                    return self.poll_message(cx);
                }
                Poll::Pending => {
                    ready!(self.deadline.poll_passed(cx));
                    return Poll::Ready(Err(Error::TimedOut));
                }
            }
        }
    }

    fn end_with(&mut self, fault: ProtocolError) -> Error {
        self.outgoing.borrow_mut().queue_close(Some(fault.close_code()), &fault.to_string());
        let error = Error::Protocol(fault);
        self.ended = Some(error.clone());
        error
    }
}
