//! Acceptors: what may be slow or hostile before the 101.
//!
//! One thread and one tokio-uring runtime each, all on duplicates of one listening socket. An
//! acceptor owns a client from `accept` until it is refused or handed to a shard: it reads the
//! request head under an absolute deadline, asks `protocol::admission`, takes a permit, sets the
//! socket options, and mails the socket with the 101 and the bytes behind the head. It does **not**
//! send the 101: the shard does, once the subscriptions are registered. It knows nothing of frames,
//! sessions and channels' contents.
//!
//! Reading the head and ending a refused connection are the library's, [`crate::conn`].
//!
//! Invariants: at most one `accept` is in flight per acceptor; no future of a ring operation is
//! ever dropped before it is ready, for that would take and lose a client or its bytes (a deadline
//! shuts the socket down instead, which ends the operation); every loop is bounded by time, bytes
//! or [`limits::HANDSHAKES_PER_ACCEPTOR_MAX`].

pub mod answer;
mod connection;
mod judge;
mod listen;
mod page;
mod peer;
mod stop;

use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::watch;

use crate::config::{Config, Hooks};
use crate::conn::Upgrader;
use crate::lifecycle::Lifecycle;
use crate::limits;
use crate::mail::{AuthDesk, Permits, Request, Sender};
use crate::protocol::admission::{Origins, Policy};
use crate::protocol::hook::Hook;
use crate::ring::fd;
use crate::stats::AcceptorStats;

pub use answer::Site;
pub use stop::{Stop, Stopped};

/// The settings of an acceptor, equal for all of them.
#[derive(Clone, Debug)]
pub struct AcceptorConfig {
    /// What is allowed, and what the pages need.
    pub site: Site,
    /// Proxies whose `X-Forwarded-For` names the peer.
    pub trusted_proxies: Vec<IpNet>,
    /// From accept to the end of the request head, and of a refusal.
    pub handshake_timeout: Duration,
    /// `TCP_USER_TIMEOUT` of handed-over sockets: ping interval plus the time for the answer.
    pub user_timeout: Duration,
}

impl AcceptorConfig {
    /// The part of `config` that acceptors need.
    pub fn new(config: &Config) -> Self {
        let policy = Policy {
            echo: config.echo.enabled,
            demo: config.server.dev,
            compression: config.server.compression.is_some(),
            origins: Origins::new(&config.server.origins, config.server.dev),
            channels: config.channels.clone(),
            tokens: config.token.is_some(),
            connect_hook: config.hooks.as_ref().is_some_and(|one| one.set().has(Hook::Connect)),
            forward_headers: config.hooks.iter().flat_map(forwarded).collect(),
        };
        Self {
            site: Site {
                policy,
                admin: config.server.admin,
                keyed: config.server.api_key.is_some(),
            },
            trusted_proxies: config.server.trusted_proxies.clone(),
            handshake_timeout: config.limits.handshake_timeout,
            user_timeout: config.limits.ping_interval + config.limits.pong_timeout,
        }
    }
}

/// The headers that a backend gets to see.
fn forwarded(hooks: &Hooks) -> impl Iterator<Item = Box<str>> {
    hooks.forward_headers.iter().map(|name| name.as_str().into())
}

/// One acceptor, complete but for its thread and its ring.
#[derive(Debug)]
pub struct Acceptor {
    /// Its settings.
    pub config: AcceptorConfig,
    /// Its lanes to the shards, by shard.
    pub shards: Vec<Sender<Request>>,
    /// Places for connections.
    pub permits: Permits,
    /// Its counters; this acceptor is their one writer.
    pub stats: Arc<AcceptorStats>,
    /// The phase of the process.
    pub lifecycle: Lifecycle,
    /// Who checks tokens and asks backends; `None`: nobody, tokens are refused.
    pub auth: Option<AuthDesk>,
    /// How it learns that it is to end.
    pub stopped: Stopped,
}

impl Acceptor {
    /// Runs on the calling thread until [`Stop::stop`]. First builds the ring and reports it, or
    /// the cause why there is none, through `ready`; then waits for the listening socket (a
    /// duplicate of the one all acceptors share) and accepts. Returns at once if the ring was
    /// refused or no listener will come because its sender was dropped.
    ///
    /// Pinning the thread and blocking its signals is the caller's business, before the call.
    pub fn run(self, ready: &mpsc::Sender<io::Result<()>>, listener: &mpsc::Receiver<TcpListener>) {
        let runtime = match build_runtime() {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        // A gateway that is gone already drops the listener's sender too.
        let _ = ready.send(Ok(()));
        let Ok(listener) = listener.recv() else {
            return;
        };
        let listener = tokio_uring::net::TcpListener::from_std(listener);
        let (shared, cut) = Shared::new(self);
        runtime.block_on(listen::listen(Rc::new(shared), listener, cut));
    }
}

/// What the tasks of one acceptor share. One thread, so plain cells do.
struct Shared {
    config: AcceptorConfig,
    shards: RefCell<Vec<Sender<Request>>>,
    permits: Permits,
    stats: Arc<AcceptorStats>,
    lifecycle: Lifecycle,
    auth: Option<AuthDesk>,
    stopped: Stopped,
    /// Reads heads and ends refused connections, until handshakes in flight are cut off.
    upgrader: Upgrader,
}

impl Shared {
    fn new(acceptor: Acceptor) -> (Self, watch::Sender<bool>) {
        let Acceptor { config, shards, permits, stats, lifecycle, auth, stopped } = acceptor;
        let (cut_sender, cut) = watch::channel(false);
        let upgrader = Upgrader::new().handshake_timeout(config.handshake_timeout).cut_off(cut);
        let shards = RefCell::new(shards);
        (Self { config, shards, permits, stats, lifecycle, auth, stopped, upgrader }, cut_sender)
    }
}

/// Lets one log line a second pass, so that no peer can fill the log. One for each kind of line,
/// shared by all acceptors.
#[derive(Debug)]
struct LogGate {
    opened: Mutex<Option<Instant>>,
}

impl LogGate {
    const fn new() -> Self {
        Self { opened: Mutex::new(None) }
    }

    /// Whether a line may be written now; the line after it may be in a second.
    fn open(&self) -> bool {
        let now = Instant::now();
        let mut opened =
            self.opened.lock().expect("a panic aborts the process, so no lock is poisoned");
        // Another acceptor may have read the clock later and come first.
        let due =
            opened.is_none_or(|last| now.saturating_duration_since(last) >= Duration::from_secs(1));
        if due {
            *opened = Some(now);
        }
        due
    }
}

/// A runtime with a ring of its own, tried twice if memory for it is short.
fn build_runtime() -> io::Result<tokio_uring::Runtime> {
    let mut ring = tokio_uring::uring_builder();
    ring.setup_cqsize(limits::ACCEPT_CQ_ENTRIES);
    let mut builder = tokio_uring::builder();
    builder.entries(limits::ACCEPT_SQ_ENTRIES).uring_builder(&ring);
    match tokio_uring::Runtime::new(&builder) {
        Err(error) if fd::is_out_of_memory(&error) => {
            std::thread::sleep(Duration::from_millis(limits::RING_RETRY_MS));
            tokio_uring::Runtime::new(&builder)
        }
        built => built,
    }
}
