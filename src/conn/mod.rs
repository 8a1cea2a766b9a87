//! The library: WebSocket connections for programs, asynchronous on tokio-uring. The crate's
//! [front page](crate) is its manual.
//!
//! A [`Conn`] is a [`ReadHalf`] and a [`WriteHalf`]. `incoming` owns the socket's one read in
//! flight and its buffer, `outgoing` the queue of frames and the one write in flight; the two
//! halves, and [`Controls`], share the latter. The rules of frames and messages are those of
//! [`ws`](crate::ws), which knows no socket; nothing here knows the gateway. `upgrade` and `dial`
//! are the two ends of the handshake before, each on the stream of an `exchange`, which the
//! gateway's acceptors use too.
//!
//! Invariants: an operation of the ring belongs to the connection and never to a call, so dropping
//! a call drops no bytes; a handshake that is dropped ends its connection. Only whole frames are
//! queued. One task at a time reads, one writes, all on one thread, so plain cells are shared; no
//! borrow of one outlives a poll.

#![forbid(unsafe_code)]

mod compress;
mod connection;
mod controls;
mod deadline;
mod dial;
mod error;
pub(crate) mod exchange;
mod incoming;
mod inflate;
mod join;
mod keys;
mod message;
mod outgoing;
mod parts;
mod pool;
mod prepared;
mod read;
mod reader;
mod upgrade;
mod wakers;
mod write;
mod writer;

pub use connection::Conn;
pub use controls::{CloseHandler, Control, ControlHandler, Controls, format_close_message};
pub use dial::{CookieJar, DialError, Dialer, Proxy, Response, UrlError};
pub use error::{CloseError, Error, HandlerError, is_close_error, is_unexpected_close_error};
pub use join::JoinMessages;
pub use message::{Message, Payload};
pub use parts::ConnParts;
pub use prepared::PreparedMessage;
pub use read::ReadHalf;
pub use reader::MessageReader;
pub use upgrade::{AnswerError, Handshake, UpgradeError, UpgradeRefusal, Upgrader};
pub use write::WriteHalf;
pub use writer::MessageWriter;

pub use crate::ws::{CloseCode, DeflateParams, MessageKind, ProtocolError, Role};
