//! The thread with its lanes, and a backend on this machine.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Condvar, Mutex};
use std::thread;

use serde_json::{Value, json};

use super::super::tests::{PATIENCE, Running, hmac_token, with_keys_at};
use super::super::{Pace, PublicKeys};
use super::*;
use crate::id::{ClientKey, ConnId, ShardId};
use crate::mail::{Asker, AuthAsk, HookAsk, Ruling, Verdict};
use crate::protocol::claims::TokenText;
use crate::protocol::hook::{Dialect, ForwardedHeaders, HookReply, Newcomer, Refreshed, Topic};
use crate::stats::{HOOK_FAILURE_LABELS, HOOK_LABELS};
use crate::ws::CloseCode;

/// One request as the backend saw it.
#[derive(Clone, Debug)]
struct Seen {
    line: String,
    headers: Vec<String>,
    body: Value,
}

/// What it says to requests of one path.
#[derive(Clone, Debug)]
enum Say {
    Json(Value),
    Text(&'static str, String),
    /// Nothing, until the client hangs up.
    Silence,
}

/// A backend that notes what it is asked.
struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    changed: Condvar,
    connections: Mutex<usize>,
}

impl Server {
    fn start(say: impl Fn(&str) -> Say + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let of_thread = shared.clone();
        thread::spawn(move || {
            for socket in listener.incoming() {
                *of_thread.connections.lock().unwrap() += 1;
                let (say, shared) = (say.clone(), of_thread.clone());
                thread::spawn(move || serve(socket.unwrap(), &say, &shared));
            }
        });
        Self { address, shared }
    }

    fn hooks(&self) -> config::Hooks {
        let address =
            |hook: Hook| Some(format!("http://{}/{}", self.address, hook.name()).parse().unwrap());
        config::Hooks {
            addresses: Hook::ALL.map(address),
            timeout: PATIENCE,
            concurrency: 4,
            headers: Vec::new(),
            forward_headers: Vec::new(),
        }
    }

    /// The first `count` requests, once they are there.
    fn wait_seen(&self, count: usize) -> Vec<Seen> {
        let seen = self.shared.seen.lock().unwrap();
        let (seen, late) = self
            .shared
            .changed
            .wait_timeout_while(seen, PATIENCE, |seen| seen.len() < count)
            .unwrap();
        assert!(!late.timed_out(), "{} of {count} requests", seen.len());
        seen.clone()
    }
}

fn serve(socket: TcpStream, say: &impl Fn(&str) -> Say, shared: &Shared) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let mut socket = socket;
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let length = lines.iter().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.expect("a length").parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let line = lines.remove(0);
        let path = line.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
        let body = serde_json::from_slice(&body).expect("JSON");
        shared.seen.lock().unwrap().push(Seen { line, headers: lines, body });
        shared.changed.notify_all();
        let (status, text) = match say(&path) {
            Say::Json(value) => ("200 OK", value.to_string()),
            Say::Text(status, text) => (status, text),
            Say::Silence => {
                let _ = reader.read(&mut [0]);
                return;
            }
        };
        let length = text.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nLocation: /elsewhere\r\nContent-Length: {length}\r\n\r\n{text}"
        );
        if socket.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

fn start(hooks: &config::Hooks) -> Running {
    Running::start_with(None, Some(hooks), Pace::default())
}

