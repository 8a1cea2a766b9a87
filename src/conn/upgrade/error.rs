//! Why a server's handshake came to nothing: closed lists by fault.

use crate::ws::handshake::{HandshakeError, Reply, Status};

/// Why there is no connection. The stream is closed in every case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// The request was refused, and the peer was told why.
    #[error(transparent)]
    Refused(#[from] UpgradeRefusal),
    /// The peer closed or reset the connection before the handshake was complete.
    #[error("the peer closed the connection before the handshake was complete")]
    PeerGone,
    /// The handshake was not complete in time; [`super::Upgrader::handshake_timeout`].
    #[error("the handshake was not complete in time")]
    TimedOut,
}

/// Why a request gets an HTTP error instead of a 101. Always the peer's fault, or that of a proxy
/// in front of it. The text is what the peer is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeRefusal {
    /// The request breaks the rules of HTTP or of the opening handshake.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// [`super::Upgrader::check_origin`] said no.
    #[error("pages of {origin:?} may not connect to {host:?}")]
    OriginNotAllowed {
        /// The page's origin as sent; empty if none was.
        origin: Box<str>,
        /// The host it connected to, as sent.
        host: Box<str>,
    },
}

impl UpgradeRefusal {
    /// The status of the answer.
    pub fn status(&self) -> Status {
        match self {
            Self::Handshake(error) => error.status(),
            Self::OriginNotAllowed { .. } => Status::Forbidden,
        }
    }

    /// The headers the status calls for.
    pub fn headers(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Handshake(error) => error.headers(),
            Self::OriginNotAllowed { .. } => &[],
        }
    }

    /// The answer that is sent unless [`super::Upgrader::error_reply`] gives another: the text of
    /// this error, with its status and headers.
    pub fn reply(&self) -> Reply<'static> {
        Reply::text(self.status(), self.headers(), &self.to_string())
    }
}

/// What an application may do wrong in its part of a 101. Its own fault; the handshake is as
/// before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The client does not offer this subprotocol.
    #[error("the client does not offer this subprotocol; choose one it offers, or none")]
    SubprotocolNotOffered,
    /// The name of the header is no token, or its value holds a line end or a control byte.
    #[error("the header is not `Name: value` on one line")]
    HeaderMalformed,
    /// The handshake writes this header itself.
    #[error(
        "this header is the handshake's own; subprotocols and compression have methods, the rest \
         is not for applications"
    )]
    HeaderReserved,
}
