//! What was typed: the value of every key and where it came from. Knows which keys exist and what
//! kind of value each takes; what the values mean together is for `resolve`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::error::{Allowed, ConfigError, Source, Warning};
use super::keys::{self, TABLES};
use super::value::Value;
use crate::limits;
use crate::protocol::channel::PRIVATE;

/// All that is typed: file, environment, flags.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The configuration file, if one is named.
    pub file: Option<PathBuf>,
    /// Environment variables; those that do not start with `TIDEGATE_` are ignored.
    pub environment: Vec<(String, String)>,
    /// Flags in the order they were given, each already a dotted key.
    pub flags: Vec<FlagSetting>,
    /// What `--api-key` holds.
    pub api_key_flag: Option<String>,
}

/// One setting from the command line.
#[derive(Clone, Debug)]
pub struct FlagSetting {
    /// The flag, for messages.
    pub flag: &'static str,
    /// The dotted key it sets.
    pub key: String,
    /// The value.
    pub value: String,
}

/// What was typed, defaults below it: every key has a value.
#[derive(Clone, Debug, Default)]
pub(super) struct RawConfig {
    settings: BTreeMap<&'static str, Setting>,
    /// By name, the tables of namespaces; each has the keys of channels.
    pub(super) namespaces: BTreeMap<String, RawConfig>,
    /// The namespace, if these are the settings of one.
    namespace: Option<String>,
    pub(super) warnings: Vec<Warning>,
}

#[derive(Clone, Debug)]
struct Setting {
    value: Value,
    at: Source,
}

impl RawConfig {
    /// Lays defaults, file, environment and flags over each other.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not TOML, or a key does not exist.
    pub(super) fn read(inputs: &Inputs) -> Result<Self, ConfigError> {
        match &inputs.file {
            Some(path) => Self::read_over(Some((path, &read_text(path)?)), inputs),
            None => Self::read_over(None, inputs),
        }
    }

    /// As [`read`](Self::read), the file's text at hand.
    pub(super) fn read_over(
        file: Option<(&Path, &str)>,
        inputs: &Inputs,
    ) -> Result<Self, ConfigError> {
        let mut typed = Self::default();
        if let Some((path, text)) = file {
            typed.take_file(path, text)?;
        }
        for (name, value) in &inputs.environment {
            typed.take_variable(name, value);
        }
        for FlagSetting { flag, key, value } in &inputs.flags {
            typed.take(key, Value::Typed(value.clone()), Source::Flag(flag))?;
        }
        let dev = match typed.settings.get("server.dev") {
            Some(_) => typed.switch("server.dev")?,
            None => false,
        };
        for key in keys::all() {
            typed.settings.entry(key.name).or_insert_with(|| match key.dev.filter(|_| dev) {
                Some(preset) => Setting { value: preset.value(), at: Source::Dev },
                None => Setting { value: key.default.value(), at: Source::Default },
            });
            for namespace in typed.namespaces.values_mut() {
                if let Some(preset) = keys::namespace_preset(key, dev) {
                    let preset = || Setting { value: preset.value(), at: Source::Default };
                    namespace.settings.entry(key.name).or_insert_with(preset);
                }
            }
        }
        Ok(typed)
    }

    /// Where `key` was set.
    pub(super) fn at(&self, key: &str) -> Source {
        self.setting(key).at.clone()
    }

    /// What `key` was set to.
    pub(super) fn value(&self, key: &str) -> &Value {
        &self.setting(key).value
    }

    /// The text of `key`.
    pub(super) fn text(&self, key: &'static str) -> Result<&str, ConfigError> {
        let text = self.setting(key).value.as_text();
        text.ok_or_else(|| self.bad_value(key, Allowed::Text))
    }

