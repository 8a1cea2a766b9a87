//! Several shards in one thread, with everything around them: acceptor, control, clients, kernel.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tidegate::engine::memory::Engine;
use tidegate::id::{ChannelName, ClientKey, Owners, ShardId};
use tidegate::mail::{
    Bell, Deed, Enrolment, Handoff, Permits, PublishResult, Request, Selector, Sender, Unanswered,
    wire,
};
use tidegate::protocol::admission::{Entry, RawEntry};
use tidegate::protocol::channel::{HistoryOptions, SlowConsumer};
use tidegate::protocol::claims::Overrides;
use tidegate::protocol::hook::ForwardedHeaders;
use tidegate::publication::{Payload, PublishOptions};
use tidegate::shard::Shard;
use tidegate::stats::ShardStats;
use tidegate::ws::CloseCode;

use super::centrifuge::Centrifuge;
use super::client::{Client, DISMISSED, Kind, Scene, publication};
use super::driver::SimDriver;
use super::env::{Env, SimClock};
use super::faults::Fault;
use super::link::Link;
use super::oracle::{Oracle, Position, Publisher, Run};
use super::setup::{self, Setup};
use super::wire::RESPONSE;

/// A channel, and what its namespace promises.
pub(crate) struct Channel {
    pub(crate) name: String,
    pub(crate) history: Option<HistoryOptions>,
    pub(crate) has_presence: bool,
    /// What slow readers miss.
    pub(crate) loss: SlowConsumer,
}

/// A publish of the backend that waits for its answer.
struct Pending {
    id: u32,
    answer: Later<PublishResult>,
}

/// What the engine will say.
type Later<T> = Pin<Box<dyn Future<Output = T>>>;

/// Where clients stood that went, by channel.
type Kept = std::collections::BTreeMap<usize, Position>;

/// One seed's process and its surroundings. In cells, for a shard's turn may be interrupted by
/// whatever else there is.
pub(crate) struct World {
    pub(crate) env: Rc<Env>,
    pub(crate) shards: Vec<RefCell<Shard<SimDriver, SimClock>>>,
    bells: Vec<Bell>,
    pub(crate) stats: Vec<Arc<ShardStats>>,
    pub(crate) permits: Permits,
    pub(crate) engine: Engine,
    acceptor: RefCell<Vec<Sender<Request>>>,
    pub(crate) gateway: RefCell<Vec<Sender<Request>>>,
    pub(crate) channels: Vec<Channel>,
    pub(crate) clients: RefCell<Vec<Client>>,
    pub(crate) oracle: RefCell<Oracle>,
    pending: RefCell<Vec<Pending>>,
    kept: RefCell<Vec<Kept>>,
    /// What the backend has done to clients, without an answer.
    deeds: RefCell<Vec<Later<Result<(), Unanswered>>>>,
    /// Channels that the backend publishes to soon.
    planned: RefCell<Vec<usize>>,
    connected: Cell<usize>,
    /// By shard: how many more chances to run its thread is denied.
    stalled: Vec<Cell<usize>>,
    setup: Setup,
}

impl World {
    pub(crate) fn new(seed: u64) -> Rc<Self> {
        let env = Rc::new(Env::new(seed));
        let setup = Setup::draw(&env);
        let shard_count = NonZeroU16::new(setup.shards).expect("at least one");
        let owners = Owners::new(shard_count);
        let permits = Permits::new(setup.shards, 64);
        let mut wiring = wire(setup.shards, 1, setup.lane_len).expect("descriptors");
        let bells: Vec<_> = wiring.posts.iter().map(|post| post.bell.clone()).collect();
        let stats: Vec<Arc<ShardStats>> = (0..setup.shards).map(|_| Arc::default()).collect();
        let shards = wiring.posts.drain(..).zip(&stats).map(|(post, stats)| {
            let (id, bell) = (post.shard, post.bell.clone());
            let driver = SimDriver::new(id, env.clone(), bell, setup.sizes);
            let clock = SimClock { shard: id, env: env.clone() };
            let owners = owners.clone();
            let settings = setup.settings(seed.wrapping_add(u64::from(id.0)));
            let permits = permits.clone();
            RefCell::new(Shard::new(driver, clock, post, owners, permits, stats.clone(), settings))
        });
        let world = Rc::new(Self {
            shards: shards.collect(),
            bells,
            stats,
            permits,
            channels: setup::channels(&owners, setup.shards),
            engine: Engine::new(wiring.control, owners),
            acceptor: RefCell::new(wiring.acceptors.remove(0)),
            gateway: RefCell::new(wiring.gateway),
            clients: RefCell::default(),
            oracle: RefCell::default(),
            pending: RefCell::default(),
            kept: RefCell::default(),
            deeds: RefCell::default(),
            planned: RefCell::default(),
            connected: Cell::new(0),
            stalled: (0..setup.shards).map(|_| Cell::new(0)).collect(),
            env: env.clone(),
            setup,
        });
        env.set_world(&world);
        world
    }

