//! Tests of single values, of what they mean together, and of the API key.

use std::time::Duration;

use super::super::raw::RawConfig;
use super::super::resolve::Machine;
use super::super::*;
use super::{TempFile, from_file, from_flags, inputs_of, on_two_cores};

#[test]
fn sizes_and_durations_read_as_documented() {
    let size = |text: &str| {
        from_flags(&[("limits.message_size", text)]).map(|c| c.limits.message.message_size)
    };
    let sizes = [("1", 1), ("1B", 1), ("64KiB", 65_536), ("2 MiB", 2 << 20), ("1GiB", 1 << 30)];
    for (text, bytes) in sizes {
        assert_eq!(size(text), Ok(bytes), "{text}");
    }
    for text in ["0", "", "KiB", "1.5KiB", "-1", "+1", "1kib", "2GiB", "99999999999999GiB", "1 K"] {
        assert!(size(text).is_err(), "{text}");
    }
    let time =
        |text: &str| from_flags(&[("server.drain", text)]).map(|c| c.server.drain.as_millis());
    let times = [("0", 0), ("20", 20_000), ("25s", 25_000), ("500ms", 500), ("10 m", 600_000)];
    for (text, millis) in times {
        assert_eq!(time(text), Ok(millis), "{text}");
    }
    for text in ["", "s", "-1s", "1.5s", "25h", "86401", "1d", "18446744073709551615m"] {
        assert!(time(text).is_err(), "{text}");
    }
    let file = "[server]\ndrain = 7\n[limits]\nmessage_size = 0x400\nping_interval = \"30s\"\n";
    let config = from_file(file).unwrap().config;
    assert_eq!(config.server.drain, Duration::from_secs(7));
    assert_eq!(config.limits.message.message_size, 1_024);
    assert_eq!(config.limits.ping_interval, Duration::from_secs(30));
}

#[test]
fn lists_read_as_arrays_or_with_commas() {
    let config = from_file(
        "[server]\ncpus = [0, 1]\norigins = \"https://a.example, https://B.example:443\"\n\
         trusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n",
    )
    .unwrap()
    .config;
    assert_eq!(config.server.cpus, [0, 1]);
    assert_eq!(config.server.origins, ["https://a.example", "https://b.example"]);
    let proxies: Vec<String> =
        config.server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "::1/128"]);

    let config = from_flags(&[("server.cpus", "1, 0-1")]).unwrap();
    assert_eq!(config.server.cpus, [1, 0]);
    let networks = from_flags(&[("server.trusted_proxies", "[\"10.0.0.1\", \"::1\"]")]).unwrap();
    assert_eq!(networks.server.trusted_proxies.len(), 2);
    for (key, value) in [
        ("server.cpus", "a"),
        ("server.cpus", "1-0"),
        ("server.cpus", "0-99999999999"),
        ("server.trusted_proxies", "10.0.0.1,,10.0.0.2"),
        ("server.trusted_proxies", "[1.5]"),
        ("server.origins", "*,https://a.example"),
        ("server.trusted_proxies", "10.0.0.0/33"),
    ] {
        assert!(from_flags(&[(key, value)]).is_err(), "{key}={value}");
    }
    let most = vec!["10.0.0.1"; limits::CONFIG_LIST_LEN_MAX].join(",");
    assert!(from_flags(&[("server.trusted_proxies", &most)]).is_ok());
    let error = from_flags(&[("server.trusted_proxies", &(most + ",::1"))]).unwrap_err();
    assert!(error.ends_with("allowed: a list of at most 1024 entries"), "{error}");
}

