//! `fanout`: how long publications take to reach every subscriber, and what became of each.
//!
//! Publications are due at fixed times, or, in a closed loop, when the last has arrived. Publishers
//! are sockets on the ring of the first thread, over HTTP as over WebSocket, so that publishing
//! waits for nobody and its lateness is known.

mod account;
mod args;
mod cast;
mod churn;
mod closed_loop;
mod http;
mod message;
mod outcome;
mod plan;
mod publisher;
mod receipts;
mod station;
mod subscriber;
mod wires;

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tidegate::ring::TableSizes;

pub(crate) use args::FanoutArgs;
pub(crate) use message::SIZE_MIN;
pub(crate) use outcome::FanoutReport;
pub(crate) use plan::PublishUrl;

use account::Account;
use cast::{Cast, Seen};
use churn::{Churn, ChurnCounts};
use closed_loop::ClosedLoop;
use http::{Answers, Request};
use plan::{Plan, PlanError};
use publisher::{Link, Publications, Publisher};
use station::{Published, PublisherSocket, Station};

use crate::cli::{Verdict, say};
use crate::descriptors;
use crate::dial::{self, DialError, Dialing, Place};
use crate::generator::GeneratorError;
use crate::output::{self, Meter};
use crate::pinning;
use crate::report::{self, Report};
use crate::run::{self, Outcome, Pace, RunError, Scenario};
use crate::schedule::Schedule;
use crate::server::ServerUse;
use crate::tally::Tally;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FanoutError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("the server cannot be reached: {0}")]
    Dial(String),
}

impl From<GeneratorError> for FanoutError {
    fn from(error: GeneratorError) -> Self {
        Self::Run(error.into())
    }
}

/// Runs the command.
pub(crate) fn run(args: &FanoutArgs) -> Result<Verdict, FanoutError> {
    let (report, outcome) = measure(args)?;
    say(report.text());
    report::write(&report, &args.connect, &outcome.tally).map_err(RunError::File)?;
    Ok(report.verdict())
}

/// Runs what `args` ask for, and writes nothing but what is written while it goes on.
pub(crate) fn measure(args: &FanoutArgs) -> Result<(Report, Outcome), FanoutError> {
    let plan = Plan::new(args)?;
    run::prepare(&args.connect).map_err(RunError::Pin)?;
    let table = descriptors::table(&args.connect).map_err(RunError::Table)?;
    let hall = Hall::new(args, &plan, table)?;
    let at_first = run::observe(&args.connect).map_err(RunError::Observe)?;
    let connect = &args.connect;
    let (meters, collector) =
        output::collect(&connect.output, plan.window, connect.threads, connect.server_pid)
            .map_err(RunError::File)?;
    let dial_start = Instant::now();
    let (parts, collected, opened, mut failures, dial_time, [before, after]) =
        thread::scope(|scope| {
            let (report, reports) = mpsc::channel();
            let mut starts = Vec::new();
            let mut threads = Vec::new();
            for (index, meter) in (0..).zip(meters) {
                let (start, started) = mpsc::channel();
                starts.push(start);
                let report = report.clone();
                let hall = &hall;
                threads.push(scope.spawn(move || hall.attend(index, report, &started, meter)));
            }
            drop(report);
            let (mut opened, mut failures) = (0, BTreeMap::new());
            // Until every thread has said what it opened, or is gone: then nobody holds a sender.
            for dialing in reports {
                opened += dialing.opened;
                add(&mut failures, dialing.failures);
            }
            let dial_time = dial_start.elapsed();
            let start = Instant::now() + hall.start_delay();
            let wall_start = SystemTime::now() + hall.start_delay() + args.warm_up;
            let collecting =
                scope.spawn(move || collector.run(opened, connect.connections, wall_start));
            for thread in starts {
                // A thread that is gone has failed, and says so when it is joined.
                let _ = thread.send(start);
            }
            thread::sleep((start + args.warm_up).saturating_duration_since(Instant::now()));
            let before = run::observe(&args.connect).map_err(RunError::Observe)?;
            let end = start + args.warm_up + args.duration;
            thread::sleep(end.saturating_duration_since(Instant::now()));
            let after = run::observe(&args.connect).map_err(RunError::Observe)?;
            let parts: Result<Vec<Part>, GeneratorError> =
                threads.into_iter().map(run::joined).collect();
            let collected = run::joined(collecting).map_err(RunError::File)?;
            Ok::<_, FanoutError>((parts?, collected, opened, failures, dial_time, [before, after]))
        })?;
    let mut parts = parts.into_iter();
    let mut whole = parts.next().expect("at least one thread");
    parts.for_each(|part| whole.merge(part));
    whole.seen.tally = collected.tally;
    let Part { seen, publications, churned } = &mut whole;
    publications.check()?;
    let account =
        Account::settle(&plan, publications, &seen.receipts, &seen.lives, &mut seen.tally);
    let fanout = FanoutReport::new(args, &plan, &account, publications, seen, *churned);
    add(&mut failures, std::mem::take(&mut publications.connect_failures));
    let server = ServerUse::between(at_first, before, after);
    let Part { seen: Seen { tally, .. }, .. } = whole;
    let outcome =
        Outcome { opened, failures, dial_time, tally, samples: collected.samples, server };
    let report =
        Report::of_fanout(connect, &scenario(args), &outcome, fanout, args.scenario(&plan));
    Ok((report, outcome))
}

