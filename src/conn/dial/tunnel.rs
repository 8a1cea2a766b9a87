//! A tunnel through an HTTP proxy (RFC 9110 section 9.3.6).

use super::answer::{read_body, read_response, send};
use super::url::Url;
use super::{DialError, Response};
use crate::conn::exchange::Exchange;

/// Has the proxy at the other end of `exchange` connect to `server`. Everything sent afterwards
/// goes there.
///
/// # Errors
/// The proxy's refusal or fault, or time.
pub(super) async fn tunnel(
    exchange: &mut Exchange,
    server: &Url,
    proxy: &Url,
) -> Result<(), DialError> {
    let address = server.address();
    let mut request = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n");
    if let Some(credentials) = &proxy.credentials {
        request.extend(["Proxy-Authorization: ", credentials, "\r\n"]);
    }
    request.push_str("\r\n");
    send(exchange, request.into_bytes()).await?;
    let (mut response, received, head_len) =
        read_response(exchange).await.map_err(|error| match error {
            DialError::BadHandshake { .. } => DialError::ProxyMalformed,
            error => error,
        })?;
    // The server is silent until it is asked, so nothing can follow the proxy's answer yet.
    match response {
        Response { status: 200..=299, .. } if received.len() == head_len => Ok(()),
        Response { status: 200..=299, .. } => Err(DialError::ProxyMalformed),
        _ => {
            read_body(exchange, &mut response, received, head_len).await;
            Err(DialError::ProxyRefused { response: Box::new(response) })
        }
    }
}
