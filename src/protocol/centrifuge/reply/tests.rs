//! Replies and pushes, byte for byte and by meaning.

use serde_json::{Value, json};

use super::*;
use crate::publication::{Epoch, Payload};

fn line(fill: impl Fn(&mut Vec<u8>)) -> Value {
    let mut out = Vec::new();
    fill(&mut out);
    assert!(!out.contains(&b'\n'));
    let value = serde_json::from_slice(&out).expect("JSON");
    let len = out.len();
    fill(&mut out);
    assert_eq!(out[len], b'\n', "the second line begins with a newline");
    assert_eq!(out[..len], out[len + 1..]);
    value
}

fn position(offset: u64) -> Position {
    Position { offset, epoch: Epoch::parse("abcdefgh").expect("letters") }
}

fn entry(offset: u64, data: &str) -> Arc<Entry> {
    let payload = Payload::text(data);
    Arc::new(Entry { offset, time_ms: 0, payload, tags: None, info: None, version: 0 })
}

fn info(user: &str) -> ClientInfo {
    let client = ClientKey::from_random(1);
    ClientInfo { user: user.into(), client, conn_info: None, chan_info: None }
}

#[test]
fn replies_are_what_the_protocol_says() {
    let client = ClientKey::from_random(0);
    let session = SessionKey { client, secret: 1 };
    let welcome = Connected { session, ping_s: Some(25), ttl: None, subs: b"", data: None };
    let connected = line(|out| append_connected(out, 1, &welcome));
    assert_eq!(
        connected,
        json!({"id": 1, "connect": {
            "client": client.to_string(), "version": VERSION, "ping": 25, "pong": true,
            "session": session.to_string(),
        }})
    );
    let silent = Connected { ping_s: None, ..welcome };
    let connected = line(|out| append_connected(out, 1, &silent));
    let session = session.to_string();
    let expect = json!({"client": client.to_string(), "version": VERSION, "session": session});
    assert_eq!(connected["connect"], expect);
    assert_eq!(line(|out| append_done(out, 2, Done::Publish)), json!({"id": 2, "publish": {}}));
    let done = line(|out| append_done(out, 3, Done::Unsubscribe));
    assert_eq!(done, json!({"id": 3, "unsubscribe": {}}));
    let error = line(|out| append_error(out, 4, ErrorCode::PermissionDenied));
    assert_eq!(error, json!({"id": 4, "error": {"code": 103, "message": "permission denied"}}));
    let error = line(|out| append_error(out, 4, ErrorCode::Internal));
    assert_eq!(error["error"]["temporary"], true);
    let stats = line(|out| append_presence_stats(out, 5, 3, 2));
    assert_eq!(stats, json!({"id": 5, "presence_stats": {"num_clients": 3, "num_users": 2}}));
}

#[test]
fn subscriptions_say_what_holds_and_nothing_else() {
    let plain = Subscribed {
        ttl: None,
        position: None,
        recoverable: false,
        was_recovering: false,
        recovered: false,
        publications: &[],
        data: None,
    };
    let reply = line(|out| append_subscribed(out, 7, &plain));
    assert_eq!(reply, json!({"id": 7, "subscribe": {}}));
    let fresh = Subscribed { position: Some(position(0)), recoverable: true, ..plain };
    let reply = line(|out| append_subscribed(out, 7, &fresh));
    assert_eq!(
        reply["subscribe"],
        json!({"recoverable": true, "positioned": true, "epoch": "abcdefgh"})
    );
    let publications = [entry(1, "{\n\"a\": 1}"), entry(2, "2")];
    let recovered = Subscribed {
        position: Some(position(9)),
        was_recovering: true,
        recovered: true,
        publications: &publications,
        ..fresh
    };
    let reply = line(|out| append_subscribed(out, 7, &recovered));
    assert_eq!(
        reply["subscribe"],
        json!({
            "recoverable": true, "recovered": true, "was_recovering": true,
            "positioned": true, "epoch": "abcdefgh", "offset": 9,
            "publications": [
                {"data": {"a": 1}, "offset": 1, "epoch": "abcdefgh"},
                {"data": 2, "offset": 2},
            ],
        })
    );
}