/// What a fan-out that was driven from another command came to.
#[derive(Debug)]
pub(crate) struct Driven {
    /// The ledger included.
    pub(crate) tally: Tally,
    /// Measured publications that were due and are not known to be published.
    pub(crate) unpublished: u64,
}

/// Runs `args` on the calling thread, its only one, and reports nothing. `at_edge` is called at
/// both ends of the measured time, while the connections are open.
///
/// # Errors
/// The arguments do not fit together, or a connection could not be opened.
pub(crate) fn drive(args: &FanoutArgs, at_edge: &mut dyn FnMut()) -> Result<Driven, FanoutError> {
    assert_eq!(args.connect.threads, 1, "the calling thread is all there is");
    let plan = Plan::new(args)?;
    let hall = Hall::new(args, &plan, None)?;
    let Prepared { station, dialing, connect_failures } = hall.prepare(0)?;
    if let Some(cause) = dialing.failures.into_keys().chain(connect_failures.into_keys()).next() {
        return Err(FanoutError::Dial(cause));
    }
    let start = Instant::now() + hall.start_delay();
    let (cast, _) = station.run(start, &mut Meter::whole(plan.window), at_edge)?;
    let Cast { seen: Seen { mut tally, receipts, lives, .. }, desk, .. } = cast;
    let account = Account::settle(&plan, &desk.publications, &receipts, &lives, &mut tally);
    let counts = account.publications;
    Ok(Driven { tally, unpublished: counts.due - counts.published })
}

/// The run, but for its connections.
fn scenario(args: &FanoutArgs) -> Scenario {
    Scenario {
        pace: if args.rate == 0 { Pace::ClosedLoop } else { Pace::Rate(args.rate) },
        size: args.size,
        warm_up: args.warm_up,
        duration: args.duration,
    }
}

/// What all threads of a run share.
struct Hall<'p> {
    args: &'p FanoutArgs,
    plan: &'p Plan,
    /// What publishers wait for; `None`: for when it is time.
    closed: Option<ClosedLoop>,
    requests: Vec<Request>,
    greetings: Vec<String>,
    published: OnceLock<Published>,
    /// Of each thread's ring, if it holds connections in slots.
    table: Option<TableSizes>,
}

/// What one thread brings home.
struct Part {
    seen: Seen,
    publications: Publications,
    churned: ChurnCounts,
}

/// One thread before the start.
struct Prepared<'p> {
    station: Station<'p>,
    dialing: Dialing,
    connect_failures: BTreeMap<String, u32>,
}

impl<'p> Hall<'p> {
    fn new(
        args: &'p FanoutArgs,
        plan: &'p Plan,
        table: Option<TableSizes>,
    ) -> Result<Self, GeneratorError> {
        let request = |target| {
            let key = args.api_key.as_deref();
            let request = |channel: &plan::Channel| {
                Request::new(target, key, &channel.name, plan.payload.len())
            };
            plan.channels.iter().map(request).collect()
        };
        let greeting = |text: &String| {
            plan.channels.iter().map(|channel| text.replace("{channel}", &channel.name)).collect()
        };
        let closed = matches!(plan.pace, plan::Pace::Closed).then(|| ClosedLoop::new(plan));
        Ok(Self {
            args,
            plan,
            closed: closed.transpose()?,
            requests: match &args.publish {
                PublishUrl::Http(target) => request(target),
                PublishUrl::WebSocket(_) => Vec::new(),
            },
            greetings: args.subscribe.as_ref().map(greeting).unwrap_or_default(),
            published: OnceLock::new(),
            table,
        })
    }

    /// From the moment all connections are open to the start.
    fn start_delay(&self) -> Duration {
        // Nothing tells when a subscription by a text of its own has come into force.
        if self.greetings.is_empty() { START_DELAY } else { START_DELAY + SUBSCRIBE_DELAY }
    }

    /// One thread, from its first connection to its last. The first thread publishes.
    fn attend(
        &'p self,
        thread: u16,
        report: mpsc::Sender<Dialing>,
        started: &mpsc::Receiver<Instant>,
        mut meter: Meter,
    ) -> Result<Part, GeneratorError> {
        let Prepared { mut station, dialing, connect_failures } = self.prepare(thread)?;
        let _ = report.send(dialing);
        drop(report);
        // No start: the run was given up.
        let start = run::await_start(started, &mut station).unwrap_or_else(Instant::now);
        let (mut cast, churned) = station.run(start, &mut meter, &mut || {})?;
        meter.finish(std::mem::replace(&mut cast.seen.tally, Tally::new()));
        let mut publications = cast.desk.publications;
        publications.connect_failures = connect_failures;
        Ok(Part { seen: cast.seen, publications, churned })
    }

