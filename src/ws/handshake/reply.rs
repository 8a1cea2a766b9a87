//! Answers in plain HTTP: refusals and pages.

use std::borrow::Cow;

/// The statuses this server answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 200: a page.
    Ok,
    /// 400: the request breaks a rule.
    BadRequest,
    /// 401: who asks is not known.
    Unauthorized,
    /// 403: understood, not allowed.
    Forbidden,
    /// 404: no such path.
    NotFound,
    /// 405: a method other than GET.
    MethodNotAllowed,
    /// 414: the request line is too long.
    UriTooLong,
    /// 426: the path speaks WebSocket, the request does not.
    UpgradeRequired,
    /// 429: asked too often.
    TooManyRequests,
    /// 431: headers too long or too many.
    HeadersTooLarge,
    /// 500: our own fault.
    InternalError,
    /// 503: full or about to stop.
    Unavailable,
    /// 505: not a version of HTTP that is spoken here.
    VersionNotSupported,
    /// Any other, from [`Status::from_code`]; its phrase is empty.
    Other(OtherStatus),
}

/// The number of a status that has no name here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherStatus(u16);

impl Status {
    /// The status of this number; `None` if it is not one that ends a request, 200 to 599.
    pub fn from_code(code: u16) -> Option<Self> {
        if !(200..=599).contains(&code) {
            return None;
        }
        let named = Self::NAMED.into_iter().find(|status| status.code() == code);
        Some(named.unwrap_or(Self::Other(OtherStatus(code))))
    }

    /// The number.
    pub fn code(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::UriTooLong => 414,
            Self::UpgradeRequired => 426,
            Self::TooManyRequests => 429,
            Self::HeadersTooLarge => 431,
            Self::InternalError => 500,
            Self::Unavailable => 503,
            Self::VersionNotSupported => 505,
            Self::Other(OtherStatus(code)) => code,
        }
    }

    /// The phrase behind the number.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::BadRequest => "Bad Request",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::UriTooLong => "URI Too Long",
            Self::UpgradeRequired => "Upgrade Required",
            Self::TooManyRequests => "Too Many Requests",
            Self::HeadersTooLarge => "Request Header Fields Too Large",
            Self::InternalError => "Internal Server Error",
            Self::Unavailable => "Service Unavailable",
            Self::VersionNotSupported => "HTTP Version Not Supported",
            Self::Other(_) => "",
        }
    }

    /// Those with a name.
    const NAMED: [Self; 13] = [
        Self::Ok,
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UriTooLong,
        Self::UpgradeRequired,
        Self::TooManyRequests,
        Self::HeadersTooLarge,
        Self::InternalError,
        Self::Unavailable,
        Self::VersionNotSupported,
    ];
}

/// One answer after which the connection ends. There is no `Date`: no clock here (RFC 9110 section
/// 6.6.1 lets a server without one leave it out).
#[derive(Clone, Debug)]
pub struct Reply<'a> {
    /// What happened.
    pub status: Status,
    /// `Content-Type` of the body.
    pub content_type: &'a str,
    /// Further headers. Our own text: names and values are not checked.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: Cow<'a, [u8]>,
}

impl<'a> Reply<'a> {
    /// A plain-text answer: `text` and a line end.
    pub fn text(status: Status, headers: &'a [(&'a str, &'a str)], text: &str) -> Self {
        let body = format!("{text}\n").into_bytes().into();
        Self { status, content_type: "text/plain; charset=utf-8", headers, body }
    }

    /// Appends the answer to `out`, without its body if `head_only`.
    pub fn append(&self, out: &mut Vec<u8>, head_only: bool) {
        let mut line = |parts: &[&str]| {
            for part in parts {
                out.extend_from_slice(part.as_bytes());
            }
            out.extend_from_slice(b"\r\n");
        };
        line(&["HTTP/1.1 ", &self.status.code().to_string(), " ", self.status.reason()]);
        line(&["Content-Type: ", self.content_type]);
        line(&["Content-Length: ", &self.body.len().to_string()]);
        // Who sends Upgrade lists it in Connection too (RFC 9110 section 7.8).
        let upgrade = self.status == Status::UpgradeRequired;
        line(&["Connection: ", if upgrade { "Upgrade, close" } else { "close" }]);
        for (name, value) in self.headers {
            line(&[name, ": ", value]);
        }
        line(&[]);
        if !head_only {
            out.extend_from_slice(&self.body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_its_headers_and_without_its_body() {
        let reply = Reply::text(Status::Unavailable, &[("Retry-After", "5")], "full");
        let mut out = Vec::new();
        reply.append(&mut out, false);
        let head = "HTTP/1.1 503 Service Unavailable\r\n\
            Content-Type: text/plain; charset=utf-8\r\n\
            Content-Length: 5\r\nConnection: close\r\nRetry-After: 5\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&out), format!("{head}full\n"));
        out.clear();
        reply.append(&mut out, true);
        assert_eq!(String::from_utf8_lossy(&out), head);
    }

    #[test]
    fn statuses_by_number() {
        for status in Status::NAMED {
            assert_eq!(Status::from_code(status.code()), Some(status));
        }
        let teapot = Status::from_code(418).expect("a final status");
        assert_eq!((teapot.code(), teapot.reason()), (418, ""));
        let mut out = Vec::new();
        Reply::text(teapot, &[], "short and stout").append(&mut out, false);
        // The blank behind the number stays (RFC 9112 section 4).
        assert!(out.starts_with(b"HTTP/1.1 418 \r\n"));
        for interim in [0, 100, 101, 199, 600] {
            assert_eq!(Status::from_code(interim), None, "{interim}");
        }
    }
}
