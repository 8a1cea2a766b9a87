//! Tokens over the real shard, a scripted kernel and a scripted clock; the test plays the thread
//! that checks them.

mod scripted;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::id::ConnId;
use tidegate::limits;
use tidegate::mail::{AuthAsk, Request, Ruling, TokenAsk, TokenKind, TokenResult, Verdict};
use tidegate::protocol::channel::{Audience, ChannelOptions, Namespaces};
use tidegate::protocol::claims::{ConnectClaims, Overrides, SubscriptionClaims, TokenRefused};
use tidegate::ws::{DecodeLimits, Decoder, Event, Role};

use scripted::{Options, START_UNIX_S, World, masked};

/// Users may do everything, nobody else anything.
fn world() -> World {
    let options = ChannelOptions {
        presence: true,
        allow_subscribe: Audience::User,
        allow_publish: Audience::User,
        allow_presence: Audience::User,
        ..ChannelOptions::default()
    };
    let named = [("closed".into(), ChannelOptions::default())];
    World::with_channels(Options::default(), Arc::new(Namespaces::new(options, named)))
}

/// What a client was told, line by line; a Close is its code.
fn told(world: &mut World, conn: ConnId) -> Vec<Value> {
    let mut bytes = world.received(conn);
    let mut rest = &mut bytes[..];
    let limits = DecodeLimits { message_size: 1 << 20, fragments: 1 };
    let mut decoder = Decoder::new(Role::Client);
    let mut told = Vec::new();
    while !rest.is_empty() {
        let decoded = decoder.handle(rest, &limits).expect("whole frames");
        match decoded.event.expect("whole frames") {
            Event::Message(message) => {
                let text = String::from_utf8(message.payload.to_vec()).expect("text");
                told.extend(text.lines().map(|line| serde_json::from_str(line).expect("JSON")));
            }
            Event::Close(Some((code, _))) => told.push(json!(code.get())),
            other => panic!("{other:?}"),
        }
        let consumed = decoded.consumed;
        rest = &mut rest[consumed..];
    }
    // Pings come when they come.
    told.retain(|line| *line != json!({}));
    told
}

fn say(world: &mut World, conn: ConnId, text: &str) {
    world.kernel().recv(conn, &masked(text));
    world.settle();
}

/// The next token that the shard has sent.
fn asked(world: &mut World) -> TokenAsk {
    match world.auth.asks_in[0].pop() {
        Ok(AuthAsk::Token(ask)) => ask,
        other => panic!("no token was shown: {other:?}"),
    }
}

fn answer(world: &mut World, ask: &TokenAsk, result: TokenResult) {
    let verdict =
        Request::Verdict(Box::new(Verdict { asker: ask.asker, ruling: Ruling::Token(result) }));
    world.auth.verdicts_out[0].push(verdict).expect("room");
    world.auth.verdicts_out[0].bell().ring();
    world.settle();
}

/// Answers the next token: it is the user's, for so many seconds.
fn accept(world: &mut World, user: &str, ttl: Option<u64>) {
    let ask = asked(world);
    let user = user.into();
    let claims = ConnectClaims { user, expire_at: ttl.map(at), ..ConnectClaims::default() };
    answer(world, &ask, TokenResult::Connection(Ok(claims)));
}

fn refuse(world: &mut World, why: TokenRefused) {
    let ask = asked(world);
    answer(world, &ask, TokenResult::refused(ask.kind, why));
}

