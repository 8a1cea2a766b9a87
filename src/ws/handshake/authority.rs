//! `host[:port]`, as in `Host` headers and origins.

/// A host and the port written behind it (RFC 9110 section 7.2).
#[derive(Clone, Copy, Debug)]
pub struct Authority<'a> {
    /// As written: a name, an IPv4 address, or an IPv6 address in brackets.
    pub host: &'a str,
    /// The port, if one was written.
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads `text`; `None` if it is not a host with an optional port.
    ///
    /// Names hold letters, digits, `-._~%`: less than RFC 3986 allows, but commas, blanks and user
    /// information in a host are how one request is made to look different to two servers.
    pub fn parse(text: &'a str) -> Option<Self> {
        let host_len = if text.starts_with('[') {
            text.find(']')? + 1
        } else {
            text.find(':').unwrap_or(text.len())
        };
        let (host, port) = text.split_at(host_len);
        let host_fits = match host.strip_prefix('[') {
            Some(address) => {
                address.len() > 1 && address[..address.len() - 1].bytes().all(is_address_byte)
            }
            None => !host.is_empty() && host.bytes().all(is_name_byte),
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            None => return None,
            // RFC 3986 section 3.2.3 allows a colon without digits.
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            Some(_) => return None,
        };
        host_fits.then_some(Self { host, port })
    }

    /// Whether both name the same host and port, where `default_port` stands for one not written.
    pub fn is_same(self, other: Authority<'_>, default_port: u16) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }

    /// Whether the host is this machine by name or address: `localhost`, a name below it, a
    /// loopback address.
    pub fn is_loopback(self) -> bool {
        if let Some(address) = self.host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return address.parse().is_ok_and(|address: std::net::Ipv6Addr| address.is_loopback());
        }
        if let Ok(address) = self.host.parse::<std::net::Ipv4Addr>() {
            return address.is_loopback();
        }
        let name = self.host.strip_suffix('.').unwrap_or(self.host).to_ascii_lowercase();
        name == "localhost" || name.ends_with(".localhost")
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)
}

fn is_address_byte(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || byte == b':' || byte == b'.'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_and_without_port() {
        for (text, host, port) in [
            ("a", "a", None),
            ("app.example:8000", "app.example", Some(8000)),
            ("app.example:", "app.example", None),
            ("127.0.0.1:0", "127.0.0.1", Some(0)),
            ("[::1]", "[::1]", None),
            ("[::1]:65535", "[::1]", Some(65535)),
        ] {
            let authority = Authority::parse(text).expect(text);
            assert_eq!((authority.host, authority.port), (host, port));
        }
    }

    #[test]
    fn what_is_no_host() {
        for text in [
            "", ":80", "a b", "a,b", "u@a", "a/b", "a:65536", "a:+1", "a:1:2", "[::1", "[]",
            "[::1]80", "[g::]", "a?", "\u{e4}", "a\"",
        ] {
            assert!(Authority::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn loopback_by_name_and_address() {
        for text in
            ["localhost", "LocalHost:3000", "app.localhost", "localhost.", "127.9.9.9:1", "[::1]:2"]
        {
            assert!(Authority::parse(text).expect(text).is_loopback(), "{text}");
        }
        for text in ["localhost.example", "notlocalhost", "128.0.0.1", "[::2]", "127.0.0.1.example"]
        {
            assert!(!Authority::parse(text).expect(text).is_loopback(), "{text}");
        }
    }
}
