//! From what was typed to what it means: each value checked alone, then against the others.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use ipnet::IpNet;

use super::conflict::Conflict;
use super::error::{Allowed, ConfigError, Source, Warning};
use super::raw::{Inputs, RawConfig};
use super::{
    Compression, Config, Descriptors, Echo, Hooks, Limits, Loaded, Log, LogFormat, Secret, Server,
    api_key, channels, hooks, notices, origin, token,
};
use crate::limits;
use crate::ws::{DecodeLimits, encode};

/// What the process may use of its machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine<'a> {
    pub(super) cores: &'a [usize],
    /// Bytes.
    pub(super) memory: u64,
}

/// Checks everything, given what this process may use.
pub(super) fn resolve(
    mut typed: RawConfig,
    inputs: &Inputs,
    machine: Machine<'_>,
) -> Result<Loaded, ConfigError> {
    let cores = machine.cores;
    let mut warnings = std::mem::take(&mut typed.warnings);
    let api_key = api_key::resolve(&typed, inputs, &mut warnings)?;
    let server = resolve_server(&typed, api_key, cores)?;
    let mut limits = resolve_limits(&typed)?;
    fit_memory(&typed, machine.memory, server.shards, &mut limits);
    let hooks = hooks::resolve(&typed)?;
    let known = hooks.as_ref().map_or_else(Default::default, Hooks::set);
    let config = Config {
        echo: Echo {
            enabled: typed.switch("echo.enabled")?,
            message: decode_limits(&typed, "echo.message_limit", "echo.fragments_max")?,
        },
        channels: channels::resolve(&typed, server.dev, known)?,
        token: token::resolve(&typed, &mut warnings)?,
        hooks,
        notices: notices::resolve(&typed, &mut warnings)?,
        log: resolve_log(&typed)?,
        server,
        limits,
    };
    check_server(&typed, &config.server, cores)?;
    check_limits(&typed, &config)?;
    if config.server.dev && !is_loopback(config.server.listen.ip()) {
        warnings.push(Warning::DevReachable { listen: config.server.listen });
    }
    if config.limits.publication_size > limits::API_BODY_MAX {
        warnings
            .push(Warning::PublicationAboveApiBody { publication: config.limits.publication_size });
    }
    warn_of_compression(&typed, &config, &mut warnings);
    Ok(Loaded { config, warnings })
}

fn resolve_server(
    typed: &RawConfig,
    api_key: Option<Secret>,
    cores: &[usize],
) -> Result<Server, ConfigError> {
    let mut cpus = Vec::new();
    for core in typed.list("server.cpus", Allowed::Cores, core_range)?.into_iter().flatten() {
        if !cpus.contains(&core) {
            cpus.push(core);
        }
    }
    let origins = typed.list("server.origins", Allowed::Origins, origin::normal_form)?;
    if origins.len() > 1 && origins.iter().any(|origin| origin == origin::ANY) {
        return Err(typed.bad_value("server.origins", Allowed::Origins));
    }
    Ok(Server {
        listen: typed.parsed("server.listen", Allowed::Address)?,
        admin: typed.parsed("server.admin", Allowed::Address)?,
        shards: resolve_shards(typed, if cpus.is_empty() { cores.len() } else { cpus.len() })?,
        descriptors: match typed.word("server.descriptors", DESCRIPTORS)? {
            "ordinary" => Descriptors::Ordinary,
            "table" => Descriptors::Table,
            _ => Descriptors::Auto,
        },
        cpus,
        origins,
        trusted_proxies: typed.list("server.trusted_proxies", Allowed::Networks, network)?,
        api_key,
        compression: resolve_compression(typed)?,
        drain: typed.duration("server.drain", Duration::ZERO..=TIME_MAX)?,
        dev: typed.switch("server.dev")?,
    })
}

/// The level and the size are checked whether or not they count.
fn resolve_compression(typed: &RawConfig) -> Result<Option<Compression>, ConfigError> {
    let compression = Compression {
        level: typed.count("server.compression_level", 1..=limits::COMPRESSION_LEVEL_MAX)?,
        size_min: typed.bytes("server.compression_min_size", 0..=limits::MESSAGE_SIZE_MAX)?,
    };
    Ok(typed.switch("server.compression")?.then_some(compression))
}

/// Says so when compression is set to something that has no effect.
fn warn_of_compression(typed: &RawConfig, config: &Config, warnings: &mut Vec<Warning>) {
    let Some(Compression { size_min, .. }) = config.server.compression else {
        let idle = ["server.compression_level", "server.compression_min_size"];
        let set = idle.into_iter().filter(|key| typed.at(key) != Source::Default);
        warnings.extend(set.map(|key| Warning::CompressionOff { key, at: typed.at(key) }));
        return;
    };
    let echo_size = if config.echo.enabled { config.echo.message.message_size } else { 0 };
    let largest = config.limits.publication_size.max(echo_size);
    if size_min > largest {
        warnings.push(Warning::NothingCompressed { size_min, largest });
    }
}

