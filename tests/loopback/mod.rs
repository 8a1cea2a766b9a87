//! A real shard on a real ring, with TCP connections over the loopback and without acceptors.
//!
//! Every test binary compiles all of it and uses a part, hence the allowance.
#![allow(dead_code, unreachable_pub)]

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::num::NonZeroU16;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate::frame::FrameBytes;
use tidegate::id::{ConnId, Owners, ShardId};
use tidegate::limits;
use tidegate::mail::{Handoff, Permits, Publish, Reply, Request, Sender, wire};
use tidegate::protocol::ProtocolLimits;
use tidegate::protocol::admission::{Entry, RawEntry};
use tidegate::protocol::channel::{Audience, ChannelOptions, Format, Namespaces};
use tidegate::protocol::hook::HookSet;
use tidegate::publication::{Payload, PublishOptions};
use tidegate::ring::{
    CloseHow, Completion, Driver, DriverCounts, Fault, Lease, RingSizes, Sock, UringDriver,
};
use tidegate::session::KeepaliveTimes;
use tidegate::shard::{CompressionSettings, Shard, ShardSettings, SystemClock};
use tidegate::stats::ShardStats;
use tidegate::ws::{DecodeLimits, DeflateParams};
use tokio::sync::oneshot;

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What stands for the 101; the shard sends whatever it is given.
pub const ANSWER: &[u8] = b"101!";

/// Rings of a size that a test machine has locked memory for.
pub const SIZES: RingSizes =
    RingSizes { sq_entries: 256, cq_entries: 1024, recv_buffers: 64, recv_buffer_size: 16 * 1024 };

/// Settings of a shard: the defaults, but no ping while a test runs.
pub fn settings(mailbox_len: usize) -> ShardSettings {
    let limits = DecodeLimits {
        message_size: limits::MESSAGE_SIZE_DEFAULT,
        fragments: limits::FRAGMENTS_DEFAULT,
    };
    ShardSettings {
        protocol: ProtocolLimits {
            echo: limits,
            client: limits,
            publication_size: limits::PUBLICATION_SIZE_DEFAULT,
        },
        keepalive: KeepaliveTimes { ping_interval: 86_400_000, pong_timeout: 86_400_000 },
        connect_timeout: 10_000,
        channels: open_channels(),
        outbox_bytes: limits::OUTBOX_BYTES_DEFAULT,
        outbox_shard_bytes: limits::OUTBOX_SHARD_BYTES_DEFAULT,
        history_bytes: tidegate::limits::HISTORY_BYTES_DEFAULT,
        tokens: false,
        hooks: HookSet::default(),
        mailbox_len,
        compression: CompressionSettings::default(),
        seed: 1,
    }
}

/// One shard on the calling thread, which turns it by hand.
pub struct Alone {
    pub shard: Shard<Patient, SystemClock>,
    pub requests: Sender<Request>,
    pub permits: Permits,
    pub stats: Arc<ShardStats>,
    listener: TcpListener,
}

impl Alone {
    pub fn new() -> Self {
        Self::with(settings(limits::MAILBOX_LEN_DEFAULT))
    }

    pub fn with(settings: ShardSettings) -> Self {
        let mut wiring = wire(1, 0, limits::MAILBOX_LEN_DEFAULT).expect("descriptors");
        let post = wiring.posts.remove(0);
        let driver = UringDriver::new(SIZES, post.bell.fd().as_raw_fd()).expect("a ring");
        let permits = Permits::new(1, 10_000);
        let stats = Arc::new(ShardStats::default());
        let shard = Shard::new(
            Patient(driver),
            SystemClock,
            post,
            Owners::new(NonZeroU16::MIN),
            permits.clone(),
            Arc::clone(&stats),
            settings,
        );
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        Self { shard, requests: wiring.control.remove(0), permits, stats, listener }
    }

    /// Hands a new connection to the shard; its client's end comes back. No turn is made.
    pub fn hand_over(&mut self, entry: Entry) -> TcpStream {
        self.hand_over_compressed(entry, None)
    }

    /// As [`Alone::hand_over`], with what the handshake agreed on about compression.
    pub fn hand_over_compressed(
        &mut self,
        entry: Entry,
        deflate: Option<DeflateParams>,
    ) -> TcpStream {
        let (client, handoff) = connection(&self.listener, &self.permits, entry);
        let handoff = Handoff { deflate, ..handoff };
        let pushed = self.requests.push(Request::Connect(Box::new(handoff)));
        assert!(pushed.is_ok(), "the lane has room");
        client
    }

