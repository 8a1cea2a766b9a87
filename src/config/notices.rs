//! `[hooks.notices]`: what a backend is told of, where, and how it knows that it was us.

use std::time::Duration;

use hyper::Uri;

use super::Secret;
use super::error::{Allowed, ConfigError, Warning};
use super::raw::RawConfig;
use super::resolve::TIME_MIN;
use super::token::{self, Reader};
use crate::limits;

/// `[hooks.notices]`: what a backend is told of.
#[derive(Clone, Debug)]
pub struct Notices {
    /// Where they are sent; over http or https.
    pub url: Uri,
    /// What signs them.
    pub secret: Secret,
    /// Whether it is told which clients are gone.
    pub disconnect: bool,
    /// Whether it is told which subscriptions are over.
    pub unsubscribe: bool,
    /// Whether it is told which channels have no subscriber left.
    pub vacated: bool,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Notices in one request at most.
    pub batch_size: usize,
    /// How long one waits for others to go with it.
    pub batch_delay: Duration,
    /// How long a channel has no subscriber before that is told.
    pub vacated_delay: Duration,
}

/// Why `[hooks.notices]` cannot be used. Texts say what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoticesFault {
    /// No address.
    #[error("hooks.notices.url is no address; write it as https://app.example/tidegate")]
    Url,
    /// Nothing signs them.
    #[error(
        "hooks.notices.url is set without a secret, so anyone could send such notices: set \
         hooks.notices.secret, such as to what openssl rand -hex 32 prints"
    )]
    NoSecret,
    /// A secret, and nothing to sign.
    #[error("hooks.notices.secret is set without hooks.notices.url; remove it or set both")]
    NoUrl,
    /// A secret that may be guessed.
    #[error(
        "hooks.notices.secret has {size} bytes, which may be guessed from a single notice: use {} \
         random bytes or more, such as from openssl rand -hex 32",
        limits::NOTICE_SECRET_SIZE_MIN
    )]
    SecretShort {
        /// Its bytes.
        size: usize,
    },
    /// Nothing would be told.
    #[error("hooks.notices.events is empty; list one at least, or remove hooks.notices.url")]
    NoEvents,
}

/// What a backend is told of; `None` if no address is set.
pub(super) fn resolve(
    typed: &RawConfig,
    warnings: &mut Vec<Warning>,
) -> Result<Option<Notices>, ConfigError> {
    let fault = |key, fault| ConfigError::Notices { at: typed.at(key), fault };
    let url_key = "hooks.notices.url";
    let count = warnings.len();
    let mut reader = Reader { typed, warnings };
    let url = reader.text(url_key)?;
    let secret = reader.secret("hooks.notices.secret", "hooks.notices.secret_file")?;
    let event = |name: &str| EVENTS.iter().position(|known| *known == name);
    let events = typed.list("hooks.notices.events", Allowed::OneOf(&EVENTS), event)?;
    let is_told = |name: &str| events.iter().any(|index| EVENTS[*index] == name);
    let timeouts = TIME_MIN..=Duration::from_secs(limits::NOTICE_TIMEOUT_MAX_S);
    let delays = Duration::ZERO..=Duration::from_secs(limits::NOTICE_DELAY_MAX_S);
    let timeout = typed.duration("hooks.notices.timeout", timeouts)?;
    let batch_size = typed.count("hooks.notices.batch_size", 1..=limits::NOTICE_BATCH_MAX)?;
    let batch_delay = typed.duration("hooks.notices.batch_delay", delays.clone())?;
    let vacated_delay = typed.duration("hooks.notices.vacated_delay", delays)?;
    let (url, secret) = match (url, secret) {
        (None, None) => return Ok(None),
        (None, Some(_)) => return Err(fault("hooks.notices.secret", NoticesFault::NoUrl)),
        (Some(_), None) => return Err(fault(url_key, NoticesFault::NoSecret)),
        (Some(url), Some(secret)) => (url, secret),
    };
    let size = secret.expose().len();
    if size < limits::NOTICE_SECRET_SIZE_MIN {
        // What is refused needs no warning.
        warnings.truncate(count);
        return Err(fault("hooks.notices.secret", NoticesFault::SecretShort { size }));
    }
    let url = token::address(&url).ok_or_else(|| fault(url_key, NoticesFault::Url))?;
    if events.is_empty() {
        return Err(fault("hooks.notices.events", NoticesFault::NoEvents));
    }
    if url.scheme_str() == Some("http") && !token::is_loopback(&url) {
        warnings.push(Warning::NoticesUnencrypted);
    }
    Ok(Some(Notices {
        url,
        secret,
        disconnect: is_told("disconnect"),
        unsubscribe: is_told("unsubscribe"),
        vacated: is_told("vacated"),
        timeout,
        batch_size,
        batch_delay,
        vacated_delay,
    }))
}

/// What can be told.
const EVENTS: [&str; 3] = ["disconnect", "unsubscribe", "vacated"];
