//! What a try of a check came to: a figure that is off is the generator's fault only if the server
//! did not see the same, and the machine was free.

use hdrhistogram::Histogram;
use serde_json::Value;

/// What one try of a check came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    Passed(String),
    Failed(String),
    /// The generator, the server or the machine lagged.
    Invalid(String),
}

/// One figure of a check: what was read and what it must be.
pub(crate) struct Expected<'a> {
    pub(crate) path: &'a str,
    pub(crate) value: f64,
    /// As a part of `value`.
    pub(crate) tolerance: f64,
}

/// What is known of a run besides its report.
pub(crate) struct Circumstances {
    /// Why the server's answers did not leave when they should have.
    pub server_lag: Option<String>,
    /// From due to left, in nanoseconds, as the server saw it; empty: it did not look.
    pub(crate) seen: Histogram<u64>,
    /// Why a figure may be off without anybody's fault.
    pub(crate) busy: Option<String>,
}

/// Passed if every figure is as expected and neither the generator nor the server lagged.
pub(crate) fn judge(report: &Value, run: &Circumstances, expected: &[Expected<'_>]) -> Outcome {
    if let Some(why) = lagged(report).or_else(|| run.server_lag.clone()) {
        return Outcome::Invalid(why);
    }
    let mut texts = Vec::new();
    let mut faults = Vec::new();
    let mut excuses = Vec::new();
    for Expected { path, value, tolerance } in expected {
        let is_near = |one: f64, other: f64| (one / other - 1.0).abs() <= *tolerance;
        let read = number(report, path);
        let text = format!("{path} {read:.0} of {value:.0}");
        if !is_near(read, *value) {
            match figure(&run.seen, path) {
                Some(seen) if !is_near(seen, *value) && is_near(read, seen) => {
                    excuses.push(format!("{text}: the server was late, and saw {seen:.0}"));
                }
                _ => faults.push(text.clone()),
            }
        }
        texts.push(text);
    }
    match (faults.is_empty(), excuses.is_empty(), &run.busy) {
        (true, true, _) => Outcome::Passed(texts.join(", ")),
        (true, false, _) => Outcome::Invalid(excuses.join(", ")),
        (false, _, Some(busy)) => Outcome::Invalid(format!("{}; {busy}", faults.join(", "))),
        (false, _, None) => Outcome::Failed(texts.join(", ")),
    }
}

/// The figure of the report at `path` as the server saw it, in microseconds.
fn figure(seen: &Histogram<u64>, path: &str) -> Option<f64> {
    let ns = match path.strip_prefix("latency_us.").filter(|_| !seen.is_empty())? {
        "min" => seen.min() as f64,
        "mean" => seen.mean(),
        "p50" => seen.value_at_quantile(0.5) as f64,
        "p90" => seen.value_at_quantile(0.9) as f64,
        "p99" => seen.value_at_quantile(0.99) as f64,
        _ => return None,
    };
    Some(ns / 1e3)
}

/// A number of a report: `latency_us.p99`.
pub(crate) fn number(report: &Value, path: &str) -> f64 {
    let value = path.split('.').fold(report, |value, name| &value[name]);
    value.as_f64().unwrap_or_else(|| panic!("{path} in {report}"))
}

/// Why the report says that its figures are not the server's.
pub(crate) fn lagged(report: &Value) -> Option<String> {
    let generator = &report["generator"];
    (generator["valid"] != true).then(|| generator["why"].to_string())
}
