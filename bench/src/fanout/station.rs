//! [`Station`]: one thread of a fan-out, from its first connection to its last.
//!
//! A turn publishes what is due, waits, and takes what came. The clock is read once after the wait.

#[cfg(test)]
mod allocations;

use std::num::NonZeroU64;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::event::EventfdFlags;
use tidegate::ring::{Fault, TableSizes};
use tidegate::ws::{MessageKind, encode};

use super::cast::Cast;
use super::churn::{Churn, ChurnCounts};
use super::plan::Pace;
use super::subscriber::{End, State};
use super::wires::{Sink, Wires};
use crate::dial::{Dialed, Host};
use crate::generator::{GeneratorError, UNSTARTED};
use crate::output::Meter;
use crate::server;
use crate::traffic::REPLY_TIMEOUT;

/// One thread's connections, on a ring of its own.
pub(super) struct Station<'p> {
    wires: Wires,
    cast: Cast<'p>,
    churn: Option<Churn<'p>>,
    /// What a subscriber sends when it is open, by channel.
    greetings: &'p [String],
    start: Instant,
    /// Where to learn what was published.
    published: &'p OnceLock<Published>,
    /// The next publication that falls due, on the thread that publishes.
    cursor: u32,
}

/// What all threads learn from the one that publishes, once it is done.
#[derive(Debug)]
pub(super) struct Published {
    /// By channel, one more than the last number of each publisher.
    pub(super) tails: Vec<Vec<u32>>,
}

/// A connection that publishes, its place among all publishers known.
pub(super) struct PublisherSocket {
    pub(super) number: u16,
    pub(super) socket: std::os::fd::OwnedFd,
    /// What came behind the server's last answer.
    pub(super) leftover: Vec<u8>,
}

