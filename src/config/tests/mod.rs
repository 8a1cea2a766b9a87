//! Tests of the loader: sources, precedence, messages, the printed defaults.

mod channels;
mod hooks;
mod notices;
mod token;
mod values;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::keys;
use super::raw::RawConfig;
use super::resolve::Machine;
use super::*;
use crate::protocol::channel::Audience;

/// A file that is gone when the test ends.
struct TempFile(PathBuf);

impl TempFile {
    fn new(text: &str, mode: u32) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tidegate-config-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(mode).open(&path).unwrap();
        file.set_permissions(fs::Permissions::from_mode(mode)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn on_two_cores(inputs: &Inputs) -> Result<Loaded, ConfigError> {
    let machine = Machine { cores: &[0, 1], memory: u64::MAX };
    resolve::resolve(RawConfig::read(inputs)?, inputs, machine)
}

fn from_file(text: &str) -> Result<Loaded, String> {
    let file = TempFile::new(text, 0o600);
    let inputs = Inputs { file: Some(file.0.clone()), ..Inputs::default() };
    let shown = file.0.display().to_string();
    on_two_cores(&inputs).map_err(|error| error.to_string().replace(&shown, "FILE"))
}

fn from_flags(flags: &[(&str, &str)]) -> Result<Config, String> {
    let loaded = on_two_cores(&inputs_of(flags, &[]));
    loaded.map(|loaded| loaded.config).map_err(|error| error.to_string())
}

fn inputs_of(flags: &[(&str, &str)], environment: &[(&str, &str)]) -> Inputs {
    let flag = |(key, value): &(&str, &str)| FlagSetting {
        flag: "--set",
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    };
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Inputs {
        flags: flags.iter().map(flag).collect(),
        environment: environment.iter().map(owned).collect(),
        ..Inputs::default()
    }
}

#[test]
fn defaults_are_those_of_limits() {
    let config = from_flags(&[]).unwrap();
    assert_eq!(format!("{:?}", config.limits), format!("{:?}", Limits::default()));
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:8000");
    assert_eq!(config.server.admin.to_string(), "127.0.0.1:8001");
    assert_eq!(config.server.shards.get(), 2);
    assert_eq!(config.server.drain, Duration::from_secs(20));
    assert!(!config.server.dev && !config.echo.enabled && config.server.api_key.is_none());
    assert!(config.server.cpus.is_empty() && config.server.origins.is_empty());
    assert!(!config.channels.welcome_anonymous());
    assert_eq!(config.echo.message.message_size, 16 * 1024 * 1024);
    assert_eq!(config.echo.message.fragments, 131_072);
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!(config.log.level, tracing::Level::INFO);
}

#[test]
fn dev_changes_defaults_but_not_what_was_set() {
    let config = from_flags(&[("server.dev", "true")]).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8000");
    assert!(config.server.dev && config.echo.enabled);
    assert_eq!(config.server.drain, Duration::ZERO);
    assert!(config.channels.welcome_anonymous());

    let set = from_file(
        "[server]\ndev = true\nlisten = \"127.0.0.2:9000\"\ndrain = 3\n[echo]\nenabled = false\n\
         [channel]\nallow_publish = false\n",
    );
    let config = set.unwrap().config;
    assert_eq!(config.server.listen.to_string(), "127.0.0.2:9000");
    assert_eq!(config.server.drain, Duration::from_secs(3));
    assert!(!config.echo.enabled);
    let channel = config.channels.options("news").unwrap();
    assert_eq!(
        (channel.allow_publish, channel.allow_subscribe),
        (Audience::Nobody, Audience::User)
    );
}

#[test]
fn the_later_source_wins() {
    let file =
        TempFile::new("[limits]\nmailbox_len = 10\nconnections = 10\nsq_entries = 16\n", 0o600);
    let environment =
        [("TIDEGATE_LIMITS_CONNECTIONS", "20"), ("TIDEGATE_LIMITS_SQ_ENTRIES", "32"), ("PATH", "")];
    let mut inputs =
        inputs_of(&[("limits.sq_entries", "8"), ("limits.sq_entries", "64")], &environment);
    inputs.file = Some(file.0.clone());
    let loaded = on_two_cores(&inputs).unwrap();
    assert_eq!(loaded.config.limits.mailbox_len, 10);
    assert_eq!(loaded.config.limits.connections, 20);
    assert_eq!(loaded.config.limits.sq_entries, 64);
    assert_eq!(loaded.warnings, []);
}

#[test]
fn an_unknown_key_names_line_and_nearest() {
    let cases = [
        (
            "[limits]\nmessage_size = 1\n\nmesage_size = 2\n",
            "FILE:4: unknown key \"limits.mesage_size\"; did you mean limits.message_size?",
        ),
        (
            "[limit]\nmessage_size = 1\n",
            "FILE:2: unknown key \"limit.message_size\"; did you mean limits.message_size?",
        ),
        (
            "listen = \"127.0.0.1:1\"\n",
            "FILE:1: unknown key \"listen\"; did you mean server.listen?",
        ),
        ("\n[srver]\n", "FILE:2: unknown key \"srver\"; did you mean server?"),
        ("[lgo]\n", "FILE:1: unknown key \"lgo\"; did you mean log?"),
        ("[server]\nxyzzy_plugh = 1\n", "FILE:2: unknown key \"server.xyzzy_plugh\""),
        (
            "[server]\napi_key = \"k\"\n",
            "FILE:2: unknown key \"server.api_key\"; did you mean server.api_key_file?",
        ),
        ("[server.sub]\nx = 1\n", "FILE:1: unknown key \"server.sub\""),
        // Tables are kept sorted by the parser: the first line with a fault is the one named.
        ("[server]\nzzz = 1\n[log]\naaa = 1\n", "FILE:2: unknown key \"server.zzz\""),
    ];
    for (text, expected) in cases {
        assert_eq!(from_file(text).unwrap_err(), expected, "{text}");
    }
    assert_eq!(
        from_flags(&[("echo.enable", "true")]).unwrap_err(),
        "--set: unknown key \"echo.enable\"; did you mean echo.enabled?"
    );
}

#[test]
fn a_bad_value_names_key_line_found_and_allowed() {
    let cases = [
        (
            "[limits]\nmessage_size = \"64 KB\"\n",
            "FILE:2: limits.message_size is \"64 KB\"; allowed: a size from 1 to 1GiB, in bytes or \
             with the unit B, KiB, MiB or GiB",
        ),
        ("[echo]\nenabled = \"yes\"\n", "FILE:2: echo.enabled is \"yes\"; allowed: true or false"),
        (
            "[limits]\nconnections = 1.5\n",
            "FILE:2: limits.connections is a number with a fraction; allowed: a whole number from 1 \
             to 1073741824",
        ),
        (
            "[limits]\nping_interval = \"1 day\"\n",
            "FILE:2: limits.ping_interval is \"1 day\"; allowed: a duration from 10ms to 24h, in \
             seconds or with the unit ms, s, m or h",
        ),
        (
            "server = 3\n",
            "FILE:1: server is 3; allowed: a table, written as [name] with its keys below",
        ),
        (
            "[server]\ntrusted_proxies = [true]\n",
            "FILE:2: server.trusted_proxies is an array of something else than texts and whole \
             numbers; allowed: addresses or networks, such as 10.0.0.0/8",
        ),
        ("[log]\nformat = \"xml\"\n", "FILE:2: log.format is \"xml\"; allowed: text, json"),
        (
            "[server]\nlisten = \"localhost:80\\n00\"\n",
            "FILE:2: server.listen is \"localhost:80\\n00\"; allowed: an address and a port, such as \
             127.0.0.1:8000 or [::1]:8000",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(from_file(text).unwrap_err(), expected, "{text}");
    }
    let inputs = inputs_of(&[], &[("TIDEGATE_SERVER_SHARDS", "many")]);
    assert_eq!(
        on_two_cores(&inputs).unwrap_err().to_string(),
        "environment variable TIDEGATE_SERVER_SHARDS: server.shards is \"many\"; allowed: \"auto\", \
         or a whole number from 0 (auto) to 64"
    );
}

#[test]
fn what_is_not_toml_names_its_line() {
    let error = from_file("[server]\nlisten = \"127.0.0.1:1\"\nlisten 3\n").unwrap_err();
    assert!(error.starts_with("FILE:3: not TOML: "), "{error}");
    assert!(!error.contains('\n'), "{error:?}");
    let twice = from_file("[log]\nlevel = \"info\"\nlevel = \"warn\"\n").unwrap_err();
    assert!(twice.starts_with("FILE:3: not TOML: duplicate key"), "{twice}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let inputs = Inputs { file: Some("/nonexistent/t.toml".into()), ..Inputs::default() };
    let error = on_two_cores(&inputs).unwrap_err().to_string();
    assert!(error.starts_with("cannot read the configuration file /nonexistent/t.toml: "));
    let long = "#".repeat(limits::CONFIG_FILE_SIZE_MAX as usize);
    assert!(from_file(&long).is_ok());
    assert_eq!(
        from_file(&(long + "#")).unwrap_err(),
        "the configuration file FILE is longer than 1MiB"
    );
}

#[test]
fn what_is_probably_not_meant_is_warned_about() {
    let environment = [("TIDEGATE_PORT", "tcp://10.0.0.1:80"), ("TIDEGATE_SERVER_LISTN", "x")];
    let flags = [
        ("server.dev", "true"),
        ("server.listen", "0.0.0.0:8000"),
        ("limits.publication_size", "2MiB"),
        ("limits.outbox_bytes", "4MiB"),
    ];
    let loaded = on_two_cores(&inputs_of(&flags, &environment)).unwrap();
    let unknown = |name: &str, nearest: Option<&str>| Warning::UnknownVariable {
        name: name.to_owned(),
        nearest: nearest.map(str::to_owned),
    };
    assert_eq!(
        loaded.warnings,
        [
            unknown("TIDEGATE_PORT", None),
            unknown("TIDEGATE_SERVER_LISTN", Some("TIDEGATE_SERVER_LISTEN")),
            Warning::DevReachable { listen: "0.0.0.0:8000".parse().unwrap() },
            Warning::PublicationAboveApiBody { publication: 2 << 20 },
        ]
    );
    for warning in loaded.warnings {
        assert!(!warning.to_string().contains('\n'));
    }
}

#[test]
fn compression_that_does_nothing_is_warned_about() {
    let warnings = |settings: &[(&str, &str)]| {
        let loaded = on_two_cores(&inputs_of(settings, &[])).unwrap();
        (loaded.config.server.compression, loaded.warnings)
    };
    let on = ("server.compression", "true");
    let (compression, none) = warnings(&[on, ("server.compression_level", "1")]);
    assert_eq!(
        compression.map(|compression| (compression.level, compression.size_min)),
        Some((1, 128))
    );
    assert_eq!(none, []);

    let (compression, idle) = warnings(&[("server.compression_level", "9")]);
    assert_eq!(compression, None);
    let key = "server.compression_level";
    assert_eq!(idle, [Warning::CompressionOff { key, at: Source::Flag("--set") }]);
    assert!(idle[0].to_string().starts_with("--set: server.compression_level has no effect"));

    let long = ("server.compression_min_size", "1MiB");
    let (_, useless) = warnings(&[on, long]);
    assert_eq!(useless, [Warning::NothingCompressed { size_min: 1 << 20, largest: 64 * 1024 }]);
    assert_eq!(warnings(&[on, long, ("echo.enabled", "true")]).1, []);

    for bad in [("server.compression_level", "0"), ("server.compression_level", "10")] {
        let refused = on_two_cores(&inputs_of(&[bad], &[])).unwrap_err().to_string();
        assert!(refused.contains("a whole number from 1 to 9"), "{refused}");
    }
}

#[test]
fn the_example_file_is_what_config_default_prints() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tidegate.example.toml");
    assert_eq!(
        fs::read_to_string(path).unwrap(),
        default_text(),
        "run: cargo run -- config default > tidegate.example.toml"
    );
}

#[test]
fn every_key_uncommented_is_exactly_the_default() {
    let text = default_text();
    let is_key = |rest: &str| rest.starts_with(|c: char| c.is_ascii_lowercase());
    let uncommented: Vec<&str> = text
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| is_key(rest)).unwrap_or(line))
        .collect();
    let settings = uncommented.iter().filter(|line| line.contains(" = ") && is_key(line)).count();
    assert_eq!(settings, keys::all().count());
    let loaded = from_file(&uncommented.join("\n")).unwrap();
    let untouched = on_two_cores(&Inputs::default()).unwrap();
    assert_eq!(format!("{:?}", loaded.config), format!("{:?}", untouched.config));
    assert!(text.lines().all(|line| line.len() <= 100));
}

#[test]
fn every_key_has_a_variable_that_sets_it() {
    for key in keys::all() {
        let name = keys::variable(key.name);
        let inputs = inputs_of(&[], &[(&name, "\u{1}")]);
        let refused = on_two_cores(&inputs).map(|loaded| loaded.config.server.api_key);
        let message = match refused {
            Err(error) => error.to_string(),
            // A pattern is any text, so this one is taken.
            Ok(_) => format!("environment variable {name}: {}", key.name),
        };
        assert!(message.starts_with(&format!("environment variable {name}")), "{message}");
    }
}