    /// Opens the connections of one thread.
    fn prepare(&'p self, thread: u16) -> Result<Prepared<'p>, GeneratorError> {
        let Self { args, plan, .. } = self;
        pinning::settle(&args.connect, thread)?;
        let numbers = run::share(&args.connect, thread);
        let opening = run::opening(&args.connect);
        let place_of =
            |number: u32| plan.channels[usize::from(plan.channel_of[number as usize])].place();
        // First, for subscribers may take all descriptors there are.
        let (publishers, sockets, connect_failures) = match thread {
            0 => self.publishers()?,
            _ => Default::default(),
        };
        let churn = (args.churn > 0 && !numbers.is_empty())
            .then(|| {
                let schedule = Schedule::new(args.churn, thread, args.connect.threads, 1);
                Churn::new(plan, schedule, opening.sources, numbers.len())
            })
            .transpose()
            .map_err(GeneratorError::Dial)?;
        let closed = self.closed.as_ref();
        let cast = Cast::new(plan, closed, &self.requests, numbers.clone(), publishers);
        let (greetings, published) = (&self.greetings, &self.published);
        let mut station = Station::new(cast, greetings, churn, self.table, sockets, published)?;
        let dialing = dial::dial_all(&opening, numbers, place_of, &mut station)
            .map_err(GeneratorError::Dial)?;
        Ok(Prepared { station, dialing, connect_failures })
    }

    /// Opens the connections that publish; those that fail have a place and no socket.
    #[expect(clippy::type_complexity, reason = "taken apart by its only caller")]
    fn publishers(
        &self,
    ) -> Result<(Vec<Publisher>, Vec<PublisherSocket>, BTreeMap<String, u32>), GeneratorError> {
        let plan = self.plan;
        let link = || match &self.args.publish {
            PublishUrl::Http(_) => Link::Http(Answers::default()),
            PublishUrl::WebSocket(_) => Link::web_socket(plan),
        };
        let count = plan.publisher_count;
        let publishers = (0..count).map(|number| Publisher::new(plan, number, link())).collect();
        let mut sockets = Vec::new();
        let mut failures = BTreeMap::new();
        match &self.args.publish {
            PublishUrl::Http(target) => {
                for number in 0..count {
                    match connect(target) {
                        Ok(socket) => {
                            let leftover = Vec::new();
                            sockets.push(PublisherSocket { number, socket, leftover });
                        }
                        Err(error) => *failures.entry(cause(&error)).or_default() += 1,
                    }
                }
            }
            PublishUrl::WebSocket(_) => {
                let opening = dial::Opening {
                    total: count.into(),
                    // What a publisher sends is not what is measured.
                    compression: false,
                    ..run::opening(&self.args.connect)
                };
                let place_of = |number| Place {
                    target: &plan.channels[number as usize % plan.channels.len()].publish,
                    hello: plan.publisher_hello.as_ref(),
                };
                let mut open = Vec::new();
                let dialing = dial::dial_all(&opening, 0..count.into(), place_of, &mut open)
                    .map_err(GeneratorError::Dial)?;
                sockets.extend(open.into_iter().map(|dialed| PublisherSocket {
                    number: dialed.number as u16,
                    socket: dialed.socket,
                    leftover: dialed.leftover,
                }));
                failures.extend(
                    dialing.failures.into_iter().map(|(text, count)| (cause(&text), count)),
                );
            }
        }
        Ok((publishers, sockets, failures))
    }
}

impl Part {
    fn merge(&mut self, other: Part) {
        self.seen.receipts.merge(&other.seen.receipts);
        self.seen.lives.extend(other.seen.lives);
        self.seen.foreign += other.seen.foreign;
        self.churned.closed += other.churned.closed;
        self.churned.reopened += other.churned.reopened;
    }
}

/// A connection to an HTTP server.
fn connect(target: &crate::target::Target) -> Result<std::os::fd::OwnedFd, DialError> {
    let stream = TcpStream::connect_timeout(&target.address, Duration::from_secs(10))?;
    stream.set_nodelay(true)?;
    Ok(stream.into())
}

fn cause(error: &dyn std::fmt::Display) -> String {
    format!("a publisher: {error}")
}

fn add(failures: &mut BTreeMap<String, u32>, more: BTreeMap<String, u32>) {
    for (cause, count) in more {
        *failures.entry(cause).or_default() += count;
    }
}

/// All threads are awake by then.
const START_DELAY: Duration = Duration::from_millis(20);

/// A server has that long to act on the text of `--subscribe`.
const SUBSCRIBE_DELAY: Duration = Duration::from_millis(500);
