//! Every thread of the process: how they are wired, pinned, started and ended.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Barrier, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};
use tokio::sync::oneshot;

use super::{Event, ServeError, ring_sizes};
use crate::accept::{Acceptor, AcceptorConfig, Stop};
use crate::auth::{Auth, Notices};
use crate::config::{self, Config, Hooks};
use crate::control::{Control, Node, Settings};
use crate::engine::Engine;
use crate::id::Owners;
use crate::lifecycle::Lifecycle;
use crate::limits;
use crate::mail::{self, AuthDesk, AuthPost, NewsPlan, Permits, Post, Request, Sender};
use crate::protocol::ProtocolLimits;
use crate::protocol::channel::Namespaces;
use crate::protocol::hook::HookSet;
use crate::ring::{RingFds, RingSizes, SetupError, TableSizes, UringDriver};
use crate::session::{KeepaliveTimes, Millis};
use crate::shard::{CompressionSettings, Shard, ShardSettings, SystemClock};
use crate::stats::{AuthStats, ShardStats, Stats};

/// The running threads and what steers them.
#[derive(Debug)]
pub(super) struct Threads {
    /// Places for connections; their total says how many are open.
    pub(super) permits: Permits,
    /// Where the admin port listens.
    pub(super) admin_address: SocketAddr,
    shards: Vec<JoinHandle<()>>,
    acceptors: Vec<JoinHandle<()>>,
    control: JoinHandle<()>,
    /// Without keys for tokens and without backends there is none.
    auth: Option<JoinHandle<()>>,
    /// Without a backend that is to be told there is none.
    notices: Option<JoinHandle<()>>,
    listeners: Vec<mpsc::Sender<TcpListener>>,
    lanes: Vec<Sender<Request>>,
    stop_acceptors: Stop,
    stop_control: oneshot::Sender<()>,
    stop_auth: oneshot::Sender<()>,
    stop_notices: oneshot::Sender<()>,
}

impl Threads {
    /// Starts all threads and waits until each is ready. Acceptors then wait for their listener.
    pub(super) fn start(
        config: &Config,
        table: Option<TableSizes>,
        lifecycle: &Lifecycle,
        admin: TcpListener,
        events: &mpsc::Sender<Event>,
    ) -> Result<Self, ServeError> {
        let cpus = cpus(config);
        confine(&cpus)?;
        let shard_count = config.server.shards.get();
        let mut wiring = mail::wire(shard_count, cpus.len(), config.limits.mailbox_len)
            .map_err(ServeError::resources("the mailboxes"))?;
        let owners = Owners::new(config.server.shards);
        let permits = Permits::new(shard_count, config.limits.connections);
        let stats = Stats::new(usize::from(shard_count), cpus.len());
        let admin_address = admin.local_addr().map_err(ServeError::resources("the admin port"))?;

        let (stop_notices, notices_stopped) = oneshot::channel();
        let notices = start_notices(config, &mut wiring.posts, &stats, notices_stopped, events)?;
        let channels = Arc::new(config.channels.clone());
        let plan = ShardPlan {
            config,
            table,
            owners: &owners,
            permits: &permits,
            stats: &stats,
            channels,
        };
        let shards = plan.start_all(wiring.posts, &cpus, events)?;
        let stop_acceptors = Stop::new();
        let plan = AcceptorPlan {
            config,
            lifecycle,
            permits: &permits,
            stats: &stats,
            auth: asks_auth(config).then_some(wiring.auth_desk),
        };
        let (acceptors, listeners) = plan.start_all(wiring.acceptors, &cpus, &stop_acceptors)?;
        let auth_stats = stats.auth.clone();
        let control = Control {
            settings: Settings::from(config),
            node: Node::new(),
            engine: Engine::new(wiring.control, owners),
            stats,
            permits: permits.clone(),
            lifecycle: lifecycle.clone(),
        };
        let (stop_auth, auth_stopped) = oneshot::channel();
        let auth = start_auth(config, wiring.auth, auth_stats, auth_stopped, events)?;
        let (stop_control, stopped) = oneshot::channel();
        let control = start_control(control, admin, stopped, events.clone())?;
        Ok(Self {
            permits,
            admin_address,
            shards,
            acceptors,
            control,
            auth,
            notices,
            listeners,
            lanes: wiring.gateway,
            stop_acceptors,
            stop_control,
            stop_auth,
            stop_notices,
        })
    }

