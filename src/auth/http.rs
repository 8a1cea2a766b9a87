//! The HTTP client of this thread, for issuers and backends. Redirects are not followed.

use std::io;
use std::time::Duration;

use hyper::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// A client that sends bodies of type `B`.
pub(super) type Client<B> = legacy::Client<HttpsConnector<HttpConnector>, B>;

/// What every request says to be from.
pub(super) const USER_AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));

/// A client that keeps connections which idle no longer than `idle_max`. Without `use_tls` nothing
/// is trusted and https cannot be asked.
///
/// # Errors
/// This machine has no certificates to trust.
pub(super) fn client<B>(use_tls: bool, idle_max: Duration) -> io::Result<Client<B>>
where
    B: Body + Send,
    B::Data: Send,
{
    let builder = HttpsConnectorBuilder::new();
    let builder =
        if use_tls { builder.with_native_roots()? } else { builder.with_tls_config(no_tls()) };
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    let connector = builder.https_or_http().enable_http1().wrap_connector(http);
    Ok(legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(idle_max)
        .build(connector))
}

/// An error with its causes, which say what really happened.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

fn no_tls() -> rustls::ClientConfig {
    rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}
