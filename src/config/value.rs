//! One value as it was typed, and the reading of sizes, durations and lists.

use std::fmt;
use std::time::Duration;

use toml::de::{DeArray, DeValue};
use toml::value::{Datetime, Offset};

/// A value as it was typed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A string of the file.
    Text(String),
    /// A whole number of the file.
    Integer(i64),
    /// A true or false of the file.
    Switch(bool),
    /// An array of strings or whole numbers of the file.
    List(Vec<String>),
    /// Text from the environment or the command line; the key decides what it means.
    Typed(String),
    /// A date of the file.
    Date(Datetime),
    /// Something of the file that no key takes; the name of its kind.
    Other(&'static str),
}

impl Value {
    /// The value of a file's key.
    pub(super) fn from_toml(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.clone().into_owned()),
            DeValue::Integer(integer) => {
                match i64::from_str_radix(integer.as_str(), integer.radix()) {
                    Ok(integer) => Self::Integer(integer),
                    Err(_) => Self::Other("a number of more than 64 bits"),
                }
            }
            DeValue::Boolean(switch) => Self::Switch(*switch),
            DeValue::Array(array) => list_from_toml(array),
            DeValue::Float(_) => Self::Other("a number with a fraction"),
            DeValue::Datetime(date) => Self::Date(*date),
            DeValue::Table(_) => Self::Other("a table"),
        }
    }

    /// The text, if it is one.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Typed(text) => Some(text.trim()),
            _ => None,
        }
    }

    /// One word: a text, or true or false as they are written.
    pub(super) fn as_word(&self) -> Option<&str> {
        match self {
            Self::Switch(true) => Some("true"),
            Self::Switch(false) => Some("false"),
            _ => self.as_text(),
        }
    }

    /// True or false, if it is one.
    pub(super) fn as_switch(&self) -> Option<bool> {
        match self {
            Self::Switch(switch) => Some(*switch),
            Self::Typed(text) => match text.trim() {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// A whole number without sign, if it is one.
    pub(super) fn as_count(&self) -> Option<u64> {
        match self {
            Self::Integer(integer) => u64::try_from(*integer).ok(),
            Self::Typed(text) => digits(text.trim()),
            _ => None,
        }
    }

    /// Bytes, if it is a size: a whole number of bytes, or one with the unit B, KiB, MiB or GiB.
    pub(super) fn as_bytes(&self) -> Option<u64> {
        let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];
        self.as_quantity(&units, 1)
    }

    /// Time, if it is a duration: whole seconds, or a whole number with the unit ms, s, m or h.
    pub(super) fn as_duration(&self) -> Option<Duration> {
        let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
        self.as_quantity(&units, 1_000).map(Duration::from_millis)
    }

    /// A moment in seconds since 1970: such a number, or a date with a time and its offset from
    /// UTC (RFC 3339), bare or as text.
    pub(super) fn as_moment(&self) -> Option<u64> {
        match self {
            Self::Integer(_) => self.as_count(),
            Self::Date(date) => unix_seconds(date),
            Self::Text(text) | Self::Typed(text) => {
                digits(text.trim()).or_else(|| unix_seconds(&text.trim().parse().ok()?))
            }
            _ => None,
        }
    }

    /// The entries, if it is a list: an array, or a text with commas between them. Entries are
    /// trimmed; an empty text is an empty list.
    pub(super) fn as_list(&self) -> Option<Vec<String>> {
        match self {
            Self::List(entries) => Some(entries.iter().map(|e| e.trim().to_owned()).collect()),
            Self::Integer(integer) => Some(vec![integer.to_string()]),
            Self::Typed(text) if text.trim_start().starts_with('[') => {
                match Self::from_toml(DeValue::parse(text.trim()).ok()?.get_ref()) {
                    Self::List(entries) => Some(entries),
                    _ => None,
                }
            }
            Self::Text(text) | Self::Typed(text) if text.trim().is_empty() => Some(Vec::new()),
            Self::Text(text) | Self::Typed(text) => {
                Some(text.split(',').map(|entry| entry.trim().to_owned()).collect())
            }
            Self::Switch(_) | Self::Date(_) | Self::Other(_) => None,
        }
    }

    fn as_quantity(&self, units: &[(&str, u64)], unit_alone: u64) -> Option<u64> {
        let text = match self {
            Self::Integer(_) => return self.as_count()?.checked_mul(unit_alone),
            Self::Text(text) | Self::Typed(text) => text.trim(),
            _ => return None,
        };
        for (unit, factor) in units {
            if let Some(number) = text.strip_suffix(unit) {
                return digits(number.trim_end())?.checked_mul(*factor);
            }
        }
        digits(text)?.checked_mul(unit_alone)
    }
}

/// As it would be typed in the file; long texts cut, control characters escaped.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Typed(text) => write_quoted(f, text),
            Self::Integer(integer) => write!(f, "{integer}"),
            Self::Switch(switch) => write!(f, "{switch}"),
            Self::List(entries) => {
                f.write_str("[")?;
                for (index, entry) in entries.iter().take(SHOWN_ENTRIES).enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    write_quoted(f, entry)?;
                }
                f.write_str(if entries.len() > SHOWN_ENTRIES { ", …]" } else { "]" })
            }
            Self::Date(date) => write!(f, "{date}"),
            Self::Other(kind) => f.write_str(kind),
        }
    }
}