    /// An upgraded connection, its client's end set not to block.
    pub fn connect(&mut self, entry: Entry) -> TcpStream {
        self.connect_compressed(entry, None)
    }

    /// As [`Alone::connect`], with what the handshake agreed on about compression.
    pub fn connect_compressed(
        &mut self,
        entry: Entry,
        deflate: Option<DeflateParams>,
    ) -> TcpStream {
        let mut client = self.hand_over_compressed(entry, deflate);
        let mut answer = [0; ANSWER.len()];
        self.read_exact(&mut client, &mut answer);
        assert_eq!(answer, ANSWER);
        client
    }

    /// Hands a publication to the shard, as the HTTP API does. No turn is made.
    pub fn publish(&mut self, channel: &str, payload: Payload) {
        let (reply, _outcome) = oneshot::channel();
        let publish = Publish {
            channel: channel.into(),
            payload,
            options: PublishOptions::default(),
            info: None,
            accepted_at: Instant::now(),
            reply: Reply::Control(reply),
        };
        let pushed = self.requests.push(Request::Publish(Box::new(publish)));
        assert!(pushed.is_ok(), "the lane has room");
    }

    /// Reads, turning the shard while nothing is there.
    pub fn read_exact(&mut self, client: &mut TcpStream, buffer: &mut [u8]) {
        let deadline = Instant::now() + PATIENCE;
        let mut filled = 0;
        while filled < buffer.len() {
            match client.read(&mut buffer[filled..]) {
                Ok(0) => panic!("the end after {filled} of {} bytes", buffer.len()),
                Ok(len) => filled += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    assert!(Instant::now() < deadline, "{filled} of {} bytes", buffer.len());
                    self.shard.turn().expect("the ring works");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// A connection over the loopback: the client's end, and the other on its way to its shard.
pub fn connection(listener: &TcpListener, permits: &Permits, entry: Entry) -> (TcpStream, Handoff) {
    let address = listener.local_addr().expect("bound");
    let client = TcpStream::connect(address).expect("it listens");
    let (socket, peer) = listener.accept().expect("it was connected to");
    for end in [&client, &socket] {
        end.set_nodelay(true).expect("a TCP socket");
    }
    client.set_nonblocking(true).expect("a socket");
    let handoff = Handoff {
        socket: socket.into(),
        response: ANSWER.to_vec(),
        leftover: Vec::new(),
        peer: peer.ip(),
        entry,
        deflate: None,
        permit: permits.take().expect("enough places"),
    };
    (client, handoff)
}

/// What `/raw?channel=…` asks for.
pub fn raw(channels: &[&str], publish: bool) -> Entry {
    let channels = channels.iter().map(|name| (*name).into()).collect();
    Entry::Raw(RawEntry { channels, publish, expire_at: None, user: None })
}

/// A driver whose wait ends soon: the thread that turns the shard is also its client.
pub struct Patient(UringDriver);

impl Driver for Patient {
    fn insert(&mut self, conn: ConnId, socket: std::os::fd::OwnedFd) -> Sock {
        self.0.insert(conn, socket)
    }

    fn arm_recv(&mut self, sock: Sock) {
        self.0.arm_recv(sock);
    }

    fn disarm_recv(&mut self, sock: Sock) {
        self.0.disarm_recv(sock);
    }

    fn submit_send(&mut self, sock: Sock, bytes: FrameBytes, from: usize) {
        self.0.submit_send(sock, bytes, from);
    }

    fn cancel_send(&mut self, sock: Sock) {
        self.0.cancel_send(sock);
    }

    fn shutdown_write(&mut self, sock: Sock) {
        self.0.shutdown_write(sock);
    }

    fn close(&mut self, sock: Sock, how: CloseHow) {
        self.0.close(sock, how);
    }

    fn wake(&mut self, shard: ShardId) {
        self.0.wake(shard);
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), Fault> {
        self.0.wait(Some(timeout.unwrap_or(WAIT_MAX).min(WAIT_MAX)))
    }

    fn next_completion(&mut self) -> Option<Completion> {
        self.0.next_completion()
    }

    fn buffer(&mut self, lease: &Lease) -> &mut [u8] {
        self.0.buffer(lease)
    }

    fn release(&mut self, lease: Lease) {
        self.0.release(lease);
    }

    fn buffer_count(&self) -> usize {
        self.0.buffer_count()
    }

    fn counts(&self) -> DriverCounts {
        self.0.counts()
    }
}

const WAIT_MAX: Duration = Duration::from_millis(2);

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
