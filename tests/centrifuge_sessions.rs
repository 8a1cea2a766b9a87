//! Hazard: a client library meets a server that is not quite the one it was written for.
//!
//! What a hand-made client must see of the Centrifuge protocol, byte by byte where it matters; what
//! real ones see is in `tests/clients` and `tests/rust-sdk`.

mod gateway;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use gateway::Gateway;
use gateway::centrifuge::{Refused, Session};
use gateway::client::Incoming;

fn connect(gateway: &Gateway) -> Session {
    Session::connect(gateway.clients, None).expect("anyone may")
}

fn subscribed(gateway: &Gateway, channel: &str) -> Session {
    let mut session = connect(gateway);
    session.ask("subscribe", &json!({"channel": channel})).expect("anyone may");
    session
}

#[test]
fn commands_in_one_message_are_answered_in_order() {
    let gateway = Gateway::dev(&["--shards=2"]);
    let mut session = Session::open(gateway.clients);
    let client = session.client();
    client
        .send_text("{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"news\"}}\n");
    let mut lines = Vec::<Value>::new();
    while lines.len() < 2 {
        let text = client.text();
        lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")));
    }
    assert_eq!(lines[0]["id"], 1);
    let connected = lines[0]["connect"].as_object().expect("a result");
    assert_eq!(connected["client"].as_str().expect("an id").len(), 36);
    assert_eq!((&connected["ping"], &connected["pong"]), (&json!(25), &json!(true)));
    assert_eq!((&lines[1]["id"], &lines[1]["subscribe"]["recoverable"]), (&json!(2), &json!(true)));
    assert_eq!(lines.len(), 2);
    drop(session);
    gateway.stop();
}

#[test]
fn connect_comes_first_and_once() {
    let gateway = Gateway::dev(&[]);
    let mut first = Session::open(gateway.clients);
    let subscribe = first.ask("subscribe", &json!({"channel": "news"}));
    assert_eq!(subscribe, Err(Refused::Closed(3501)));
    assert_eq!(connect(&gateway).ask("connect", &json!({})), Err(Refused::Closed(3501)));
    gateway.stop();
}

#[test]
fn who_does_not_connect_in_time_is_stale() {
    let gateway = Gateway::dev(&["--set=limits.handshake_timeout=300ms"]);
    assert_eq!(Session::open(gateway.clients).closed(), 3502);
    // The others stay.
    let mut session = connect(&gateway);
    assert_eq!(Session::open(gateway.clients).closed(), 3502);
    assert_eq!(session.ask("rpc", &json!({})), Err(Refused::Error(104)));
    drop(session);
    gateway.stop();
}

