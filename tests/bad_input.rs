//! Hazard: what one client says ends or disturbs what others do.
//!
//! Each row is sent to a running gateway by a client of its own and must lead to the documented
//! code. After each one, a client of each protocol that listens elsewhere gets a publication.

mod gateway;

use std::cell::Cell;

use serde_json::{Value, json};
use tidegate::limits;
use tidegate::ws::Opcode;

use gateway::Gateway;
use gateway::centrifuge::{Refused, Session};
use gateway::client::{Client, Incoming};

/// A gateway with somebody on each protocol who must not notice.
struct Stage {
    gateway: Gateway,
    session: Session,
    raw: Client,
    told: u64,
}

impl Stage {
    fn new() -> Self {
        let gateway = Gateway::dev(&["--shards=2"]);
        let mut session = Session::connect(gateway.clients, None).expect("anyone may");
        session.ask("subscribe", &json!({"channel": "others"})).expect("anyone may");
        let raw = Client::connect(gateway.clients, "/raw?channel=others");
        Self { gateway, session, raw, told: 0 }
    }

    /// The others get what is published, this and nothing else, and are answered.
    fn check_others(&mut self) {
        self.told += 1;
        self.gateway.publish("others", &self.told.to_string());
        assert_eq!(self.session.push()["pub"]["data"], self.told);
        assert_eq!(self.raw.text(), self.told.to_string());
        assert_eq!(self.session.ask("rpc", &json!({})), Err(Refused::Error(104)));
    }

    fn connected(&self) -> Session {
        Session::connect(self.gateway.clients, None).expect("anyone may")
    }

    fn end(self) {
        drop((self.session, self.raw));
        self.gateway.await_no_clients();
        self.gateway.stop();
    }
}

/// JSON that is nested so deeply.
fn nested(depth: usize) -> String {
    "[".repeat(depth) + &"]".repeat(depth)
}

/// With blanks behind it, so many bytes.
fn padded(text: &str, len: usize) -> String {
    text.to_owned() + &" ".repeat(len - text.len())
}

fn text(text: &str) -> (Opcode, Vec<u8>) {
    (Opcode::Text, text.as_bytes().to_vec())
}

