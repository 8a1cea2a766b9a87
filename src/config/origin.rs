//! Origins of web pages as an operator lists them, brought to the form browsers send
//! (RFC 6454 section 6.2).

use std::net::Ipv6Addr;

/// Stands for every origin.
pub(super) const ANY: &str = "*";

/// `text` as browsers send it: lower case, without a default port. `None` if it is neither an
/// origin nor [`ANY`]; a path, a user name or a `*` in a host is no origin.
pub(super) fn normal_form(text: &str) -> Option<String> {
    if text == ANY {
        return Some(text.to_owned());
    }
    let lower = text.to_ascii_lowercase();
    let (scheme, authority) = lower.split_once("://")?;
    let scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.bytes().all(scheme_byte) {
        return None;
    }
    let (host, port) = split_port(authority)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => format!("[{}]", rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?),
        None => name(host)?.to_owned(),
    };
    match (scheme, port) {
        (_, None) | ("http", Some(80)) | ("https", Some(443)) => Some(format!("{scheme}://{host}")),
        (_, Some(port)) => Some(format!("{scheme}://{host}:{port}")),
    }
}

/// Host and port of `authority`; `None` if there is a port that is none.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let digits = port.bytes().all(|byte| byte.is_ascii_digit());
            let port: u16 = port.parse().ok().filter(|port| digits && *port != 0)?;
            Some((host, Some(port)))
        }
        _ => Some((authority, None)),
    }
}

/// A host name or IPv4 address. Browsers send others in ASCII (punycode) only.
fn name(host: &str) -> Option<&str> {
    let host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (!host.is_empty() && host.bytes().all(host_byte)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_take_the_form_browsers_send() {
        let cases = [
            ("https://app.example", "https://app.example"),
            ("HTTPS://App.Example:443", "https://app.example"),
            ("http://app.example:80", "http://app.example"),
            ("http://app.example:443", "http://app.example:443"),
            ("https://app.example:8443", "https://app.example:8443"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("http://[0:0:0:0:0:0:0:1]", "http://[::1]"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("*", "*"),
        ];
        for (typed, expected) in cases {
            assert_eq!(normal_form(typed).as_deref(), Some(expected), "{typed}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        let cases = [
            "",
            "null",
            "app.example",
            "https://",
            "https://app.example/",
            "https://app.example/path",
            "https://*.example",
            "https://user@app.example",
            "https://app.example:0",
            "https://app.example:65536",
            "https://app.example:+1",
            "https://app.example:",
            "https://bücher.example",
            "https://app example",
            "://app.example",
            "1a://app.example",
            "http://[::1",
            "http://[app]",
            "http://::1",
        ];
        for typed in cases {
            assert_eq!(normal_form(typed), None, "{typed}");
        }
    }
}
