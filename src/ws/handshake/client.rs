//! The client's side: the request and what must be true of the answer (RFC 6455 section 4.1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use httparse::EMPTY_HEADER;

use super::{Authority, Extension, HandshakeError, VERSION, accept_of, extension, is_token};
use crate::limits;

/// An opening handshake to send.
#[derive(Clone, Debug)]
pub struct ClientRequest<'a> {
    /// Host, with the port unless it is the scheme's own.
    pub host: &'a str,
    /// Path and query, beginning with `/`, percent-encoded.
    pub target: &'a str,
    /// Random for every connection (RFC 6455 section 4.1, item 7).
    pub key: [u8; 16],
    /// Subprotocols offered, best first.
    pub subprotocols: &'a [&'a str],
    /// The value of `Sec-WebSocket-Extensions`, such as a [`DeflateOffer`](super::DeflateOffer)
    /// shows; empty: none is offered.
    pub extensions: &'a str,
    /// Further headers, such as `Origin`.
    pub headers: &'a [(&'a str, &'a str)],
}

/// Why a request cannot be sent: it would not be HTTP. The caller's fault; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientRequestError {
    /// `host` is not a host with an optional port.
    #[error("the host is not a name or address with an optional port")]
    HostMalformed,
    /// `target` does not begin with `/` or holds what must be percent-encoded.
    #[error("the path must begin with `/` and be percent-encoded ASCII")]
    TargetMalformed,
    /// A header or subprotocol name is not a token.
    #[error("the name of a header or subprotocol is not a plain word")]
    NameMalformed,
    /// A header value holds a control byte.
    #[error("the value of a header holds a line end or another control byte")]
    ValueMalformed,
}

/// What a server may do wrong in its answer. Its fault; the connection is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// The head is not HTTP.
    #[error("the answer is not HTTP/1.1")]
    Malformed,
    /// Another status than 101; the body may say why.
    #[error("the server answered {0} instead of 101")]
    Status(u16),
    /// `Upgrade` is not `websocket`.
    #[error("the answer's Upgrade header is not `websocket`")]
    UpgradeMissing,
    /// `Connection` does not list `Upgrade`.
    #[error("the answer's Connection header does not list `Upgrade`")]
    ConnectionMissing,
    /// `Sec-WebSocket-Accept` is missing, repeated or does not belong to the key.
    #[error("Sec-WebSocket-Accept does not answer the key that was sent")]
    AcceptMismatch,
    /// A subprotocol that was not offered, or more than one.
    #[error("the server chose a subprotocol that was not offered")]
    SubprotocolNotOffered,
    /// An extension that was not offered, or a list that cannot be read.
    #[error("the server chose an extension that was not offered")]
    ExtensionNotOffered,
    /// permessage-deflate twice, or with a parameter that is unknown, repeated or out of range.
    #[error("the server's answer about permessage-deflate breaks RFC 7692")]
    DeflateMalformed,
    /// permessage-deflate with other parameters than the offer allows.
    #[error("the server chose parameters of permessage-deflate that were not offered")]
    DeflateNotOffered,
    /// The client is to compress with a window of 8 bits, which zlib cannot.
    #[error(
        "the server asks for a compression window of 8 bits, which cannot be had; \
         offer permessage-deflate without client_max_window_bits"
    )]
    DeflateWindowTooSmall,
}

/// What client and server agreed on, borrowed from the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed<'a> {
    /// The subprotocol the server chose.
    pub subprotocol: Option<&'a str>,
    /// The extensions the server chose, their parameters unchecked:
    /// [`DeflateOffer::check`](super::DeflateOffer::check) does that.
    pub extensions: Vec<Extension<'a>>,
}

