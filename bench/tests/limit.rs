//! `limit` from its command line to its JSON: every figure is there, and a server is held against
//! it.

mod common;

use std::net::TcpListener;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;

use common::PROGRAM;
use common::gateway::Gateway;
use serde_json::Value;

#[test]
fn every_figure_is_measured() {
    let report = limit("figures", &["--rounds", "2", "--sockets", "20"]);
    let limit = report["limit"].as_object().expect("the medians");
    assert_eq!(limit.len(), 6);
    for (name, value) in limit.iter().filter(|(name, _)| !name.contains("paced")) {
        assert!(value.as_f64().is_some_and(|value| value > 0.0), "{name}: {value}");
    }
    for figure in ["echo_tcp", "echo_ws_minimal", "send", "uring_send"] {
        let figure = &report["figures"][figure];
        let rounds = figure["server_us_per_message"]["rounds"].as_array().expect("each round");
        assert_eq!(rounds.len(), 2, "{report}");
        assert!(figure["enters_per_message"].as_f64() > Some(0.0), "{report}");
    }
}

#[test]
fn a_slower_server_is_found_slower() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}/", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a client");
            thread::spawn(move || echo_at_cost(tungstenite::accept(stream).expect("upgraded")));
        }
    });
    let pid = std::process::id().to_string();
    let report = limit("against", &["--rounds", "2", "--against", &url, "--server-pid", &pid]);
    assert!(report["limit"].is_null(), "{report}");
    let against = &report["against"];
    assert!(against["ratio"]["median"].as_f64() > Some(2.0), "{report}");
    assert_eq!(against["limit_is_wrong"], false);
}

#[test]
fn a_paced_send_has_a_figure_of_its_own() {
    let report = limit("paced", &["--rounds", "2", "--sockets", "20", "--rate", "200"]);
    assert!(report["limit"]["uring_send_paced_us_per_socket"].as_f64() > Some(0.0), "{report}");
    let paced = &report["figures"]["uring_send_paced"];
    assert!(paced["messages_per_turn"].as_f64() > Some(1.0), "{report}");
    // Not as fast as it can, which is some hundred thousand a second: 4,000 were asked for. Rounds
    // that begin late on a busy machine make up for it, so the bound is wide.
    assert!(paced["messages_per_s"].as_f64() < Some(50_000.0), "{report}");
}

#[test]
fn a_fan_out_is_held_against_it_at_the_same_rate() {
    let gateway = Gateway::dev(&[]);
    let [url, http] = gateway.urls();
    let web_socket = format!("ws://{}/raw?channel=bench&publish=1", gateway.clients);
    let pid = gateway.pid().to_string();
    for publish in [http, web_socket] {
        let load = ["--rounds=2", "--sockets=20", "--rate=200", "--publish", &publish];
        let server = ["--against", &url, "--server-pid", &pid];
        let report = limit("fan-out", &[&load[..], &server].concat());
        let against = &report["against"];
        assert!(against["ratio"]["median"].as_f64() > Some(0.0), "{report}");
        assert_eq!(against["offered_per_s"], 4_000.0, "{report}");
        for side in ["uring_send_paced", "server"] {
            let rounds = against[side]["server_us_per_message"]["rounds"].as_array();
            assert_eq!(rounds.map(Vec::len), Some(2), "{report}");
        }
    }
}

#[test]
fn the_generator_is_held_against_the_bare_client_half() {
    let report = limit("generator", &["--generator", "--rounds", "6", "--duration", "300ms"]);
    let generator = &report["generator"];
    for side in ["bare", "generator"] {
        assert!(generator[side]["client_us_per_message"].as_f64() > Some(0.0), "{report}");
    }
    assert_eq!(generator["ratio"]["rounds"].as_array().map(Vec::len), Some(6), "{report}");
    assert!(generator["ratio"]["interval95"].is_array(), "{report}");
    assert!(
        ["met", "missed", "not_decided"].contains(&generator["verdict"].as_str().expect("one"))
    );
}

#[test]
fn what_cannot_be_measured_is_told_with_its_reason() {
    let gateway = Gateway::dev(&[]);
    let mut idle = Command::new("sleep").arg("60").spawn().expect("it starts");
    let (url, other) = (format!("ws://{}/echo", gateway.clients), idle.id().to_string());
    for (arguments, reason) in [
        (&["--against", &url, "--server-pid", &other][..], "used no CPU time while"),
        (&["--against", &url, "--server-pid", "4294967295"], "nothing can be read of process"),
        (&["--against", "ws://127.0.0.1:1/", "--server-pid", "1"], "cannot be reached"),
        (&["--rate", "10", "--size", "24"], "needs 34 bytes"),
        (&["--generator", "--rate", "10"], "cannot be used with"),
        (&["--publish", "http://127.0.0.1:1/"], "--against"),
    ] {
        let run = Command::new(PROGRAM)
            .args(["limit", "--connections=4", "--duration=100ms", "--rounds=1"])
            .args(arguments)
            .output()
            .expect("the program starts");
        let said = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains(reason), "{arguments:?}: {said}");
    }
    idle.kill().and_then(|()| idle.wait()).expect("a child of ours");
}

/// Burns more CPU on a message than any echo costs.
fn echo_at_cost(mut socket: tungstenite::WebSocket<std::net::TcpStream>) {
    while let Ok(message) = socket.read() {
        let start = std::time::Instant::now();
        while start.elapsed() < std::time::Duration::from_micros(200) {
            std::hint::spin_loop();
        }
        if message.is_binary() && socket.send(message).is_err() {
            return;
        }
    }
}

/// Runs a short `limit`, beside no other, for each needs two cores; reads its JSON.
fn limit(name: &str, args: &[&str]) -> Value {
    static CORES: Mutex<()> = Mutex::new(());
    let _alone = CORES.lock().unwrap_or_else(PoisonError::into_inner);
    let json = std::env::temp_dir().join(format!("limit-{name}-{}.json", std::process::id()));
    let duration: &[&str] = if args.contains(&"--duration") { &[] } else { &["--duration=200ms"] };
    let run = Command::new(PROGRAM)
        .args(["limit", "--connections", "4", "--json"])
        .arg(&json)
        .args([duration, args].concat())
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&run.stderr);
    let text = std::fs::read_to_string(&json).unwrap_or_else(|_| panic!("no report: {said}"));
    std::fs::remove_file(&json).expect("it is there");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    // A machine too busy for the rate must say so, and so must one that in two rounds of a tenth of
    // a second makes a server look cheaper than the limit.
    let against = &report["against"];
    let invalid = against["rate_kept"] == false || against["limit_is_wrong"] == true;
    assert_eq!(run.status.code(), Some(if invalid { 3 } else { 0 }), "{report} {said}");
    report
}
