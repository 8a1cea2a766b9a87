//! The table of every key: name, default, default under `--dev`, meaning.
//!
//! It is the only place that knows a default. The loader takes its lowest layer from here, and the
//! text of `tidegate config default` is written from it, so neither can drift from the other.

use std::time::Duration;

use super::value::{Value, bytes_text, duration_text};
use crate::limits;

/// One key of the configuration.
pub(super) struct Key {
    /// Table and key, joined by a dot.
    pub(super) name: &'static str,
    /// What holds when nobody sets it.
    pub(super) default: Preset,
    /// What holds instead with `--dev`.
    pub(super) dev: Option<Preset>,
    /// What it does, one or more lines of at most 90 characters.
    pub(super) meaning: &'static str,
}

/// A default as it would be typed in the file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Preset {
    /// A string.
    Text(&'static str),
    /// A whole number.
    Count(u64),
    /// A size.
    Bytes(u64),
    /// A duration.
    Seconds(u64),
    /// True or false.
    Switch(bool),
    /// A list of strings.
    List(&'static [&'static str]),
}

impl Preset {
    /// The value the loader starts from.
    pub(super) fn value(self) -> Value {
        match self {
            Self::Text(text) => Value::Text(text.to_owned()),
            Self::Count(count) => Value::Integer(i64::try_from(count).unwrap_or(i64::MAX)),
            Self::Bytes(bytes) => Value::Text(bytes_text(bytes)),
            Self::Seconds(seconds) => Value::Text(duration_text(Duration::from_secs(seconds))),
            Self::Switch(switch) => Value::Switch(switch),
            Self::List(entries) => {
                Value::List(entries.iter().map(|entry| (*entry).to_owned()).collect())
            }
        }
    }
}

/// The tables, in the order of the printed text.
pub(super) const TABLES: [(&str, &str); 6] = [
    ("server", "Addresses, threads, trust."),
    ("limits", "Bounds. Past each of them something is refused, closed or counted, never silent."),
    ("echo", "The path /echo, which sends every message back. For load tests; off by default."),
    (
        "channel",
        "Channels whose name has no colon. Those of a namespace, such as chat:lobby, have a table\n\
         with the same keys and defaults, [namespace.chat]; names in namespaces without a table do\n\
         not exist. With --dev they do and have what stands here; a table's defaults are then those\n\
         marked \"With --dev\" for the keys that begin with allow_.",
    ),
    (
        "token",
        "JSON Web Tokens, which say who a client is and what it may subscribe to. A key from one of\n\
         hmac_secret, public_key_file and jwks_url switches them on.",
    ),
    ("log", "Log lines on standard error."),
];

/// The key of this name, if there is one.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The environment variable that sets `key`: `server.listen` is `TIDEGATE_SERVER_LISTEN`.
pub(super) fn variable(key: &str) -> String {
    let mut name = String::from(ENVIRONMENT_PREFIX);
    name.extend(key.chars().map(|c| if c == '.' { '_' } else { c.to_ascii_uppercase() }));
    name
}

/// The key nearest to what was typed, if one is near enough to be meant.
pub(super) fn nearest_key(typed: &str) -> Option<&'static str> {
    let last = |name: &str| name.rsplit('.').next().map(str::to_owned);
    if let Some(key) = KEYS.iter().find(|key| last(key.name) == last(typed)) {
        return Some(key.name);
    }
    nearest(typed, KEYS.iter().map(|key| key.name))
}

/// What a namespace's table starts from where it says nothing.
pub(super) fn namespace_preset(key: &Key, dev: bool) -> Option<Preset> {
    let name = key.name.strip_prefix(CHANNEL_PREFIX)?;
    Some(key.dev.filter(|_| dev && name.starts_with("allow_")).unwrap_or(key.default))
}

/// The table nearest to what was typed, if one is near enough to be meant.
pub(super) fn nearest_table(typed: &str) -> Option<&'static str> {
    nearest(typed, TABLES.iter().map(|(name, _)| *name))
}