fn resolve_shards(typed: &RawConfig, cores: usize) -> Result<NonZeroU16, ConfigError> {
    let key = "server.shards";
    let typed_count = match typed.text(key) {
        Ok("auto") => 0,
        _ => typed
            .count(key, 0..=limits::SHARDS_MAX)
            .map_err(|_| typed.bad_value(key, Allowed::Shards))?,
    };
    let automatic = u16::try_from(cores).unwrap_or(u16::MAX).clamp(1, limits::SHARDS_MAX);
    Ok(NonZeroU16::new(typed_count)
        .unwrap_or(NonZeroU16::new(automatic).expect("clamped to at least 1")))
}

fn resolve_limits(typed: &RawConfig) -> Result<Limits, ConfigError> {
    let times = TIME_MIN..=TIME_MAX;
    let outbox = 1..=limits::OUTBOX_BYTES_MAX;
    let buffers = limits::RECV_BUFFERS_MIN..=limits::RECV_BUFFERS_MAX;
    let buffer_sizes = limits::RECV_BUFFER_SIZE_MIN..=limits::RECV_BUFFER_SIZE_MAX;
    let slots = limits::CONNECTIONS_PER_SHARD_MAX * u32::from(limits::SHARDS_MAX);
    let recv_buffers: u16 = typed.count("limits.receive_buffers", buffers.clone())?;
    if !recv_buffers.is_power_of_two() {
        let allowed = Allowed::PowerOfTwo((*buffers.start()).into(), (*buffers.end()).into());
        return Err(typed.bad_value("limits.receive_buffers", allowed));
    }
    Ok(Limits {
        connections: typed.count("limits.connections", 1..=slots)?,
        message: decode_limits(typed, "limits.message_size", "limits.fragments_max")?,
        publication_size: typed.bytes("limits.publication_size", 1..=limits::MESSAGE_SIZE_MAX)?,
        outbox_bytes: typed.bytes("limits.outbox_bytes", outbox.clone())?,
        outbox_shard_bytes: typed.bytes("limits.outbox_shard_bytes", outbox)?,
        history_bytes: typed
            .bytes("limits.history_bytes", limits::HISTORY_BYTES_MIN..=limits::OUTBOX_BYTES_MAX)?,
        handshake_timeout: typed.duration("limits.handshake_timeout", times.clone())?,
        ping_interval: typed.duration("limits.ping_interval", times.clone())?,
        pong_timeout: typed.duration("limits.pong_timeout", times)?,
        mailbox_len: typed
            .count("limits.mailbox_len", limits::MAILBOX_LEN_MIN..=limits::MAILBOX_LEN_MAX)?,
        recv_buffers,
        recv_buffer_size: typed.bytes("limits.receive_buffer_size", buffer_sizes)?,
        sq_entries: typed
            .count("limits.sq_entries", limits::SQ_ENTRIES_CONFIG_MIN..=limits::SQ_ENTRIES_MAX)?,
        cq_entries: typed.count(
            "limits.cq_entries",
            2 * limits::SQ_ENTRIES_CONFIG_MIN..=limits::CQ_ENTRIES_MAX,
        )?,
    })
}

/// Lowers what was left at its default and would be too much for this machine, or for the container
/// the process is in: a queue that is full is dealt with by policy, memory that is full is not.
fn fit_memory(typed: &RawConfig, memory: u64, shards: NonZeroU16, limits: &mut Limits) {
    let share = usize::try_from(memory / limits::MEMORY_SHARE).unwrap_or(usize::MAX);
    if typed.at("limits.outbox_shard_bytes") == Source::Default {
        let of_shard = share / usize::from(shards.get());
        limits.outbox_shard_bytes =
            limits.outbox_shard_bytes.min(of_shard).max(limits.outbox_bytes);
    }
    if typed.at("limits.history_bytes") == Source::Default {
        limits.history_bytes = limits.history_bytes.min(share).max(limits::HISTORY_BYTES_MIN);
    }
}

