//! Whether two runs may be compared: what was asked of both, and on what they were made.

use serde_json::Value;

use crate::recorded::{Fields, Recorded};

/// How two runs differ, each difference in a line.
#[derive(Debug, Default)]
pub(super) struct Differences {
    /// Those that change the figures by themselves: the runs cannot be compared.
    pub(super) that_matter: Vec<String>,
    /// The others.
    pub(super) beside: Vec<String>,
}

impl Differences {
    /// Those between `old` and `new`.
    pub(super) fn between(old: &Recorded, new: &Recorded) -> Self {
        let mut found = Self::default();
        let (asked, asked_now) = (&old.scenario, &new.scenario);
        for name in names(asked, asked_now) {
            let values = [asked.get(name), asked_now.get(name)];
            if values[0] == values[1] {
                continue;
            }
            let line = format!("{name} {} and {}", told(values[0]), told(values[1]));
            match values {
                [Some(old), Some(new)] if !matters(name, old, new) => found.beside.push(line),
                _ => found.that_matter.push(line),
            }
        }
        for (old, new, names) in
            [(&old.environment, &new.environment, MACHINE), (&old.tool, &new.tool, TOOL)]
        {
            let differing = names.iter().filter(|name| old.get(**name) != new.get(**name));
            found.beside.extend(differing.map(|name| {
                format!("{name} {} and {}", told(old.get(*name)), told(new.get(*name)))
            }));
        }
        found
    }
}

/// The fields of both, those of `old` first.
fn names<'a>(old: &'a Fields, new: &'a Fields) -> impl Iterator<Item = &'a str> {
    let added = new.keys().filter(|name| !old.contains_key(*name));
    old.keys().chain(added).map(String::as_str)
}

/// Whether a field of the scenario that differs changes what is measured.
fn matters(name: &str, old: &Value, new: &Value) -> bool {
    match name {
        "duration_s" | "ramp_s" | "source_ip" => false,
        // Where a server listens is nothing to its figures; what is asked of it is.
        "url" | "publish" => parts(old) != parts(new),
        // Which cores they are is nothing to the figures either.
        "pin" => old.as_array().map(Vec::len) != new.as_array().map(Vec::len),
        "server_cpu" => old.is_null() != new.is_null(),
        _ => true,
    }
}

/// Scheme and path of a URL.
fn parts(url: &Value) -> Option<(&str, &str)> {
    let (scheme, rest) = url.as_str()?.split_once("://")?;
    Some((scheme, rest.find('/').map_or("", |start| &rest[start..])))
}

fn told(value: Option<&Value>) -> String {
    match value {
        None => "(not recorded)".to_owned(),
        Some(Value::Null) => "none".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

/// What is told of the machines.
const MACHINE: &[&str] =
    &["kernel", "cpu", "cores", "cores_allowed", "memory_bytes", "congestion_control"];

/// What is told of the load generators.
const TOOL: &[&str] = &["version", "commit"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_matters_or_is_told() {
        for (name, old, new, matters) in [
            ("url", r#""ws://a:1/echo""#, r#""ws://b:2/echo""#, false),
            ("url", r#""ws://a:1/echo""#, r#""ws://a:1/raw""#, true),
            ("publish", r#""http://a/api""#, r#""ws://a/api""#, true),
            ("publish", r#""http://a/api""#, "null", true),
            ("pin", "[1]", "[3]", false),
            ("pin", "[1]", "[1, 2]", true),
            ("pin", "[1]", "null", true),
            ("server_cpu", "0", "2", false),
            ("server_cpu", "0", "null", true),
            ("duration_s", "10.0", "30.0", false),
            ("zipf", "1.0", "null", true),
            ("churn", "0", "10", true),
        ] {
            let run = |value| {
                let text = format!(r#"{{"scenario": {{"command": "x", "{name}": {value}}}}}"#);
                Recorded::parse(&text).expect("JSON")
            };
            let found = Differences::between(&run(old), &run(new));
            let counts = (found.that_matter.len(), found.beside.len());
            assert_eq!(counts, if matters { (1, 0) } else { (0, 1) }, "{name} {old} {new}");
        }
    }

    #[test]
    fn what_one_run_does_not_tell_cannot_be_compared() {
        let of = |text| Recorded::parse(text).expect("JSON");
        let old = of(r#"{"scenario": {"command": "echo"}}"#);
        let new = of(r#"{"scenario": {"command": "echo", "url": "ws://a/"}}"#);
        let found = Differences::between(&old, &new);
        assert_eq!(found.that_matter, ["url (not recorded) and ws://a/"]);
    }
}
