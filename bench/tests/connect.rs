//! `connect` against servers that are slow, absent or unwilling: each handshake is timed and
//! accounted by itself.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use common::{PROGRAM, assert_verdict, bench, bench_with};

#[test]
fn every_handshake_is_timed() {
    let server = serve(|_, stream| {
        let mut socket = tungstenite::accept(stream).expect("a handshake");
        while socket.read().is_ok() {}
    });
    for rate in ["0", "500"] {
        let url = format!("ws://{server}/");
        let arguments = ["connect", "--url", &url, "--connections", "100", "--threads", "2"];
        let (code, report) = bench(&[&arguments[..], &["--rate", rate]].concat());
        assert_verdict(code, &report, 0);
        assert_eq!(report["connections"]["opened"], 100, "{report}");
        assert_eq!(report["latency_us"]["count"], 100, "{report}");
        if rate == "500" {
            // The last is due after 198 ms.
            let achieved = report["rate"]["achieved"].as_f64().expect("a rate");
            assert!(achieved < 506.0, "{report}");
        }
    }
}

#[test]
fn a_slow_handshake_delays_no_other() {
    let server = serve(|number, stream| {
        if number.is_multiple_of(10) {
            thread::sleep(Duration::from_millis(400));
        }
        let mut socket = tungstenite::accept(stream).expect("a handshake");
        while socket.read().is_ok() {}
    });
    let url = format!("ws://{server}/");
    let (code, report) = bench(&["connect", "--url", &url, "--connections", "50", "--rate", "200"]);
    assert_verdict(code, &report, 0);
    let latency = &report["latency_us"];
    assert!(latency["max"].as_f64() > Some(400_000.0), "{report}");
    assert!(latency["p50"].as_f64() < Some(300_000.0), "{report}");
}

#[test]
fn failures_are_told_by_cause() {
    let server = serve(|number, mut stream| match number % 4 {
        1 => {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n");
        }
        2 => {
            let _ = stream.read(&mut [0; 1024]);
        }
        _ => {
            let mut socket = tungstenite::accept(stream).expect("a handshake");
            while socket.read().is_ok() {}
        }
    });
    let url = format!("ws://{server}/");
    let (code, report) = bench(&["connect", "--url", &url, "--connections", "40", "--rate", "400"]);
    assert_verdict(code, &report, 4);
    let connections = &report["connections"];
    assert_eq!((&connections["opened"], &connections["failed"]), (&20.into(), &20.into()));
    let causes = connections["causes"].as_object().expect("causes");
    let counts: Vec<_> = causes.values().collect();
    assert_eq!(counts, [10, 10], "{report}");
    assert!(causes.keys().any(|cause| cause.contains("503")), "{report}");
}

#[test]
fn connections_come_from_the_sources_named() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let peers = thread::spawn(move || {
        let mut peers = Vec::new();
        for stream in listener.incoming().take(4) {
            let stream = stream.expect("a client");
            peers.push(stream.peer_addr().expect("connected").ip().to_string());
            let mut socket = tungstenite::accept(stream).expect("a handshake");
            thread::spawn(move || while socket.read().is_ok() {});
        }
        peers
    });
    let url = format!("ws://{address}/");
    let sources = ["--source-ip", "127.0.2.1-127.0.2.2"];
    let arguments = ["connect", "--url", &url, "--connections", "4", "--rate", "100"];
    let (code, report) = bench(&[&arguments[..], &sources].concat());
    assert_verdict(code, &report, 0);
    let mut peers = peers.join().expect("four clients");
    peers.sort();
    assert_eq!(peers, ["127.0.2.1", "127.0.2.1", "127.0.2.2", "127.0.2.2"]);
}

#[test]
fn a_shortage_of_descriptors_is_explained() {
    let server = serve(|_, stream| {
        let mut socket = tungstenite::accept(stream).expect("a handshake");
        while socket.read().is_ok() {}
    });
    let url = format!("ws://{server}/");
    // The ring and the report need descriptors too, when connections have taken all others.
    for command in ["connect", "echo", "idle"] {
        let mut arguments = vec![command, "--url", &url, "--connections", "200"];
        match command {
            "echo" => arguments.extend(["--duration", "100ms", "--warm-up", "0s"]),
            "idle" => arguments.extend(["--hold", "100ms"]),
            _ => {}
        }
        let (code, report) = bench_with("ulimit -n 64", &arguments);
        assert_eq!(code, 4, "{report}");
        let connections = &report["connections"];
        assert_eq!(connections["asked"], 200, "{report}");
        let opened = connections["opened"].as_u64().expect("a count");
        assert!((20..64).contains(&opened), "{report}");
        assert_eq!(connections["failed"], 200 - opened, "{report}");
        let causes = connections["causes"].as_object().expect("causes");
        let cause = causes.keys().next().expect("one");
        assert!(cause.contains("ulimit -Hn") && cause.contains("now 64"), "{cause}");
    }
}

/// With so few descriptors one thread gets its ring and the other does not.
#[test]
fn a_thread_that_cannot_begin_ends_the_run() {
    let server = serve(|_, stream| {
        let mut socket = tungstenite::accept(stream).expect("a handshake");
        while socket.read().is_ok() {}
    });
    let url = format!("ws://{server}/");
    let arguments = ["--connections", "2", "--threads", "2", "--hold", "100ms", "--quiet"];
    for descriptors in 13..=22 {
        let limit = format!("ulimit -n {descriptors}; exec timeout 20 \"$0\" \"$@\"");
        let status = Command::new("bash")
            .args(["-c", &limit, PROGRAM, "idle", "--url", &url])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("bash runs");
        assert_ne!(status.code(), Some(124), "it hung with {descriptors} descriptors");
    }
}

#[test]
fn a_ramp_spreads_the_opening() {
    let server = serve(|_, stream| {
        let mut socket = tungstenite::accept(stream).expect("a handshake");
        while socket.read().is_ok() {}
    });
    let url = format!("ws://{server}/");
    let arguments = ["idle", "--url", &url, "--connections", "20", "--hold", "10ms"];
    let (code, report) = bench(&[&arguments[..], &["--ramp", "500ms"]].concat());
    assert_eq!(code, 0, "{report}");
    // The last of them is due after 475 ms.
    assert!(report["connections"]["dial_s"].as_f64() >= Some(0.475), "{report}");
}

/// Hands each client with its number, from 1, to `serve` on a thread of its own.
fn serve(serve: fn(u32, TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for (number, stream) in (1..).zip(listener.incoming()) {
            let stream = stream.expect("a client");
            thread::spawn(move || serve(number, stream));
        }
    });
    address
}
