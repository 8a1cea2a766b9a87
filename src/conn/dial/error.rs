//! Why a client's handshake came to nothing: a closed list by fault.

use std::io;

use super::{Response, UrlError};
use crate::ws::handshake::{ClientRequestError, ResponseError};

/// Why there is no connection. Nothing is left open.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The URL cannot be connected to; the caller's fault.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// TLS is not spoken here.
    #[error(
        "wss:// needs TLS, which is not supported yet: use ws://, or let a program at this end, \
         such as stunnel, speak TLS"
    )]
    TlsUnsupported,
    /// A header is one the handshake writes itself; the caller's fault.
    #[error(
        "the header {name} is the handshake's own; subprotocols and compression are settings of \
         the dialer"
    )]
    HeaderReserved {
        /// Its name, as given.
        name: String,
    },
    /// A header or a subprotocol is not fit for HTTP; the caller's fault.
    #[error(transparent)]
    Request(#[from] ClientRequestError),
    /// The URL of the proxy in the environment is of no use.
    #[error("the proxy that the environment names: {0}")]
    ProxyUrl(UrlError),
    /// The name has no address, or nobody could be asked.
    #[error("{host} cannot be resolved: {error}")]
    Resolve {
        /// The name.
        host: String,
        /// The resolver's error.
        error: io::Error,
    },
    /// No address of the server, or of the proxy, takes connections.
    #[error("cannot connect to {address}: {error}")]
    Connect {
        /// Host and port.
        address: String,
        /// The error of the last address that was tried.
        error: io::Error,
    },
    /// The proxy answered `CONNECT` with something else than success.
    #[error("the proxy refused a tunnel to the server: {} {}", .response.status, .response.reason)]
    ProxyRefused {
        /// Its answer, with the beginning of its body.
        response: Box<Response>,
    },
    /// The proxy's answer is not HTTP.
    #[error("the proxy's answer is not HTTP/1.1")]
    ProxyMalformed,
    /// The server, or the proxy, ended the connection in the middle of the handshake.
    #[error("the connection was lost before the handshake was complete")]
    Lost,
    /// The handshake was not complete in time; [`super::Dialer::handshake_timeout`].
    #[error("the handshake was not complete in time")]
    TimedOut,
    /// The server's answer is no upgrade.
    #[error("{error}")]
    BadHandshake {
        /// The rule it broke, or its refusal.
        error: ResponseError,
        /// Its answer, with the beginning of its body; missing if it is not HTTP.
        response: Option<Box<Response>>,
    },
}