/// A size in the largest unit that divides it: `64KiB`.
pub(super) fn bytes_text(bytes: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes >= 1 << shift && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// A duration in the largest unit that divides it: `10m`.
pub(super) fn duration_text(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis == 0 {
        return "0s".to_owned();
    }
    for (unit_millis, unit) in [(3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
        if millis >= unit_millis && millis.is_multiple_of(unit_millis) {
            return format!("{}{unit}", millis / unit_millis);
        }
    }
    format!("{millis}ms")
}

fn list_from_toml(array: &DeArray<'_>) -> Value {
    let mut entries = Vec::with_capacity(array.len());
    for entry in array.iter() {
        match Value::from_toml(entry.get_ref()) {
            Value::Text(text) => entries.push(text),
            Value::Integer(integer) => entries.push(integer.to_string()),
            _ => return Value::Other("an array of something else than texts and whole numbers"),
        }
    }
    Value::List(entries)
}

/// Reads a duration as keys take it: whole seconds, or a whole number with the unit ms, s, m or h.
///
/// # Errors
/// What it should look like.
pub fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    let duration = Value::Typed(text.to_owned()).as_duration();
    duration.ok_or("write a whole number with the unit ms, s, m or h, such as 1h")
}

/// The moment of a date that has everything a moment needs.
fn unix_seconds(moment: &Datetime) -> Option<u64> {
    let (date, time) = (moment.date?, moment.time?);
    let offset_minutes = match moment.offset? {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    // Years that begin in March end with the leap day, so months are summed by one formula.
    let (year, month) = match date.month {
        1 | 2 => (i64::from(date.year) - 1, i64::from(date.month) + 9),
        month => (i64::from(date.year), i64::from(month) - 3),
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = year * 365 + leap_days + (153 * month + 2) / 5 + i64::from(date.day) - 1;
    let clock = i64::from(time.hour) * 3_600 + i64::from(time.minute) * 60;
    let second = i64::from(time.second.unwrap_or(0));
    let days_to_1970 = 719_468;
    let seconds = (days - days_to_1970) * 86_400 + clock + second - offset_minutes * 60;
    u64::try_from(seconds).ok()
}

/// Digits only: a sign, a space or a letter would be accepted or explained differently elsewhere.
fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => write!(f, "{:?}…", &text[..end]),
        None => write!(f, "{text:?}"),
    }
}

/// Characters of a text an error repeats: enough to find it again.
const SHOWN_CHARS: usize = 80;

/// Entries of a list an error repeats.
const SHOWN_ENTRIES: usize = 8;
