//! A whole gateway within the test's process, so that the test's allocator is the gateway's.

use std::io::{BufRead, BufReader, pipe};
use std::net::SocketAddr;
use std::sync::Mutex;

use serde_json::Value;
use tidegate::config::{FlagSetting, Inputs, load};

/// A gateway that runs until the process ends.
pub(crate) struct Inside {
    /// Where clients connect.
    pub(crate) clients: SocketAddr,
    /// Where the API is.
    pub(crate) admin: SocketAddr,
}

impl Inside {
    /// `serve --dev` with two shards on free ports. Once a process: logging is the process's.
    pub(crate) fn start() -> Self {
        let settings = [
            ("server.dev", "true"),
            ("server.listen", "127.0.0.1:0"),
            ("server.admin", "127.0.0.1:0"),
            ("server.shards", "2"),
            ("log.format", "json"),
        ];
        let flags = settings.map(|(key, value)| FlagSetting {
            flag: "--set",
            key: key.to_owned(),
            value: value.to_owned(),
        });
        let loaded = load(&Inputs { flags: flags.into(), ..Inputs::default() });
        let config = loaded.expect("good settings").config;
        let (log, into_log) = pipe().expect("descriptors");
        tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(Mutex::new(into_log))
            .init();
        let serve = move || {
            // Returns if it cannot start: nothing stops it. The log would not end, nor the test.
            let error = tidegate::gateway::serve(config).expect_err("nothing stops it");
            eprintln!("the gateway did not start: {error}");
            std::process::exit(1);
        };
        std::thread::Builder::new().name("gateway".into()).spawn(serve).expect("a thread");
        let serving = BufReader::new(log)
            .lines()
            .map(|line| serde_json::from_str::<Value>(&line.expect("a pipe")).expect("JSON"))
            .find(|event| event["message"] == "serving")
            .expect("the log goes on");
        // The gateway aborts on a panic, without a word to those who run a test.
        let _ = std::panic::take_hook();
        let address = |name: &str| {
            let text = serving[name].as_str().expect("it is said");
            text.parse().expect("an address")
        };
        Self { clients: address("clients"), admin: address("admin") }
    }
}
