//! No wake-up is lost and no place either, in any order in which threads can run and whatever a
//! weak memory shows them: `mail`'s flags and permits over loom's atomics.
//!
//! The files under test are compiled here once more, as they are. What is around them, the turn of
//! a shard and the two indices of a lane, is written down again as plainly as it can be told, with
//! the orderings that `rtrb` has. A lost wake-up is a deadlock, which loom reports.

#[path = "../src/mail/flag.rs"]
mod flag;
#[path = "../src/mail/permit.rs"]
#[allow(dead_code, unreachable_pub)]
mod permit;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use tidegate::id;

use flag::{AwakeFlag, StarvedFlag};
use permit::Permits;

/// What `src/mail` has from the standard library.
mod sync {
    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
}

#[test]
fn two_who_push_at_once_wake_a_shard_that_falls_asleep() {
    explore(|| {
        let bell = Arc::new(Bell::new());
        let lanes = [Arc::new(Lane::new(1)), Arc::new(Lane::new(1))];
        let pushing = lanes.clone().map(|lane| {
            let bell = Arc::clone(&bell);
            thread::spawn(move || {
                assert!(lane.push(7));
                bell.ring();
            })
        });
        let got = receive_all(&bell, &lanes, 2);
        assert_eq!(got, [7, 7]);
        for thread in pushing {
            thread.join().expect("no panic");
        }
    });
}

#[test]
fn all_that_one_pushes_arrives_once_and_in_order() {
    explore(|| {
        let bell = Arc::new(Bell::new());
        let lane = Arc::new(Lane::new(3));
        let (pushing_bell, pushing_lane) = (Arc::clone(&bell), Arc::clone(&lane));
        let pushing = thread::spawn(move || {
            for number in 1..=3 {
                assert!(pushing_lane.push(number));
                pushing_bell.ring();
            }
        });
        assert_eq!(receive_all(&bell, &[lane], 3), [1, 2, 3]);
        pushing.join().expect("no panic");
    });
}

#[test]
fn a_shard_that_waits_for_room_is_told_of_it() {
    explore(|| {
        let lane = Arc::new(Lane::new(1));
        let (from, to) = (Arc::new(Bell::new()), Arc::new(Bell::new()));
        let sending = {
            let (lane, from, to) = (Arc::clone(&lane), Arc::clone(&from), Arc::clone(&to));
            thread::spawn(move || send_all(&lane, &from, &to, 2))
        };
        let mut got = Vec::new();
        to.flag.mute();
        loop {
            let before = got.len();
            while let Some(value) = lane.pop() {
                got.push(value);
            }
            if got.len() > before && lane.starved.take() {
                from.ring();
            }
            if got.len() == 2 {
                break;
            }
            to.flag.clear();
            if lane.is_empty() {
                to.wait();
            }
            to.flag.mute();
        }
        assert_eq!(got, [1, 2]);
        sending.join().expect("no panic");
    });
}

#[test]
fn no_place_is_given_twice_or_lost() {
    explore(|| {
        let permits = Permits::new(2, 2);
        let taking: Vec<_> = (0..2)
            .map(|_| {
                let permits = permits.clone();
                thread::spawn(move || {
                    let first = permits.take();
                    assert!(permits.total() <= 2);
                    let kept = permits.take().map(|permit| {
                        let shard = permit.shard();
                        permit.keep();
                        shard
                    });
                    drop(first);
                    kept
                })
            })
            .collect();
        let kept = taking.into_iter().filter_map(|thread| thread.join().expect("no panic"));
        let kept: Vec<_> = kept.collect();
        assert_eq!(permits.total(), kept.len() as u32);
        for shard in [id::ShardId(0), id::ShardId(1)] {
            let count = kept.iter().filter(|kept| **kept == shard).count();
            assert_eq!(permits.on_shard(shard), count as u32);
        }
        kept.into_iter().for_each(|shard| permits.give_back(shard));
        assert_eq!(permits.total(), 0);
    });
}

/// Runs it in every order with at most so many preemptions.
fn explore(run: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(PREEMPTIONS_MAX);
    model.check(run);
}

/// More find nothing more in the planted faults and take minutes.
const PREEMPTIONS_MAX: usize = 3;

/// A shard that sends numbers to another and has nothing else to do.
fn send_all(lane: &Lane, own: &Bell, other: &Bell, count: usize) {
    let mut sent = 0;
    own.flag.mute();
    while sent < count {
        let before = sent;
        let mut asked = false;
        while sent < count {
            // `Sender::has_room_or_ask`.
            if !lane.has_room() {
                lane.starved.raise();
                asked = !lane.has_room();
            }
            if asked {
                break;
            }
            sent += 1;
            assert!(lane.push(sent));
        }
        if sent > before {
            other.ring();
        }
        own.flag.clear();
        // `Sender::has_room_asked_for`.
        if asked && !lane.has_room() {
            own.wait();
        }
        own.flag.mute();
    }
}

/// A shard's turns until so much has come.
fn receive_all(bell: &Bell, lanes: &[Arc<Lane>], count: usize) -> Vec<usize> {
    let mut got = Vec::new();
    bell.flag.mute();
    loop {
        for lane in lanes {
            got.extend(std::iter::from_fn(|| lane.pop()));
        }
        if got.len() == count {
            return got;
        }
        bell.flag.clear();
        if lanes.iter().all(|lane| lane.is_empty()) {
            bell.wait();
        }
        bell.flag.mute();
    }
}

/// A shard's flag, and a kernel that keeps wake-ups until they are waited for.
struct Bell {
    flag: AwakeFlag,
    woken: Mutex<bool>,
    wakes: Condvar,
}

impl Bell {
    fn new() -> Self {
        Self { flag: AwakeFlag::new(), woken: Mutex::new(false), wakes: Condvar::new() }
    }

    fn ring(&self) {
        if self.flag.claim() {
            *self.woken.lock().expect("no panic") = true;
            self.wakes.notify_one();
        }
    }

    fn wait(&self) {
        let mut woken = self.woken.lock().expect("no panic");
        while !*woken {
            woken = self.wakes.wait(woken).expect("no panic");
        }
        *woken = false;
    }
}

/// A lane as `rtrb` makes it: each index is written by one side, released there and acquired by the
/// other.
struct Lane {
    head: AtomicUsize,
    tail: AtomicUsize,
    slots: Vec<AtomicUsize>,
    starved: StarvedFlag,
}

impl Lane {
    fn new(size: usize) -> Self {
        let slots = (0..size).map(|_| AtomicUsize::new(0)).collect();
        let (head, tail) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { head, tail, slots, starved: StarvedFlag::new() }
    }

    fn has_room(&self) -> bool {
        let tail = self.tail.load(Ordering::Relaxed);
        tail - self.head.load(Ordering::Acquire) < self.slots.len()
    }

    fn push(&self, value: usize) -> bool {
        if !self.has_room() {
            return false;
        }
        let tail = self.tail.load(Ordering::Relaxed);
        self.slots[tail % self.slots.len()].store(value, Ordering::Relaxed);
        self.tail.store(tail + 1, Ordering::Release);
        true
    }

    fn is_empty(&self) -> bool {
        self.head.load(Ordering::Relaxed) == self.tail.load(Ordering::Acquire)
    }

    fn pop(&self) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        let head = self.head.load(Ordering::Relaxed);
        let value = self.slots[head % self.slots.len()].load(Ordering::Relaxed);
        self.head.store(head + 1, Ordering::Release);
        Some(value)
    }
}
