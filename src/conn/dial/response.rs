//! A server's or proxy's answer as a value.

use httparse::{EMPTY_HEADER, Status as Parsed};

use crate::limits;

/// An HTTP answer to a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status; 101 if there is a connection.
    pub status: u16,
    /// The text behind the status, which servers choose freely.
    pub reason: String,
    /// Names and values in the order sent.
    headers: Vec<(String, Vec<u8>)>,
    /// The first [`limits::REFUSAL_BODY_MAX`] bytes of the body of a refusal.
    pub body: Vec<u8>,
}

impl Response {
    /// Reads a head, its body still missing; `None` if it is not one of HTTP/1.
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        let mut headers = [EMPTY_HEADER; limits::HEAD_HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        if !response.parse(head).is_ok_and(|parsed| parsed.is_complete()) {
            return None;
        }
        let own = |header: &httparse::Header<'_>| (header.name.to_owned(), header.value.to_vec());
        Some(Self {
            status: response.code?,
            reason: response.reason.unwrap_or_default().to_owned(),
            headers: response.headers.iter().map(own).collect(),
            body: Vec::new(),
        })
    }

    /// Names and values of all headers in the order sent.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The values of all headers called `name`, in the order sent.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.headers()
            .filter(move |(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The value of the first header called `name`, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.values(name).next().and_then(|value| str::from_utf8(value).ok())
    }

    /// How the end of the body is found (RFC 9112 section 6.3).
    pub(super) fn framing(&self) -> Framing {
        let chunked = |value: &[u8]| {
            value
                .rsplit(|byte| *byte == b',')
                .next()
                .is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(b"chunked"))
        };
        if matches!(self.status, 100..=199 | 204 | 304) {
            Framing::Length(0)
        } else if self.values("transfer-encoding").last().is_some_and(chunked) {
            Framing::Chunked
        } else {
            let length = self.header("content-length").and_then(|length| length.parse().ok());
            length.map_or(Framing::UntilEnd, Framing::Length)
        }
    }
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    /// With the connection.
    UntilEnd,
}

impl Framing {
    /// The body, as far as it is in `received`, cut at [`limits::REFUSAL_BODY_MAX`]; and whether
    /// there is no more to wait for.
    pub(super) fn decode(self, received: &[u8]) -> (Vec<u8>, bool) {
        let (mut body, complete) = match self {
            Self::Length(length) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                (received[..length.min(received.len())].to_vec(), received.len() >= length)
            }
            Self::Chunked => decode_chunks(received),
            Self::UntilEnd => (received.to_vec(), false),
        };
        let full = body.len() >= limits::REFUSAL_BODY_MAX;
        body.truncate(limits::REFUSAL_BODY_MAX);
        (body, complete || full)
    }
}

/// The chunks in `received` (RFC 9112 section 7.1), and whether the last one, or something that is
/// none, was among them.
fn decode_chunks(mut received: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let (size_len, len) = match httparse::parse_chunk_size(received) {
            Ok(Parsed::Complete((_, 0))) | Err(_) => return (body, true),
            Ok(Parsed::Complete(found)) => found,
            Ok(Parsed::Partial) => return (body, false),
        };
        received = &received[size_len..];
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        body.extend_from_slice(&received[..len.min(received.len())]);
        // Each chunk ends with CR LF.
        let Some(rest) = len.checked_add(2).and_then(|end| received.get(end..)) else {
            return (body, false);
        };
        received = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(headers: &str) -> Response {
        let head = format!("HTTP/1.1 404 Not here\r\n{headers}\r\n");
        Response::parse(head.as_bytes()).expect("a response")
    }

    #[test]
    fn parts_of_an_answer() {
        let response = response("Set-Cookie: a=1\r\nX: \u{e4}\r\nset-cookie: b=2\r\n");
        assert_eq!((response.status, response.reason.as_str()), (404, "Not here"));
        assert_eq!(response.values("SET-COOKIE").collect::<Vec<_>>(), [b"a=1", b"b=2"]);
        assert_eq!(response.header("x"), Some("\u{e4}"));
        assert_eq!(response.header("y"), None);
        assert_eq!(Response::parse(b"SSH-2.0\r\n\r\n"), None);
        assert_eq!(Response::parse(b"HTTP/1.1 404 Not"), None);
    }

    #[test]
    fn bodies_end_where_their_framing_says() {
        for (headers, received, body, complete) in [
            ("", "ab", "ab", false),
            ("Content-Length: 2\r\n", "a", "a", false),
            ("Content-Length: 2\r\n", "abc", "ab", true),
            ("Content-Length: 0\r\n", "", "", true),
            ("Content-Length: x\r\n", "ab", "ab", false),
            ("Transfer-Encoding: gzip, Chunked\r\n", "", "", false),
            ("Transfer-Encoding: chunked\r\n", "2;x=y\r\nab\r\n1\r\nc", "abc", false),
            ("Transfer-Encoding: chunked\r\n", "2\r\nab\r\n0\r\n", "ab", true),
            ("Transfer-Encoding: chunked\r\n", "2\r\nab\r", "ab", false),
            ("Transfer-Encoding: chunked\r\n", "what?", "", true),
            ("Transfer-Encoding: chunked\r\n", "ffffffffffffffff\r\nab", "ab", false),
        ] {
            let decoded = response(headers).framing().decode(received.as_bytes());
            assert_eq!(decoded, (body.as_bytes().to_vec(), complete), "{headers}{received}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_none(
            head in "HTTP/1\\.[01] [0-9]{3} .{0,20}\r\n(.{0,9}: .{0,20}\r\n){0,3}\r\n",
            body in proptest::collection::vec(proptest::num::u8::ANY, 0..2_000),
            chunks in "([0-9a-f]{1,17}(;a)?\r\n.{0,9}(\r\n)?){0,9}",
        ) {
            if let Some(response) = Response::parse(head.as_bytes()) {
                response.framing().decode(&body);
            }
            for framing in [Framing::Chunked, Framing::UntilEnd, Framing::Length(u64::MAX)] {
                for received in [&body[..], chunks.as_bytes()] {
                    let (decoded, _) = framing.decode(received);
                    proptest::prop_assert!(decoded.len() <= limits::REFUSAL_BODY_MAX);
                }
            }
        }
    }

    #[test]
    fn only_the_beginning_of_a_long_body_is_kept() {
        let long = vec![b'x'; limits::REFUSAL_BODY_MAX + 1];
        let (body, complete) = Framing::UntilEnd.decode(&long);
        assert_eq!((body.len(), complete), (limits::REFUSAL_BODY_MAX, true));
        let (body, complete) = Framing::Length(1 << 40).decode(&long);
        assert_eq!((body.len(), complete), (limits::REFUSAL_BODY_MAX, true));
    }
}
