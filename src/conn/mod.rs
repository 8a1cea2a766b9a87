//! The library: WebSocket connections for programs, asynchronous on tokio-uring.

#![forbid(unsafe_code)]

mod deadline;
mod dial;
mod error;
pub(crate) mod exchange;
mod incoming;
mod keys;
mod message;
mod outgoing;
mod read;
mod upgrade;
mod wakers;
mod write;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use tokio_uring::net::TcpStream;

pub use dial::{CookieJar, DialError, Dialer, Proxy, Response, UrlError};
pub use error::{CloseError, Error, is_close_error, is_unexpected_close_error};
pub use message::{Message, Payload};
pub use read::ReadHalf;
pub use upgrade::{AnswerError, Handshake, UpgradeError, UpgradeRefusal, Upgrader};
pub use write::WriteHalf;

use crate::limits;
use crate::ws::{CloseCode, MessageKind, Role};
use incoming::Incoming;
use outgoing::Outgoing;

/// What a handshake agreed on, and what it left over.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnParts {
    /// Which end this is.
    pub role: Role,
    /// Bytes received behind the handshake: the first frames, or a part of them.
    pub leftover: Vec<u8>,
    /// The subprotocol that was agreed on.
    pub subprotocol: Option<String>,
    /// Bytes of the buffer the socket is read into.
    pub read_buffer_size: usize,
}

impl ConnParts {
    /// Nothing left over, nothing agreed on, and a buffer of the default size.
    pub fn new(role: Role) -> Self {
        Self {
            role,
            leftover: Vec::new(),
            subprotocol: None,
            read_buffer_size: limits::CONN_READ_BUFFER_DEFAULT,
        }
    }
}

/// A WebSocket connection.
pub struct Conn {
    read: ReadHalf,
    write: WriteHalf,
    subprotocol: Option<String>,
}

impl Conn {
    /// A connection over `stream`, whose handshake is done.
    pub fn new(stream: TcpStream, parts: ConnParts) -> Self {
        // An error means that the peer is gone, which the first read reports.
        let _ = stream.set_nodelay(true);
        let stream = Rc::new(stream);
        let incoming = Incoming::new(Rc::clone(&stream), parts.leftover, parts.read_buffer_size);
        let outgoing = Rc::new(RefCell::new(Outgoing::new(stream, parts.role)));
        Self {
            read: ReadHalf::new(parts.role, incoming, Rc::clone(&outgoing)),
            write: WriteHalf::new(outgoing),
            subprotocol: parts.subprotocol,
        }
    }

    /// The next message, whole.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn read_message(&mut self) -> Result<Message, Error> {
        self.read.read_message().await
    }

    /// Sends a message and waits until the kernel has taken it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn write_message(&mut self, kind: MessageKind, payload: &[u8]) -> Result<(), Error> {
        self.write.write_message(kind, payload).await
    }

    /// Largest message in bytes.
    pub fn set_read_limit(&mut self, bytes: usize) {
        self.read.set_read_limit(bytes);
    }

    /// When reads give up.
    pub fn set_read_deadline(&mut self, at: Option<Instant>) {
        self.read.set_read_deadline(at);
    }

    /// When writes give up.
    pub fn set_write_deadline(&mut self, at: Option<Instant>) {
        self.write.set_write_deadline(at);
    }

    /// The subprotocol that was agreed on.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// The closing handshake.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn close(mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        self.write.send_close(code, reason).await?;
        loop {
            match self.read.read_message().await {
                Ok(_) => {}
                Err(Error::Closed(_)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}
