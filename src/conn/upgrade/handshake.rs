//! A request that is read and not yet answered.

use std::fmt;

use super::{AnswerError, UpgradeError, UpgradeRefusal, Upgrader};
use crate::conn::exchange::Exchange;
use crate::conn::{Conn, ConnParts};
use crate::ws::handshake::{HandshakeError, Reply, Request, is_header, is_own_header};
use crate::ws::{DeflateParams, Role};

self_cell::self_cell! {
    /// What was received and the request read from it.
    struct HeadCell {
        owner: Received,
        #[covariant]
        dependent: Request,
    }
    impl { Debug }
}

/// The bytes of a head and of what came behind it.
#[derive(Debug)]
struct Received {
    bytes: Vec<u8>,
    head_len: usize,
}

/// A request together with the bytes it borrows from.
#[derive(Debug)]
pub(super) struct Head(HeadCell);

impl Head {
    /// Reads the request in the first `head_len` of `bytes`; gives them back with the error.
    pub(super) fn read(bytes: Vec<u8>, head_len: usize) -> Result<Self, (Vec<u8>, HandshakeError)> {
        let received = Received { bytes, head_len };
        HeadCell::try_new_or_recover(received, |received| {
            Request::parse(&received.bytes[..received.head_len])
        })
        .map(Self)
        .map_err(|(received, error)| (received.bytes, error))
    }

    fn request(&self) -> &Request<'_> {
        self.0.borrow_dependent()
    }

    /// Everything that was received, as room to read into.
    fn into_buffer(self) -> Vec<u8> {
        self.0.into_owner().bytes
    }

    /// What came behind the head.
    fn into_leftover(self) -> Vec<u8> {
        let Received { mut bytes, head_len } = self.0.into_owner();
        bytes.drain(..head_len);
        bytes
    }
}

/// A request that waits for its answer, from [`super::Upgrader::accept`]. Look at
/// [`Handshake::request`], then end it with [`Handshake::upgrade`] or [`Handshake::respond`];
/// dropped, it closes the connection without an answer.
///
/// The deadline of the handshake goes on: an application that asks elsewhere who this is should do
/// it in less time.
pub struct Handshake {
    upgrader: Upgrader,
    exchange: Exchange,
    head: Head,
    /// The subprotocol the application chose.
    subprotocol: Option<String>,
    /// Headers of the application, each checked.
    headers: Vec<(String, String)>,
}

impl Handshake {
    pub(super) fn new(upgrader: Upgrader, exchange: Exchange, head: Head) -> Self {
        Self { upgrader, exchange, head, subprotocol: None, headers: Vec::new() }
    }

    /// What the client asks for: method, path, query, headers.
    pub fn request(&self) -> &Request<'_> {
        self.head.request()
    }

    /// Confirms this subprotocol instead of one of [`super::Upgrader::subprotocols`].
    ///
    /// # Errors
    /// The client does not offer it.
    pub fn choose_subprotocol(&mut self, name: &str) -> Result<(), AnswerError> {
        if !self.request().subprotocols().any(|offered| offered == name) {
            return Err(AnswerError::SubprotocolNotOffered);
        }
        self.subprotocol = Some(name.to_owned());
        Ok(())
    }

    /// Adds a header to the 101, such as `Set-Cookie`. A name may come more than once.
    ///
    /// # Errors
    /// It is no header line, or one the handshake writes itself.
    pub fn add_header(&mut self, name: &str, value: &str) -> Result<(), AnswerError> {
        if !is_header(name, value) {
            return Err(AnswerError::HeaderMalformed);
        }
        if is_own_header(name) {
            return Err(AnswerError::HeaderReserved);
        }
        self.headers.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Checks the rest of the handshake and the origin, and sends the 101. Bytes the client sent
    /// behind its request belong to the connection and are the first it reads.
    ///
    /// # Errors
    /// The request is refused, and has been answered; the peer is gone; or time is up.
    pub async fn upgrade(mut self) -> Result<Conn, UpgradeError> {
        let (response, agreed) = match self.decide() {
            Ok(accepted) => accepted,
            Err(refusal) => {
                let reply = (self.upgrader.error_reply)(Some(self.request()), &refusal);
                self.respond(&reply).await;
                return Err(refusal.into());
            }
        };
        let sent = self.exchange.send(response).await;
        if self.exchange.has_timed_out() {
            return Err(UpgradeError::TimedOut);
        }
        sent.map_err(|_| UpgradeError::PeerGone)?;
        let parts = ConnParts {
            leftover: self.head.into_leftover(),
            subprotocol: agreed.subprotocol,
            deflate: agreed.deflate,
            read_buffer_size: self.upgrader.read_buffer_size,
            write_buffer_size: self.upgrader.write_buffer_size,
            ..ConnParts::new(Role::Server)
        };
        Ok(Conn::new(self.exchange.into_stream(), parts))
    }

    /// Answers in plain HTTP instead, whatever was asked: a refusal, a page, a redirection. Then
    /// ends the connection: returns when the peer has closed it too, or time is up. Whether the
    /// peer got the answer is not known.
    pub async fn respond(mut self, reply: &Reply<'_>) {
        let mut response = Vec::new();
        reply.append(&mut response, self.request().method == "HEAD");
        self.exchange.finish(response, self.head.into_buffer()).await;
    }

    /// The 101 and what is agreed on in it.
    fn decide(&self) -> Result<(Vec<u8>, Agreed), UpgradeRefusal> {
        let request = self.request();
        let ours: Vec<&str> = match &self.subprotocol {
            Some(chosen) => vec![chosen],
            None => self.upgrader.subprotocols.iter().map(String::as_str).collect(),
        };
        let mut upgrade = request.upgrade(&ours)?;
        if !(self.upgrader.check_origin)(request) {
            let origin = request.origin()?.unwrap_or_default();
            return Err(UpgradeRefusal::OriginNotAllowed {
                origin: String::from_utf8_lossy(origin).into(),
                host: request.host.into(),
            });
        }
        let deflate = self.upgrader.deflate.and_then(|policy| upgrade.agree_deflate(&policy));
        let mut response = Vec::new();
        upgrade.append_response_with(&self.headers, &mut response);
        Ok((response, Agreed { subprotocol: upgrade.subprotocol.map(str::to_owned), deflate }))
    }
}

/// What the connection needs to know of a 101.
struct Agreed {
    subprotocol: Option<String>,
    deflate: Option<DeflateParams>,
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("request", self.request()).finish_non_exhaustive()
    }
}