fn subscription(channel: &str, user: &str, ttl: Option<u64>) -> TokenResult {
    TokenResult::Subscription(Ok(SubscriptionClaims {
        user: user.into(),
        channel: channel.into(),
        client: None,
        expire_at: ttl.map(at),
        info: Some(r#"{"role":"x"}"#.into()),
        overrides: Overrides::default(),
        data: None,
    }))
}

fn at(seconds: u64) -> u64 {
    START_UNIX_S + seconds
}

/// A connected client of user ann.
fn ann(world: &mut World, ttl: Option<u64>) -> ConnId {
    let conn = world.connect_centrifuge();
    say(world, conn, r#"{"id":1,"connect":{"token":"t"}}"#);
    accept(world, "ann", ttl);
    conn
}

/// What a client is told after its connect was answered, without that answer.
fn told_after_connect(world: &mut World, conn: ConnId) -> Vec<Value> {
    told(world, conn).split_off(1)
}

#[test]
fn commands_behind_a_token_wait_for_its_verdict() {
    let mut world = world();
    let conn = world.connect_centrifuge();
    let commands = [
        r#"{"id":1,"connect":{"token":"a.b.c"}}"#,
        r#"{"id":2,"subscribe":{"channel":"news"}}"#,
        r#"{"id":3,"unsubscribe":{"channel":"news"}}"#,
    ];
    say(&mut world, conn, &commands.join("\n"));
    assert_eq!(told(&mut world, conn), [] as [Value; 0]);
    let ask = asked(&mut world);
    assert_eq!((ask.kind, ask.token.expose()), (TokenKind::Connection, "a.b.c"));
    assert!(!format!("{ask:?}").contains("a.b.c"));
    let claims = ConnectClaims { user: "ann".into(), ..ConnectClaims::default() };
    answer(&mut world, &ask, TokenResult::Connection(Ok(claims)));
    let told = told(&mut world, conn);
    let ids: Vec<_> = told.iter().map(|reply| reply["id"].as_u64()).collect();
    assert_eq!(ids, [Some(1), Some(2), Some(3)]);
    assert!(told[0]["connect"].get("expires").is_none());
    assert_eq!(told[1]["subscribe"], json!({}));
}

#[test]
fn what_a_refused_connection_token_leads_to() {
    for (why, reply) in [
        (TokenRefused::Expired, Ok(109)),
        (TokenRefused::KeysUnavailable, Ok(100)),
        (TokenRefused::Overloaded, Ok(111)),
        (TokenRefused::SignatureWrong, Err(3500)),
        (TokenRefused::KeyUnknown, Err(3500)),
        (TokenRefused::NotYetValid, Err(3500)),
    ] {
        let mut world = world();
        let conn = world.connect_centrifuge();
        // SDKs send both at once, and must hear of the first alone.
        say(
            &mut world,
            conn,
            "{\"id\":1,\"connect\":{\"token\":\"t\"}}\n{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}",
        );
        refuse(&mut world, why);
        let heard = told(&mut world, conn);
        match reply {
            Ok(code) => {
                assert_eq!(heard.len(), 1, "{heard:?}");
                assert_eq!(heard[0]["error"]["code"], code, "{why}");
                assert_eq!(heard[0]["error"]["temporary"] == true, why.is_temporary());
                say(&mut world, conn, r#"{"id":3,"connect":{}}"#);
                assert_eq!(told(&mut world, conn)[1], 3501);
            }
            Err(code) => assert_eq!(heard, [json!(code)], "{why}"),
        }
    }
}

#[test]
fn without_a_token_nobody_comes_in_where_users_are_wanted() {
    let mut world = world();
    let conn = world.connect_centrifuge();
    say(&mut world, conn, r#"{"id":1,"connect":{}}"#);
    assert_eq!(told(&mut world, conn), [json!(3501)]);
}

#[test]
fn a_connection_ends_25_s_after_its_token_unless_it_is_refreshed() {
    let mut world = world();
    let conn = ann(&mut world, Some(60));
    let connect = told(&mut world, conn).remove(0);
    assert_eq!(connect["connect"]["expires"], true);
    assert_eq!(connect["connect"]["ttl"], 60);
    wait(&mut world, conn, 58);
    say(&mut world, conn, r#"{"id":2,"refresh":{"token":"new"}}"#);
    assert_eq!(asked_and_accepted(&mut world, "ann", 100), "new");
    let refreshed = told_after_connect(&mut world, conn).remove(0);
    assert_eq!((&refreshed["id"], &refreshed["refresh"]["ttl"]), (&json!(2), &json!(42)));
    assert_eq!(refreshed["refresh"]["expires"], true);
    wait(&mut world, conn, 42 + limits::EXPIRED_CLOSE_DELAY_S - 2);
    assert_eq!(told(&mut world, conn).len(), 2, "still there");
    world.pass(Duration::from_secs(3));
    world.settle();
    assert_eq!(told(&mut world, conn).last(), Some(&json!(3005)));
}

/// Lets time pass second by second, and answers pings.
fn wait(world: &mut World, conn: ConnId, seconds: u64) {
    for _ in 0..seconds {
        let before = world.received(conn).len();
        world.pass(Duration::from_secs(1));
        world.settle();
        if world.received(conn).len() > before {
            say(world, conn, "{}");
        }
    }
}

fn asked_and_accepted(world: &mut World, user: &str, ttl: u64) -> String {
    let ask = asked(world);
    let token = ask.token.expose().to_owned();
    let claims =
        ConnectClaims { user: user.into(), expire_at: Some(at(ttl)), ..ConnectClaims::default() };
    answer(world, &ask, TokenResult::Connection(Ok(claims)));
    token
}

#[test]
fn what_a_bad_refresh_leads_to() {
    for (result, expect) in [
        (Err(TokenRefused::Expired), json!(3005)),
        (Err(TokenRefused::SignatureWrong), json!(3500)),
        (Ok("bob"), json!(3500)),
        (Err(TokenRefused::KeysUnavailable), json!(100)),
    ] {
        let mut world = world();
        let conn = ann(&mut world, Some(60));
        say(&mut world, conn, r#"{"id":2,"refresh":{"token":"t"}}"#);
        match result {
            Ok(user) => accept(&mut world, user, None),
            Err(why) => refuse(&mut world, why),
        }
        let heard = told_after_connect(&mut world, conn).remove(0);
        let heard = if heard.is_number() { heard } else { heard["error"]["code"].clone() };
        assert_eq!(heard, expect, "{result:?}");
    }
    let mut world = world();
    let conn = ann(&mut world, None);
    say(&mut world, conn, r#"{"id":2,"refresh":{}}"#);
    assert_eq!(told_after_connect(&mut world, conn), [json!(3501)]);
}

#[test]
fn a_subscription_token_opens_what_is_closed() {
    let mut world = world();
    let conn = ann(&mut world, None);
    for (id, channel) in [(2, "$secret"), (3, "closed:a")] {
        let plain = json!({"id": id, "subscribe": {"channel": channel}});
        say(&mut world, conn, &plain.to_string());
        let with_token = json!({"id": id + 10, "subscribe": {"channel": channel, "token": "s"}});
        say(&mut world, conn, &with_token.to_string());
        let ask = asked(&mut world);
        assert_eq!((ask.kind, ask.token.expose()), (TokenKind::Subscription, "s"));
        answer(&mut world, &ask, subscription(channel, "ann", Some(30)));
        let heard = told(&mut world, conn);
        let [.., refused, subscribed] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!(refused["error"]["code"], 103);
        assert_eq!(subscribed["subscribe"], json!({"expires": true, "ttl": 30}));
    }
    say(&mut world, conn, r#"{"id":20,"presence":{"channel":"$secret"}}"#);
    let heard = told(&mut world, conn);
    let presence = heard.last().expect("an answer")["presence"]["presence"].as_object();
    let who = presence.expect("a map").values().next().expect("ann");
    assert_eq!((&who["user"], &who["chan_info"]), (&json!("ann"), &json!({"role": "x"})));
}

#[test]
fn what_a_bad_subscription_token_leads_to() {
    let other = |channel, user| subscription(channel, user, None);
    let refused = |why| TokenResult::refused(TokenKind::Subscription, why);
    for (result, expect) in [
        (refused(TokenRefused::Expired), json!(109)),
        (refused(TokenRefused::SignatureWrong), json!(103)),
        (refused(TokenRefused::KeysUnavailable), json!(100)),
        (other("$b", "ann"), json!(3500)),
        (other("$a", "bob"), json!(3500)),
        (other("$a", ""), json!(3500)),
    ] {
        let mut world = world();
        let conn = ann(&mut world, None);
        say(&mut world, conn, r#"{"id":2,"subscribe":{"channel":"$a","token":"t"}}"#);
        let ask = asked(&mut world);
        answer(&mut world, &ask, result.clone());
        let heard = told_after_connect(&mut world, conn).remove(0);
        let heard = if heard.is_number() { heard } else { heard["error"]["code"].clone() };
        assert_eq!(heard, expect, "{result:?}");
    }
}

#[test]
fn a_subscription_ends_with_its_token_and_goes_on_with_a_new_one() {
    let mut world = world();
    let conn = ann(&mut world, None);
    for (id, channel) in [(2, "$a"), (3, "$b")] {
        let ask = json!({"id": id, "subscribe": {"channel": channel, "token": "s"}});
        say(&mut world, conn, &ask.to_string());
        let ask = asked(&mut world);
        answer(&mut world, &ask, subscription(channel, "ann", Some(2)));
    }
    say(&mut world, conn, r#"{"id":4,"sub_refresh":{"channel":"$b","token":"n"}}"#);
    let ask = asked(&mut world);
    answer(&mut world, &ask, subscription("$b", "ann", Some(3_600)));
    let heard = told(&mut world, conn);
    assert_eq!(heard[3], json!({"id": 4, "sub_refresh": {"expires": true, "ttl": 3_600}}));
    wait(&mut world, conn, limits::EXPIRED_CLOSE_DELAY_S + 1);
    assert_eq!(told(&mut world, conn).len(), 4, "not yet");
    world.pass(Duration::from_secs(2));
    world.settle();
    let heard = told(&mut world, conn);
    let push = &heard[4]["push"];
    assert_eq!((&push["channel"], &push["unsubscribe"]["code"]), (&json!("$a"), &json!(2501)));
}

#[test]
fn what_a_bad_sub_refresh_leads_to() {
    for (channel, result, expect) in [
        ("$a", Err(TokenRefused::Expired), vec![json!(2501), json!(109)]),
        ("$a", Err(TokenRefused::SignatureWrong), vec![json!(3500)]),
        ("$a", Err(TokenRefused::Overloaded), vec![json!(111)]),
        ("$a", Ok("$b"), vec![json!(3500)]),
        // Not subscribed there.
        ("$b", Ok("$b"), vec![json!(103)]),
    ] {
        let mut world = world();
        let conn = ann(&mut world, None);
        say(&mut world, conn, r#"{"id":2,"subscribe":{"channel":"$a","token":"s"}}"#);
        let ask = asked(&mut world);
        answer(&mut world, &ask, subscription("$a", "ann", None));
        let refresh = json!({"id": 3, "sub_refresh": {"channel": channel, "token": "s"}});
        say(&mut world, conn, &refresh.to_string());
        let ask = asked(&mut world);
        let result = match result {
            Ok(claimed) => subscription(claimed, "ann", None),
            Err(why) => TokenResult::refused(TokenKind::Subscription, why),
        };
        answer(&mut world, &ask, result);
        let heard = told(&mut world, conn).split_off(2);
        let codes: Vec<_> = heard
            .iter()
            .map(|line| match () {
                () if line.is_number() => line.clone(),
                () if line.get("push").is_some() => line["push"]["unsubscribe"]["code"].clone(),
                () => line["error"]["code"].clone(),
            })
            .collect();
        assert_eq!(codes, expect, "{heard:?}");
    }
}

#[test]
fn a_verdict_for_a_client_that_is_gone_is_counted() {
    let mut world = world();
    let conn = world.connect_centrifuge();
    say(&mut world, conn, r#"{"id":1,"connect":{"token":"t"}}"#);
    let mut ask = asked(&mut world);
    ask.asker.conn.generation += 1;
    let before = world.stats.counters.ring_stale.get();
    let claims = ConnectClaims { user: "ann".into(), ..ConnectClaims::default() };
    answer(&mut world, &ask, TokenResult::Connection(Ok(claims)));
    assert_eq!(world.stats.counters.ring_stale.get(), before + 1);
}

#[test]
fn more_tokens_than_verdicts_have_room_are_turned_away() {
    let mut world = world();
    let room = Options::default().lane_len;
    let conns: Vec<_> = (0..=room).map(|_| world.connect_centrifuge()).collect();
    for conn in &conns {
        say(&mut world, *conn, r#"{"id":1,"connect":{"token":"t"}}"#);
    }
    let last = conns[room];
    assert_eq!(told(&mut world, last)[0]["error"]["code"], 111);
    assert_eq!(world.stats.counters.tokens_turned_away.get(), 1);
    accept(&mut world, "ann", None);
    assert!(told(&mut world, conns[0])[0].get("connect").is_some());
    // There is room for one again.
    let next = world.connect_centrifuge();
    say(&mut world, next, r#"{"id":1,"connect":{"token":"t"}}"#);
    assert_eq!(told(&mut world, next), [] as [Value; 0]);
}
