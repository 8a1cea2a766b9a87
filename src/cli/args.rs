//! The arguments, as clap reads them, and their translation to settings.
//!
//! Values stay text here: `config` reads them like those of the file and the environment, so that
//! there is one rule and one message for each.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use serde_json::value::RawValue;

use crate::config::{self, FlagSetting, Inputs};

/// A WebSocket push gateway for Linux on io_uring.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version = super::VERSION, max_term_width = 100)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve clients, the HTTP API and metrics until SIGTERM or SIGINT.
    Serve(Box<Settings>),
    /// Say whether this machine can run the gateway, and what mends it if not.
    Doctor(Doctor),
    /// Print a token that a gateway with the same settings accepts; for trying things out.
    Token(Box<Token>),
    /// Show or check settings.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print every key with its meaning and default, as a file to start from.
    Default,
    /// Say whether the settings are valid, and start nothing.
    Check(Box<Settings>),
}

/// Settings of the command line; they win over the environment, which wins over the file.
#[derive(Debug, clap::Args)]
pub(super) struct Settings {
    /// File with settings (see: tidegate config default).
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONFIG")]
    config: Option<PathBuf>,
    /// Address and port for clients [server.listen].
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Address and port for the HTTP API, metrics and health [server.admin].
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// Shard threads; 0 or auto is one per allowed core [server.shards].
    #[arg(long, value_name = "N")]
    shards: Option<String>,
    /// Cores to use, such as 0,1 or 0-3 [server.cpus].
    #[arg(long, value_name = "LIST")]
    cpus: Option<String>,
    /// Key for the HTTP API. Every user of the machine can see it: prefer TIDEGATE_API_KEY.
    #[arg(long, value_name = "K")]
    api_key: Option<String>,
    /// Over how long a shutdown spreads the closing of clients [server.drain].
    #[arg(long, value_name = "SECONDS")]
    drain: Option<String>,
    /// Loopback only, echo and demo page on, every channel open to everyone [server.dev].
    #[arg(long)]
    dev: bool,
    /// How log lines look [log.format].
    #[arg(long, value_name = "text|json")]
    log_format: Option<String>,
    /// Least severe level written: error, warn, info, debug, trace [log.level].
    #[arg(long, value_name = "L")]
    log_level: Option<String>,
    /// Any other setting by its dotted key, such as limits.message_size=128KiB; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

/// What `tidegate token` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Token {
    /// The user it names; empty for an anonymous one.
    #[arg(long, value_name = "ID")]
    pub(super) user: String,
    /// Make a subscription token for this channel, not a connection token.
    #[arg(long, value_name = "NAME")]
    pub(super) channel: Option<String>,
    /// How long it is good, such as 30s, 10m or 1h; 0: for ever.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = config::parse_duration)]
    pub(super) exp: Duration,
    /// JSON that others see beside the user.
    #[arg(long, value_name = "JSON", value_parser = json)]
    pub(super) info: Option<Json>,
    /// File with settings, whose [token] signs.
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONFIG")]
    config: Option<PathBuf>,
    /// Any setting by its dotted key, such as token.hmac_secret_file=secret; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

/// JSON as it was typed.
#[derive(Clone, Debug)]
pub(super) struct Json(pub(super) Box<RawValue>);

/// What `tidegate doctor` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Doctor {
    /// Print the findings as one JSON object.
    #[arg(long)]
    pub(super) json: bool,
    /// Judge for the settings of this file instead of the defaults.
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONFIG")]
    config: Option<PathBuf>,
}

impl Settings {
    /// File, environment and flags for `config`. `--set` comes before the flags with a name of
    /// their own, so that these win.
    pub(super) fn inputs(&self) -> Inputs {
        let dev = self.dev.then(|| "true".to_owned());
        let named = [
            ("--listen", "server.listen", &self.listen),
            ("--admin", "server.admin", &self.admin),
            ("--shards", "server.shards", &self.shards),
            ("--cpus", "server.cpus", &self.cpus),
            ("--drain", "server.drain", &self.drain),
            ("--dev", "server.dev", &dev),
            ("--log-format", "log.format", &self.log_format),
            ("--log-level", "log.level", &self.log_level),
        ];
        let named = named.into_iter().filter_map(|(flag, key, value)| {
            Some(FlagSetting { flag, key: key.to_owned(), value: value.clone()? })
        });
        let set = set_flags(&self.set);
        Inputs {
            file: self.config.clone(),
            environment: environment(),
            flags: set.chain(named).collect(),
            api_key_flag: self.api_key.clone(),
        }
    }
}

impl Token {
    /// File, environment and `--set` for `config`.
    pub(super) fn inputs(&self) -> Inputs {
        Inputs {
            file: self.config.clone(),
            environment: environment(),
            flags: set_flags(&self.set).collect(),
            ..Inputs::default()
        }
    }
}

impl Doctor {
    /// File and environment for `config`.
    pub(super) fn inputs(&self) -> Inputs {
        Inputs { file: self.config.clone(), environment: environment(), ..Inputs::default() }
    }
}

/// What `--set` sets.
fn set_flags(set: &[(String, String)]) -> impl Iterator<Item = FlagSetting> {
    set.iter().map(|(key, value)| FlagSetting {
        flag: "--set",
        key: key.clone(),
        value: value.clone(),
    })
}

fn json(text: &str) -> Result<Json, serde_json::Error> {
    // A value, not only its text: what is nested too deeply is refused when the token is shown.
    serde_json::from_str::<serde_json::Value>(text)?;
    serde_json::from_str(text).map(Json)
}

/// The environment as text. What is no UTF-8 gets a replacement character, which no key takes.
fn environment() -> Vec<(String, String)> {
    let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

fn key_and_value(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err("write KEY=VALUE, such as limits.message_size=128KiB"),
    }
}
