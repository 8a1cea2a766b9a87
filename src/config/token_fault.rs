//! What can be wrong with `[token]`, and what is worth a warning there. Never holds a secret.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::limits;

/// Why `[token]` cannot be used. Texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum TokenFault {
    /// A secret longer than [`limits::TOKEN_SECRET_SIZE_MAX`].
    #[error("the secret is longer than {} bytes", limits::TOKEN_SECRET_SIZE_MAX)]
    SecretTooLong,
    /// A file with a secret and nothing in it.
    #[error("the file {} is empty; write the secret into it", path.display())]
    SecretFileEmpty {
        /// The file, as it was named.
        path: PathBuf,
    },
    /// A file that cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    FileUnreadable {
        /// The file, as it was named.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A secret in both of its places.
    #[error("{key} and {key}_file are both set; keep one of them")]
    SecretTwice {
        /// The key.
        key: &'static str,
    },
    /// An earlier secret, and none now.
    #[error("hmac_previous is set without hmac_secret; the secret now in use is hmac_secret")]
    PreviousAlone,
    /// An earlier secret without its end.
    #[error(
        "hmac_previous is set without hmac_previous_until; say until when its tokens count, such \
         as hmac_previous_until = \"2030-01-31T12:00:00Z\""
    )]
    PreviousForEver,
    /// The end of a secret that is not there.
    #[error("hmac_previous_until is set without hmac_previous; remove it or set both")]
    UntilAlone,
    /// No moment.
    #[error(
        "hmac_previous_until is no moment; write it as \"2030-01-31T12:00:00Z\", with Z or an \
         offset, or as seconds since 1970"
    )]
    UntilUnreadable,
    /// Public keys from two places.
    #[error(
        "public_key_file and jwks_url are both set; keep one of them, so that it is clear who may \
         sign"
    )]
    PublicKeysTwice,
    /// The file holds no public key that can check tokens.
    #[error("the file {} holds no public key for tokens: {fault}", path.display())]
    PublicKey {
        /// The file, as it was named.
        path: PathBuf,
        /// What it is instead.
        fault: PublicKeyFault,
    },
    /// No address of a key set.
    #[error("jwks_url is no address; write it as https://issuer.example/.well-known/jwks.json")]
    JwksUrl,
    /// An algorithm that is not known here.
    #[error("algorithms has {name:?}; allowed: {}", super::token::ALGORITHM_NAMES.join(", "))]
    AlgorithmUnknown {
        /// What was typed.
        name: String,
    },
    /// An algorithm that no key here can check.
    #[error("algorithms has {name}, but no key checks it; {remedy}")]
    AlgorithmWithoutKey {
        /// Its name.
        name: &'static str,
        /// What to set.
        remedy: &'static str,
    },
    /// Keys that no allowed algorithm uses.
    #[error("{key} is set, but algorithms has none that uses it; add one, or remove {key}")]
    KeyWithoutAlgorithm {
        /// The key of the settings.
        key: &'static str,
    },
    /// Rules for tokens and no key.
    #[error("{key} is set, but no key: set hmac_secret, public_key_file or jwks_url")]
    NoKey {
        /// The key of the settings that is of no use alone.
        key: &'static str,
    },
}

/// What a file is instead of a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyFault {
    /// No PEM.
    #[error("it is no PEM file; write one with openssl pkey -pubout")]
    NotPem,
    /// A private key, which has no business here.
    #[error("it is a private key; keep that with the issuer and write the public one here")]
    Private,
    /// More than one block.
    #[error("it holds more than one key; keep one, or use jwks_url")]
    Several,
    /// A key of another kind.
    #[error("its kind is not known here; use RSA of 2048 bits or more, P-256, P-384 or Ed25519")]
    Kind,
}

/// Something in `[token]` that works but is probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenWarning {
    /// A secret that is shorter than its hash.
    SecretShort {
        /// The key of the settings.
        key: &'static str,
        /// Its bytes.
        size: usize,
    },
    /// Others can read a file with a secret.
    FileReadable {
        /// The file.
        path: PathBuf,
    },
    /// A secret is on the command line.
    OnCommandLine {
        /// The key of the settings.
        key: &'static str,
    },
    /// Keys come over a connection that anybody in between may change.
    JwksUnencrypted,
}

impl fmt::Display for TokenWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecretShort { key, size } => write!(
                f,
                "{key} has {size} bytes, which may be guessed from a single token: use {} random \
                 bytes or more, such as from openssl rand -hex 32",
                limits::TOKEN_SECRET_SIZE_GOOD
            ),
            Self::FileReadable { path } => {
                write!(f, "others can read the secret in {path:?}: chmod 600 it")
            }
            Self::OnCommandLine { key } => write!(
                f,
                "{key} on the command line shows to every user of this machine (ps): use \
                 {key}_file or its environment variable"
            ),
            Self::JwksUnencrypted => f.write_str(
                "token.jwks_url is not https: whoever is on the way to it can sign tokens",
            ),
        }
    }
}
