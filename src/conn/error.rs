//! Why a connection could not read or write, and what the peer said when it closed.

use std::io;
use std::sync::Arc;

use crate::ws::{CloseCode, ProtocolError};

/// Why a call on a connection failed. Cheap to clone, for a connection that has failed gives the
/// same answer ever after.
///
/// Reading and writing fail separately. What the variants say about "the connection" holds for the
/// direction that failed; [`Closed`](Self::Closed) and [`Protocol`](Self::Protocol) end both.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The peer closed the connection, or is gone without a word (code 1006). A Close was answered
    /// as the close handler wants it. All later reads give the same.
    #[error(transparent)]
    Closed(#[from] CloseError),
    /// The peer broke RFC 6455, or the read limit. It was sent a Close with the fault's code. All
    /// later reads give the same.
    #[error("the peer broke the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// The deadline passed. After a read the connection is as good as before and may be read again;
    /// after a write it is broken, and all later writes give the same.
    #[error("the deadline passed")]
    TimedOut,
    /// A Close was sent, so nothing may follow it. What was to be sent is not.
    #[error("nothing can be sent after a Close")]
    CloseSent,
    /// Text that was to be sent is not UTF-8; the caller's fault. It was not sent, and the
    /// connection survives.
    #[error("text to be sent is not UTF-8")]
    TextNotUtf8,
    /// The payload of a Ping or Pong that was to be sent has more than 125 bytes; the caller's
    /// fault. It was not sent, and the connection survives.
    #[error("the payload of a control frame has at most 125 bytes")]
    ControlTooLong,
    /// A message writer was given up after a part of its message was sent. The rest cannot be made
    /// up, so the connection sends nothing any more, and all later writes give the same.
    #[error("a message was begun and not finished, so no other can follow")]
    MessageCut,
    /// More is queued than may be, because the peer does not take it. The control frame was not
    /// queued; later ones may be.
    #[error("too much is queued for the peer")]
    QueueFull,
    /// A handler of control frames failed. All later reads give the same.
    #[error("a handler failed: {0}")]
    Handler(Arc<dyn std::error::Error + Send + Sync>),
    /// A message is not the JSON that was expected, or a value cannot be written as JSON. The
    /// connection survives, and the message is consumed.
    #[error("JSON: {0}")]
    Json(Arc<serde_json::Error>),
    /// The connection was dropped.
    #[error("the connection was dropped")]
    Dropped,
    /// The socket failed. All later calls of this direction give the same.
    #[error("the socket failed: {0}")]
    Io(Arc<io::Error>),
}

/// What a handler of control frames may fail with.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

impl From<HandlerError> for Error {
    fn from(error: HandlerError) -> Self {
        Self::Handler(error.into())
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(Arc::new(error))
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Closed(_) => io::ErrorKind::UnexpectedEof,
            Error::Protocol(_) | Error::TextNotUtf8 | Error::Json(_) => io::ErrorKind::InvalidData,
            Error::TimedOut => io::ErrorKind::TimedOut,
            Error::ControlTooLong => io::ErrorKind::InvalidInput,
            Error::QueueFull => io::ErrorKind::WouldBlock,
            Error::CloseSent | Error::MessageCut | Error::Dropped => io::ErrorKind::BrokenPipe,
            Error::Handler(_) => io::ErrorKind::Other,
            Error::Io(cause) => cause.kind(),
        };
        io::Error::new(kind, error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

/// How the peer closed the connection: the code and reason of its Close.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("closed with {code} {reason:?}")]
pub struct CloseError {
    /// The code of the Close; [`NO_STATUS`](Self::NO_STATUS) if it had none,
    /// [`ABNORMAL`](Self::ABNORMAL) if there was no Close at all.
    pub code: u16,
    /// The reason; empty if there was none.
    pub reason: String,
}

impl CloseError {
    /// 1005: a Close without a code (RFC 6455 section 7.4.1). Never on the wire.
    pub const NO_STATUS: u16 = 1005;
    /// 1006: the connection ended without a Close (RFC 6455 section 7.4.1). Never on the wire.
    pub const ABNORMAL: u16 = 1006;

    /// The connection ended without a Close.
    pub(super) fn abnormal() -> Self {
        Self { code: Self::ABNORMAL, reason: "the stream ended without a Close".to_owned() }
    }

    /// What a Close frame says.
    pub(super) fn of_body(body: Option<(CloseCode, &str)>) -> Self {
        match body {
            Some((code, reason)) => Self { code: code.get(), reason: reason.to_owned() },
            None => Self { code: Self::NO_STATUS, reason: String::new() },
        }
    }
}

/// Whether `error` is the peer's closing with one of `codes`.
pub fn is_close_error(error: &Error, codes: &[u16]) -> bool {
    matches!(error, Error::Closed(close) if codes.contains(&close.code))
}

/// Whether `error` is the peer's closing with none of `codes`: the ones a program expects. `false`
/// for every other error.
pub fn is_unexpected_close_error(error: &Error, codes: &[u16]) -> bool {
    matches!(error, Error::Closed(close) if !codes.contains(&close.code))
}
