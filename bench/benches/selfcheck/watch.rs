//! Whether the machine was free enough for figures of a millisecond: a thread on each core wakes
//! once a millisecond and notes how late it was. Generator and servers wake as late as these do.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::thread::CpuSet;

/// The threads, until they are asked what they saw.
pub(super) struct Watch {
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    wakes: AtomicU64,
    late: AtomicU64,
    stop: AtomicBool,
}

impl Watch {
    /// Watches every core this process may use.
    pub(super) fn begin() -> Self {
        let counts = Arc::new(Counts::default());
        let allowed = rustix::thread::sched_getaffinity(None).expect("our own");
        let cores = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
        let watch = |cpu| {
            let counts = counts.clone();
            thread::spawn(move || counts.watch(cpu))
        };
        Self { threads: cores.map(watch).collect(), counts }
    }

    /// Why a figure may be off without anybody's fault.
    pub(super) fn end(self) -> Option<String> {
        let Self { counts, threads } = self;
        counts.stop.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| thread.join().expect("it does not fail"));
        let share = counts.late.load(Ordering::Relaxed) as f64
            / counts.wakes.load(Ordering::Relaxed).max(1) as f64;
        (share > LATE_SHARE_MAX).then(|| {
            format!("the machine was busy: {:.1} % of its wake-ups were late", 100.0 * share)
        })
    }
}

impl Counts {
    fn watch(&self, cpu: usize) {
        rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN)).expect("a thread of ours");
        let mut set = CpuSet::new();
        set.set(cpu);
        rustix::thread::sched_setaffinity(None, &set).expect("an allowed core");
        while !self.stop.load(Ordering::Relaxed) {
            let due = Instant::now() + Duration::from_millis(1);
            thread::sleep(Duration::from_millis(1));
            self.wakes.fetch_add(1, Ordering::Relaxed);
            self.late.fetch_add(u64::from(due.elapsed() > LATE), Ordering::Relaxed);
        }
    }
}

/// Half of what a latency of 20 ms may be off.
const LATE: Duration = Duration::from_micros(500);

/// A message waits for a thread four times: to be sent, noticed, answered and received. More than
/// this of each, and one in a hundred messages is late: what p99 shows.
const LATE_SHARE_MAX: f64 = 0.0025;