impl ClientRequest<'_> {
    /// Appends the request to `out`.
    ///
    /// # Errors
    /// A part of the request is not fit for HTTP; `out` is as before.
    pub fn append(&self, out: &mut Vec<u8>) -> Result<(), ClientRequestError> {
        self.check_parts()?;
        let key = STANDARD.encode(self.key);
        let protocols = self.subprotocols.join(", ");
        let fixed = [
            ("Host", self.host),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", &key),
            ("Sec-WebSocket-Version", VERSION),
            ("Sec-WebSocket-Protocol", &protocols),
            ("Sec-WebSocket-Extensions", self.extensions),
        ];
        for part in ["GET ", self.target, " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        let written = fixed.iter().filter(|(_, value)| !value.is_empty()).chain(self.headers);
        for part in written.flat_map(|(name, value)| [name, ": ", value, "\r\n"]) {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Checks the head of the server's answer, delimited by [`super::HeadReader`].
    ///
    /// # Errors
    /// The rule the server broke, or its refusal.
    pub fn check<'h>(&self, head: &'h [u8]) -> Result<Agreed<'h>, ResponseError> {
        let mut headers = [EMPTY_HEADER; limits::HEAD_HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let complete = response.parse(head).is_ok_and(|parsed| parsed.is_complete());
        if !complete || response.version != Some(1) {
            return Err(ResponseError::Malformed);
        }
        let status = response.code.expect("a complete response has a status");
        if status != 101 {
            return Err(ResponseError::Status(status));
        }
        let headers = &*response.headers;
        let values = |name: &'static str| {
            headers.iter().filter(move |h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value)
        };
        let lists = |name, token: &[u8]| {
            values(name)
                .flat_map(|value| value.split(|byte| *byte == b','))
                .any(|element| element.trim_ascii().eq_ignore_ascii_case(token))
        };
        if !lists("upgrade", b"websocket") {
            return Err(ResponseError::UpgradeMissing);
        }
        if !lists("connection", b"upgrade") {
            return Err(ResponseError::ConnectionMissing);
        }
        let accept = accept_of(STANDARD.encode(self.key).as_bytes());
        if !values("sec-websocket-accept").eq([&accept[..]]) {
            return Err(ResponseError::AcceptMismatch);
        }
        let subprotocol = self.check_subprotocol(values("sec-websocket-protocol"))?;
        let extensions = self.check_extensions(values("sec-websocket-extensions"))?;
        Ok(Agreed { subprotocol, extensions })
    }

    fn check_parts(&self) -> Result<(), ClientRequestError> {
        Authority::parse(self.host).ok_or(ClientRequestError::HostMalformed)?;
        let graphic = self.target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if !(self.target.starts_with('/') && graphic) {
            return Err(ClientRequestError::TargetMalformed);
        }
        let mut names =
            self.headers.iter().map(|(name, _)| *name).chain(self.subprotocols.iter().copied());
        if !names.all(|name| is_token(name.as_bytes())) {
            return Err(ClientRequestError::NameMalformed);
        }
        let mut values = self.headers.iter().map(|(_, value)| *value).chain([self.extensions]);
        if values.any(|value| value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t')) {
            return Err(ClientRequestError::ValueMalformed);
        }
        Ok(())
    }

    fn check_subprotocol<'h>(
        &self,
        mut values: impl Iterator<Item = &'h [u8]>,
    ) -> Result<Option<&'h str>, ResponseError> {
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(chosen), None) => {
                let chosen = str::from_utf8(chosen).ok();
                let offered = chosen.filter(|chosen| self.subprotocols.contains(chosen));
                offered.map(Some).ok_or(ResponseError::SubprotocolNotOffered)
            }
            (Some(_), Some(_)) => Err(ResponseError::SubprotocolNotOffered),
        }
    }

    fn check_extensions<'h>(
        &self,
        values: impl Iterator<Item = &'h [u8]>,
    ) -> Result<Vec<Extension<'h>>, ResponseError> {
        let unoffered = ResponseError::ExtensionNotOffered;
        let (mut offered, mut chosen) = (Vec::new(), Vec::new());
        if extension::parse(self.extensions.as_bytes(), &mut offered).is_none() {
            // An offer that cannot be read offers nothing.
            offered.clear();
        }
        for value in values {
            extension::parse(value, &mut chosen).ok_or(unoffered)?;
        }
        let known = |one: &Extension<'_>| offered.iter().any(|offer| offer.name == one.name);
        if chosen.iter().all(known) { Ok(chosen) } else { Err(unoffered) }
    }
}

