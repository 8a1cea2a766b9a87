//! Tokens: signatures, times, audience and issuer, and the claims of those that hold.
//!
//! Pure: a token, the keys and the time come in, claims or a refusal come out. Nothing here knows
//! where keys come from, or fetches anything a token names: `jku`, `x5u` and `jwk` in a header are
//! not looked at.
//!
//! A token names its algorithm; the key decides whether that is one of its own. So a public key is
//! never taken for the secret of an HMAC.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation, dangerous};

use super::claims::{Claims, date};
use crate::config::{self, PublicKey};
use crate::limits;
use crate::protocol::claims::{ConnectClaims, SubscriptionClaims, TokenRefused};

/// Checks tokens by the operator's rules.
#[derive(Debug)]
pub struct Checker {
    rules: Rules,
    secrets: Vec<Secret>,
    public: Vec<IssuerKey>,
    /// One per allowed algorithm: what the signature is checked with; the claims are checked here.
    validations: Vec<(Algorithm, Validation)>,
}

/// A public key of an issuer.
#[derive(Debug)]
pub struct IssuerKey {
    /// Its name, if it has one; a key without one is tried for every token.
    pub id: Option<Box<str>>,
    /// The key and what it may check.
    pub key: PublicKey,
}

/// What every token is held to beside its signature.
#[derive(Debug)]
struct Rules {
    audience: Option<Box<str>>,
    issuer: Option<Box<str>>,
    leeway_s: u64,
}

/// A secret that signs tokens.
#[derive(Debug)]
struct Secret {
    key: DecodingKey,
    /// When it ends, in seconds since 1970.
    until: Option<u64>,
}

impl Checker {
    /// The rules and keys of `settings`; those of a key set follow by [`Checker::set_issuer_keys`].
    pub fn new(settings: &config::Token) -> Self {
        let current = settings.hmac_secret.as_ref().map(|secret| (secret, None));
        let previous =
            settings.hmac_previous.as_ref().map(|(secret, until)| (secret, Some(*until)));
        let secrets = current.into_iter().chain(previous).map(|(secret, until)| Secret {
            key: DecodingKey::from_secret(secret.expose()),
            until,
        });
        let public = match &settings.public_keys {
            config::PublicKeys::File(key) => vec![IssuerKey { id: None, key: key.clone() }],
            config::PublicKeys::None | config::PublicKeys::Jwks(_) => Vec::new(),
        };
        let validations = settings.algorithms.iter().map(|algorithm| {
            let mut validation = Validation::new(*algorithm);
            validation.required_spec_claims.clear();
            (validation.validate_exp, validation.validate_aud) = (false, false);
            (*algorithm, validation)
        });
        Self {
            rules: Rules {
                audience: settings.audience.clone(),
                issuer: settings.issuer.clone(),
                leeway_s: settings.leeway_s,
            },
            secrets: secrets.collect(),
            public,
            validations: validations.collect(),
        }
    }

    /// Replaces the issuer's keys.
    pub fn set_issuer_keys(&mut self, keys: Vec<IssuerKey>) {
        self.public = keys;
    }

    /// What a connection token says at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// Why it does not count. With [`TokenRefused::KeyUnknown`] all but the signature holds: newer
    /// keys of the issuer may tell.
    pub fn connect(&self, token: &str, now: u64) -> Result<ConnectClaims, TokenRefused> {
        self.check(token, now)?.into_connect(now)
    }

    /// What a subscription token says at `now`, in seconds since 1970. For whom and what it is, is
    /// for [`SubscriptionClaims::check`].
    ///
    /// # Errors
    /// As [`Checker::connect`].
    pub fn subscription(&self, token: &str, now: u64) -> Result<SubscriptionClaims, TokenRefused> {
        self.check(token, now)?.into_subscription(now)
    }

