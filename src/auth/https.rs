//! Connections to addresses of the configuration, over http or https.

use std::io;

use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;

/// Connects to `address`, with HTTP/1.1.
///
/// # Errors
/// The address is https and this machine has no certificates to trust.
pub(super) fn connector(address: &Uri) -> io::Result<HttpsConnector<HttpConnector>> {
    let builder = HttpsConnectorBuilder::new();
    let builder = if address.scheme_str() == Some("https") {
        builder.with_native_roots()?
    } else {
        builder.with_tls_config(no_tls())
    };
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    // What is asked and sent comes in one piece and is waited for: nothing gathers behind it.
    http.set_nodelay(true);
    Ok(builder.https_or_http().enable_http1().wrap_connector(http))
}

/// Nothing is trusted: for addresses that are not https, which never use it.
fn no_tls() -> rustls::ClientConfig {
    rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
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
