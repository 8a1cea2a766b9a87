//! `[hooks]`: which backends decide about clients, and the keys of channels that ask them.

use std::time::Duration;

use hyper::Uri;
use hyper::header::{self, HeaderName, HeaderValue};

use super::error::{Allowed, ConfigError};
use super::keys::{Key, Preset, key};
use super::raw::RawConfig;
use crate::limits;
use crate::protocol::channel::ChannelHooks;
use crate::protocol::hook::{Hook, HookSet};

/// `[hooks]`: which backends decide about clients.
#[derive(Clone, Debug)]
pub struct Hooks {
    /// Where each hook is answered, by its index.
    pub addresses: [Option<Uri>; Hook::COUNT],
    /// From a question's arrival to the end of its answer.
    pub timeout: Duration,
    /// Questions in flight to one hook.
    pub concurrency: usize,
    /// Sent with every question. Values are marked as sensitive: they show in no log.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Headers of a client's request that the connect hook gets to see.
    pub forward_headers: Vec<HeaderName>,
}

impl Hooks {
    /// The hooks with an address.
    pub fn set(&self) -> HookSet {
        HookSet::of(|hook| self.addresses[hook.index()].is_some())
    }

    /// An address whose demands on connections all others share: an https one, if there is one.
    pub fn strictest_address(&self) -> &Uri {
        let addresses = self.addresses.iter().flatten();
        let strictest = addresses.max_by_key(|uri| uri.scheme_str() == Some("https"));
        strictest.expect("hooks without an address are none")
    }
}

/// Why `[hooks]`, or a channel's wish to ask one, cannot be used. Texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum HookFault {
    /// No address of a backend.
    #[error("{key} is no address; write it as https://backend.example/tidegate/{name}")]
    Address {
        /// The key.
        key: &'static str,
        /// The hook.
        name: &'static str,
    },
    /// No header of a request.
    #[error(
        "entry {number} of {key} is no header; write headers as \"Name: value\" and those to \
         forward as \"Name\""
    )]
    Header {
        /// The key.
        key: &'static str,
        /// Which entry, from 1.
        number: usize,
    },
    /// A header that belongs to the exchange itself.
    #[error("{key} has {name}, which belongs to the connection or the body; remove it")]
    HeaderTaken {
        /// The key.
        key: &'static str,
        /// The header.
        name: HeaderName,
    },
    /// A channel asks nobody.
    #[error(
        "{channel_key} needs somebody to ask: set {key} under [hooks], or {channel_key} = false"
    )]
    NoAddress {
        /// The key of the channel.
        channel_key: String,
        /// The hook.
        key: &'static str,
    },
    /// Nobody would allow what is asked about again.
    #[error(
        "{channel_key} is about subscriptions that the subscribe hook allowed: set \
         hook_subscribe = true too, or {channel_key} = false"
    )]
    SubRefreshAlone {
        /// The key of the channel.
        channel_key: String,
    },
}

/// The hooks; `None` if none has an address. All other keys are checked all the same.
pub(super) fn resolve(typed: &RawConfig) -> Result<Option<Hooks>, ConfigError> {
    let mut addresses = [const { None }; Hook::COUNT];
    for hook in Hook::ALL {
        addresses[hook.index()] = address(typed, hook)?;
    }
    let times = Duration::from_millis(limits::TIME_MIN_MS)
        ..=Duration::from_secs(limits::HOOK_TIMEOUT_MAX_S);
    let hooks = Hooks {
        timeout: typed.duration("hooks.timeout", times)?,
        concurrency: typed.count("hooks.concurrency", 1..=limits::HOOK_CONCURRENCY_MAX)?,
        headers: headers(typed)?,
        forward_headers: forward_headers(typed)?,
        addresses,
    };
    Ok((!hooks.set().is_empty()).then_some(hooks))
}

/// What a backend is asked about the channels of `typed`, which may be a namespace's settings;
/// `known` are the hooks with an address.
pub(super) fn resolve_channel(
    typed: &RawConfig,
    known: HookSet,
) -> Result<ChannelHooks, ConfigError> {
    let switch = |key: &'static str, hook: Hook| {
        let is_on = typed.switch(key)?;
        if is_on && !known.has(hook) {
            let fault = HookFault::NoAddress { channel_key: typed.shown(key), key: hook.name() };
            return Err(fault_at(typed, key, fault));
        }
        Ok(is_on)
    };
    let hooks = ChannelHooks {
        subscribe: switch("channel.hook_subscribe", Hook::Subscribe)?,
        publish: switch("channel.hook_publish", Hook::Publish)?,
        sub_refresh: switch("channel.hook_sub_refresh", Hook::SubRefresh)?,
    };
    if hooks.sub_refresh && !hooks.subscribe {
        let key = "channel.hook_sub_refresh";
        let fault = HookFault::SubRefreshAlone { channel_key: typed.shown(key) };
        return Err(fault_at(typed, key, fault));
    }
    Ok(hooks)
}