    fn check(&self, token: &str, now: u64) -> Result<Claims, TokenRefused> {
        if token.len() > limits::TOKEN_SIZE_MAX {
            return Err(TokenRefused::TooLong);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| refused(error.kind()))?;
        let validation = self.validations.iter().find(|(algorithm, _)| *algorithm == header.alg);
        let (_, validation) = validation.ok_or(TokenRefused::AlgorithmNotAllowed)?;
        if header.crit.is_some() {
            return Err(TokenRefused::ExtensionUnknown);
        }
        let mut why = TokenRefused::KeyUnknown;
        for key in self.keys(header.alg, header.kid.as_deref(), now) {
            match jsonwebtoken::decode::<Claims>(token, key, validation) {
                Ok(data) => {
                    self.rules.check(&data.claims, now)?;
                    return Ok(data.claims);
                }
                Err(error) => why = refused(error.kind()),
            }
        }
        if why == TokenRefused::KeyUnknown {
            // Whoever made it: if it would not count even with a good signature, say so, and let
            // nobody ask for keys because of it.
            let claims = dangerous::insecure_decode_claims::<Claims>(token);
            self.rules.check(&claims.map_err(|error| refused(error.kind()))?, now)?;
        }
        Err(why)
    }

    /// The keys that may have signed a token of this header, a bounded number.
    fn keys<'a>(
        &'a self,
        algorithm: Algorithm,
        id: Option<&'a str>,
        now: u64,
    ) -> impl Iterator<Item = &'a DecodingKey> {
        let is_hmac = algorithm.family() == AlgorithmFamily::Hmac;
        let secrets = self
            .secrets
            .iter()
            .filter(move |secret| is_hmac && secret.until.is_none_or(|until| now < until));
        let public = self.public.iter().filter(move |one| {
            let is_named = match (&one.id, id) {
                (Some(its), Some(id)) => **its == *id,
                (None, _) | (_, None) => true,
            };
            is_named && one.key.algorithms.contains(&algorithm)
        });
        secrets
            .map(|secret| &secret.key)
            .chain(public.map(|one| &one.key.key))
            .take(limits::TOKEN_KEYS_TRIED_MAX)
    }
}

impl Rules {
    /// Times last: a client is told to get a new token only if that has a chance to be good.
    fn check(&self, claims: &Claims, now: u64) -> Result<(), TokenRefused> {
        let audience = claims.audience()?;
        let issuer = claims.text("iss", &claims.iss)?;
        if self.issuer.is_some() && self.issuer.as_deref() != issuer.as_deref() {
            return Err(TokenRefused::IssuerWrong);
        }
        if let Some(wanted) = &self.audience
            && !audience.iter().any(|one| **one == **wanted)
        {
            return Err(TokenRefused::AudienceWrong);
        }
        // RFC 7519 section 4.1.4: on or after `exp` it must not be accepted.
        if date("exp", &claims.exp)?.is_some_and(|exp| now >= exp.saturating_add(self.leeway_s)) {
            return Err(TokenRefused::Expired);
        }
        if date("nbf", &claims.nbf)?.is_some_and(|nbf| now.saturating_add(self.leeway_s) < nbf) {
            return Err(TokenRefused::NotYetValid);
        }
        Ok(())
    }
}

/// What the library says about a token.
fn refused(kind: &ErrorKind) -> TokenRefused {
    match kind {
        ErrorKind::InvalidSignature => TokenRefused::SignatureWrong,
        // A key that is of no use with the algorithm: none of ours signed it.
        ErrorKind::InvalidAlgorithm
        | ErrorKind::InvalidKeyFormat
        | ErrorKind::InvalidEcdsaKey
        | ErrorKind::InvalidEddsaKey
        | ErrorKind::InvalidRsaKey(_)
        | ErrorKind::Provider(_) => TokenRefused::SignatureWrong,
        ErrorKind::Json(error) if error.is_data() && is_about_algorithm(error) => {
            TokenRefused::AlgorithmNotAllowed
        }
        _ => TokenRefused::Malformed,
    }
}

/// Whether a header was not read because it names no algorithm of the library, such as `none`.
fn is_about_algorithm(error: &serde_json::Error) -> bool {
    error.to_string().starts_with("unknown variant")
}

#[cfg(test)]
mod tests;
