//! `fanout` against a broadcasting server whose faults are known: it must find exactly those.

mod common;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::{PROGRAM, assert_verdict, bench};
use serde_json::Value;
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role};
use tungstenite::{Message, WebSocket};

type Socket = WebSocket<TcpStream>;

/// What the server sends to subscriber `.2` (from 0, in the order in which they connected) for
/// publication `.1` (from 1).
type Deliver = fn(&mut Socket, u32, usize, &Message);

#[test]
fn an_honest_broadcast_is_clean() {
    let server = serve(|socket, _, _, message| send(socket, message));
    let (code, report) = fanout(server, &["--subscribers", "20", "--threads", "2"]);
    assert_verdict(code, &report, 0);
    let messages = &report["messages"];
    for all in ["expected", "delivered"] {
        assert_eq!(messages[all], 4_000, "{report}");
    }
    assert_eq!(faults(&report), [0; 4], "{report}");
}

#[test]
fn a_closed_loop_has_one_publication_out() {
    let deliver: Deliver = |socket, publication, subscriber, message| {
        // The last subscriber has it 20 ms after the first.
        if subscriber == 5 {
            thread::sleep(Duration::from_millis(20));
        }
        match (publication, subscriber) {
            // It never comes: given up after 2 s.
            (10, 2) => {}
            _ => send(socket, message),
        }
    };
    for threads in ["1", "2"] {
        let more = ["--subscribers=6", "--rate=0", "--duration=3s", "--threads", threads];
        let (code, report) = fanout(serve(deliver), &more);
        assert_verdict(code, &report, 2);
        let sent = report["fanout"]["publications"]["sent"].as_u64().expect("a count");
        // Ten, then one more for every 20 ms of the last second.
        assert!((11..=10 + 1000 / 20).contains(&sent), "{report}");
        assert_eq!(faults(&report), [1, 0, 0, 0], "{report}");
        assert_eq!(report["messages"]["expected"], sent * 6, "{report}");
        assert!(report["latency_us"]["max"].as_f64() >= Some(20_000.0), "{report}");
        assert_eq!(report["latency_us"], report["latency_raw_us"]);
        assert!(report["rate"]["asked"].is_null() && report["generator"]["lag_p99_us"].is_null());
        let why = report["generator"]["why"].as_str().expect("a label");
        assert!(why.starts_with("generator-bound") && why.contains("--server-pid"), "{why}");
    }
}

#[test]
fn every_fault_is_found_and_no_other() {
    let server = serve(|socket, publication, subscriber, message| {
        match (publication, subscriber) {
            // Two subscribers miss one, and all ten miss another.
            (20, 3 | 5) | (90, _) => {}
            (50, 1) => {
                send(socket, message);
                send(socket, message);
            }
            // The second of these comes before the first, which `hold` has.
            (70, 2) => *hold() = Some(message.clone()),
            (71, 2) => {
                send(socket, message);
                let held = hold().take().expect("the one before");
                send(socket, &held);
            }
            (100, 4) => {
                let mut text = message.to_text().expect("text").to_owned();
                text.replace_range(50..51, if &text[50..51] == "x" { "y" } else { "x" });
                send(socket, &Message::text(text));
            }
            _ => send(socket, message),
        }
    });
    let (code, report) = fanout(server, &["--subscribers", "10"]);
    assert_verdict(code, &report, 2);
    assert_eq!(report["messages"]["expected"], 2_000, "{report}");
    // The changed one is missing too.
    assert_eq!(faults(&report), [13, 1, 1, 1], "{report}");
    assert_eq!(report["messages"]["delivered"], 1_987, "{report}");
}

#[test]
fn what_a_close_explains_is_told_from_what_it_does_not() {
    let server = serve(|socket, publication, subscriber, message| {
        let _ = match (publication, subscriber) {
            (121, 6) => close(socket, 3008),
            (151, 7) => close(socket, 1011),
            (161, 8) => socket.get_ref().shutdown(std::net::Shutdown::Both).map_err(Into::into),
            _ => socket.send(message.clone()),
        };
    });
    let (code, report) = fanout(server, &["--subscribers", "10"]);
    assert_verdict(code, &report, 4);
    assert_eq!(report["messages"]["dropped_by_policy"], 80, "{report}");
    assert_eq!(faults(&report), [50 + 40, 0, 0, 0], "{report}");
    assert_eq!(report["connections"]["lost"], 3, "{report}");
    let causes = &report["connections"]["causes"];
    for cause in ["the server sent Close 3008", "the server sent Close 1011"] {
        assert_eq!(causes[cause], 1, "{report}");
    }
    assert_eq!(report["fanout"]["closed_by_policy"]["3008"], 1, "{report}");
}

