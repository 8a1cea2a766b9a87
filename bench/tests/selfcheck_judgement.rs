//! The real-time checks share the machine with their servers: a late one must not be taken for a
//! wrong generator, and a wrong figure must not be excused.

#[path = "../benches/selfcheck/judge.rs"]
mod judge;

use hdrhistogram::Histogram;
use judge::{Circumstances, Expected, Outcome, judge};
use serde_json::json;

/// What is said of a p99 of `read` ms that should be 20, when the server saw `seen` ms.
fn said(read: u64, seen: Option<u64>, busy: bool, valid: bool, server_lag: bool) -> Outcome {
    let report = json!({
        "latency_us": {"p99": read * 1_000},
        "generator": {"valid": valid, "why": (!valid).then_some("behind its schedule")},
    });
    let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("valid");
    if let Some(seen) = seen {
        histogram.record(seen * 1_000_000).expect("within a minute");
    }
    let run = Circumstances {
        server_lag: server_lag.then(|| "its answers left late".to_owned()),
        seen: histogram,
        busy: busy.then(|| "the machine was busy".to_owned()),
    };
    judge(&report, &run, &[Expected { path: "latency_us.p99", value: 20_000.0, tolerance: 0.05 }])
}

#[test]
fn a_figure_that_is_off_is_the_generators_fault_only_if_nobody_else_was_late() {
    let as_it_should = said(20, Some(20), false, true, false);
    assert!(
        matches!(&as_it_should, Outcome::Passed(text) if text.contains("20000 of")),
        "{as_it_should:?}"
    );
    // The server saw what the generator found.
    let late = said(23, Some(23), false, true, false);
    assert!(matches!(&late, Outcome::Invalid(why) if why.contains("the server was late")));
    // It did not, or did not look.
    for seen in [Some(20), Some(30), None] {
        let wrong = said(23, seen, false, true, false);
        assert!(
            matches!(&wrong, Outcome::Failed(text) if text.contains("23000 of")),
            "{seen:?}: {wrong:?}"
        );
        // Nobody can tell where the time went.
        let busy = said(23, seen, true, true, false);
        assert!(matches!(&busy, Outcome::Invalid(why) if why.contains("busy")), "{busy:?}");
    }
    // A figure that is right all the same is none when somebody lagged.
    for outcome in [said(20, Some(20), false, false, false), said(20, Some(20), false, true, true)]
    {
        assert!(matches!(outcome, Outcome::Invalid(_)), "never passed: {outcome:?}");
    }
}
