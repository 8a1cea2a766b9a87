//! From which web pages connections are accepted (RFC 6455 section 10.2, RFC 6454).

use crate::ws::handshake::Origin;

/// The rule on `Origin` headers. A page of the host it connects to is always accepted; others when
/// they are listed; with `--dev` also pages of any loopback host and port, and `null`, which is
/// what a page opened from a file says.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// True if `*` was listed: any origin is accepted.
    any: bool,
    /// Origins as typed.
    listed: Box<[Box<str>]>,
    /// True with `--dev`: loopback origins and `null` are accepted.
    loopback: bool,
}

impl Origins {
    /// Accepts `listed`, such as `https://app.example` or `*` alone, besides the own host;
    /// `loopback` adds every origin on a loopback host and `null`.
    pub fn new(listed: &[String], loopback: bool) -> Self {
        Self {
            any: listed.iter().any(|origin| origin == "*"),
            listed: listed.iter().map(|origin| origin.as_str().into()).collect(),
            loopback,
        }
    }

    /// Whether a page of `origin` may connect to `host`, both as sent.
    pub fn allow(&self, origin: &[u8], host: &str) -> bool {
        if self.any {
            return true;
        }
        let Ok(origin) = str::from_utf8(origin) else {
            return false;
        };
        if self.listed.iter().any(|listed| is_same_origin(listed, origin)) {
            return true;
        }
        if origin == "null" {
            return self.loopback;
        }
        Origin::parse(origin).is_some_and(|origin| {
            origin.is_of_host(host)
                || (self.loopback && origin.is_web() && origin.authority.is_loopback())
        })
    }
}

/// Whether a listed origin and a sent one are the same.
fn is_same_origin(listed: &str, sent: &str) -> bool {
    match (Origin::parse(listed), Origin::parse(sent)) {
        (Some(listed), Some(sent)) => listed.is_same(sent),
        _ => listed == sent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(listed: &[&str], loopback: bool) -> Origins {
        let listed: Vec<String> = listed.iter().map(|s| s.to_string()).collect();
        Origins::new(&listed, loopback)
    }

    #[test]
    fn own_host_whatever_the_scheme() {
        let none = origins(&[], false);
        for (origin, host) in [
            ("http://app.example", "app.example"),
            ("https://app.example", "app.example"),
            ("https://app.example", "APP.example:443"),
            ("https://app.example:443", "app.example"),
            ("http://app.example:8000", "app.example:8000"),
            ("http://[::1]:8000", "[::1]:8000"),
        ] {
            assert!(none.allow(origin.as_bytes(), host), "{origin} at {host}");
        }
        for (origin, host) in [
            ("http://app.example", "app.example:8000"),
            ("http://app.example", "app.example:443"),
            ("http://app.example.evil", "app.example"),
            ("http://evil.app.example", "app.example"),
            ("http://app.example@evil", "app.example"),
            ("http://app.example/", "app.example"),
            ("app.example", "app.example"),
            ("chrome-extension://app.example", "app.example"),
            ("null", "null"),
            ("", ""),
            ("http://", ""),
            ("http://localhost:8000", "127.0.0.1:8000"),
        ] {
            assert!(!none.allow(origin.as_bytes(), host), "{origin} at {host}");
        }
        assert!(!none.allow(b"http://\xff", "\u{fffd}"));
    }

    #[test]
    fn listed_origins_and_no_others() {
        let listed = origins(
            &["https://app.example", "http://b.example:3000", "file://", "chrome-extension://abc"],
            false,
        );
        for origin in [
            "https://app.example",
            "HTTPS://APP.example:443",
            "http://b.example:3000",
            "chrome-extension://abc",
            "file://",
        ] {
            assert!(listed.allow(origin.as_bytes(), "h"), "{origin}");
        }
        for origin in [
            "http://app.example",
            "https://app.example:8443",
            "https://b.example:3000",
            "https://app.example.evil",
            "chrome-extension://abd",
            "null",
        ] {
            assert!(!listed.allow(origin.as_bytes(), "h"), "{origin}");
        }
        assert!(origins(&["null"], false).allow(b"null", "h"));
    }

    #[test]
    fn star_takes_any_and_dev_takes_loopback() {
        assert!(origins(&["*"], false).allow(b"http://\xff", "h"));
        assert!(!origins(&["*.example"], false).allow(b"http://a.example", "h"));
        let dev = origins(&[], true);
        for origin in ["null", "http://localhost:5173", "https://127.0.0.1", "http://[::1]:1"] {
            assert!(dev.allow(origin.as_bytes(), "h:8000"), "{origin}");
        }
        for origin in ["http://evil", "http://localhost.evil", "http://10.0.0.1", "ftp://localhost"]
        {
            assert!(!dev.allow(origin.as_bytes(), "h:8000"), "{origin}");
        }
    }
}