#[test]
fn what_a_client_is_subscribed_to_stands_in_the_reply_to_connect() {
    let publications = [entry(4, "[\n]")];
    let how = Subscribed {
        ttl: None,
        position: Some(position(3)),
        recoverable: true,
        was_recovering: true,
        recovered: true,
        publications: &publications,
        data: None,
    };
    let mut subs = Vec::new();
    append_sub(&mut subs, "a\"", &how);
    let plain = Subscribed { position: None, recoverable: false, publications: &[], ..how };
    let plain = Subscribed { was_recovering: false, recovered: false, ..plain };
    append_sub(&mut subs, "b", &Subscribed { data: Some("{\n\"n\":\n1}"), ..plain });
    append_sub(&mut subs, "c", &plain);
    let session = SessionKey { client: ClientKey::from_random(0), secret: 0 };
    let connected = Connected { session, ping_s: Some(25), ttl: Some(9), subs: &subs, data: None };
    let reply = line(|out| append_connected(out, 1, &connected));
    let a = json!({
        "recoverable": true, "recovered": true, "was_recovering": true, "positioned": true,
        "epoch": "abcdefgh", "offset": 3, "publications": [{"data": [], "offset": 4}],
    });
    assert_eq!(reply["connect"]["subs"], json!({"a\"": a, "b": {"data": {"n": 1}}, "c": {}}));
    assert_eq!(reply["connect"]["ttl"], 9);
}

#[test]
fn pushes_about_one_client_are_lines_too() {
    let how = Subscribed {
        ttl: None,
        position: Some(position(3)),
        recoverable: true,
        was_recovering: false,
        recovered: false,
        publications: &[],
        data: None,
    };
    let push = line(|out| append_enrolled(out, "a", &Subscribed { data: Some("{}"), ..how }));
    let expected = json!({
        "recoverable": true, "positioned": true, "epoch": "abcdefgh", "offset": 3, "data": {}
    });
    assert_eq!(push, json!({"push": {"channel": "a", "subscribe": expected}}));
    let how = Subscribed { position: None, recoverable: false, ..how };
    let push = line(|out| append_enrolled(out, "a\"", &how));
    assert_eq!(push, json!({"push": {"channel": "a\"", "subscribe": {}}}));
    let push = line(|out| append_unsubscribed(out, "a", Unsubscribed::Server));
    let why = json!({"code": 2000, "reason": "server unsubscribe"});
    assert_eq!(push, json!({"push": {"channel": "a", "unsubscribe": why}}));
    let push = line(|out| append_renewed(out, Some(9)));
    assert_eq!(push, json!({"push": {"refresh": {"expires": true, "ttl": 9}}}));
    let push = line(|out| append_published(out, "a", &entry(2, "[1]"), position(2).epoch));
    assert_eq!(push, json!({"push": {"channel": "a", "pub": {"data": [1], "offset": 2}}}));
}

#[test]
fn presence_names_everyone() {
    let nobody = line(|out| append_presence(out, 1, &[]));
    assert_eq!(nobody, json!({"id": 1, "presence": {"presence": {}}}));
    let clients = [Arc::new(info("ann")), Arc::new(info(""))];
    let mut out = Vec::new();
    append_presence(&mut out, 1, &clients[..1]);
    let value: Value = serde_json::from_slice(&out).expect("JSON");
    let key = clients[0].client.to_string();
    assert_eq!(value["presence"]["presence"][&key], json!({"user": "ann", "client": key}));
}

#[test]
fn history_tells_the_newest_position() {
    let reply = line(|out| append_history(out, 1, position(0), &[]));
    let expect = json!({"publications": [], "epoch": "abcdefgh", "offset": 0});
    assert_eq!(reply["history"], expect);
}

#[test]
fn changes_are_frames() {
    for (change, key) in [(Change::Join, "join"), (Change::Leave, "leave")] {
        let frame = change_frame("a\"\n", change, &info("ann"));
        assert_eq!(frame[0], 0x81);
        let push: Value = serde_json::from_slice(&frame[2..]).expect("JSON");
        assert_eq!(push["push"]["channel"], "a\"\n");
        assert_eq!(push["push"][key]["info"]["user"], "ann");
    }
}