impl From<HandshakeError> for ResponseError {
    /// What a [`super::HeadReader`] refuses in an answer makes it unreadable.
    fn from(_: HandshakeError) -> Self {
        Self::Malformed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::handshake::{HeadReader, Request};

    const REQUEST: ClientRequest<'static> = ClientRequest {
        host: "server.example:8000",
        target: "/raw?channel=a",
        key: *b"the sample nonce",
        subprotocols: &["chat", "superchat"],
        extensions: "permessage-deflate; client_max_window_bits",
        headers: &[("Origin", "http://server.example")],
    };

    const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\
        Connection: upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

    #[test]
    fn both_roles_agree() {
        let mut head = Vec::new();
        REQUEST.append(&mut head).expect("fit for HTTP");
        assert_eq!(HeadReader::new().handle(&head), Ok(Some(head.len())));
        let request = Request::parse(&head).expect("a request");
        assert_eq!(
            (request.path, request.query, request.host),
            ("/raw", Some("channel=a"), REQUEST.host)
        );
        assert_eq!(request.origin(), Ok(Some(&b"http://server.example"[..])));
        let mut answer = Vec::new();
        request.upgrade(&["superchat"]).expect("an upgrade").append_response(&mut answer);
        let agreed = REQUEST.check(&answer).expect("a good answer");
        assert_eq!(agreed, Agreed { subprotocol: Some("superchat"), extensions: vec![] });
    }

    #[test]
    fn answers_that_must_be_refused() {
        use ResponseError::*;
        let swap = |from: &str, to: &str| GOOD.replace(from, to);
        for (head, error) in [
            (swap("HTTP/1.1 101", "HTTP/1.1 200"), Status(200)),
            (swap("HTTP/1.1 101 ", "ICY "), Malformed),
            (swap("HTTP/1.1 101 ", "HTTP/1.0 101 "), Malformed),
            (swap("Upgrade: WebSocket", "Upgrade: h2c"), UpgradeMissing),
            (swap("Connection: upgrade", "Connection: close"), ConnectionMissing),
            (swap("s3pP", "S3pP"), AcceptMismatch),
            (swap("Sec-WebSocket-Accept", "X"), AcceptMismatch),
            (format!("{GOOD}Sec-WebSocket-Accept: a\r\n"), AcceptMismatch),
            (format!("{GOOD}Sec-WebSocket-Protocol: other\r\n"), SubprotocolNotOffered),
            (format!("{GOOD}Sec-WebSocket-Protocol:\r\n"), SubprotocolNotOffered),
            (
                format!("{GOOD}Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat\r\n"),
                SubprotocolNotOffered,
            ),
            (format!("{GOOD}Sec-WebSocket-Extensions: x\r\n"), ExtensionNotOffered),
            (format!("{GOOD}Sec-WebSocket-Extensions: ;\r\n"), ExtensionNotOffered),
        ] {
            let head = head + "\r\n";
            assert_eq!(REQUEST.check(head.as_bytes()), Err(error), "{head}");
        }
        let head = format!("{GOOD}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
        assert_eq!(REQUEST.check(head.as_bytes()).expect("offered").extensions.len(), 1);
    }

    #[test]
    fn what_is_no_request() {
        use ClientRequestError::*;
        for (request, error) in [
            (ClientRequest { host: "a b", ..REQUEST }, HostMalformed),
            (ClientRequest { target: "raw", ..REQUEST }, TargetMalformed),
            (ClientRequest { target: "/a b", ..REQUEST }, TargetMalformed),
            (ClientRequest { subprotocols: &["a b"], ..REQUEST }, NameMalformed),
            (ClientRequest { headers: &[("a:", "b")], ..REQUEST }, NameMalformed),
            (ClientRequest { headers: &[("a", "b\r\nc: d")], ..REQUEST }, ValueMalformed),
        ] {
            let mut out = Vec::new();
            assert_eq!(request.append(&mut out), Err(error));
            assert!(out.is_empty());
        }
    }
}