    /// One thing happens.
    pub(crate) fn step(&self) {
        match self.env.below(16) {
            0 => self.connect_any(),
            1 | 2 => self.publish_any(),
            3..7 => self.any_client(|client, scene| client.act(scene)),
            7..9 => self.any_client(|client, scene| {
                client.attend(scene);
            }),
            9 => self.pass(),
            10 => self.any_shard(|shard| shard.misbehave()),
            14 if self.env.one_in(3) => self.steer_any(),
            11..14 => self.any_shard(|shard| {
                shard.progress();
            }),
            _ => {}
        }
        self.carry_wakes(false);
        if self.env.one_in(2) {
            let index = self.env.below(self.shards.len());
            self.turn(index);
        }
        self.take_answers();
    }

    /// Something happens in the middle of `shard`'s turn.
    pub(crate) fn interrupt(&self, shard: ShardId) {
        match self.env.below(4) {
            0 if self.env.faults.are_on() => self.connect_any(),
            1 if self.env.faults.are_on() => self.publish_any(),
            0 | 1 => {
                self.publish_planned();
            }
            _ => {
                let other = self.env.below(self.shards.len());
                if other != shard.index() {
                    self.turn(other);
                }
            }
        }
    }

    /// The backend publishes to this channel soon, perhaps while a shard is in its turn.
    pub(crate) fn plan_publish(&self, channel: usize) {
        self.planned.borrow_mut().push(channel);
    }

    /// Makes one of the planned publishes. False: there is none.
    pub(crate) fn publish_planned(&self) -> bool {
        let channel = self.planned.borrow_mut().pop();
        channel.map(|channel| self.publish(channel)).is_some()
    }

    /// One turn of a shard, if its wait is over. Says whether it was.
    pub(crate) fn turn(&self, index: usize) -> bool {
        if self.is_stalled(index) {
            return false;
        }
        let mut shard = self.shards[index].borrow_mut();
        if !shard.driver_mut().is_awake() && !self.env.strikes(Fault::Spurious) {
            return false;
        }
        self.env.trace(|| format!("shard {index} turns"));
        shard.driver_mut().wake_up();
        shard.turn().expect("the ring does not break");
        shard.driver_mut().fall_asleep();
        true
    }

    /// Whether the shard's thread is denied the processor.
    fn is_stalled(&self, index: usize) -> bool {
        let stalled = &self.stalled[index];
        if !self.env.faults.are_on() {
            return false;
        }
        if stalled.get() == 0 && self.env.one_in(8) && self.env.strikes(Fault::Stall) {
            stalled.set(self.env.below(60));
        }
        let is_stalled = stalled.get() > 0;
        stalled.set(stalled.get().saturating_sub(1));
        is_stalled
    }

    /// Messages from ring to ring and rings of bells arrive: some of them, or all.
    pub(crate) fn carry_wakes(&self, all: bool) -> bool {
        let mut carried = false;
        for (index, bell) in self.bells.iter().enumerate() {
            if (all || self.env.one_in(2)) && setup::take_ring(bell) {
                self.shards[index].borrow_mut().driver_mut().deliver_wake();
                carried = true;
            }
        }
        loop {
            let waiting = self.env.wakes.borrow().len();
            if waiting == 0 || !all && !self.env.one_in(2) {
                return carried;
            }
            let is_late = waiting > 1 && self.env.strikes(Fault::LateWake);
            let index = if is_late { self.env.below(waiting) } else { 0 };
            let shard = self.env.wakes.borrow_mut().remove(index);
            self.shards[shard.index()].borrow_mut().driver_mut().deliver_wake();
            carried = true;
        }
    }

