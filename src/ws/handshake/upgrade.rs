//! The rest of an opening handshake, for a path that speaks WebSocket, and the 101.

use super::deflate::DeflateAnswer;
use super::{
    ACCEPT_LEN, DeflatePolicy, Extension, HandshakeError, Request, VERSION, accept_of, extension,
    is_header, is_key, is_token,
};
use crate::ws::DeflateParams;

/// An opening handshake that fulfils RFC 6455 section 4.2.1. Nothing is sent yet: whoever holds it
/// may still refuse for reasons of its own.
#[derive(Clone, Debug)]
pub struct Upgrade<'a> {
    accept: [u8; ACCEPT_LEN],
    /// The subprotocol to confirm: the first of the client's list that is in ours.
    pub subprotocol: Option<&'a str>,
    /// The extensions offered. None is confirmed but what [`Upgrade::agree_deflate`] accepts.
    pub extensions: Vec<Extension<'a>>,
    deflate: Option<DeflateAnswer>,
}

impl<'a> Request<'a> {
    /// Checks what only a WebSocket path demands: method, version of HTTP and of the protocol,
    /// `Upgrade`, `Connection`, key, and the syntax of `Origin`'s count, subprotocols and
    /// extensions. Whose `Origin` it is decides the caller.
    ///
    /// `subprotocols` are ours; a client may offer others, which are then not confirmed.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn upgrade(&self, subprotocols: &[&'a str]) -> Result<Upgrade<'a>, HandshakeError> {
        use HandshakeError as E;
        if self.method != "GET" {
            return Err(E::MethodNotGet);
        }
        if self.minor_version == 0 {
            return Err(E::HttpTooOld);
        }
        if !self.lists("upgrade", "websocket") {
            return Err(E::UpgradeMissing);
        }
        if !self.lists("connection", "upgrade") {
            return Err(E::ConnectionMissing);
        }
        if self.single("sec-websocket-version", E::VersionRepeated)? != Some(VERSION.as_bytes()) {
            return Err(E::VersionUnsupported);
        }
        let key = self.single("sec-websocket-key", E::KeyRepeated)?.ok_or(E::KeyMissing)?;
        if !is_key(key) {
            return Err(E::KeyMalformed);
        }
        self.origin()?;
        let subprotocol = self.choose_subprotocol(subprotocols)?;
        let mut extensions = Vec::new();
        for value in self.values("sec-websocket-extensions") {
            extension::parse(value, &mut extensions).ok_or(E::ExtensionMalformed)?;
        }
        Ok(Upgrade { accept: accept_of(key), subprotocol, extensions, deflate: None })
    }

    /// The first offered subprotocol that is ours, in our own bytes: what the client sent is never
    /// echoed.
    fn choose_subprotocol(&self, ours: &[&'a str]) -> Result<Option<&'a str>, HandshakeError> {
        let mut chosen = None;
        for offered in self.elements("sec-websocket-protocol") {
            if !is_token(offered) {
                return Err(HandshakeError::SubprotocolMalformed);
            }
            let found = || ours.iter().copied().find(|name| name.as_bytes() == offered);
            chosen = chosen.or_else(found);
        }
        Ok(chosen)
    }
}

impl Upgrade<'_> {
    /// Accepts the first offer of permessage-deflate that the policy allows, which the 101 then
    /// confirms; `None`: there is none, and the connection is not compressed.
    ///
    /// # Panics
    /// If a window of the policy is not 9 to 15 bits.
    pub fn agree_deflate(&mut self, policy: &DeflatePolicy) -> Option<DeflateParams> {
        self.deflate = policy.choose(&self.extensions);
        self.deflate()
    }

    /// What the 101 will say about compression.
    pub fn deflate(&self) -> Option<DeflateParams> {
        self.deflate.map(|answer| answer.params)
    }

    /// Appends the 101 to `out` (RFC 6455 section 4.2.2): four lines, one each for a subprotocol
    /// and for compression if agreed on, and the empty line. Frames follow at once.
    pub fn append_response(&self, out: &mut Vec<u8>) {
        self.append_response_with(&[], out);
    }

    /// As [`Upgrade::append_response`], with `headers` at its end: header lines that
    /// [`is_header`] accepts and that are not the handshake's own.
    pub fn append_response_with(&self, headers: &[(String, String)], out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: ",
        );
        out.extend_from_slice(&self.accept);
        if let Some(subprotocol) = self.subprotocol {
            out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
            out.extend_from_slice(subprotocol.as_bytes());
        }
        if let Some(deflate) = self.deflate {
            out.extend_from_slice(b"\r\nSec-WebSocket-Extensions: ");
            out.extend_from_slice(deflate.to_string().as_bytes());
        }
        for (name, value) in headers {
            debug_assert!(is_header(name, value), "{name:?} {value:?}");
            for part in ["\r\n", name, ": ", value] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        out.extend_from_slice(b"\r\n\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

    fn respond(headers: &str, ours: &[&str]) -> Result<String, HandshakeError> {
        let head = format!("GET /chat HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        let mut out = Vec::new();
        Request::parse(head.as_bytes())?.upgrade(ours)?.append_response(&mut out);
        Ok(String::from_utf8(out).expect("ASCII"))
    }

    #[test]
    fn the_example_of_the_rfc() {
        let headers = format!(
            "{REST}Origin: http://example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\n"
        );
        let response = respond(&headers, &["chat"]).expect("acceptable");
        assert_eq!(
            response,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
             Sec-WebSocket-Protocol: chat\r\n\r\n"
        );
    }

    #[test]
    fn subprotocol_is_ours_once_or_not_named() {
        for (offer, chosen) in [
            ("Sec-WebSocket-Protocol: b, a\r\n", Some("b")),
            ("Sec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: a,b\r\n", Some("a")),
            ("Sec-WebSocket-Protocol: A\r\n", None),
            ("Sec-WebSocket-Protocol:\r\n", None),
            ("", None),
        ] {
            let response = respond(&format!("{REST}{offer}"), &["a", "b"]).expect("acceptable");
            let lines: Vec<_> = response
                .lines()
                .filter_map(|l| l.strip_prefix("Sec-WebSocket-Protocol: "))
                .collect();
            assert_eq!(lines, chosen.into_iter().collect::<Vec<_>>(), "{offer}");
        }
        let malformed = respond(&format!("{REST}Sec-WebSocket-Protocol: a b\r\n"), &["a"]);
        assert_eq!(malformed, Err(HandshakeError::SubprotocolMalformed));
    }

    #[test]
    fn headers_of_the_application_come_last() {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{REST}\r\n");
        let request = Request::parse(head.as_bytes()).expect("a request");
        let mut out = Vec::new();
        let headers =
            [("Set-Cookie".to_owned(), "a=b".to_owned()), ("X".to_owned(), String::new())];
        request.upgrade(&[]).expect("acceptable").append_response_with(&headers, &mut out);
        assert!(out.ends_with(b"xOo=\r\nSet-Cookie: a=b\r\nX: \r\n\r\n"));
    }

    #[test]
    fn extensions_are_read_over_all_lines() {
        let head = format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{REST}Sec-WebSocket-Extensions: a; b=1\r\n\
             Sec-WebSocket-Extensions: c\r\n\r\n"
        );
        let request = Request::parse(head.as_bytes()).expect("a request");
        let upgrade = request.upgrade(&[]).expect("acceptable");
        let names: Vec<_> = upgrade.extensions.iter().map(|extension| extension.name).collect();
        assert_eq!(names, ["a", "c"]);
    }

    #[test]
    fn compression_is_confirmed_when_it_was_agreed_on() {
        let head = format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{REST}Sec-WebSocket-Extensions: x, permessage-deflate; \
             server_max_window_bits=9\r\n\r\n"
        );
        let request = Request::parse(head.as_bytes()).expect("a request");
        let mut upgrade = request.upgrade(&[]).expect("acceptable");
        let line = |upgrade: &Upgrade<'_>| {
            let mut out = Vec::new();
            upgrade.append_response(&mut out);
            let text = String::from_utf8(out).expect("ASCII");
            let value = |line: &str| Some(line.split_once("Extensions: ")?.1.to_owned());
            text.lines().find_map(value)
        };
        assert_eq!(line(&upgrade), None);
        assert_eq!(upgrade.agree_deflate(&DeflatePolicy::SHARED), None);
        assert_eq!(line(&upgrade), None);
        let params = upgrade.agree_deflate(&DeflatePolicy::ANY).expect("acceptable");
        assert_eq!((params.server_window_bits, params.client_window_bits), (9, 15));
        let expected = "permessage-deflate; server_max_window_bits=9";
        assert_eq!(line(&upgrade).as_deref(), Some(expected));
    }
}
