//! One try to deliver a batch: a signed request, and what is made of the answer.

use std::fmt::Write;
use std::io;
use std::time::Duration;

use aws_lc_rs::hmac;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri, header};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::auth::https::{self, chain};
use crate::auth::unix_now;
use crate::config;
use crate::limits;

/// Signs requests to the backend and sends them.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    address: Uri,
    key: hmac::Key,
    timeout: Duration,
}

/// Why a batch was not taken, as far as we know.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// No connection, or it broke.
    #[error("{}", chain(.0))]
    Connection(#[from] hyper_util::client::legacy::Error),
    /// No answer in time.
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// Another status than 2xx; redirects are not followed.
    #[error("it answered {0}, not 2xx")]
    Status(StatusCode),
}

impl Sender {
    /// To where `settings` say. Nothing is sent yet.
    ///
    /// # Errors
    /// The address is https and this machine has no certificates to trust.
    pub(super) fn new(settings: &config::Notices) -> io::Result<Self> {
        let connector = https::connector(&settings.url)?;
        let client =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector);
        let key = hmac::Key::new(hmac::HMAC_SHA256, settings.secret.expose());
        Ok(Self { client, address: settings.url.clone(), key, timeout: settings.timeout })
    }

    /// Sends a batch once. Dropping the future ends the request.
    ///
    /// # Errors
    /// Why it was not taken; it may have been all the same, but for a status.
    pub(super) async fn send(&self, body: Bytes) -> Result<(), SendError> {
        let timestamp = unix_now();
        let request = Request::post(self.address.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .header("x-tidegate-timestamp", timestamp)
            .header("x-tidegate-signature", signature(&self.key, timestamp, &body))
            .body(Full::new(body))
            .expect("the address was checked, and the headers are visible ASCII");
        let answered = tokio::time::timeout(self.timeout, async {
            let response = self.client.request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), limits::NOTICE_ANSWER_SIZE_MAX);
            Ok::<_, SendError>((status, body))
        });
        let (status, body) = answered.await.map_err(|_| SendError::TimedOut(self.timeout))??;
        if !status.is_success() {
            return Err(SendError::Status(status));
        }
        // Read so that the connection can be used again; what it says is of no interest.
        let _ = tokio::time::timeout(self.timeout, body.collect()).await;
        Ok(())
    }
}

/// What stands in the header `X-Tidegate-Signature`. The time is part of what is signed, so that
/// nobody can send an old request as a new one.
fn signature(key: &hmac::Key, timestamp: u64, body: &[u8]) -> String {
    let mut signed = hmac::Context::with_key(key);
    signed.update(timestamp.to_string().as_bytes());
    signed.update(b".");
    signed.update(body);
    let mut text = String::from("sha256=");
    for byte in signed.sign().as_ref() {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_others_compute() {
        // printf '1700000000.{"events":[]}' | openssl dgst -sha256 -hmac 0123456789abcdef
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef");
        let expect = "sha256=1f1c43683e76ee83b09613ab56fa5bdd3ce55f3ee41db00a92e22eea0376899e";
        assert_eq!(signature(&key, 1_700_000_000, br#"{"events":[]}"#), expect);
    }
}
