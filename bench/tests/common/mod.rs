//! The program as a process: run to its end, its exit code and JSON taken.
//!
//! Every test binary compiles all of it and uses a part, hence the allowance.
#![allow(dead_code, unreachable_pub)]

pub mod gateway;

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

/// The load generator.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate-bench");

/// Runs it with `arguments`: exit code and JSON.
pub fn bench(arguments: &[&str]) -> (i32, Value) {
    bench_with(":", arguments)
}

/// The same after a command of the shell.
pub fn bench_with(first: &str, arguments: &[&str]) -> (i32, Value) {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let file = format!("{}/{}-{number}.json", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let script = format!("{first} && exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, PROGRAM]).args(arguments).args(["--json", &file]);
    let output = command.output().expect("it starts");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("no JSON: {output:?}"));
    std::fs::remove_file(&file).expect("just read");
    (output.status.code().expect("an exit code"), serde_json::from_str(&text).expect("JSON"))
}

/// The exit code is `expected`, unless this machine was too busy to keep the schedule: then the
/// run must say so.
pub fn assert_verdict(code: i32, report: &Value, expected: i32) {
    let open_loop = !report["rate"]["asked"].is_null();
    let behind = open_loop && report["generator"]["valid"] == false;
    assert_eq!(code, if behind { 3 } else { expected }, "{report}");
}
