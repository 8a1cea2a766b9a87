//! A request head as values.

use httparse::{EMPTY_HEADER, Header, Status as Parsed};

use super::{Authority, HandshakeError, Origin, is_token};
use crate::limits;

/// The head of a request, borrowed from the bytes it came in, with what every path demands already
/// checked: its syntax, one `Host`, no body.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The method, case-sensitive.
    pub method: &'a str,
    /// The path as sent, percent-encoding untouched; begins with `/`.
    pub path: &'a str,
    /// What stands behind the `?`, as sent.
    pub query: Option<&'a str>,
    /// The `1` of `HTTP/1.1`.
    pub minor_version: u8,
    /// Host and port the client addressed, as sent; empty only in an HTTP/1.0 request without
    /// `Host`.
    pub host: &'a str,
    /// Name and value of every header in the order sent, values without surrounding blanks.
    headers: Box<[Header<'a>]>,
}

impl<'a> Request<'a> {
    /// Reads a head that [`super::HeadReader`] has delimited, empty line included. One allocation.
    ///
    /// # Errors
    /// The head breaks a rule that holds for every path: syntax (RFC 9112 sections 3 and 5),
    /// version, `Host`, a body.
    pub fn parse(head: &'a [u8]) -> Result<Self, HandshakeError> {
        let line_len = head.iter().position(|byte| *byte == b'\r');
        let line_len = line_len.ok_or(HandshakeError::RequestLineMalformed)?;
        let (method, target, minor_version) = parse_request_line(&head[..line_len])?;
        let mut headers = [EMPTY_HEADER; limits::HEAD_HEADERS_MAX];
        let rest = head.get(line_len + 2..).unwrap_or_default();
        let headers = match httparse::parse_headers(rest, &mut headers) {
            Ok(Parsed::Complete((_, headers))) => headers.into(),
            Err(httparse::Error::TooManyHeaders) => return Err(HandshakeError::TooManyHeaders),
            Ok(Parsed::Partial) | Err(_) => return Err(HandshakeError::HeaderMalformed),
        };
        let (authority, path, query) = split_target(target)?;
        let mut request = Self { method, path, query, minor_version, host: "", headers };
        request.check_no_body()?;
        request.host = request.check_host(authority)?;
        Ok(request)
    }

    /// The values of all headers called `name`, in the order sent.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    /// The value of the header called `name`, which may be sent once; `None`: it is not there.
    ///
    /// # Errors
    /// `repeated` if it is sent more than once.
    pub fn single(
        &self,
        name: &str,
        repeated: HandshakeError,
    ) -> Result<Option<&'a [u8]>, HandshakeError> {
        let mut values = self.values(name);
        let first = values.next();
        if values.next().is_some() { Err(repeated) } else { Ok(first) }
    }

    /// The elements of the comma-separated list that all headers called `name` make together,
    /// without surrounding blanks and empty elements (RFC 9110 section 5.6.1). Not for lists whose
    /// elements may hold quoted commas.
    pub fn elements(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.values(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|element| !element.is_empty())
    }

    /// Whether the list of headers called `name` contains `token`, in any case.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.elements(name).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Whether this asks for a WebSocket: `Connection` lists `upgrade` and `Upgrade` lists
    /// `websocket`. Whether it does so correctly says [`Request::upgrade`].
    pub fn is_websocket_upgrade(&self) -> bool {
        self.lists("connection", "upgrade") && self.lists("upgrade", "websocket")
    }

    /// The subprotocols the client offers, best first; what is not UTF-8 is left out.
    pub fn subprotocols(&self) -> impl Iterator<Item = &'a str> {
        self.elements("sec-websocket-protocol").filter_map(|offered| str::from_utf8(offered).ok())
    }

    /// Whether the page that asks comes from the host it connects to, or none does: there is no
    /// `Origin`. Browsers always send it, so what sends none is not driven by a foreign page.
    pub fn is_same_origin(&self) -> bool {
        match self.origin() {
            Ok(None) => true,
            Ok(Some(origin)) => {
                let origin = str::from_utf8(origin).ok().and_then(Origin::parse);
                origin.is_some_and(|origin| origin.is_of_host(self.host))
            }
            Err(_) => false,
        }
    }

    /// The `Origin` header, if there is one.
    ///
    /// # Errors
    /// `OriginRepeated`: there is more than one.
    pub fn origin(&self) -> Result<Option<&'a [u8]>, HandshakeError> {
        self.single("origin", HandshakeError::OriginRepeated)
    }

    /// No request here has a body, so nothing that announces one is accepted: two servers that
    /// disagree about where a body ends are how requests are smuggled.
    fn check_no_body(&self) -> Result<(), HandshakeError> {
        if self.values("transfer-encoding").next().is_some() {
            return Err(HandshakeError::TransferEncoding);
        }
        let malformed = HandshakeError::ContentLengthMalformed;
        match self.single("content-length", malformed)? {
            None => Ok(()),
            Some(length) if length.is_empty() || !length.iter().all(u8::is_ascii_digit) => {
                Err(malformed)
            }
            Some(length) if length.iter().all(|digit| *digit == b'0') => Ok(()),
            Some(_) => Err(HandshakeError::BodyAnnounced),
        }
    }

    /// Exactly one `Host`, none at all in HTTP/1.0. A target with an authority has the last word
    /// on the host but does not replace the header (RFC 9112 section 3.2.2).
    fn check_host(&self, authority: Option<&'a str>) -> Result<&'a str, HandshakeError> {
        let host = match self.single("host", HandshakeError::HostRepeated)? {
            Some(host) => str::from_utf8(host).map_err(|_| HandshakeError::HostMalformed)?,
            None if self.minor_version == 0 => return Ok(authority.unwrap_or_default()),
            None => return Err(HandshakeError::HostMissing),
        };
        Authority::parse(host).ok_or(HandshakeError::HostMalformed)?;
        Ok(authority.unwrap_or(host))
    }
}

