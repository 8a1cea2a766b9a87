//! `--compression` against the gateway itself: everything arrives, in fewer bytes, or the run says
//! that nothing was compressed.

mod common;

use common::gateway::Gateway;
use common::{assert_verdict, bench};
use serde_json::Value;

const ON: &[&str] = &["--set=server.compression=true"];
const SECOND: &[&str] = &["--duration=1s", "--warm-up=0s", "--compression"];

fn echo(gateway: &Gateway, more: &[&str]) -> (i32, Value) {
    let url = format!("ws://{}/echo", gateway.clients);
    bench(&[&["echo", "--url", &url, "--connections=20"], SECOND, more].concat())
}

fn fanout(gateway: &Gateway, more: &[&str]) -> (i32, Value) {
    let [url, publish] = gateway.urls();
    let fixed = ["fanout", "--url", &url, "--publish", &publish, "--subscribers=50"];
    bench(&[&fixed[..], SECOND, more].concat())
}

/// Bytes on the wire and of messages.
fn received(report: &Value) -> (u64, u64) {
    let of = |name: &str| report["received_bytes"][name].as_u64().expect("a count");
    (of("wire"), of("payload"))
}

#[test]
fn echoes_come_back_compressed() {
    let gateway = Gateway::dev(ON);
    let (code, report) = echo(&gateway, &["--rate=500", "--size=1000"]);
    assert_verdict(code, &report, 0);
    let delivered = report["messages"]["delivered"].as_u64().expect("a count");
    assert_eq!(delivered, 500, "{report}");
    let (wire, payload) = received(&report);
    // What came back late was not received while it was measured.
    assert!(payload > 0 && payload <= 500 * 1000, "{report}");
    assert!(wire * 3 < payload * 2, "{report}");
    assert_eq!(report["scenario"]["compression"], true, "{report}");
}

#[test]
fn publications_arrive_compressed_also_where_connections_come_and_go() {
    let gateway = Gateway::dev(ON);
    let more = ["--rate=200", "--size=1000", "--channels=2", "--churn=20"];
    let (code, report) = fanout(&gateway, &more);
    assert_verdict(code, &report, 0);
    let (wire, payload) = received(&report);
    assert!(payload > 0 && wire * 3 < payload * 2, "{report}");
}

#[test]
fn a_server_that_does_not_compress_is_no_silent_success() {
    let gateway = Gateway::dev(&[]);
    let (code, report) = echo(&gateway, &["--rate=100"]);
    assert_verdict(code, &report, 4);
    assert_eq!(report["connections"]["opened"], 0, "{report}");
    let causes = report["connections"]["causes"].as_object().expect("causes");
    assert!(causes.keys().any(|cause| cause.contains("did not agree to compress")), "{report}");
}

#[test]
fn without_it_the_wire_carries_more_than_the_messages() {
    let gateway = Gateway::dev(ON);
    let url = format!("ws://{}/echo", gateway.clients);
    let fixed = ["echo", "--url", &url, "--connections=5", "--rate=100", "--size=1000"];
    let (code, report) = bench(&[&fixed[..], &["--duration=1s", "--warm-up=0s"]].concat());
    assert_verdict(code, &report, 0);
    let (wire, payload) = received(&report);
    assert!(payload > 0 && wire > payload, "{report}");
    assert_eq!(report["scenario"]["compression"], false, "{report}");
}
