//! `[token]`: with what and by which rules tokens are checked.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use hyper::Uri;
use jsonwebtoken::{Algorithm, AlgorithmFamily};

use super::Secret;
use super::error::{ConfigError, Source, Warning};
use super::keys::{Key, Preset, key};
use super::public_key::{self, PublicKey};
use super::raw::RawConfig;
use super::token_fault::{TokenFault, TokenWarning};
use super::value::Value;
use crate::limits;

/// `[token]`: with what and by which rules tokens are checked.
#[derive(Clone, Debug)]
pub struct Token {
    /// The secret that signs with HMAC.
    pub hmac_secret: Option<Secret>,
    /// The secret before it, and until when it counts, in seconds since 1970.
    pub hmac_previous: Option<(Secret, u64)>,
    /// Keys of issuers that sign with another key than the one that checks.
    pub public_keys: PublicKeys,
    /// What tokens must be for.
    pub audience: Option<Box<str>>,
    /// Who must have issued them.
    pub issuer: Option<Box<str>>,
    /// How they may be signed; there is a key for each.
    pub algorithms: Vec<Algorithm>,
    /// By how many seconds clocks may differ.
    pub leeway_s: u64,
}

/// Where public keys come from.
#[derive(Clone, Debug)]
pub enum PublicKeys {
    /// There are none.
    None,
    /// One key that stays.
    File(PublicKey),
    /// The key set at this address, which is fetched.
    Jwks(Uri),
}

/// The rules of tokens; `None` if there is no key to check one with.
pub(super) fn resolve(
    typed: &RawConfig,
    warnings: &mut Vec<Warning>,
) -> Result<Option<Token>, ConfigError> {
    let mut reader = Reader { typed, warnings };
    let hmac_secret = reader.secret("token.hmac_secret", "token.hmac_secret_file")?;
    let hmac_previous = reader.previous()?;
    let public_keys = reader.public_keys()?;
    let audience = reader.text("token.audience")?;
    let issuer = reader.text("token.issuer")?;
    let leeway = typed.duration(
        "token.leeway",
        Duration::ZERO..=Duration::from_secs(limits::TOKEN_LEEWAY_MAX_S),
    )?;
    let listed = reader.algorithms()?;
    if hmac_secret.is_none() && hmac_previous.is_some() {
        return Err(reader.fault("token.hmac_previous", TokenFault::PreviousAlone));
    }
    if hmac_secret.is_none() && matches!(public_keys, PublicKeys::None) {
        for (key, is_set) in [
            ("token.audience", audience.is_some()),
            ("token.issuer", issuer.is_some()),
            ("token.algorithms", !listed.is_empty()),
        ] {
            if is_set {
                return Err(reader.fault(key, TokenFault::NoKey { key }));
            }
        }
        return Ok(None);
    }
    let algorithms = reader.match_keys(listed, hmac_secret.is_some(), &public_keys)?;
    let leeway_s = leeway.as_secs();
    let token =
        Token { hmac_secret, hmac_previous, public_keys, audience, issuer, algorithms, leeway_s };
    Ok(Some(token))
}

/// Reads texts and secrets.
pub(super) struct Reader<'a> {
    pub(super) typed: &'a RawConfig,
    pub(super) warnings: &'a mut Vec<Warning>,
}