    /// What the backend was answered goes to the oracle.
    pub(crate) fn take_answers(&self) {
        let mut context = Context::from_waker(Waker::noop());
        let mut oracle = self.oracle.borrow_mut();
        self.pending.borrow_mut().retain_mut(|pending| {
            let Poll::Ready(answer) = pending.answer.as_mut().poll(&mut context) else {
                return true;
            };
            self.env.trace(|| format!("backend's {} is answered: {answer:?}", pending.id));
            match answer {
                Ok(at) => oracle.accept(pending.id, Some((at.epoch.as_str(), at.offset))),
                Err(_) => {
                    self.env.faults.note(Fault::FullMailbox);
                    oracle.refuse(pending.id);
                }
            }
            false
        });
        self.deeds.borrow_mut().retain_mut(|deed| deed.as_mut().poll(&mut context).is_pending());
    }

    /// Publishes and deeds of the backend without an answer.
    pub(crate) fn pending_count(&self) -> usize {
        self.pending.borrow().len() + self.deeds.borrow().len()
    }

    /// The backend has something done to a client.
    fn steer_any(&self) {
        let clients = self.clients.borrow();
        let names = clients.iter().filter_map(|client| match &client.kind {
            Kind::Centrifuge(centrifuge) => centrifuge.name.as_deref(),
            _ => None,
        });
        let names: Vec<_> = names.collect();
        if names.is_empty() {
            return;
        }
        let channel = ChannelName::from(&*self.env.pick(&self.channels).name);
        let deed = match self.env.below(16) {
            0 => Deed::Disconnect {
                code: CloseCode::new(DISMISSED).expect("a code"),
                reason: "dismissed".into(),
            },
            1..8 => Deed::Unsubscribe(channel),
            _ => Deed::Subscribe(Arc::new(Enrolment {
                channel,
                info: None,
                data: None,
                expire_at: None,
                since: None,
                overrides: Overrides::default(),
            })),
        };
        let client = ClientKey::parse(names[self.env.below(names.len())]);
        self.env.trace(|| format!("backend: {deed:?} for {client:?}"));
        let who = Arc::new(Selector { client, ..Selector::default() });
        self.deeds.borrow_mut().push(Box::pin(self.engine.steer(&who, &deed)));
    }

    /// The backend publishes.
    pub(crate) fn publish(&self, channel: usize) -> u32 {
        let mut oracle = self.oracle.borrow_mut();
        let mut scene = self.scene(&mut oracle);
        let (id, text) = publication(&mut scene, channel, Publisher::Backend);
        let name = ChannelName::from(&*self.channels[channel].name);
        self.env.trace(|| format!("backend publishes {id} to {name}"));
        let (payload, options) = (Payload::text(&text), PublishOptions::default());
        let answer = Box::pin(self.engine.publish(name, payload, options));
        self.pending.borrow_mut().push(Pending { id, answer });
        id
    }

    /// Somebody connects, if there is room.
    pub(crate) fn connect(&self, kind: Kind) {
        let Some(permit) = self.permits.take() else { return };
        let shard = permit.shard();
        let lane = &mut self.acceptor.borrow_mut()[shard.index()];
        if lane.room() == 0 {
            self.env.faults.note(Fault::FullMailbox);
            return;
        }
        let window = if self.env.one_in(3) { 200 } else { 4096 };
        let link = Rc::new(Link::new(window));
        let number = self.connected.replace(self.connected.get() + 1);
        let mut client = Client::new(number, link.clone(), kind, &self.env);
        let greeting = {
            let mut oracle = self.oracle.borrow_mut();
            client.greeting(&mut self.scene(&mut oracle))
        };
        // Part of it comes right behind the request head.
        let split = self.env.below(greeting.len() + 1);
        link.send_up(&greeting[split..]);
        let socket: OwnedFd = File::open("/dev/null").expect("a descriptor").into();
        self.env.sockets.borrow_mut().insert(socket.as_raw_fd(), link);
        self.env.trace(|| format!("{client} connects to shard {shard}"));
        let handoff = Handoff {
            socket,
            response: RESPONSE.to_vec(),
            leftover: greeting[..split].to_vec(),
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            entry: self.entry(&client.kind),
            deflate: None,
            permit,
        };
        if let Kind::Raw { channels } = &client.kind {
            // It learns of them by its 101.
            let runs = channels
                .iter()
                .map(|one| (*one, Run::new(*one, u64::MAX, None, self.channels[*one].loss)));
            client.runs = runs.collect();
        }
        self.clients.borrow_mut().push(client);
        assert!(lane.push(Request::Connect(Box::new(handoff))).is_ok(), "room was looked at");
        lane.bell().ring();
    }