/// Method, target and minor version.
fn parse_request_line(line: &[u8]) -> Result<(&str, &str, u8), HandshakeError> {
    let malformed = HandshakeError::RequestLineMalformed;
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed);
    };
    if !is_token(method) {
        return Err(malformed);
    }
    let minor = match version.strip_prefix(b"HTTP/") {
        // Minor versions add nothing that a server of HTTP/1.1 must know (RFC 9110 section 6.2).
        Some([b'1', b'.', minor @ b'0'..=b'9']) => minor - b'0',
        Some([b'0'..=b'9', b'.', b'0'..=b'9']) => {
            return Err(HandshakeError::HttpVersionUnsupported);
        }
        _ => return Err(malformed),
    };
    let method = str::from_utf8(method).expect("a token is ASCII");
    if !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
        return Err(HandshakeError::TargetMalformed);
    }
    let target = str::from_utf8(target).expect("graphic ASCII was checked");
    Ok((method, target, minor))
}

/// Authority, path and query of a target in origin form or absolute form (RFC 9112 section 3.2).
fn split_target(target: &str) -> Result<(Option<&str>, &str, Option<&str>), HandshakeError> {
    let malformed = HandshakeError::TargetMalformed;
    let (authority, rest) = if target.starts_with('/') {
        (None, target)
    } else {
        let (scheme, rest) = target.split_once("://").ok_or(malformed)?;
        if !["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(malformed);
        }
        let authority_len = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(authority_len);
        Authority::parse(authority).ok_or(malformed)?;
        (Some(authority), rest)
    };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    Ok((authority, if path.is_empty() { "/" } else { path }, query))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Result<Request<'_>, HandshakeError> {
        Request::parse(head.as_bytes())
    }

    #[test]
    fn parts_of_a_request() {
        let request = parse(
            "GET /raw?channel=a?b HTTP/1.1\r\nHost: h:1\r\nConnection: keep-alive\r\n\
             A:  b \t\r\nconnection: x ,, Upgrade,\r\nEmpty:\r\n\r\n",
        );
        let request = request.expect("a request");
        assert_eq!(
            (request.method, request.path, request.query),
            ("GET", "/raw", Some("channel=a?b"))
        );
        assert_eq!((request.minor_version, request.host), (1, "h:1"));
        assert_eq!(request.values("a").collect::<Vec<_>>(), [b"b"]);
        assert_eq!(request.values("empty").collect::<Vec<_>>(), [b""]);
        let elements: Vec<_> = request.elements("CONNECTION").collect();
        assert_eq!(elements, [&b"keep-alive"[..], b"x", b"Upgrade"]);
        assert!(request.lists("connection", "upgrade"));
        assert!(!request.lists("connection", "upgrad"));
    }

    #[test]
    fn target_forms() {
        for (target, host, path, query) in [
            ("/", "h", "/", None),
            ("/a?", "h", "/a", Some("")),
            ("http://other:1", "other:1", "/", None),
            ("WS://other?q", "other", "/", Some("q")),
            ("https://other/a/b?q", "other", "/a/b", Some("q")),
        ] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
            let request = parse(&head).expect(target);
            assert_eq!((request.host, request.path, request.query), (host, path, query));
        }
        for target in ["*", "h:80", "raw", "ftp://h/", "http://", "http://u@h/", "/a#b", "/\u{e4}"]
        {
            let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(parse(&head).err(), Some(HandshakeError::TargetMalformed), "{target}");
        }
    }

    #[test]
    fn request_line() {
        use HandshakeError::*;
        for (line, error) in [
            ("GET /", RequestLineMalformed),
            ("GET  / HTTP/1.1", RequestLineMalformed),
            ("GET /  HTTP/1.1", RequestLineMalformed),
            ("GET / HTTP/1.1 ", RequestLineMalformed),
            ("GET / http/1.1", RequestLineMalformed),
            ("GET / HTTP/1.10", RequestLineMalformed),
            ("GET / HTTP/1", RequestLineMalformed),
            ("G(T / HTTP/1.1", RequestLineMalformed),
            (" / HTTP/1.1", RequestLineMalformed),
            ("GET / HTTP/2.0", HttpVersionUnsupported),
            ("PRI * HTTP/2.0", HttpVersionUnsupported),
            ("GET / HTTP/0.9", HttpVersionUnsupported),
        ] {
            assert_eq!(parse(&format!("{line}\r\nHost: a\r\n\r\n")).err(), Some(error), "{line}");
        }
        assert_eq!(parse("GET / HTTP/1.2\r\nHost: a\r\n\r\n").expect("1.x").minor_version, 2);
    }

    #[test]
    fn host_and_body() {
        use HandshakeError::*;
        for (headers, error) in [
            ("", Some(HostMissing)),
            ("Host: a\r\nHost: a\r\n", Some(HostRepeated)),
            ("Host:\r\n", Some(HostMalformed)),
            ("Host: a, b\r\n", Some(HostMalformed)),
            ("Host: \u{e4}\r\n", Some(HostMalformed)),
            ("Host: a\r\nContent-Length: 0\r\n", None),
            ("Host: a\r\nContent-Length: 1\r\n", Some(BodyAnnounced)),
            ("Host: a\r\nContent-Length: 18446744073709551617\r\n", Some(BodyAnnounced)),
            ("Host: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n", Some(ContentLengthMalformed)),
            ("Host: a\r\nContent-Length: 0\r\nContent-Length: 5\r\n", Some(ContentLengthMalformed)),
            ("Host: a\r\nContent-Length: 0, 0\r\n", Some(ContentLengthMalformed)),
            ("Host: a\r\nContent-Length: +0\r\n", Some(ContentLengthMalformed)),
            ("Host: a\r\nContent-Length:\r\n", Some(ContentLengthMalformed)),
            ("Host: a\r\nTransfer-Encoding: chunked\r\n", Some(TransferEncoding)),
            ("Host : a\r\n", Some(HeaderMalformed)),
            ("Host\r\n", Some(HeaderMalformed)),
            (": a\r\n", Some(HeaderMalformed)),
        ] {
            let head = format!("GET / HTTP/1.1\r\n{headers}\r\n");
            assert_eq!(parse(&head).err(), error, "{headers}");
        }
        assert_eq!(parse("GET / HTTP/1.0\r\n\r\n").expect("1.0 needs no Host").host, "");
    }

    #[test]
    fn what_an_upgrade_asks_for() {
        let head = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: x, upgrade\r\n\
            Sec-WebSocket-Protocol: b, c\r\nSec-WebSocket-Protocol: d\r\n\r\n";
        let request = parse(head).expect("a request");
        assert!(request.is_websocket_upgrade());
        assert_eq!(request.subprotocols().collect::<Vec<_>>(), ["b", "c", "d"]);
        for other in [head.replace("WebSocket\r", "h2c\r"), head.replace("x, upgrade", "x")] {
            assert!(!parse(&other).expect("a request").is_websocket_upgrade(), "{other}");
        }
    }

    #[test]
    fn an_origin_is_the_own_host_or_absent() {
        for (headers, same) in [
            ("", true),
            ("Origin: http://a\r\n", true),
            ("Origin: HTTPS://A:443\r\n", true),
            ("Origin: http://a:8000\r\n", false),
            ("Origin: http://b\r\n", false),
            ("Origin: ftp://a\r\n", false),
            ("Origin: null\r\n", false),
            ("Origin: \u{e4}\r\n", false),
            ("Origin: http://a\r\nOrigin: http://a\r\n", false),
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
            assert_eq!(parse(&head).expect("a request").is_same_origin(), same, "{headers}");
        }
    }

    #[test]
    fn any_bytes_are_a_request_or_an_error() {
        for head in
            [&b""[..], b"\r", b"\r\n", b"\r\n\r\n", b"GET / HTTP/1.1\r", b"GET / HTTP/1.1\r\nA"]
        {
            assert!(Request::parse(head).is_err());
        }
    }
}
