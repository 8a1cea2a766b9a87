//! G10: a planted change is told, equal runs are not told apart, unequal scenarios are refused.

use serde_json::Value;

use super::*;
use crate::output::Sample;
use crate::recorded::Fields;

/// A run of so many seconds whose latencies are `us` times what chance makes of `seed`.
fn run(us: f64, seconds: u32, seed: u64) -> Recorded {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut run = Recorded::parse(
        r#"{"tool": {"command": "tidegate-bench echo --size 64"},
            "scenario": {"command": "echo", "size": 64, "connections": 10, "rate": 1000},
            "rate": {"asked": 1000, "achieved": 1000}, "generator": {"valid": true}}"#,
    )
    .expect("JSON");
    run.scenario.insert("duration_s".to_owned(), seconds.into());
    let mut all = Vec::new();
    for at in 0..seconds {
        // Seconds differ among each other, as they do on a busy machine.
        let weather = 0.95 + 0.1 * random.f64();
        let mut values: Vec<_> =
            (0..1000).map(|_| us * weather * (1.0 - random.f64().ln() / 4.0)).collect();
        values.sort_by(f64::total_cmp);
        let latency = fields(&values);
        let latency = serde_json::from_value(latency.into()).expect("the same fields");
        let (length_s, rate) = (1.0, 1000.0);
        run.intervals.push(Sample {
            at_s: at.into(),
            length_s,
            sent: 1000,
            rate,
            latency_us: Some(latency),
            server_cpu_percent: None,
            server_rss_bytes: None,
        });
        all.append(&mut values);
    }
    all.sort_by(f64::total_cmp);
    run.latency_us = Some(fields(&all));
    run
}

fn fields(sorted: &[f64]) -> Fields {
    let at =
        |quantile: f64| sorted[((sorted.len() as f64 * quantile) as usize).min(sorted.len() - 1)];
    let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
    let pairs = [
        ("p50", at(0.5)),
        ("p90", at(0.9)),
        ("p99", at(0.99)),
        ("p999", at(0.999)),
        ("max", at(1.0)),
    ];
    let pairs = pairs.into_iter().chain([("mean", mean)]);
    pairs.map(|(name, value)| (name.to_owned(), value.into())).collect()
}

fn findings(old: &Recorded, new: &Recorded) -> Vec<(&'static str, Finding)> {
    let comparison = Comparison::of(old, new).expect("one scenario");
    comparison.rows.iter().map(|row| (row.name, row.finding)).collect()
}

fn finding(old: &Recorded, new: &Recorded, name: &str) -> Finding {
    findings(old, new).iter().find(|(found, _)| *found == name).expect("a row").1
}

#[test]
fn a_planted_tenth_is_told_both_ways() {
    for seed in 0..20 {
        let (old, new) = (run(100.0, 30, seed), run(110.0, 30, seed + 1000));
        assert_eq!(finding(&old, &new, "p99"), Finding::Worse, "seed {seed}");
        assert_eq!(finding(&new, &old, "p99"), Finding::Better, "seed {seed}");
        assert_eq!(Comparison::of(&old, &new).expect("one scenario").code(), 2);
        assert_eq!(Comparison::of(&new, &old).expect("one scenario").code(), 0);
    }
}

#[test]
fn equal_runs_are_not_told_apart() {
    for seed in 0..50 {
        let (old, new) = (run(100.0, 10, seed), run(100.0, 10, seed + 1000));
        for (name, finding) in findings(&old, &new) {
            let quiet = [Finding::Same, Finding::Shown, Finding::Unclear].contains(&finding);
            assert!(quiet, "seed {seed}: {name} {finding:?}");
        }
    }
}

#[test]
fn one_bad_second_and_short_runs_are_unclear() {
    let old = run(100.0, 10, 1);
    let mut new = run(100.0, 10, 1);
    let latency = new.latency_us.as_mut().expect("latencies");
    latency.insert("p999".to_owned(), 5000.into());
    new.intervals[3].latency_us.as_mut().expect("latencies").p999 = 50_000.0;
    assert_eq!(finding(&old, &new, "p99.9"), Finding::Unclear);
    assert_eq!(finding(&run(100.0, 7, 1), &run(200.0, 7, 2), "p99"), Finding::Unclear);
    assert_eq!(finding(&run(100.0, 8, 1), &run(200.0, 8, 2), "p99"), Finding::Worse);
}

