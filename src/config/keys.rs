//! The table of every key: name, default, default under `--dev`, meaning.
//!
//! It is the only place that knows a default. The loader takes its lowest layer from here, and the
//! text of `tidegate config default` is written from it, so neither can drift from the other.

mod table;

use std::time::Duration;

use super::value::{Value, bytes_text, duration_text};
use super::{hooks, token};
pub(super) use table::{SECRETS, key};

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
    /// A duration below a second.
    Millis(u64),
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
            Self::Millis(millis) => Value::Text(duration_text(Duration::from_millis(millis))),
            Self::Switch(switch) => Value::Switch(switch),
            Self::List(entries) => {
                Value::List(entries.iter().map(|entry| (*entry).to_owned()).collect())
            }
        }
    }
}

/// The tables, in the order of the printed text.
pub(super) const TABLES: [(&str, &str); 9] = [
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
    ("client", "Clients of the Centrifuge protocol."),
    (
        "token",
        "JSON Web Tokens, which say who a client is and what it may subscribe to. A key from one of\n\
         hmac_secret, public_key_file and jwks_url switches them on.",
    ),
    (
        "hooks",
        "Backends that decide about clients: each address takes questions as JSON, by POST. Empty: no\n\
         such hook. Redirects are not followed.",
    ),
    (
        "hooks.notices",
        "Notices to a backend of what clients do no more: signed HTTP requests, several notices in\n\
         each, sent again until they are answered with 2xx or five minutes old. README says what they\n\
         hold and how to check them. A url switches them on.",
    ),
    ("log", "Log lines on standard error."),
];

/// All keys; those of one table in the order of the printed text.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    table::KEYS.iter().chain(token::KEYS).chain(hooks::KEYS)
}

/// The key of this name, if there is one.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name)
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
    if let Some(key) = all().find(|key| last(key.name) == last(typed)) {
        return Some(key.name);
    }
    nearest(typed, all().map(|key| key.name))
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
    let known = all().map(|key| variable(key.name)).chain([API_KEY_VARIABLE.to_owned()]);
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
        let keys = all().filter_map(|key| {
            let name = key.name.strip_prefix(table)?.strip_prefix('.')?;
            // What has a dot more is of another table.
            (!name.contains('.')).then_some((name, key))
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
