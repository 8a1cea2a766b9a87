//! Tests of the page as text; how it looks is for eyes.

use super::*;

fn run() -> Recorded {
    Recorded::parse(
        r#"{
            "tool": {"version": "0.1.0", "commit": null, "command": "tidegate-bench <script>"},
            "environment": {"kernel": "6.18", "cpu": "A & B", "cores": 2, "memory_bytes": 1073741824,
                "limits": {"open_files": 20000, "conntrack": null}},
            "scenario": {"command": "echo", "size": 64},
            "connections": {"asked": 1000, "opened": 999, "failed": 1, "causes": {"no \"port\"": 1}},
            "duration_s": 2.0,
            "rate": {"asked": 50000, "achieved": 49999.5},
            "messages": {"expected": 100000, "delivered": 100000, "lost": 0},
            "latency_us": {"p50": 80.4, "p99": 1234.5, "max": 2500000, "count": 100000},
            "latency_raw_us": {"p50": 70, "p99": 900, "max": 1000, "count": 100000},
            "generator": {"valid": true, "lag_p99_us": 12},
            "percentiles": [
                {"percentile": 0, "latency_us": 10, "latency_raw_us": 9},
                {"percentile": 99, "latency_us": 1234.5, "latency_raw_us": 900},
                {"percentile": 100, "latency_us": 2500000, "latency_raw_us": 1000}
            ],
            "intervals": [
                {"at_s": 0, "length_s": 1, "sent": 50000, "rate": 50000, "latency_us":
                    {"mean": 90, "p50": 80, "p90": 100, "p99": 200, "p999": 300, "max": 400}},
                {"at_s": 1, "length_s": 1, "sent": 50000, "rate": 49999, "latency_us": null}
            ],
            "of_a_later_version": [1, 2, 3]
        }"#,
    )
    .expect("JSON")
}

#[test]
fn an_image_stands_by_itself() {
    let image = image(&run()).expect("there are latencies");
    assert!(image.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""), "{image}");
    assert_eq!(image.matches("<polyline").count(), 2);
    for wanted in ["from due", "from sent", "99", "echo: 50\u{202f}000 messages/s"] {
        assert!(image.contains(wanted), "{wanted}\n{image}");
    }
    for unwanted in ["https://", "<script", "href", "url(", "@import", "NaN", "inf"] {
        assert!(!image.contains(unwanted), "{unwanted}");
    }
    let without = Recorded::parse(r#"{"scenario": {"command": "idle"}}"#).expect("JSON");
    assert_eq!(super::image(&without), None);
}

#[test]
fn a_page_holds_everything_and_asks_for_nothing() {
    let page = page(&run());
    for wanted in [
        "echo: 50\u{202f}000 messages/s, 1\u{202f}000 connections",
        "failed",
        "connections failed: 1",
        "1.23 ms",
        "2.5 s",
        "Latency by percentile",
        "Latency over time",
        "Messages a second over time",
        "1024 MiB",
        "A &amp; B",
        "tidegate-bench &lt;script&gt;",
        "no &quot;port&quot;",
        "open files",
    ] {
        assert!(page.contains(wanted), "{wanted}\n{page}");
    }
    for unwanted in ["http://", "https://", "<script", "src=", "url(", "@import", "NaN", "inf"] {
        assert!(!page.contains(unwanted), "{unwanted}");
    }
    assert_eq!(page.matches("<svg").count(), 3);
}

#[test]
fn a_run_without_messages_has_no_plots() {
    let mut run = run();
    (run.latency_us, run.latency_raw_us) = (None, None);
    run.percentiles.clear();
    for sample in &mut run.intervals {
        (sample.rate, sample.latency_us) = (0.0, None);
    }
    assert!(!page(&run).contains("<svg"));
    run.intervals.clear();
    assert!(!page(&run).contains("<svg"));
}

