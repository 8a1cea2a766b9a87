//! URLs of servers and proxies, taken apart (RFC 6455 section 3, RFC 3986).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::ws::handshake::Authority;

/// Why a URL is of no use. The caller's fault; nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It does not begin with a scheme that is known here.
    #[error("the URL does not begin with ws:// or wss://, nor that of a proxy with http://")]
    SchemeUnknown,
    /// `#` and what follows have no meaning here (RFC 6455 section 3).
    #[error("the URL has a fragment; leave it out, or write `#` as %23")]
    FragmentPresent,
    /// What stands between `//` and the path is not a host with an optional port.
    #[error(
        "the URL's host is not a name or address with an optional port; write IPv6 addresses in \
         brackets and international names in their xn-- form"
    )]
    HostMalformed,
    /// A tab, a line end or another control character.
    #[error("the URL holds a control character")]
    ControlCharacter,
}

/// A URL that can be connected to.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) scheme: Scheme,
    /// The value of `Authorization` for the user in it.
    pub(super) credentials: Option<String>,
    /// Name or address, IPv6 in brackets, as written.
    pub(super) host: String,
    pub(super) port: u16,
    /// True if the port is not the scheme's own: then `Host` names it.
    port_named: bool,
    /// Path and query, percent-encoded.
    pub(super) target: String,
}

/// What is spoken there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Ws,
    Wss,
    /// Of proxies.
    Http,
}

impl Url {
    /// Takes `text` apart. The schemes of `known` are expected.
    pub(super) fn parse(text: &str, known: &[Scheme]) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::SchemeUnknown)?;
        let named = |known: &&Scheme| known.name().eq_ignore_ascii_case(scheme);
        let scheme = *known.iter().find(named).ok_or(UrlError::SchemeUnknown)?;
        if rest.contains('#') {
            return Err(UrlError::FragmentPresent);
        }
        if rest.contains(|character: char| character.is_ascii_control()) {
            return Err(UrlError::ControlCharacter);
        }
        let (place, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user, authority) = match place.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, place),
        };
        let Authority { host, port } =
            Authority::parse(authority).ok_or(UrlError::HostMalformed)?;
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Self {
            scheme,
            credentials: user.map(credentials),
            host: host.to_owned(),
            port: port.unwrap_or(scheme.port()),
            port_named: port.is_some_and(|port| port != scheme.port()),
            target: format!("{slash}{}", utf8_percent_encode(target, ENCODED)),
        })
    }

    /// What `Host` says: the port only if it is not the scheme's own.
    pub(super) fn host_header(&self) -> String {
        if self.port_named { self.address() } else { self.host.clone() }
    }

    /// `host:port`.
    pub(super) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The host without the brackets of an IPv6 address, as resolvers take it.
    pub(super) fn bare_host(&self) -> &str {
        self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&self.host)
    }

    /// The same place in the scheme that cookies are kept under, without the user.
    pub(super) fn as_http(&self) -> String {
        let scheme = if self.scheme == Scheme::Wss { "https" } else { "http" };
        format!("{scheme}://{}{}", self.host_header(), self.target)
    }
}

/// Never shows the password.
impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Url").field(&self.as_http()).finish()
    }
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Http => "http",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Ws | Self::Http => 80,
            Self::Wss => 443,
        }
    }
}

/// The value of `Authorization` for `user:password`, both percent-encoded (RFC 7617).
fn credentials(user: &str) -> String {
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let decoded = percent_decode_str(user).chain([b':']).chain(percent_decode_str(password));
    format!("Basic {}", STANDARD.encode(decoded.collect::<Vec<u8>>()))
}

/// What may not stand in a request line; everything beyond ASCII is encoded too.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ');

#[cfg(test)]
mod tests {
    use super::*;

    const WEBSOCKET: &[Scheme] = &[Scheme::Ws, Scheme::Wss];

    fn parse(text: &str) -> Result<Url, UrlError> {
        Url::parse(text, WEBSOCKET)
    }

    #[test]
    fn parts_of_a_url() {
        for (text, address, host_header, target) in [
            ("ws://a", "a:80", "a", "/"),
            ("WS://A.example:80?q=1", "A.example:80", "A.example", "/?q=1"),
            ("ws://a:8000/x/y?z=/?@:", "a:8000", "a:8000", "/x/y?z=/?@:"),
            ("wss://a", "a:443", "a", "/"),
            ("wss://a:80/", "a:80", "a:80", "/"),
            ("ws://[::1]:9/%C3%A4", "[::1]:9", "[::1]:9", "/%C3%A4"),
            ("ws://a/\u{e4} b", "a:80", "a", "/%C3%A4%20b"),
        ] {
            let url = parse(text).expect(text);
            assert_eq!(url.address(), address, "{text}");
            assert_eq!(url.host_header(), host_header, "{text}");
            assert_eq!(url.target, target, "{text}");
        }
        assert_eq!(parse("ws://[::1]").expect("a URL").bare_host(), "::1");
        assert_eq!(parse("wss://u:p@a:1/x").expect("a URL").as_http(), "https://a:1/x");
    }

    #[test]
    fn a_user_becomes_basic_credentials_and_is_not_shown() {
        for (user, plain) in [("u:p", "u:p"), ("u", "u:"), ("u%40x:p%3A%C3%A4@", "u@x:p:\u{e4}@")] {
            let url = parse(&format!("ws://{user}@a/")).expect(user);
            assert_eq!(url.credentials, Some(format!("Basic {}", STANDARD.encode(plain))));
            assert_eq!(format!("{url:?}"), "Url(\"http://a/\")");
        }
    }

    proptest::proptest! {
        /// What is taken is fit for a request line and for `Host`.
        #[test]
        fn any_text_is_a_url_or_none(text in "(ws|wss)://(.{0,9}@)?.{0,9}(:[0-9]{0,6})?([/?].{0,20})?") {
            if let Ok(url) = parse(&text) {
                proptest::prop_assert!(url.target.starts_with('/'));
                proptest::prop_assert!(url.target.bytes().all(|byte| byte.is_ascii_graphic()));
                proptest::prop_assert!(Authority::parse(&url.host_header()).is_some());
            }
        }
    }

    #[test]
    fn what_is_no_url() {
        for (text, error) in [
            ("", UrlError::SchemeUnknown),
            ("a:80", UrlError::SchemeUnknown),
            ("http://a", UrlError::SchemeUnknown),
            ("ws://a/#b", UrlError::FragmentPresent),
            ("ws://a#", UrlError::FragmentPresent),
            ("ws://", UrlError::HostMalformed),
            ("ws:///a", UrlError::HostMalformed),
            ("ws://a:b", UrlError::HostMalformed),
            ("ws://::1/", UrlError::HostMalformed),
            ("ws://\u{e4}", UrlError::HostMalformed),
            ("ws://a/\r\n", UrlError::ControlCharacter),
        ] {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
    }
}
