//! The program against servers whose faults are known: it must find exactly those, and say so in
//! its JSON and its exit code.

mod common;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use common::{PROGRAM, assert_verdict, bench};
use serde_json::Value;
use tungstenite::{Message, WebSocket};

/// What a server does with a message; the number counts all its messages from 1.
type Answer = fn(&mut WebSocket<TcpStream>, u64, Message) -> tungstenite::Result<()>;

#[test]
fn an_honest_server_loses_nothing() {
    let server = serve(|_| Ok(()), |socket, _, message| socket.send(message));
    for rate in ["0", "2000"] {
        let (code, report) = echo(server, &["--connections", "10", "--rate", rate]);
        assert_verdict(code, &report, 0);
        let messages = &report["messages"];
        assert!(messages["expected"].as_u64() > Some(100), "{report}");
        for same in ["sent", "delivered"] {
            assert_eq!(messages[same], messages["expected"], "{report}");
        }
        for none in ["lost", "duplicated", "reordered", "unknown"] {
            assert_eq!(messages[none], 0, "{report}");
        }
        assert_eq!(report["latency_us"]["count"], messages["delivered"]);
        assert_eq!(report["connections"]["opened"], 10);
    }
}

#[test]
fn a_rate_is_kept() {
    let server = serve(|_| Ok(()), |socket, _, message| socket.send(message));
    let (_, report) = echo(server, &["--connections", "7", "--rate", "1000", "--threads", "2"]);
    // Exactly those due within the second, whatever the machine was busy with.
    assert_eq!(report["messages"]["expected"], 1000, "{report}");
    assert_eq!(report["messages"]["sent"], 1000, "{report}");
}

#[test]
fn drops_and_duplicates_are_counted_to_the_message() {
    let server = serve(
        |_| Ok(()),
        |socket, number, message| match number {
            100 | 200 | 300 => Ok(()),
            150 | 250 => {
                socket.send(message.clone())?;
                socket.send(message)
            }
            _ => socket.send(message),
        },
    );
    let (code, report) = echo(server, &["--connections", "20", "--rate", "500"]);
    assert_verdict(code, &report, 2);
    let messages = &report["messages"];
    assert_eq!((&messages["lost"], &messages["duplicated"]), (&3.into(), &2.into()), "{report}");
    assert_eq!((&messages["reordered"], &messages["unknown"]), (&0.into(), &0.into()), "{report}");
}

#[test]
fn a_changed_message_is_not_taken_for_ours() {
    let server = serve(
        |_| Ok(()),
        |socket, number, message| {
            let mut payload = message.into_data().to_vec();
            if number == 50 {
                *payload.last_mut().expect("64 bytes") ^= 1;
            }
            socket.send(Message::binary(payload))
        },
    );
    let (code, report) = echo(server, &["--connections", "20", "--rate", "500"]);
    assert_verdict(code, &report, 2);
    let messages = &report["messages"];
    assert_eq!((&messages["unknown"], &messages["lost"]), (&1.into(), &1.into()), "{report}");
}

#[test]
fn connections_the_server_closes_are_lost() {
    let server = serve(
        |_| Ok(()),
        |socket, number, message| {
            if number == 30 { socket.close(None) } else { socket.send(message) }
        },
    );
    let (code, report) = echo(server, &["--connections", "5", "--rate", "500"]);
    assert_verdict(code, &report, 4);
    assert_eq!(report["connections"]["lost"], 1, "{report}");
    assert_eq!(report["connections"]["causes"]["the server sent Close 1005"], 1, "{report}");
}

#[test]
fn pings_are_answered_with_their_payload() {
    let server = serve(
        |socket| {
            socket.send(Message::Ping(b"are you there"[..].into()))?;
            assert_eq!(socket.read()?, Message::Pong(b"are you there"[..].into()));
            Ok(())
        },
        |_, _, _| Ok(()),
    );
    let url = format!("ws://{server}/");
    let (code, report) = bench(&["idle", "--url", &url, "--connections", "20", "--hold", "300ms"]);
    assert_eq!(code, 0, "{report}");
    assert_eq!(report["connections"]["pings_answered"], 20, "{report}");
}

#[test]
fn nobody_there_is_told_by_the_exit_code() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("bound");
    drop(free);
    let (code, report) = echo(address, &["--connections", "10"]);
    assert_eq!(code, 4, "{report}");
    assert_eq!(report["connections"]["failed"], 10, "{report}");
}

#[test]
fn objectives_decide_the_exit_code() {
    let server = serve(|_| Ok(()), |socket, _, message| socket.send(message));
    let (code, report) = echo(server, &["--rate", "500", "--slo", "p99<=1000s,loss=0"]);
    assert_verdict(code, &report, 0);
    let passes: Vec<_> = report["slo"].as_array().expect("a list").iter().collect();
    assert!(passes.iter().all(|outcome| outcome["pass"] == true), "{report}");
    let (code, report) = echo(server, &["--rate", "500", "--slo", "p50<0.001us"]);
    assert_verdict(code, &report, 2);
    assert_eq!(report["slo"][0]["pass"], false, "{report}");
}

#[test]
fn a_generator_behind_its_schedule_makes_a_run_invalid() {
    let server = serve(|_| Ok(()), |socket, _, message| socket.send(message));
    // More than any machine sends: each connection is free when its next message is long overdue.
    let (code, report) = echo(server, &["--connections", "1000", "--rate", "100000000"]);
    assert_eq!(code, 3, "{report}");
    assert_eq!(report["verdict"], "invalid", "{report}");
    assert_eq!(report["generator"]["valid"], false, "{report}");
}

#[test]
fn wrong_usage_has_its_exit_code() {
    for arguments in [
        &["echo", "--url", "http://127.0.0.1:1/"][..],
        &["echo", "--url", "ws://127.0.0.1:1/", "--size", "23"],
        &["echo", "--url", "ws://127.0.0.1:1/", "--connections", "0"],
        &["echo", "--url", "ws://127.0.0.1:1/", "--slo", "p98<1ms"],
        &["idle", "--url", "ws://127.0.0.1:1/", "--server-pid", "4294967295"],
    ] {
        let output = Command::new(PROGRAM).args(arguments).output().expect("it starts");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

/// Serves on a free port until the process ends: `greet` once a connection is open, then `answer`
/// for each data message.
fn serve(
    greet: fn(&mut WebSocket<TcpStream>) -> tungstenite::Result<()>,
    answer: Answer,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let count = Arc::new(AtomicU64::new(0));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a client");
            let count = count.clone();
            thread::spawn(move || {
                stream.set_nodelay(true).expect("a socket");
                let mut socket = tungstenite::accept(stream).expect("a handshake");
                greet(&mut socket).expect("a friendly client");
                // The client's end is an error here.
                while let Ok(message) = socket.read() {
                    if message.is_binary() {
                        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                        let _ = answer(&mut socket, number, message);
                    }
                }
            });
        }
    });
    address
}

/// One second of `echo` without a warm-up: exit code and JSON.
fn echo(server: SocketAddr, arguments: &[&str]) -> (i32, Value) {
    let url = format!("ws://{server}/");
    let fixed = ["echo", "--url", &url, "--warm-up", "0s", "--duration", "1s"];
    bench(&[&fixed, arguments].concat())
}
