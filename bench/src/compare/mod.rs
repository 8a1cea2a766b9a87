//! `compare`: whether a run is worse than an earlier one of the same scenario.
//!
//! A figure has changed if it is off by at least [`CHANGE_MIN`] and the seconds of the two runs
//! are further apart than chance puts them. A figure that was read once a run has no spread to
//! hold it against; it must be off by [`LONE_CHANGE_MIN`].

mod rank;
mod scenario;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use scenario::Differences;

use crate::cli::{complain, say};
use crate::output::{Sample, SampleLatency};
use crate::recorded::{Recorded, RecordedError, number, text};

/// What `compare` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct CompareArgs {
    /// What `--json` wrote of the earlier run.
    old: PathBuf,
    /// What it wrote of the later one.
    new: PathBuf,
}

/// Runs the command. Exit codes: 0 nothing is worse; 1 the runs cannot be compared; 2 something
/// is worse; 3 a run is not valid, so that its figures say nothing.
pub(crate) fn run(args: &CompareArgs) -> ExitCode {
    match compare_files(args) {
        Ok(comparison) => {
            say(comparison.to_string().trim_end());
            comparison.code().into()
        }
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}

fn compare_files(args: &CompareArgs) -> Result<Comparison, CompareError> {
    let (old, new) = (Recorded::read(&args.old)?, Recorded::read(&args.new)?);
    Comparison::of(&old, &new)
}

/// Why two runs cannot be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompareError {
    #[error(transparent)]
    File(#[from] RecordedError),
    #[error(
        "these are runs of different scenarios, old and new:\n    {}\nrun the new one like the old \
         one, but for its files: {command}",
        differences.join("\n    ")
    )]
    Scenarios { differences: Vec<String>, command: String },
    #[error("a run of {0} has no figures that could be compared")]
    NoFigures(String),
}

/// What came of a comparison.
#[derive(Debug)]
struct Comparison {
    rows: Vec<Row>,
    /// What else differs between the runs.
    notes: Vec<String>,
    /// Why a run's figures say nothing.
    invalid: Vec<String>,
}

/// One figure of both runs.
#[derive(Debug)]
struct Row {
    name: &'static str,
    unit: &'static str,
    old: f64,
    new: f64,
    finding: Finding,
}

/// What is to be said of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    /// No change that chance does not make.
    Same,
    Better,
    Worse,
    /// Off, but the seconds of the runs do not say so, or there are too few of them.
    Unclear,
    /// Shown, not judged.
    Shown,
}

/// How to find and judge a figure.
struct Figure {
    name: &'static str,
    unit: &'static str,
    of_run: fn(&Recorded) -> Option<f64>,
    of_second: Seconds,
    more_is_better: bool,
}

/// What the seconds of a run say of a figure.
enum Seconds {
    /// Its value in each.
    Each(fn(&Sample) -> Option<f64>),
    /// Nothing: it was read once.
    Lone,
    /// Nothing, and nothing is concluded: one event makes it.
    Event,
}

impl Comparison {
    /// Compares `new` with `old`, unless they are of different scenarios.
    fn of(old: &Recorded, new: &Recorded) -> Result<Self, CompareError> {
        let Differences { that_matter, beside: notes } = Differences::between(old, new);
        if !that_matter.is_empty() {
            let command = text(&old.tool, "command").unwrap_or("see its JSON").to_owned();
            return Err(CompareError::Scenarios { differences: that_matter, command });
        }
        let rows = FIGURES.iter().filter_map(|figure| figure.row(old, new));
        let mut rows: Vec<_> = rows.collect();
        rows.extend(FAULTS.iter().filter_map(|name| fault_row(name, old, new)));
        if rows.is_empty() {
            return Err(CompareError::NoFigures(old.command().to_owned()));
        }
        let invalid = [("old", old), ("new", new)].into_iter().filter_map(|(name, run)| {
            let why = text(&run.generator, "why").unwrap_or("its generator lagged");
            run.is_void().then(|| format!("the {name} run is not valid: {why}"))
        });
        Ok(Self { rows, notes, invalid: invalid.collect() })
    }

    fn count(&self, finding: Finding) -> usize {
        self.rows.iter().filter(|row| row.finding == finding).count()
    }

    fn code(&self) -> u8 {
        match (self.invalid.is_empty(), self.count(Finding::Worse)) {
            (false, _) => 3,
            (true, 0) => 0,
            (true, _) => 2,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:26} {:>12} {:>12} {:>7}", "", "old", "new", "ratio")?;
        for Row { name, unit, old, new, finding } in &self.rows {
            let ratio = if *old > 0.0 { format!("{:.3}", new / old) } else { String::new() };
            let title =
                if unit.is_empty() { (*name).to_owned() } else { format!("{name}, {unit}") };
            let (old, new) = (short(*old), short(*new));
            writeln!(f, "{title:26} {old:>12} {new:>12} {ratio:>7}  {}", finding.word())?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        for why in &self.invalid {
            writeln!(f, "{why}")?;
        }
        if self.count(Finding::Unclear) > 0 {
            writeln!(
                f,
                "unclear: the runs differ, but not their seconds; run longer, at least {} s",
                rank::READINGS_MIN
            )?;
        }
        let mut verdict = String::new();
        for finding in [Finding::Worse, Finding::Better, Finding::Unclear] {
            let names: Vec<_> =
                self.rows.iter().filter(|row| row.finding == finding).map(|row| row.name).collect();
            if !names.is_empty() {
                write!(verdict, "{}: {}. ", finding.word(), names.join(", "))?;
            }
        }
        if !self.invalid.is_empty() {
            verdict = "invalid. ".to_owned();
        } else if verdict.is_empty() {
            verdict = "no change. ".to_owned();
        }
        writeln!(f, "verdict: {}", verdict.trim_end())
    }
}

impl Finding {
    fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Unclear => "unclear",
            Self::Shown => "",
        }
    }
}

