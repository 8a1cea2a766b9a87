//! A generator's side: hands over what it counted, once a second.

use std::sync::mpsc::{self, Receiver, Sender};

use crate::tally::Tally;
use crate::traffic::Window;

/// Length of an interval.
pub(crate) const INTERVAL_NS: u64 = 1_000_000_000;

/// What one thread counted in one interval.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) thread: u16,
    /// The interval; `None`: before the measuring began.
    pub(super) interval: Option<u64>,
    pub(super) tally: Tally,
    /// The thread's last: when it ended, in nanoseconds since the run's start.
    pub(super) end_ns: Option<u64>,
}

/// Cuts a thread's counts at whole seconds of the measured time. What comes after its end belongs
/// to its last interval.
#[derive(Debug)]
pub(crate) struct Meter {
    thread: u16,
    window: Window,
    /// The interval that is being counted.
    interval: Option<u64>,
    /// When it ends; past the end of the measured time nothing is cut any more.
    next_ns: u64,
    parts: Sender<Part>,
    /// Empty tallies, so that making one does not make messages late.
    spares: Receiver<Tally>,
}

impl Meter {
    /// A meter of `thread` that hands over to `parts`.
    pub(super) fn new(
        thread: u16,
        window: Window,
        parts: Sender<Part>,
        spares: Receiver<Tally>,
    ) -> Self {
        Self { thread, window, interval: None, next_ns: window.start_ns, parts, spares }
    }

    /// A meter that never cuts: the tally of the run comes back whole.
    pub(crate) fn whole(window: Window) -> Self {
        let (parts, _) = mpsc::channel();
        let (_, spares) = mpsc::channel();
        Self { thread: 0, window, interval: None, next_ns: u64::MAX, parts, spares }
    }

    /// When [`Meter::cut`] has something to do next, in nanoseconds since the run's start.
    pub(crate) fn next_ns(&self) -> u64 {
        self.next_ns
    }

    /// Hands over `tally` if the interval has ended at `now_ns`, and leaves an empty one.
    pub(crate) fn cut(&mut self, now_ns: u64, tally: &mut Tally) {
        if now_ns < self.next_ns {
            return;
        }
        let empty = self.spares.try_recv().unwrap_or_else(|_| Tally::new());
        self.hand_over(std::mem::replace(tally, empty), None);
        let next = (now_ns - self.window.start_ns) / INTERVAL_NS;
        let next = next.min(last_interval(&self.window));
        self.interval = Some(next);
        let end_ns = self.window.start_ns + (next + 1) * INTERVAL_NS;
        self.next_ns = if end_ns < self.window.end_ns { end_ns } else { u64::MAX };
    }

    /// Hands over what is left, at the end of the run.
    pub(crate) fn finish(self, tally: Tally) {
        self.hand_over(tally, Some(self.window.end_ns));
    }

    /// The same in a window without an end: the thread's work was over at `now_ns`.
    pub(crate) fn finish_at(mut self, now_ns: u64, mut tally: Tally) {
        self.cut(now_ns, &mut tally);
        self.hand_over(tally, Some(now_ns));
    }

    fn hand_over(&self, tally: Tally, end_ns: Option<u64>) {
        let Self { thread, interval, .. } = *self;
        // A collector that is gone has nobody to tell.
        let _ = self.parts.send(Part { thread, interval, tally, end_ns });
    }
}

/// The interval that ends with the measured time.
pub(super) fn last_interval(window: &Window) -> u64 {
    (window.end_ns - window.start_ns).saturating_sub(1) / INTERVAL_NS
}
