//! What all commands do: dial on every thread, start together, gather what was counted.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::mpsc::{self, TryRecvError};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant, SystemTime};

use tidegate::ring::TableSizes;

use crate::cli::ConnectArgs;
use crate::descriptors::{self, TableError};
use crate::dial::{self, Dialing, Host, Opening, Place, Sources};
use crate::generator::{Generator, GeneratorError};
use crate::output::{self, Collected, FileError, Meter, Sample};
use crate::pinning::{self, PinError};
use crate::schedule::Schedule;
use crate::server::{Observation, ObserveError, ServerUse};
use crate::session::SessionError;
use crate::tally::Tally;
use crate::traffic::{Load, Window};

/// What to send.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// Nothing.
    Idle,
    /// One message out per connection.
    ClosedLoop,
    /// So many messages a second.
    Rate(u64),
}

/// A run, but for its connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// What to send.
    pub(crate) pace: Pace,
    /// Bytes of a payload.
    pub(crate) size: usize,
    /// Before the measuring begins.
    pub(crate) warm_up: Duration,
    /// How long to measure.
    pub(crate) duration: Duration,
}

impl Scenario {
    /// The measured time, counted from the run's start.
    pub(crate) fn window(&self) -> Window {
        Window {
            start_ns: self.warm_up.as_nanos() as u64,
            end_ns: (self.warm_up + self.duration).as_nanos() as u64,
        }
    }
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Connections that were opened.
    pub(crate) opened: u32,
    /// Connections that could not be opened, by cause.
    pub(crate) failures: BTreeMap<String, u32>,
    /// How long opening them took.
    pub(crate) dial_time: Duration,
    /// What all threads counted.
    pub(crate) tally: Tally,
    /// The measured time, second by second.
    pub(crate) samples: Vec<Sample>,
    /// What the server used, if its process was named.
    pub(crate) server: Option<ServerUse>,
}

/// Reads what the server has used so far, if its process was named.
pub(crate) fn observe(connect: &ConnectArgs) -> Result<Option<Observation>, ObserveError> {
    connect.server_pid.map(|pid| Observation::of(pid, connect.server_cpu)).transpose()
}