/// The environment variable nearest to what was typed, if one is near enough to be meant.
pub(super) fn nearest_variable(typed: &str) -> Option<String> {
    let known = KEYS.iter().map(|key| variable(key.name)).chain([API_KEY_VARIABLE.to_owned()]);
    nearest(typed, known)
}

fn nearest<T: AsRef<str>>(typed: &str, known: impl Iterator<Item = T>) -> Option<T> {
    let near_enough = (typed.len() / 4).max(2);
    known
        .map(|name| {
            let completes = !typed.is_empty() && name.as_ref().starts_with(typed);
            let distance = strsim::osa_distance(typed, name.as_ref());
            (if completes { 0 } else { distance }, name)
        })
        .filter(|(distance, _)| *distance <= near_enough)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Every key with its meaning and its default as commented TOML: the text of
/// `tidegate config default` and of `tidegate.example.toml`.
pub fn default_text() -> String {
    let mut text = String::from(HEAD);
    for (table, meaning) in TABLES {
        text.push('\n');
        for line in meaning.lines() {
            text.push_str(&format!("# {line}\n"));
        }
        text.push_str(&format!("[{table}]\n"));
        let keys = KEYS.iter().filter_map(|key| {
            let name = key.name.strip_prefix(table)?.strip_prefix('.')?;
            Some((name, key))
        });
        for (name, key) in keys {
            text.push('\n');
            for line in key.meaning.lines() {
                text.push_str(&format!("# {line}\n"));
            }
            if let Some(dev) = key.dev {
                text.push_str(&format!("# With --dev: {}\n", dev.value()));
            }
            text.push_str(&format!("#{name} = {}\n", key.default.value()));
        }
    }
    text
}

const HEAD: &str = "\
# Settings of Tidegate, each with its meaning and its default. This is what
# `tidegate config default` prints.
#
# A setting comes from this file (serve --config FILE), from the environment
# (TIDEGATE_SERVER_LISTEN for listen of [server]) or from a flag (--listen, or --set
# server.listen=...). The later of these wins. An unknown key is an error.
#
# Sizes are bytes, or a text with a unit: 65536, \"64KiB\", \"16 MiB\", \"1GiB\".
# Durations are seconds, or a text with a unit: 25, \"25s\", \"500ms\", \"10m\", \"1h\".
# Lists are arrays, or a text with commas: [\"a\", \"b\"], \"a,b\".
";

/// What the keys of channels start with; a namespace has them all.
pub(super) const CHANNEL_PREFIX: &str = "channel.";

/// What the keys of a namespace start with, its name behind it.
pub(super) const NAMESPACE_PREFIX: &str = "namespace.";

/// What every environment variable of ours starts with.
pub(super) const ENVIRONMENT_PREFIX: &str = "TIDEGATE_";

/// The variable that holds the API key. It has no key in the file: a file gets copied and shown.
pub(super) const API_KEY_VARIABLE: &str = "TIDEGATE_API_KEY";

/// The variable that names the file, for containers that cannot change the command line.
pub(super) const FILE_VARIABLE: &str = "TIDEGATE_CONFIG";

const fn key(name: &'static str, default: Preset, meaning: &'static str) -> Key {
    Key { name, default, dev: None, meaning }
}

const fn dev(name: &'static str, default: Preset, dev: Preset, meaning: &'static str) -> Key {
    Key { name, default, dev: Some(dev), meaning }
}

/// Keys whose values are never shown.
pub(super) const SECRETS: [&str; 2] = ["token.hmac_secret", "token.hmac_previous"];

/// All keys, in the order of the printed text.
pub(super) const KEYS: &[Key] = &[
    dev(
        "server.listen",
        Preset::Text("0.0.0.0:8000"),
        Preset::Text("127.0.0.1:8000"),
        "Address and port for clients.",
    ),
    key(
        "server.admin",
        Preset::Text("127.0.0.1:8001"),
        "Address and port for the HTTP API, metrics and health. An address that is not loopback\n\
         needs an API key.",
    ),
    key(
        "server.shards",
        Preset::Text("auto"),
        "Shard threads, 1 to 64. \"auto\" or 0: one for each allowed core.",
    ),
    key(
        "server.cpus",
        Preset::List(&[]),
        "Cores to pin threads to, in turn, such as [0, 1] or \"0,1\" or \"0-3\". Empty: all allowed\n\
         cores. A core outside the affinity mask of the process is refused.",
    ),
    key(
        "server.origins",
        Preset::List(&[]),
        "Origins of web pages that may connect, besides pages of the same host, such as\n\
         [\"https://app.example\"]. [\"*\"] allows every page.",
    ),
    key(
        "server.trusted_proxies",
        Preset::List(&[]),
        "Addresses or networks of proxies whose X-Forwarded-For names the client, such as\n\
         [\"10.0.0.0/8\"].",
    ),
    key(
        "server.api_key_file",
        Preset::Text(""),
        "File whose content is the API key; readable by its owner alone. Empty: no file. The key\n\
         may also come from TIDEGATE_API_KEY or --api-key, but never from this file.",
    ),
    key(
        "server.compression",
        Preset::Switch(false),
        "Whether messages are compressed for clients that offer permessage-deflate (RFC 7692). A\n\
         publication is compressed once for all of them, but that still takes processor time: on for\n\
         clients on slow or metered lines, off inside a data centre.",
    ),
    key(
        "server.compression_level",
        Preset::Count(limits::COMPRESSION_LEVEL_DEFAULT as u64),
        "1, the fastest, to 9, the smallest.",
    ),
    key(
        "server.compression_min_size",
        Preset::Bytes(limits::COMPRESSION_SIZE_MIN_DEFAULT as u64),
        "Messages shorter than this are sent as they are.",
    ),
    dev(
        "server.drain",
        Preset::Seconds(limits::DRAIN_WINDOW_DEFAULT_S),
        Preset::Seconds(0),
        "Over how long a shutdown spreads the closing of clients.",
    ),
    key(
        "server.dev",
        Preset::Switch(false),
        "For trying things out: changes the defaults marked \"With --dev\", accepts pages of any\n\
         loopback origin, and serves the demo page. Never on a machine others can reach.",
    ),
    key(
        "limits.connections",
        Preset::Count(limits::CONNECTIONS_DEFAULT as u64),
        "Connections of the process. The next one is answered 503.",
    ),
    key(
        "limits.message_size",
        Preset::Bytes(limits::MESSAGE_SIZE_DEFAULT as u64),
        "Size of one message from a client, /echo apart. A longer one is closed with 1009.",
    ),
    key(
        "limits.fragments_max",
        Preset::Count(limits::FRAGMENTS_DEFAULT as u64),
        "Fragments of one message from a client, /echo apart. One with more is closed with 1008.",
    ),
    key(
        "limits.publication_size",
        Preset::Bytes(limits::PUBLICATION_SIZE_DEFAULT as u64),
        "Size of one publication's payload. A longer one gets API error 107.",
    ),
    key(
        "limits.outbox_bytes",
        Preset::Bytes(limits::OUTBOX_BYTES_DEFAULT as u64),
        "What may wait for one client. A client with more is closed with 3008.",
    ),
    key(
        "limits.outbox_shard_bytes",
        Preset::Bytes(limits::OUTBOX_SHARD_BYTES_DEFAULT as u64),
        "What may wait for all clients of one shard. The default is less where a quarter of the\n\
         memory, of the machine or of the container, is less for all shards together.",
    ),
    key(
        "limits.handshake_timeout",
        Preset::Seconds(limits::HANDSHAKE_TIMEOUT_DEFAULT_S),
        "From accept to the end of the request; no byte extends it. Then, for a client of the\n\
         Centrifuge protocol, as long again to its connect command.",
    ),
    key(
        "limits.ping_interval",
        Preset::Seconds(limits::PING_INTERVAL_DEFAULT_S),
        "Between two pings to a client. Below the idle timeout of every proxy in between.",
    ),
    key(
        "limits.pong_timeout",
        Preset::Seconds(limits::PONG_TIMEOUT_DEFAULT_S),
        "How long a client may take to answer a ping; at most ping_interval.",
    ),
    key(
        "limits.mailbox_len",
        Preset::Count(limits::MAILBOX_LEN_DEFAULT as u64),
        "Messages one queue between two threads holds. When it is full, publishing gets 503.",
    ),
    key(
        "limits.receive_buffers",
        Preset::Count(limits::RECV_BUFFERS_DEFAULT as u64),
        "Receive buffers of a shard, a power of two.",
    ),
    key(
        "limits.receive_buffer_size",
        Preset::Bytes(limits::RECV_BUFFER_SIZE_DEFAULT as u64),
        "Size of one receive buffer.",
    ),
    key(
        "limits.sq_entries",
        Preset::Count(limits::SQ_ENTRIES_DEFAULT as u64),
        "Submission queue entries of a shard's ring. The kernel rounds up to a power of two.",
    ),
    key(
        "limits.cq_entries",
        Preset::Count(limits::CQ_ENTRIES_DEFAULT as u64),
        "Completion queue entries of a shard's ring, at least twice sq_entries.",
    ),
    dev("echo.enabled", Preset::Switch(false), Preset::Switch(true), "Whether the path exists."),
    key(
        "echo.message_limit",
        Preset::Bytes(limits::ECHO_MESSAGE_SIZE_DEFAULT as u64),
        "Size of one message, inclusive. A longer one is closed with 1009.",
    ),
    key(
        "echo.fragments_max",
        Preset::Count(limits::ECHO_FRAGMENTS_DEFAULT as u64),
        "Fragments of one message. One with more is closed with 1008.",
    ),
    dev(
        "channel.presence",
        Preset::Switch(false),
        Preset::Switch(true),
        "Whether the gateway knows who is subscribed.",
    ),
    dev(
        "channel.join_leave",
        Preset::Switch(false),
        Preset::Switch(true),
        "Whether subscribers that ask for it are told who comes and goes.",
    ),
    dev(
        "channel.history_size",
        Preset::Count(0),
        Preset::Count(100),
        "Publications kept, per channel. 0: none.",
    ),
    dev(
        "channel.history_ttl",
        Preset::Seconds(0),
        Preset::Seconds(300),
        "How long each of them is kept.",
    ),
    key(
        "channel.history_meta_ttl",
        Preset::Seconds(limits::HISTORY_META_TTL_DEFAULT_S),
        "How long a channel's position is kept behind its last publication.",
    ),
    dev(
        "channel.recovery",
        Preset::Switch(false),
        Preset::Switch(true),
        "Whether a client that was away gets what it missed. true or \"stream\": each does;\n\
         \"allow\": those that ask for it; \"cache\": each gets the newest publication. Needs\n\
         history_size and history_ttl.",
    ),
    key(
        "channel.positioning",
        Preset::Switch(false),
        "Whether each subscriber is told the position it starts at. Recovery implies it.",
    ),
    dev(
        "channel.allow_subscribe",
        Preset::Switch(false),
        Preset::Switch(true),
        "Which clients may subscribe: false for none, true or \"user\" for those that are\n\
         authenticated, \"anyone\" for all. With --dev every client counts as authenticated.",
    ),
    dev(
        "channel.allow_publish",
        Preset::Switch(false),
        Preset::Switch(true),
        "Which clients may publish: as above, or \"subscriber\" for those that are subscribed.",
    ),
    dev(
        "channel.allow_presence",
        Preset::Switch(false),
        Preset::Switch(true),
        "Which clients may ask who is subscribed: as above.",
    ),
    dev(
        "channel.allow_history",
        Preset::Switch(false),
        Preset::Switch(true),
        "Which clients may ask for earlier publications: as above.",
    ),
    key(
        "channel.publication_format",
        Preset::Text("json"),
        "\"json\": a publication that is no JSON is refused. \"binary\": any bytes may be published,\n\
         and clients of the Centrifuge protocol cannot subscribe.",
    ),
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
    key("log.format", Preset::Text("text"), "\"text\" for people, \"json\" for one object a line."),
    key(
        "log.level",
        Preset::Text("info"),
        "Least severe level written: \"error\", \"warn\", \"info\", \"debug\" or \"trace\". Release builds\n\
         have nothing below \"debug\".",
    ),
];
