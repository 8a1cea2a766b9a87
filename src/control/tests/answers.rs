//! What the API answers to those who may use it.

use super::*;

#[test]
fn publish_answers_with_the_position_and_passes_the_text_on() {
    let gateway = Gateway::start(Options::default());
    let data = "{ \"n\" : 1,\n\t\"big\": 123456789012345678901234567890, \"s\": \"\\u00fc ü\" }";
    let answer =
        gateway.post("/api/publish", &format!("{{\"channel\":\"news\",\"data\":{data} }}"));
    assert_eq!(answer.body, r#"{"result":{"offset":1,"epoch":"abaaaaaa"}}"#);
    assert_eq!(answer.status, 200);
    assert_eq!(gateway.next_published(), ("news".into(), Payload::text(data)));
    let answer = gateway.post("/api/publish", r#"{"b64data":"AAH/","channel":"news"}"#);
    assert_eq!(answer.offset(), 2);
    assert_eq!(gateway.next_published(), ("news".into(), Payload::binary(&[0, 1, 255])));
}

#[test]
fn one_connection_carries_many_calls() {
    let gateway = Gateway::start(Options::default());
    let body = r#"{"channel":"news","data":1}"#;
    let call = |connection: &str| {
        format!(
            "POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: {connection}\r\n\r\n{body}",
            body.len()
        )
    };
    let answer = gateway.send([call("keep-alive"), call("keep-alive"), call("close")].concat());
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains(r#""offset":3"#), "{answer:?}");
}

#[test]
fn a_client_that_shuts_down_its_sending_side_gets_its_answer() {
    let gateway = Gateway::start(Options::default());
    let mut socket = gateway.connect();
    let body = r#"{"channel":"news","data":1}"#;
    write!(
        socket,
        "POST /api/publish HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("the gateway reads");
    socket.shutdown(std::net::Shutdown::Write).expect("open");
    assert_eq!(read_answer(socket).offset(), 1);
}

#[test]
fn bad_requests_are_status_200_with_code_107() {
    let gateway = Gateway::start(Options::default());
    let long = "x".repeat(256);
    for (body, text) in [
        (r#"{"data":1}"#.to_owned(), "channel is missing"),
        (r#"{"channel":"","data":1}"#.to_owned(), "channel is empty"),
        (format!(r#"{{"channel":"{long}","data":1}}"#), "channel has 256 bytes"),
        (r#"{"channel":"a\n","data":1}"#.to_owned(), "channel holds the control character U+000A"),
        (r#"{"channel":"a"}"#.to_owned(), "data is missing"),
        (r#"{"channel":"a","data":1,"b64data":""}"#.to_owned(), "both"),
        (r#"{"channel":"a","b64data":"!"}"#.to_owned(), "b64data is not base64"),
        (format!(r#"{{"channel":"a","data":{}1{}}}"#, "[".repeat(121), "]".repeat(121)), "120"),
    ] {
        let message = gateway.post("/api/publish", &body).error(200, 107);
        assert!(message.contains(text), "{message}");
    }
    gateway.assert_nothing_published();
    assert_eq!(gateway.stats.control.counters.api_errors.get(), 8);
}

#[test]
fn publication_limit_is_inclusive_and_named() {
    let gateway = Gateway::start(Options::default());
    let publish = |len: usize| {
        let data = "x".repeat(len - 2);
        gateway.post("/api/publish", &format!(r#"{{"channel":"a","data":"{data}"}}"#))
    };
    assert_eq!(publish(limits::PUBLICATION_SIZE_DEFAULT).offset(), 1);
    let message = publish(limits::PUBLICATION_SIZE_DEFAULT + 1).error(200, 107);
    assert!(message.contains("publication_size (65536)") && message.contains("65537"), "{message}");
}

#[test]
fn unreadable_json_is_400_and_says_where() {
    let gateway = Gateway::start(Options::default());
    for (body, text) in [
        ("", "line 1 column 0"),
        ("{\n\"channel\":\"a\",\n\"data\": tru }", "line 3 column 12"),
        (r#"{"channel":5,"data":1}"#, "channel: invalid type: integer `5`, expected a string"),
        (r#"{"channel":"a","dat":1}"#, "unknown field `dat`, expected one of"),
        (r#"{"channel":"a","data":1,"data":2}"#, "duplicate field `data`"),
        (r#"["a",1]"#, "expected an object"),
        ("{\"channel\":\"a\",\"data\":1}\0", "trailing characters"),
    ] {
        let message = gateway.post("/api/publish", body).error(400, 107);
        assert!(message.contains(text) && message.contains("line"), "{message}");
    }
    let message = gateway.post("/api/publish", &"[".repeat(1_000_000)).error(400, 107);
    assert!(message.contains("channel and either data or b64data"), "{message}");
    gateway.assert_nothing_published();
}

#[test]
fn a_body_that_is_not_utf8_is_400() {
    let gateway = Gateway::start(Options::default());
    let mut request = b"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
        Content-Type: application/json\r\nContent-Length: 27\r\n\r\n"
        .to_vec();
    request.extend_from_slice(b"{\"channel\":\"a\",\"data\":\"\xff\xfe\"} ");
    gateway.send(request).error(400, 107);
    gateway.assert_nothing_published();
}

#[test]
fn broadcast_of_1000_channels_answers_in_order() {
    let gateway = Gateway::start(Options::default());
    let names: Vec<_> = (0..limits::BROADCAST_CHANNELS_MAX).map(|n| format!("c{n}")).collect();
    let body = serde_json::json!({"channels": names, "data": {"n": 1}}).to_string();
    let json = gateway.post("/api/broadcast", &body).json();
    let responses = json["result"]["responses"].as_array().expect("a list");
    assert_eq!(responses.len(), names.len());
    let mut offsets = std::collections::HashMap::new();
    for _ in &names {
        let (channel, payload) = gateway.next_published();
        assert_eq!(payload, Payload::text(r#"{"n":1}"#));
        offsets.insert(channel, ());
    }
    assert_eq!(offsets.len(), names.len());
    // Each stand-in shard numbers what it gets in the order sent, so each answer continues the
    // sequence of its channel's owner.
    let mut last = std::collections::BTreeSet::from([0]);
    for response in responses {
        let offset = offset(response);
        assert!(last.contains(&(offset - 1)), "offset {offset} is out of order");
        last.insert(offset);
    }
    gateway.assert_nothing_published();
}

#[test]
fn broadcast_with_bad_input_publishes_nothing() {
    let gateway = Gateway::start(Options::default());
    let many = serde_json::json!({"channels": vec!["a"; 1_001], "data": 1}).to_string();
    for (body, text) in [
        (r#"{"channels":["a",""],"data":1}"#, "channels[1] is empty"),
        (r#"{"channels":["a","b\u0007"],"data":1}"#, "channels[1] holds"),
        (r#"{"channels":[],"data":1}"#, "channels is empty"),
        (r#"{"data":1}"#, "channels is missing"),
        (r#"{"channels":["a"]}"#, "data is missing"),
        (r#"{"channels":["a"],"b64data":"x"}"#, "b64data"),
        (&many, "more than 1000 channels"),
    ] {
        let message = gateway.post("/api/broadcast", body).error(200, 107);
        assert!(message.contains(text), "{message}");
    }
    for body in [
        r#"{"channels":["a",1],"data":1}"#,
        r#"{"channels":"a","data":1}"#,
        r#"{"channel":"a","data":1}"#,
    ] {
        gateway.post("/api/broadcast", body).error(400, 107);
    }
    gateway.assert_nothing_published();
}

#[test]
fn broadcast_gives_each_channel_its_own_error() {
    let gateway = Gateway::start(Options::default());
    let answer =
        gateway.post("/api/broadcast", r#"{"channels":["a","full","a"],"b64data":"AA=="}"#);
    let json = answer.json();
    let responses = json["result"]["responses"].as_array().expect("a list");
    assert_eq!(offset(&responses[0]) + 1, offset(&responses[2]));
    assert_eq!(responses[1]["error"]["code"], 100);
    assert_eq!(gateway.stats.control.counters.api_errors.get(), 1);
}

#[test]
fn a_full_mailbox_is_503_at_once_and_nothing_is_published() {
    let mut gateway = Gateway::start(Options { lane_len: 1, held: true, ..Options::default() });
    // One publish for each lane is taken, the others are refused.
    let waiting = gateway.begin_broadcast(100);
    gateway.await_rung();
    let answer = gateway.post("/api/publish", r#"{"channel":"a","data":1}"#);
    let message = answer.error(503, 100);
    assert!(message.contains("full"), "{message}");
    assert_eq!(answer.header("retry-after"), Some("1"));
    let counters = &gateway.stats.control.counters;
    assert_eq!(counters.api_mail_full.get(), 1);
    assert_eq!(counters.api_errors.get(), 1);
    for post in std::mem::take(&mut gateway.held) {
        thread::spawn({
            let (publish, _) = mpsc::channel();
            post.bell.clear();
            post.bell.ring();
            move || answer_mail(post, &publish)
        });
    }
    let answer = read_answer(waiting);
    assert_eq!(answer.status, 200);
    let json = answer.json();
    let responses = json["result"]["responses"].as_array().expect("a list").iter();
    let (done, failed): (Vec<_>, Vec<_>) = responses.partition(|one| one.get("result").is_some());
    assert_eq!((done.len(), failed.len()), (2, 98));
    assert!(failed.iter().all(|one| one["error"]["code"] == 100));
    assert_eq!(gateway.stats.control.counters.api_mail_full.get(), 99);
}

#[test]
fn a_full_table_of_channels_is_503() {
    let gateway = Gateway::start(Options::default());
    let message = gateway.post("/api/publish", r#"{"channel":"full","data":1}"#).error(503, 100);
    assert!(message.contains("table of channels"), "{message}");
}

#[test]
fn publishing_stays_open_while_draining_and_ends_when_drained() {
    let gateway = Gateway::start(Options::default());
    let publish = || gateway.post("/api/publish", r#"{"channel":"a","data":1}"#);
    assert_eq!((gateway.get("/health").status, &*gateway.get("/health").body), (200, "{}"));
    gateway.lifecycle.advance(Phase::Draining);
    let answer = gateway.get("/health");
    assert!(answer.error(503, 100).contains("draining"));
    assert_eq!(publish().offset(), 1);
    gateway.lifecycle.advance(Phase::Drained);
    publish().error(503, 100);
    gateway.post("/api/broadcast", r#"{"channels":["a"],"data":1}"#).error(503, 100);
    gateway.get("/health").error(503, 100);
    assert_eq!(gateway.next_published().0, "a".into());
    gateway.assert_nothing_published();
}

#[test]
fn a_publish_left_in_the_lane_of_an_ended_shard_is_503() {
    let mut gateway = Gateway::start(Options { held: true, ..Options::default() });
    let waiting = gateway.begin_broadcast(100);
    gateway.await_rung();
    gateway.held.clear();
    drop(gateway);
    let json = read_answer(waiting).json();
    let responses = json["result"]["responses"].as_array().expect("a list");
    assert_eq!(responses.len(), 100);
    for response in responses {
        let message = response["error"]["message"].as_str().expect("an error");
        assert!(message.contains("stopping"), "{response}");
    }
}

#[test]
fn a_body_above_1_mib_is_413_also_for_who_writes_first_and_reads_afterwards() {
    let gateway = Gateway::start(Options::default());
    let publish = |padding: usize| {
        let body = r#"{"channel":"a","data":1}"#;
        gateway.post("/api/publish", &format!("{body}{}", " ".repeat(padding - body.len())))
    };
    assert_eq!(publish(limits::API_BODY_MAX).offset(), 1);
    for len in [limits::API_BODY_MAX + 1, limits::API_DISCARD_MAX] {
        let message = publish(len).error(413, 107);
        assert!(message.contains("1048576 bytes"), "{message}");
    }
    let head = "POST /api/publish HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                Content-Type: application/json\r\n";
    let asking = format!("{head}Content-Length: 1048577\r\nExpect: 100-continue\r\n\r\n");
    gateway.send(asking).error(413, 107);
    let chunk = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}1\r\n \r\n0\r\n\r\n");
    gateway.send(chunked).error(413, 107);
}

#[test]
fn a_body_that_ends_early_is_400() {
    let gateway = Gateway::start(Options::default());
    let mut socket = gateway.connect();
    let head = "POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Content-Length: 100\r\n\r\n{\"channel\"";
    socket.write_all(head.as_bytes()).expect("the gateway reads");
    socket.shutdown(std::net::Shutdown::Write).expect("open");
    read_answer(socket).error(400, 107);
}
