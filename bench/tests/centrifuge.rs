//! The Centrifuge protocol against the gateway, and against servers that refuse, ping or give up.

mod common;

use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::thread;

use common::gateway::Gateway;
use common::{PROGRAM, assert_verdict, bench};
use serde_json::Value;
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message, WebSocket};

type Socket = WebSocket<std::net::TcpStream>;

#[test]
fn everybody_gets_everything_however_it_is_published() {
    let gateway = Gateway::dev(&[]);
    let [url, http] = urls(&gateway);
    for publish in [&http, &url] {
        for rate in ["300", "0"] {
            let arguments =
                ["fanout", "--url", &url, "--protocol=centrifuge", "--publish", publish];
            let more = ["--duration=1s", "--warm-up=100ms", "--subscribers=30", "--channels=3"];
            let load = ["--channel=chat:bench", "--rate", rate, "--threads=2"];
            let pid = gateway.pid().to_string();
            let server = ["--server-pid", &pid];
            let (code, report) = bench(&[&arguments[..], &more, &load, &server].concat());
            assert_verdict(code, &report, 0);
            let sent = report["fanout"]["publications"]["sent"].as_u64().expect("a count");
            assert!(sent >= 100, "{report}");
            assert_eq!(report["fanout"]["publications"]["acknowledged"], sent, "{report}");
            assert_eq!(report["messages"]["expected"], 10 * sent, "{report}");
            assert_eq!(report["scenario"]["protocol"], "centrifuge");
            // The payload, the names around it, who published it over WebSocket, a frame's header.
            let bytes = report["fanout"]["bytes_per_delivery"].as_f64().expect("bytes");
            assert!((110.0..250.0).contains(&bytes), "{report}");
            assert_clean(&report);
        }
    }
}

#[test]
fn connections_that_come_and_go_subscribe_again() {
    let gateway = Gateway::dev(&[]);
    let (code, report) =
        fanout(&urls(&gateway), &["--subscribers=20", "--rate=500", "--churn=100"]);
    assert_verdict(code, &report, 0);
    assert!(report["fanout"]["churn"]["reopened"].as_u64() >= Some(50), "{report}");
    assert!(report["messages"]["delivered"].as_u64() > Some(5_000), "{report}");
    assert_clean(&report);
}

#[test]
fn who_stops_reading_is_dropped_by_policy() {
    let gateway = Gateway::dev(&["--set=limits.outbox_bytes=256KiB"]);
    let slow = ["--subscribers=20", "--slow-readers=4", "--rate=400", "--size=16000"];
    let (code, report) = fanout(&urls(&gateway), &[&slow[..], &["--duration=2s"]].concat());
    assert_verdict(code, &report, 0);
    assert!(report["messages"]["dropped_by_policy"].as_u64() > Some(0), "{report}");
    assert_eq!(report["fanout"]["closed_by_policy"]["3008"], 4, "{report}");
    assert_clean(&report);
}

#[test]
fn sessions_are_held_and_timed() {
    let gateway = Gateway::dev(&[]);
    let [url, _] = urls(&gateway);
    let centrifuge = ["--url", &url, "--protocol=centrifuge", "--connections=50"];
    let (code, report) = bench(&[&["idle", "--hold=200ms"][..], &centrifuge].concat());
    assert_eq!(code, 0, "{report}");
    assert_eq!(report["connections"]["opened"], 50, "{report}");
    assert_eq!(report["connections"]["lost"], 0, "{report}");
    assert_eq!(report["scenario"]["channel"], "bench", "{report}");
    let (code, report) = bench(&[&["connect", "--rate=500"][..], &centrifuge].concat());
    assert_verdict(code, &report, 0);
    assert_eq!(report["latency_us"]["count"], 50, "{report}");
}