#[test]
fn a_gap_in_the_life_of_a_connection_that_goes_is_found() {
    let server = serve(|socket, publication, subscriber, message| {
        if (publication, subscriber) != (3, 1) {
            send(socket, message);
        }
    });
    let (code, report) = fanout(server, &["--subscribers", "3", "--churn", "5"]);
    assert_verdict(code, &report, 2);
    assert_eq!(faults(&report), [1, 0, 0, 0], "{report}");
}

#[test]
fn wrong_usage_is_told() {
    for arguments in [
        &["--size", "33"][..],
        &["--channels", "2", "--protocol", "none"],
        &["--subscribers", "2", "--slow-readers", "3"],
        &["--duration", "24h", "--rate", "1000000"],
        &["--zipf", "-1"],
        &["--rate", "1000001"],
        &["--rate", "0", "--churn", "1"],
        &["--rate", "0", "--slow-readers", "100"],
    ] {
        let fixed = ["fanout", "--url=ws://127.0.0.1:1/", "--publish=http://127.0.0.1:1/"];
        let rate: &[&str] = if arguments.contains(&"--rate") { &[] } else { &["--rate", "1"] };
        let all = [&fixed, rate, arguments].concat();
        let output = Command::new(PROGRAM).args(&all).output().expect("it starts");
        assert_eq!(output.status.code(), Some(1), "{all:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!arguments.contains(&"33") || said.contains("needs 34 bytes"), "{said}");
    }
}

#[test]
fn nobody_to_publish_to_is_a_failed_connection() {
    let server = serve(|socket, _, _, message| send(socket, message));
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let publish = format!("http://{}/", free.local_addr().expect("bound"));
    drop(free);
    let url = format!("ws://{server}/sub");
    let arguments = ["fanout", "--url", &url, "--publish", &publish, "--rate", "10"];
    let (code, report) =
        bench(&[&arguments[..], &["--duration", "100ms", "--publishers", "2"]].concat());
    assert_eq!(code, 4, "{report}");
    assert_eq!(report["connections"]["failed"], 2, "{report}");
    assert_eq!(report["fanout"]["publications"]["sent"], 0, "{report}");
}

/// One second at 200 a second, all on one WebSocket.
fn fanout(server: SocketAddr, arguments: &[&str]) -> (i32, Value) {
    let (url, publish) = (format!("ws://{server}/sub"), format!("ws://{server}/pub"));
    let fixed = ["fanout", "--url", &url, "--publish", &publish, "--protocol=none", "--warm-up=0s"];
    let times: &[&str] =
        if arguments.contains(&"--rate=0") { &[] } else { &["--rate", "200", "--duration", "1s"] };
    bench(&[&fixed[..], times, arguments].concat())
}

/// Lost, duplicated, reordered, unknown.
fn faults(report: &Value) -> [u64; 4] {
    ["lost", "duplicated", "reordered", "unknown"]
        .map(|fault| report["messages"][fault].as_u64().expect("a count"))
}

/// Sends what comes on `/pub` to everyone on `/sub`, as `deliver` does, until the process ends.
fn serve(deliver: Deliver) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let subscribers = Arc::new(Mutex::new(Vec::new()));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a client");
            stream.set_nodelay(true).expect("a socket");
            let mut path = String::new();
            #[expect(clippy::result_large_err, reason = "the type of the library's callback")]
            let note = |request: &Request, response: Response| {
                path = request.uri().path().to_owned();
                Ok(response)
            };
            let mut socket = tungstenite::accept_hdr(stream, note).expect("a handshake");
            let subscribers = subscribers.clone();
            if path == "/pub" {
                thread::spawn(move || publish(&mut socket, &subscribers, deliver));
                continue;
            }
            let twin = socket.get_ref().try_clone().expect("a descriptor");
            let writer = WebSocket::from_raw_socket(twin, Role::Server, None);
            subscribers.lock().expect("no panic").push(writer);
            // Answers the Close.
            thread::spawn(move || while socket.read().is_ok() {});
        }
    });
    address
}

fn publish(publisher: &mut Socket, subscribers: &Mutex<Vec<Socket>>, deliver: Deliver) {
    let mut publication = 0;
    while let Ok(message) = publisher.read() {
        if message.is_text() {
            publication += 1;
            let mut subscribers = subscribers.lock().expect("no panic");
            for (number, socket) in subscribers.iter_mut().enumerate() {
                deliver(socket, publication, number, &message);
            }
        }
    }
}

/// A client that has gone is none of the server's business.
fn send(socket: &mut Socket, message: &Message) {
    let _ = socket.send(message.clone());
}

fn close(socket: &mut Socket, code: u16) -> tungstenite::Result<()> {
    socket.close(Some(CloseFrame { code: CloseCode::from(code), reason: "".into() }))
}

/// The one message a test holds back.
fn hold() -> std::sync::MutexGuard<'static, Option<Message>> {
    static HELD: Mutex<Option<Message>> = Mutex::new(None);
    HELD.lock().expect("no panic")
}