fn address(typed: &RawConfig, hook: Hook) -> Result<Option<Uri>, ConfigError> {
    let key = ADDRESSES[hook.index()];
    let text = typed.text(key)?;
    if text.is_empty() {
        return Ok(None);
    }
    let uri = text.parse::<Uri>().ok().filter(|uri| {
        uri.host().is_some_and(|host| !host.is_empty())
            && matches!(uri.scheme_str(), Some("http" | "https"))
    });
    let fault = HookFault::Address { key, name: hook.name() };
    uri.map(Some).ok_or_else(|| fault_at(typed, key, fault))
}

fn headers(typed: &RawConfig) -> Result<Vec<(HeaderName, HeaderValue)>, ConfigError> {
    let key = "hooks.headers";
    let lines = typed.list(key, Allowed::List(limits::CONFIG_LIST_LEN_MAX), whole)?;
    let mut headers = Vec::new();
    for (number, line) in (1..).zip(lines) {
        let parts = line.split_once(':').and_then(|(name, value)| {
            let name = name.trim().parse::<HeaderName>().ok()?;
            let mut value = value.trim().parse::<HeaderValue>().ok()?;
            value.set_sensitive(true);
            Some((name, value))
        });
        let fault = HookFault::Header { key, number };
        let (name, value) = parts.ok_or_else(|| fault_at(typed, key, fault))?;
        headers.push((free(typed, key, name)?, value));
    }
    Ok(headers)
}

fn forward_headers(typed: &RawConfig) -> Result<Vec<HeaderName>, ConfigError> {
    let key = "hooks.forward_headers";
    let names = typed.list(key, Allowed::List(limits::CONFIG_LIST_LEN_MAX), whole)?;
    let mut headers = Vec::new();
    for (number, name) in (1..).zip(names) {
        let fault = HookFault::Header { key, number };
        let name = name.parse::<HeaderName>().map_err(|_| fault_at(typed, key, fault))?;
        headers.push(free(typed, key, name)?);
    }
    Ok(headers)
}

/// `name`, unless it belongs to the exchange itself.
fn free(typed: &RawConfig, key: &'static str, name: HeaderName) -> Result<HeaderName, ConfigError> {
    if TAKEN.contains(&name) || name.as_str().starts_with("sec-websocket-") {
        return Err(fault_at(typed, key, HookFault::HeaderTaken { key, name }));
    }
    Ok(name)
}

fn whole(entry: &str) -> Option<String> {
    Some(entry.to_owned())
}

fn fault_at(typed: &RawConfig, key: &'static str, fault: HookFault) -> ConfigError {
    ConfigError::Hook { at: typed.at(key), fault: Box::new(fault) }
}

/// Headers that say how the question itself is sent.
const TAKEN: [HeaderName; 9] = [
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::EXPECT,
    header::HOST,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The keys of the addresses, by the hook's index.
const ADDRESSES: [&str; Hook::COUNT] = [
    "hooks.connect",
    "hooks.subscribe",
    "hooks.publish",
    "hooks.rpc",
    "hooks.refresh",
    "hooks.sub_refresh",
];

/// Its keys, and those of channels that ask.
pub(super) const KEYS: &[Key] = &[
    key(
        ADDRESSES[0],
        Preset::Text(""),
        "Asked who a client is that shows no token, or any client without [token], such as\n\
         \"https://backend.example/tidegate/connect\".",
    ),
    key(ADDRESSES[1], Preset::Text(""), "Asked by channels with hook_subscribe."),
    key(ADDRESSES[2], Preset::Text(""), "Asked by channels with hook_publish."),
    key(ADDRESSES[3], Preset::Text(""), "Answers the calls (rpc) of clients."),
    key(
        ADDRESSES[4],
        Preset::Text(""),
        "Asked whether a client stays that the connect hook let in, when its time is over. Empty: the\n\
         client brings a token.",
    ),
    key(ADDRESSES[5], Preset::Text(""), "Asked by channels with hook_sub_refresh."),
    key(
        "hooks.timeout",
        Preset::Seconds(limits::HOOK_TIMEOUT_DEFAULT_S),
        "How long an answer may take, waiting for a place in concurrency included. Then the client\n\
         gets error 100.",
    ),
    key(
        "hooks.concurrency",
        Preset::Count(limits::HOOK_CONCURRENCY_DEFAULT as u64),
        "Questions in flight to one hook; more wait.",
    ),
    key(
        "hooks.headers",
        Preset::List(&[]),
        "Headers of every question, such as [\"Authorization: Bearer 123\"].\n\
         TIDEGATE_HOOKS_HEADERS keeps them out of this file.",
    ),
    key(
        "hooks.forward_headers",
        Preset::List(&[]),
        "Headers of a client's request that the connect hook gets to see, such as [\"Cookie\"].",
    ),
    key(
        "channel.hook_subscribe",
        Preset::Switch(false),
        "Whether the subscribe hook says who may subscribe, instead of allow_subscribe.",
    ),
    key(
        "channel.hook_publish",
        Preset::Switch(false),
        "Whether the publish hook says who may publish, and what, instead of allow_publish. Clients\n\
         of /raw cannot publish there.",
    ),
    key(
        "channel.hook_sub_refresh",
        Preset::Switch(false),
        "Whether the sub_refresh hook is asked when a subscription's time is over that the subscribe\n\
         hook allowed. Else the client brings a token.",
    ),
];

const _: () = assert!(Hook::SubRefresh as usize == Hook::COUNT - 1);
