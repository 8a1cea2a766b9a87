//! Who may use the admin port, decided from the request head alone.
//!
//! With an API key, the key decides for `/api/`. Without one the port serves programs on this
//! machine: the Host must be a loopback name or address (a name that was rebound to 127.0.0.1 by a
//! hostile DNS server is not), and a browser's Origin must be this port itself. The API takes
//! `application/json` only, which a browser sends to another origin only after asking, and we
//! never answer that question: no answer has a CORS header.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, header};
use subtle::ConstantTimeEq;

use super::answer::ApiError;
use crate::config::Secret;

/// Admits a request for anything but the API.
pub(super) fn check_page<B>(
    request: &axum::http::Request<B>,
    key: Option<&Secret>,
) -> Result<(), ApiError> {
    match key {
        Some(_) => Ok(()),
        None => check_local(request),
    }
}

/// Admits a request for the API, its body unread.
pub(super) fn check_api(request: &Request, key: Option<&Secret>) -> Result<(), ApiError> {
    match key {
        Some(key) => check_key(request.headers(), request.uri().query(), key)?,
        None => check_local(request)?,
    }
    // Other methods have no body to speak of and go on to their 405.
    if request.method() == Method::POST && !is_json(request.headers()) {
        return Err(ApiError::ContentTypeWrong);
    }
    Ok(())
}

/// `X-API-Key: K`, `Authorization: apikey K` or `?api_key=K`, compared in constant time for keys of
/// equal length.
fn check_key(headers: &HeaderMap, query: Option<&str>, key: &Secret) -> Result<(), ApiError> {
    let plain = headers.get(API_KEY).map(|value| value.as_bytes());
    let scheme = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, given) = value.as_bytes().split_at_checked(AUTHORIZATION_SCHEME.len())?;
        scheme.eq_ignore_ascii_case(AUTHORIZATION_SCHEME).then(|| given.trim_ascii())
    });
    let is_key = |given: &[u8]| bool::from(given.ct_eq(key.expose()));
    let pairs = query.unwrap_or_default().split('&');
    let in_query = pairs.filter_map(|pair| pair.strip_prefix(API_KEY_PARAMETER));
    let is_in_query = in_query.map(percent_encoding::percent_decode_str).any(|given| {
        let given: std::borrow::Cow<'_, [u8]> = given.into();
        is_key(&given)
    });
    let is_in_header = [plain, scheme].into_iter().flatten().any(is_key);
    if is_in_header || is_in_query { Ok(()) } else { Err(ApiError::KeyWrong) }
}

/// Requires a loopback Host and, from a browser, this port's own Origin.
fn check_local<B>(request: &axum::http::Request<B>) -> Result<(), ApiError> {
    let host = only(request.headers(), &header::HOST).ok_or(ApiError::HostForeign)?;
    // A request target in absolute form overrides the Host (RFC 9112 section 3.2.2).
    let target = request.uri().authority().map(Authority::as_str);
    if !is_loopback(host) || !target.is_none_or(is_loopback) {
        return Err(ApiError::HostForeign);
    }
    if !request.headers().contains_key(header::ORIGIN) {
        return Ok(());
    }
    let origin = only(request.headers(), &header::ORIGIN).ok_or(ApiError::OriginForeign)?;
    let (_, origin_host) = origin.split_once("://").ok_or(ApiError::OriginForeign)?;
    if origin_host.eq_ignore_ascii_case(host) { Ok(()) } else { Err(ApiError::OriginForeign) }
}

/// The header's text if it is there exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Whether `host`, with or without a port, is this machine by every reading. Any port is fine: it
/// may be forwarded.
fn is_loopback(host: &str) -> bool {
    if host.contains('@') {
        return false;
    }
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    match address.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}

/// Whether the body is JSON by its header; parameters such as a charset do not matter.
fn is_json(headers: &HeaderMap) -> bool {
    only(headers, &header::CONTENT_TYPE).is_some_and(|value| {
        let essence = value.split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case(super::answer::JSON)
    })
}

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const API_KEY_PARAMETER: &str = "api_key=";
const AUTHORIZATION_SCHEME: &[u8] = b"apikey ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts_and_others() {
        let loopback =
            ["localhost", "LocalHost:8001", "127.0.0.1", "127.9.9.9:1", "[::1]:8001", "[::1]"];
        for host in loopback {
            assert!(is_loopback(host), "{host}");
        }
        let others = [
            "",
            ":8001",
            "evil.example",
            "localhost.evil.example",
            "evil.example@localhost",
            "localhost@evil.example",
            "127.0.0.1.evil.example",
            "0.0.0.0:8001",
            "10.0.0.1",
            "[::2]:8001",
            "[::1",
            "2130706433",
            "127.1",
            "localhost/../x",
            "local host",
        ];
        for host in others {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
