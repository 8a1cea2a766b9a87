//! The real driver over real sockets, with a ring so small that its limits are met at once: alone
//! on the test's thread, or under a shard on a thread of its own.
//!
//! Every test binary compiles all of it and uses a part, hence the allowance.
#![allow(dead_code)]

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::num::NonZeroU16;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tidegate::id::{ConnId, Owners};
use tidegate::mail::{Bell, Handoff, Permits, Request, Sender, wire};
use tidegate::protocol::ProtocolLimits;
use tidegate::protocol::admission::Entry;
use tidegate::protocol::channel::{Audience, ChannelOptions, Format, Namespaces};
use tidegate::protocol::hook::HookSet;
use tidegate::ring::{
    Completion, Driver, Lease, RecvOutcome, RingSizes, Sock, TableSizes, UringDriver,
};
use tidegate::session::KeepaliveTimes;
use tidegate::shard::{CompressionSettings, Shard, ShardSettings, SystemClock};
use tidegate::stats::ShardStats;
use tidegate::ws::DecodeLimits;

/// A ring in which everything runs out.
pub(crate) const TINY: RingSizes =
    RingSizes { sq_entries: 8, cq_entries: 64, recv_buffers: 4, recv_buffer_size: 1024 };

/// After this long without what a test waits for it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const RESPONSE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";

/// A driver that holds sockets by descriptors; in slots in test programs whose name ends in
/// `_slots`.
fn driver(sizes: RingSizes, bell: &Bell) -> UringDriver {
    let mut driver = UringDriver::new(sizes, bell.fd().as_raw_fd()).expect("a ring");
    if env!("CARGO_CRATE_NAME").ends_with("_slots") {
        let table = TableSizes { slots: 100, ordinary_max: 0 };
        driver.register_table(table).expect("a table");
    }
    driver
}

/// A driver without a shard.
pub(crate) struct Alone {
    pub(crate) driver: UringDriver,
    // After the driver, which reads from its descriptor.
    _bell: Bell,
}

/// A receive's completion, its bytes copied and its buffer not released yet.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) conn: ConnId,
    pub(crate) outcome: RecvOutcome,
    pub(crate) armed: bool,
    pub(crate) bytes: Vec<u8>,
    pub(crate) lease: Option<Lease>,
}

impl Alone {
    pub(crate) fn new(sizes: RingSizes) -> Self {
        let bell = Bell::new().expect("a descriptor");
        let driver = driver(sizes, &bell);
        Self { driver, _bell: bell }
    }

    /// Inserts one end of a pair of sockets.
    pub(crate) fn connect(&mut self, slot: u32, generation: u32) -> (Sock, UnixStream) {
        let (ours, peer) = UnixStream::pair().expect("descriptors");
        peer.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
        (self.driver.insert(ConnId { slot, generation }, ours.into()), peer)
    }

    /// Inserts the accepted end of a TCP connection over loopback.
    pub(crate) fn connect_tcp(&mut self, slot: u32, generation: u32) -> (Sock, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let peer = TcpStream::connect(address).expect("a listener");
        peer.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
        let (ours, _) = listener.accept().expect("a connection waits");
        (self.driver.insert(ConnId { slot, generation }, ours.into()), peer)
    }

    /// The next completion that is not a wake-up.
    pub(crate) fn next(&mut self) -> Completion {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.driver.next_completion() {
                Some(Completion::Woken) => {}
                Some(completion) => return completion,
                None => {
                    assert!(Instant::now() < deadline, "nothing was completed");
                    self.driver.wait(Some(Duration::from_secs(1))).expect("the ring works");
                }
            }
        }
    }

    /// The next completion, which is a receive's.
    pub(crate) fn next_recv(&mut self) -> Received {
        match self.next() {
            Completion::Recv { conn, outcome, lease, armed } => {
                let bytes = lease.as_ref().map(|lease| self.driver.buffer(lease).to_vec());
                Received { conn, outcome, armed, bytes: bytes.unwrap_or_default(), lease }
            }
            other => panic!("not a receive: {other:?}"),
        }
    }

    pub(crate) fn release(&mut self, lease: Option<Lease>) {
        if let Some(lease) = lease {
            self.driver.release(lease);
        }
    }
}

/// A shard on its own thread.
pub(crate) struct Running {
    pub(crate) stats: Arc<ShardStats>,
    permits: Permits,
    gateway: Sender<Request>,
    thread: JoinHandle<()>,
}

