//! Which HTTP proxy a connection goes through, if any.

use std::net::IpAddr;

use ipnet::IpNet;

use super::url::{Scheme, Url, UrlError};
use crate::ws::handshake::Authority;

/// Through which proxy a [`super::Dialer`] connects. It is asked for a tunnel with `CONNECT` (RFC
/// 9110 section 9.3.6), so it neither sees nor changes the WebSocket's bytes.
#[derive(Clone, Debug)]
pub struct Proxy(Choice);

#[derive(Clone, Debug)]
enum Choice {
    Direct,
    Fixed(Url),
    Environment(Environment),
}

impl Proxy {
    /// None: servers are connected to directly.
    pub fn direct() -> Self {
        Self(Choice::Direct)
    }

    /// The proxy at `url`, such as `http://user:password@proxy.example:3128`, for every server.
    ///
    /// # Errors
    /// It is no URL, or not one of an `http://` proxy.
    pub fn http(url: &str) -> Result<Self, UrlError> {
        Url::parse(url, &[Scheme::Http]).map(Choice::Fixed).map(Self)
    }

    /// What the environment says now, in the way common to command-line programs: `HTTP_PROXY` for
    /// `ws://`, `HTTPS_PROXY` for `wss://`, and `NO_PROXY` for what is connected to directly; names
    /// in lower case count too, names in upper case first. `NO_PROXY` is a list with commas: an
    /// address, a network such as `10.0.0.0/8`, a name with the names below it, a name that begins
    /// with a dot for those below it only, each with an optional port, or `*` for everything. A
    /// server on this machine is never reached through a proxy. In a CGI program, where a client
    /// chooses `HTTP_PROXY` by sending a header `Proxy`, that one is not looked at.
    pub fn from_environment() -> Self {
        let read = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let is_cgi = std::env::var_os("REQUEST_METHOD").is_some();
        let http = if is_cgi { None } else { read("HTTP_PROXY") };
        Self(Choice::Environment(Environment {
            http: http.or_else(|| read("http_proxy")),
            https: read("HTTPS_PROXY").or_else(|| read("https_proxy")),
            no_proxy: read("NO_PROXY").or_else(|| read("no_proxy")).unwrap_or_default(),
        }))
    }

    /// The proxy for `server`; `None`: directly.
    pub(super) fn of(&self, server: &Url) -> Result<Option<Url>, UrlError> {
        match &self.0 {
            Choice::Direct => Ok(None),
            Choice::Fixed(url) => Ok(Some(url.clone())),
            Choice::Environment(environment) => environment.proxy_of(server),
        }
    }
}

/// The variables, as set.
#[derive(Clone, Debug, Default)]
struct Environment {
    http: Option<String>,
    https: Option<String>,
    no_proxy: String,
}

impl Environment {
    fn proxy_of(&self, server: &Url) -> Result<Option<Url>, UrlError> {
        let proxy = if server.scheme == Scheme::Wss { &self.https } else { &self.http };
        let Some(proxy) = proxy.as_deref().filter(|_| !self.is_direct(server)) else {
            return Ok(None);
        };
        // People leave the scheme out, and other programs let them.
        let scheme = if proxy.contains("://") { "" } else { "http://" };
        Url::parse(&format!("{scheme}{proxy}"), &[Scheme::Http]).map(Some)
    }

    fn is_direct(&self, server: &Url) -> bool {
        let name = server.bare_host().trim_end_matches('.').to_ascii_lowercase();
        let address = name.parse::<IpAddr>().ok();
        Authority::parse(&server.host).is_some_and(Authority::is_loopback)
            || self.no_proxy.split(',').any(|entry| {
                covers(&entry.trim().to_ascii_lowercase(), &name, address, server.port)
            })
    }
}

