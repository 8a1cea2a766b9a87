//! One event loop: everything that happens to a connection after its upgrade.
//!
//! A turn is one straight function ([`Shard::turn`]): reap what the kernel finished, take requests,
//! take deliveries, look at the timers, fill outboxes, flush them, submit and wait. Nothing calls
//! back up. `Core` holds all state that is not the kernel's and never touches the driver while
//! bytes of a receive buffer are borrowed; what it decides (dirty outboxes, receives to arm,
//! connections to end) waits in its lists until the turn comes to them.

mod centrifuge;
mod clock;
mod compression;
mod connect;
mod drain;
mod expiry;
mod fan_out;
mod news;
mod owner;
mod post;
mod reap;
mod roll;
mod route;
mod slots;
mod survey;
mod teardown;
mod timers;

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

pub use clock::{Clock, SystemClock};
pub use compression::CompressionSettings;

use crate::hub::{Hub, HubLimits};
use crate::id::{ConnId, Owners, ShardId};
use crate::limits;
use crate::mail::{Delivery, Permits, Post};
use crate::planted::{Bug, is_planted};
use crate::protocol::ProtocolLimits;
use crate::protocol::channel::Namespaces;
use crate::protocol::hook::{ForwardedHeaders, HookSet};
use crate::ring::{Driver, DriverCounts, Fault};
use crate::session::{KeepaliveTimes, Millis};
use crate::stats::ShardStats;
use centrifuge::{Errands, Expiry, Leaves, Sessions};
use clock::TurnTime;
use compression::Compression;
use drain::Drain;
use fan_out::FanOut;
use news::Reporter;
use roll::Roll;
use slots::Slots;
use timers::Timers;

/// What a shard is told at its start.
#[derive(Clone, Debug)]
pub struct ShardSettings {
    /// Limits of messages and publications.
    pub protocol: ProtocolLimits,
    /// Ping and pong times.
    pub keepalive: KeepaliveTimes,
    /// From the upgrade to the connect command of a client of the Centrifuge protocol, in
    /// milliseconds.
    pub connect_timeout: Millis,
    /// What channels offer and who may do what there; the same for every shard.
    pub channels: Arc<Namespaces>,
    /// Whether somebody checks tokens; else they are refused.
    pub tokens: bool,
    /// Which backends are asked about clients.
    pub hooks: HookSet,
    /// Bytes that may wait for one connection.
    pub outbox_bytes: usize,
    /// Bytes that may wait for all connections of the shard.
    pub outbox_shard_bytes: usize,
    /// Bytes of history that all shards together may keep, each its part.
    pub history_bytes: usize,
    /// Publications the shard may owe itself, as a lane between two shards would hold.
    pub mailbox_len: usize,
    /// How messages are compressed for those who agreed on it.
    pub compression: CompressionSettings,
    /// Seed of jitter and epochs.
    pub seed: u64,
}

/// One event loop over a driver. Built and run on one thread.
pub struct Shard<D, C> {
    driver: D,
    clock: C,
    core: Core,
}

