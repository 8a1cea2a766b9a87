//! What the operator typed, checked once: `RawConfig` is the text, [`Config`] is what it means.
//!
//! Nothing validates a setting later.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::limits;
use crate::ws::DecodeLimits;

/// Every setting of a running gateway.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses, threads, trust.
    pub server: Server,
    /// Bounds an operator may change.
    pub limits: Limits,
    /// The `/echo` path.
    pub echo: Echo,
    /// The `/raw` path.
    pub raw: Raw,
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
    /// How long a drain spreads its closes.
    pub drain: Duration,
    /// `--dev`: any loopback origin and `null` accepted, demo page, everything allowed.
    pub dev: bool,
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

/// `[raw]`: who may do what on `/raw`.
#[derive(Clone, Debug)]
pub struct Raw {
    /// Channels anyone may subscribe to.
    pub allow_subscribe: Vec<Pattern>,
    /// Channels anyone may publish to with `publish=1`.
    pub allow_publish: Vec<Pattern>,
}

/// A channel pattern: literal text in which each `*` stands for any run of characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(pub String);

impl Pattern {
    /// Whether `channel` fits.
    pub fn matches(&self, _channel: &str) -> bool {
        todo!()
    }
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
