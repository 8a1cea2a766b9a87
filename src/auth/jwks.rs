//! An issuer's key set: fetching it, and what of it is of use.
//!
//! Only the configured address is ever asked; redirects are not followed. A fetch is bounded in
//! time and bytes.

use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri, header};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::https::{self, chain};
use super::token::IssuerKey;
use crate::config::PublicKey;
use crate::limits;

/// Fetches one key set.
#[derive(Clone, Debug)]
pub(super) struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    address: Uri,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// No connection, or it broke.
    #[error("{}", chain(.0))]
    Connection(#[from] hyper_util::client::legacy::Error),
    /// The answer broke off.
    #[error("the answer broke off: {0}")]
    Broken(Box<dyn std::error::Error + Send + Sync>),
    /// It took longer than [`limits::JWKS_TIMEOUT_S`].
    #[error("no answer within {} s", limits::JWKS_TIMEOUT_S)]
    TimedOut,
    /// Another status than 200; redirects are not followed.
    #[error("it answered {0}, not 200")]
    Status(StatusCode),
    /// Longer than [`limits::JWKS_SIZE_MAX`].
    #[error("the answer is longer than {} bytes", limits::JWKS_SIZE_MAX)]
    TooLong,
    /// No key set (RFC 7517 section 5).
    #[error("the answer is no key set: {0}")]
    Malformed(serde_json::Error),
    /// A set without a key that could check a token.
    #[error("the key set holds no public key that is of use here")]
    Empty,
}

impl Fetcher {
    /// For the set at `address`. Nothing is asked yet.
    ///
    /// # Errors
    /// The address is https and this machine has no certificates to trust.
    pub(super) fn new(address: Uri) -> io::Result<Self> {
        let client = Client::builder(TokioExecutor::new()).build(https::connector(&address)?);
        Ok(Self { client, address })
    }

    /// The keys, now. Dropping the future ends the fetch.
    ///
    /// # Errors
    /// Why there are none.
    pub(super) async fn fetch(&self) -> Result<Vec<IssuerKey>, FetchError> {
        let time = Duration::from_secs(limits::JWKS_TIMEOUT_S);
        let bytes = tokio::time::timeout(time, self.get()).await;
        parse(&bytes.map_err(|_| FetchError::TimedOut)??)
    }

    async fn get(&self) -> Result<Bytes, FetchError> {
        let request = Request::get(self.address.clone())
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .header(header::USER_AGENT, concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .expect("the address was checked, and the headers are constant");
        let response = self.client.request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), limits::JWKS_SIZE_MAX).collect().await;
        match body {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(FetchError::TooLong),
            Err(error) => Err(FetchError::Broken(error)),
        }
    }
}

/// The keys of a set that can check tokens. What is not understood is passed over, as RFC 7517
/// section 5 wants it; so are keys for encryption, and secrets, which have no place in a set that
/// others read.
fn parse(bytes: &[u8]) -> Result<Vec<IssuerKey>, FetchError> {
    #[derive(Deserialize)]
    struct Set<'a> {
        #[serde(borrow)]
        keys: Vec<&'a RawValue>,
    }
    let set: Set<'_> = serde_json::from_slice(bytes).map_err(FetchError::Malformed)?;
    let keys = set.keys.iter().filter_map(|raw| {
        let jwk: Jwk = serde_json::from_str(raw.get()).ok()?;
        let for_signatures = !matches!(
            jwk.common.public_key_use,
            Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_))
        );
        if !for_signatures || matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
            return None;
        }
        let mut key = PublicKey::from_jwk(&jwk)?;
        if let Some(only) = jwk.common.key_algorithm {
            // A key that names its algorithm is for no other.
            let only = jsonwebtoken::Algorithm::try_from(only).ok()?;
            let index = key.algorithms.iter().position(|one| *one == only)?;
            key.algorithms = &key.algorithms[index..=index];
        }
        Some(IssuerKey { id: jwk.common.key_id.map(Into::into), key })
    });
    let keys: Vec<_> = keys.take(limits::JWKS_KEYS_MAX).collect();
    if keys.is_empty() { Err(FetchError::Empty) } else { Ok(keys) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_no_use_are_passed_over() {
        let x = "11qYAPvh6R8wCcTuRjTFvmSL2B2d6k2k2sFr3rr3nxY";
        let ed = |more: &str| format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"{more}}}"#);
        let set = format!(
            r#"{{"keys":[{},{},{},{},7,{{"kty":"new"}},{{"kty":"oct","k":"c2VjcmV0","kid":"s"}}]}}"#,
            ed(r#","kid":"a""#),
            ed(r#","kid":"b","use":"enc""#),
            ed(r#","kid":"c","alg":"RS256""#),
            ed(r#","kid":"d","use":"sig","alg":"EdDSA""#),
        );
        let keys = parse(set.as_bytes()).expect("two keys");
        let ids: Vec<_> = keys.iter().map(|key| key.id.as_deref()).collect();
        assert_eq!(ids, [Some("a"), Some("d")]);
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for (text, empty) in [("", false), ("[]", false), ("{}", false), (r#"{"keys":[]}"#, true)] {
            let error = parse(text.as_bytes()).expect_err(text);
            assert_eq!(matches!(error, FetchError::Empty), empty, "{text}");
            assert_eq!(matches!(error, FetchError::Malformed(_)), !empty, "{text}");
        }
    }

    #[test]
    fn a_large_set_is_cut() {
        let key =
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAPvh6R8wCcTuRjTFvmSL2B2d6k2k2sFr3rr3nxY"}"#;
        let set = format!(r#"{{"keys":[{}]}}"#, vec![key; 100].join(","));
        assert_eq!(parse(set.as_bytes()).expect("keys").len(), limits::JWKS_KEYS_MAX);
    }
}
