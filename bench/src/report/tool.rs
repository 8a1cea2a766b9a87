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

/// The command line as it may be shown: without keys and tokens.
fn command_line(arguments: impl Iterator<Item = String>) -> String {
    let mut shown: Vec<String> = Vec::new();
    for argument in arguments {
        let after_name = shown.last().is_some_and(|last| SECRETS.contains(&last.as_str()));
        let name = argument.split_once('=').map_or("", |(name, _)| name);
        shown.push(match (after_name, SECRETS.contains(&name)) {
            (true, _) => HIDDEN.to_owned(),
            (_, true) => format!("{name}={HIDDEN}"),
            (false, false) => argument,
        });
    }
    shown.join(" ")
}

/// Whose values are secret.
const SECRETS: [&str; 2] = ["--api-key", "--token"];

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
            ("bench idle --token a.b.c --quiet", "bench idle --token ... --quiet"),
            ("bench idle --token=a.b=c", "bench idle --token=..."),
            ("bench fanout --api-keys", "bench fanout --api-keys"),
        ] {
            assert_eq!(command_line(line.split(' ').map(str::to_owned)), shown);
        }
    }
}
