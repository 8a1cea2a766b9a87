//! One real shard over the scripted kernel, with the threads around it played by the test.

use std::cell::Cell;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tidegate::id::{ChannelName, ConnId, Owners, ShardId};
use tidegate::mail::{
    AuthPost, Delivery, Handoff, NewsPlan, NewsPost, Permits, Post, Publish, PublishResult, Reply,
    Request, Sender, carry_news, wire,
};
use tidegate::protocol::ProtocolLimits;
use tidegate::protocol::admission::{Entry, RawEntry};
use tidegate::protocol::channel::{Audience, ChannelOptions, Format, Namespaces};
use tidegate::protocol::hook::{ForwardedHeaders, HookSet};
use tidegate::publication::{Epoch, Payload, Position, PublishOptions};
use tidegate::session::KeepaliveTimes;
use tidegate::shard::{Clock, CompressionSettings, Shard, ShardSettings};
use tidegate::stats::ShardStats;
use tidegate::ws::{CloseCode, DecodeLimits, MessageKind, encode};
use tokio::sync::oneshot;

use super::{Call, ScriptedDriver};

/// The 101 of every connection here.
const RESPONSE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";

/// Turns in a row after which a shard that still finds work is spinning.
const TURNS_MAX: usize = 10_000;

/// Sizes of a world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Shards of the process; only the first one runs, the others' posts are the test's.
    pub(crate) shards: u16,
    pub(crate) lane_len: usize,
    pub(crate) outbox_bytes: usize,
    pub(crate) buffers: u16,
    pub(crate) buffer_size: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { shards: 1, lane_len: 64, outbox_bytes: 4096, buffers: 16, buffer_size: 4096 }
    }
}

/// A clock that stands still until it is moved.
#[derive(Clone)]
pub(crate) struct ManualClock {
    start: Instant,
    now: Rc<Cell<Instant>>,
    /// Looks at the clock left until the next interruption, and what it is.
    interruption: Rc<Cell<Option<(usize, Interruption)>>>,
}

/// Something that another thread does meanwhile.
type Interruption = Box<dyn FnOnce()>;

impl Clock for ManualClock {
    fn now(&mut self) -> Instant {
        match self.interruption.take() {
            None => {}
            Some((0, act)) => act(),
            Some((looks, act)) => self.interruption.set(Some((looks - 1, act))),
        }
        self.now.get()
    }

    fn time_of_day(&mut self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(START_UNIX_S) + (self.now.get() - self.start)
    }
}

/// The time of day at which every world begins, in seconds since 1970.
pub(crate) const START_UNIX_S: u64 = 1_700_000_000;

/// Shard 0 and everything it talks to.
pub(crate) struct World {
    pub(crate) shard: Shard<ScriptedDriver, ManualClock>,
    pub(crate) stats: Arc<ShardStats>,
    pub(crate) permits: Permits,
    pub(crate) owners: Owners,
    /// Lanes of an acceptor, of control and of the gateway into shard 0.
    pub(crate) acceptor: Sender<Request>,
    pub(crate) control: Sender<Request>,
    pub(crate) gateway: Sender<Request>,
    /// The other shards' ends of their lanes.
    pub(crate) others: Vec<Post>,
    /// The end of the thread that checks tokens and asks backends.
    pub(crate) auth: AuthPost,
    clock: ManualClock,
}

impl World {
    pub(crate) fn new(options: Options) -> Self {
        Self::with_channels(options, open_channels())
    }

    /// A world in which channels have these options.
    pub(crate) fn with_channels(options: Options, channels: Arc<Namespaces>) -> Self {
        Self::with_settings(options, |settings| settings.channels = channels)
    }

    /// A world whose shard is told something else than usual.
    pub(crate) fn with_settings(options: Options, change: impl FnOnce(&mut ShardSettings)) -> Self {
        Self::build(options, change, |_| {})
    }

    /// A world in which a backend is told what `plan` says; its news are the test's.
    pub(crate) fn with_backend(
        options: Options,
        channels: Arc<Namespaces>,
        plan: NewsPlan,
    ) -> (Self, NewsPost) {
        let mut news = None;
        let world = Self::build(
            options,
            |settings| settings.channels = channels,
            |posts| news = Some(carry_news(&mut posts[..1], plan)),
        );
        (world, news.expect("just made"))
    }

    fn build(
        options: Options,
        change: impl FnOnce(&mut ShardSettings),
        prepare: impl FnOnce(&mut [Post]),
    ) -> Self {
        let mut settings = settings(&options);
        change(&mut settings);
        let shard_count = NonZeroU16::new(options.shards).expect("at least one shard");
        let owners = Owners::new(shard_count);
        let permits = Permits::new(options.shards, 100_000);
        let stats = Arc::<ShardStats>::default();
        let start = Instant::now();
        let now = Rc::new(Cell::new(start));
        let clock = ManualClock { start, now, interruption: Rc::default() };
        let mut wiring = wire(options.shards, 1, options.lane_len).expect("descriptors");
        prepare(&mut wiring.posts);
        let others = wiring.posts.split_off(1);
        let shard = Shard::new(
            ScriptedDriver::new(options.buffers, options.buffer_size),
            clock.clone(),
            wiring.posts.remove(0),
            owners.clone(),
            permits.clone(),
            stats.clone(),
            settings,
        );
        Self {
            shard,
            stats,
            permits,
            owners,
            acceptor: wiring.acceptors.remove(0).remove(0),
            control: wiring.control.remove(0),
            gateway: wiring.gateway.remove(0),
            others,
            auth: wiring.auth,
            clock,
        }
    }