impl Reader<'_> {
    /// A text; empty is none.
    pub(super) fn text(&self, key: &'static str) -> Result<Option<Box<str>>, ConfigError> {
        let text = self.typed.text(key)?;
        Ok((!text.is_empty()).then(|| text.into()))
    }

    /// A secret from its key or from the file its other key names.
    pub(super) fn secret(
        &mut self,
        key: &'static str,
        file_key: &'static str,
    ) -> Result<Option<Secret>, ConfigError> {
        let (secret, at) = match (self.text(key)?, self.text(file_key)?) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(self.fault(file_key, TokenFault::SecretTwice { key }));
            }
            (Some(secret), None) => {
                self.warn_of_place(key);
                (secret.into_string(), key)
            }
            (None, Some(path)) => (self.secret_file(file_key, Path::new(&*path))?, file_key),
        };
        if secret.len() > limits::TOKEN_SECRET_SIZE_MAX {
            return Err(self.fault(at, TokenFault::SecretTooLong));
        }
        if secret.len() < limits::TOKEN_SECRET_SIZE_GOOD {
            self.warn(TokenWarning::SecretShort { key, size: secret.len() });
        }
        Ok(Some(Secret::new(&secret)))
    }

    /// Says so if the place of a secret is open to others.
    fn warn_of_place(&mut self, key: &'static str) {
        match self.typed.at(key) {
            Source::Flag(_) => self.warn(TokenWarning::OnCommandLine { key }),
            Source::File { path, .. } => {
                let metadata = std::fs::metadata(&path);
                if metadata.is_ok_and(|metadata| metadata.permissions().mode() & OTHERS_READ != 0) {
                    self.warn(TokenWarning::FileReadable { path: path.to_path_buf() });
                }
            }
            Source::Default | Source::Dev | Source::Environment(_) => {}
        }
    }

    fn secret_file(&mut self, key: &'static str, path: &Path) -> Result<String, ConfigError> {
        let (text, mode) =
            read_file(path, limits::TOKEN_SECRET_SIZE_MAX as u64 + 3).map_err(|error| {
                self.fault(key, TokenFault::FileUnreadable { path: path.into(), error })
            })?;
        if mode & OTHERS_READ != 0 {
            self.warn(TokenWarning::FileReadable { path: path.into() });
        }
        let secret = text.trim();
        if secret.is_empty() {
            return Err(self.fault(key, TokenFault::SecretFileEmpty { path: path.into() }));
        }
        Ok(secret.to_owned())
    }

    fn previous(&mut self) -> Result<Option<(Secret, u64)>, ConfigError> {
        let secret = self.secret("token.hmac_previous", "token.hmac_previous_file")?;
        let key = "token.hmac_previous_until";
        let value = self.typed.value(key);
        let is_set =
            !matches!(value, Value::Text(text) | Value::Typed(text) if text.trim().is_empty());
        match (secret, is_set) {
            (None, false) => Ok(None),
            (Some(_), false) => Err(self.fault("token.hmac_previous", TokenFault::PreviousForEver)),
            (None, true) => Err(self.fault(key, TokenFault::UntilAlone)),
            (Some(secret), true) => {
                let until = value.as_moment();
                let until = until.ok_or_else(|| self.fault(key, TokenFault::UntilUnreadable))?;
                Ok(Some((secret, until)))
            }
        }
    }

    fn public_keys(&mut self) -> Result<PublicKeys, ConfigError> {
        let (file_key, url_key) = ("token.public_key_file", "token.jwks_url");
        match (self.text(file_key)?, self.text(url_key)?) {
            (None, None) => Ok(PublicKeys::None),
            (Some(_), Some(_)) => Err(self.fault(url_key, TokenFault::PublicKeysTwice)),
            (Some(path), None) => {
                let path = Path::new(&*path);
                let (text, _) =
                    read_file(path, limits::PUBLIC_KEY_FILE_SIZE_MAX).map_err(|error| {
                        self.fault(
                            file_key,
                            TokenFault::FileUnreadable { path: path.into(), error },
                        )
                    })?;
                let key = public_key::parse(&text).map_err(|fault| {
                    self.fault(file_key, TokenFault::PublicKey { path: path.into(), fault })
                })?;
                Ok(PublicKeys::File(key))
            }
            (None, Some(url)) => {
                let uri = address(&url);
                let uri = uri.ok_or_else(|| self.fault(url_key, TokenFault::JwksUrl))?;
                if uri.scheme_str() == Some("http") && !is_loopback(&uri) {
                    self.warn(TokenWarning::JwksUnencrypted);
                }
                Ok(PublicKeys::Jwks(uri))
            }
        }
    }

    fn algorithms(&self) -> Result<Vec<Algorithm>, ConfigError> {
        let key = "token.algorithms";
        let names = self.typed.list(key, super::Allowed::Text, |name| Some(name.to_owned()))?;
        let mut algorithms = Vec::new();
        for name in names {
            match ALGORITHM_NAMES.iter().position(|known| *known == name) {
                Some(index) if !algorithms.contains(&ALGORITHMS[index]) => {
                    algorithms.push(ALGORITHMS[index]);
                }
                Some(_) => {}
                None => return Err(self.fault(key, TokenFault::AlgorithmUnknown { name })),
            }
        }
        Ok(algorithms)
    }

    /// The algorithms to allow: those listed, each of which must have a key that checks it, and
    /// each key one of them; or, if none is listed, all that the keys check.
    fn match_keys(
        &self,
        listed: Vec<Algorithm>,
        has_secret: bool,
        public_keys: &PublicKeys,
    ) -> Result<Vec<Algorithm>, ConfigError> {
        let is_secret = |algorithm: &Algorithm| algorithm.family() == AlgorithmFamily::Hmac;
        let is_public = |algorithm: &Algorithm| match public_keys {
            PublicKeys::None => false,
            PublicKeys::File(key) => key.algorithms.contains(algorithm),
            PublicKeys::Jwks(_) => !is_secret(algorithm),
        };
        let has_key =
            |algorithm: &Algorithm| is_secret(algorithm) && has_secret || is_public(algorithm);
        if listed.is_empty() {
            return Ok(ALGORITHMS.into_iter().filter(has_key).collect());
        }
        if let Some(bare) = listed.iter().find(|algorithm| !has_key(algorithm)) {
            let index = ALGORITHMS.iter().position(|known| known == bare).expect("listed by name");
            let remedy = match (is_secret(bare), public_keys) {
                (true, _) => "set hmac_secret",
                (false, PublicKeys::File(_)) => "the key in public_key_file is of another kind",
                (false, _) => "set public_key_file or jwks_url",
            };
            let fault = TokenFault::AlgorithmWithoutKey { name: ALGORITHM_NAMES[index], remedy };
            return Err(self.fault("token.algorithms", fault));
        }
        if has_secret && !listed.iter().any(is_secret) {
            let key = "hmac_secret";
            return Err(self.fault("token.algorithms", TokenFault::KeyWithoutAlgorithm { key }));
        }
        let public_key = match public_keys {
            PublicKeys::None => return Ok(listed),
            PublicKeys::File(_) => "public_key_file",
            PublicKeys::Jwks(_) => "jwks_url",
        };
        if !listed.iter().any(is_public) {
            let fault = TokenFault::KeyWithoutAlgorithm { key: public_key };
            return Err(self.fault("token.algorithms", fault));
        }
        Ok(listed)
    }

    fn warn(&mut self, warning: TokenWarning) {
        self.warnings.push(Warning::Token(warning));
    }

    fn fault(&self, key: &'static str, fault: TokenFault) -> ConfigError {
        ConfigError::Token { at: self.typed.at(key), fault: Box::new(fault) }
    }
}

