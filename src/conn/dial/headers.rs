//! The headers of a request that are not the handshake's own.

use super::DialError;
use super::url::Url;
use crate::ws::handshake::is_own_header;

/// What the caller gave, and what the URL and the cookie jar add.
pub(super) struct Headers<'a> {
    pub(super) host: &'a str,
    pub(super) rest: Vec<(&'a str, &'a str)>,
}

impl<'a> Headers<'a> {
    /// What is in `given` comes first; `host`, the user of `url` and `cookie` are for what it
    /// lacks.
    ///
    /// # Errors
    /// `HeaderReserved`.
    pub(super) fn new(
        host: &'a str,
        url: &'a Url,
        cookie: Option<&'a str>,
        given: &[(&'a str, &'a str)],
    ) -> Result<Self, DialError> {
        let mut headers = Self { host, rest: Vec::with_capacity(given.len() + 2) };
        for (name, value) in given {
            if is_own_header(name) {
                return Err(DialError::HeaderReserved { name: (*name).to_owned() });
            }
            if name.eq_ignore_ascii_case("host") {
                headers.host = value;
            } else {
                headers.rest.push((name, value));
            }
        }
        headers.add_missing("Authorization", url.credentials.as_deref());
        headers.add_missing("Cookie", cookie);
        Ok(headers)
    }

    fn add_missing(&mut self, name: &'a str, value: Option<&'a str>) {
        let given = self.rest.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        if let Some(value) = value.filter(|_| !given) {
            self.rest.push((name, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::url::Scheme;
    use super::*;

    fn headers(given: &[(&str, &str)]) -> Result<Vec<String>, DialError> {
        let url = Url::parse("ws://u:p@a", &[Scheme::Ws]).expect("a URL");
        let headers = Headers::new("a", &url, Some("c=1"), given)?;
        let rest = headers.rest.iter().map(|(name, value)| format!("{name}: {value}"));
        Ok([format!("Host: {}", headers.host)].into_iter().chain(rest).collect())
    }

    #[test]
    fn what_is_given_comes_before_what_is_added() {
        let added = ["Host: a", "X: 1", "X: 2", "Authorization: Basic dTpw", "Cookie: c=1"];
        assert_eq!(headers(&[("X", "1"), ("X", "2")]).expect("fit"), added);
        let given = [("HOST", "b"), ("cookie", "d=2"), ("authorization", "Bearer t")];
        assert_eq!(
            headers(&given).expect("fit"),
            ["Host: b", "cookie: d=2", "authorization: Bearer t"]
        );
    }

    #[test]
    fn what_the_handshake_writes_is_refused() {
        for name in ["upgrade", "Connection", "sec-websocket-key", "Sec-WebSocket-Protocol"] {
            let error = headers(&[(name, "x")]).expect_err(name);
            assert!(matches!(&error, DialError::HeaderReserved { name: own } if own == name));
        }
    }
}
