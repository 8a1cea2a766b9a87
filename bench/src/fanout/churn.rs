//! Connections that are closed and opened again while the run goes on.

use std::io;
use std::time::Duration;

use super::plan::Plan;
use super::subscriber::{State, Subscriber};
use crate::dial::{DialError, Dialed, Dialer, Sources};
use crate::schedule::Schedule;
use crate::tally::Tally;

/// The churn of one thread: its connections take turns.
pub(super) struct Churn<'p> {
    plan: &'p Plan,
    schedule: Schedule,
    dialer: Dialer,
    /// The subscriber whose turn is next.
    next: usize,
    /// Subscribers that were closed to be opened again.
    away: Vec<bool>,
    pub(super) counts: ChurnCounts,
}

/// How much was closed and opened again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ChurnCounts {
    pub(super) closed: u64,
    pub(super) reopened: u64,
}

impl<'p> Churn<'p> {
    /// Closes the connections of `subscriber_count` subscribers as `schedule` has it.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub(super) fn new(
        plan: &'p Plan,
        schedule: Schedule,
        sources: Option<Sources>,
        subscriber_count: usize,
    ) -> io::Result<Self> {
        Ok(Self {
            plan,
            schedule,
            dialer: Dialer::new(sources, plan.compression)?,
            next: 0,
            away: vec![false; subscriber_count],
            counts: ChurnCounts::default(),
        })
    }

    /// The next subscriber to be closed now, if it is time for one.
    pub(super) fn victim(&mut self, subscribers: &[Subscriber], now_ns: u64) -> Option<usize> {
        if self.schedule.next_due_ns() > now_ns {
            return None;
        }
        self.schedule.take();
        for _ in 0..subscribers.len() {
            let wire = self.next;
            self.next = (wire + 1) % subscribers.len();
            if subscribers[wire].state == State::Open && !subscribers[wire].slow {
                self.away[wire] = true;
                self.counts.closed += 1;
                return Some(wire);
            }
        }
        None
    }

    /// The connection of subscriber `wire` is closed: opens another if that was our doing.
    pub(super) fn reopen(&mut self, wire: usize, subscriber: &Subscriber, tally: &mut Tally) {
        if !std::mem::take(&mut self.away[wire]) {
            return;
        }
        let place = self.plan.channels[usize::from(subscriber.channel)].place();
        if let Err(error) = self.dialer.start(place, subscriber.number) {
            lose(tally, &error);
        }
    }

    /// Takes the connections that are open again.
    ///
    /// # Errors
    /// The kernel refused to wait.
    pub(super) fn poll(&mut self, tally: &mut Tally, opened: &mut Vec<Dialed>) -> io::Result<()> {
        if self.dialer.in_flight() == 0 {
            return Ok(());
        }
        let reopened = &mut self.counts.reopened;
        self.dialer.wait(Duration::ZERO, |finished| match finished.result {
            Ok(dialed) => {
                *reopened += 1;
                opened.push(dialed);
            }
            Err(error) => lose(tally, &error),
        })
    }

    /// When to look again.
    pub(super) fn next_ns(&self, now_ns: u64) -> u64 {
        let look_ns =
            if self.dialer.in_flight() > 0 { now_ns + LOOK_INTERVAL_NS } else { u64::MAX };
        self.schedule.next_due_ns().min(look_ns)
    }
}

fn lose(tally: &mut Tally, error: &DialError) {
    *tally.lost_connections.entry(format!("opening again: {error}")).or_default() += 1;
}

/// Between two looks at handshakes: the ring does not tell of them.
const LOOK_INTERVAL_NS: u64 = 1_000_000;