fn resolve_log(typed: &RawConfig) -> Result<Log, ConfigError> {
    let format = match typed.text("log.format") {
        Ok("text") => LogFormat::Text,
        Ok("json") => LogFormat::Json,
        _ => return Err(typed.bad_value("log.format", Allowed::OneOf(&["text", "json"]))),
    };
    let level = match typed.text("log.level") {
        Ok("error") => tracing::Level::ERROR,
        Ok("warn") => tracing::Level::WARN,
        Ok("info") => tracing::Level::INFO,
        Ok("debug") => tracing::Level::DEBUG,
        Ok("trace") => tracing::Level::TRACE,
        _ => return Err(typed.bad_value("log.level", Allowed::OneOf(LEVELS))),
    };
    Ok(Log { format, level })
}

fn decode_limits(
    typed: &RawConfig,
    size: &'static str,
    fragments: &'static str,
) -> Result<DecodeLimits, ConfigError> {
    Ok(DecodeLimits {
        message_size: typed.bytes(size, 1..=limits::MESSAGE_SIZE_MAX)?,
        fragments: typed.count(fragments, 1..=limits::FRAGMENTS_MAX)?,
    })
}

fn check_server(typed: &RawConfig, server: &Server, cores: &[usize]) -> Result<(), ConfigError> {
    if let Some(&core) = server.cpus.iter().find(|core| !cores.contains(core)) {
        let keys = ["server.cpus", "server.shards"];
        return Err(conflict(typed, Conflict::CoreNotAllowed { core }, keys));
    }
    let keys = ["server.listen", "server.admin"];
    let (listen, admin) = (server.listen, server.admin);
    if share_port(listen, admin) {
        return Err(conflict(typed, Conflict::SamePort { listen, admin }, keys));
    }
    if server.api_key.is_none() && !is_loopback(admin.ip()) {
        let keys = ["server.admin", "server.api_key_file"];
        return Err(conflict(typed, Conflict::AdminWithoutKey { admin }, keys));
    }
    Ok(())
}

fn check_limits(typed: &RawConfig, config: &Config) -> Result<(), ConfigError> {
    let bounds = &config.limits;
    let (outbox, shard) = (bounds.outbox_bytes, bounds.outbox_shard_bytes);
    let needed = bounds.publication_size + encode::HEADER_MAX;
    if outbox < needed {
        let keys = ["limits.outbox_bytes", "limits.publication_size"];
        return Err(conflict(typed, Conflict::OutboxBelowPublication { outbox, needed }, keys));
    }
    if shard < outbox {
        let keys = ["limits.outbox_shard_bytes", "limits.outbox_bytes"];
        return Err(conflict(typed, Conflict::ShardBelowOutbox { shard, outbox }, keys));
    }
    let (submissions, completions) = (bounds.sq_entries, bounds.cq_entries);
    if completions < 2 * submissions {
        let found = Conflict::CompletionsBelowSubmissions { submissions, completions };
        return Err(conflict(typed, found, ["limits.cq_entries", "limits.sq_entries"]));
    }
    let (pong, ping) = (bounds.pong_timeout, bounds.ping_interval);
    if pong > ping {
        let keys = ["limits.pong_timeout", "limits.ping_interval"];
        return Err(conflict(typed, Conflict::PongAfterNextPing { pong, ping }, keys));
    }
    let connections = bounds.connections;
    let slots = limits::CONNECTIONS_PER_SHARD_MAX * u32::from(config.server.shards.get());
    if connections > slots {
        let keys = ["limits.connections", "server.shards"];
        return Err(conflict(typed, Conflict::ConnectionsAboveSlots { connections, slots }, keys));
    }
    Ok(())
}

pub(super) fn conflict(
    typed: &RawConfig,
    conflict: Conflict,
    keys: [&'static str; 2],
) -> ConfigError {
    let set = keys.map(|key| (typed.shown(key), typed.at(key)));
    ConfigError::Conflict { conflict, set: Box::new(set) }
}

/// Whether binding both would fail or leave one of them in the shadow of the other.
fn share_port(a: SocketAddr, b: SocketAddr) -> bool {
    // An unspecified IPv6 address takes the port of IPv4 too.
    let covers =
        |wide: IpAddr, other: IpAddr| wide.is_unspecified() && (wide.is_ipv6() || other.is_ipv4());
    let same = a.ip() == b.ip() || covers(a.ip(), b.ip()) || covers(b.ip(), a.ip());
    a.port() == b.port() && a.port() != 0 && same
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// The cores of `2` or `0-3`.
fn core_range(text: &str) -> Option<Vec<usize>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    let known = rustix::thread::CpuSet::MAX_CPU;
    (first <= last && last < known).then(|| (first..=last).collect())
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

const DESCRIPTORS: &[&str] = &["auto", "ordinary", "table"];

const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];

pub(super) const TIME_MIN: Duration = Duration::from_millis(limits::TIME_MIN_MS);

const TIME_MAX: Duration = Duration::from_secs(limits::TIME_MAX_S);
