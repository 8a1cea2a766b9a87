//! A run without sockets and without waiting: the real traffic, ledger, histograms and report, a
//! clock that jumps from event to event, and a server whose faults are exact. What the figures
//! must come to can be worked out, to the histograms' precision.

mod checks;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::os::fd::OwnedFd;
use std::time::Duration;

use clap::Parser;
use serde_json::Value;
use tidegate::frame::FrameBytes;
use tidegate::id::{ConnId, ShardId};
use tidegate::ring::{CloseHow, Completion, Driver, DriverCounts, Fault, Lease, Sock};
use tidegate::ws::{DecodeLimits, Decoder, Event, MessageKind, Role, encode};

use crate::cli::EchoArgs;
use crate::report::Report;
use crate::run::{Outcome, Pace, Scenario};
use crate::schedule::Schedule;
use crate::session::Protocol;
use crate::traffic::{Load, REPLY_TIMEOUT, Traffic};

pub(super) const MILLISECOND: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1_000 * MILLISECOND;

/// A server: given when a message came and how many came before it, when its answers arrive.
pub(super) type Server<'a> = &'a mut dyn FnMut(u64, u64) -> Vec<u64>;

/// What is run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) rate: u64,
    pub(super) connections: u32,
    pub(super) seconds: u64,
    /// How late the generator wakes, each time.
    pub(super) oversleep_ns: u64,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Ran {
    /// What `--json` writes.
    pub(super) report: Value,
    /// Messages owed or out, and messages out, on average over the measured time.
    pub(super) held_mean: f64,
    pub(super) out_mean: f64,
}

impl Ran {
    /// A number of the report: `latency_us.p99`.
    pub(super) fn number(&self, path: &str) -> f64 {
        let value = path.split('.').fold(&self.report, |value, name| &value[name]);
        value.as_f64().unwrap_or_else(|| panic!("{path} in {}", self.report))
    }
}

/// Runs `run` against `server`.
pub(super) fn simulate(run: Run, server: Server<'_>) -> Ran {
    let scenario = Scenario {
        pace: Pace::Rate(run.rate),
        size: 64,
        warm_up: Duration::from_secs(1),
        duration: Duration::from_secs(run.seconds),
    };
    let window = scenario.window();
    let mut world = World::new(run);
    world.traffic.begin(Load::Open(Schedule::new(run.rate, 0, 1, run.connections)), window);
    while world.traffic.now_ns < window.end_ns || world.traffic.is_waiting() {
        world.step(server);
    }
    // What comes late comes all the same.
    while !world.answers.is_empty() {
        world.step(server);
    }
    let window_ns = (window.end_ns - window.start_ns) as f64;
    let outcome = Outcome {
        opened: run.connections,
        failures: BTreeMap::new(),
        dial_time: Duration::ZERO,
        tally: world.traffic.tally,
        samples: Vec::new(),
        server: None,
    };
    let report = Report::new("echo", &connect_args(run), &scenario, &outcome);
    Ran {
        report: serde_json::from_str(&report.json()).expect("JSON"),
        held_mean: (world.owed_ns + world.out_ns) / window_ns,
        out_mean: world.out_ns / window_ns,
    }
}

fn connect_args(run: Run) -> crate::cli::ConnectArgs {
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        echo: EchoArgs,
    }
    let connections = run.connections.to_string();
    let line = ["", "--url", "ws://127.0.0.1/", "--connections", &connections];
    Line::try_parse_from(line).expect("arguments").echo.connect
}

/// When an answer arrives, the number of its message, the connection, and its frame.
type Answer = (u64, u64, u32, Vec<u8>);

struct World {
    run: Run,
    traffic: Traffic,
    wire: Wire,
    /// On their way.
    answers: BinaryHeap<Reverse<Answer>>,
    /// Messages the server got.
    received: u64,
    next_overdue_look: u64,
    /// Measured time, added up over the messages that were owed, and over those that were out.
    owed_ns: f64,
    out_ns: f64,
}

impl World {
    fn new(run: Run) -> Self {
        let mut traffic = Traffic::new(run.connections as usize, 64, Protocol::Raw, false);
        for index in 0..run.connections {
            traffic.add(Sock::from_index(index));
        }
        Self {
            run,
            traffic,
            wire: Wire::default(),
            answers: BinaryHeap::new(),
            received: 0,
            next_overdue_look: 0,
            owed_ns: 0.0,
            out_ns: 0.0,
        }
    }

