//! Questions to backends over the real shard, a scripted kernel and a scripted clock; the test
//! plays the thread that asks them.

mod scripted;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::id::{ConnId, ShardId};
use tidegate::limits;
use tidegate::mail::{AuthAsk, Request, Ruling, TokenAsk, TokenKind, TokenResult, Verdict};
use tidegate::protocol::channel::{Audience, ChannelHooks, ChannelOptions, Namespaces};
use tidegate::protocol::claims::{ConnectClaims, TokenRefused};
use tidegate::protocol::hook::{Hook, HookRefused, HookReply, HookSet, Refreshed, Topic};

use scripted::backend::{answer, asked, at, disconnect, error, grant};
use scripted::centrifuge::{say, told as all_told};
use scripted::{Options, World};

/// Backends decide about all channels but those of `open` and `half`, which have no sub_refresh.
fn world_with(hooks: HookSet, tokens: bool, lane_len: usize) -> World {
    let open = ChannelOptions {
        presence: true,
        allow_subscribe: Audience::Anyone,
        allow_presence: Audience::Anyone,
        ..ChannelOptions::default()
    };
    let all = ChannelHooks { subscribe: true, publish: true, sub_refresh: true };
    let plain = ChannelOptions { hooks: all, ..open };
    let half = ChannelOptions { hooks: ChannelHooks { sub_refresh: false, ..all }, ..open };
    let named = [("open".into(), open), ("half".into(), half)];
    let channels = Arc::new(Namespaces::new(plain, named));
    let options = Options { lane_len, ..Options::default() };
    World::with_settings(options, |settings| {
        (settings.channels, settings.hooks, settings.tokens) = (channels, hooks, tokens);
    })
}

fn world() -> World {
    world_with(HookSet::of(|_| true), true, 64)
}

/// What a client was told, pings apart.
fn told(world: &mut World, conn: ConnId) -> Vec<Value> {
    let mut told = all_told(world, conn);
    told.retain(|line| *line != json!({}));
    told
}

/// What it was told after its connect was answered.
fn told_since(world: &mut World, conn: ConnId) -> Vec<Value> {
    told(world, conn).split_off(1)
}

