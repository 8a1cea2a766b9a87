//! Making tokens, for trying things out: `tidegate token`.

use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey, Header, encode};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::config::Token;

/// What a token is to say.
#[derive(Debug, Serialize)]
pub struct Wish<'a> {
    /// Who it is for.
    #[serde(rename = "sub")]
    pub user: &'a str,
    /// When it ends, in seconds since 1970; `None`: never.
    #[serde(rename = "exp", skip_serializing_if = "Option::is_none")]
    pub expire_at: Option<u64>,
    /// When it was made, in seconds since 1970.
    #[serde(rename = "iat")]
    pub issued_at: u64,
    /// The channel of a subscription token; `None`: a connection token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<&'a str>,
    /// JSON that others see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<&'a RawValue>,
}

/// Why no token can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotSign {
    /// No `[token]` at all.
    #[error("there is no secret to sign with: set token.hmac_secret or TIDEGATE_TOKEN_HMAC_SECRET")]
    NoKey,
    /// The gateway knows public keys only.
    #[error(
        "only the issuer can sign: this gateway has its public keys, not the private one; for \
         tokens of your own set token.hmac_secret too"
    )]
    PublicKeysOnly,
}

/// Claims beside the wished ones, which the rules demand.
#[derive(Serialize)]
struct Signed<'a> {
    #[serde(flatten)]
    wish: &'a Wish<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
}

/// A token that this gateway accepts: signed with the secret of `settings`, for its audience and as
/// of its issuer.
///
/// # Errors
/// There is no secret.
pub fn sign(settings: Option<&Token>, wish: &Wish<'_>) -> Result<String, CannotSign> {
    let settings = settings.ok_or(CannotSign::NoKey)?;
    let secret = settings.hmac_secret.as_ref().ok_or(CannotSign::PublicKeysOnly)?;
    let is_hmac = |one: &&Algorithm| one.family() == AlgorithmFamily::Hmac;
    let algorithm = settings.algorithms.iter().find(is_hmac).expect("each key has an algorithm");
    let claims =
        Signed { wish, aud: settings.audience.as_deref(), iss: settings.issuer.as_deref() };
    let key = EncodingKey::from_secret(secret.expose());
    Ok(encode(&Header::new(*algorithm), &claims, &key).expect("HMAC signs any JSON"))
}