    /// Gives every acceptor a duplicate of the listening socket.
    pub(super) fn accept_on(&self, listener: &TcpListener) -> Result<(), ServeError> {
        for acceptor in &self.listeners {
            let duplicate = listener.try_clone().map_err(ServeError::resources("an acceptor"))?;
            // An acceptor that is gone has sent its failure as an event.
            let _ = acceptor.send(duplicate);
        }
        Ok(())
    }

    /// Tells every shard to close its clients over `window`.
    pub(super) fn drain(&mut self, window: Duration) {
        self.tell_shards(|| Request::Drain { window });
    }

    /// Ends all threads, in the order that lets nobody wait for somebody who is gone.
    pub(super) fn stop(mut self) -> Result<(), ServeError> {
        self.stop_acceptors.stop();
        self.listeners.clear();
        join("acceptor", self.acceptors.drain(..))?;
        self.tell_shards(|| Request::Stop);
        join("shard", self.shards.drain(..))?;
        // Nothing happens any more; what did is told. A dropped receiver has said why.
        let _ = self.stop_notices.send(());
        join("notices", self.notices)?;
        // Nobody asks any more. One that failed has said so; a dropped receiver is that.
        let _ = self.stop_auth.send(());
        join("auth", self.auth)?;
        // A control thread that failed has said so; a dropped receiver is that.
        let _ = self.stop_control.send(());
        join("control", [self.control])
    }

    fn tell_shards(&mut self, request: impl Fn() -> Request) {
        for lane in &mut self.lanes {
            // The lane is the gateway's own and holds more than the two requests ever sent.
            assert!(lane.push(request()).is_ok(), "the gateway's own lane is full");
            lane.bell().ring();
        }
    }
}

fn join(kind: &str, handles: impl IntoIterator<Item = JoinHandle<()>>) -> Result<(), ServeError> {
    for handle in handles {
        let name = handle.thread().name().unwrap_or(kind).to_owned();
        handle
            .join()
            .map_err(|_| ServeError::Thread { thread: name, cause: "it panicked".to_owned() })?;
    }
    Ok(())
}

/// Whether there is anything to ask the auth thread.
fn asks_auth(config: &Config) -> bool {
    config.token.is_some() || config.hooks.is_some()
}

/// The cores to use: those configured, else all that are allowed.
fn cpus(config: &Config) -> Vec<usize> {
    if config.server.cpus.is_empty() { config::allowed_cores() } else { config.server.cpus.clone() }
}

/// Keeps this thread, and those it starts, on `cpus`.
fn confine(cpus: &[usize]) -> Result<(), ServeError> {
    let mut set = CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(*cpu));
    sched_setaffinity(None, &set)
        .map_err(|errno| ServeError::Cpus { cpus: cpus.to_vec(), source: errno.into() })
}

fn spawn(
    name: String,
    cpu: Option<usize>,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, ServeError> {
    let pinned = move || {
        if let Some(cpu) = cpu
            && let Err(error) = confine(&[cpu])
        {
            // Allowed when the process started; a cpuset may have shrunk since.
            tracing::warn!("{error}");
        }
        body();
    };
    std::thread::Builder::new().name(name).spawn(pinned).map_err(ServeError::resources("a thread"))
}

struct ShardPlan<'a> {
    config: &'a Config,
    /// The table of each ring, if sockets are held in one.
    table: Option<TableSizes>,
    owners: &'a Owners,
    permits: &'a Permits,
    stats: &'a Stats,
    channels: Arc<Namespaces>,
}