#[test]
fn a_plan_is_made_of_sessions() {
    let gateway = Gateway::dev(&[]);
    let [url, http] = urls(&gateway);
    let pid = gateway.pid().to_string();
    let plan = ["plan", "--url", &url, "--publish", &http, "--protocol=centrifuge", "--quiet"];
    let short = ["--window=200ms", "--warm-up=50ms", "--hold=100ms", "--idle=100"];
    let more = ["--handshakes=50", "--connections=4", "--max-rate=100", "--server-pid", &pid];
    let target = ["--target-connections=1000", "--target-deliveries=1000"];
    let (code, report) = bench(&[&plan[..], &short, &more, &target].concat());
    assert!([0, 2, 3].contains(&code), "{code} {report}");
    assert_eq!(report["scenario"]["protocol"], "centrifuge", "{report}");
    assert!(!report["plan"]["windows"].as_array().expect("windows").is_empty(), "{report}");
}

#[test]
fn a_refusal_is_a_connection_that_failed_and_says_why() {
    let server = serve(|mut socket| {
        let _ = socket.read();
        let text = "{\"id\":1,\"error\":{\"code\":109,\"message\":\"token expired\"}}";
        let _ = socket.send(Message::text(text));
        let _ = socket.read();
    });
    let cause = only_cause(server);
    assert!(cause.contains("109") && cause.contains("token expired"), "{cause}");
    let server = serve(|mut socket| {
        let _ = socket.read();
        close(&mut socket, 3500, "invalid token");
    });
    let cause = only_cause(server);
    assert!(cause.contains("3500") && cause.contains("invalid token"), "{cause}");
}

/// A server that says what a client must bear: pushes behind a reply, pings, several objects a
/// frame; then gives up on the subscription of every other client.
#[test]
fn pings_are_answered_and_a_lost_subscription_is_a_policy() {
    let server = serve(|mut socket| {
        let hello = socket.read().expect("a message").into_text().expect("text");
        let (connect, subscribe) = hello.split_once('\n').expect("two commands");
        assert!(connect.contains("\"token\":\"secret\""), "{connect}");
        assert!(subscribe.contains("\"channel\":\"bench\""), "{subscribe}");
        let replies = "{\"id\":1,\"connect\":{\"client\":\"x\",\"ping\":1,\"pong\":true}}\n\
                       {\"id\":2,\"subscribe\":{}}\n{}\n\
                       {\"push\":{\"channel\":\"bench\",\"join\":{\"info\":{}}}}\n";
        socket.send(Message::text(replies)).expect("open");
        if socket.read().is_ok_and(|message| message == Message::text("{}")) {
            let push = "{\"push\":{\"channel\":\"bench\",\"unsubscribe\":{\"code\":2500}}}";
            socket.send(Message::text(push)).expect("open");
        }
        while socket.read().is_ok() {}
    });
    let url = format!("ws://{server}/");
    let arguments = ["idle", "--url", &url, "--protocol=centrifuge", "--token=secret"];
    let (code, report) = bench(&[&arguments[..], &["--connections=3", "--hold=500ms"]].concat());
    assert_eq!(code, 4, "{report}");
    assert_eq!(report["connections"]["pings_answered"], 3, "{report}");
    assert_eq!(report["connections"]["lost"], 3, "{report}");
    let causes = report["connections"]["causes"].as_object().expect("causes");
    assert!(causes.keys().all(|cause| cause.contains("2500")), "{report}");
    assert!(!report["tool"]["command"].as_str().expect("text").contains("secret"), "{report}");

    let gateway = Gateway::dev(&[]);
    let [_, http] = urls(&gateway);
    let (code, report) = fanout(&[url, http], &["--subscribers=2", "--rate=50", "--token=secret"]);
    assert_verdict(code, &report, 4);
    assert_eq!(report["fanout"]["closed_by_policy"]["2500"], 2, "{report}");
    assert_eq!(report["messages"]["dropped_by_policy"], 100, "{report}");
    assert_eq!(report["messages"]["lost"], 0, "{report}");
}

