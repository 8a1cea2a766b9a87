//! What the operator typed, checked once: `RawConfig` is the text, [`Config`] is what it means.
//!
//! Defaults, the file, the environment and the flags are laid over each other; the later wins, and
//! every message says which of them it is about. Nothing validates a setting later. Reads files
//! and the affinity mask, and knows nothing of what is done with a setting.

mod api_key;
mod channels;
mod conflict;
mod error;
mod hooks;
mod keys;
mod memory;
mod notices;
mod origin;
mod public_key;
mod raw;
mod resolve;
#[cfg(test)]
mod tests;
mod token;
mod token_fault;
mod value;

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustix::thread::CpuSet;

pub use conflict::Conflict;
pub use error::{Allowed, ApiKeyFault, ConfigError, Source, Warning};
pub use hooks::{HookFault, Hooks};
pub use keys::default_text;
pub use notices::{Notices, NoticesFault};
pub use public_key::PublicKey;
pub use raw::{FlagSetting, Inputs};
pub use token::{PublicKeys, Token};
pub use token_fault::{PublicKeyFault, TokenFault, TokenWarning};
pub use value::parse_duration;

use crate::limits;
use crate::protocol::channel::Namespaces;
use crate::ws::DecodeLimits;

/// Reads and checks every setting.
///
/// # Errors
///
/// [`ConfigError`] says where the setting was made, what was found and what is allowed. Nothing
/// has been changed.
pub fn load(inputs: &Inputs) -> Result<Loaded, ConfigError> {
    let machine = resolve::Machine { cores: &allowed_cores(), memory: memory::allowed() };
    resolve::resolve(raw::RawConfig::read(inputs)?, inputs, machine)
}

/// As [`load`] of a file called `FILE` with this text, on a machine that is always the same.
#[cfg(any(test, fuzzing))]
pub(crate) fn load_text(text: &str) -> Result<Loaded, ConfigError> {
    let inputs = Inputs::default();
    let file = Some((std::path::Path::new("FILE"), text));
    let machine = resolve::Machine { cores: &[0, 1], memory: 8 << 30 };
    resolve::resolve(raw::RawConfig::read_over(file, &inputs)?, &inputs, machine)
}

/// The cores this process may use (`sched_getaffinity`), ascending, at least one.
pub fn allowed_cores() -> Vec<usize> {
    let counted = || std::thread::available_parallelism().map_or(1, usize::from);
    let listed: Vec<usize> = match rustix::thread::sched_getaffinity(None) {
        Ok(mask) => (0..CpuSet::MAX_CPU).filter(|core| mask.is_set(*core)).collect(),
        Err(_) => Vec::new(),
    };
    // A kernel with more cores than a mask holds refuses the question.
    if listed.is_empty() { (0..counted()).collect() } else { listed }
}

/// Settings that hold, and what is probably not meant by them.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// To be logged once logging is set up.
    pub warnings: Vec<Warning>,
}

/// Every setting of a running gateway.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses, threads, trust.
    pub server: Server,
    /// Bounds an operator may change.
    pub limits: Limits,
    /// The `/echo` path.
    pub echo: Echo,
    /// What channels offer and who may do what there.
    pub channels: Namespaces,
    /// With what tokens are checked; `None`: there are none.
    pub token: Option<Token>,
    /// Which backends decide about clients; `None`: none does.
    pub hooks: Option<Hooks>,
    /// What a backend is told of; `None`: nothing.
    pub notices: Option<Notices>,
    /// Log output.
    pub log: Log,
}