impl ShardPlan<'_> {
    /// Starts one thread per post; each builds its ring there and reports it, then gets to know
    /// the others' rings and runs.
    fn start_all(
        &self,
        posts: Vec<Post>,
        cpus: &[usize],
        events: &mpsc::Sender<Event>,
    ) -> Result<Vec<JoinHandle<()>>, ServeError> {
        let all_ended = Arc::new(Barrier::new(posts.len()));
        let (ready, reports) = mpsc::channel();
        let mut handles = Vec::new();
        let mut starts = Vec::new();
        for (index, post) in posts.into_iter().enumerate() {
            let (start, peers) = mpsc::channel();
            starts.push(start);
            let thread = ShardThread {
                index,
                post,
                sizes: ring_sizes(self.config),
                table: self.table,
                owners: self.owners.clone(),
                permits: self.permits.clone(),
                stats: self.stats.shards[index].clone(),
                settings: self.settings()?,
                ready: ready.clone(),
                peers,
                all_ended: all_ended.clone(),
                events: events.clone(),
            };
            let cpu = cpus[index % cpus.len()];
            handles.push(spawn(format!("shard-{index}"), Some(cpu), move || thread.run())?);
        }
        let mut ring_fds: Vec<RawFd> = vec![-1; handles.len()];
        for _ in 0..handles.len() {
            let (index, built) = reports.recv().expect("every shard reports");
            ring_fds[index] = built.map_err(ServeError::from_ring)?;
        }
        let ring_fds = RingFds::from(ring_fds);
        for start in starts {
            start.send(ring_fds.clone()).expect("a shard that reported waits for its peers");
        }
        Ok(handles)
    }

    fn settings(&self) -> Result<ShardSettings, ServeError> {
        let limits = &self.config.limits;
        let ms = |time: Duration| Millis::try_from(time.as_millis()).unwrap_or(Millis::MAX);
        let seed = getrandom::u64().map_err(|error| ServeError::Resources {
            what: "the random numbers",
            source: io::Error::other(error.to_string()),
        })?;
        // Without it no connection agrees on compression, and the settings are not looked at.
        let compression = self.config.server.compression.map(|compression| CompressionSettings {
            level: compression.level,
            size_min: compression.size_min,
        });
        Ok(ShardSettings {
            protocol: ProtocolLimits {
                echo: self.config.echo.message,
                client: limits.message,
                publication_size: limits.publication_size,
            },
            keepalive: KeepaliveTimes {
                ping_interval: ms(limits.ping_interval),
                pong_timeout: ms(limits.pong_timeout),
            },
            connect_timeout: ms(limits.handshake_timeout),
            channels: self.channels.clone(),
            tokens: self.config.token.is_some(),
            hooks: self.config.hooks.as_ref().map_or_else(HookSet::default, Hooks::set),
            outbox_bytes: limits.outbox_bytes,
            outbox_shard_bytes: limits.outbox_shard_bytes,
            history_bytes: limits.history_bytes,
            mailbox_len: limits.mailbox_len,
            compression: compression.unwrap_or_default(),
            seed,
        })
    }
}

/// What one shard's thread needs before it has a ring.
struct ShardThread {
    index: usize,
    post: Post,
    sizes: RingSizes,
    table: Option<TableSizes>,
    owners: Owners,
    permits: Permits,
    stats: Arc<ShardStats>,
    settings: ShardSettings,
    ready: mpsc::Sender<(usize, Result<RawFd, SetupError>)>,
    peers: mpsc::Receiver<RingFds>,
    all_ended: Arc<Barrier>,
    events: mpsc::Sender<Event>,
}

impl ShardThread {
    fn driver(&self) -> Result<UringDriver, SetupError> {
        let mut driver = UringDriver::new(self.sizes, self.post.bell.fd().as_raw_fd())?;
        self.table.map(|sizes| driver.register_table(sizes)).transpose()?;
        Ok(driver)
    }

    fn run(self) {
        // A receiver that is gone means that another thread could not start: the process ends.
        let mut driver = match self.driver() {
            Ok(driver) => {
                let _ = self.ready.send((self.index, Ok(driver.ring_fd())));
                driver
            }
            Err(error) => {
                let _ = self.ready.send((self.index, Err(error)));
                return;
            }
        };
        let Ok(peers) = self.peers.recv() else { return };
        driver.set_peers(peers);
        let mut shard = Shard::new(
            driver,
            SystemClock,
            self.post,
            self.owners,
            self.permits,
            self.stats,
            self.settings,
        );
        if let Err(fault) = shard.run() {
            let thread = format!("shard-{}", self.index);
            let error = ServeError::Thread { thread, cause: fault.to_string() };
            let _ = self.events.send(Event::Failed(error));
            return;
        }
        // Another shard may still wake this one: no ring goes away before all have ended.
        self.all_ended.wait();
    }
}

type AcceptorThreads = (Vec<JoinHandle<()>>, Vec<mpsc::Sender<TcpListener>>);

