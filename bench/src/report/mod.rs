//! The result of a run, as text and as JSON.

mod scenario;
mod server;
mod tool;
mod validity;

use std::collections::BTreeMap;
use std::fmt::Write;

use hdrhistogram::Histogram;
pub(crate) use scenario::FanoutScenario;
use scenario::ScenarioReport;
use serde::Serialize;
use server::Server;
pub(crate) use tool::Tool;

use crate::cli::{ConnectArgs, Verdict};
use crate::compression::ReceivedBytes;
use crate::environment::Environment;
use crate::fanout::FanoutReport;
use crate::output::{self, Point, Sample};
use crate::page;
use crate::recorded::Recorded;
use crate::run::{Outcome, Pace, Scenario};
use crate::slo::{self, Metric, Slo};
use crate::tally::Tally;

/// The result of a run. The field names are those of the JSON form, which README describes.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    tool: Tool,
    environment: Environment,
    scenario: ScenarioReport,
    connections: Connections,
    duration_s: f64,
    rate: Rate,
    messages: Messages,
    received_bytes: ReceivedBytes,
    latency_us: Option<Latency>,
    latency_raw_us: Option<Latency>,
    server: Option<Server>,
    generator: GeneratorReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    fanout: Option<FanoutReport>,
    slo: Vec<slo::Outcome>,
    verdict: Verdict,
    percentiles: Vec<Point>,
    intervals: Vec<Sample>,
}

#[derive(Debug, Serialize)]
struct Connections {
    asked: u32,
    opened: u32,
    failed: u32,
    lost: u32,
    causes: BTreeMap<String, u32>,
    dial_s: f64,
    pings_answered: u64,
}

#[derive(Debug, Serialize)]
struct Rate {
    asked: Option<u64>,
    achieved: f64,
}

#[derive(Debug, Serialize)]
struct Messages {
    expected: u64,
    sent: u64,
    delivered: u64,
    duplicated: u64,
    reordered: u64,
    lost: u64,
    dropped_by_policy: u64,
    undelivered_at_forced_close: u64,
    unknown: u64,
    too_old: u64,
}

/// Percentiles, in microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    min: f64,
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
    count: u64,
}

#[derive(Debug, Serialize)]
struct GeneratorReport {
    cpu_percent: f64,
    cpu_us_per_message: Option<f64>,
    lag_p99_us: Option<f64>,
    valid: bool,
    why: Option<String>,
}

impl Connections {
    /// Asked against opened, and why the rest is missing.
    fn of(asked: u32, outcome: &Outcome) -> Self {
        let Outcome { opened, failures, dial_time, tally, .. } = outcome;
        let mut causes = failures.clone();
        for (cause, count) in &tally.lost_connections {
            *causes.entry(cause.clone()).or_default() += count;
        }
        Self {
            asked,
            opened: *opened,
            failed: failures.values().sum(),
            lost: tally.lost_connections.values().sum(),
            causes,
            dial_s: dial_time.as_secs_f64(),
            pings_answered: tally.pings,
        }
    }
}

impl Messages {
    /// The ledger.
    fn of(tally: &Tally) -> Self {
        Self {
            expected: tally.due,
            sent: tally.sent,
            delivered: tally.delivered,
            duplicated: tally.duplicated,
            reordered: tally.reordered,
            lost: (tally.due - tally.dropped_by_policy - tally.undelivered_at_forced_close)
                .saturating_sub(tally.delivered),
            dropped_by_policy: tally.dropped_by_policy,
            undelivered_at_forced_close: tally.undelivered_at_forced_close,
            unknown: tally.unknown,
            too_old: tally.too_old,
        }
    }
}