/// All state of a shard that is not the kernel's.
struct Core {
    id: ShardId,
    settings: ShardSettings,
    post: Post,
    owners: Owners,
    permits: Permits,
    stats: Arc<ShardStats>,
    hub: Hub,
    slots: Slots,
    timers: Timers,
    time: TurnTime,
    /// When the hub is next asked to drop what has expired.
    expire_at: Millis,
    random: fastrand::Rng,
    /// Deliveries this shard owes itself, in the order of their numbers.
    local: VecDeque<Delivery>,
    /// True since somebody found `local` full this turn: nobody else tells them of its room.
    local_starved: Cell<bool>,
    /// Bytes of publications and notices taken for delivery this turn, in the forms used.
    taken_len: usize,
    /// Connected clients of the Centrifuge protocol.
    roll: Roll,
    /// What proves who they are.
    sessions: Sessions,
    /// What backends have done to them.
    errands: Errands,
    /// When the time of connections is over; those that have for ever are not in it.
    expiries: HashMap<ConnId, Expiry, RandomState>,
    /// What backends want to be told of connections with every question, if anything.
    metas: HashMap<ConnId, Arc<str>, RandomState>,
    /// Headers that the connect hook gets to see of clients that have not connected yet.
    headers: HashMap<ConnId, ForwardedHeaders, RandomState>,
    /// Tokens without a verdict; at most as many as half the lane of verdicts holds.
    tokens_asked: usize,
    /// Questions to backends without an answer; the other half.
    hooks_asked: usize,
    /// Who left which channel, for owners that are still to be told.
    leaves: Leaves,
    /// Tells a backend what happens here, if one is to be told. Boxed: mostly there is none.
    reporter: Option<Box<Reporter>>,
    /// Replies under construction; empty between messages.
    replies: Vec<u8>,
    /// The user of clients that do not say who they are.
    no_user: Arc<str>,
    /// When a refused message may be logged again.
    next_refusal_log: Millis,
    /// The fan-out that goes on next turn, if one was cut.
    fan_out: Option<FanOut>,
    /// When the publications were accepted whose fan-out ended this turn.
    fan_outs_done: Vec<Instant>,
    /// Where the fair round over delivery lanes goes on.
    next_lane: usize,
    /// The request lane that is looked at first.
    first_request_lane: usize,
    /// True while a request lane's head had no room this turn, by lane.
    blocked_lanes: Vec<bool>,
    /// True when requests were left because the turn's budget ran out.
    requests_left: bool,
    /// Connections with something new in their outbox.
    dirty: Vec<ConnId>,
    /// Connections whose publish or commands found no room, in order.
    parked: VecDeque<ConnId>,
    /// Connections that are to be decoded (again): their backlog first, then the socket.
    resumable: Vec<ConnId>,
    /// Connections whose receive is to be armed.
    recv_queue: VecDeque<ConnId>,
    /// Connections that are to end.
    doomed: VecDeque<ConnId>,
    /// Shards that were sent mail or made room for, by bit.
    rung: u64,
    /// Empty vectors for frames of single connections, and the bytes they hold.
    spare: Vec<Vec<u8>>,
    spare_len: usize,
    /// Bytes in all outboxes, sends in flight included.
    outbox_len: usize,
    compression: Compression,
    drain: Option<Drain>,
    stopping: bool,
    counted: DriverCounts,
}

impl<D: Driver, C: Clock> Shard<D, C> {
    /// A shard without connections. `post` holds its lanes, `permits` the places it gives back.
    pub fn new(
        driver: D,
        mut clock: C,
        mut post: Post,
        owners: Owners,
        permits: Permits,
        stats: Arc<ShardStats>,
        settings: ShardSettings,
    ) -> Self {
        let id = post.shard;
        let lane_count = post.requests_in.len();
        let shard_count = post.deliveries_in.len();
        let hub_limits = HubLimits::of_one_in(owners.shard_count(), settings.history_bytes);
        let hub = Hub::new(id, owners.clone(), hub_limits, settings.seed);
        post.bell.mute();
        let core = Core {
            id,
            random: fastrand::Rng::with_seed(settings.seed),
            settings,
            reporter: post.news_out.take().map(|out| Box::new(Reporter::new(out))),
            post,
            owners,
            permits,
            stats,
            hub,
            slots: Slots::default(),
            timers: Timers::new(),
            time: TurnTime::new(&mut clock),
            expire_at: 0,
            local: VecDeque::new(),
            local_starved: Cell::new(false),
            taken_len: 0,
            roll: Roll::default(),
            sessions: Sessions::default(),
            errands: Errands::default(),
            expiries: HashMap::default(),
            metas: HashMap::default(),
            headers: HashMap::default(),
            tokens_asked: 0,
            hooks_asked: 0,
            leaves: Leaves::new(shard_count),
            replies: Vec::new(),
            no_user: "".into(),
            next_refusal_log: 0,
            fan_out: None,
            fan_outs_done: Vec::new(),
            next_lane: 0,
            first_request_lane: 0,
            blocked_lanes: vec![false; lane_count],
            requests_left: false,
            dirty: Vec::new(),
            parked: VecDeque::new(),
            resumable: Vec::new(),
            recv_queue: VecDeque::new(),
            doomed: VecDeque::new(),
            rung: 0,
            spare: Vec::new(),
            spare_len: 0,
            outbox_len: 0,
            compression: Compression::default(),
            drain: None,
            stopping: false,
            counted: DriverCounts::default(),
        };
        Self { driver, clock, core }
    }

