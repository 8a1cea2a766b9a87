//! `connect`: how long handshakes take, and how many a second a server answers. With the Centrifuge
//! protocol a handshake includes connecting and subscribing.
//!
//! Handshake `n` is due `n / rate` seconds after the start, whatever became of those before it.
//! Connections stay open until the last handshake is done.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::cli::{HandshakeArgs, Verdict, say};
use crate::dial::{Dialed, Dialer, Finished, IN_FLIGHT_MAX, LOOK_INTERVAL, Place};
use crate::generator::GeneratorError;
use crate::output::{self, Meter};
use crate::pinning;
use crate::report::{self, Report};
use crate::run::{self, Outcome, Pace, RunError, Scenario};
use crate::schedule::Schedule;
use crate::server::{self, ServerUse};
use crate::tally::Tally;
use crate::traffic::Window;

/// Runs the command.
pub(crate) fn run(args: &HandshakeArgs) -> Result<Verdict, RunError> {
    let (report, outcome) = measure(args)?;
    say(report.text());
    report::write(&report, &args.connect, &outcome.tally)?;
    Ok(report.verdict())
}

/// Does the handshakes and writes nothing.
pub(crate) fn measure(args: &HandshakeArgs) -> Result<(Report, Outcome), RunError> {
    let connect = &args.connect;
    if !connect.ramp.is_zero() {
        return Err(RunError::Ramp);
    }
    connect.check_session()?;
    run::prepare(connect)?;
    let before = run::observe(connect)?;
    let (meters, collector) =
        output::collect(&connect.output, Window::OPEN, connect.threads, connect.server_pid)?;
    let start = Instant::now() + START_DELAY;
    let wall_start = SystemTime::now() + START_DELAY;
    let (parts, collected, duration) = thread::scope(|scope| {
        let collecting = scope.spawn(move || collector.run_unopened(wall_start));
        let body = |(thread, meter)| scope.spawn(move || handshakes(args, thread, start, meter));
        let threads: Vec<_> = (0..).zip(meters).map(body).collect();
        let parts: Result<Vec<_>, _> = threads.into_iter().map(run::joined).collect();
        let duration = start.elapsed();
        Ok::<_, RunError>((parts?, run::joined(collecting)?, duration))
    })?;
    // While the connections are open.
    let after = run::observe(connect)?;
    let mut held = Held::default();
    for part in parts {
        held.open.extend(part.open);
        for (cause, count) in part.failures {
            *held.failures.entry(cause).or_default() += count;
        }
    }
    let scenario = Scenario {
        pace: if args.rate == 0 { Pace::ClosedLoop } else { Pace::Rate(args.rate) },
        size: 0,
        warm_up: Duration::ZERO,
        duration,
    };
    let outcome = Outcome {
        opened: held.open.len() as u32,
        failures: held.failures,
        dial_time: duration,
        tally: collected.tally,
        samples: collected.samples,
        server: ServerUse::between(before, before, after),
    };
    let report = Report::new("connect", connect, &scenario, &outcome);
    Ok((report, outcome))
}

