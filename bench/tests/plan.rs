//! `plan` from its command line to its JSON, page and exit code, against servers whose limits are
//! known and against the gateway.

mod common;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use common::gateway::Gateway;
use common::{PROGRAM, bench};
use serde_json::Value;
use tungstenite::WebSocket;

/// Windows too short for figures, long enough for every path.
const SHORT: [&str; 3] = ["--window=200ms", "--warm-up=50ms", "--hold=100ms"];

/// What is planned for.
const TARGET: [&str; 2] = ["--target-connections=100000", "--target-deliveries=50000"];

#[test]
fn a_server_that_takes_all_it_may_be_offered_ends_at_the_ceiling() {
    let server = serve(Duration::ZERO);
    let (code, report) = echo(server, &["--connections=4,2,2", "--max-rate=100"]);
    let plan = &report["plan"];
    let searches = plan["searches"].as_array().expect("searches");
    let counts: Vec<_> = searches.iter().map(|search| &search["connections"]).collect();
    assert_eq!(counts, [2, 4], "{report}");
    if invalid_windows(&report) == 0 && code == 0 {
        for search in searches {
            assert_eq!(search["rate"], 100, "{report}");
            assert_eq!(search["ended_by"], "ceiling", "{report}");
        }
    } else {
        // A machine too busy for 100 messages a second.
        assert!([2, 3].contains(&code) || invalid_windows(&report) > 0, "{code} {report}");
    }
    assert!(plan["usl"].is_null(), "two counts make no law: {report}");
    // Without the process nothing is known of its costs, and nothing is made up.
    for cost in ["memory", "handshake", "delivery"] {
        assert!(plan["costs"][cost].is_null(), "{report}");
    }
    assert!(needs(&report, "cores")["amount"].is_null(), "{report}");
    assert!(notes(&report).contains("--server-pid"), "{report}");
    assert_eq!(plan["target"]["publications_per_s"], 50_000.0, "{report}");
}

#[test]
fn a_server_that_is_too_slow_for_the_objectives_misses_at_every_rate() {
    let server = serve(Duration::from_millis(20));
    let (code, report) = echo(server, &["--connections=2", "--max-rate=100", "--slo=p50<=5ms"]);
    let search = &report["plan"]["searches"][0];
    assert!(search["rate"].is_null(), "{report}");
    // Where the generator lagged, the windows are nobody's fault.
    if invalid_windows(&report) == 0 {
        assert_eq!(code, 2, "{report}");
        assert!(search["why"].as_str().is_some_and(|why| why.contains("p50<=5ms")), "{report}");
    }
}

#[test]
fn connections_that_fail_have_an_exit_code_and_a_cause() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("bound");
    drop(free);
    let (code, report) = echo(address, &["--connections=2,4"]);
    assert_eq!((code, &report["verdict"]), (4, &"connections_failed".into()), "{report}");
    assert!(notes(&report).contains("refused"), "{report}");
}

#[test]
fn what_makes_no_plan_is_refused() {
    for wrong in [
        &["--min-rate=9", "--max-rate=8"][..],
        &["--connections=0"],
        &["--max-rate=4"],
        &["--slo=p98<1s"],
    ] {
        let mut command = Command::new(PROGRAM);
        command.args(["plan", "--url=ws://127.0.0.1:9/"]).args(TARGET).args(wrong);
        let output = command.output().expect("it starts");
        assert_eq!(output.status.code(), Some(1), "{wrong:?}");
        assert!(!output.stderr.is_empty(), "{wrong:?}");
    }
}

#[test]
fn the_gateways_costs_are_measured_and_drawn() {
    let gateway = Gateway::dev(&[]);
    let [url, publish] = gateway.urls();
    let page = format!("{}/plan-{}.html", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let pid = gateway.pid().to_string();
    let arguments = [
        &["plan", "--url", &url, "--publish", &publish, "--server-pid", &pid, "--html", &page][..],
        &["--connections=5,50", "--max-rate=100", "--idle=400", "--handshakes=400", "--quiet"],
        &SHORT,
        &TARGET,
    ];
    let (code, report) = bench(&arguments.concat());
    assert!([0, 2, 3].contains(&code), "{code} {report}");
    let plan = &report["plan"];
    let costs = &plan["costs"];
    assert!(costs["handshake"]["per_unit"].as_f64() > Some(0.0), "{report}");
    let descriptors = costs["descriptors"]["per_unit"].as_f64().expect("fitted");
    assert!((0.9..1.1).contains(&descriptors), "{report}");
    assert_eq!(plan["target"]["audience"], 50.0, "{report}");
    if code == 0 {
        assert!(costs["delivery"]["us_per_delivery"].as_f64() > Some(0.0), "{report}");
        assert!(needs(&report, "cores")["share_percent"].as_f64() > Some(0.0), "{report}");
    }
    assert!(plan["runs_out_first"].is_string(), "{report}");
    let text = std::fs::read_to_string(&page).expect("written");
    std::fs::remove_file(&page).expect("just read");
    assert!(text.contains("Latency by offered rate, 50 connections"), "{report}");
}

fn echo(server: SocketAddr, arguments: &[&str]) -> (i32, Value) {
    let url = format!("ws://{server}/");
    bench(&[&["plan", "--url", &url][..], &SHORT, &TARGET, arguments].concat())
}

fn needs<'r>(report: &'r Value, name: &str) -> &'r Value {
    let needs = report["plan"]["needs"].as_array().expect("needs");
    needs.iter().find(|need| need["name"] == name).expect("a need of that name")
}

fn notes(report: &Value) -> String {
    report["plan"]["notes"].to_string()
}

fn invalid_windows(report: &Value) -> usize {
    let windows = report["plan"]["windows"].as_array().expect("windows");
    windows.iter().filter(|window| window["outcome"] == "invalid").count()
}

/// An echo that takes its time over each message.
fn serve(delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a client");
            thread::spawn(move || answer(tungstenite::accept(stream).expect("upgraded"), delay));
        }
    });
    address
}

fn answer(mut socket: WebSocket<TcpStream>, delay: Duration) {
    while let Ok(message) = socket.read() {
        thread::sleep(delay);
        if message.is_binary() && socket.send(message).is_err() {
            return;
        }
    }
}