/// The text of a file, at most `size_max` bytes of it, and its permissions.
fn read_file(path: &Path, size_max: u64) -> io::Result<(String, u32)> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    let mut bytes = Vec::new();
    file.take(size_max).read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes);
    Ok((text.map_err(|_| io::Error::other("it is not UTF-8 text"))?, mode))
}

/// An address over http or https with a host.
pub(super) fn address(text: &str) -> Option<Uri> {
    text.parse::<Uri>().ok().filter(|uri| {
        uri.host().is_some_and(|host| !host.is_empty())
            && matches!(uri.scheme_str(), Some("http" | "https"))
    })
}

/// Whether an address is one of this machine.
pub(super) fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The permission of everyone else to read.
const OTHERS_READ: u32 = 0o004;

/// Every algorithm that may be allowed; `none` is not one.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::HS256,
    Algorithm::HS384,
    Algorithm::HS512,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Their names, in the same order.
pub(super) const ALGORITHM_NAMES: [&str; 9] =
    ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "EdDSA"];

/// Its keys.
pub(super) const KEYS: &[Key] = &[
    key(
        "token.hmac_secret",
        Preset::Text(""),
        "Secret of tokens signed with HMAC (HS256, HS384, HS512), 32 random bytes or more as text.\n\
         TIDEGATE_TOKEN_HMAC_SECRET keeps it out of this file. Empty: none.",
    ),
    key(
        "token.hmac_secret_file",
        Preset::Text(""),
        "File that holds that secret instead; readable by its owner alone.",
    ),
    key(
        "token.hmac_previous",
        Preset::Text(""),
        "The secret before it, while tokens signed with it are still around.",
    ),
    key("token.hmac_previous_file", Preset::Text(""), "File that holds that secret instead."),
    key(
        "token.hmac_previous_until",
        Preset::Text(""),
        "Until when the previous secret counts, such as \"2030-01-31T12:00:00Z\".",
    ),
    key(
        "token.public_key_file",
        Preset::Text(""),
        "PEM file with the public key of tokens signed with RSA (RS256, RS384, RS512), on a curve\n\
         (ES256, ES384) or with Ed25519 (EdDSA).",
    ),
    key(
        "token.jwks_url",
        Preset::Text(""),
        "Address of the issuer's key set instead, such as\n\
         \"https://issuer.example/.well-known/jwks.json\". Nothing a token names is ever fetched.",
    ),
    key(
        "token.audience",
        Preset::Text(""),
        "What the aud claim must be or hold. Empty: it is not looked at.",
    ),
    key(
        "token.issuer",
        Preset::Text(""),
        "What the iss claim must be. Empty: it is not looked at.",
    ),
    key(
        "token.algorithms",
        Preset::List(&[]),
        "Algorithms that are allowed, such as [\"RS256\"]. Empty: all that the keys above check.",
    ),
    key(
        "token.leeway",
        Preset::Seconds(0),
        "By how much the issuer's clock may differ from this machine's, at most 5 minutes.",
    ),
];
