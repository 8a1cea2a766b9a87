//! The server's side of the opening handshake: [`Upgrader`] (RFC 6455 section 4.2).

mod error;
mod handshake;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_uring::net::TcpStream;

use crate::conn::Conn;
use crate::conn::exchange::{Deadline, Exchange, HeadEnd};
use crate::limits;
use crate::ws::deflate::{WINDOW_BITS_MAX, WINDOW_BITS_MIN};
use crate::ws::handshake::{DeflatePolicy, Reply, Request};
use handshake::Head;

pub use error::{AnswerError, UpgradeError, UpgradeRefusal};
pub use handshake::Handshake;

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
#[derive(Clone)]
pub struct Upgrader {
    handshake_timeout: Duration,
    subprotocols: Arc<[String]>,
    check_origin: Arc<CheckOrigin>,
    error_reply: Arc<ErrorReply>,
    /// Ends handshakes in flight when it turns true.
    cut: Option<watch::Receiver<bool>>,
    /// What is agreed to; `None`: no compression.
    deflate: Option<DeflatePolicy>,
    read_buffer_size: usize,
    write_buffer_size: usize,
}

type CheckOrigin = dyn Fn(&Request<'_>) -> bool + Send + Sync;
type ErrorReply = dyn Fn(Option<&Request<'_>>, &UpgradeRefusal) -> Reply<'static> + Send + Sync;

impl Default for Upgrader {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(limits::HANDSHAKE_TIMEOUT_DEFAULT_S),
            subprotocols: Arc::default(),
            check_origin: Arc::new(|request| request.is_same_origin()),
            error_reply: Arc::new(|_, refusal| refusal.reply()),
            cut: None,
            deflate: None,
            read_buffer_size: limits::CONN_READ_BUFFER_DEFAULT,
            write_buffer_size: limits::CONN_WRITE_BUFFER_DEFAULT,
        }
    }
}

impl Upgrader {
    /// No subprotocols, connections from web pages of the same host only, and
    /// [`limits::HANDSHAKE_TIMEOUT_DEFAULT_S`].
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a handshake may take: from [`Upgrader::accept`] to the end of the 101 or of the
    /// refusal, what the application does in between included.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// The subprotocols this server speaks. The first of the client's list that is among them is
    /// confirmed; a client that offers none of them is accepted without one.
    /// [`Handshake::choose_subprotocol`] overrides it.
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Decides whether the page a request comes from may connect; false is answered with 403.
    ///
    /// Without it the rule is [`Request::is_same_origin`]. A browser lets any web page open a
    /// connection to any server and sends the user's cookies along (RFC 6455 section 10.2), so
    /// `|_| true` is for servers that authenticate by something else.
    pub fn check_origin(
        mut self,
        check: impl Fn(&Request<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.check_origin = Arc::new(check);
        self
    }

    /// Makes the answers to requests that are refused here; without it,
    /// [`UpgradeRefusal::reply`] does. The request is missing if it could not be read.
    pub fn error_reply(
        mut self,
        reply: impl Fn(Option<&Request<'_>>, &UpgradeRefusal) -> Reply<'static> + Send + Sync + 'static,
    ) -> Self {
        self.error_reply = Arc::new(reply);
        self
    }

    /// Whether to compress messages for clients that offer permessage-deflate, with whatever
    /// windows and context they ask for: [`DeflatePolicy::ANY`]. Off by default: it costs
    /// processor time for each message, and up to 340 KiB a connection.
    pub fn enable_compression(self, enabled: bool) -> Self {
        self.compression(enabled.then_some(DeflatePolicy::ANY))
    }

    /// What to agree to when a client offers permessage-deflate (RFC 7692); `None`: nothing, which
    /// is the default.
    ///
    /// # Panics
    /// If a window of the policy is not 9 to 15 bits.
    pub fn compression(mut self, policy: Option<DeflatePolicy>) -> Self {
        // Here and not when the first client offers it.
        let fits = |bits| (WINDOW_BITS_MIN..=WINDOW_BITS_MAX).contains(&bits);
        assert!(policy.is_none_or(|policy| {
            fits(policy.server_window_bits_min)
                && fits(policy.server_window_bits_max)
                && fits(policy.client_window_bits_max)
        }));
        self.deflate = policy;
        self
    }

    /// Bytes of the buffer each connection reads its socket into, at least 1; without it,
    /// [`limits::CONN_READ_BUFFER_DEFAULT`].
    pub fn read_buffer_size(mut self, bytes: usize) -> Self {
        self.read_buffer_size = bytes.max(1);
        self
    }

    /// Bytes of payload in a fragment of a message that is written in pieces, at least 1; without
    /// it, [`limits::CONN_WRITE_BUFFER_DEFAULT`].
    pub fn write_buffer_size(mut self, bytes: usize) -> Self {
        self.write_buffer_size = bytes.max(1);
        self
    }

    /// Ends handshakes in flight, as if their time were up, when `cut` turns true.
    pub(crate) fn cut_off(mut self, cut: watch::Receiver<bool>) -> Self {
        self.cut = Some(cut);
        self
    }

    /// Reads the request and answers it: the connection, or why there is none. For a server whose
    /// answer depends on no more than the settings; others use [`Upgrader::accept`].
    ///
    /// # Errors
    /// As [`Upgrader::accept`] and [`Handshake::upgrade`].
    pub async fn upgrade(&self, stream: TcpStream) -> Result<Conn, UpgradeError> {
        self.accept(stream).await?.upgrade().await
    }

    /// Reads the request and leaves the answer to the caller. Whether it asks for a WebSocket at
    /// all is still open: see [`Request::is_websocket_upgrade`].
    ///
    /// # Errors
    /// [`UpgradeError::Refused`]: what came is no request; it has been answered. The peer left, or
    /// time was up.
    pub async fn accept(&self, stream: TcpStream) -> Result<Handshake, UpgradeError> {
        let mut exchange = self.begin(stream);
        let (received, end) = exchange.read_head().await;
        let (received, error) = match end {
            HeadEnd::Complete { head_len } => match Head::read(received, head_len) {
                Ok(head) => return Ok(Handshake::new(self.clone(), exchange, head)),
                Err(broken) => broken,
            },
            HeadEnd::Broken(error) => (received, error),
            HeadEnd::Aborted => return Err(UpgradeError::PeerGone),
            HeadEnd::TimedOut => return Err(UpgradeError::TimedOut),
        };
        let refusal = UpgradeRefusal::from(error);
        let mut response = Vec::new();
        (self.error_reply)(None, &refusal).append(&mut response, false);
        exchange.finish(response, received).await;
        Err(refusal.into())
    }

    /// The first step of both: the deadline counts from here.
    pub(crate) fn begin(&self, stream: TcpStream) -> Exchange {
        Exchange::new(stream, Deadline::new(self.handshake_timeout, self.cut.clone()))
    }
}

impl fmt::Debug for Upgrader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrader")
            .field("handshake_timeout", &self.handshake_timeout)
            .field("subprotocols", &self.subprotocols)
            .field("deflate", &self.deflate)
            .finish_non_exhaustive()
    }
}