    /// Turns until told to stop.
    ///
    /// # Errors
    /// The ring is broken; the process cannot go on.
    pub fn run(&mut self) -> Result<(), Fault> {
        while !self.core.stopping {
            self.turn()?;
        }
        Ok(())
    }

    /// One turn: does what is there to do, then waits until there is more.
    ///
    /// # Errors
    /// The ring is broken.
    pub fn turn(&mut self) -> Result<(), Fault> {
        self.core.time.advance(&mut self.clock);
        self.core.stats.counters.turns.add(1);
        self.core.local_starved.set(false);
        self.core.post.forget_asks();
        self.reap();
        self.core.take_requests(&mut self.driver);
        self.core.mail_leaves();
        self.core.retry_parked();
        self.core.run_errands();
        self.core.mail_interest();
        self.core.take_deliveries();
        self.core.fire_timers();
        self.core.expire_streams();
        self.core.tell_vacated();
        self.core.drain_step();
        self.resume();
        // Whoever left since the first time: their owners need not wait for the next turn.
        self.core.mail_interest();
        self.core.mail_leaves();
        self.flush();
        self.terminate();
        self.arm_receives();
        self.wake_others();
        self.count();
        if self.core.stopping {
            self.core.tell_end();
            // The wake-ups queued above leave with it: a bell that was claimed and never rung
            // would keep its shard asleep for ever.
            return self.driver.wait(Some(Duration::ZERO));
        }
        self.wait()
    }

    /// The driver, for tests that script it.
    pub fn driver_mut(&mut self) -> &mut D {
        &mut self.driver
    }

    /// Decodes what waited while connections were not read, then reads them again.
    fn resume(&mut self) {
        // What is resumed here may pause again and be resumed next turn: not this one.
        for conn in std::mem::take(&mut self.core.resumable) {
            self.core.resume(conn);
            self.settle_recv(conn);
        }
    }

    /// Sends what waits, one operation a connection.
    fn flush(&mut self) {
        let core = &mut self.core;
        for conn in core.dirty.drain(..) {
            let Some(connection) = core.slots.get_mut(conn) else { continue };
            connection.flags.dirty = false;
            if connection.unregistered_count > 0 || connection.terminating.is_some() {
                continue;
            }
            let spare = &mut core.spare;
            let spare_len = &mut core.spare_len;
            let send = connection.session.outbox.take_send(|| lend_spare(spare, spare_len));
            if let Some(bytes) = send {
                connection.flags.answered = true;
                self.driver.submit_send(connection.sock, bytes, 0);
            }
        }
        for accepted_at in core.fan_outs_done.drain(..) {
            core.stats.delivery.record(core.time.now.saturating_duration_since(accepted_at));
        }
    }

    /// Arms receives, at most as many as there are buffers: more could only find none.
    fn arm_receives(&mut self) {
        let core = &mut self.core;
        for _ in 0..core.recv_queue.len().min(self.driver.buffer_count()) {
            let conn = core.recv_queue.pop_front().expect("counted");
            let Some(connection) = core.slots.get_mut(conn) else { continue };
            connection.flags.recv_queued = false;
            if connection.wants_recv() && !connection.flags.recv_armed {
                connection.flags.recv_armed = true;
                self.driver.arm_recv(connection.sock);
            }
        }
    }

    fn wake_others(&mut self) {
        let mut rest = std::mem::take(&mut self.core.rung);
        while rest != 0 {
            let index = rest.trailing_zeros();
            rest &= rest - 1;
            let sender = self.core.post.requests_out[index as usize].as_ref();
            if sender.expect("no mail to oneself").bell().claim() {
                self.core.stats.counters.wakes_sent.add(1);
                self.driver.wake(ShardId(index as u16));
            }
        }
    }

    /// Brings what the driver and the tables count into the statistics.
    fn count(&mut self) {
        let now = self.driver.counts();
        let core = &mut self.core;
        let before = std::mem::replace(&mut core.counted, now);
        let counters = &core.stats.counters;
        counters.ring_enters.add(now.enters - before.enters);
        counters.ring_submissions.add(now.submissions - before.submissions);
        counters.ring_completions.add(now.completions - before.completions);
        counters.ring_overflows.add(now.overflows - before.overflows);
        counters.connections.set(core.slots.len() as u64);
        counters.channels.set(core.hub.channel_count() as u64);
        counters.channels_heard.set(core.hub.heard_count() as u64);
        counters.outbox_bytes.set(core.outbox_len as u64);
        counters.history_bytes.set(core.hub.history_bytes() as u64);
        for (counter, count) in [
            (&counters.channels_evicted, core.hub.evicted_count()),
            (&counters.streams_lost, core.hub.streams_lost_count()),
            (&counters.history_evicted, core.hub.history_evicted_count()),
            (&counters.idempotency_forgotten, core.hub.idempotency_forgotten_count()),
        ] {
            counter.add(count - counter.get());
        }
        let lag = self.clock.now().saturating_duration_since(core.time.now);
        core.stats.loop_lag.record(lag);
    }