    /// The word of `key`, one of `allowed`: a text, or true or false.
    pub(super) fn word(
        &self,
        key: &'static str,
        allowed: &'static [&'static str],
    ) -> Result<&'static str, ConfigError> {
        let word = self.setting(key).value.as_word();
        let known = allowed.iter().find(|known| Some(**known) == word);
        known.copied().ok_or_else(|| self.bad_value(key, Allowed::OneOf(allowed)))
    }

    /// The truth of `key`.
    pub(super) fn switch(&self, key: &'static str) -> Result<bool, ConfigError> {
        let switch = self.setting(key).value.as_switch();
        switch.ok_or_else(|| self.bad_value(key, Allowed::Switch))
    }

    /// The whole number of `key`, within `allowed`.
    pub(super) fn count<T>(
        &self,
        key: &'static str,
        allowed: RangeInclusive<T>,
    ) -> Result<T, ConfigError>
    where
        T: TryFrom<u64> + Copy,
        u64: TryFrom<T>,
    {
        let range = widen(allowed);
        let count = self.setting(key).value.as_count();
        narrow(count, &range)
            .ok_or_else(|| self.bad_value(key, Allowed::Count(*range.start(), *range.end())))
    }

    /// The size of `key`, within `allowed`.
    pub(super) fn bytes<T>(
        &self,
        key: &'static str,
        allowed: RangeInclusive<T>,
    ) -> Result<T, ConfigError>
    where
        T: TryFrom<u64> + Copy,
        u64: TryFrom<T>,
    {
        let range = widen(allowed);
        let bytes = self.setting(key).value.as_bytes();
        narrow(bytes, &range)
            .ok_or_else(|| self.bad_value(key, Allowed::Bytes(*range.start(), *range.end())))
    }

    /// The duration of `key`, within `allowed`.
    pub(super) fn duration(
        &self,
        key: &'static str,
        allowed: RangeInclusive<Duration>,
    ) -> Result<Duration, ConfigError> {
        let duration = self.setting(key).value.as_duration();
        duration
            .filter(|duration| allowed.contains(duration))
            .ok_or_else(|| self.bad_value(key, Allowed::Duration(*allowed.start(), *allowed.end())))
    }

    /// The text of `key` read as a `T`.
    pub(super) fn parsed<T: FromStr>(
        &self,
        key: &'static str,
        allowed: Allowed,
    ) -> Result<T, ConfigError> {
        let parsed = self.setting(key).value.as_text().and_then(|text| text.parse().ok());
        parsed.ok_or_else(|| self.bad_value(key, allowed))
    }

    /// The list of `key`, each entry read by `read`.
    pub(super) fn list<T>(
        &self,
        key: &'static str,
        allowed: Allowed,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, ConfigError> {
        let entries =
            self.setting(key).value.as_list().ok_or_else(|| self.bad_value(key, allowed))?;
        if entries.len() > limits::CONFIG_LIST_LEN_MAX {
            return Err(self.bad_value(key, Allowed::List(limits::CONFIG_LIST_LEN_MAX)));
        }
        let read: Option<Vec<T>> = entries.iter().map(|entry| read(entry)).collect();
        read.ok_or_else(|| self.bad_value(key, allowed))
    }

    /// The error that `key` has a value it does not take.
    pub(super) fn bad_value(&self, key: &'static str, allowed: Allowed) -> ConfigError {
        let Setting { value, at } = self.setting(key);
        let is_secret = keys::SECRETS.contains(&key);
        let found = if is_secret { "[secret]".to_owned() } else { value.to_string() };
        let key = self.shown(key);
        ConfigError::BadValue { at: at.clone(), key, found, allowed }
    }

    /// How `key` of these settings is written.
    pub(super) fn shown(&self, key: &str) -> String {
        match (&self.namespace, key.strip_prefix(keys::CHANNEL_PREFIX)) {
            (Some(namespace), Some(rest)) => format!("namespace.{namespace}.{rest}"),
            _ => key.to_owned(),
        }
    }

    fn setting(&self, key: &str) -> &Setting {
        self.settings.get(key).expect("every key asked for is in the table of keys")
    }

    fn take(&mut self, key: &str, value: Value, at: Source) -> Result<(), ConfigError> {
        if let Some((namespace, name)) =
            key.strip_prefix(keys::NAMESPACE_PREFIX).and_then(|rest| rest.rsplit_once('.'))
        {
            let Some(known) = keys::find(&format!("{}{name}", keys::CHANNEL_PREFIX)) else {
                return Err(ConfigError::UnknownKey {
                    at,
                    key: key.to_owned(),
                    nearest: keys::nearest_key(&format!("{}{name}", keys::CHANNEL_PREFIX)),
                });
            };
            let settings = self.namespace_mut(namespace, &at)?;
            settings.settings.insert(known.name, Setting { value, at });
            return Ok(());
        }
        let Some(known) = keys::find(key) else {
            return Err(ConfigError::UnknownKey {
                at,
                key: key.to_owned(),
                nearest: keys::nearest_key(key),
            });
        };
        self.settings.insert(known.name, Setting { value, at });
        Ok(())
    }

    fn namespace_mut(&mut self, name: &str, at: &Source) -> Result<&mut Self, ConfigError> {
        let is_name = !name.is_empty()
            && name.len() <= limits::NAMESPACE_NAME_MAX
            && !name.starts_with(PRIVATE)
            && !name.contains(|c: char| c == ':' || c.is_control());
        if !is_name {
            return Err(ConfigError::NamespaceName { at: at.clone(), name: name.to_owned() });
        }
        if self.namespaces.len() >= limits::CONFIG_LIST_LEN_MAX
            && !self.namespaces.contains_key(name)
        {
            return Err(ConfigError::NamespacesTooMany { at: at.clone() });
        }
        Ok(self
            .namespaces
            .entry(name.to_owned())
            .or_insert_with(|| Self { namespace: Some(name.to_owned()), ..Self::default() }))
    }

    fn take_variable(&mut self, name: &str, value: &str) {
        if !name.starts_with(keys::ENVIRONMENT_PREFIX)
            || name == keys::API_KEY_VARIABLE
            || name == keys::FILE_VARIABLE
        {
            return;
        }
        match keys::all().find(|key| keys::variable(key.name) == name) {
            Some(key) => {
                let at = Source::Environment(name.to_owned());
                self.settings.insert(key.name, Setting { value: Value::Typed(value.into()), at });
            }
            None => self.warnings.push(Warning::UnknownVariable {
                name: name.to_owned(),
                nearest: keys::nearest_variable(name),
            }),
        }
    }

    fn take_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let shared: Arc<Path> = path.into();
        let at = |offset: usize| Source::File {
            path: Arc::clone(&shared),
            line: 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count(),
        };
        let document = DeTable::parse(text).map_err(|error| ConfigError::NotToml {
            at: at(error.span().map_or(0, |span| span.start)),
            message: error.message().lines().collect::<Vec<_>>().join(", "),
        })?;
        let mut entries: Vec<Entry> = Vec::new();
        for (table, value) in document.get_ref() {
            let offset = table.span().start;
            let name = table.get_ref().as_ref();
            let is_known = TABLES.iter().any(|(known, _)| *known == name);
            match value.get_ref() {
                DeValue::Table(namespaces) if name == "namespace" => {
                    self.list_namespaces(namespaces, &at, &mut entries)?;
                }
                DeValue::Table(keys) if is_known || !keys.is_empty() => {
                    list_keys(name, keys, &mut entries);
                }
                DeValue::Table(_) => {
                    return Err(ConfigError::UnknownKey {
                        at: at(offset),
                        key: name.to_owned(),
                        nearest: keys::nearest_table(name),
                    });
                }
                other if is_known => {
                    return Err(ConfigError::BadValue {
                        at: at(offset),
                        key: name.to_owned(),
                        found: Value::from_toml(other).to_string(),
                        allowed: Allowed::Table,
                    });
                }
                other => entries.push((offset, name.to_owned(), Value::from_toml(other))),
            }
        }
        // In the order of the file, so that the first fault is the one that is named.
        entries.sort_by_key(|(offset, ..)| *offset);
        for (offset, key, value) in entries {
            self.take(&key, value, at(offset))?;
        }
        Ok(())
    }
}

