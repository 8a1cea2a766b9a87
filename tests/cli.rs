//! The program's command line, run as an operator runs it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// `tidegate` with `arguments` and without settings of ours from outside.
fn tidegate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEGATE_") {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = tidegate(arguments).output().expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("it prints UTF-8");
    (status.code(), text(stdout), text(stderr))
}

fn settings_file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).expect("cargo made the directory");
    path
}

#[test]
fn version_names_the_commit() {
    let (code, out, _) = run(&["--version"]);
    assert_eq!(code, Some(0));
    let rest =
        out.trim_end().strip_prefix(concat!("tidegate ", env!("CARGO_PKG_VERSION"))).unwrap();
    let root = env!("CARGO_MANIFEST_DIR");
    if PathBuf::from(root).join(".git").exists() {
        let head = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(root).output();
        let head = String::from_utf8(head.unwrap().stdout).unwrap();
        let commit = rest.strip_prefix(" (").and_then(|rest| rest.strip_suffix(')')).unwrap();
        assert!(commit.len() >= 12 && head.starts_with(commit), "{commit} is not {head}");
    } else {
        assert_eq!(rest, "");
    }
}

/// `cargo run` hands the program what the build script has set, and the program warns of variables
/// with its prefix that are no settings.
#[test]
fn the_build_sets_nothing_that_looks_like_a_setting() {
    let (_, version, _) = run(&["--version"]);
    let version = version.trim_end().strip_prefix("tidegate ").unwrap();
    let set = std::env::vars().find(|(_, value)| value == version);
    assert!(!set.as_ref().is_some_and(|(name, _)| name.starts_with("TIDEGATE_")), "{set:?}");
}

#[test]
fn config_default_prints_the_example_file() {
    let (code, out, error) = run(&["config", "default"]);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tidegate.example.toml");
    assert_eq!((code, out, error), (Some(0), fs::read_to_string(path).unwrap(), String::new()));
    assert_eq!(run(&["config", "check", "--config", path]).0, Some(0));
}

#[test]
fn an_unknown_key_stops_with_file_line_and_nearest() {
    let file = settings_file("unknown.toml", "[server]\n\nlistn = \"127.0.0.1:1\"\n");
    let path = file.to_str().unwrap();
    let expected = format!(
        "tidegate: error: {path}:3: unknown key \"server.listn\"; did you mean server.listen?\n"
    );
    for command in [&["serve"][..], &["config", "check"], &["doctor"]] {
        let (code, out, error) = run(&[command, &["--config", path]].concat());
        assert_eq!((code, out.as_str(), error.as_str()), (Some(2), "", expected.as_str()));
    }
}

#[test]
fn flags_win_over_the_environment_which_wins_over_the_file() {
    let file = settings_file("precedence.toml", "[server]\nshards = \"of the file\"\n");
    let path = file.to_str().unwrap();
    let check = |flags: &[&str], variable: Option<&str>| {
        let mut command = tidegate(&[&["config", "check"], flags].concat());
        command.env("TIDEGATE_CONFIG", path);
        if let Some(value) = variable {
            command.env("TIDEGATE_SERVER_SHARDS", value);
        }
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    assert!(check(&[], None).contains("is \"of the file\""));
    assert!(
        check(&[], Some("of env")).contains("TIDEGATE_SERVER_SHARDS: server.shards is \"of env\"")
    );
    let flag = check(&["--shards", "of a flag", "--set", "server.shards=of set"], Some("of env"));
    assert!(flag.contains("--shards: server.shards is \"of a flag\""), "{flag}");
    assert_eq!(check(&["--shards", "2"], Some("of env")), "");
}

#[test]
fn wrong_arguments_and_settings_are_exit_code_2() {
    let cases: [&[&str]; 6] = [
        &[],
        &["serve", "--no-such-flag"],
        &["serve", "--set", "no-equals-sign"],
        &["serve", "--listen", "nowhere"],
        &["serve", "--admin", "0.0.0.0:8001"],
        &["serve", "--config", "/nonexistent/tidegate.toml"],
    ];
    for arguments in cases {
        let (code, out, error) = run(arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}: {error}");
        assert!(!error.is_empty());
    }
    assert!(run(&["serve", "--admin", "0.0.0.0:8001"]).2.contains("set TIDEGATE_API_KEY"));
}

#[test]
fn an_api_key_on_the_command_line_is_warned_about_and_not_shown() {
    let (code, out, error) = run(&["config", "check", "--api-key", "hunter2"]);
    assert_eq!((code, out.as_str()), (Some(0), "the settings are valid\n"));
    assert!(error.contains("warning: --api-key shows the key") && !error.contains("hunter2"));
}

#[test]
fn doctor_says_the_same_in_text_and_json() {
    let (code, text, error) = run(&["doctor"]);
    assert_eq!(error, "");
    let (json_code, json, _) = run(&["doctor", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(text.lines().count(), findings.len());
    for (line, finding) in text.lines().zip(findings) {
        assert!(line.contains(finding["check"].as_str().unwrap()), "{line}");
    }
    let expected = if report["can_run"] == true { 0 } else { 1 };
    assert_eq!((code, json_code), (Some(expected), Some(expected)));
    // The tests need the gateway to run, so on a machine that runs them it can.
    assert_eq!(expected, 0, "{text}");
}

#[test]
fn help_names_every_flag() {
    let (code, out, _) = run(&["serve", "--help"]);
    assert_eq!(code, Some(0));
    for flag in [
        "--config",
        "--listen",
        "--admin",
        "--shards",
        "--cpus",
        "--api-key",
        "--drain",
        "--dev",
        "--log-format",
        "--log-level",
        "--set",
    ] {
        assert!(out.contains(flag), "{flag}");
    }
}