impl Figure {
    fn row(&self, old: &Recorded, new: &Recorded) -> Option<Row> {
        let (old_value, new_value) = ((self.of_run)(old)?, (self.of_run)(new)?);
        let finding = self.judge(old, new, new_value / old_value);
        let Self { name, unit, .. } = *self;
        Some(Row { name, unit, old: old_value, new: new_value, finding })
    }

    fn judge(&self, old: &Recorded, new: &Recorded, ratio: f64) -> Finding {
        let least = match self.of_second {
            Seconds::Each(_) => CHANGE_MIN,
            Seconds::Lone => LONE_CHANGE_MIN,
            Seconds::Event => return Finding::Shown,
        };
        // The ratio of nothing to nothing is neither.
        let (is_more, is_less) = (ratio > 1.0 + least, ratio < 1.0 / (1.0 + least));
        if !(is_more || is_less) {
            return Finding::Same;
        }
        if let Seconds::Each(of_second) = self.of_second {
            let readings = |run: &Recorded| -> Vec<f64> {
                run.intervals.iter().filter_map(of_second).collect()
            };
            let deviation = rank::deviation(&readings(old), &readings(new));
            let toward = if is_more { 1.0 } else { -1.0 };
            if deviation.is_none_or(|deviation| deviation * toward < DEVIATION_MIN) {
                return Finding::Unclear;
            }
        }
        if is_more == self.more_is_better { Finding::Better } else { Finding::Worse }
    }
}

/// A count that should be zero: one that was and is not any more is worse, whatever its size.
fn fault_row(name: &'static str, old: &Recorded, new: &Recorded) -> Option<Row> {
    let count = |run: &Recorded| number(&run.messages, name).unwrap_or(0.0);
    let (old, new) = (count(old), count(new));
    let finding = match (old == 0.0, new == 0.0) {
        (true, true) => return None,
        (true, false) => Finding::Worse,
        (false, true) => Finding::Better,
        (false, false) => Finding::Shown,
    };
    Some(Row { name, unit: "messages", old, new, finding })
}

/// Four digits that mean something.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        1000.0.. => 0,
        100.0.. => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

/// A figure of the latencies from due.
macro_rules! latency {
    ($field:ident, $name:literal) => {
        Figure {
            name: $name,
            unit: "us",
            of_run: |run| number(run.latency_us.as_ref()?, stringify!($field)),
            of_second: Seconds::Each(|second| Some(of(second)?.$field)),
            more_is_better: false,
        }
    };
}

/// The latencies of a second in which something was received.
fn of(second: &Sample) -> Option<&SampleLatency> {
    second.latency_us.as_ref()
}

/// Growth of the server's memory, if it is of enough connections.
fn memory_per_connection(run: &Recorded) -> Option<f64> {
    number(&run.connections, "opened").filter(|opened| *opened >= CONNECTIONS_MIN)?;
    number(run.server.as_ref()?, "rss_per_connection_bytes")
}

const FIGURES: &[Figure] = &[
    Figure {
        name: "rate",
        unit: "messages/s",
        of_run: |run| number(&run.rate, "achieved").filter(|rate| *rate > 0.0),
        of_second: Seconds::Each(|second| Some(second.rate)),
        more_is_better: true,
    },
    latency!(mean, "mean"),
    latency!(p50, "p50"),
    latency!(p90, "p90"),
    latency!(p99, "p99"),
    latency!(p999, "p99.9"),
    Figure {
        name: "max",
        unit: "us",
        of_run: |run| number(run.latency_us.as_ref()?, "max"),
        of_second: Seconds::Event,
        more_is_better: false,
    },
    Figure {
        name: "server CPU a message",
        unit: "us",
        of_run: |run| number(run.server.as_ref()?, "cpu_us_per_message"),
        of_second: Seconds::Each(|second| Some(second.server_cpu_percent? / second.rate)),
        more_is_better: false,
    },
    Figure {
        name: "server core a message",
        unit: "us",
        of_run: |run| number(run.server.as_ref()?, "core_busy_us_per_message"),
        of_second: Seconds::Lone,
        more_is_better: false,
    },
    Figure {
        name: "server a connection",
        unit: "B",
        of_run: memory_per_connection,
        of_second: Seconds::Lone,
        more_is_better: false,
    },
];

/// Counts of messages that should be zero.
const FAULTS: &[&str] = &["lost", "duplicated", "reordered", "unknown"];

/// Least change of a figure that is worth telling.
const CHANGE_MIN: f64 = 0.05;

/// The same, of a figure that was read once.
const LONE_CHANGE_MIN: f64 = 0.10;

/// Connections from which on a server's memory is theirs and not its own.
const CONNECTIONS_MIN: f64 = 1000.0;

/// Standard deviations of chance that make a change: 999 of 1000 pairs of equal runs stay below.
/// Several figures are looked at, so that one in a hundred would be told of too often.
const DEVIATION_MIN: f64 = 3.29;
