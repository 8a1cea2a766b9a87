//! Acceptors on a free port with a fake shard: the test holds the receiving end of their lanes.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tidegate::accept::{Acceptor, AcceptorConfig, Site, Stop};
use tidegate::lifecycle::{Lifecycle, Phase};
use tidegate::mail::{Handoff, Permits, Post, Request, wire};
use tidegate::protocol::admission::{Origins, Policy};
use tidegate::protocol::channel::{Audience, ChannelOptions, Namespaces};
use tidegate::stats::AcceptorStats;

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A good handshake for `path`, `more` header lines behind it.
pub fn handshake(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: gateway.example\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}

pub struct Settings {
    pub acceptors: usize,
    pub places: u32,
    pub lane_len: usize,
    pub handshake_timeout: Duration,
    pub trusted_proxies: &'static [&'static str],
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            acceptors: 1,
            places: 100,
            lane_len: 16,
            handshake_timeout: PATIENCE,
            trusted_proxies: &[],
        }
    }
}

pub struct Running {
    pub address: SocketAddr,
    pub listener: TcpListener,
    pub post: Post,
    pub permits: Permits,
    /// Of the first acceptor.
    pub stats: Arc<AcceptorStats>,
    pub lifecycle: Lifecycle,
    stop: Stop,
    threads: Vec<(JoinHandle<()>, mpsc::Receiver<()>)>,
}

/// Starts acceptors that allow what `--dev` allows.
pub fn start(settings: Settings) -> Running {
    let mut wiring = wire(1, settings.acceptors, settings.lane_len).expect("descriptors");
    let permits = Permits::new(1, settings.places);
    let lifecycle = Lifecycle::new();
    lifecycle.advance(Phase::Serving);
    let stop = Stop::new();
    let open = ChannelOptions {
        allow_subscribe: Audience::Anyone,
        allow_publish: Audience::Anyone,
        ..ChannelOptions::default()
    };
    let policy = Policy {
        echo: true,
        demo: true,
        compression: false,
        origins: Origins::new(&[], true),
        channels: Namespaces::new(open, []),
        ..Policy::default()
    };
    let trusted = settings.trusted_proxies.iter().map(|net| net.parse().expect("a net"));
    let config = AcceptorConfig {
        site: Site { policy, admin: ([127, 0, 0, 1], 8001).into(), keyed: false },
        trusted_proxies: trusted.collect(),
        handshake_timeout: settings.handshake_timeout,
        user_timeout: Duration::from_secs(35),
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut all_stats: Vec<Arc<AcceptorStats>> = Vec::new();
    let mut threads = Vec::new();
    for shards in wiring.acceptors {
        let stats: Arc<AcceptorStats> = Arc::default();
        all_stats.push(Arc::clone(&stats));
        let acceptor = Acceptor {
            config: config.clone(),
            shards,
            permits: permits.clone(),
            stats,
            lifecycle: lifecycle.clone(),
            auth: None,
            stopped: stop.watch(),
        };
        let (ready_sender, ready) = mpsc::channel();
        let (listener_sender, listeners) = mpsc::channel();
        // Dropped with the thread, however it ends.
        let (ended_sender, ended) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let _ended_sender: mpsc::Sender<()> = ended_sender;
            acceptor.run(&ready_sender, &listeners);
        });
        threads.push((thread, ended));
        ready.recv_timeout(PATIENCE).expect("a report").expect("a ring");
        listener_sender.send(listener.try_clone().expect("descriptors")).expect("it waits");
    }
    let address = listener.local_addr().expect("bound");
    let (post, stats) = (wiring.posts.remove(0), all_stats.remove(0));
    Running { address, listener, post, permits, stats, lifecycle, stop, threads }
}

impl Running {
    /// A client, connected.
    pub fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).expect("a connection");
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    /// What is answered to `input` until the connection ends in order.
    pub fn ask(&self, input: &[u8]) -> String {
        let mut client = self.connect();
        client.write_all(input).expect("an open connection");
        read_to_end(&mut client)
    }

    /// The next client that is handed to the shard, waited for as a shard waits: clear the bell,
    /// look, sleep until it rings.
    pub fn handed_over(&mut self) -> Handoff {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.post.bell.clear();
            let mail = self.post.requests_in.iter_mut().find_map(tidegate::mail::Receiver::pop);
            match mail {
                Some(Request::Connect(handoff)) => return *handoff,
                Some(other) => panic!("an acceptor sends no {other:?}"),
                None => {}
            }
            let left = deadline.checked_duration_since(Instant::now()).expect("nothing came");
            let left =
                Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let bell = self.post.bell.fd();
            poll(&mut [PollFd::new(&bell, PollFlags::IN)], Some(&left)).expect("a descriptor");
        }
    }

    /// Stops the acceptors and waits for their threads.
    pub fn stop(&mut self) {
        self.stop.stop();
        for (thread, ended) in self.threads.drain(..) {
            let end = ended.recv_timeout(PATIENCE);
            assert_eq!(end, Err(mpsc::RecvTimeoutError::Disconnected), "an acceptor goes on");
            thread.join().expect("no panic");
        }
    }
}

/// Everything until the end of the connection, which must be in order.
pub fn read_to_end(client: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("an end in order");
    String::from_utf8(answer).expect("text")
}
