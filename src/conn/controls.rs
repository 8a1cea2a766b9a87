//! Control frames, and the handlers of those that arrive.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::{Rc, Weak};

use super::outgoing::Outgoing;
use super::{CloseError, Error, HandlerError};
use crate::limits::CONTROL_PAYLOAD_MAX;
use crate::ws::{CloseCode, encode};

/// A control frame to be sent (RFC 6455 section 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control<'a> {
    /// Asks for a Pong with the same payload, at most 125 bytes.
    Ping(&'a [u8]),
    /// Answers a Ping, or none; at most 125 bytes.
    Pong(&'a [u8]),
    /// Ends this direction: code and reason. A reason is cut to 123 bytes, where a character ends,
    /// and not sent without a code.
    Close(Option<CloseCode>, &'a str),
}

/// Sends control frames on a connection from anywhere on its thread, whoever reads or writes it at
/// the time: they go out between its frames. Cheap to clone; does not keep the connection open.
#[derive(Clone)]
pub struct Controls {
    outgoing: Weak<RefCell<Outgoing>>,
}

impl Controls {
    pub(super) fn new(outgoing: &Rc<RefCell<Outgoing>>) -> Self {
        Self { outgoing: Rc::downgrade(outgoing) }
    }

    /// Queues a control frame and begins to send it, without waiting. For handlers.
    ///
    /// While the queue is full, of Pongs only the latest is kept and sent once there is room: RFC
    /// 6455 asks for no more (section 5.5.3). A Close always has room.
    ///
    /// # Errors
    /// [`Error::QueueFull`] for a Ping; [`Error::ControlTooLong`]; [`Error::CloseSent`];
    /// [`Error::Dropped`]; what made an earlier write fail.
    pub fn queue(&self, control: Control<'_>) -> Result<(), Error> {
        let outgoing = self.outgoing.upgrade().ok_or(Error::Dropped)?;
        outgoing.borrow_mut().queue_control(control)
    }

    /// Sends a control frame and waits until the kernel has taken it. Dropped before the frame is
    /// queued, it sends nothing; dropped later, the frame is sent nevertheless.
    ///
    /// The connection's write deadline does not count here; a time-out around the call does the
    /// same and harms nothing.
    ///
    /// # Errors
    /// As [`queue`](Self::queue), but it waits for room; [`Error::Io`].
    pub async fn write_control(&self, control: Control<'_>) -> Result<(), Error> {
        check_control(control)?;
        let outgoing = || self.outgoing.upgrade().ok_or(Error::Dropped);
        poll_fn(|cx| outgoing()?.borrow_mut().poll_room(cx)).await?;
        let end = {
            let outgoing = outgoing()?;
            let mut outgoing = outgoing.borrow_mut();
            outgoing.queue_control(control)?;
            outgoing.end()
        };
        poll_fn(|cx| outgoing()?.borrow_mut().poll_written(cx, end)).await
    }
}

/// What is done with a Ping or a Pong that arrived: gets its payload, and what to answer with.
pub type ControlHandler = Rc<dyn Fn(&Controls, &[u8]) -> Result<(), HandlerError>>;

/// What is done with a Close that arrived: gets its code and reason, and what to answer with.
pub type CloseHandler = Rc<dyn Fn(&Controls, &CloseError) -> Result<(), HandlerError>>;

/// The handlers of one connection.
pub(super) struct Handlers {
    pub(super) controls: Controls,
    pub(super) ping: ControlHandler,
    pub(super) pong: ControlHandler,
    pub(super) close: CloseHandler,
}

impl Handlers {
    /// What RFC 6455 asks for.
    pub(super) fn new(controls: Controls) -> Self {
        Self {
            controls,
            ping: Rc::new(answer_ping),
            pong: Rc::new(|_, _| Ok(())),
            close: Rc::new(answer_close),
        }
    }
}

/// A Pong with the same payload. That a Close was sent, or the connection cannot send any more, is
/// no matter of reading.
fn answer_ping(controls: &Controls, payload: &[u8]) -> Result<(), HandlerError> {
    let _ = controls.queue(Control::Pong(payload));
    Ok(())
}

/// A Close with the same code, unless one was sent.
fn answer_close(controls: &Controls, close: &CloseError) -> Result<(), HandlerError> {
    let _ = controls.queue(Control::Close(CloseCode::new(close.code), ""));
    Ok(())
}

/// Whether a control frame may be sent as it is.
pub(super) fn check_control(control: Control<'_>) -> Result<(), Error> {
    match control {
        Control::Ping(payload) | Control::Pong(payload) if payload.len() > CONTROL_PAYLOAD_MAX => {
            Err(Error::ControlTooLong)
        }
        Control::Ping(_) | Control::Pong(_) | Control::Close(..) => Ok(()),
    }
}

/// The payload of a Close frame with this code and reason, for programs that write frames
/// themselves; empty without a code. The reason is cut to 123 bytes, where a character ends.
pub fn format_close_message(code: Option<CloseCode>, reason: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    encode::append_close(&mut frame, code, reason);
    // A server's header of a frame this short has two bytes.
    frame.split_off(2)
}
