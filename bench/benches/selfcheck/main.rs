//! The load generator against servers whose behaviour is known, in real time; run by
//! `scripts/bench-selfcheck`.
//!
//! The same checks run on a virtual clock with the tests; here the clock, the ring and the sockets
//! are real. A check in which the generator or the server lagged is tried again, three times at
//! most, and is then told as invalid: never as passed.

mod checks;
mod judge;
mod stub;
mod watch;

use std::io::{self, Write};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering};

use judge::Outcome;
use serde_json::Value;

fn main() -> ExitCode {
    // `cargo bench` says so; the rest is ours.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let (flags, names): (Vec<_>, Vec<_>) = arguments.iter().partition(|a| a.starts_with("--"));
    if flags.iter().any(|flag| *flag != "--short") {
        eprintln!("usage: selfcheck [--short] [NAME]...");
        return ExitCode::FAILURE;
    }
    let is_short = !flags.is_empty();
    let mut worst = 0;
    for (name, check) in checks::ALL {
        let wanted = names.is_empty() || names.iter().any(|wanted| name.starts_with(*wanted));
        if wanted {
            worst = worst.max(report(name, || check(is_short)));
        }
    }
    worst.into()
}

/// Tries a check and prints what came of it; 0 passed, 1 invalid, 2 failed.
fn report(name: &str, check: impl Fn() -> Outcome) -> u8 {
    for attempt in 1..=TRIES {
        let (word, code, text) = match check() {
            Outcome::Passed(text) => ("passed", 0, text),
            Outcome::Failed(text) => ("FAILED", 2, text),
            Outcome::Invalid(_) if attempt < TRIES => continue,
            Outcome::Invalid(text) => ("invalid", 1, text),
        };
        writeln!(io::stdout(), "{name:24} {word:8} {text}").expect("somebody reads it");
        return code;
    }
    unreachable!("the last try is told")
}

/// Runs the program; its JSON.
fn bench(arguments: &[&str]) -> Value {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let file = std::env::temp_dir();
    let file = file.join(format!("tidegate-selfcheck-{}-{number}.json", std::process::id()));
    let output = Command::new(PROGRAM)
        .args(arguments)
        .args(["--quiet", "--json"])
        .arg(&file)
        .output()
        .expect("it starts");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("no JSON: {output:?}"));
    std::fs::remove_file(&file).expect("just read");
    serde_json::from_str(&text).expect("JSON")
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate-bench");

const TRIES: u32 = 3;
