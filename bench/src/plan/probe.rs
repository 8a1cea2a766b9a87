//! The measurements a plan is made of: a window at a rate, idle connections, handshakes. Each is a
//! run of the command of that name.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use crate::fanout::{self, FanoutError};
use crate::report::Report;
use crate::run::{self, Pace, RunError, Scenario};
use crate::server::ServerUse;
use crate::slo::Metric;
use crate::verdict::Verdict;
use crate::{connect, payload};

use super::PlanArgs;
use super::record::Window;
use super::search::Outcome;

/// Why there is no measurement.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Fanout(#[from] FanoutError),
    /// The rate is not to blame: no window of so many connections can tell anything.
    #[error("{opened} of {asked} connections could be opened: {cause}")]
    Connections { asked: u32, opened: u32, cause: String },
}

/// Idle connections, and what the server's process had of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Idle {
    pub(super) connections: u32,
    pub(super) rss_bytes: f64,
    /// Before the first connection of this run.
    pub(super) rss_before_bytes: f64,
    /// Half of what the kernel's memory grew by since then: both ends are on this machine.
    pub(super) kernel_growth_bytes: Option<f64>,
    pub(super) descriptors: Option<f64>,
    pub(super) cpu_us_per_s: f64,
    pub(super) pings: u64,
}

/// Measures one window.
///
/// # Errors
/// It cannot be run, or connections could not be opened.
pub(super) fn window(args: &PlanArgs, connections: u32, rate: u64) -> Result<Window, ProbeError> {
    let (report, outcome) = match &args.publish {
        Some(publish) => fanout::measure(&args.fanout(publish, connections, rate))?,
        None => {
            let connect = args.connect(connections);
            let scenario = Scenario {
                pace: Pace::Rate(rate),
                size: args.size as usize,
                warm_up: args.warm_up,
                duration: args.window,
            };
            let outcome = run::run(&connect, &scenario, |_| {})?;
            (Report::new("echo", &connect, &scenario, &outcome), outcome)
        }
    };
    check_opened(connections, outcome.opened, &outcome.failures)?;
    let seconds = args.window.as_secs_f64();
    let cores = |cpu_ns: u64| cpu_ns as f64 / 1e9 / seconds;
    let at = |histogram: &hdrhistogram::Histogram<u64>, quantile| {
        (!histogram.is_empty()).then(|| histogram.value_at_quantile(quantile) as f64 / 1e3)
    };
    let tally = &outcome.tally;
    let mut window = Window {
        connections,
        rate,
        achieved: report.rate_achieved(),
        deliveries_per_s: tally.received_in_window as f64 / seconds,
        bytes_per_delivery: tally.bytes_per_delivery(),
        p50_us: at(&tally.latency, 0.5),
        p99_us: at(&tally.latency, 0.99),
        raw_p99_us: at(&tally.latency_raw, 0.99),
        lag_p99_us: at(&tally.lag, 0.99),
        server_cores: outcome.server.map(|server| cores(busy_ns(&server))),
        generator_cores: cores(tally.cpu_ns),
        outcome: Outcome::Pass,
        why: None,
    };
    (window.outcome, window.why) = judge(args, &report, &outcome, &window);
    Ok(window)
}

/// What a window says of the server.
fn judge(
    args: &PlanArgs,
    report: &Report,
    outcome: &run::Outcome,
    window: &Window,
) -> (Outcome, Option<String>) {
    if let Some(why) = report.why_invalid() {
        return (Outcome::Invalid, Some(why.to_owned()));
    }
    let misses = misses(args, report, outcome);
    if misses.is_empty() {
        return (Outcome::Pass, None);
    }
    let misses = misses.join(", ");
    // A generator that is busy receiving makes the server look slow.
    let generator_busy = window.generator_cores / f64::from(args.threads) >= BUSY;
    let server_busy = window.server_cores.is_some_and(|cores| cores >= BUSY);
    if generator_busy && !server_busy {
        let why = format!("{misses}; but the generator's threads were busy throughout");
        return (Outcome::Invalid, Some(why));
    }
    (Outcome::Miss, Some(misses))
}