impl<'p> Station<'p> {
    /// Takes those that publish into a new ring; subscribers follow as they open. With a `table`
    /// connections are held in slots.
    pub(super) fn new(
        cast: Cast<'p>,
        greetings: &'p [String],
        churn: Option<Churn<'p>>,
        table: Option<TableSizes>,
        publishers: Vec<PublisherSocket>,
        published: &'p OnceLock<Published>,
    ) -> Result<Self, GeneratorError> {
        // The default of 50 us would make every publication late by as much.
        rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN))?;
        let count = cast.subscribers.len() + cast.publishers.len();
        let bell = match cast.desk.closed {
            Some(closed) if cast.desk.publishes => closed.bell()?,
            _ => rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?,
        };
        let mut station = Self {
            wires: Wires::new(count, cast.plan.payload.len(), table, bell)?,
            cast,
            churn,
            greetings,
            start: Instant::now() + UNSTARTED,
            published,
            cursor: 0,
        };
        for PublisherSocket { number, socket, mut leftover } in publishers {
            let wire = station.cast.subscribers.len() + usize::from(number);
            station.cast.publishers[usize::from(number)].ended = false;
            station.wires.insert(wire, socket);
            station.cast.on_bytes(wire, &mut leftover, station.wires.out(wire));
            station.wires.flush(wire);
        }
        Ok(station)
    }

    /// Publishes and receives from `start` to the end of the window, waits for what is on its way,
    /// closes every connection, and hands back what everybody saw. `at_edge` is called at both
    /// ends of the window, while the connections are open.
    pub(super) fn run(
        mut self,
        start: Instant,
        meter: &mut Meter,
        at_edge: &mut dyn FnMut(),
    ) -> Result<(Cast<'p>, ChurnCounts), GeneratorError> {
        self.start = start;
        while Instant::now() < start {
            self.turn(start.saturating_duration_since(Instant::now()))?;
        }
        let window = self.cast.plan.window;
        let mut cpu_before = None;
        while self.cast.now_ns < window.end_ns {
            if cpu_before.is_none() && self.cast.now_ns >= window.start_ns {
                at_edge();
                cpu_before = server::own_cpu_ns();
                self.stop_slow_readers();
            }
            self.step(meter)?;
        }
        if let (Some(before), Some(after)) = (cpu_before, server::own_cpu_ns()) {
            self.cast.seen.tally.cpu_ns = after - before;
        }
        at_edge();
        // What fell due in a last turn that took too long is late, not forgiven.
        self.publish_due();
        let churned = self.churn.take().map(|churn| churn.counts).unwrap_or_default();
        self.drain()?;
        self.close()?;
        for wire in 0..self.cast.subscribers.len() {
            self.cast.bury(wire, self.tails());
        }
        Ok((self.cast, churned))
    }

    /// Publishes what is due, waits for what is next, and takes what came.
    fn step(&mut self, meter: &mut Meter) -> Result<(), GeneratorError> {
        self.publish_due();
        self.churn_due()?;
        let next_ns = self.next_ns().min(meter.next_ns());
        self.turn(Duration::from_nanos(next_ns.saturating_sub(self.cast.now_ns)))?;
        meter.cut(self.cast.now_ns, &mut self.cast.seen.tally);
        Ok(())
    }

    /// A subscriber's connection was opened.
    fn open(&mut self, dialed: Dialed, from_start: bool) {
        let Dialed { number, socket, mut leftover } = dialed;
        let wire = (number - self.cast.subscribers[0].number) as usize;
        self.cast.subscribers[wire].open(from_start, self.cast.plan.compression);
        self.wires.insert(wire, socket);
        let channel = usize::from(self.cast.subscribers[wire].channel);
        let out = self.wires.out(wire);
        if let Some(greeting) = self.greetings.get(channel) {
            let key = self.cast.desk.random.u32(..).to_ne_bytes();
            encode::append_message_masked(out, MessageKind::Text, greeting.as_bytes(), key);
        }
        self.cast.on_bytes(wire, &mut leftover, out);
        self.wires.flush(wire);
    }

    fn stop_slow_readers(&mut self) {
        for wire in 0..self.cast.subscribers.len() {
            if self.cast.subscribers[wire].slow {
                self.wires.pause(wire);
            }
        }
    }

    /// Sends every publication that is due, or has its publisher owe it.
    fn publish_due(&mut self) {
        let plan = self.cast.plan;
        if self.cast.publishers.is_empty() {
            return;
        }
        let Pace::Open(schedule) = &plan.pace else { return self.publish_ready() };
        while self.cursor < plan.publication_count {
            let due_ns = schedule.due_of(0, self.cursor);
            if due_ns > self.cast.now_ns {
                return;
            }
            let index = usize::from(plan.publisher(self.cursor));
            let lag_ns = self.cast.publishers[index].owe(due_ns, self.cast.now_ns);
            if let Some(lag_ns) = lag_ns.filter(|_| plan.window.holds(due_ns)) {
                self.cast.seen.tally.lag.saturating_record(lag_ns);
            }
            self.cursor += 1;
            let wire = self.cast.subscribers.len() + index;
            self.cast.pump(index, self.wires.out(wire));
            self.wires.flush(wire);
        }
    }

    /// Closed loop: every publisher whose last publication has arrived sends the next, until the
    /// measured time ends.
    fn publish_ready(&mut self) {
        let plan = self.cast.plan;
        let now_ns = self.cast.now_ns;
        if now_ns >= plan.window.end_ns {
            return;
        }
        for index in 0..self.cast.publishers.len() {
            let Cast { publishers, desk, .. } = &mut self.cast;
            if !publishers[index].is_ready(desk, now_ns) {
                continue;
            }
            if !publishers[index].has_next(plan) {
                desk.publications.exhausted = true;
                continue;
            }
            publishers[index].owe(now_ns, now_ns);
            let wire = self.cast.subscribers.len() + index;
            self.cast.pump(index, self.wires.out(wire));
            self.wires.flush(wire);
        }
    }

    /// Closes the connections whose turn it is, and takes those opened in their place.
    fn churn_due(&mut self) -> Result<(), GeneratorError> {
        let Some(churn) = &mut self.churn else { return Ok(()) };
        while let Some(wire) = churn.victim(&self.cast.subscribers, self.cast.now_ns) {
            self.cast.leave(wire, End::Churned, self.wires.out(wire));
            self.wires.flush(wire);
        }
        let mut opened = Vec::new();
        let Cast { subscribers, seen, closed, .. } = &mut self.cast;
        for wire in closed.drain(..) {
            churn.reopen(wire, &subscribers[wire], &mut seen.tally);
        }
        churn.poll(&mut self.cast.seen.tally, &mut opened).map_err(GeneratorError::Dial)?;
        for dialed in opened {
            self.open(dialed, false);
        }
        Ok(())
    }

    /// When to look at the clock again if nothing comes.
    fn next_ns(&self) -> u64 {
        let plan = self.cast.plan;
        let due_ns = match &plan.pace {
            _ if self.cast.publishers.is_empty() => u64::MAX,
            Pace::Open(_) if self.cursor >= plan.publication_count => u64::MAX,
            Pace::Open(schedule) => schedule.due_of(0, self.cursor),
            // What arrives ends the wait; what does not is given up in time.
            Pace::Closed => self.cast.now_ns + REPLY_TIMEOUT.as_nanos() as u64 / 8,
        };
        let churn_ns =
            self.churn.as_ref().map_or(u64::MAX, |churn| churn.next_ns(self.cast.now_ns));
        let window = plan.window;
        let edge_ns =
            if self.cast.now_ns < window.start_ns { window.start_ns } else { window.end_ns };
        due_ns.min(churn_ns).min(edge_ns)
    }

    /// Waits for what is out, then for what is on its way to subscribers; those that stopped
    /// reading read on, to learn what became of them.
    fn drain(&mut self) -> Result<(), Fault> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        if !self.cast.publishers.is_empty() {
            while Instant::now() < deadline && !self.cast.publishers.iter().all(|p| p.is_done()) {
                self.turn(STEP)?;
            }
            let tail = |channel| self.cast.publishers.iter().map(|p| p.tail(channel)).collect();
            let tails = (0..self.cast.plan.channels.len()).map(tail).collect();
            self.published.set(Published { tails }).expect("one thread publishes");
        }
        // Its own deadline on the other threads: the one that publishes may have failed.
        while Instant::now() < deadline + STEP && self.published.get().is_none() {
            self.turn(STEP)?;
        }
        for wire in 0..self.cast.subscribers.len() {
            if self.cast.subscribers[wire].slow {
                self.wires.resume(wire);
            }
        }
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        let mut received = self.received();
        let mut quiet_since = Instant::now();
        while Instant::now() < deadline && quiet_since.elapsed() < QUIET && !self.is_complete() {
            self.turn(STEP)?;
            let now = self.received();
            if now != received {
                received = now;
                quiet_since = Instant::now();
            }
        }
        Ok(())
    }

    /// Publications received by all open connections.
    fn received(&self) -> u64 {
        self.cast.subscribers.iter().map(|subscriber| u64::from(subscriber.received)).sum()
    }

    /// Whether every open connection has all that was published.
    fn is_complete(&self) -> bool {
        let Some(tails) = self.tails() else { return false };
        let totals: Vec<u32> = tails.iter().map(|tail| tail.iter().sum()).collect();
        self.cast.subscribers.iter().all(|subscriber| {
            subscriber.state != State::Open
                || subscriber.received >= totals[usize::from(subscriber.channel)]
        })
    }

    /// Says goodbye on every connection, and waits a moment for the answers.
    fn close(&mut self) -> Result<(), Fault> {
        for wire in 0..self.cast.subscribers.len() {
            self.cast.leave(wire, End::Held, self.wires.out(wire));
            self.wires.flush(wire);
        }
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        let leaving =
            |cast: &Cast<'_>| cast.subscribers.iter().any(|s| matches!(s.state, State::Leaving(_)));
        while Instant::now() < deadline && leaving(&self.cast) {
            self.turn(STEP)?;
        }
        Ok(())
    }

    /// By channel, one more than the last number of each publisher, once all is published.
    fn tails(&self) -> Option<&'p [Vec<u32>]> {
        self.published.get().map(|published| &published.tails[..])
    }

    /// Waits and takes what came; how much that was.
    fn turn(&mut self, timeout: Duration) -> Result<usize, Fault> {
        self.wires.wait(timeout)?;
        let since_start = Instant::now().saturating_duration_since(self.start);
        self.cast.now_ns = u64::try_from(since_start.as_nanos()).expect("584 years");
        let count = self.wires.reap(&mut self.cast);
        for index in 0..self.cast.closed.len() {
            let wire = self.cast.closed[index];
            self.cast.bury(wire, self.tails());
        }
        if self.churn.is_none() {
            self.cast.closed.clear();
        }
        Ok(count)
    }
}

impl Host for Station<'_> {
    /// Subscribes with the connection, which is awaited in a closed loop.
    fn take(&mut self, dialed: Dialed) {
        if let Some(closed) = self.cast.desk.closed
            && !self.cast.plan.is_slow(dialed.number)
        {
            closed.join(self.cast.plan.channel_of[dialed.number as usize]);
        }
        self.open(dialed, true);
    }

    fn serve(&mut self, timeout: Duration) {
        let mut left = self.turn(timeout);
        while let Ok(1..) = left {
            left = self.turn(Duration::ZERO);
        }
    }
}

/// How long publications that are out at the end of a run may take to be answered.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long what was published may take to come.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Without a publication for so long, nothing is on its way any more.
const QUIET: Duration = Duration::from_secs(1);

/// How long the server may take to answer our Closes.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest wait between two looks at whether a run has ended.
const STEP: Duration = Duration::from_millis(20);
