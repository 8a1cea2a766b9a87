//! What everything of one seed shares: the dice, the faults, the clock, the network and the
//! wake-ups on their way.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant, SystemTime};

use tidegate::id::ShardId;
use tidegate::shard::Clock;

use super::faults::{Fault, Faults};
use super::link::Link;
use super::world::World;

/// The time of day at which every seed begins, in seconds since 1970.
const START_UNIX_S: u64 = 1_700_000_000;

/// The surroundings of one seed. Everything random comes from [`Env::dice`].
pub(crate) struct Env {
    dice: RefCell<fastrand::Rng>,
    pub(crate) faults: Faults,
    start: Instant,
    now: Cell<Duration>,
    /// By how much the time of day is behind what it would be; grows and shrinks.
    wall_back: Cell<Duration>,
    /// Sockets that no driver has closed, by descriptor.
    pub(crate) sockets: RefCell<BTreeMap<RawFd, Rc<Link>>>,
    /// Messages from ring to ring that have not arrived.
    pub(crate) wakes: RefCell<Vec<ShardId>>,
    /// Grows with everything that clients do and see.
    moment: Cell<u64>,
    world: RefCell<Weak<World>>,
    /// How many turns are within another one.
    depth: Cell<u32>,
    is_traced: bool,
}

impl Env {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let faults = Faults::draw(&mut dice);
        Self {
            dice: RefCell::new(dice),
            faults,
            start: Instant::now(),
            now: Cell::new(Duration::ZERO),
            wall_back: Cell::new(Duration::ZERO),
            sockets: RefCell::default(),
            wakes: RefCell::default(),
            moment: Cell::new(0),
            world: RefCell::default(),
            depth: Cell::new(0),
            is_traced: std::env::var_os("SIM_TRACE").is_some(),
        }
    }

    /// Names the world whose shards may be interrupted.
    pub(crate) fn set_world(&self, world: &Rc<World>) {
        *self.world.borrow_mut() = Rc::downgrade(world);
    }

    /// A number from 0 to `below`, exclusive.
    pub(crate) fn below(&self, below: usize) -> usize {
        self.dice.borrow_mut().usize(..below)
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of `items`.
    pub(crate) fn pick<'a, T>(&self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    pub(crate) fn shuffle<T>(&self, items: &mut [T]) {
        self.dice.borrow_mut().shuffle(items);
    }

    /// Whether a fault strikes now.
    pub(crate) fn strikes(&self, fault: Fault) -> bool {
        self.faults.strikes(fault, &mut self.dice.borrow_mut())
    }

    /// The time since the start, by the clock that never goes back.
    pub(crate) fn now(&self) -> Duration {
        self.now.get()
    }

    pub(crate) fn instant(&self) -> Instant {
        self.start + self.now.get()
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.now.set(self.now.get() + time);
    }

    /// Sets the time of day back, or right again.
    pub(crate) fn set_wall_back(&self, back: Duration) {
        self.wall_back.set(back);
    }

    /// The next moment; no two are equal.
    pub(crate) fn moment(&self) -> u64 {
        self.moment.set(self.moment.get() + 1);
        self.moment.get()
    }

    /// Something else may happen in the middle of `shard`'s turn.
    pub(crate) fn interrupt(&self, shard: ShardId) {
        // Threads run side by side whether or not anything is wrong.
        let strikes = self.strikes(Fault::MidTurn) || !self.faults.are_on() && self.one_in(8);
        if self.depth.get() > 0 || !strikes {
            return;
        }
        let Some(world) = self.world.borrow().upgrade() else { return };
        self.depth.set(1);
        world.interrupt(shard);
        self.depth.set(0);
    }

    /// Tells what happens, if somebody wants to read it.
    pub(crate) fn trace(&self, line: impl FnOnce() -> String) {
        if self.is_traced {
            eprintln!("{:>10.3} {}", self.now().as_secs_f64(), line());
        }
    }
}

/// A clock that stands still until the simulation moves it. A shard looks at it when a turn begins
/// and again just before it waits: moments at which others may do something.
pub(crate) struct SimClock {
    pub(crate) shard: ShardId,
    pub(crate) env: Rc<Env>,
}

impl Clock for SimClock {
    fn now(&mut self) -> Instant {
        self.env.interrupt(self.shard);
        self.env.instant()
    }

    fn time_of_day(&mut self) -> SystemTime {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(START_UNIX_S);
        start + self.env.now.get() - self.env.wall_back.get()
    }
}
