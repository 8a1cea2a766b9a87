//! The client's side of the opening handshake: [`Dialer`] (RFC 6455 section 4.1).

mod answer;
mod connect;
mod cookies;
mod error;
mod headers;
mod proxy;
mod response;
mod tunnel;
mod url;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_uring::net::TcpStream;

use crate::conn::exchange::{Deadline, Exchange};
use crate::conn::{Conn, ConnParts};
use crate::limits;
use crate::ws::Role;
use crate::ws::handshake::{ClientRequest, DeflateOffer};
use answer::{read_body, read_response, send};
use headers::Headers;
use tunnel::tunnel;
use url::{Scheme, Url};

pub use cookies::CookieJar;
pub use error::DialError;
pub use proxy::Proxy;
pub use response::Response;
pub use url::UrlError;

/// Opens WebSocket connections to servers. Settings only: cheap to clone, serves any number of
/// connections, on any thread that runs a tokio-uring runtime.
///
/// Every future here may be dropped at any time, which leaves nothing open.
#[derive(Clone)]
pub struct Dialer {
    handshake_timeout: Duration,
    subprotocols: Arc<[String]>,
    proxy: Proxy,
    net_dial: Option<Arc<NetDial>>,
    jar: Option<Arc<dyn CookieJar>>,
    /// What is offered; `None`: no compression.
    deflate: Option<DeflateOffer>,
    /// The offer as it is sent.
    extensions: String,
    read_buffer_size: usize,
    write_buffer_size: usize,
}

type NetDial = dyn Fn(String) -> Dialing + Send + Sync;
type Dialing = Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>;

impl Default for Dialer {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(limits::DIAL_TIMEOUT_DEFAULT_S),
            subprotocols: Arc::default(),
            proxy: Proxy::from_environment(),
            net_dial: None,
            jar: None,
            deflate: None,
            extensions: String::new(),
            read_buffer_size: limits::CONN_READ_BUFFER_DEFAULT,
            write_buffer_size: limits::CONN_WRITE_BUFFER_DEFAULT,
        }
    }
}

