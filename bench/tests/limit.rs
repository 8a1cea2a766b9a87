//! `limit` from its command line to its JSON: every figure is there, and a server is held against
//! it.

use std::net::TcpListener;
use std::process::Command;
use std::thread;

use serde_json::Value;

#[test]
fn every_figure_is_measured() {
    let report = limit("figures", &["--rounds", "2", "--sockets", "20"]);
    let limit = report["limit"].as_object().expect("the medians");
    assert_eq!(limit.len(), 5);
    for (name, value) in limit {
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

/// Runs a short `limit` and reads its JSON.
fn limit(name: &str, args: &[&str]) -> Value {
    let json = std::env::temp_dir().join(format!("limit-{name}-{}.json", std::process::id()));
    let run = Command::new(env!("CARGO_BIN_EXE_tidegate-bench"))
        .args(["limit", "--connections", "4", "--duration", "200ms", "--json"])
        .arg(&json)
        .args(args)
        .output()
        .expect("the program starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let text = std::fs::read_to_string(&json).expect("the report");
    std::fs::remove_file(&json).expect("it is there");
    serde_json::from_str(&text).expect("JSON")
}