impl Report {
    /// The result of `scenario`, run by `command`.
    pub(crate) fn new(
        command: &'static str,
        connect: &ConnectArgs,
        scenario: &Scenario,
        outcome: &Outcome,
    ) -> Self {
        let Outcome { opened, tally, server, .. } = outcome;
        let duration_s = scenario.duration.as_secs_f64();
        let window_ns = scenario.duration.as_nanos() as f64;
        let per_message = |ns: u64| {
            (tally.received_in_window > 0)
                .then(|| ns as f64 / 1e3 / tally.received_in_window as f64)
        };
        let server = server.zip(connect.server_pid).map(|(used, pid)| {
            Server::new(pid, &used, scenario.duration, tally.received_in_window, *opened)
        });
        let cpu_percent = 100.0 * tally.cpu_ns as f64 / window_ns;
        let lag_p99_us = (!tally.lag.is_empty()).then(|| us(tally.lag.value_at_quantile(0.99)));
        let achieved = tally.received_in_window as f64 / duration_s;
        let thread_percent = cpu_percent / f64::from(connect.threads);
        let why = validity::judge(scenario, thread_percent, lag_p99_us, achieved, server.as_ref());
        let mut report = Self {
            tool: Tool::read(),
            environment: Environment::read(),
            scenario: ScenarioReport::new(command, connect, scenario, FanoutScenario::default()),
            connections: Connections::of(connect.connections, outcome),
            duration_s,
            rate: Rate {
                asked: match scenario.pace {
                    Pace::Rate(rate) => Some(rate),
                    Pace::Idle | Pace::ClosedLoop => None,
                },
                achieved,
            },
            messages: Messages::of(tally),
            received_bytes: ReceivedBytes::of(tally),
            latency_us: Latency::of(&tally.latency),
            latency_raw_us: Latency::of(&tally.latency_raw),
            server,
            generator: GeneratorReport {
                cpu_percent,
                cpu_us_per_message: per_message(tally.cpu_ns),
                lag_p99_us,
                valid: why.is_none(),
                why,
            },
            percentiles: output::percentiles(tally),
            intervals: outcome.samples.clone(),
            fanout: None,
            slo: Vec::new(),
            verdict: Verdict::Pass,
        };
        report.judge(connect.slo.as_ref().unwrap_or(&Slo::default()));
        report
    }

    /// The result of a fan-out that was `asked` for: its rate is that of publications, its
    /// messages are deliveries.
    pub(crate) fn of_fanout(
        connect: &ConnectArgs,
        scenario: &Scenario,
        outcome: &Outcome,
        fanout: FanoutReport,
        asked: FanoutScenario,
    ) -> Self {
        let mut report = Self::new("fanout", connect, scenario, outcome);
        report.scenario = ScenarioReport::new("fanout", connect, scenario, asked);
        report.messages.sent = outcome.tally.sent;
        report.rate.achieved = fanout.acknowledged() as f64 / report.duration_s;
        report.fanout = Some(fanout);
        report.judge(connect.slo.as_ref().unwrap_or(&Slo::default()));
        report
    }

    /// What the exit code tells.
    pub(crate) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// What came of each objective.
    pub(crate) fn objectives(&self) -> &[slo::Outcome] {
        &self.slo
    }

    /// Why the figures are not the server's, if they are not.
    pub(crate) fn why_invalid(&self) -> Option<&str> {
        self.generator.why.as_deref()
    }

    /// Publications of a fan-out that were acknowledged, messages of an echo that came back or
    /// handshakes that were done, a second.
    pub(crate) fn rate_achieved(&self) -> f64 {
        self.rate.achieved
    }

    /// Holds the figures against `slo`. A ledger that is not clean is a miss without being asked:
    /// only who names the figure may accept some of it.
    fn judge(&mut self, slo: &Slo) {
        self.slo = slo.judge(|metric| self.figure(metric));
        let messages = &self.messages;
        let clean = messages.unknown + messages.too_old == 0
            && [
                (Metric::Loss, messages.lost),
                (Metric::Duplicated, messages.duplicated),
                (Metric::Reordered, messages.reordered),
            ]
            .into_iter()
            .all(|(metric, count)| count == 0 || slo.bounds(metric));
        // What was not published cannot be lost, and still was not delivered.
        let published = self.fanout.as_ref().is_none_or(|fanout| fanout.unpublished() == 0);
        let met = clean && published && self.slo.iter().all(|outcome| outcome.pass);
        // A closed loop bound by its generator is labelled and still shows what it shows.
        let valid = self.generator.valid || self.rate.asked.is_none();
        let Connections { failed, lost, .. } = self.connections;
        let connected = failed + lost == 0 || slo.bounds(Metric::Failed);
        self.verdict = Verdict::of(valid, connected, met);
    }