#[test]
fn pings_want_one_pong_each() {
    let interval = Duration::from_millis(400);
    let gateway =
        Gateway::dev(&["--set=limits.ping_interval=400ms", "--set=limits.pong_timeout=400ms"]);
    let mut silent = Session::open(gateway.clients);
    let begun_at = Instant::now();
    silent.client().send_text(r#"{"id":1,"connect":{}}"#);
    assert!(silent.client().text().starts_with(r#"{"id":1,"connect":{"#));
    assert_eq!(silent.client().text(), "{}");
    assert!(begun_at.elapsed() >= interval / 2, "{:?}", begun_at.elapsed());
    assert_eq!(silent.closed(), 3012);
    let mut eager = connect(&gateway);
    assert_eq!(eager.client().text(), "{}");
    eager.client().send_text("{}");
    eager.client().send_text("{}");
    assert_eq!(eager.closed(), 3501);
    let mut early = connect(&gateway);
    early.client().send_text("{}");
    assert_eq!(early.closed(), 3501);
    gateway.stop();
}

#[test]
fn all_subscribers_get_the_same_bytes() {
    let gateway = Gateway::dev(&["--shards=2"]);
    let mut all: Vec<_> = (0..4).map(|_| subscribed(&gateway, "news")).collect();
    let data = [r#"{"a":  1.50,"a":[1e2, "\u00fc"]}"#, "null", r#""\n""#, "12345678901234567890"];
    for (offset, data) in (1..).zip(data) {
        gateway.publish("news", data);
        let frames: Vec<_> = all.iter_mut().map(|session| session.client().text()).collect();
        assert!(frames.iter().all(|frame| *frame == frames[0]), "{frames:?}");
        assert!(frames[0].contains(&format!(r#""data":{data}"#)), "{}", frames[0]);
        let push: Value = serde_json::from_str(&frames[0]).expect("one line");
        assert_eq!(push["push"]["pub"]["offset"], offset);
    }
    let mut publisher = connect(&gateway);
    publisher.ask("publish", &json!({"channel": "news", "data": 1})).expect("anyone may");
    let frames: Vec<_> = all.iter_mut().map(|session| session.client().text()).collect();
    assert!(frames.iter().all(|frame| *frame == frames[0]), "{frames:?}");
    drop((all, publisher));
    gateway.stop();
}

/// Tells by the highest number that nobody looks any more.
struct Ended<'a>(&'a AtomicU64);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(u64::MAX, Ordering::Relaxed);
    }
}

/// Subscribes again and again while somebody publishes: what recovery and live delivery give
/// together is every publication, once and in order.
#[test]
fn nothing_is_lost_or_doubled_between_recovery_and_live_delivery() {
    let gateway = Gateway::dev(&["--shards=2", "--set=channel.history_size=10000"]);
    let mut session = connect(&gateway);
    let first = session.ask("subscribe", &json!({"channel": "busy"})).expect("anyone may");
    let epoch = first["epoch"].clone();
    // Of the offsets: published, and seen.
    let (published, seen) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        // Also when an assertion fails: the publisher ends with the one that looks.
        let _ended = Ended(&seen);
        scope.spawn(|| {
            let mut publisher = connect(&gateway);
            while seen.load(Ordering::Relaxed) != u64::MAX {
                // No more than recovery hands out, or than may wait for a client.
                if published.load(Ordering::Relaxed)
                    > seen.load(Ordering::Relaxed).saturating_add(200)
                {
                    thread::yield_now();
                    continue;
                }
                let publish = json!({"channel": "busy", "data": "x".repeat(100)});
                publisher.ask("publish", &publish).expect("anyone may");
                published.fetch_add(1, Ordering::Relaxed);
            }
        });
        let next = |publication: &Value| {
            let last = seen.fetch_add(1, Ordering::Relaxed) + 1;
            assert_eq!(publication["offset"], last);
            last
        };
        for _ in 0..200 {
            let mut last = next(&session.push()["pub"]);
            session.ask("unsubscribe", &json!({"channel": "busy"})).expect("always");
            while let Some(push) = session.earlier_push() {
                last = next(&push["pub"]);
            }
            let recover =
                json!({"channel": "busy", "recover": true, "epoch": epoch, "offset": last});
            let reply = session.ask("subscribe", &recover).expect("anyone may");
            assert_eq!(reply["recovered"], true, "{reply}");
            assert_eq!(reply["was_recovering"], true, "{reply}");
            for publication in reply["publications"].as_array().into_iter().flatten() {
                next(publication);
            }
        }
    });
    drop(session);
    gateway.stop();
}

#[test]
fn a_client_that_stops_reading_is_closed_and_its_memory_comes_back() {
    let gateway = Gateway::dev(&[
        "--shards=2",
        "--set=channel.history_size=0",
        "--set=channel.recovery=false",
    ]);
    let mut stopped = subscribed(&gateway, "news");
    let mut reading = subscribed(&gateway, "news");
    let data = "x".repeat(60_000);
    let mut count = 0;
    while gateway.metrics().sum("tidegate_slow_consumers_disconnected_total") == 0 {
        count += 1;
        gateway.publish("news", &json!([count, data]).to_string());
        assert_eq!(reading.push()["pub"]["data"][0], count);
    }
    for number in 1.. {
        match stopped.client().next() {
            Incoming::Text(text) => {
                assert!(text.contains(&format!(r#""data":[{number},"#)), "whole and in order");
            }
            end => {
                let slow = (3008, "slow consumer".to_owned());
                assert_eq!(end, Incoming::Close(Some(slow)));
                assert!(number <= count, "something was dropped");
                break;
            }
        }
    }
    gateway.await_metrics("what waited for it is gone", |m| m.sum("tidegate_outbox_bytes") == 0);
    gateway.publish("news", "\"after\"");
    assert_eq!(reading.push()["pub"]["data"], "after");
    drop((stopped, reading));
    gateway.await_no_clients();
    gateway.stop();
}
