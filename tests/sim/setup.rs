//! Sizes, channels and settings of one seed.

use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tidegate::id::Owners;
use tidegate::mail::Bell;
use tidegate::protocol::ProtocolLimits;
use tidegate::protocol::channel::{
    Audience, ChannelHooks, ChannelOptions, Format, HistoryOptions, Namespaces, Recovery,
    SlowConsumer,
};
use tidegate::protocol::hook::HookSet;
use tidegate::session::KeepaliveTimes;
use tidegate::shard::{CompressionSettings, ShardSettings};
use tidegate::ws::DecodeLimits;

use super::driver::Sizes;
use super::env::Env;
use super::world::Channel;

/// What differs from seed to seed beside the faults.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) shards: u16,
    pub(crate) lane_len: usize,
    pub(crate) sizes: Sizes,
    /// Clients at one time.
    pub(crate) clients: usize,
    /// The channel that most is about.
    pub(crate) hot: usize,
    /// Publications the backend makes at once, at most.
    pub(crate) burst: usize,
    outbox_bytes: usize,
}

impl Setup {
    pub(crate) fn draw(env: &Env) -> Self {
        let sizes = Sizes {
            buffers: *env.pick(&[4, 16]),
            buffer_size: *env.pick(&[64, 256, 2048]),
            completions: *env.pick(&[3, 12, 64]),
        };
        Self {
            shards: *env.pick(&[1, 2, 2, 3, 4]),
            lane_len: *env.pick(&[4, 4, 8, 64]),
            sizes,
            clients: *env.pick(&[4, 10, 24]),
            hot: env.below(CHANNELS),
            burst: *env.pick(&[1, 2, 6]),
            outbox_bytes: *env.pick(&[2 * 1024, 16 * 1024, 256 * 1024]),
        }
    }

    pub(crate) fn settings(&self, seed: u64) -> ShardSettings {
        let message = DecodeLimits { message_size: 64 * 1024, fragments: 16 };
        ShardSettings {
            protocol: ProtocolLimits { echo: message, client: message, publication_size: 1024 },
            keepalive: KeepaliveTimes { ping_interval: 25_000, pong_timeout: 10_000 },
            connect_timeout: 10_000,
            channels: namespaces(),
            tokens: false,
            hooks: HookSet::default(),
            outbox_bytes: self.outbox_bytes,
            outbox_shard_bytes: 1 << 30,
            history_bytes: 1 << 30,
            mailbox_len: self.lane_len,
            compression: CompressionSettings::default(),
            seed,
        }
    }
}

/// Channels of every seed.
const CHANNELS: usize = 6;

/// Nothing is kept.
const PLAIN: ChannelOptions = ChannelOptions {
    presence: false,
    join_leave: false,
    history: None,
    recovery: Recovery::Off,
    positioning: true,
    allow_subscribe: Audience::Anyone,
    allow_publish: Audience::Anyone,
    allow_presence: Audience::Anyone,
    allow_history: Audience::Anyone,
    format: Format::Json,
    slow_consumer: SlowConsumer::Disconnect,
    hooks: ChannelHooks { subscribe: false, publish: false, sub_refresh: false },
};

/// Some publications are kept for some seconds.
const KEPT: ChannelOptions = ChannelOptions {
    history: Some(HistoryOptions { size: 12, ttl_ms: 30_000, meta_ttl_ms: 60_000 }),
    recovery: Recovery::Allowed,
    ..PLAIN
};

/// Everything there is, kept for long.
const FULL: ChannelOptions = ChannelOptions {
    presence: true,
    join_leave: true,
    history: Some(HistoryOptions { size: 100, ttl_ms: 300_000, meta_ttl_ms: 600_000 }),
    recovery: Recovery::Forced,
    ..PLAIN
};

/// Slow readers miss what is old.
const NEWEST: ChannelOptions = ChannelOptions { slow_consumer: SlowConsumer::Newest, ..PLAIN };

/// They miss as little as possible.
const LOSSY: ChannelOptions = ChannelOptions { slow_consumer: SlowConsumer::DropOldest, ..PLAIN };

fn namespaces() -> Arc<Namespaces> {
    let named = [("kept", KEPT), ("full", FULL), ("newest", NEWEST), ("lossy", LOSSY)];
    Arc::new(Namespaces::new(PLAIN, named.map(|(name, options)| (name.into(), options))))
}

/// Channels of each kind, spread over the shards. Their names are as long in every run of a seed,
/// though owners are drawn by the process.
pub(crate) fn channels(owners: &Owners, shards: u16) -> Vec<Channel> {
    let kinds: [_; CHANNELS] = [
        ("none-", &PLAIN),
        ("kept:", &KEPT),
        ("full:", &FULL),
        ("kept:", &KEPT),
        ("newest:", &NEWEST),
        ("lossy:", &LOSSY),
    ];
    let of_kind = |(index, (prefix, options)): (usize, (&str, &ChannelOptions))| {
        let names = (0..).map(|number| format!("{prefix}{index}-{number:06}"));
        let owner = (index + 1) % usize::from(shards);
        let name = { names }.find(|name| owners.owner(name).index() == owner);
        let name = name.expect("every shard owns some");
        let loss = options.slow_consumer;
        Channel { name, history: options.history, has_presence: options.presence, loss }
    };
    kinds.into_iter().enumerate().map(of_kind).collect()
}

/// Takes the ring of a bell, as the read that the kernel has armed on it does.
pub(crate) fn take_ring(bell: &Bell) -> bool {
    let fd = bell.fd();
    let is_rung = {
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).expect("an eventfd") > 0
    };
    if is_rung {
        rustix::io::read(fd, &mut [0; 8]).expect("it was rung");
    }
    is_rung
}
