//! Origins of web pages, as browsers send them (RFC 6454, RFC 6455 section 10.2).

use super::Authority;

/// An origin of the form `scheme://host[:port]`. The other form there is, `null`, is not one of
/// these.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// As written, such as `https`.
    pub scheme: &'a str,
    /// Host and port.
    pub authority: Authority<'a>,
}

impl<'a> Origin<'a> {
    /// Reads `text`; `None` if it is not of that form.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        Some(Self { scheme, authority: Authority::parse(authority)? })
    }

    /// Whether it is that of a web page: its scheme is `http` or `https`.
    pub fn is_web(self) -> bool {
        self.default_port() != 0
    }

    /// Whether a page of this origin comes from the server it connects to: a web page whose host
    /// and port are those of `host`, the request's own `Host`. That says nothing of the scheme, so
    /// a port that is not written is the default one of the page's scheme on both sides.
    pub fn is_of_host(self, host: &str) -> bool {
        let same = |host| self.authority.is_same(host, self.default_port());
        self.is_web() && Authority::parse(host).is_some_and(same)
    }

    /// Whether both are the same origin, however the default port is written.
    pub fn is_same(self, other: Origin<'_>) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.authority.is_same(other.authority, self.default_port())
    }

    /// The port that is meant when none is written. Schemes other than those of web pages, of
    /// browser extensions for instance, have no ports: any fixed one compares well.
    fn default_port(self) -> u16 {
        if self.scheme.eq_ignore_ascii_case("http") {
            80
        } else if self.scheme.eq_ignore_ascii_case("https") {
            443
        } else {
            0
        }
    }
}