/// The handshakes of one thread.
fn handshakes(
    args: &HandshakeArgs,
    thread: u16,
    start: Instant,
    mut meter: Meter,
) -> Result<Held, GeneratorError> {
    pinning::settle(&args.connect, thread)?;
    // The default of 50 us would make every handshake late by as much.
    rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN))?;
    let mut handshakes = Handshakes {
        numbers: run::share(&args.connect, thread),
        due: Vec::new(),
        schedule: (args.rate > 0)
            .then(|| Schedule::new(args.rate, thread, args.connect.threads, 1)),
        start,
        tally: Tally::new(),
        held: Held::default(),
    };
    handshakes.due.reserve_exact(handshakes.numbers.len());
    handshakes.held.open.reserve_exact(handshakes.numbers.len());
    let opening = run::opening(&args.connect);
    let mut dialer =
        Dialer::new(opening.sources, opening.compression).map_err(GeneratorError::Dial)?;
    let hello = args.connect.session.hello(Some(args.connect.session.channel()));
    let place = Place { target: &args.connect.url, hello: hello.as_ref() };
    thread::sleep(start.saturating_duration_since(Instant::now()));
    let cpu_before = server::own_cpu_ns();
    meter.cut(handshakes.now_ns(), &mut handshakes.tally);
    while !handshakes.numbers.is_empty() || dialer.in_flight() > 0 {
        while handshakes.is_due(dialer.in_flight()) {
            let number = handshakes.take();
            if let Err(error) = dialer.start(place, number) {
                let result = Err(error);
                handshakes.on_finished(Finished { number, started: Instant::now(), result });
            }
        }
        dialer
            .wait(handshakes.patience(), |finished| handshakes.on_finished(finished))
            .map_err(GeneratorError::Dial)?;
        meter.cut(handshakes.now_ns(), &mut handshakes.tally);
    }
    let end_ns = handshakes.now_ns();
    if let (Some(before), Some(after)) = (cpu_before, server::own_cpu_ns()) {
        handshakes.tally.cpu_ns = after - before;
    }
    meter.finish_at(end_ns, handshakes.tally);
    Ok(handshakes.held)
}

/// What was opened, to be held until all is done.
#[derive(Default)]
struct Held {
    open: Vec<Dialed>,
    /// How many failed, by cause.
    failures: BTreeMap<String, u32>,
}

/// What one thread has to do and has done.
struct Handshakes {
    /// Those to be started.
    numbers: Range<u32>,
    /// When those that were started were due, in nanoseconds since the start, in order.
    due: Vec<u64>,
    /// `None`: closed loop.
    schedule: Option<Schedule>,
    start: Instant,
    tally: Tally,
    held: Held,
}

impl Handshakes {
    /// Whether the next one is to be started now.
    fn is_due(&self, in_flight: usize) -> bool {
        !self.numbers.is_empty()
            && match &self.schedule {
                Some(schedule) => schedule.next_due_ns() <= self.now_ns(),
                None => in_flight < IN_FLIGHT_MAX,
            }
    }

    /// Takes the next one, which is due.
    fn take(&mut self) -> u32 {
        let now_ns = self.now_ns();
        let due_ns = match &mut self.schedule {
            Some(schedule) => {
                let due_ns = schedule.next_due_ns();
                schedule.take();
                self.tally.lag.saturating_record(now_ns - due_ns);
                due_ns
            }
            None => now_ns,
        };
        self.due.push(due_ns);
        self.tally.started += 1;
        self.numbers.next().expect("one is due")
    }

    /// How long the dialer may wait.
    fn patience(&self) -> Duration {
        match &self.schedule {
            Some(schedule) if !self.numbers.is_empty() => {
                let left_ns = schedule.next_due_ns().saturating_sub(self.now_ns());
                LOOK_INTERVAL.min(Duration::from_nanos(left_ns))
            }
            Some(_) | None => LOOK_INTERVAL,
        }
    }

    fn on_finished(&mut self, finished: Finished) {
        let Finished { number, started, result } = finished;
        match result {
            Ok(dialed) => {
                let now_ns = self.now_ns();
                let first = self.numbers.start - self.due.len() as u32;
                let due_ns = self.due[(number - first) as usize];
                self.tally.latency.saturating_record(now_ns - due_ns);
                let raw_ns = started.elapsed().as_nanos() as u64;
                self.tally.latency_raw.saturating_record(raw_ns);
                self.tally.received_in_window += 1;
                self.held.open.push(Dialed { leftover: Vec::new(), ..dialed });
            }
            Err(error) => {
                let rest = if error.is_hopeless() { self.numbers.len() as u32 } else { 0 };
                self.tally.failed += u64::from(1 + rest);
                // Those in flight find their due times by the place of the first.
                self.numbers.end -= rest;
                *self.held.failures.entry(error.to_string()).or_default() += 1 + rest;
            }
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).expect("584 years")
    }
}

/// From here to the first handshake: all threads are awake by then.
const START_DELAY: Duration = Duration::from_millis(20);