/// What every acceptor's thread needs.
struct AcceptorPlan<'a> {
    config: &'a Config,
    lifecycle: &'a Lifecycle,
    permits: &'a Permits,
    stats: &'a Stats,
    /// Who checks tokens and asks backends, if somebody does.
    auth: Option<AuthDesk>,
}

impl AcceptorPlan<'_> {
    /// Starts one thread per set of lanes and waits until each has its ring.
    fn start_all(
        &self,
        lanes: Vec<Vec<Sender<Request>>>,
        cpus: &[usize],
        stop: &Stop,
    ) -> Result<AcceptorThreads, ServeError> {
        let (ready, reports) = mpsc::channel();
        let mut handles = Vec::new();
        let mut listeners = Vec::new();
        for (index, shards) in lanes.into_iter().enumerate() {
            let acceptor = Acceptor {
                config: AcceptorConfig::new(self.config),
                shards,
                permits: self.permits.clone(),
                stats: self.stats.acceptors[index].clone(),
                lifecycle: self.lifecycle.clone(),
                auth: self.auth.clone(),
                stopped: stop.watch(),
            };
            let (listener, take) = mpsc::channel();
            listeners.push(listener);
            let ready = ready.clone();
            let body = move || acceptor.run(&ready, &take);
            handles.push(spawn(format!("acceptor-{index}"), Some(cpus[index]), body)?);
        }
        for _ in 0..handles.len() {
            let built = reports.recv().expect("every acceptor reports");
            built.map_err(|source| {
                ServeError::from_ring(SetupError::Refused {
                    entries: limits::ACCEPT_SQ_ENTRIES,
                    source,
                })
            })?;
        }
        Ok((handles, listeners))
    }
}

fn start_control(
    control: Control,
    admin: TcpListener,
    stopped: oneshot::Receiver<()>,
    events: mpsc::Sender<Event>,
) -> Result<JoinHandle<()>, ServeError> {
    spawn("control".to_owned(), None, move || {
        let shutdown = async {
            // A dropped sender is a stop too.
            let _ = stopped.await;
        };
        if let Err(error) = control.run(admin, shutdown) {
            let thread = "control".to_owned();
            let error = ServeError::Thread { thread, cause: error.to_string() };
            let _ = events.send(Event::Failed(error));
        }
    })
}

/// Starts the thread that checks tokens and asks backends, if there is anything to ask it.
fn start_auth(
    config: &Config,
    post: AuthPost,
    stats: Arc<AuthStats>,
    stopped: oneshot::Receiver<()>,
    events: &mpsc::Sender<Event>,
) -> Result<Option<JoinHandle<()>>, ServeError> {
    if !asks_auth(config) {
        return Ok(None);
    }
    let auth = Auth::new(config.token.as_ref(), config.hooks.as_ref(), post, stats)
        .map_err(ServeError::resources("the certificates to trust https addresses with"))?;
    let events = events.clone();
    let body = move || {
        if let Err(error) = auth.run(stopped) {
            let error = ServeError::Thread { thread: "auth".to_owned(), cause: error.to_string() };
            let _ = events.send(Event::Failed(error));
        }
    };
    spawn("auth".to_owned(), None, body).map(Some)
}

/// Starts the thread that tells a backend of what happens, if one is to be told, and has the shards
/// of `posts` report to it.
fn start_notices(
    config: &Config,
    posts: &mut [Post],
    stats: &Stats,
    stopped: oneshot::Receiver<()>,
    events: &mpsc::Sender<Event>,
) -> Result<Option<JoinHandle<()>>, ServeError> {
    let Some(settings) = &config.notices else { return Ok(None) };
    let vacated_delay_ms = u64::try_from(settings.vacated_delay.as_millis()).unwrap_or(u64::MAX);
    let plan = NewsPlan {
        disconnect: settings.disconnect,
        unsubscribe: settings.unsubscribe,
        vacated_delay_ms: settings.vacated.then_some(vacated_delay_ms),
    };
    let news = mail::carry_news(posts, plan);
    let notices = Notices::new(settings, news, stats.notices.clone())
        .map_err(ServeError::resources("the certificates to trust hooks.notices.url with"))?;
    let events = events.clone();
    let body = move || {
        if let Err(error) = notices.run(stopped) {
            let (thread, cause) = ("notices".to_owned(), error.to_string());
            let _ = events.send(Event::Failed(ServeError::Thread { thread, cause }));
        }
    };
    spawn("notices".to_owned(), None, body).map(Some)
}
