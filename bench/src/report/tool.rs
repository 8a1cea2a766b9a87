//! Which program made a report, called how.

use serde::Serialize;

/// Which program, called how.
#[derive(Debug, Serialize)]
pub(crate) struct Tool {
    version: &'static str,
    commit: Option<&'static str>,
    command: String,
}

impl Tool {
    /// This program and its command line.
    pub(crate) fn read() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("TIDEGATE_BENCH_COMMIT"),
            command: command_line(std::env::args()),
        }
    }
}

/// The command line as it may be shown: without the key of an API.
fn command_line(arguments: impl Iterator<Item = String>) -> String {
    let mut shown: Vec<String> = Vec::new();
    for argument in arguments {
        let after_name = shown.last().is_some_and(|last| last == API_KEY);
        let named = argument.strip_prefix(API_KEY).is_some_and(|rest| rest.starts_with('='));
        shown.push(match (after_name, named) {
            (true, _) => HIDDEN.to_owned(),
            (_, true) => format!("{API_KEY}={HIDDEN}"),
            (false, false) => argument,
        });
    }
    shown.join(" ")
}

/// Whose value is a secret.
const API_KEY: &str = "--api-key";

/// What stands for it.
const HIDDEN: &str = "...";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_shown() {
        for (line, shown) in [
            ("bench fanout --api-key secret --rate 1", "bench fanout --api-key ... --rate 1"),
            ("bench fanout --api-key=secret", "bench fanout --api-key=..."),
            ("bench fanout --api-keys", "bench fanout --api-keys"),
        ] {
            assert_eq!(command_line(line.split(' ').map(str::to_owned)), shown);
        }
    }
}