    /// The kernel.
    pub(crate) fn kernel(&mut self) -> &mut ScriptedDriver {
        self.shard.driver_mut()
    }

    /// One turn.
    pub(crate) fn turn(&mut self) {
        self.shard.turn().expect("the scripted ring does not break");
    }

    /// One turn, with something done by another thread when all but the wait is over.
    pub(crate) fn turn_interrupted(&mut self, act: impl FnOnce() + 'static) {
        // A turn looks at the clock when it begins and when it has done its work.
        self.clock.interruption.set(Some((1, Box::new(act))));
        self.turn();
        assert!(self.clock.interruption.take().is_none(), "the turn was interrupted");
    }

    /// Turns until the shard would sleep and the kernel has nothing for it. Returns how many.
    pub(crate) fn settle(&mut self) -> usize {
        for turns in 1..=TURNS_MAX {
            self.turn();
            if self.sleeps() && !self.kernel().has_ready() {
                return turns;
            }
        }
        panic!("the shard spins: {TURNS_MAX} turns without an end");
    }

    /// Whether the last wait would have blocked.
    pub(crate) fn sleeps(&mut self) -> bool {
        self.next_wait() != Some(Duration::ZERO)
    }

    /// The timeout of the last wait.
    pub(crate) fn next_wait(&mut self) -> Option<Duration> {
        let waits = self.kernel().calls().iter().rev();
        let mut timeouts = waits.filter_map(|call| match call {
            Call::Wait(timeout) => Some(*timeout),
            _ => None,
        });
        timeouts.next().expect("a turn ends with a wait")
    }

    /// Lets time pass, without a turn.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.clock.now.set(self.clock.now.get() + time);
    }

    /// Hands an `/echo` connection over and settles.
    pub(crate) fn connect_echo(&mut self) -> ConnId {
        self.hand_over(Entry::Echo, b"");
        self.connected()
    }

    /// Hands a `/raw` connection over and settles.
    pub(crate) fn connect_raw(&mut self, channels: &[&str]) -> ConnId {
        self.hand_over(raw_entry(channels), b"");
        self.connected()
    }

    /// As [`World::connect_raw`], with a token of `user`.
    pub(crate) fn connect_raw_as(&mut self, user: &str, channels: &[&str]) -> ConnId {
        let Entry::Raw(entry) = raw_entry(channels) else { unreachable!("just made") };
        self.hand_over(Entry::Raw(RawEntry { user: Some(user.into()), ..entry }), b"");
        self.connected()
    }

    /// Hands a client of the Centrifuge protocol over and settles.
    pub(crate) fn connect_centrifuge(&mut self) -> ConnId {
        self.connect_pinged(false)
    }

    /// The same, pinged with control frames or as the protocol has it.
    pub(crate) fn connect_pinged(&mut self, frame_pings: bool) -> ConnId {
        let headers = ForwardedHeaders::default();
        self.hand_over(Entry::Centrifuge { headers, frame_pings }, b"");
        self.connected()
    }

    /// Hands an `/echo` connection over and takes one turn, whatever the kernel holds back.
    pub(crate) fn connect_held(&mut self) -> ConnId {
        self.hand_over(Entry::Echo, b"");
        self.turn();
        self.newest()
    }

    /// Puts an `/echo` connection into the acceptor's lane, with bytes behind its request head.
    pub(crate) fn hand_over_echo(&mut self, leftover: &[u8]) {
        self.hand_over(Entry::Echo, leftover);
    }

    /// Puts a `/raw` connection that may publish into the acceptor's lane.
    pub(crate) fn hand_over_raw(&mut self, channels: &[&str], leftover: &[u8]) {
        self.hand_over(raw_entry(channels), leftover);
    }

    /// Publishes through control's lane, without a turn.
    pub(crate) fn publish(
        &mut self,
        channel: &str,
        payload: &str,
    ) -> oneshot::Receiver<PublishResult> {
        let (reply, result) = oneshot::channel();
        let publish = Publish {
            channel: channel.into(),
            payload: Payload::text(payload),
            options: PublishOptions::default(),
            info: None,
            accepted_at: self.clock.now.get(),
            reply: Reply::Control(reply),
        };
        self.control.push(Request::Publish(Box::new(publish))).expect("room in control's lane");
        result
    }

    /// As shard 1: takes shard 0's interest in `channel` and answers it.
    pub(crate) fn answer_interest(&mut self, channel: &str) {
        let request = self.others[0].requests_in[0].pop();
        assert!(
            matches!(&request, Some(Request::Interest { channel: asked, .. })
            if &**asked == channel),
            "{request:?}"
        );
        let position = Some(Position { offset: 0, epoch: Epoch::from_random(1) });
        let lane = self.others[0].deliveries_out[0].as_mut().expect("shard 0 is another");
        let answer = Delivery::Registered { channel: channel.into(), position };
        lane.push(answer).expect("room in the lane");
    }

    /// Who was connected last.
    pub(crate) fn newest(&mut self) -> ConnId {
        self.kernel().peers().last().expect("somebody was connected").conn
    }

    /// What the peer got behind its 101.
    pub(crate) fn received(&mut self, conn: ConnId) -> Vec<u8> {
        let wire = &self.kernel().peer(conn).wire;
        let frames = wire.strip_prefix(RESPONSE);
        frames.expect("the first thing every client gets is its 101").to_vec()
    }

    /// A channel name that `shard` owns.
    pub(crate) fn channel_of(&self, shard: ShardId) -> ChannelName {
        let names = (0..).map(|n| ChannelName::from(format!("channel-{n}")));
        { names }.find(|name| self.owners.owner(name) == shard).expect("every shard owns some")
    }

    /// Asserts that nothing is left of any connection.
    pub(crate) fn assert_empty(&mut self) {
        assert_eq!(self.kernel().open_count(), 0, "sockets");
        assert_eq!(self.permits.on_shard(ShardId(0)), 0, "permits");
        assert_eq!(self.stats.counters.connections.get(), 0, "connections");
        assert_eq!(self.stats.counters.subscriptions.get(), 0, "subscriptions");
        assert_eq!(self.stats.counters.outbox_bytes.get(), 0, "outbox bytes");
        let buffers = self.kernel().free_buffers();
        assert_eq!(buffers, tidegate::ring::Driver::buffer_count(self.kernel()), "buffers");
    }

    fn connected(&mut self) -> ConnId {
        self.settle();
        let conn = self.newest();
        assert!(self.kernel().is_armed(conn), "an open connection is read");
        conn
    }

    fn hand_over(&mut self, entry: Entry, leftover: &[u8]) {
        // The other shards' places are handed out too: take until one is shard 0's.
        let mut spare = Vec::new();
        let permit = loop {
            let permit = self.permits.take().expect("room in the process");
            if permit.shard() == ShardId(0) {
                break permit;
            }
            spare.push(permit);
        };
        let handoff = Handoff {
            socket: File::open("/dev/null").expect("a descriptor").into(),
            response: RESPONSE.to_vec(),
            leftover: leftover.to_vec(),
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            entry,
            deflate: None,
            permit,
        };
        let pushed = self.acceptor.push(Request::Connect(Box::new(handoff)));
        pushed.expect("room in the acceptor's lane");
    }
}