#[test]
fn what_the_run_says_of_itself_comes_first() {
    let mut run = run();
    let class = |run: &Recorded| {
        let page = page(run);
        let (_, rest) = page.split_once("<div class=\"verdict ").expect("a verdict");
        rest.split_once("</strong>").expect("words").0.to_owned()
    };
    assert_eq!(class(&run), "bad\"><strong>failed");
    run.connections.insert("failed".to_owned(), 0.into());
    assert_eq!(class(&run), "good\"><strong>pass");
    run.generator.insert("valid".to_owned(), false.into());
    assert_eq!(class(&run), "doubt\"><strong>invalid");
    run.verdict = Some("slo_missed".to_owned());
    assert_eq!(class(&run), "bad\"><strong>slo missed");
}

#[test]
fn figures_are_short() {
    for (value, text) in [(0.0, "0"), (0.126, "0.13"), (9.5, "9.5"), (12.04, "12"), (999.6, "1000")]
    {
        assert_eq!(plain(value), text);
    }
    for (us, text) in [(0.5, "0.5 µs"), (999.0, "999 µs"), (1234.5, "1.23 ms"), (2.5e6, "2.5 s")]
    {
        assert_eq!(time(us), text);
    }
    for (count, text) in
        [(0.0, "0"), (999.0, "999"), (1e3, "1\u{202f}000"), (-12345.0, "-12\u{202f}345")]
    {
        assert_eq!(grouped(count), text);
    }
    assert_eq!(bytes(2048.0), "2\u{202f}048 B");
    assert_eq!(bytes(20480.0), "20 KiB");
}

#[test]
fn a_plan_is_drawn_with_what_it_lacks_left_out() {
    let window = |rate: u64, p99: f64, outcome: &str| {
        format!(
            r#"{{"connections": 10, "rate": {rate}, "achieved": {rate}, "deliveries_per_s": {rate},
                "p50_us": 90, "p99_us": {p99}, "raw_p99_us": 80, "lag_p99_us": 5,
                "server_cores": 0.5, "generator_cores": 0.4, "outcome": "{outcome}", "why": null}}"#
        )
    };
    let windows =
        [window(100, 200.0, "pass"), window(200, 9e4, "miss"), window(150, 1e3, "invalid")];
    let text = format!(
        r#"{{
            "tool": {{"version": "0.1.0", "command": "tidegate-bench plan"}},
            "scenario": {{"command": "plan", "objectives": "p99<=50ms, <b>"}},
            "verdict": "pass",
            "plan": {{
                "target": {{"connections": 1000000, "deliveries_per_s": 500000, "audience": 1,
                    "publications_per_s": 500000, "load_percent": 60}},
                "searches": [{{"connections": 10, "rate": 100, "deliveries_per_s": 100,
                    "ends": [101, 100, 100], "repeatable": true, "ended_by": "generator"}}],
                "windows": [{}],
                "objective_p99_us": 50000,
                "costs": {{"memory": {{"base": 1e7, "per_unit": 5000,
                    "points": [[0, 1e7], [1000, 1.5e7]], "quality": {{"points": 2}}}}}},
                "needs": [
                    {{"name": "memory", "unit": "bytes", "amount": 5e9, "provide": 5e9, "here": 1e9,
                        "share_percent": 500, "of_server": true, "basis": "extrapolated 1000 times"}},
                    {{"name": "cores", "unit": "cores", "basis": "not measured"}}],
                "runs_out_first": "memory",
                "notes": ["a <note>"]
            }}
        }}"#,
        windows.join(",")
    );
    let page = page(&Recorded::parse(&text).expect("JSON"));
    for wanted in [
        "plan: 1\u{202f}000\u{202f}000 connections, 500\u{202f}000 deliveries/s",
        "a &lt;note&gt;",
        "p99&lt;=50ms, &lt;b&gt;",
        "Latency by offered rate, 10 connections",
        "at least, not in the fit",
        "the generator: at least that",
        "Resident memory by connections",
        "bar over",
        "extrapolated 1000 times",
        "not measured",
        "All 3 windows",
    ] {
        assert!(page.contains(wanted), "{wanted}\n{page}");
    }
    for unwanted in ["http://", "<script", "src=", "url(", "NaN", "inf,", "Cores by deliveries"] {
        assert!(!page.contains(unwanted), "{unwanted}\n{page}");
    }
    // By rate, by connections, and memory.
    assert_eq!(page.matches("<svg").count(), 3);
}
