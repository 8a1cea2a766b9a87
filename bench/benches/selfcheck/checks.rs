//! G1, G2, G4, G5 and G10 in real time.

use std::time::Duration;

use serde_json::Value;

use super::{Outcome, PROGRAM, bench, lagged, number, stub};
use crate::stub::Stub;

/// A check; `true`: its short form.
type Check = fn(bool) -> Outcome;

pub(super) const ALL: &[(&str, Check)] = &[
    ("g1-stall", stall),
    ("g2-constant-latency", constant),
    ("g2-bimodal-latency", bimodal),
    ("g4-rate", rate),
    ("g5-littles-law", littles_law),
    ("g10-compare", compare),
];

/// One figure of a check: what was read and what it must be.
struct Expected<'a> {
    path: &'a str,
    value: f64,
    /// As a part of `value`.
    tolerance: f64,
}

/// Passed if every figure is as expected and neither the generator nor the server lagged.
fn judge(stub: &Stub, report: &Value, expected: &[Expected<'_>]) -> Outcome {
    if let Some(why) = lagged(report).or_else(|| stub.lagged()) {
        return Outcome::Invalid(why);
    }
    let mut told = Vec::new();
    let mut is_off = false;
    for Expected { path, value, tolerance } in expected {
        let read = number(report, path);
        is_off |= (read / value - 1.0).abs() > *tolerance;
        told.push(format!("{path} {read:.0} of {value:.0}"));
    }
    let told = told.join(", ");
    if is_off { Outcome::Failed(told) } else { Outcome::Passed(told) }
}

/// `echo` at `rate` over `connections`, for so many seconds.
fn echo(stub: &Stub, rate: u32, connections: u32, seconds: u32) -> Value {
    let (rate, connections) = (rate.to_string(), connections.to_string());
    let duration = format!("{seconds}s");
    bench(&[
        "echo",
        "--url",
        &stub.url,
        "--rate",
        &rate,
        "--connections",
        &connections,
        "--duration",
        &duration,
        "--warm-up",
        "500ms",
    ])
}

/// G1: nothing is answered for 200 ms of every 2 s. Counted from due, 1 % of the messages took
/// longer than 180 ms; counted from sent, too few for p99 to see.
fn stall(is_short: bool) -> Outcome {
    let stub = stub::serve(|came, _| {
        let into_cycle = Duration::from_nanos((came.as_nanos() % 2_000_000_000) as u64);
        came.max(came + Duration::from_millis(200).saturating_sub(into_cycle))
    });
    let report = echo(&stub, 1000, 5, if is_short { 4 } else { 20 });
    let p99 = Expected { path: "latency_us.p99", value: 180_000.0, tolerance: 0.05 };
    let outcome = judge(&stub, &report, &[p99]);
    let raw = number(&report, "latency_raw_us.p99");
    match outcome {
        Outcome::Passed(told) if raw < 20_000.0 => {
            Outcome::Passed(format!("{told}; from sent, p99 hides it: {raw:.0}"))
        }
        Outcome::Passed(told) => Outcome::Failed(format!("{told}; from sent, p99 is {raw:.0}")),
        other => other,
    }
}

/// G2: every answer takes 20 ms.
fn constant(is_short: bool) -> Outcome {
    let stub = stub::serve(|came, _| came + Duration::from_millis(20));
    let report = echo(&stub, 500, 50, if is_short { 2 } else { 10 });
    let at = |path| Expected { path, value: 20_000.0, tolerance: 0.05 };
    judge(
        &stub,
        &report,
        &["min", "p50", "p90", "p99"].map(|name| match name {
            "min" => at("latency_us.min"),
            "p50" => at("latency_us.p50"),
            "p90" => at("latency_us.p90"),
            _ => at("latency_us.p99"),
        }),
    )
}

/// G2: one answer in twenty takes 100 ms, the others 20 ms.
fn bimodal(is_short: bool) -> Outcome {
    let stub = stub::serve(|came, number| {
        came + Duration::from_millis(if number % 20 == 10 { 100 } else { 20 })
    });
    let report = echo(&stub, 200, 50, if is_short { 5 } else { 20 });
    let at = |path, value| Expected { path, value, tolerance: 0.05 };
    judge(
        &stub,
        &report,
        &[
            at("latency_us.p50", 20_000.0),
            at("latency_us.p90", 20_000.0),
            at("latency_us.p99", 100_000.0),
            at("latency_us.mean", 24_000.0),
        ],
    )
}

/// G4: the rate is within 0.5 %, at 1k, 10k and 50k a second.
fn rate(is_short: bool) -> Outcome {
    let stub = stub::serve(|came, _| came);
    let mut told = Vec::new();
    for rate in [1_000, 10_000, 50_000] {
        let report = echo(&stub, rate, 50, if is_short { 1 } else { 5 });
        let value = f64::from(rate);
        match judge(&stub, &report, &[Expected { path: "rate.achieved", value, tolerance: 0.005 }])
        {
            Outcome::Passed(text) => {
                let lag = number(&report, "generator.lag_p99_us");
                told.push(format!("{text} (lag p99 {lag:.0} us)"));
            }
            Outcome::Failed(text) => return Outcome::Failed(text),
            Outcome::Invalid(text) => return Outcome::Invalid(format!("at {rate}/s: {text}")),
        }
    }
    Outcome::Passed(told.join(", "))
}

/// G5: a closed loop keeps every connection's message out: connections = rate times latency.
fn littles_law(is_short: bool) -> Outcome {
    let stub = stub::serve(|came, number| came + Duration::from_millis(5 + number % 10));
    let report = echo(&stub, 0, 50, if is_short { 2 } else { 10 });
    if let Some(why) = lagged(&report).or_else(|| stub.lagged()) {
        return Outcome::Invalid(why);
    }
    let law = number(&report, "rate.achieved") * number(&report, "latency_us.mean") / 1e6;
    let told = format!("rate times latency is {law:.2}, under way were 50");
    if (law / 50.0 - 1.0).abs() < 0.05 { Outcome::Passed(told) } else { Outcome::Failed(told) }
}

/// G10: five pairs of equal runs are not told apart at p99, a tenth more is.
fn compare(is_short: bool) -> Outcome {
    let stub = stub::serve(|came, number| came + Duration::from_micros(20_000 + number % 7 * 300));
    let slow = stub::serve(|came, number| came + Duration::from_micros(22_000 + number % 7 * 330));
    let pairs = if is_short { 1 } else { 5 };
    let run = |stub: &Stub| {
        // Eight seconds are the fewest that can be told from chance.
        let report = echo(stub, 1000, 50, 8);
        lagged(&report).or_else(|| stub.lagged()).map_or(Ok(report), Err)
    };
    let mut old = match run(&stub) {
        Ok(report) => report,
        Err(why) => return Outcome::Invalid(why),
    };
    let mut noise = 0;
    for pair in 0..pairs {
        let new = match run(&stub) {
            Ok(report) => report,
            Err(why) => return Outcome::Invalid(why),
        };
        noise += usize::from(p99(&old, &new) != "same" && p99(&old, &new) != "unclear");
        if pair + 1 == pairs {
            let worse = match run(&slow) {
                Ok(report) => p99(&new, &report),
                Err(why) => return Outcome::Invalid(why),
            };
            let told =
                format!("{pairs} equal pairs told apart {noise} times; a tenth more: {worse}");
            let is_right = noise == 0 && worse == "worse";
            return if is_right { Outcome::Passed(told) } else { Outcome::Failed(told) };
        }
        old = new;
    }
    unreachable!("there is a last pair")
}

/// What `compare` says of p99.
fn p99(old: &Value, new: &Value) -> String {
    let directory = std::env::temp_dir();
    let files = [("old", old), ("new", new)].map(|(name, report)| {
        let file = directory.join(format!("tidegate-compare-{}-{name}.json", std::process::id()));
        std::fs::write(&file, report.to_string()).expect("room for a file");
        file
    });
    let output = std::process::Command::new(PROGRAM)
        .arg("compare")
        .args(&files)
        .output()
        .expect("it starts");
    files.iter().for_each(|file| std::fs::remove_file(file).expect("just written"));
    let text = String::from_utf8_lossy(&output.stdout);
    let row = text.lines().find(|line| line.starts_with("p99, us")).unwrap_or_default();
    row.split_whitespace().last().unwrap_or_default().to_owned()
}