/// Whether an entry of `NO_PROXY` means the server called `name`, or at `address` if that is what
/// the name is.
fn covers(entry: &str, name: &str, address: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Ok(net) = entry.parse::<IpNet>() {
        return address.is_some_and(|address| net.contains(&address));
    }
    let (host, entry_port) = match entry.rsplit_once(':') {
        // More colons are those of an IPv6 address without brackets.
        Some((host, digits)) if !host.contains(':') || host.ends_with(']') => {
            (host, Some(digits.parse::<u16>()))
        }
        _ => (entry, None),
    };
    if entry_port.is_some_and(|entry_port| entry_port != Ok(port)) {
        return false;
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(host) = host.parse::<IpAddr>() {
        return address == Some(host);
    }
    let suffix = host.strip_prefix("*.").or(host.strip_prefix('.'));
    let below = |suffix: &str| {
        name.strip_suffix(suffix).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
    };
    match suffix {
        Some(suffix) => !suffix.is_empty() && below(suffix),
        None => !host.is_empty() && (name == host || below(host)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> Url {
        Url::parse(text, &[Scheme::Ws, Scheme::Wss]).expect(text)
    }

    fn proxied(no_proxy: &str, text: &str) -> bool {
        let environment = Environment {
            http: Some("proxy:3128".to_owned()),
            https: None,
            no_proxy: no_proxy.to_owned(),
        };
        environment.proxy_of(&server(text)).expect("a URL").is_some()
    }

    #[test]
    fn each_scheme_has_its_variable() {
        let environment = Environment {
            http: Some("http://u:p@plain.example".to_owned()),
            https: Some("secret.example:1".to_owned()),
            ..Environment::default()
        };
        let address =
            |text| environment.proxy_of(&server(text)).expect("a URL").map(|u| u.address());
        assert_eq!(address("ws://a"), Some("plain.example:80".to_owned()));
        assert_eq!(address("wss://a"), Some("secret.example:1".to_owned()));
        let socks = Environment { http: Some("socks5://a".into()), ..Environment::default() };
        assert_eq!(socks.proxy_of(&server("ws://a")), Err(UrlError::SchemeUnknown));
        assert_eq!(Environment::default().proxy_of(&server("ws://a")), Ok(None));
    }

    #[test]
    fn this_machine_is_never_proxied() {
        for text in ["ws://localhost:1", "ws://LOCALHOST.", "ws://127.0.0.2", "ws://[::1]:80"] {
            assert!(!proxied("", text), "{text}");
        }
        assert!(proxied("", "ws://a") && proxied("", "ws://10.0.0.1"));
    }

    #[test]
    fn what_no_proxy_covers() {
        for (no_proxy, text) in [
            ("*", "ws://a"),
            ("b, a.example ,c", "ws://A.example:9"),
            ("example", "ws://a.example"),
            (".example", "ws://a.example"),
            ("*.example", "ws://a.example"),
            ("a:9", "ws://a:9"),
            ("10.0.0.0/8", "ws://10.1.2.3"),
            ("10.1.2.3", "ws://10.1.2.3:9"),
            ("10.1.2.3:9", "ws://10.1.2.3:9"),
            ("2001:db8::1", "ws://[2001:db8::1]"),
            ("[2001:db8::1]:9", "ws://[2001:db8::1]:9"),
            ("2001:db8::/32", "ws://[2001:db8::1]"),
        ] {
            assert!(!proxied(no_proxy, text), "{no_proxy} {text}");
        }
        for (no_proxy, text) in [
            ("", "ws://a"),
            (",", "ws://a"),
            (".", "ws://a"),
            ("ample", "ws://a.example"),
            (".a.example", "ws://a.example"),
            ("a:9", "ws://a:8"),
            ("a:x", "ws://a"),
            ("10.0.0.0/8", "ws://11.0.0.1"),
            ("10.0.0.0/8", "ws://ten.example"),
            ("10.1.2.3:9", "ws://10.1.2.3:8"),
        ] {
            assert!(proxied(no_proxy, text), "{no_proxy} {text}");
        }
    }
}