impl Dialer {
    /// No subprotocols, the proxy that the environment names now, no cookies, and
    /// [`limits::DIAL_TIMEOUT_DEFAULT_S`] seconds.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long [`Dialer::dial`] may take: name, connection, proxy and handshake together.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// The subprotocols to offer, best first. A server may choose one of them or none:
    /// [`Conn::subprotocol`].
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Through which proxy to connect.
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = proxy;
        self
    }

    /// Makes TCP streams in another way: from a certain address, say. `dial` is given `host:port`
    /// of the server, or of the proxy if there is one, and its future is dropped when time is up.
    /// The stream must be a blocking one, as tokio-uring's own are.
    pub fn net_dial<F>(mut self, dial: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<TcpStream>> + 'static,
    {
        self.net_dial = Some(Arc::new(move |address| Box::pin(dial(address))));
        self
    }

    /// Where cookies are kept. Those for the server are sent, unless the caller sends a `Cookie`
    /// header itself; those the server sets are kept.
    pub fn cookie_jar(mut self, jar: Arc<dyn CookieJar>) -> Self {
        self.jar = Some(jar);
        self
    }

    /// Whether to offer permessage-deflate, in the way browsers do: [`DeflateOffer::ANY`]. Off by
    /// default: it costs processor time for each message, and up to 340 KiB a connection.
    pub fn enable_compression(self, enabled: bool) -> Self {
        self.compression(enabled.then_some(DeflateOffer::ANY))
    }

    /// What to offer of permessage-deflate (RFC 7692); `None`: nothing, which is the default. The
    /// server may decline.
    ///
    /// # Panics
    /// If a window of the offer is out of its range.
    pub fn compression(mut self, offer: Option<DeflateOffer>) -> Self {
        self.extensions = offer.map(|offer| offer.to_string()).unwrap_or_default();
        self.deflate = offer;
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

    /// Connects to `url`, such as `ws://user:password@host:8000/path?query`, and gives the
    /// connection with the server's answer. `headers` are sent along, such as `Origin`; a `Host`
    /// among them replaces the one of the URL, an `Authorization` the URL's user.
    ///
    /// # Errors
    /// See [`DialError`]; a refusal comes with the server's answer.
    pub async fn dial(
        &self,
        url: &str,
        headers: &[(&str, &str)],
    ) -> Result<(Conn, Response), DialError> {
        let url = Url::parse(url, &[Scheme::Ws, Scheme::Wss])?;
        if url.scheme == Scheme::Wss {
            return Err(DialError::TlsUnsupported);
        }
        let proxy = self.proxy.of(&url).map_err(DialError::ProxyUrl)?;
        let host = url.host_header();
        let cookie = self.jar.as_ref().and_then(|jar| jar.cookies(&url.as_http()));
        let headers = Headers::new(&host, &url, cookie.as_deref(), headers)?;
        let subprotocols: Vec<&str> = self.subprotocols.iter().map(String::as_str).collect();
        let request = ClientRequest {
            host: headers.host,
            target: &url.target,
            key: draw_key(),
            subprotocols: &subprotocols,
            extensions: &self.extensions,
            headers: &headers.rest,
        };
        let mut bytes = Vec::new();
        request.append(&mut bytes)?;
        let mut exchange = self.open(&url, proxy.as_ref()).await?;
        send(&mut exchange, bytes).await?;
        let (mut response, received, head_len) = read_response(&mut exchange).await?;
        if let Some(jar) = &self.jar {
            cookies::keep(jar.as_ref(), &url.as_http(), &response);
        }
        let head = &received[..head_len];
        let agreed = request.check(head).and_then(|agreed| {
            let deflate = match &self.deflate {
                Some(offer) => offer.check(&agreed.extensions)?,
                None => None,
            };
            Ok((agreed.subprotocol.map(str::to_owned), deflate))
        });
        let (subprotocol, deflate) = match agreed {
            Ok(agreed) => agreed,
            Err(error) => {
                read_body(&mut exchange, &mut response, received, head_len).await;
                return Err(DialError::BadHandshake { error, response: Some(Box::new(response)) });
            }
        };
        let parts = ConnParts {
            leftover: received[head_len..].to_vec(),
            subprotocol,
            deflate,
            read_buffer_size: self.read_buffer_size,
            write_buffer_size: self.write_buffer_size,
            ..ConnParts::new(Role::Client)
        };
        Ok((Conn::new(exchange.into_stream(), parts), response))
    }

    /// A stream to the server, through `proxy` if there is one; the deadline counts from here.
    async fn open(&self, url: &Url, proxy: Option<&Url>) -> Result<Exchange, DialError> {
        let patience = self.handshake_timeout.min(Duration::from_secs(limits::TIME_MAX_S));
        let deadline = Instant::now() + patience;
        let next = proxy.unwrap_or(url);
        let connecting = async {
            match &self.net_dial {
                None => connect::connect(next.bare_host(), next.port, deadline).await,
                Some(dial) => dial(next.address())
                    .await
                    .map_err(|error| DialError::Connect { address: next.address(), error }),
            }
        };
        let connected = timeout_at(deadline, connecting).await;
        let stream = connected.map_err(|_| DialError::TimedOut)??;
        let left = deadline.saturating_duration_since(Instant::now());
        let mut exchange = Exchange::new(stream, Deadline::new(left, None));
        if let Some(proxy) = proxy {
            tunnel(&mut exchange, url, proxy).await?;
        }
        Ok(exchange)
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("handshake_timeout", &self.handshake_timeout)
            .field("subprotocols", &self.subprotocols)
            .field("proxy", &self.proxy)
            .field("deflate", &self.deflate)
            .finish_non_exhaustive()
    }
}

/// A value for `Sec-WebSocket-Key` that was never used.
fn draw_key() -> [u8; 16] {
    let mut key = [0; 16];
    getrandom::fill(&mut key)
        .expect("Linux has a random generator that does not fail once it is up");
    key
}
