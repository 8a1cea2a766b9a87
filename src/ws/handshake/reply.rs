//! Answers in plain HTTP: refusals and pages.

use std::borrow::Cow;

/// The statuses this server answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 200: a page.
    Ok,
    /// 400: the request breaks a rule.
    BadRequest,
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
    /// 431: headers too long or too many.
    HeadersTooLarge,
    /// 503: full or about to stop.
    Unavailable,
    /// 505: not a version of HTTP that is spoken here.
    VersionNotSupported,
}

impl Status {
    /// The number.
    pub fn code(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::BadRequest => 400,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::UriTooLong => 414,
            Self::UpgradeRequired => 426,
            Self::HeadersTooLarge => 431,
            Self::Unavailable => 503,
            Self::VersionNotSupported => 505,
        }
    }

    /// The phrase behind the number.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::BadRequest => "Bad Request",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::UriTooLong => "URI Too Long",
            Self::UpgradeRequired => "Upgrade Required",
            Self::HeadersTooLarge => "Request Header Fields Too Large",
            Self::Unavailable => "Service Unavailable",
            Self::VersionNotSupported => "HTTP Version Not Supported",
        }
    }
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
}