fn call(topic: Topic) -> HookCall {
    HookCall {
        client: ClientKey::from_random(7),
        user: "ann".into(),
        dialect: Dialect::Json,
        meta: Some(r#"{"m":1}"#.into()),
        topic,
    }
}

fn rpc(method: &str) -> HookCall {
    call(Topic::Rpc { method: method.into(), data: Some("[1]".into()) })
}

fn ask(auth: &mut Running, command: u32, call: HookCall) {
    let asker = Asker { shard: ShardId(0), conn: ConnId { slot: 1, generation: 2 }, command };
    let ask = HookAsk { call: Box::new(call), asker, asked_at: Instant::now() };
    assert!(auth.wiring.posts[0].auth_out.send(AuthAsk::Hook(ask)).is_ok(), "room");
}

fn answer(auth: &mut Running) -> (u32, HookAnswer) {
    match auth.next() {
        Verdict { asker, ruling: Ruling::Hook(answer) } => (asker.command, answer),
        other => panic!("{other:?}"),
    }
}

fn outcome(auth: &mut Running, call: HookCall) -> HookOutcome {
    ask(auth, 1, call);
    answer(auth).1.outcome
}

/// How often questions of `hook` failed, by cause.
fn failures(auth: &Running, hook: Hook) -> Vec<(&'static str, u64)> {
    let counts = auth.stats.hooks[hook.index()].failures.iter().map(|counter| counter.get());
    HOOK_FAILURE_LABELS.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
}

#[test]
fn labels_are_the_names_of_hooks() {
    assert_eq!(HOOK_LABELS, Hook::ALL.map(Hook::name));
    for (index, hook) in Hook::ALL.into_iter().enumerate() {
        assert_eq!(hook.index(), index);
    }
}

#[test]
fn questions_say_what_is_known() {
    let server = Server::start(|_| Say::Json(json!({"error": {"code": 1}})));
    let mut hooks = server.hooks();
    hooks.headers = vec![
        ("x-key".parse().unwrap(), "one".parse().unwrap()),
        ("cookie".parse().unwrap(), "ours".parse().unwrap()),
    ];
    hooks.forward_headers = vec!["x-real-ip".parse().unwrap(), "cookie".parse().unwrap()];
    let mut auth = start(&hooks);
    let headers = [(0, b"::1"[..].into()), (1, b"theirs"[..].into())].into();
    let newcomer = Newcomer {
        token: Some(TokenText::new("t")),
        name: "js".into(),
        version: "5".into(),
        channels: ["a\"".into()].into(),
        data: Some("{\n}".into()),
        headers: ForwardedHeaders(headers),
    };
    let channel = || "chat:a".into();
    let topics = [
        Topic::Connect(Box::new(newcomer)),
        Topic::Subscribe { channel: channel(), token: None, data: Some("null".into()) },
        Topic::Publish { channel: channel(), data: "\"x\"".into() },
        Topic::Rpc { method: "m".into(), data: None },
        Topic::Refresh,
        Topic::SubRefresh { channel: channel() },
    ];
    for topic in topics {
        let refused = HookRefused::Error { code: 1, message: "".into(), temporary: false };
        assert_eq!(outcome(&mut auth, call(topic)), Err(refused));
    }
    let seen = server.wait_seen(Hook::COUNT);
    let mut common = json!({
        "client": ClientKey::from_random(7).to_string(), "transport": "websocket",
        "protocol": "json", "encoding": "json", "user": "ann", "meta": {"m": 1},
    });
    let own = [
        json!({"token": "t", "name": "js", "version": "5", "channels": ["a\""], "data": {}}),
        json!({"channel": "chat:a", "data": null}),
        json!({"channel": "chat:a", "data": "x"}),
        json!({"method": "m"}),
        json!({}),
        json!({"channel": "chat:a"}),
    ];
    for ((seen, own), hook) in seen.iter().zip(own).zip(Hook::ALL) {
        let mut expect = common.as_object_mut().unwrap().clone();
        expect.extend(own.as_object().unwrap().clone());
        assert_eq!(seen.body, Value::Object(expect), "{}", hook.name());
        assert_eq!(seen.line, format!("POST /{} HTTP/1.1", hook.name()));
        assert!(seen.headers.contains(&"content-type: application/json".to_owned()));
        let ours = seen.headers.iter().filter(|line| line.starts_with("cookie: ")).count();
        assert!(ours == 1 && seen.headers.contains(&"cookie: ours".to_owned()));
        let real_ip = seen.headers.contains(&"x-real-ip: ::1".to_owned());
        assert_eq!(real_ip, hook == Hook::Connect);
    }
    // One after another, so they shared a connection.
    assert_eq!(*server.shared.connections.lock().unwrap(), 1);
    assert_eq!(auth.stats.hooks[Hook::Rpc.index()].refused.get(), 1);
}

#[test]
fn results_are_what_they_say() {
    let server = Server::start(|path| {
        Say::Json(json!({"result": match path {
            "connect" => json!({
                "user": "bob", "expire_at": 4_102_444_800u64, "b64info": "eyJhIjoxfQ==",
                "data": {"x": 1}, "channels": ["b"], "subs": {"a": {}}, "meta": [],
            }),
            "subscribe" => json!({"info": 1, "expire_at": 0,
                "override": {"force_positioning": {"value": true}}}),
            "publish" => json!({"data": {"n": 2}, "skip_history": true}),
            "rpc" => json!({"b64data": "WzFd"}),
            "refresh" => json!({"expire_at": 4_102_444_800u64, "info": {}}),
            _ => json!({"expired": true}),
        }}))
    });
    let mut auth = start(&server.hooks());
    let connect = outcome(&mut auth, call(Topic::Connect(Box::default())));
    let Ok(HookReply::Connect(claims)) = connect else { panic!("{connect:?}") };
    assert_eq!((&*claims.user, claims.expire_at), ("bob", Some(4_102_444_800)));
    let texts = [claims.info, claims.data, claims.meta].map(|text| text.unwrap().to_string());
    assert_eq!(texts, [r#"{"a":1}"#, r#"{"x":1}"#, "[]"]);
    let channels: Vec<_> = claims.subscriptions.iter().map(|one| &*one.channel).collect();
    assert_eq!(channels, ["a", "b"]);
    let topic = Topic::Subscribe { channel: "c".into(), token: None, data: None };
    let subscribe = outcome(&mut auth, call(topic));
    let Ok(HookReply::Subscribe(claims)) = subscribe else { panic!("{subscribe:?}") };
    assert_eq!((claims.expire_at, claims.info.as_deref()), (None, Some("1")));
    assert_eq!(claims.overrides.force_positioning, Some(true));
    let topic = Topic::Publish { channel: "c".into(), data: "1".into() };
    let data = Some(r#"{"n":2}"#.into());
    assert_eq!(
        outcome(&mut auth, call(topic)),
        Ok(HookReply::Publish { data, skip_history: true })
    );
    let data = Some("[1]".into());
    assert_eq!(outcome(&mut auth, rpc("m")), Ok(HookReply::Rpc { data }));
    let (expire_at, info) = (Some(4_102_444_800), Some("{}".into()));
    let refreshed = Refreshed { expired: false, expire_at, info };
    assert_eq!(outcome(&mut auth, call(Topic::Refresh)), Ok(HookReply::Refresh(refreshed)));
    let refreshed = Refreshed { expired: true, ..Refreshed::default() };
    let topic = Topic::SubRefresh { channel: "c".into() };
    assert_eq!(outcome(&mut auth, call(topic)), Ok(HookReply::Refresh(refreshed)));
}

#[test]
fn answers_that_grant_nothing() {
    let error = |code, message: &str, temporary| {
        Err(HookRefused::Error { code, message: message.into(), temporary })
    };
    for (topic, body, expect) in [
        (
            Topic::Refresh,
            json!({"error": {"code": 403, "message": "no"}, "result": {}}),
            error(403, "no", false),
        ),
        (
            Topic::Refresh,
            json!({"error": {"code": 4_000_000, "message": "", "temporary": true}}),
            error(4_000_000, "", true),
        ),
        (
            Topic::Refresh,
            json!({"disconnect": {"code": 4501, "reason": "go"}, "error": {"code": 1}}),
            Err(HookRefused::Disconnect {
                code: CloseCode::new(4501).unwrap(),
                reason: "go".into(),
            }),
        ),
        (
            Topic::Connect(Box::default()),
            json!({"result": {"expire_at": 1_000}}),
            error(110, "expired", false),
        ),
        (
            Topic::Refresh,
            json!({"result": {"expire_at": 1_000}}),
            Ok(HookReply::Refresh(Refreshed { expired: true, expire_at: Some(1_000), info: None })),
        ),
    ] {
        let answer = answer::read(&call(topic), body.to_string().as_bytes(), 1_000);
        assert_eq!(answer.unwrap(), expect, "{body}");
    }
}

#[test]
fn what_is_not_understood_fails() {
    let deep = format!("{{\"result\":{{\"data\":{}{}}}}}", "[".repeat(200), "]".repeat(200));
    for body in [
        "",
        "[]",
        "{}",
        "null",
        "{\"result\":null}",
        "{\"result\":[]}",
        "{\"result\":{\"user\":7}}",
        "{\"result\":{\"info\":}}",
        "{\"result\":{\"b64data\":\"{\"}}",
        "{\"result\":{\"expire_at\":\"soon\"}}",
        "{\"result\":{\"channels\":[\"\"]}}",
        "{\"error\":{}}",
        "{\"error\":[1,\"no\"]}",
        "{\"error\":{\"code\":0}}",
        "{\"error\":{\"code\":-1}}",
        "{\"disconnect\":{\"code\":2999}}",
        "{\"disconnect\":{\"code\":5000}}",
        "{\"disconnect\":{\"code\":70000}}",
        &deep,
    ] {
        let call = call(Topic::Connect(Box::default()));
        let fault = answer::read(&call, body.as_bytes(), 1_000).expect_err(body);
        assert_eq!(HOOK_FAILURE_LABELS[fault.label_index()], "answer", "{body}");
        // An answer may hold secrets: none of it is logged.
        assert!(!fault.to_string().contains("soon"), "{fault}");
    }
}

#[test]
fn a_backend_that_fails_is_counted_by_cause() {
    let elsewhere = Server::start(|_| Say::Json(json!({"result": {}})));
    let server = Server::start(|path| match path {
        "connect" => Say::Text("302 Found", String::new()),
        "subscribe" => Say::Text("500 No", json!({"result": {}}).to_string()),
        "publish" => Say::Text("200 OK", " ".repeat(limits::HOOK_ANSWER_MAX + 1)),
        "rpc" => Say::Text("200 OK", "<html>".into()),
        _ => Say::Silence,
    });
    let mut hooks = server.hooks();
    hooks.timeout = Duration::from_millis(200);
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = format!("http://{gone}/").parse().unwrap();
    hooks.addresses[Hook::SubRefresh.index()] = Some(address);
    let mut auth = start(&hooks);
    let channel = || "c".into();
    for (topic, cause) in [
        (Topic::Connect(Box::default()), "status"),
        (Topic::Subscribe { channel: channel(), token: None, data: None }, "status"),
        (Topic::Publish { channel: channel(), data: "1".into() }, "size"),
        (Topic::Rpc { method: "".into(), data: None }, "answer"),
        (Topic::Refresh, "timeout"),
        (Topic::SubRefresh { channel: channel() }, "connection"),
    ] {
        let call = call(topic);
        let hook = call.hook();
        assert_eq!(outcome(&mut auth, call), Err(HookRefused::Unanswered));
        assert_eq!(failures(&auth, hook), [(cause, 1)], "{}", hook.name());
    }
    // The redirect led to this server again, or nowhere.
    assert!(server.wait_seen(5).iter().all(|seen| !seen.line.contains("elsewhere")));
    assert_eq!(elsewhere.shared.seen.lock().unwrap().len(), 0);
    assert_eq!(auth.stats.hooks.iter().map(|hook| hook.open.get()).sum::<u64>(), 0);
}

#[test]
fn a_hook_that_hangs_holds_up_neither_tokens_nor_other_hooks() {
    let server = Server::start(|path| match path {
        "connect" => Say::Silence,
        _ => Say::Json(json!({"result": {"data": 1}})),
    });
    let mut tokens = with_keys_at("http://127.0.0.1:1/");
    tokens.public_keys = PublicKeys::None;
    let hooks = server.hooks();
    let mut auth = Running::start_with(Some(&tokens), Some(&hooks), Pace::default());
    // More than there are places in flight: one waits here, the others there.
    for command in 0..5 {
        ask(&mut auth, command, call(Topic::Connect(Box::default())));
    }
    server.wait_seen(4);
    assert_eq!(outcome(&mut auth, rpc("m")), Ok(HookReply::Rpc { data: Some("1".into()) }));
    auth.ask(9, &hmac_token("bob"));
    assert_eq!(auth.verdict(), (9, Ok("bob".into())));
    assert_eq!(auth.stats.hooks[Hook::Connect.index()].open.get(), 5);
}

#[test]
fn waiting_for_a_place_is_part_of_the_time_for_an_answer() {
    let server = Server::start(|_| Say::Silence);
    let hooks =
        config::Hooks { timeout: Duration::from_millis(300), concurrency: 1, ..server.hooks() };
    let mut auth = start(&hooks);
    for command in 0..20 {
        ask(&mut auth, command, rpc("m"));
    }
    let mut commands: Vec<_> = (0..20)
        .map(|_| {
            let (command, answer) = answer(&mut auth);
            assert_eq!(answer.outcome, Err(HookRefused::Unanswered));
            command
        })
        .collect();
    commands.sort_unstable();
    assert_eq!(commands, (0..20).collect::<Vec<_>>());
    assert_eq!(failures(&auth, Hook::Rpc), [("timeout", 20)]);
}

#[test]
fn requests_ask_too_and_all_at_once() {
    let server = Server::start(|_| Say::Json(json!({"result": {}})));
    let auth = start(&server.hooks());
    let desk = auth.wiring.auth_desk.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let calls = [rpc("a"), call(Topic::Refresh)].map(|call| desk.ask(call));
    // Asked already, though nobody has waited yet.
    server.wait_seen(2);
    let [first, second] = calls;
    assert_eq!(runtime.block_on(first), Ok(HookReply::Rpc { data: None }));
    assert_eq!(runtime.block_on(second), Ok(HookReply::Refresh(Refreshed::default())));
    // Nobody checks tokens here.
    let token = runtime.block_on(desk.check(TokenText::new("t")));
    assert!(token.is_err());
    drop(auth);
    assert_eq!(runtime.block_on(desk.ask(rpc("a"))), Err(HookRefused::Unanswered));
}
