//! G1 to G5: what the figures must come to, and that a run says so when they are not the server's.

use super::{MILLISECOND, Ran, Run, SECOND, simulate};

const STEADY: Run = Run { rate: 1000, connections: 100, seconds: 20, oversleep_ns: 0 };

/// Within a thousandth, what the histograms keep.
#[track_caller]
fn assert_close(ran: &Ran, path: &str, expected: f64, tolerance: f64) {
    let value = ran.number(path);
    let off = (value / expected - 1.0).abs();
    assert!(off <= tolerance, "{path} is {value}, not {expected}: {}", ran.report);
}

#[test]
fn g1_a_stall_counts_for_every_message_it_held_up() {
    // Nothing is answered for the first 200 ms of every 2 s, and all of it right after.
    let mut stalling = |now_ns: u64, _| {
        let into_cycle = now_ns % (2 * SECOND);
        let ready_ns = now_ns - into_cycle + 200 * MILLISECOND;
        vec![now_ns.max(ready_ns) + MILLISECOND / 10]
    };
    let ran = simulate(Run { connections: 10, ..STEADY }, &mut stalling);
    // A message due t into the stall takes 200 ms - t: 1 % of all take more than 180 ms.
    assert_close(&ran, "latency_us.p99", 180_000.0, 0.05);
    assert_close(&ran, "latency_us.max", 200_100.0, 0.001);
    // Counted from sending, ten messages of each 2000 saw it: at p99 there is nothing to see.
    assert_close(&ran, "latency_raw_us.p99", 100.0, 0.001);
    assert_close(&ran, "latency_raw_us.p999", 200_000.0, 0.1);
    assert_eq!(ran.number("messages.lost"), 0.0);
    assert_eq!(ran.report["generator"]["valid"], true);
}

#[test]
fn g2_known_latencies_are_found_to_three_digits() {
    let ran = simulate(STEADY, &mut |now_ns, _| vec![now_ns + 5 * MILLISECOND]);
    for figure in ["min", "mean", "p50", "p90", "p99", "p999", "max"] {
        assert_close(&ran, &format!("latency_us.{figure}"), 5_000.0, 0.001);
        assert_close(&ran, &format!("latency_raw_us.{figure}"), 5_000.0, 0.001);
    }
    // One in twenty takes 50 ms, the others 2 ms.
    let mut bimodal =
        |now_ns: u64, number| vec![now_ns + if number % 20 == 0 { 50 } else { 2 } * MILLISECOND];
    let ran = simulate(STEADY, &mut bimodal);
    for (figure, us) in [("p50", 2_000.0), ("p90", 2_000.0), ("p99", 50_000.0), ("p999", 50_000.0)]
    {
        assert_close(&ran, &format!("latency_us.{figure}"), us, 0.001);
    }
    assert_close(&ran, "latency_us.mean", 0.95 * 2_000.0 + 0.05 * 50_000.0, 0.001);
}

#[test]
fn g3_the_ledger_finds_the_faults_to_the_message() {
    let mut faulty = |now_ns: u64, number: u64| {
        let soon = now_ns + MILLISECOND;
        // The messages of the warm-up are sound.
        match number.checked_sub(10_000).map(|number| number % 10_000) {
            Some(1_111) => vec![],
            Some(2_222) => vec![soon, soon + 1],
            // Behind the twenty or so that follow once it is given up.
            Some(3_333) => vec![now_ns + 5 * SECOND / 2],
            _ => vec![soon],
        }
    };
    let ran = simulate(Run { rate: 10_000, connections: 1000, seconds: 10, ..STEADY }, &mut faulty);
    assert_eq!(ran.number("messages.expected"), 100_000.0);
    assert_eq!(ran.number("messages.delivered"), 100_000.0 - 10.0);
    for fault in ["lost", "duplicated", "reordered"] {
        assert_eq!(ran.number(&format!("messages.{fault}")), 10.0, "{fault}: {}", ran.report);
    }
    assert_eq!(ran.number("messages.unknown"), 0.0);
}

#[test]
fn g4_the_rate_is_kept_and_a_late_generator_says_so() {
    for rate in [1_000, 10_000, 50_000] {
        let run = Run { rate, seconds: 5, oversleep_ns: MILLISECOND / 5, ..STEADY };
        let ran = simulate(run, &mut |now_ns, _| vec![now_ns + MILLISECOND / 10]);
        assert_eq!(ran.number("messages.sent"), (5 * rate) as f64);
        assert_close(&ran, "rate.achieved", rate as f64, 0.005);
        assert_eq!(ran.report["generator"]["valid"], true, "{}", ran.report);
    }
    let slow = |oversleep_ns| {
        let run = Run { seconds: 5, oversleep_ns, ..STEADY };
        simulate(run, &mut |now_ns, _| vec![now_ns + MILLISECOND / 10])
    };
    let ran = slow(3 * MILLISECOND);
    assert_close(&ran, "generator.lag_p99_us", 3_000.0, 0.001);
    assert_eq!(ran.report["generator"]["valid"], false);
    let why = ran.report["generator"]["why"].as_str().expect("a reason");
    assert!(why.contains("behind its schedule by 3"), "{why}");
    // What it makes late is in the figures of the run it makes invalid, not hidden.
    assert_close(&ran, "latency_us.p99", 3_100.0, 0.001);
    assert_close(&ran, "latency_raw_us.p99", 100.0, 0.001);
    assert_eq!(slow(999 * MILLISECOND / 1_000).report["generator"]["valid"], true);
}

#[test]
fn g5_what_is_under_way_is_rate_times_latency() {
    let mut random = fastrand::Rng::with_seed(7);
    // From 1 ms to 40 ms: some connections are still waiting when their next message is due.
    let mut uneven = |now_ns: u64, _| vec![now_ns + random.u64(1..40) * MILLISECOND];
    let run = Run { rate: 2_000, ..STEADY };
    let ran = simulate(run, &mut uneven);
    for (held, latency) in [(ran.held_mean, "latency_us"), (ran.out_mean, "latency_raw_us")] {
        let law = ran.number("rate.achieved") * ran.number(&format!("{latency}.mean")) / 1e6;
        assert!((held / law - 1.0).abs() < 0.05, "{latency}: {held} and {law}");
    }
}