/// A subscribe command that carries its id as it stands here.
fn with_id(id: &str) -> (Opcode, Vec<u8>) {
    text(&format!(r#"{{"id":{id},"subscribe":{{"channel":"a"}}}}"#))
}

/// Messages that end a connection of the Centrifuge protocol, whether it has said connect or not.
fn fatal() -> Vec<((Opcode, Vec<u8>), u16)> {
    let command = r#"{"id":9,"subscribe":{"channel":"a"}}"#;
    let too_deep = nested(limits::JSON_DEPTH_MAX + 1);
    let mut rows = vec![
        (text(&padded(command, limits::MESSAGE_SIZE_DEFAULT + 1)), 1009),
        (text(&format!(r#"{{"id":9,"publish":{{"channel":"a","data":{too_deep}}}}}"#)), 3501),
        (text(&nested(32_000)), 3501),
        (text(&"[".repeat(60_000)), 3501),
        (text(&r#"{"a":"#.repeat(12_000)), 3501),
        ((Opcode::Binary, command.as_bytes().to_vec()), 3501),
        ((Opcode::Binary, vec![]), 3501),
        // RFC 3629: a byte that never stands in UTF-8, a cut sequence, a surrogate, an overlong
        // form, and what lies beyond the last character.
        ((Opcode::Text, b"{\"id\":9,\"rpc\":{\"method\":\"\xFF\"}}".to_vec()), 1007),
        ((Opcode::Text, b"{\"id\":9,\"rpc\":{}}\xC3".to_vec()), 1007),
        ((Opcode::Text, b"\"\xED\xA0\x80\"".to_vec()), 1007),
        ((Opcode::Text, b"\"\xC0\x80\"".to_vec()), 1007),
        ((Opcode::Text, b"\"\xF4\x90\x80\x80\"".to_vec()), 1007),
        (text(r#"{"id":9,"subscribe":{"channel":"\ud800"}}"#), 3501),
        (text(" \n\r\n\t"), 3501),
        (text("\0"), 3501),
        (text("nonsense"), 3501),
        (text("[]"), 3501),
        (text("9"), 3501),
        (text("null"), 3501),
        (text(r#"{"id":9}"#), 3501),
        (text(r#"{"id":9,"id":10,"rpc":{}}"#), 3501),
        (text(r#"{"id":9,"subscribe":[]}"#), 3501),
        (text(r#"{"id":9,"subscribe":{"channel":7}}"#), 3501),
        (text(r#"{"id":9,"subscribe":{"channel":"a","offset":-1}}"#), 3501),
        (text(r#"{"id":9,"subscribe":{"channel":""}}"#), 3501),
    ];
    for id in ["0", "-1", "1.5", "1e3", "4294967296", "18446744073709551616", "\"9\"", "null", "[]"]
    {
        rows.push((with_id(id), 3501));
    }
    rows.push((with_id(&"9".repeat(60_000)), 3501));
    // Cut anywhere, the empty message among them.
    rows.extend((0..command.len()).map(|len| (text(&command[..len]), 3501)));
    let mut random = fastrand::Rng::with_seed(5);
    for len in [1, 2, 7, 125, 126, 4_000, 60_000] {
        let noise: String = (0..len).map(|_| random.char(' '..='\u{FFFF}')).collect();
        // No character of JSON's own to begin with, lest it begin with a command.
        rows.push((text(&format!("~{}", noise.chars().take(len / 3).collect::<String>())), 3501));
    }
    rows
}

#[test]
fn a_message_that_is_no_command_ends_its_connection_alone() {
    let mut stage = Stage::new();
    for ((opcode, payload), code) in fatal() {
        for connected in [true, false] {
            let mut session =
                if connected { stage.connected() } else { Session::open(stage.gateway.clients) };
            session.client().send(opcode, &payload);
            let shown = &payload[..payload.len().min(60)];
            let shown = String::from_utf8_lossy(shown);
            assert_eq!(session.closed(), code, "{opcode:?} {shown} after connect: {connected}");
        }
        stage.check_others();
    }
    stage.end();
}

#[test]
fn bytes_that_are_no_frames_end_their_connection_alone() {
    let mut stage = Stage::new();
    let mut random = fastrand::Rng::with_seed(7);
    for target in ["/connection/websocket", "/raw?channel=a&publish=1"] {
        for _ in 0..50 {
            let mut bytes = [0; 200];
            random.fill(&mut bytes);
            // Reserved bits, which no extension here gives a meaning.
            bytes[0] |= 0x30;
            let mut client = Client::connect(stage.gateway.clients, target);
            client.send_raw(&bytes);
            assert_eq!(client.closed().0, 1002, "{bytes:02x?}");
            stage.check_others();
        }
    }
    stage.end();
}

#[test]
fn a_good_command_before_a_bad_one_is_carried_out() {
    let mut stage = Stage::new();
    let mut session = stage.connected();
    let good = r#"{"id":6,"publish":{"channel":"others","data":"last words"}}
        {"id":7,"rpc":{}}"#;
    session.client().send_text(&format!("{good}\n{{\"id\":8"));
    assert_eq!(stage.session.push()["pub"]["data"], "last words");
    assert_eq!(stage.raw.text(), "\"last words\"");
    // What its own shard answers comes before the end; the channel's owner may be too late for it.
    let (mut replies, mut next) = (String::new(), session.client().next());
    while let Incoming::Text(text) = next {
        replies += &text;
        next = session.client().next();
    }
    assert!(replies.contains(r#"{"id":7,"error":{"code":104"#), "{replies}");
    assert_eq!(next, Incoming::Close(Some((3501, "bad request".to_owned()))));
    drop(session);
    stage.check_others();
    stage.end();
}

#[test]
fn what_is_just_within_the_limits_is_accepted() {
    let mut stage = Stage::new();
    let mut session = stage.connected();
    let name = "n".repeat(limits::CHANNEL_NAME_MAX);
    session.ask("subscribe", &json!({"channel": name})).expect("the longest name");
    let command = r#"{"id":4294967295,"rpc":{}}"#;
    let largest = padded(command, limits::MESSAGE_SIZE_DEFAULT);
    let deepest = nested(limits::JSON_DEPTH_MAX);
    for (text, reply) in [
        (largest, r#"{"id":4294967295,"error":{"code":104,"message":"method not found"}}"#),
        // Numbers are the client's: it may use one again.
        (
            command.to_owned(),
            r#"{"id":4294967295,"error":{"code":104,"message":"method not found"}}"#,
        ),
        (
            format!(r#"{{"id":9,"publish":{{"channel":"others","data":{deepest}}}}}"#),
            r#"{"id":9,"publish":{}}"#,
        ),
        // An escape that JSON needs not.
        (
            r#"{"\u0069d":10,"unsubscribe":{"channel":"\u006e"}}"#.to_owned(),
            r#"{"id":10,"unsubscribe":{}}"#,
        ),
    ] {
        session.client().send_text(&text);
        assert_eq!(session.client().text(), reply);
    }
    assert_eq!(stage.session.push()["pub"]["data"].to_string(), deepest);
    assert_eq!(stage.raw.text(), deepest);
    drop(session);
    stage.check_others();
    stage.end();
}

#[test]
fn what_is_past_a_limit_is_refused_by_number_and_the_connection_goes_on() {
    let mut stage = Stage::new();
    let mut session = stage.connected();
    let long = json!({"channel": "n".repeat(limits::CHANNEL_NAME_MAX + 1), "data": 1});
    for method in ["subscribe", "publish", "presence", "presence_stats", "history"] {
        assert_eq!(session.ask(method, &long), Err(Refused::Error(107)), "{method}");
    }
    // That never fails, for clients connect again when it does.
    assert_eq!(session.ask("unsubscribe", &long), Ok(json!({})));
    for number in 0..limits::CHANNELS_PER_CONNECTION_MAX {
        session.ask("subscribe", &json!({"channel": format!("c{number}")})).expect("one of 128");
    }
    let one_more = json!({"channel": "c128"});
    assert_eq!(session.ask("subscribe", &one_more), Err(Refused::Error(106)));
    assert_eq!(session.ask("unsubscribe", &json!({"channel": "c5"})), Ok(json!({})));
    session.ask("subscribe", &one_more).expect("there is room again");
    stage.check_others();
    let api = |channel: &str, data: &str| {
        let body = format!(r#"{{"channel":"{channel}","data":{data}}}"#);
        let answer = stage.gateway.call("/api/publish", &body);
        let code =
            serde_json::from_str::<Value>(&answer.text()).expect("JSON")["error"]["code"].take();
        (answer.status, code)
    };
    assert_eq!(api(&"n".repeat(limits::CHANNEL_NAME_MAX + 1), "1"), (200, json!(107)));
    assert_eq!(api("others", &nested(limits::JSON_DEPTH_MAX + 1)), (200, json!(107)));
    assert_eq!(api("others", &nested(100_000)), (200, json!(107)));
    assert_eq!(stage.gateway.call("/api/publish", r#"{"channel":"others","data":["#).status, 400);
    let mut publisher = Client::connect(stage.gateway.clients, "/raw?channel=others&publish=1");
    publisher.send_text(&nested(limits::JSON_DEPTH_MAX + 1));
    publisher.send(Opcode::Binary, b"\xFF");
    publisher.ping(b"nothing was published, and it goes on");
    stage.check_others();
    drop((session, publisher));
    stage.end();
}

#[test]
fn json_on_several_lines_arrives_on_one() {
    let pretty = "{\n  \"a\": [1,\r\n\t2],\n  \"text\": \"one\\ntwo\"\n}\n";
    let plain: Value = serde_json::from_str(pretty).expect("JSON");
    let mut stage = Stage::new();
    let mut session = stage.connected();
    let mut publisher = Client::connect(stage.gateway.clients, "/raw?channel=others&publish=1");
    let from = Cell::new("");
    let mut check = |stage: &mut Stage| {
        // Each line by itself would be no JSON, and the session would say so.
        let push = stage.session.push();
        assert_eq!(push["pub"]["data"], plain, "from {}", from.get());
        let raw = stage.raw.text();
        assert_eq!(serde_json::from_str::<Value>(&raw).expect("JSON"), plain);
        let kept =
            session.ask("history", &json!({"channel": "others", "limit": 1, "reverse": true}));
        assert_eq!(kept.expect("anyone may")["publications"][0]["data"], plain);
    };
    from.set("the API");
    stage.gateway.publish("others", pretty);
    check(&mut stage);
    from.set("a client of the raw protocol");
    publisher.send_text(pretty);
    check(&mut stage);
    from.set("a client of the Centrifuge protocol");
    let mut other = stage.connected();
    other.client().send_text(&format!(
        "{{\n\"id\":\n8,\n\"publish\":{{\"channel\":\"others\",\n\"data\":{pretty}}}\n}}\n"
    ));
    assert_eq!(other.client().text(), r#"{"id":8,"publish":{}}"#);
    check(&mut stage);
    drop((session, publisher, other));
    stage.end();
}