/// Readies this process for `connect`: its place on the machine, and its descriptors.
pub(crate) fn prepare(connect: &ConnectArgs) -> Result<(), PinError> {
    pinning::leave_server(connect)?;
    dial::raise_file_limit();
    Ok(())
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Observe(#[from] ObserveError),
    #[error("connect starts its handshakes by --rate: leave --ramp out")]
    Ramp,
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Pin(#[from] PinError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Generator(#[from] GeneratorError),
    #[error(transparent)]
    File(#[from] FileError),
}

/// Opens the connections, calls `on_open` with their count once all are, and runs `scenario`.
pub(crate) fn run(
    connect: &ConnectArgs,
    scenario: &Scenario,
    on_open: impl FnOnce(u32),
) -> Result<Outcome, RunError> {
    connect.check_session()?;
    prepare(connect)?;
    let table = descriptors::table(connect)?;
    let observe = || observe(connect);
    let at_first = observe()?;
    let (meters, collector) =
        output::collect(&connect.output, scenario.window(), connect.threads, connect.server_pid)?;
    let dial_start = Instant::now();
    thread::scope(|scope| {
        let (report, reports) = mpsc::channel();
        let mut starts = Vec::new();
        let mut threads = Vec::new();
        for (index, meter) in (0..).zip(meters) {
            let (start, started) = mpsc::channel();
            starts.push(start);
            let report = report.clone();
            let body = move || generate(connect, scenario, index, table, report, &started, meter);
            threads.push(scope.spawn(body));
        }
        drop(report);
        let mut opened = 0;
        let mut failures = BTreeMap::new();
        // Until every thread has said what it opened, or is gone: then nobody holds a sender.
        for dialed in reports {
            opened += dialed.opened;
            for (cause, count) in dialed.failures {
                *failures.entry(cause).or_default() += count;
            }
        }
        let dial_time = dial_start.elapsed();
        on_open(opened);
        let start = Instant::now() + START_DELAY;
        for thread in starts {
            // A thread that is gone has failed, and says so when it is joined.
            let _ = thread.send(start);
        }
        let wall_start = SystemTime::now() + START_DELAY + scenario.warm_up;
        let collecting =
            scope.spawn(move || collector.run(opened, connect.connections, wall_start));
        let window_start = start + scenario.warm_up;
        thread::sleep(window_start.saturating_duration_since(Instant::now()));
        let before = observe()?;
        let window_end = window_start + scenario.duration;
        thread::sleep(window_end.saturating_duration_since(Instant::now()));
        let after = observe()?;
        for thread in threads {
            joined(thread)?;
        }
        let Collected { tally, samples } = joined(collecting)?;
        let server = ServerUse::between(at_first, before, after);
        Ok(Outcome { opened, failures, dial_time, tally, samples, server })
    })
}

/// How the connections of `connect` are opened.
pub(crate) fn opening(connect: &ConnectArgs) -> Opening {
    let total = connect.connections;
    let sources = Sources::choose(connect.source_ip, &connect.url, total);
    Opening { total, ramp: connect.ramp, sources, compression: connect.compression }
}

/// Which of all connections thread `thread` opens.
pub(crate) fn share(connect: &ConnectArgs, thread: u16) -> Range<u32> {
    let before = |thread: u16| {
        (u64::from(connect.connections) * u64::from(thread) / u64::from(connect.threads)) as u32
    };
    before(thread)..before(thread + 1)
}

/// Looks after the connections of one thread until all threads have theirs; `None`: nobody starts.
pub(crate) fn await_start(
    started: &mpsc::Receiver<Instant>,
    host: &mut impl Host,
) -> Option<Instant> {
    loop {
        match started.try_recv() {
            Ok(start) => return Some(start),
            Err(TryRecvError::Empty) => host.serve(START_DELAY / 4),
            Err(TryRecvError::Disconnected) => return None,
        }
    }
}

/// One thread, from its first connection to its last.
fn generate(
    connect: &ConnectArgs,
    scenario: &Scenario,
    thread: u16,
    table: Option<TableSizes>,
    report: mpsc::Sender<Dialing>,
    started: &mpsc::Receiver<Instant>,
    mut meter: Meter,
) -> Result<(), GeneratorError> {
    pinning::settle(connect, thread)?;
    let numbers = share(connect, thread);
    let session = &connect.session;
    let hello = session.hello(Some(session.channel()));
    let place = Place { target: &connect.url, hello: hello.as_ref() };
    let (size, compression) = (scenario.size, connect.compression);
    let mut generator = Generator::new(numbers.len(), table, size, session.protocol, compression)?;
    let dialing = dial::dial_all(&opening(connect), numbers, |_| place, &mut generator)
        .map_err(GeneratorError::Dial)?;
    let opened = dialing.opened;
    let _ = report.send(dialing);
    drop(report);
    // No start: the run was given up.
    let Some(start) = await_start(started, &mut generator) else { return Ok(()) };
    let load = match scenario.pace {
        Pace::Rate(rate) if opened > 0 => {
            Load::Open(Schedule::new(rate, thread, connect.threads, opened))
        }
        Pace::ClosedLoop => Load::Closed,
        Pace::Rate(_) | Pace::Idle => Load::Idle,
    };
    let tally = generator.run(load, scenario.window(), start, &mut meter, &mut || {})?;
    meter.finish(tally);
    Ok(())
}

/// What a thread came to; its panic is ours.
pub(crate) fn joined<T, E>(thread: ScopedJoinHandle<'_, Result<T, E>>) -> Result<T, E> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// From the moment all connections are open to the start: all threads are awake by then.
const START_DELAY: Duration = Duration::from_millis(20);