/// Starts a shard that finds `count` echo connections waiting, and in each socket what
/// `early` writes. Returns the peers' ends.
pub(crate) fn start(
    sizes: RingSizes,
    outbox_bytes: usize,
    count: usize,
    mut early: impl FnMut(&mut UnixStream),
) -> (Running, Vec<UnixStream>) {
    let permits = Permits::new(1, 10_000);
    let mut wiring = wire(1, 1, count.max(4)).expect("descriptors");
    let mut acceptor = wiring.acceptors.remove(0).remove(0);
    let mut peers = Vec::new();
    for _ in 0..count {
        let (ours, mut peer) = UnixStream::pair().expect("descriptors");
        peer.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
        peer.set_write_timeout(Some(PATIENCE)).expect("a timeout above zero");
        early(&mut peer);
        let handoff = echo_handoff(ours.into(), &permits);
        acceptor.push(Request::Connect(Box::new(handoff))).expect("room for all");
        peers.push(peer);
    }
    let post = wiring.posts.remove(0);
    let stats = Arc::<ShardStats>::default();
    let owners = Owners::new(NonZeroU16::MIN);
    let settings = settings(outbox_bytes);
    let (theirs, place) = (stats.clone(), permits.clone());
    let thread = std::thread::spawn(move || {
        let driver = driver(sizes, &post.bell);
        let mut shard = Shard::new(driver, SystemClock, post, owners, place, theirs, settings);
        shard.run().expect("the ring works");
    });
    let gateway = wiring.gateway.remove(0);
    let mut running = Running { stats, permits, gateway, thread };
    for peer in &mut peers {
        expect(peer, RESPONSE);
    }
    running.ring();
    (running, peers)
}

impl Running {
    /// Stops the shard once every connection is closed.
    pub(crate) fn stop(mut self, peers: Vec<UnixStream>) -> Arc<ShardStats> {
        drop(peers);
        await_until(|| self.permits.total() == 0);
        self.gateway.push(Request::Stop).expect("the gateway's lane is its own");
        self.ring();
        self.thread.join().expect("the shard did not panic");
        self.stats
    }

    fn ring(&mut self) {
        self.gateway.bell().ring();
    }
}

/// Asks again and again, giving the other threads the core in between.
pub(crate) fn await_until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "it never came to that");
        std::thread::yield_now();
    }
}

/// Reads exactly `expected`.
pub(crate) fn expect(peer: &mut UnixStream, expected: &[u8]) {
    let mut got = vec![0; expected.len()];
    peer.read_exact(&mut got).expect("the bytes come in time");
    assert!(got == expected, "other bytes than expected");
}

/// Writes as much as the socket takes at once.
pub(crate) fn fill(peer: &mut UnixStream, bytes: &[u8]) -> usize {
    peer.set_nonblocking(true).expect("a socket");
    let mut written = 0;
    while written < bytes.len() {
        match peer.write(&bytes[written..]) {
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("the peer cannot write: {error}"),
        }
    }
    peer.set_nonblocking(false).expect("a socket");
    written
}

fn echo_handoff(socket: OwnedFd, permits: &Permits) -> Handoff {
    Handoff {
        socket,
        response: RESPONSE.to_vec(),
        leftover: Vec::new(),
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        entry: Entry::Echo,
        deflate: None,
        permit: permits.take().expect("room"),
    }
}

fn settings(outbox_bytes: usize) -> ShardSettings {
    let message = DecodeLimits { message_size: 1 << 20, fragments: 1024 };
    ShardSettings {
        protocol: ProtocolLimits { echo: message, client: message, publication_size: 1 << 16 },
        keepalive: KeepaliveTimes { ping_interval: 60_000, pong_timeout: 10_000 },
        connect_timeout: 10_000,
        channels: open_channels(),
        outbox_bytes,
        outbox_shard_bytes: 1 << 30,
        history_bytes: tidegate::limits::HISTORY_BYTES_DEFAULT,
        tokens: false,
        hooks: HookSet::default(),
        mailbox_len: 4,
        compression: CompressionSettings::default(),
        seed: 1,
    }
}

/// Channels in which everybody may do everything, with any bytes.
fn open_channels() -> Arc<Namespaces> {
    let options = ChannelOptions {
        allow_subscribe: Audience::Anyone,
        allow_publish: Audience::Anyone,
        format: Format::Binary,
        ..ChannelOptions::default()
    };
    Arc::new(Namespaces::new(options, []))
}