    /// Waits for completions, a ring of the bell, or the next timer; not at all while work is left.
    fn wait(&mut self) -> Result<(), Fault> {
        let timeout = if self.core.has_work() {
            Some(Duration::ZERO)
        } else {
            self.core.post.bell.clear();
            // Whoever pushed, or made room, before the clear may have found the bell rung: look
            // once more.
            let has_news = self.core.has_mail() || self.core.post.has_room_asked_for();
            if has_news && !is_planted(Bug::LostWakeUp) {
                Some(Duration::ZERO)
            } else {
                self.core.next_wake()
            }
        };
        let waited = self.driver.wait(timeout);
        self.core.post.bell.mute();
        waited
    }
}

impl Core {
    /// Whether the next turn has something to do that no completion announces.
    fn has_work(&self) -> bool {
        self.fan_out.is_some()
            || self.requests_left
            || self.leaves.is_cut()
            || self.errands.is_cut()
            || !self.local.is_empty()
            || self.local_starved.get()
            || !self.dirty.is_empty()
            || !self.resumable.is_empty()
            || !self.recv_queue.is_empty()
            || !self.doomed.is_empty()
    }

    /// When to look again without being told to.
    fn next_wake(&self) -> Option<Duration> {
        let timer = self.timers.next_due(self.time.ms);
        let drain = self.drain.as_ref().and_then(Drain::next_step);
        let news = self.reporter.as_ref().and_then(|reporter| reporter.next_due(self.time.ms));
        [timer, drain, self.next_stream_expiry(), news].into_iter().flatten().min()
    }

    /// Puts the connection into the flush list.
    fn mark_dirty(&mut self, conn: ConnId) {
        let Some(connection) = self.slots.get_mut(conn) else { return };
        if !connection.flags.dirty {
            connection.flags.dirty = true;
            self.dirty.push(conn);
        }
    }

    /// Has the connection decoded (again) this turn or the next.
    fn queue_resume(&mut self, conn: ConnId) {
        let Some(connection) = self.slots.get_mut(conn) else { return };
        if !connection.flags.resume_queued {
            connection.flags.resume_queued = true;
            self.resumable.push(conn);
        }
    }

    /// Plans the next look at the connection, unless one early enough is planned.
    fn set_timer(&mut self, conn: ConnId) {
        let Some(connection) = self.slots.get_mut(conn) else { return };
        let mut deadline = connection.next_deadline();
        if connection.session.is_open()
            && let Some(expiry) = self.expiries.get(&conn)
        {
            deadline = deadline.min(expiry.at);
        }
        if Timers::tick_of(deadline) < connection.timer {
            self.timers.remove(conn.slot, connection.timer);
            connection.timer = self.timers.insert(conn.slot, deadline);
        }
    }

    /// Keeps an empty vector for later frames, while there is room and they may all be needed.
    fn give_spare(&mut self, mut bytes: Vec<u8>) {
        let capacity = bytes.capacity();
        let most = limits::SPARES_PER_CONNECTION * self.slots.len();
        if capacity <= limits::SEND_GATHER_MAX
            && self.spare.len() < most
            && self.spare_len + capacity <= limits::SPARE_BYTES_MAX
        {
            bytes.clear();
            self.spare_len += capacity;
            self.spare.push(bytes);
        }
    }
}

/// An empty vector, from the spare ones if there is one.
fn lend_spare(spare: &mut Vec<Vec<u8>>, spare_len: &mut usize) -> Vec<u8> {
    let Some(bytes) = spare.pop() else { return Vec::new() };
    *spare_len -= bytes.capacity();
    bytes
}

/// The bit of a shard in [`Core::rung`].
fn bit(shard: ShardId) -> u64 {
    1 << shard.0
}
