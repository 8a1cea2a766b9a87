//! A public key in a PEM file: which kind it is, and which algorithms it checks.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey};

use super::token_fault::PublicKeyFault;

/// A public key and the algorithms it checks.
#[derive(Clone, Debug)]
pub struct PublicKey {
    /// The key.
    pub key: DecodingKey,
    /// What it checks, all of one kind.
    pub algorithms: &'static [Algorithm],
}

impl PublicKey {
    /// The key of a set's entry; `None` if its kind is not known here. Secrets are none: whoever
    /// reads the set could sign with them.
    pub fn from_jwk(jwk: &Jwk) -> Option<Self> {
        let algorithms: &[Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512],
            AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
                EllipticCurve::P256 => &[Algorithm::ES256],
                EllipticCurve::P384 => &[Algorithm::ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(pair) => match pair.curve {
                EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
                _ => return None,
            },
            _ => return None,
        };
        Some(Self { key: DecodingKey::from_jwk(jwk).ok()?, algorithms })
    }
}

/// Reads the one public key of a PEM file.
pub(super) fn parse(text: &str) -> Result<PublicKey, PublicKeyFault> {
    if text.contains("PRIVATE KEY-----") {
        return Err(PublicKeyFault::Private);
    }
    match text.matches("-----BEGIN ").count() {
        0 => return Err(PublicKeyFault::NotPem),
        1 => {}
        _ => return Err(PublicKeyFault::Several),
    }
    let pem = text.as_bytes();
    let forms = [DecodingKey::from_rsa_pem, DecodingKey::from_ec_pem, DecodingKey::from_ed_pem];
    // A reader takes what is of its own kind; whether the numbers inside are good shows when they
    // are taken apart.
    let keys = forms.into_iter().filter_map(|read| read(pem).ok());
    let jwk = |key| Jwk::from_decoding_key(&key, None).ok();
    keys.filter_map(jwk).find_map(|jwk| PublicKey::from_jwk(&jwk)).ok_or(PublicKeyFault::Kind)
}