/// What follows the connect of user ann, whom the backend lets in for so long.
fn ann_for(world: &mut World, ttl: Option<u64>) -> ConnId {
    let conn = world.connect_centrifuge();
    say(world, conn, r#"{"id":1,"connect":{"name":"js","data":{"a": 1}}}"#);
    let ask = asked(world);
    let claims = ConnectClaims {
        user: "ann".into(),
        expire_at: ttl.map(at),
        meta: Some("{}".into()),
        ..ConnectClaims::default()
    };
    answer(world, &ask, Ok(HookReply::Connect(claims)));
    conn
}

fn ann(world: &mut World) -> ConnId {
    ann_for(world, None)
}

/// Lets time pass; the client answers pings.
fn wait(world: &mut World, conn: ConnId, seconds: u64) {
    for _ in 0..seconds {
        world.pass(Duration::from_secs(1));
        let pings = all_told(world, conn).iter().filter(|line| **line == json!({})).count();
        world.settle();
        let now = all_told(world, conn).iter().filter(|line| **line == json!({})).count();
        if now > pings {
            say(world, conn, "{}");
        }
    }
}

#[test]
fn a_backend_says_who_connects() {
    let mut world = world();
    let conn = world.connect_centrifuge();
    let commands = [
        r#"{"id":1,"connect":{"name":"js","version":"5","data":{"a": 1}}}"#,
        r#"{"id":2,"subscribe":{"channel":"open:a"}}"#,
        r#"{"id":3,"presence":{"channel":"open:a"}}"#,
    ];
    say(&mut world, conn, &commands.join("\n"));
    assert_eq!(told(&mut world, conn), [] as [Value; 0]);
    let ask = asked(&mut world);
    let Topic::Connect(newcomer) = &ask.call.topic else { panic!("{ask:?}") };
    assert_eq!((&*newcomer.name, &*newcomer.version), ("js", "5"));
    assert_eq!(newcomer.data.as_deref(), Some(r#"{"a": 1}"#));
    let claims = ConnectClaims {
        user: "ann".into(),
        info: Some("[7]".into()),
        data: Some("{\n\"b\":2}".into()),
        ..ConnectClaims::default()
    };
    answer(&mut world, &ask, Ok(HookReply::Connect(claims)));
    let told = told(&mut world, conn);
    let connect = &told[0]["connect"];
    let client = ask.call.client.to_string();
    assert_eq!((&connect["client"], &connect["data"]), (&json!(client), &json!({"b": 2})));
    assert_eq!(told[1]["id"], 2);
    let info = json!({"user": "ann", "client": client, "conn_info": [7]});
    assert_eq!(told[2]["presence"]["presence"], json!({client: info}));
}

#[test]
fn a_token_says_so_where_tokens_are_checked_and_the_backend_elsewhere() {
    let mut world = world();
    let conn = world.connect_centrifuge();
    say(&mut world, conn, r#"{"id":1,"connect":{"token":"t"}}"#);
    assert!(matches!(world.auth.asks_in[0].pop(), Ok(AuthAsk::Token(_))));
    let mut world = world_with(HookSet::of(|_| true), false, 64);
    let conn = world.connect_centrifuge();
    say(&mut world, conn, r#"{"id":1,"connect":{"token":"t"}}"#);
    let ask = asked(&mut world);
    let Topic::Connect(newcomer) = &ask.call.topic else { panic!("another") };
    assert_eq!(newcomer.token.as_ref().expect("the token").expose(), "t");
    answer(&mut world, &ask, Ok(HookReply::Connect(ConnectClaims::default())));
    say(&mut world, conn, r#"{"id":2,"subscribe":{"channel":"a","token":"s"}}"#);
    let ask = asked(&mut world);
    let Topic::Subscribe { token, .. } = &ask.call.topic else { panic!("another") };
    assert_eq!(token.as_ref().expect("the token").expose(), "s");
    answer(&mut world, &ask, error(1));
    // Where there are no channels there is nobody to ask.
    for (ask, code) in [
        (json!({"channel": "unknown:a"}), 102),
        (json!({"channel": "unknown:a", "token": "s"}), 103),
    ] {
        say(&mut world, conn, &json!({"id": 3, "subscribe": ask}).to_string());
        assert_eq!(told_since(&mut world, conn).pop().expect("a reply")["error"]["code"], code);
    }
}

#[test]
fn what_a_connection_that_is_not_granted_is_told() {
    for (outcome, expect) in [
        (error(4242), json!({"code": 4242, "message": "no \"way\""})),
        (
            Err(HookRefused::Unanswered),
            json!({"code": 100, "message": "internal server error", "temporary": true}),
        ),
        (disconnect(4501), json!(4501)),
    ] {
        let mut world = world();
        let conn = world.connect_centrifuge();
        say(&mut world, conn, "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"rpc\":{}}");
        let ask = asked(&mut world);
        answer(&mut world, &ask, outcome);
        let heard = told(&mut world, conn);
        assert_eq!(heard.len(), 1, "{heard:?}");
        let heard = if heard[0].is_number() { &heard[0] } else { &heard[0]["error"] };
        assert_eq!(*heard, expect);
        if expect.is_object() {
            say(&mut world, conn, r#"{"id":3,"rpc":{}}"#);
            assert_eq!(told(&mut world, conn)[1], json!(3501));
        }
    }
}

#[test]
fn a_call_is_answered_by_the_backend_alone() {
    let mut world = world();
    let conn = ann(&mut world);
    say(
        &mut world,
        conn,
        "{\"id\":2,\"rpc\":{\"method\":\"m\",\"data\":[1]}}\n{\"id\":3,\"rpc\":{}}",
    );
    let ask = asked(&mut world);
    let Topic::Rpc { method, data } = &ask.call.topic else { panic!("{ask:?}") };
    assert_eq!((&**method, data.as_deref()), ("m", Some("[1]")));
    assert_eq!((&*ask.call.user, ask.call.meta.as_deref()), ("ann", Some("{}")));
    // One after another.
    assert!(world.auth.asks_in[0].pop().is_err());
    answer(&mut world, &ask, Ok(HookReply::Rpc { data: Some("{\r\n}".into()) }));
    assert_eq!(told_since(&mut world, conn), [json!({"id": 2, "rpc": {"data": {}}})]);
    let ask = asked(&mut world);
    answer(&mut world, &ask, Ok(HookReply::Rpc { data: None }));
    assert_eq!(told_since(&mut world, conn)[1], json!({"id": 3, "rpc": {}}));
    for (outcome, expect) in [
        (error(1_999), json!({"id": 4, "error": {"code": 1_999, "message": "no \"way\""}})),
        (disconnect(3000), json!(3000)),
    ] {
        say(&mut world, conn, r#"{"id":4,"rpc":{}}"#);
        let ask = asked(&mut world);
        answer(&mut world, &ask, outcome);
        assert_eq!(told_since(&mut world, conn).last(), Some(&expect));
    }
    let mut world = world_with(HookSet::of(|hook| hook == Hook::Connect), true, 64);
    let conn = ann(&mut world);
    say(&mut world, conn, r#"{"id":2,"rpc":{}}"#);
    assert_eq!(told_since(&mut world, conn)[0]["error"]["code"], 104);
}

#[test]
fn a_backend_says_who_subscribes() {
    let mut world = world();
    let conn = ann(&mut world);
    let ask = r#"{"id":2,"subscribe":{"channel":"a","data":{"x":1}}}"#;
    say(&mut world, conn, &[ask, r#"{"id":3,"presence":{"channel":"a"}}"#].join("\n"));
    let ask = asked(&mut world);
    let Topic::Subscribe { channel, token: None, data } = &ask.call.topic else {
        panic!("{ask:?}")
    };
    assert_eq!((&**channel, data.as_deref()), ("a", Some(r#"{"x":1}"#)));
    answer(&mut world, &ask, grant("a", None));
    let told = told_since(&mut world, conn);
    let subscribe = &told[0]["subscribe"];
    assert_eq!((&subscribe["data"], &subscribe["positioned"]), (&json!([1]), &json!(true)));
    let presence = told[1]["presence"]["presence"].as_object().expect("a map");
    assert_eq!(presence.values().next().expect("ann")["chan_info"], json!({"role": "x"}));
    // The name comes first: nobody is asked.
    for channel in ["$a", "a#bob"] {
        say(&mut world, conn, &json!({"id": 9, "subscribe": {"channel": channel}}).to_string());
        let told = told_since(&mut world, conn);
        assert_eq!(told.last().expect("a reply")["error"]["code"], 103, "{channel}");
    }
    say(&mut world, conn, r#"{"id":9,"subscribe":{"channel":"a"}}"#);
    assert_eq!(told_since(&mut world, conn).last().expect("a reply")["error"]["code"], 105);
    assert!(world.auth.asks_in[0].pop().is_err());
}

#[test]
fn a_token_comes_before_the_backend() {
    let Ok(HookReply::Subscribe(claims)) = grant("a", None) else { panic!("a grant") };
    let bad = TokenResult::refused(TokenKind::Subscription, TokenRefused::Malformed);
    for (channel, result, code) in [
        ("a", TokenResult::Subscription(Ok(claims)), json!(null)),
        ("a", bad.clone(), json!(103)),
        ("unknown:a", bad, json!(103)),
    ] {
        let mut world = world();
        let conn = ann(&mut world);
        let ask = json!({"id": 2, "subscribe": {"channel": channel, "token": "t"}});
        say(&mut world, conn, &ask.to_string());
        let Ok(AuthAsk::Token(TokenAsk { asker, .. })) = world.auth.asks_in[0].pop() else {
            panic!("no token")
        };
        let verdict = Box::new(Verdict { asker, ruling: Ruling::Token(result) });
        world.auth.verdicts_out[0].push(Request::Verdict(verdict)).expect("room");
        world.settle();
        let told = told_since(&mut world, conn);
        assert_eq!(told[0]["error"]["code"], code, "{told:?}");
        assert!(world.auth.asks_in[0].pop().is_err());
    }
}

#[test]
fn what_a_subscription_that_is_not_granted_is_told() {
    for (outcome, expect) in [
        (error(403), json!(403)),
        (Err(HookRefused::Unanswered), json!(100)),
        (disconnect(4000), json!(4000)),
    ] {
        let mut world = world();
        let conn = ann(&mut world);
        say(&mut world, conn, r#"{"id":2,"subscribe":{"channel":"a"}}"#);
        let ask = asked(&mut world);
        answer(&mut world, &ask, outcome);
        let heard = told_since(&mut world, conn).remove(0);
        let heard = if heard.is_number() { heard } else { heard["error"]["code"].clone() };
        assert_eq!(heard, expect);
        if expect != json!(4000) {
            // Nothing is left of it.
            say(&mut world, conn, r#"{"id":3,"subscribe":{"channel":"a"}}"#);
            let ask = asked(&mut world);
            answer(&mut world, &ask, grant("a", None));
            let told = told_since(&mut world, conn);
            assert!(told[1].get("subscribe").is_some(), "{told:?}");
        }
    }
}

#[test]
fn a_backend_says_what_is_published() {
    let mut world = world();
    let conn = ann(&mut world);
    say(&mut world, conn, r#"{"id":2,"subscribe":{"channel":"a"}}"#);
    let ask = asked(&mut world);
    answer(&mut world, &ask, grant("a", None));
    for (id, data, expect) in [(3, None, json!({"n": 1})), (4, Some("[2]"), json!([2]))] {
        let publish = json!({"id": id, "publish": {"channel": "a", "data": {"n": 1}}});
        say(&mut world, conn, &publish.to_string());
        let ask = asked(&mut world);
        let Topic::Publish { channel, data: typed } = &ask.call.topic else { panic!("{ask:?}") };
        assert_eq!((&**channel, &**typed), ("a", r#"{"n":1}"#));
        let data = data.map(Into::into);
        answer(&mut world, &ask, Ok(HookReply::Publish { data, skip_history: false }));
        let told = told_since(&mut world, conn);
        let mut pushed = told.iter().rev().filter_map(|line| line["push"]["pub"].get("data"));
        assert_eq!(pushed.next(), Some(&expect));
        assert!(told.contains(&json!({"id": id, "publish": {}})), "{told:?}");
    }
    let long = format!("\"{}\"", "x".repeat(64 * 1024));
    for (outcome, expect) in [
        (error(403), 403),
        (Ok(HookReply::Publish { data: Some(long.into()), skip_history: false }), 100),
    ] {
        say(&mut world, conn, r#"{"id":5,"publish":{"channel":"a","data":1}}"#);
        let ask = asked(&mut world);
        answer(&mut world, &ask, outcome);
        assert_eq!(told_since(&mut world, conn).last().expect("a reply")["error"]["code"], expect);
    }
    // Where no backend is asked, the options decide.
    say(&mut world, conn, r#"{"id":6,"publish":{"channel":"open:a","data":1}}"#);
    assert_eq!(told_since(&mut world, conn).last().expect("a reply")["error"]["code"], 103);
}

#[test]
fn a_backend_is_asked_once_though_there_is_no_room_for_what_it_allows() {
    let hooks = HookSet::of(|_| true);
    let all = ChannelHooks { subscribe: true, publish: true, sub_refresh: false };
    let plain = ChannelOptions { hooks: all, ..ChannelOptions::default() };
    let channels = Arc::new(Namespaces::new(plain, []));
    let options = Options { shards: 2, lane_len: 4, ..Options::default() };
    let mut world = World::with_settings(options, |settings| {
        (settings.channels, settings.hooks) = (channels, hooks);
    });
    let channel = world.channel_of(ShardId(1));
    let conn = ann(&mut world);
    // The other shard takes nothing until its lane is full.
    let publish = json!({"id": 2, "publish": {"channel": &*channel, "data": 1}}).to_string();
    let allowed = || Ok(HookReply::Publish { data: None, skip_history: false });
    for _ in 0..5 {
        say(&mut world, conn, &publish);
        let ask = asked(&mut world);
        answer(&mut world, &ask, allowed());
    }
    assert!(world.auth.asks_in[0].pop().is_err());
    let lane = &mut world.others[0].requests_in[0];
    let sent = std::iter::from_fn(|| lane.pop()).count();
    assert_eq!(sent, 4);
    world.settle();
    let lane = &mut world.others[0].requests_in[0];
    assert!(matches!(lane.pop(), Some(Request::Publish(_))), "the fifth");
    assert!(world.auth.asks_in[0].pop().is_err(), "it was asked twice");
}

#[test]
fn a_connection_goes_on_as_long_as_its_backend_says() {
    let mut world = world();
    let conn = ann_for(&mut world, Some(5));
    let connect = &told(&mut world, conn)[0]["connect"];
    assert_eq!((connect.get("expires"), connect.get("ttl")), (None, None));
    wait(&mut world, conn, 4);
    assert!(world.auth.asks_in[0].pop().is_err());
    wait(&mut world, conn, 2);
    let ask = asked(&mut world);
    assert!(matches!(ask.call.topic, Topic::Refresh) && ask.asker.command == 0);
    assert_eq!((&*ask.call.user, ask.call.meta.as_deref()), ("ann", Some("{}")));
    // Once, however long the answer takes.
    wait(&mut world, conn, 2);
    assert!(world.auth.asks_in[0].pop().is_err());
    let (expire_at, info) = (Some(at(20)), Some("[9]".into()));
    let goes_on = Refreshed { expired: false, expire_at, info };
    answer(&mut world, &ask, Ok(HookReply::Refresh(goes_on)));
    say(
        &mut world,
        conn,
        "{\"id\":2,\"subscribe\":{\"channel\":\"open:a\"}}\n{\"id\":3,\"presence\":{\"channel\":\"open:a\"}}",
    );
    let told = told_since(&mut world, conn);
    let presence = told[1]["presence"]["presence"].as_object().expect("a map");
    assert_eq!(presence.values().next().expect("ann")["conn_info"], json!([9]));
    wait(&mut world, conn, 13);
    let ask = asked(&mut world);
    answer(&mut world, &ask, Err(HookRefused::Unanswered));
    // A backend that does not answer ends nothing: it is asked again.
    wait(&mut world, conn, limits::HOOK_RETRY_S - 1);
    assert!(world.auth.asks_in[0].pop().is_err());
    wait(&mut world, conn, 2);
    let ask = asked(&mut world);
    let over = Refreshed { expired: true, ..Refreshed::default() };
    answer(&mut world, &ask, Ok(HookReply::Refresh(over)));
    assert_eq!(told_since(&mut world, conn).last(), Some(&json!(3005)));
}

#[test]
fn without_a_refresh_hook_the_client_brings_a_token() {
    let mut world = world_with(HookSet::of(|hook| hook != Hook::Refresh), true, 64);
    let conn = ann_for(&mut world, Some(5));
    assert_eq!(told(&mut world, conn)[0]["connect"]["ttl"], 5);
    say(&mut world, conn, r#"{"id":2,"subscribe":{"channel":"half:a"}}"#);
    let ask = asked(&mut world);
    answer(&mut world, &ask, grant("half:a", Some(7)));
    assert_eq!(told_since(&mut world, conn)[0]["subscribe"]["ttl"], 7);
    wait(&mut world, conn, limits::EXPIRED_CLOSE_DELAY_S + 6);
    assert_eq!(told_since(&mut world, conn).last(), Some(&json!(3005)));
    assert!(world.auth.asks_in[0].pop().is_err());
}

#[test]
fn a_subscription_goes_on_as_long_as_its_backend_says() {
    let mut world = world();
    let conn = ann(&mut world);
    say(&mut world, conn, r#"{"id":2,"subscribe":{"channel":"a"}}"#);
    let ask = asked(&mut world);
    answer(&mut world, &ask, grant("a", Some(3)));
    assert_eq!(told_since(&mut world, conn)[0]["subscribe"].get("ttl"), None);
    wait(&mut world, conn, 4);
    let ask = asked(&mut world);
    assert!(matches!(&ask.call.topic, Topic::SubRefresh { channel } if **channel == *"a"));
    let goes_on = Refreshed { expire_at: Some(at(10)), ..Refreshed::default() };
    answer(&mut world, &ask, Ok(HookReply::Refresh(goes_on)));
    wait(&mut world, conn, 7);
    let ask = asked(&mut world);
    // Its answer comes when the client has left and come again: it is about nothing that is there.
    say(
        &mut world,
        conn,
        "{\"id\":3,\"unsubscribe\":{\"channel\":\"a\"}}\n{\"id\":4,\"subscribe\":{\"channel\":\"a\"}}",
    );
    let again = asked(&mut world);
    answer(&mut world, &again, grant("a", Some(12)));
    let over = || Refreshed { expired: true, ..Refreshed::default() };
    let stale = world.stats.counters.ring_stale.get();
    answer(&mut world, &ask, Ok(HookReply::Refresh(over())));
    assert_eq!(world.stats.counters.ring_stale.get(), stale + 1);
    wait(&mut world, conn, 2);
    let ask = asked(&mut world);
    answer(&mut world, &ask, Ok(HookReply::Refresh(over())));
    let last = told_since(&mut world, conn).pop().expect("a push");
    assert_eq!(last["push"]["unsubscribe"]["code"], 2501);
}

#[test]
fn more_questions_than_answers_have_room_are_turned_away_and_tokens_keep_theirs() {
    let mut world = world_with(HookSet::of(|_| true), true, 4);
    let conns: Vec<_> = (0..5).map(|_| world.connect_centrifuge()).collect();
    for conn in &conns {
        say(&mut world, *conn, r#"{"id":1,"connect":{}}"#);
    }
    assert_eq!(told(&mut world, conns[4])[0]["error"]["code"], 100);
    assert_eq!(world.stats.counters.hooks_turned_away.get(), 1);
    let more: Vec<_> = (0..4).map(|_| world.connect_centrifuge()).collect();
    for conn in &more {
        say(&mut world, *conn, r#"{"id":1,"connect":{"token":"t"}}"#);
    }
    assert_eq!(world.stats.counters.tokens_turned_away.get(), 0);
    let ask = asked(&mut world);
    let claims = ConnectClaims { user: "ann".into(), ..ConnectClaims::default() };
    answer(&mut world, &ask, Ok(HookReply::Connect(claims)));
    assert!(told(&mut world, conns[0])[0].get("connect").is_some());
    // There is room for one again.
    let next = world.connect_centrifuge();
    say(&mut world, next, r#"{"id":1,"connect":{}}"#);
    assert_eq!(told(&mut world, next), [] as [Value; 0]);
}

#[test]
fn an_answer_for_a_client_that_is_gone_is_counted() {
    let mut world = world();
    let conn = ann_for(&mut world, Some(2));
    wait(&mut world, conn, 3);
    say(&mut world, conn, r#"{"id":2,"rpc":{}}"#);
    for hook in [Hook::Refresh, Hook::Rpc] {
        let mut ask = asked(&mut world);
        assert_eq!(ask.call.hook(), hook);
        ask.asker.conn.generation += 1;
        let before = world.stats.counters.ring_stale.get();
        answer(&mut world, &ask, error(1));
        assert_eq!(world.stats.counters.ring_stale.get(), before + 1);
    }
}