#[test]
fn the_server_is_judged_by_its_seconds_too() {
    let with_cpu = |percent: f64, seed| {
        let mut run = run(100.0, 10, seed);
        let cpu_us = percent * 1e4 / 1000.0;
        run.server = Some([("cpu_us_per_message".to_owned(), cpu_us.into())].into_iter().collect());
        for (index, second) in run.intervals.iter_mut().enumerate() {
            // The last one has none: the load has ended in it.
            let chance = 1.0 + (index as f64 - 4.5) / 1000.0;
            second.server_cpu_percent = (index < 9).then_some(percent * chance);
        }
        run
    };
    let name = "server CPU a message";
    assert_eq!(finding(&with_cpu(10.0, 1), &with_cpu(10.4, 2), name), Finding::Same);
    assert_eq!(finding(&with_cpu(10.0, 1), &with_cpu(11.0, 2), name), Finding::Worse);
    assert_eq!(finding(&with_cpu(10.0, 1), &with_cpu(9.0, 2), name), Finding::Better);
    assert_eq!(finding(&with_cpu(0.0, 1), &with_cpu(0.0, 2), name), Finding::Same);
    let without = run(1.0, 8, 1);
    assert!(findings(&with_cpu(1.0, 1), &without).iter().all(|(found, _)| *found != name));
}

#[test]
fn a_figure_read_once_must_be_further_off() {
    let with_memory = |bytes: f64, opened: u32| {
        let mut run = run(100.0, 10, 1);
        run.connections.insert("opened".to_owned(), opened.into());
        run.server =
            Some([("rss_per_connection_bytes".to_owned(), bytes.into())].into_iter().collect());
        run
    };
    let name = "server a connection";
    let old = with_memory(1000.0, 1000);
    assert_eq!(finding(&old, &with_memory(1090.0, 1000), name), Finding::Same);
    assert_eq!(finding(&old, &with_memory(1110.0, 1000), name), Finding::Worse);
    assert_eq!(finding(&old, &with_memory(900.0, 1000), name), Finding::Better);
    // What a few connections cost is below what a process grows by on its own.
    let few = with_memory(1.0, 999);
    assert!(findings(&old, &few).iter().all(|(found, _)| *found != name));
}

#[test]
fn a_lost_message_is_worse_whatever_the_rest() {
    let old = run(100.0, 10, 1);
    let mut new = old.clone();
    new.messages.insert("lost".to_owned(), 1.into());
    assert_eq!(finding(&old, &new, "lost"), Finding::Worse);
    assert_eq!(finding(&new, &old, "lost"), Finding::Better);
    assert_eq!(finding(&new, &new, "lost"), Finding::Shown);
}

#[test]
fn other_scenarios_are_refused_with_what_differs() {
    let old = run(100.0, 10, 1);
    for (name, value, said) in [
        ("size", 128.into(), "size 64 and 128"),
        ("rate", Value::Null, "rate 1000 and none"),
        ("connections", 11.into(), "connections 10 and 11"),
    ] {
        let mut new = old.clone();
        new.scenario.insert(name.to_owned(), value);
        let error = Comparison::of(&old, &new).expect_err("another scenario").to_string();
        assert_eq!(
            error,
            format!(
                "these are runs of different scenarios, old and new:\n    {said}\n\
                 run the new one like the old one, but for its files: tidegate-bench echo --size 64"
            )
        );
    }
}

#[test]
fn what_has_no_figures_is_not_equal() {
    let limit = Recorded::parse(r#"{"scenario": {"command": "limit"}}"#).expect("JSON");
    let error = Comparison::of(&limit, &limit).expect_err("nothing to compare").to_string();
    assert_eq!(error, "a run of limit has no figures that could be compared");
}

#[test]
fn a_run_that_is_not_valid_says_nothing() {
    let (old, mut new) = (run(100.0, 10, 1), run(200.0, 10, 2));
    new.generator.insert("valid".to_owned(), false.into());
    new.generator.insert("why".to_owned(), "it slept".into());
    let comparison = Comparison::of(&old, &new).expect("one scenario");
    assert_eq!(comparison.code(), 3);
    let said = comparison.to_string();
    assert!(said.contains("the new run is not valid: it slept"), "{said}");
    assert!(said.ends_with("verdict: invalid.\n"), "{said}");
}

#[test]
fn what_else_differs_is_noted() {
    let old = run(100.0, 10, 1);
    let mut new = run(100.0, 12, 1);
    new.environment.insert("kernel".to_owned(), "6.18".into());
    new.tool.insert("commit".to_owned(), "abc".into());
    let said = Comparison::of(&old, &new).expect("one scenario").to_string();
    assert!(said.contains("note: kernel (not recorded) and 6.18\n"), "{said}");
    assert!(said.contains("note: commit (not recorded) and abc\n"), "{said}");
    assert!(said.contains("note: duration_s 10 and 12\n"), "{said}");
}
