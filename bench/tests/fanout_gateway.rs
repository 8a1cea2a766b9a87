//! `fanout` against the gateway itself: nothing is lost, and who does not read is accounted for.

mod common;

use common::gateway::Gateway;
use common::{assert_verdict, bench};
use serde_json::Value;

#[test]
fn a_hundred_subscribers_of_two_channels_get_everything() {
    let gateway = Gateway::dev(&[]);
    let (code, report) =
        fanout(&gateway, &["--subscribers", "100", "--channels", "2", "--rate", "200"]);
    assert_verdict(code, &report, 0);
    let publications = &report["fanout"]["publications"];
    for all in ["due", "sent", "acknowledged"] {
        assert_eq!(publications[all], 200, "{report}");
    }
    // Each publication has the 50 subscribers of its channel.
    assert_eq!(report["messages"]["expected"], 10_000, "{report}");
    assert_eq!(report["latency_us"]["count"], 10_000, "{report}");
    assert_eq!(report["fanout"]["spread_us"]["count"], 200, "{report}");
    // The slowest delivery is the last of some publication.
    assert_eq!(report["fanout"]["last_us"]["count"], 200, "{report}");
    assert_eq!(report["fanout"]["last_us"]["max"], report["latency_us"]["max"], "{report}");
    // 64 of payload and 2 of header; a frame may lie across an edge of the measured time.
    let bytes = report["fanout"]["bytes_per_delivery"].as_f64().expect("bytes");
    assert!((bytes - 66.0).abs() < 0.1, "{report}");
    assert_clean(&report);
}

#[test]
fn a_closed_loop_is_clean_over_http_and_over_websocket() {
    let gateway = Gateway::dev(&[]);
    let web_socket = format!("ws://{}/raw?channel=bench&publish=1", gateway.clients);
    let [url, http] = gateway.urls();
    let pid = gateway.pid().to_string();
    for (publish, publishers) in [(&http, 8), (&web_socket, 3)] {
        let arguments = ["fanout", "--url", &url, "--publish", publish, "--rate=0", "--channels=3"];
        let more = ["--subscribers=30", "--duration=1s", "--warm-up=100ms", "--server-pid", &pid];
        let (code, report) = bench(&[&arguments[..], &more].concat());
        assert_eq!(code, 0, "{report}");
        let publications = &report["fanout"]["publications"];
        let sent = publications["sent"].as_u64().expect("a count");
        assert!(sent > 100, "{report}");
        assert_eq!(publications["acknowledged"], sent, "{report}");
        assert_eq!(report["fanout"]["publishers"], publishers, "{report}");
        assert_eq!(report["messages"]["expected"], 10 * sent, "{report}");
        // Valid if the server was the busy one, whichever it was here.
        let busy = report["server"]["cpu_percent"].as_f64() >= Some(90.0);
        assert_eq!(report["generator"]["valid"], busy, "{report}");
        assert_clean(&report);
    }
}

#[test]
fn publishers_may_be_clients_and_threads_share_the_subscribers() {
    let gateway = Gateway::dev(&[]);
    let publish = format!("ws://{}/raw?channel=bench&publish=1", gateway.clients);
    let [url, _] = gateway.urls();
    let arguments = ["fanout", "--url", &url, "--publish", &publish, "--duration", "1s"];
    let more = ["--warm-up=0s", "--subscribers=30", "--channels=3", "--rate=300", "--threads=2"];
    let (code, report) = bench(&[&arguments[..], &more, &["--zipf=1"]].concat());
    assert_verdict(code, &report, 0);
    // Of every three publications each channel has one, and all subscribers together get one each.
    assert_eq!(report["messages"]["expected"], 3000, "{report}");
    assert_eq!(report["fanout"]["publishers"], 3, "{report}");
    assert_clean(&report);
}

#[test]
fn who_stops_reading_is_closed_by_policy_and_nobody_else_notices() {
    let gateway = Gateway::dev(&["--set=limits.outbox_bytes=256KiB"]);
    let slow = ["--subscribers", "20", "--slow-readers", "4", "--rate", "400", "--size", "16000"];
    let (code, report) = fanout(&gateway, &[&slow[..], &["--duration", "2s"]].concat());
    assert_verdict(code, &report, 0);
    assert_clean(&report);
    let messages = &report["messages"];
    let dropped = messages["dropped_by_policy"].as_u64().expect("a count");
    assert!(dropped > 0, "{report}");
    let delivered = messages["delivered"].as_u64().expect("a count");
    assert_eq!(messages["expected"], delivered + dropped, "{report}");
    assert_eq!(report["fanout"]["closed_by_policy"]["3008"], 4, "{report}");
    assert_eq!(report["fanout"]["slow_readers"]["closed_by_policy"], 4, "{report}");
    // Sixteen of twenty read on, and they alone are timed.
    assert_eq!(report["latency_us"]["count"], 16 * 800, "{report}");
    assert_eq!(report["connections"]["lost"], 0, "{report}");
}

#[test]
fn connections_that_come_and_go_miss_nothing_in_between() {
    let gateway = Gateway::dev(&[]);
    let (code, report) =
        fanout(&gateway, &["--subscribers", "20", "--rate", "500", "--churn", "100"]);
    assert_verdict(code, &report, 0);
    let churn = &report["fanout"]["churn"];
    assert!(churn["closed"].as_u64() >= Some(50), "{report}");
    assert!(churn["reopened"].as_u64() >= Some(50), "{report}");
    assert!(report["messages"]["delivered"].as_u64() > Some(5_000), "{report}");
    assert_clean(&report);
}

#[test]
fn what_the_server_refuses_is_not_expected() {
    let gateway = Gateway::dev(&["--set=limits.publication_size=100"]);
    let (code, report) = fanout(&gateway, &["--rate", "50", "--size", "101"]);
    // Nothing is lost, but what was asked for was not done.
    assert_verdict(code, &report, 2);
    assert_eq!(report["fanout"]["publications"]["refused"], 50, "{report}");
    assert_eq!(report["messages"]["expected"], 0, "{report}");
    let refusals = report["fanout"]["publications"]["refusals"].as_object().expect("causes");
    assert!(refusals.keys().all(|cause| cause.contains("publication_size")), "{report}");
}

/// One second of a fan-out over HTTP without a warm-up.
fn fanout(gateway: &Gateway, arguments: &[&str]) -> (i32, Value) {
    let [url, publish] = gateway.urls();
    let fixed = ["fanout", "--url", &url, "--publish", &publish, "--warm-up", "0s"];
    let duration: &[&str] =
        if arguments.contains(&"--duration") { &[] } else { &["--duration", "1s"] };
    bench(&[&fixed, duration, arguments].concat())
}

fn assert_clean(report: &Value) {
    for none in ["lost", "duplicated", "reordered", "unknown", "undelivered_at_forced_close"] {
        assert_eq!(report["messages"][none], 0, "{none} of {report}");
    }
}
