//! Batches, refusals without mail, and how errors are told.

use super::*;
use crate::control::method::Method;

#[test]
fn a_batch_is_answered_in_order_whether_parallel_or_not() {
    for parallel in [false, true] {
        let gateway = Gateway::start(Options::default());
        let body = serde_json::json!({"parallel": parallel, "commands": [
            {"publish": {"channel": "a", "data": 1}},
            {"publish": {"channel": "", "data": 1}},
            {"rpc": {"method": "m", "params": [1]}},
            {"broadcast": {"channels": ["a", "full"], "data": 2}},
        ]});
        let answer = gateway.post("/api/batch", &body.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
        let json = answer.json();
        assert_eq!(json.as_object().map(|object| object.len()), Some(1));
        let replies = json["replies"].as_array().expect("a list");
        assert_eq!(replies.len(), 4);
        assert_eq!(replies[0]["publish"]["epoch"], epoch().as_str());
        assert_eq!(replies[1]["error"]["code"], 107);
        assert_eq!(replies[2]["error"]["code"], 104);
        let responses = &replies[3]["broadcast"]["responses"];
        assert!(responses[0]["result"]["offset"].is_u64());
        assert_eq!(responses[1]["error"]["code"], 100);
        // Two commands and one channel.
        assert_eq!(gateway.stats.control.counters.api_errors.get(), 3);
    }
}

#[test]
fn publishes_of_a_batch_keep_their_order() {
    let gateway = Gateway::start(Options::default());
    let commands: Vec<_> =
        (0..100).map(|n| serde_json::json!({"publish": {"channel": "a", "data": n}})).collect();
    let body = serde_json::json!({ "commands": commands }).to_string();
    let json = gateway.post("/api/batch", &body).json();
    for (index, reply) in json["replies"].as_array().expect("a list").iter().enumerate() {
        assert_eq!(reply["publish"]["offset"], index + 1);
        let (_, payload) = gateway.next_published();
        assert_eq!(payload, Payload::text(&index.to_string()));
    }
}

#[test]
fn errors_are_told_by_code_or_in_transport_mode_by_status_too() {
    let gateway = Gateway::start(Options::default());
    for (method, body, code, status) in [
        ("publish", r#"{"channel":"a"}"#, 107, 400),
        ("presence", r#"{"channel":"unknown:a"}"#, 102, 404),
        ("presence", r#"{"channel":"a"}"#, 108, 400),
        ("presence_stats", r#"{"channel":"a"}"#, 108, 400),
        ("history", r#"{"channel":"a"}"#, 108, 400),
        ("history", r#"{"channel":"unknown:a"}"#, 102, 404),
        ("history", r#"{"channel":"full:a","limit":-2}"#, 107, 400),
        ("history_remove", r#"{"channel":"a"}"#, 108, 400),
        ("rpc", r#"{"method":"a"}"#, 104, 404),
        ("rpc", r#"{"method":""}"#, 107, 400),
        ("channels", r#"{"pattern":"[a"}"#, 107, 400),
    ] {
        let path = format!("/api/{method}");
        gateway.post(&path, body).error(200, code);
        let mode = "Content-Type: application/json\r\nX-Centrifugo-Error-Mode: transport\r\n";
        gateway.request(&format!("POST {path}"), mode, body).error(status, code);
    }
    for path in ["/api/nothing", "/api/Publish", "/api/publish/", "/api/", "/api/map_publish"] {
        gateway.post(path, "{}").error(404, 104);
    }
    gateway.request("GET /api/history", "", "").error(405, 104);
}

#[test]
fn without_room_nothing_is_asked_and_the_answer_is_503() {
    let mut gateway = Gateway::start(Options { lane_len: 1, held: true, ..Options::default() });
    let waiting = gateway.begin_broadcast(100);
    gateway.await_rung();
    for (method, body) in [
        ("history", r#"{"channel":"full:a"}"#),
        ("presence", r#"{"channel":"full:a"}"#),
        ("channels", "{}"),
        ("info", "{}"),
    ] {
        let answer = gateway.post(&format!("/api/{method}"), body);
        assert!(answer.error(503, 100).contains("too much to do"), "{method}");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    assert_eq!(gateway.stats.control.counters.api_mail_full.get(), 4);
    gateway.held.clear();
    drop((gateway, waiting));
}

#[test]
fn a_question_left_in_the_lane_of_an_ended_shard_is_503() {
    let mut gateway = Gateway::start(Options { held: true, ..Options::default() });
    let body = r#"{"channel":"full:a"}"#;
    let mut socket = gateway.connect();
    write!(
        socket,
        "POST /api/presence HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("the gateway reads");
    // The calls of one control thread are carried out in order.
    let waiting = gateway.begin_broadcast(100);
    gateway.await_rung();
    gateway.held.clear();
    drop(gateway);
    assert!(read_answer(socket).error(503, 100).contains("stopping"));
    drop(waiting);
}

#[test]
fn the_description_names_every_method() {
    let gateway = Gateway::start(Options::default());
    let description = gateway.get("/api/openapi.json").json();
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    let described: std::collections::BTreeSet<_> =
        description["paths"].as_object().expect("paths").keys().cloned().collect();
    let there: std::collections::BTreeSet<_> =
        Method::ALL.iter().map(|method| format!("/api/{}", method.name())).collect();
    assert_eq!(described, there);
}
