//! Where a client's cookies are kept.

use super::Response;

/// Cookies for and from handshakes (RFC 6265). Which cookie belongs to which server, and how long,
/// is the jar's business; the crate `cookie_store`, for instance, knows the rules.
///
/// URLs are given as `http://` (for `ws://`) or `https://`, without the user.
pub trait CookieJar: Send + Sync {
    /// The value of the `Cookie` header for a request of `url`, such as `a=1; b=2`; `None`: there
    /// is no cookie for it.
    fn cookies(&self, url: &str) -> Option<String>;

    /// Takes the values of the `Set-Cookie` headers of an answer to a request of `url`, at least
    /// one. Called for refusals too, and before [`super::Dialer::dial`] returns.
    fn set_cookies(&self, url: &str, values: &mut dyn Iterator<Item = &str>);
}

/// Gives the cookies of `response` to `jar`. A value that is not UTF-8 is none (RFC 6265 section
/// 4.1.1).
pub(super) fn keep(jar: &dyn CookieJar, url: &str, response: &Response) {
    let values = response.values("set-cookie").filter_map(|value| str::from_utf8(value).ok());
    let mut values = values.peekable();
    if values.peek().is_some() {
        jar.set_cookies(url, &mut values);
    }
}
