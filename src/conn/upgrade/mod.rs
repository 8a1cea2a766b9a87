//! The server's side of the opening handshake: [`Upgrader`] (RFC 6455 section 4.2).

use std::time::Duration;

use tokio::sync::watch;
use tokio_uring::net::TcpStream;

use crate::conn::exchange::{Deadline, Exchange};
use crate::limits;

/// Turns accepted TCP streams into WebSocket connections. Settings only: cheap to clone, serves any
/// number of streams, on any thread.
///
/// The request head is limited by [`limits::HEAD_SIZE_MAX`], [`limits::HEAD_LINE_MAX`] and
/// [`limits::HEAD_HEADERS_MAX`], and the whole handshake by one deadline, so a peer that sends
/// slowly or without end costs little. A refused peer is told why in plain HTTP, then read from and
/// discarded until it closes, at most [`limits::REFUSED_DISCARD_MAX`] bytes within the same
/// deadline, so that no reset overtakes the answer.
///
/// Every future here may be dropped at any time, which closes the connection.
#[derive(Clone, Debug)]
pub struct Upgrader {
    handshake_timeout: Duration,
    /// Ends handshakes in flight when it turns true.
    cut: Option<watch::Receiver<bool>>,
}

impl Default for Upgrader {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(limits::HANDSHAKE_TIMEOUT_DEFAULT_S),
            cut: None,
        }
    }
}

impl Upgrader {
    /// A deadline of [`limits::HANDSHAKE_TIMEOUT_DEFAULT_S`] seconds.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a handshake may take: from the stream to the end of the 101 or of the
    /// refusal, what the application does in between included.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Ends handshakes in flight, as if their time were up, when `cut` turns true.
    pub(crate) fn cut_off(mut self, cut: watch::Receiver<bool>) -> Self {
        self.cut = Some(cut);
        self
    }

    /// The deadline counts from here.
    pub(crate) fn begin(&self, stream: TcpStream) -> Exchange {
        Exchange::new(stream, Deadline::new(self.handshake_timeout, self.cut.clone()))
    }
}