/// One key of the file: where it stands, its dotted name, its value.
type Entry = (usize, String, Value);

/// Lists the keys of the table `name`, and those of the tables in it that are known.
fn list_keys(name: &str, keys: &DeTable<'_>, entries: &mut Vec<Entry>) {
    for (key, value) in keys {
        let dotted = format!("{name}.{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) if TABLES.iter().any(|(known, _)| *known == dotted) => {
                list_keys(&dotted, inner, entries);
            }
            value => entries.push((key.span().start, dotted, Value::from_toml(value))),
        }
    }
}

impl RawConfig {
    /// Makes a namespace of each table and lists its keys.
    fn list_namespaces(
        &mut self,
        namespaces: &DeTable<'_>,
        at: &impl Fn(usize) -> Source,
        entries: &mut Vec<Entry>,
    ) -> Result<(), ConfigError> {
        for (name, table) in namespaces {
            let here = name.span().start;
            let dotted = format!("{}{}", keys::NAMESPACE_PREFIX, name.get_ref());
            let DeValue::Table(table) = table.get_ref() else {
                return Err(ConfigError::BadValue {
                    at: at(here),
                    key: dotted,
                    found: Value::from_toml(table.get_ref()).to_string(),
                    allowed: Allowed::Table,
                });
            };
            // Without a key it exists too, with the defaults.
            self.namespace_mut(name.get_ref(), &at(here))?;
            entries.extend(table.iter().map(|(key, value)| {
                let dotted = format!("{dotted}.{}", key.get_ref());
                (key.span().start, dotted, Value::from_toml(value.get_ref()))
            }));
        }
        Ok(())
    }
}

/// The text of the file at `path`, which may be a pipe: its length is not known before its end.
fn read_text(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |error| ConfigError::FileUnreadable { path: path.to_owned(), error };
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(limits::CONFIG_FILE_SIZE_MAX + 1).read_to_string(&mut text).map_err(|error| {
        match error.kind() {
            io::ErrorKind::InvalidData => unreadable(io::Error::other("it is not UTF-8 text")),
            _ => unreadable(error),
        }
    })?;
    if text.len() as u64 > limits::CONFIG_FILE_SIZE_MAX {
        return Err(ConfigError::FileTooLong { path: path.to_owned() });
    }
    Ok(text)
}

fn widen<T>(range: RangeInclusive<T>) -> RangeInclusive<u64>
where
    T: Copy,
    u64: TryFrom<T>,
{
    let wide = |bound| u64::try_from(bound).ok().expect("bounds have no sign");
    wide(*range.start())..=wide(*range.end())
}

fn narrow<T: TryFrom<u64>>(number: Option<u64>, range: &RangeInclusive<u64>) -> Option<T> {
    T::try_from(number.filter(|number| range.contains(number))?).ok()
}