fn raw_entry(channels: &[&str]) -> Entry {
    let channels = channels.iter().map(|name| ChannelName::from(*name)).collect();
    Entry::Raw(RawEntry { channels, publish: true, expire_at: None, user: None })
}

fn settings(options: &Options) -> ShardSettings {
    let message = DecodeLimits { message_size: 64 * 1024, fragments: 1024 };
    ShardSettings {
        protocol: ProtocolLimits { echo: message, client: message, publication_size: 64 * 1024 },
        keepalive: KeepaliveTimes { ping_interval: 25_000, pong_timeout: 10_000 },
        connect_timeout: 10_000,
        channels: open_channels(),
        outbox_bytes: options.outbox_bytes,
        outbox_shard_bytes: 1 << 30,
        history_bytes: tidegate::limits::HISTORY_BYTES_DEFAULT,
        tokens: true,
        hooks: HookSet::default(),
        mailbox_len: options.lane_len,
        compression: CompressionSettings::default(),
        seed: 1,
    }
}

/// A client's text message.
pub(crate) fn masked(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    encode::append_message_masked(&mut out, MessageKind::Text, text.as_bytes(), [1, 2, 3, 4]);
    out
}

/// A client's Close.
pub(crate) fn masked_close(code: Option<u16>) -> Vec<u8> {
    let body = code.map_or_else(Vec::new, |code| code.to_be_bytes().to_vec());
    let mut frame = vec![0x88, 0x80 | body.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(&body);
    frame
}

/// The gateway's text message.
pub(crate) fn server_message(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    encode::append_message(&mut out, MessageKind::Text, text.as_bytes());
    out
}

/// The gateway's Close.
pub(crate) fn server_close(code: CloseCode, reason: &str) -> Vec<u8> {
    let mut out = Vec::new();
    encode::append_close(&mut out, Some(code), reason);
    out
}

/// Channels in which everybody may do everything, with any bytes.
pub(crate) fn open_channels() -> Arc<Namespaces> {
    let options = ChannelOptions {
        allow_subscribe: Audience::Anyone,
        allow_publish: Audience::Anyone,
        format: Format::Binary,
        ..ChannelOptions::default()
    };
    Arc::new(Namespaces::new(options, []))
}
