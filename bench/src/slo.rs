//! Objectives a run is held to: `p99<=50ms,loss=0`.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// Objectives, all of which must be met.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Slo {
    objectives: Vec<Objective>,
}

/// What a figure is called in an objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    /// A percentile of the latency from due, in microseconds.
    P50,
    P90,
    P99,
    P999,
    /// The longest latency from due.
    Max,
    /// The mean latency from due.
    Mean,
    /// Messages lost without an explanation.
    Loss,
    /// Messages that came twice.
    Duplicated,
    /// Messages that came behind a later one.
    Reordered,
    /// Messages dropped by the server's stated policy.
    Dropped,
    /// Messages or deliveries a second.
    Rate,
    /// Connections that failed or were lost.
    Failed,
}

/// One objective, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Outcome {
    /// As it was written.
    pub(crate) expression: String,
    /// What was measured, in the unit of the JSON field; `None`: nothing was.
    pub(crate) value: Option<f64>,
    /// Whether it was met. What was not measured was not met.
    pub(crate) pass: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Objective {
    expression: String,
    metric: Metric,
    relation: Relation,
    /// Latencies in microseconds.
    bound: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    AtMost,
    Below,
    AtLeast,
    Above,
    Equal,
}

impl Slo {
    /// Holds each objective against what `measure` says of its metric.
    pub(crate) fn judge(&self, measure: impl Fn(Metric) -> Option<f64>) -> Vec<Outcome> {
        let judge = |objective: &Objective| {
            let value = measure(objective.metric);
            Outcome {
                expression: objective.expression.clone(),
                value,
                pass: value.is_some_and(|value| objective.relation.holds(value, objective.bound)),
            }
        };
        self.objectives.iter().map(judge).collect()
    }

    /// The first bound of `metric`, latencies in microseconds.
    pub(crate) fn bound(&self, metric: Metric) -> Option<f64> {
        let first = self.objectives.iter().find(|objective| objective.metric == metric);
        first.map(|objective| objective.bound)
    }

    /// Whether an objective bounds `metric`: then it alone says how much of it is acceptable.
    pub(crate) fn bounds(&self, metric: Metric) -> bool {
        self.bound(metric).is_some()
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.objectives.iter().map(|one| one.expression.as_str()).collect();
        out.write_str(&texts.join(", "))
    }
}

impl Relation {
    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::AtMost => value <= bound,
            Self::Below => value < bound,
            Self::AtLeast => value >= bound,
            Self::Above => value > bound,
            Self::Equal => value == bound,
        }
    }
}

impl Metric {
    fn is_latency(self) -> bool {
        use Metric::*;
        matches!(self, P50 | P90 | P99 | P999 | Max | Mean)
    }
}

impl FromStr for Slo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let objectives = text.split(',').map(objective).collect::<Result<_, _>>()?;
        Ok(Self { objectives })
    }
}

fn objective(text: &str) -> Result<Objective, String> {
    let text = text.trim();
    let malformed = || format!("write an objective such as p99<=50ms or loss=0, not {text:?}");
    let at = text.find(['<', '>', '=']).ok_or_else(malformed)?;
    let (name, rest) = text.split_at(at);
    // The two-character relations first: each begins with one of the others.
    let (relation, value) = [
        ("<=", Relation::AtMost),
        (">=", Relation::AtLeast),
        ("<", Relation::Below),
        (">", Relation::Above),
        ("=", Relation::Equal),
    ]
    .into_iter()
    .find_map(|(sign, relation)| Some((relation, rest.strip_prefix(sign)?)))
    .ok_or_else(malformed)?;
    let metric = metric(name.trim()).ok_or_else(|| {
        format!(
            "{:?} is no figure: there are p50, p90, p99, p99.9, max, mean, loss, duplicated, \
             reordered, dropped, rate, failed",
            name.trim()
        )
    })?;
    let bound = bound(value.trim(), metric.is_latency()).ok_or_else(malformed)?;
    Ok(Objective { expression: text.to_owned(), metric, relation, bound })
}

fn metric(name: &str) -> Option<Metric> {
    Some(match name {
        "p50" => Metric::P50,
        "p90" => Metric::P90,
        "p99" => Metric::P99,
        "p99.9" | "p999" => Metric::P999,
        "max" => Metric::Max,
        "mean" => Metric::Mean,
        "loss" => Metric::Loss,
        "duplicated" => Metric::Duplicated,
        "reordered" => Metric::Reordered,
        "dropped" => Metric::Dropped,
        "rate" => Metric::Rate,
        "failed" => Metric::Failed,
        _ => return None,
    })
}

/// A count, or a time with its unit as microseconds.
fn bound(text: &str, is_time: bool) -> Option<f64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match (is_time, unit) {
        (false, "") | (true, "us") => 1.0,
        (true, "ms") => 1e3,
        (true, "s") => 1e6,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objectives_are_met_or_missed_at_their_bound() {
        for (text, value, pass) in [
            ("p99<=50ms", 50_000.0, true),
            ("p99<=50ms", 50_000.1, false),
            ("p99.9 < 1s", 1e6, false),
            ("max<250us", 249.0, true),
            ("loss=0", 0.0, true),
            ("loss=0", 1.0, false),
            ("rate>=1000", 1000.0, true),
            ("rate>1000", 1000.0, false),
        ] {
            let slo: Slo = text.parse().expect(text);
            let outcome = &slo.judge(|_| Some(value))[0];
            assert_eq!(outcome.pass, pass, "{text} {value}");
            assert_eq!(outcome.expression, text);
        }
    }

    #[test]
    fn several_are_judged_each_and_the_unmeasured_is_missed() {
        let slo: Slo = "p99<=50ms, loss=0".parse().expect("two objectives");
        let outcomes = slo.judge(|metric| (metric == Metric::Loss).then_some(0.0));
        let passes: Vec<_> = outcomes.iter().map(|outcome| outcome.pass).collect();
        assert_eq!(passes, [false, true]);
        assert!(slo.bounds(Metric::Loss) && !slo.bounds(Metric::Rate));
    }

    #[test]
    fn what_is_no_objective() {
        for wrong in
            ["", "p99", "p99<=", "p99<=50", "p99<=50m", "p98<1s", "loss=0ms", "loss=0,", "<1"]
        {
            assert!(wrong.parse::<Slo>().is_err(), "{wrong}");
        }
    }
}