    /// What is received.
    fn unit(&self) -> &'static str {
        match self.scenario.command {
            "fanout" => "delivery",
            "connect" => "handshake",
            _ => "message",
        }
    }

    /// The figure an objective names.
    fn figure(&self, metric: Metric) -> Option<f64> {
        let latency = |of: fn(&Latency) -> f64| self.latency_us.as_ref().map(of);
        let Connections { failed, lost, .. } = self.connections;
        match metric {
            Metric::P50 => latency(|l| l.p50),
            Metric::P90 => latency(|l| l.p90),
            Metric::P99 => latency(|l| l.p99),
            Metric::P999 => latency(|l| l.p999),
            Metric::Max => latency(|l| l.max),
            Metric::Mean => latency(|l| l.mean),
            Metric::Loss => Some(self.messages.lost as f64),
            Metric::Duplicated => Some(self.messages.duplicated as f64),
            Metric::Reordered => Some(self.messages.reordered as f64),
            Metric::Dropped => Some(self.messages.dropped_by_policy as f64),
            Metric::Rate => Some(self.rate.achieved),
            Metric::Failed => Some(f64::from(failed + lost)),
        }
    }

    /// The JSON form.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain values") + "\n"
    }

    /// A short table for people.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        self.write_text(&mut out).expect("writing to a string does not fail");
        out.truncate(out.trim_end().len());
        out
    }

    fn write_messages(&self, out: &mut String) -> std::fmt::Result {
        let messages = &self.messages;
        if messages.expected > 0 {
            writeln!(
                out,
                "messages     expected {}, sent {}, delivered {}, lost {}, dropped by policy {}, cut off {}, \
                 duplicated {}, reordered {}, unknown {}, too old to tell {}",
                messages.expected,
                messages.sent,
                messages.delivered,
                messages.lost,
                messages.dropped_by_policy,
                messages.undelivered_at_forced_close,
                messages.duplicated,
                messages.reordered,
                messages.unknown,
                messages.too_old
            )?;
            let asked = self.rate.asked.map_or("closed loop".to_owned(), |r| format!("asked {r}"));
            let what = if self.fanout.is_some() { "publications" } else { "messages" };
            writeln!(out, "rate         {:.0} {what}/s, {asked}", self.rate.achieved)?;
        }
        if self.scenario.compression {
            self.received_bytes.write_text(out)?;
        }
        if let Some(fanout) = &self.fanout {
            fanout.write_text(out)?;
        }
        if self.scenario.command == "connect" {
            let asked = self.rate.asked.map_or("closed loop".to_owned(), |r| format!("asked {r}"));
            writeln!(out, "rate         {:.0} handshakes/s, {asked}", self.rate.achieved)?;
        }
        Ok(())
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        let Connections { asked, opened, failed, lost, causes, dial_s, pings_answered } =
            &self.connections;
        writeln!(
            out,
            "connections  asked {asked}, opened {opened} in {dial_s:.2} s, failed {failed}, lost {lost}; \
             pings answered {pings_answered}"
        )?;
        for (cause, count) in causes {
            writeln!(out, "             {count}: {cause}")?;
        }
        self.write_messages(out)?;
        for (title, latency) in
            [("from due", &self.latency_us), ("from sent", &self.latency_raw_us)]
        {
            if let Some(latency) = latency {
                latency.write_text(title, out)?;
            }
        }
        if let Some(server) = &self.server {
            server.write_text(self.unit(), out)?;
        }
        let generator = &self.generator;
        write!(out, "generator    {:.1} % of a core", generator.cpu_percent)?;
        if let Some(us) = generator.cpu_us_per_message {
            write!(out, ", {us:.2} us a {}", self.unit())?;
        }
        if let Some(us) = generator.lag_p99_us {
            write!(out, ", behind schedule p99 {us:.0} us")?;
        }
        writeln!(out)?;
        if let Some(why) = &generator.why {
            writeln!(out, "not valid    {why}")?;
        }
        for slo::Outcome { expression, value, pass } in &self.slo {
            let value = value.map_or("nothing was measured".to_owned(), |v| format!("{v:.0}"));
            let word = if *pass { "met" } else { "missed" };
            writeln!(out, "objective    {expression}: {word}, {value}")?;
        }
        Ok(())
    }
}

impl Latency {
    /// One line of the table for people.
    pub(crate) fn write_text(&self, title: &str, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "{title:12} p50 {:.0}  p90 {:.0}  p99 {:.0}  p99.9 {:.0}  max {:.0}  mean {:.0} us",
            self.p50, self.p90, self.p99, self.p999, self.max, self.mean
        )
    }

    /// Of nanoseconds; `None`: nothing was measured.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| us(histogram.value_at_quantile(quantile));
        (!histogram.is_empty()).then(|| Self {
            min: us(histogram.min()),
            mean: histogram.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: us(histogram.max()),
            count: histogram.len(),
        })
    }
}

/// Writes the files asked for, but for those that were written while the run went on.
///
/// # Errors
/// The first that could not be written.
pub(crate) fn write(
    report: &Report,
    connect: &ConnectArgs,
    tally: &Tally,
) -> Result<(), output::FileError> {
    if let Some(path) = &connect.json {
        std::fs::write(path, report.json()).map_err(output::FileError::of(path))?;
    }
    if let Some(path) = &connect.output.html {
        let run = Recorded::parse(&report.json()).expect("just written");
        std::fs::write(path, page::page(&run)).map_err(output::FileError::of(path))?;
    }
    output::write_hgrm(&connect.output, tally)
}

fn us(ns: u64) -> f64 {
    ns as f64 / 1e3
}
