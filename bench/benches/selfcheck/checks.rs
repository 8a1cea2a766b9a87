//! G1, G2, G4, G5 and G10 in real time.

use std::time::Duration;

use serde_json::Value;

use super::{PROGRAM, bench, stub};
use crate::judge::{self, Circumstances, Expected, Outcome, lagged, number};
use crate::stub::Stub;
use crate::watch::Watch;

/// A check; `true`: its short form.
type Check = fn(bool) -> Outcome;

pub(super) const ALL: &[(&str, Check)] = &[
    ("judgement", judgement),
    ("g1-stall", stall),
    ("g2-constant-latency", constant),
    ("g2-bimodal-latency", bimodal),
    ("g4-rate", rate),
    ("g5-littles-law", littles_law),
    ("g10-compare", compare),
];

/// A run, and whether the machine was too busy for it.
struct Told {
    report: Value,
    busy: Option<String>,
}

/// Passed if every figure is as expected.
fn judge(stub: &Stub, told: &Told, expected: &[Expected<'_>]) -> Outcome {
    let Told { report, busy } = told;
    let (server_lag, seen) = (stub.lagged(), stub.since_due(WARM_UP));
    judge::judge(report, &Circumstances { server_lag, seen, busy: busy.clone() }, expected)
}

/// `echo` at `rate` over `connections`, for so many seconds.
fn echo(stub: &Stub, rate: u32, connections: u32, seconds: u32) -> Told {
    let (rate, connections) = (rate.to_string(), connections.to_string());
    let duration = format!("{seconds}s");
    let warm_up = format!("{}ms", WARM_UP.as_millis());
    stub.begin();
    let watch = Watch::begin();
    let report = bench(&[
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
        &warm_up,
    ]);
    Told { report, busy: watch.end() }
}

/// What is due before is not measured.
const WARM_UP: Duration = Duration::from_millis(500);

/// The judgement is on trial first: it must not take a late server for a wrong generator, nor
/// excuse a wrong figure.
fn judgement(_: bool) -> Outcome {
    // One message in fifty is noticed 5 ms late: p99 is 25 ms, and that is not the generator.
    let late = stub::serve_late(
        |came, _| came + Duration::from_millis(20),
        |number| Duration::from_millis(if number % 50 == 7 { 5 } else { 0 }),
    );
    let p99 = [Expected { path: "latency_us.p99", value: 20_000.0, tolerance: 0.05 }];
    let told = echo(&late, 500, 50, 6);
    let judged = judge(&late, &told, &p99);
    match &judged {
        Outcome::Invalid(why) if why.contains("the server was late, and saw") => {}
        Outcome::Invalid(_) => return judged,
        Outcome::Passed(text) | Outcome::Failed(text) => {
            return Outcome::Failed(format!("a late server was not told: {text}"));
        }
    }
    let punctual = stub::serve(|came, _| came + Duration::from_millis(20));
    let mut told = echo(&punctual, 500, 50, 2);
    told.report["latency_us"]["p99"] = 25_000.into();
    match judge(&punctual, &told, &p99) {
        Outcome::Failed(_) => Outcome::Passed("a late server and a wrong figure are told".into()),
        Outcome::Passed(text) => Outcome::Failed(format!("a wrong figure passed: {text}")),
        invalid => invalid,
    }
}

/// G1: nothing is answered for 200 ms of every 2 s. Counted from due, 1 % of the messages took
/// longer than 180 ms; counted from sent, too few for p99 to see.
fn stall(is_short: bool) -> Outcome {
    let stub = stub::serve(|came, _| {
        let into_cycle = Duration::from_nanos((came.as_nanos() % 2_000_000_000) as u64);
        came.max(came + Duration::from_millis(200).saturating_sub(into_cycle))
    });
    let told = echo(&stub, 1000, 5, if is_short { 4 } else { 20 });
    let p99 = Expected { path: "latency_us.p99", value: 180_000.0, tolerance: 0.05 };
    let outcome = judge(&stub, &told, &[p99]);
    let raw = number(&told.report, "latency_raw_us.p99");
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
    let told = echo(&stub, 500, 50, if is_short { 2 } else { 10 });
    let at = |path| Expected { path, value: 20_000.0, tolerance: 0.05 };
    judge(
        &stub,
        &told,
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
    let told = echo(&stub, 200, 50, if is_short { 5 } else { 20 });
    let at = |path, value| Expected { path, value, tolerance: 0.05 };
    judge(
        &stub,
        &told,
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
        let run = echo(&stub, rate, 50, if is_short { 1 } else { 5 });
        let value = f64::from(rate);
        match judge(&stub, &run, &[Expected { path: "rate.achieved", value, tolerance: 0.005 }]) {
            Outcome::Passed(text) => {
                let lag = number(&run.report, "generator.lag_p99_us");
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
    // A closed loop cannot be behind its schedule, and its label says whose limit it shows: here
    // that is nobody's.
    let Told { report, busy } = echo(&stub, 0, 50, if is_short { 2 } else { 10 });
    let law = number(&report, "rate.achieved") * number(&report, "latency_us.mean") / 1e6;
    let told = format!("rate times latency is {law:.2}, under way were 50");
    match busy {
        _ if (law / 50.0 - 1.0).abs() < 0.05 => Outcome::Passed(told),
        Some(busy) => Outcome::Invalid(format!("{told}; {busy}")),
        None => Outcome::Failed(told),
    }
}

/// G10: five pairs of equal runs are not told apart at p99, a tenth more is.
fn compare(is_short: bool) -> Outcome {
    let stub = stub::serve(|came, number| came + Duration::from_micros(20_000 + number % 7 * 300));
    let slow = stub::serve(|came, number| came + Duration::from_micros(22_000 + number % 7 * 330));
    let pairs = if is_short { 1 } else { 5 };
    let run = |stub: &Stub| {
        // Eight seconds are the fewest that can be told from chance.
        let Told { report, busy } = echo(stub, 1000, 50, 8);
        lagged(&report).or_else(|| stub.lagged()).or(busy).map_or(Ok(report), Err)
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