#[test]
fn shards_are_one_per_core_unless_given() {
    let shards = |cores: &[usize], flags: &[(&str, &str)]| {
        let inputs = inputs_of(flags, &[]);
        let machine = Machine { cores, memory: u64::MAX };
        let loaded = resolve::resolve(RawConfig::read(&inputs).unwrap(), &inputs, machine);
        loaded.map(|loaded| loaded.config.server.shards.get()).map_err(|error| error.to_string())
    };
    let many: Vec<usize> = (0..200).collect();
    assert_eq!(shards(&[3], &[]), Ok(1));
    assert_eq!(shards(&many, &[]), Ok(limits::SHARDS_MAX));
    assert_eq!(shards(&many, &[("server.shards", "0")]), Ok(limits::SHARDS_MAX));
    assert_eq!(shards(&many, &[("server.cpus", "4-6")]), Ok(3));
    assert_eq!(shards(&[0], &[("server.shards", "64")]), Ok(64));
    assert!(shards(&[0], &[("server.shards", "65")]).is_err());
    let outside = shards(&[0, 2], &[("server.cpus", "0,1")]).unwrap_err();
    assert!(outside.starts_with("core 1 of server.cpus is not among"), "{outside}");
}

#[test]
fn default_bounds_fit_the_memory_that_there_is() {
    let bounds = |memory: u64, flags: &[(&str, &str)]| {
        let inputs = inputs_of(flags, &[]);
        let machine = Machine { cores: &[0, 1], memory };
        let typed = RawConfig::read(&inputs).unwrap();
        let limits = resolve::resolve(typed, &inputs, machine).unwrap().config.limits;
        (limits.outbox_shard_bytes, limits.history_bytes)
    };
    let default = (limits::OUTBOX_SHARD_BYTES_DEFAULT, limits::HISTORY_BYTES_DEFAULT);
    assert_eq!(bounds(64 << 30, &[]), default);
    assert_eq!(bounds(256 << 20, &[]), (32 << 20, 64 << 20), "a quarter, one of it for two shards");
    assert_eq!(bounds(1 << 20, &[]), (limits::OUTBOX_BYTES_DEFAULT, 256 << 10), "one outbox fits");
    // What is set is left as it is.
    let set = [("limits.outbox_shard_bytes", "1GiB"), ("limits.history_bytes", "512MiB")];
    assert_eq!(bounds(256 << 20, &set), default);
}

#[test]
fn every_cross_check_says_what_to_do() {
    let refused = |flags: &[(&str, &str)], start: &str| {
        let error = from_flags(flags).unwrap_err();
        assert!(error.starts_with(start), "{error}");
    };
    refused(
        &[("limits.outbox_bytes", "65549")],
        "one publication must fit into an empty outbox: raise limits.outbox_bytes from 65549 to at \
         least 65550 bytes, or lower limits.publication_size (limits.outbox_bytes: --set; \
         limits.publication_size: default)",
    );
    refused(&[("limits.outbox_shard_bytes", "1048575")], "a shard's outboxes must hold at least");
    refused(&[("limits.sq_entries", "2049")], "each submission may complete more than once");
    refused(
        &[("limits.pong_timeout", "26s")],
        "a ping must be answered before the next one: lower limits.pong_timeout from 26s to at most \
         25s",
    );
    refused(
        &[("limits.connections", "16777217"), ("server.shards", "1")],
        "16777217 connections do not fit into the shards",
    );
    refused(&[("server.admin", "127.0.0.1:8000")], "clients (0.0.0.0:8000) and admin (127");
    refused(
        &[("server.listen", "[::]:8001")],
        "clients ([::]:8001) and admin (127.0.0.1:8001) need ports of their own",
    );
    refused(&[("server.admin", "0.0.0.0:8001")], "the admin address 0.0.0.0:8001 is not loopback");
    refused(&[("server.admin", "[::]:8001")], "the admin address [::]:8001 is not loopback");
    for bad in ["0", "2", "3", "48", "65536"] {
        assert!(from_flags(&[("limits.receive_buffers", bad)]).is_err(), "{bad}");
    }
    refused(
        &[("limits.receive_buffers", "48")],
        "--set: limits.receive_buffers is \"48\"; allowed: a power of two from 4 to 32768",
    );
}