#[test]
fn two_ways_through_a_server_take_the_same_bytes() {
    let gateway = Gateway::dev(&[]);
    let [url, http] = urls(&gateway);
    let [raw, _] = gateway.urls();
    let pid = gateway.pid().to_string();
    let json = std::env::temp_dir().join(format!("two-ways-{}.json", std::process::id()));
    let run = Command::new(PROGRAM)
        .args(["limit", "--against", &url, "--protocol=centrifuge", "--baseline", &raw])
        .args(["--publish", &http, "--rate=200", "--sockets=20", "--server-pid", &pid])
        .args(["--rounds=6", "--duration=1200ms", "--json"])
        .arg(&json)
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&run.stderr);
    let text = std::fs::read_to_string(&json).unwrap_or_else(|_| panic!("no report: {said}"));
    std::fs::remove_file(&json).expect("it is there");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let against = &report["against"];
    assert_eq!(against["bytes_kept"], true, "{report}");
    // A machine that is too busy for the rate must say so.
    let code = if against["rate_kept"] == true { 0 } else { 3 };
    assert_eq!(run.status.code(), Some(code), "{report} {said}");
    assert_eq!(against["ratio"]["rounds"].as_array().map(Vec::len), Some(6), "{report}");
    assert!(against["ratio"]["interval95"].is_array(), "{report}");
    assert_eq!(against["goal"], 1.1, "{report}");
    let verdict = against["verdict"].as_str().expect("a verdict");
    assert!(["met", "missed", "not_decided"].contains(&verdict), "{report}");
}

#[test]
fn what_makes_no_sense_is_said() {
    let url = "--url=ws://127.0.0.1:1/";
    for (arguments, reason) in [
        (&["echo", url, "--protocol=centrifuge"][..], "has no echo"),
        (
            &[
                "plan",
                url,
                "--protocol=centrifuge",
                "--target-connections=1",
                "--target-deliveries=1",
            ],
            "has no echo",
        ),
        (&["idle", url, "--token=x"], "--protocol centrifuge"),
        (&["connect", url, "--channel=x"], "--protocol centrifuge"),
        (&["idle", url, "--protocol=centrifuge", "--compression"], "--compression goes with"),
        (&["idle", url, "--protocol=centrifuge", "--channel=a b"], "a channel's name is"),
        (
            &[
                "limit",
                "--against=ws://127.0.0.1:1/",
                "--publish=http://127.0.0.1:1/",
                "--rate=10",
                "--server-pid=1",
                "--protocol=centrifuge",
            ],
            "--baseline",
        ),
    ] {
        let run = Command::new(PROGRAM).args(arguments).output().expect("it starts");
        let said = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains(reason), "{arguments:?}: {said}");
    }
}

/// Where sessions connect to, and where to publish over HTTP.
fn urls(gateway: &Gateway) -> [String; 2] {
    let [_, http] = gateway.urls();
    [format!("ws://{}/connection/websocket", gateway.clients), http]
}

/// One second of a fan-out over HTTP without a warm-up.
fn fanout([url, publish]: &[String; 2], arguments: &[&str]) -> (i32, Value) {
    let fixed = ["fanout", "--url", url, "--publish", publish, "--warm-up=0s"];
    let duration: &[&str] =
        if arguments.contains(&"--duration=2s") { &[] } else { &["--duration=1s"] };
    bench(&[&fixed[..], &["--protocol=centrifuge"], duration, arguments].concat())
}

fn assert_clean(report: &Value) {
    for none in ["lost", "duplicated", "reordered", "unknown", "undelivered_at_forced_close"] {
        assert_eq!(report["messages"][none], 0, "{none} of {report}");
    }
}

/// Why none of two sessions could be opened.
fn only_cause(server: SocketAddr) -> String {
    let url = format!("ws://{server}/");
    let arguments = ["idle", "--url", &url, "--protocol=centrifuge"];
    let (code, report) = bench(&[&arguments[..], &["--connections=2", "--hold=10ms"]].concat());
    assert_eq!(code, 4, "{report}");
    assert_eq!(report["connections"]["failed"], 2, "{report}");
    let causes = report["connections"]["causes"].as_object().expect("causes");
    causes.keys().next().expect("a cause").clone()
}

fn close(socket: &mut Socket, code: u16, reason: &str) {
    let _ = socket.close(Some(CloseFrame { code: code.into(), reason: reason.to_owned().into() }));
    while socket.read().is_ok() {}
}

/// A server that does `body` with every connection.
fn serve(body: impl Fn(Socket) + Send + Copy + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a client");
            thread::spawn(move || body(tungstenite::accept(stream).expect("upgraded")));
        }
    });
    address
}