/// `[server]`: addresses, threads, trust.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where the HTTP API, metrics and health are.
    pub admin: SocketAddr,
    /// Shard threads.
    pub shards: NonZeroU16,
    /// How the sockets of connections are held.
    pub descriptors: Descriptors,
    /// Cores shards and acceptors are pinned to, in turn; never outside `sched_getaffinity`.
    /// Empty: one after another of the allowed cores.
    pub cpus: Vec<usize>,
    /// Origins accepted besides the request's own host, such as `https://app.example`; `*` alone
    /// takes any.
    pub origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` names the peer.
    pub trusted_proxies: Vec<IpNet>,
    /// The API key, if one is set.
    pub api_key: Option<Secret>,
    /// How messages are compressed for clients that offer it; `None`: they are not.
    pub compression: Option<Compression>,
    /// How long a drain spreads its closes.
    pub drain: Duration,
    /// `--dev`: any loopback origin and `null` accepted, demo page, everything allowed.
    pub dev: bool,
}

/// `[server] descriptors`: how the sockets of connections are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descriptors {
    /// By descriptors while they last, then in table slots where these work.
    Auto,
    /// By descriptors.
    Ordinary,
    /// In table slots.
    Table,
}

/// `[server] compression`: how messages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// 1, the fastest, to 9, the smallest.
    pub level: u8,
    /// Messages with fewer bytes are sent as they are.
    pub size_min: usize,
}

/// A secret that never shows in logs.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps the secret text.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The secret's bytes, for a comparison in constant time.
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// `[limits]`: bounds an operator may change.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of the process.
    pub connections: u32,
    /// Size and fragments of a message on `/raw`.
    pub message: DecodeLimits,
    /// Payload bytes of one publication.
    pub publication_size: usize,
    /// Bytes that may wait for one connection.
    pub outbox_bytes: usize,
    /// Bytes all outboxes of a shard may hold.
    pub outbox_shard_bytes: usize,
    /// Bytes of history the process may keep.
    pub history_bytes: usize,
    /// From accept to the end of the request head.
    pub handshake_timeout: Duration,
    /// Between pings.
    pub ping_interval: Duration,
    /// From ping to pong.
    pub pong_timeout: Duration,
    /// Messages a lane between two threads holds.
    pub mailbox_len: usize,
    /// Receive buffers of a shard, a power of two.
    pub recv_buffers: u16,
    /// Bytes of a receive buffer.
    pub recv_buffer_size: u32,
    /// Submission queue entries of a shard's ring.
    pub sq_entries: u32,
    /// Completion queue entries of a shard's ring.
    pub cq_entries: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: limits::CONNECTIONS_DEFAULT,
            message: DecodeLimits {
                message_size: limits::MESSAGE_SIZE_DEFAULT,
                fragments: limits::FRAGMENTS_DEFAULT,
            },
            publication_size: limits::PUBLICATION_SIZE_DEFAULT,
            outbox_bytes: limits::OUTBOX_BYTES_DEFAULT,
            outbox_shard_bytes: limits::OUTBOX_SHARD_BYTES_DEFAULT,
            history_bytes: limits::HISTORY_BYTES_DEFAULT,
            handshake_timeout: Duration::from_secs(limits::HANDSHAKE_TIMEOUT_DEFAULT_S),
            ping_interval: Duration::from_secs(limits::PING_INTERVAL_DEFAULT_S),
            pong_timeout: Duration::from_secs(limits::PONG_TIMEOUT_DEFAULT_S),
            mailbox_len: limits::MAILBOX_LEN_DEFAULT,
            recv_buffers: limits::RECV_BUFFERS_DEFAULT,
            recv_buffer_size: limits::RECV_BUFFER_SIZE_DEFAULT,
            sq_entries: limits::SQ_ENTRIES_DEFAULT,
            cq_entries: limits::CQ_ENTRIES_DEFAULT,
        }
    }
}

/// `[echo]`: the `/echo` path.
#[derive(Clone, Debug)]
pub struct Echo {
    /// Whether the path exists.
    pub enabled: bool,
    /// Size (inclusive) and fragments of a message.
    pub message: DecodeLimits,
}

/// `[log]`: log output.
#[derive(Clone, Debug)]
pub struct Log {
    /// Text or JSON lines.
    pub format: LogFormat,
    /// Least severe level written.
    pub level: tracing::Level,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