#[test]
fn what_only_just_fits_is_taken() {
    let accepted: [&[(&str, &str)]; 7] = [
        &[("limits.outbox_bytes", "65550")],
        &[("limits.outbox_shard_bytes", "1048576")],
        &[("limits.sq_entries", "2048")],
        &[("limits.pong_timeout", "25s")],
        &[("server.listen", "127.0.0.1:0"), ("server.admin", "127.0.0.1:0")],
        &[("server.admin", "[::ffff:127.0.0.1]:8001")],
        &[
            ("limits.receive_buffers", "4"),
            ("limits.sq_entries", "8"),
            ("limits.cq_entries", "64"),
            ("limits.mailbox_len", "4"),
        ],
    ];
    for flags in accepted {
        assert_eq!(from_flags(flags).map(|_| ()), Ok(()), "{flags:?}");
    }
}

#[test]
fn the_api_key_comes_from_the_latest_source() {
    let file = TempFile::new("from-file\n", 0o600);
    let path = file.0.display().to_string();
    let key = |flags: &[(&str, &str)], environment: &[(&str, &str)], direct: Option<&str>| {
        let mut inputs = inputs_of(flags, environment);
        inputs.api_key_flag = direct.map(str::to_owned);
        let loaded = on_two_cores(&inputs).map_err(|error| error.to_string())?;
        let key = loaded.config.server.api_key.map(|key| key.expose().to_vec());
        Ok((key.map(|key| String::from_utf8(key).unwrap()), loaded.warnings))
    };
    let some = |key: &str, warnings: Vec<Warning>| -> Result<_, String> {
        Ok((Some(key.to_owned()), warnings))
    };
    let by_file = [("TIDEGATE_SERVER_API_KEY_FILE", path.as_str())];
    let by_variable = [("TIDEGATE_API_KEY", "from-variable")];
    let both = [by_file[0], by_variable[0]];
    assert_eq!(key(&[], &by_file, None), some("from-file", vec![]));
    assert_eq!(key(&[], &both, None), some("from-variable", vec![]));
    let by_set = [("server.api_key_file", path.as_str())];
    assert_eq!(key(&by_set, &by_variable, None), some("from-file", vec![]));
    let shown = vec![Warning::KeyOnCommandLine];
    assert_eq!(key(&by_set, &both, Some("from-flag")), some("from-flag", shown));
    assert_eq!(key(&[], &[], None), Ok((None, vec![])));

    let empty = key(&[], &[("TIDEGATE_API_KEY", "")], None).unwrap_err();
    assert!(empty.starts_with("environment variable TIDEGATE_API_KEY: the API key is empty"));
    let spaced = key(&[], &[("TIDEGATE_API_KEY", "top secret")], None).unwrap_err();
    assert!(spaced.contains("no spaces") && !spaced.contains("top"), "{spaced}");
    assert!(key(&[], &[], Some(&"k".repeat(limits::API_KEY_SIZE_MAX))).is_ok());
    assert!(key(&[], &[], Some(&"k".repeat(limits::API_KEY_SIZE_MAX + 1))).is_err());
    let missing = key(&[("server.api_key_file", "/nonexistent/key")], &[], None).unwrap_err();
    assert!(missing.starts_with("--set: cannot read the API key file /nonexistent/key: "));
}

#[test]
fn a_key_file_others_can_read_is_warned_about() {
    let file = TempFile::new("k\n", 0o644);
    let path = file.0.display().to_string();
    let flags = [("server.api_key_file", path.as_str()), ("server.admin", "0.0.0.0:8001")];
    let loaded = on_two_cores(&inputs_of(&flags, &[])).unwrap();
    assert_eq!(loaded.warnings, [Warning::KeyFileReadable { path: file.0.clone() }]);
    assert!(!format!("{:?}", loaded.config).contains("\"k\""));
}