/// What was missed, in words.
fn misses(args: &PlanArgs, report: &Report, outcome: &run::Outcome) -> Vec<String> {
    let tally = &outcome.tally;
    let mut misses: Vec<String> = report
        .objectives()
        .iter()
        .filter(|objective| !objective.pass)
        .map(|objective| {
            let value = objective.value.map_or("nothing".to_owned(), |value| format!("{value:.0}"));
            format!("{} missed: {value}", objective.expression)
        })
        .collect();
    let lost: u32 = tally.lost_connections.values().sum();
    if lost > 0 && !args.slo.bounds(Metric::Failed) {
        let cause = tally.lost_connections.keys().next().map_or("", String::as_str);
        misses.push(format!("{lost} connections lost: {cause}"));
    }
    if tally.dropped_by_policy > 0 && !args.slo.bounds(Metric::Dropped) {
        misses.push(format!("{} messages dropped by policy", tally.dropped_by_policy));
    }
    if misses.is_empty() && report.verdict() == Verdict::SloMissed {
        misses.push("messages not published, lost, doubled, out of order or changed".to_owned());
    }
    // Without a bound on latency a server could fall behind for ever.
    let in_time = tally.received_in_window as f64 / (tally.due as f64).max(1.0);
    if in_time < KEPT_UP {
        misses.push(format!("fell behind: {:.0} % came within the window", 100.0 * in_time));
    }
    misses
}

/// Holds `connections` without a message. `None`: the server's process was not named.
pub(super) fn idle(args: &PlanArgs, connections: u32) -> Result<Option<Idle>, ProbeError> {
    let Some(pid) = args.server_pid else { return Ok(None) };
    thread::sleep(RELEASE);
    let scenario = Scenario {
        pace: Pace::Idle,
        size: payload::HEADER_LEN,
        warm_up: SETTLE,
        duration: args.hold,
    };
    let mut descriptors = None;
    let outcome = run::run(&args.connect(connections), &scenario, |_| {
        descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok().map(|all| all.count() as f64);
    })?;
    check_opened(connections, outcome.opened, &outcome.failures)?;
    Ok(outcome.server.map(|server| Idle {
        connections,
        rss_bytes: server.rss_bytes as f64,
        rss_before_bytes: server.rss_bytes.saturating_sub(server.rss_growth_bytes) as f64,
        kernel_growth_bytes: server.kernel_growth_bytes.map(|bytes| bytes as f64 / 2.0),
        descriptors,
        cpu_us_per_s: busy_ns(&server) as f64 / 1e3 / args.hold.as_secs_f64(),
        pings: outcome.tally.pings,
    }))
}

/// Does `count` handshakes: the server's CPU time for them, in microseconds, if it is known, and
/// how many it did a second.
pub(super) fn handshakes(args: &PlanArgs, count: u32) -> Result<(Option<f64>, f64), ProbeError> {
    let (report, outcome) = connect::measure(&args.handshakes(count))?;
    check_opened(count, outcome.opened, &outcome.failures)?;
    Ok((outcome.server.map(|server| busy_ns(&server) as f64 / 1e3), report.rate_achieved()))
}

/// What the server's process used, or its core if that was more: softirqs are no process's.
fn busy_ns(server: &ServerUse) -> u64 {
    let core_ns = server.core_busy.map_or(0, |busy| busy.as_nanos() as u64);
    server.cpu_ns.max(core_ns)
}

fn check_opened(
    asked: u32,
    opened: u32,
    failures: &BTreeMap<String, u32>,
) -> Result<(), ProbeError> {
    match failures.iter().max_by_key(|(_, count)| **count) {
        None => Ok(()),
        Some((cause, _)) => Err(ProbeError::Connections { asked, opened, cause: cause.clone() }),
    }
}

/// Share of a core from which on a thread counts as limited by it.
const BUSY: f64 = 0.9;

/// Share of a window's messages that must come within it.
const KEPT_UP: f64 = 0.95;

/// Before idle connections: the kernel gives back what sockets had a while after they were closed,
/// and what it still holds of a round before would be missing from the growth of the next.
const RELEASE: Duration = Duration::from_millis(500);

/// From the last handshake to the idle measurement: what handshakes left behind is done by then.
const SETTLE: Duration = Duration::from_millis(300);
