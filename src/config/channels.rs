//! `[channel]` and `[namespace.NAME]`: what channels offer, and who may do what there.

use std::time::Duration;

use super::conflict::Conflict;
use super::error::ConfigError;
use super::hooks;
use super::raw::RawConfig;
use super::resolve::conflict;
use crate::limits;
use crate::protocol::channel::{
    Audience, ChannelOptions, Format, HistoryOptions, Namespaces, Recovery, SlowConsumer,
};
use crate::protocol::hook::HookSet;

/// The options of every channel. With `dev` unknown namespaces have those of `[channel]`.
/// `known` are the hooks with an address.
pub(super) fn resolve(
    typed: &RawConfig,
    dev: bool,
    known: HookSet,
) -> Result<Namespaces, ConfigError> {
    let plain = resolve_one(typed, known)?;
    let mut named = Vec::new();
    for (name, typed) in &typed.namespaces {
        named.push((name.as_str().into(), resolve_one(typed, known)?));
    }
    let namespaces = Namespaces::new(plain, named);
    let namespaces = if dev { namespaces.for_development(plain) } else { namespaces };
    resolve_personal(typed, namespaces)
}

/// Gives every user a channel of its own, if that is wanted.
fn resolve_personal(typed: &RawConfig, namespaces: Namespaces) -> Result<Namespaces, ConfigError> {
    let namespace = Some(typed.text("client.personal_namespace")?).filter(|name| !name.is_empty());
    if !typed.switch("client.personal_channel")? {
        return Ok(namespaces);
    }
    let namespaces = namespaces.with_personal_channels(namespace);
    let example = namespaces.personal_channel("user").ok().flatten().unwrap_or_default();
    match namespaces.options(&example) {
        Ok(options) if options.format == Format::Json => Ok(namespaces),
        _ => {
            let keys = ["client.personal_namespace", "client.personal_channel"];
            Err(conflict(typed, Conflict::PersonalChannelsClosed, keys))
        }
    }
}

fn resolve_one(typed: &RawConfig, known: HookSet) -> Result<ChannelOptions, ConfigError> {
    let history = resolve_history(typed)?;
    let recovery = match typed.word("channel.recovery", RECOVERIES)? {
        "true" | "stream" => Recovery::Forced,
        "allow" => Recovery::Allowed,
        "cache" => Recovery::Cache,
        _ => Recovery::Off,
    };
    if recovery != Recovery::Off && history.is_none() {
        let keys = ["channel.recovery", "channel.history_size"];
        return Err(conflict(typed, Conflict::RecoveryWithoutHistory, keys));
    }
    let positioning = typed.switch("channel.positioning")?;
    let slow_consumer = match typed.word("channel.slow_consumer", SLOW_CONSUMERS)? {
        "drop_oldest" => SlowConsumer::DropOldest,
        "newest" => SlowConsumer::Newest,
        _ => SlowConsumer::Disconnect,
    };
    if slow_consumer != SlowConsumer::Disconnect {
        let recovers = !matches!(recovery, Recovery::Off | Recovery::Cache);
        for (holds, key) in [(recovers, "channel.recovery"), (positioning, "channel.positioning")] {
            if holds {
                let keys = ["channel.slow_consumer", key];
                return Err(conflict(typed, Conflict::DropsWithPosition, keys));
            }
        }
    }
    Ok(ChannelOptions {
        presence: typed.switch("channel.presence")?,
        join_leave: typed.switch("channel.join_leave")?,
        history,
        recovery,
        positioning,
        allow_subscribe: audience(typed, "channel.allow_subscribe", SUBSCRIBE_AUDIENCES)?,
        allow_publish: audience(typed, "channel.allow_publish", AUDIENCES)?,
        allow_presence: audience(typed, "channel.allow_presence", AUDIENCES)?,
        allow_history: audience(typed, "channel.allow_history", AUDIENCES)?,
        format: match typed.word("channel.publication_format", FORMATS)? {
            "binary" => Format::Binary,
            _ => Format::Json,
        },
        hooks: hooks::resolve_channel(typed, known)?,
        slow_consumer,
    })
}

/// What is kept; both a number and a time say so.
fn resolve_history(typed: &RawConfig) -> Result<Option<HistoryOptions>, ConfigError> {
    let times = Duration::ZERO..=Duration::from_secs(limits::HISTORY_TTL_MAX_S);
    let size = typed.count("channel.history_size", 0..=limits::HISTORY_SIZE_MAX)?;
    let ttl = typed.duration("channel.history_ttl", times.clone())?;
    let meta = typed.duration("channel.history_meta_ttl", times)?;
    if size == 0 || ttl.is_zero() {
        return Ok(None);
    }
    if meta < ttl {
        let keys = ["channel.history_meta_ttl", "channel.history_ttl"];
        return Err(conflict(typed, Conflict::MetaBelowHistory { meta, history: ttl }, keys));
    }
    let ms = |time: Duration| u64::try_from(time.as_millis()).expect("within HISTORY_TTL_MAX_S");
    Ok(Some(HistoryOptions { size, ttl_ms: ms(ttl), meta_ttl_ms: ms(meta) }))
}

fn audience(
    typed: &RawConfig,
    key: &'static str,
    allowed: &'static [&'static str],
) -> Result<Audience, ConfigError> {
    Ok(match typed.word(key, allowed)? {
        "subscriber" => Audience::Subscriber,
        "user" | "true" => Audience::User,
        "anyone" => Audience::Anyone,
        _ => Audience::Nobody,
    })
}

const RECOVERIES: &[&str] = &["false", "true", "stream", "allow", "cache"];

const SUBSCRIBE_AUDIENCES: &[&str] = &["false", "true", "user", "anyone"];

const AUDIENCES: &[&str] = &["false", "subscriber", "true", "user", "anyone"];

const FORMATS: &[&str] = &["json", "binary"];

const SLOW_CONSUMERS: &[&str] = &["disconnect", "drop_oldest", "newest"];