    /// One turn of a generator: to the next event, and what follows from it.
    fn step(&mut self, server: Server<'_>) {
        let due_ns = match &self.traffic.load {
            Load::Open(schedule) => schedule.next_due_ns(),
            Load::Idle | Load::Closed => u64::MAX,
        };
        let due_ns = if due_ns < self.traffic.window.end_ns { due_ns } else { u64::MAX };
        let answer_ns = self.answers.peek().map_or(u64::MAX, |Reverse((at, ..))| *at);
        let wake_ns = answer_ns.min(due_ns.saturating_add(self.run.oversleep_ns));
        let wake_ns = wake_ns.min(self.next_overdue_look);
        let now_ns = wake_ns.max(self.traffic.now_ns);
        self.pass_until(now_ns);
        while self.answers.peek().is_some_and(|Reverse((at, ..))| *at <= now_ns) {
            let Some(Reverse((_, _, index, mut bytes))) = self.answers.pop() else { break };
            self.traffic.feed(index, &mut bytes);
            self.pump(index, server);
        }
        while let Some(index) = self.traffic.take_due() {
            self.pump(index, server);
        }
        if now_ns >= self.next_overdue_look {
            self.next_overdue_look = now_ns + REPLY_TIMEOUT.as_nanos() as u64 / 8;
            let mut freed = Vec::new();
            self.traffic.give_up_overdue(|_, index| freed.push(index));
            freed.into_iter().for_each(|index| self.pump(index, server));
        }
    }

    /// Lets the time pass; nothing changes meanwhile.
    fn pass_until(&mut self, now_ns: u64) {
        let Traffic { window, connections, .. } = &self.traffic;
        let measured = |time_ns: u64| time_ns.clamp(window.start_ns, window.end_ns);
        let passed_ns = (measured(now_ns) - measured(self.traffic.now_ns)) as f64;
        if passed_ns > 0.0 {
            let owed: u32 = connections.iter().map(|connection| connection.owed).sum();
            let out = connections.iter().filter(|connection| connection.awaited.is_some()).count();
            self.owed_ns += passed_ns * f64::from(owed);
            self.out_ns += passed_ns * out as f64;
        }
        self.traffic.now_ns = now_ns;
    }

    /// Sends what the connection has to send; sending takes no time.
    fn pump(&mut self, index: u32, server: Server<'_>) {
        self.traffic.pump(index, &mut self.wire);
        while let Some(FrameBytes::Owned(mut frame)) = self.wire.sent.take() {
            let limits = DecodeLimits { message_size: 1 << 20, fragments: 1 };
            let decoded = Decoder::new(Role::Server).handle(&mut frame, &limits).expect("a frame");
            let Some(Event::Message(message)) = decoded.event else { panic!("a message") };
            let mut answer = Vec::new();
            encode::append_message(&mut answer, MessageKind::Binary, &message.payload);
            let number = self.received;
            self.received += 1;
            for at_ns in server(self.traffic.now_ns, number) {
                self.answers.push(Reverse((at_ns, number, index, answer.clone())));
            }
            frame.clear();
            let connection = &mut self.traffic.connections[index as usize];
            (connection.sending, connection.frame) = (false, frame);
            self.traffic.pump(index, &mut self.wire);
        }
    }
}

/// Takes one frame at a time.
#[derive(Default)]
struct Wire {
    sent: Option<FrameBytes>,
}

impl Driver for Wire {
    fn submit_send(&mut self, _: Sock, bytes: FrameBytes, _: usize) {
        assert!(self.sent.replace(bytes).is_none(), "one send at a time");
    }

    fn insert(&mut self, _: ConnId, _: OwnedFd) -> Sock {
        unreachable!("there are no sockets")
    }

    fn arm_recv(&mut self, _: Sock) {}

    fn disarm_recv(&mut self, _: Sock) {}

    fn cancel_send(&mut self, _: Sock) {}

    fn shutdown_write(&mut self, _: Sock) {}

    fn close(&mut self, _: Sock, _: CloseHow) {}

    fn wake(&mut self, _: ShardId) {}

    fn wait(&mut self, _: Option<Duration>) -> Result<(), Fault> {
        Ok(())
    }

    fn next_completion(&mut self) -> Option<Completion> {
        None
    }

    fn buffer(&mut self, _: &Lease) -> &mut [u8] {
        unreachable!("there are no buffers")
    }

    fn release(&mut self, _: Lease) {}

    fn buffer_count(&self) -> usize {
        0
    }

    fn counts(&self) -> DriverCounts {
        DriverCounts::default()
    }
}