    /// Clients that have seen the end go; what they remember is kept for those who come back.
    pub(crate) fn bury(&self) {
        let oracle = self.oracle.borrow();
        self.clients.borrow_mut().retain_mut(|client| {
            if !client.is_gone {
                return true;
            }
            let who = client.to_string();
            let mut kept = match &mut client.kind {
                Kind::Centrifuge(centrifuge) => std::mem::take(&mut centrifuge.kept),
                _ => Kept::new(),
            };
            for (channel, run) in std::mem::take(&mut client.runs) {
                oracle.assert_no_late_start(&who, &run);
                kept.extend(run.position.map(|at| (channel, at)));
            }
            if !kept.is_empty() {
                self.kept.borrow_mut().push(kept);
            }
            false
        });
    }

    /// A client that comes back, or a new one.
    pub(crate) fn returning(&self) -> Kind {
        let kept = self.kept.borrow_mut().pop().unwrap_or_default();
        Kind::Centrifuge(Centrifuge::returning(kept))
    }

    pub(crate) fn scene<'a>(&'a self, oracle: &'a mut Oracle) -> Scene<'a> {
        Scene { env: &self.env, oracle, channels: &self.channels }
    }

    /// The gateway's lanes bring a request to every shard.
    pub(crate) fn tell_all(&self, request: impl Fn() -> Request) {
        for lane in self.gateway.borrow_mut().iter_mut() {
            assert!(lane.push(request()).is_ok(), "the gateway's lane is its own");
            lane.bell().ring();
        }
    }

    /// Some clients connect, as many as there are to be.
    fn connect_any(&self) {
        for _ in 0..1 + self.env.below(3) {
            if self.clients.borrow().len() < self.setup.clients {
                self.connect_one();
            }
        }
    }

    fn connect_one(&self) {
        let kind = match self.env.below(8) {
            0 => Kind::Echo { awaited: Default::default() },
            1..5 => {
                let mut channels: Vec<_> = (0..self.channels.len()).collect();
                self.env.shuffle(&mut channels);
                channels.truncate(1 + self.env.below(3));
                channels.retain(|channel| *channel != self.setup.hot);
                if channels.is_empty() || !self.env.one_in(4) {
                    channels.insert(0, self.setup.hot);
                }
                Kind::Raw { channels }
            }
            _ => self.returning(),
        };
        self.connect(kind);
    }

    fn publish_any(&self) {
        for _ in 0..1 + self.env.below(self.setup.burst) {
            let hot = self.env.one_in(2);
            let any = self.env.below(self.channels.len());
            self.publish(if hot { self.setup.hot } else { any });
        }
    }

    fn any_client(&self, act: impl FnOnce(&mut Client, &mut Scene<'_>)) {
        let mut clients = self.clients.borrow_mut();
        if clients.is_empty() {
            return;
        }
        let index = self.env.below(clients.len());
        let mut oracle = self.oracle.borrow_mut();
        act(&mut clients[index], &mut self.scene(&mut oracle));
        drop((clients, oracle));
        self.bury();
    }

    fn any_shard(&self, act: impl FnOnce(&mut SimDriver)) {
        let index = self.env.below(self.shards.len());
        act(self.shards[index].borrow_mut().driver_mut());
    }

    fn pass(&self) {
        let time = if self.env.strikes(Fault::ClockJump) {
            Duration::from_secs(1 + self.env.below(30) as u64)
        } else {
            Duration::from_millis(self.env.below(40) as u64)
        };
        self.env.pass(time);
        let is_back = self.env.strikes(Fault::WallBack);
        self.env.set_wall_back(Duration::from_secs(if is_back { 3_600 } else { 0 }));
    }

    fn entry(&self, kind: &Kind) -> Entry {
        match kind {
            Kind::Echo { .. } => Entry::Echo,
            Kind::Centrifuge(_) => Entry::Centrifuge {
                headers: ForwardedHeaders::default(),
                frame_pings: self.env.one_in(2),
            },
            Kind::Raw { channels } => {
                let names =
                    channels.iter().map(|one| ChannelName::from(&*self.channels[*one].name));
                let channels = names.collect();
                Entry::Raw(RawEntry { channels, publish: true, expire_at: None, user: None })
            }
        }
    }
}
