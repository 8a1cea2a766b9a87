//! Subscriptions that begin with the connection, over the real shard and a scripted kernel: the
//! reply comes once every owner has answered, nothing before it, and nothing is lost meanwhile.

mod scripted;

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate::hub::{self, Recover};
use tidegate::id::ShardId;
use tidegate::limits;
use tidegate::mail::{AuthAsk, Request, Ruling, TokenResult, Verdict};
use tidegate::protocol::channel::{ChannelOptions, Namespaces, Recovery};
use tidegate::protocol::claims::{Overrides, ServerSubscription};

use scripted::centrifuge::{FULL, channels, connected, say, told, world};
use scripted::connecting::{
    ann, answer, claims, connect, deliver, end, fresh, full_of, join, plain,
};
use scripted::{Options, World, masked};

#[test]
fn the_reply_to_connect_tells_what_a_client_is_subscribed_to() {
    let mut world = world(1, 64);
    let overrides = Overrides {
        presence: Some(true),
        force_push_join_leave: Some(true),
        force_recovery: Some(false),
        force_positioning: Some(false),
        ..Overrides::default()
    };
    let full = ServerSubscription {
        info: Some(r#"{"role":"guest"}"#.into()),
        data: Some(r#"{"why":[1]}"#.into()),
        overrides,
        ..plain("full:a")
    };
    // What is closed to clients, and private, is open to whoever signs tokens.
    let claims = claims("ann", [full, plain("closed:a"), plain("$x")]);
    let behind = "\n{\"id\":2,\"presence\":{\"channel\":\"full:a\"}}\n\
        {\"id\":3,\"subscribe\":{\"channel\":\"closed:a\"}}";
    let conn = connect(&mut world, claims, json!({}), behind);
    let told = told(&mut world, conn);
    let subs = &told[0]["connect"]["subs"];
    assert_eq!(subs["full:a"], json!({"data": {"why": [1]}}));
    let positioned = json!({"positioned": true, "epoch": subs["$x"]["epoch"]});
    assert_eq!((&subs["$x"], subs.as_object().map(|subs| subs.len())), (&positioned, Some(3)));
    let own = told.iter().find(|line| line["push"].get("join").is_some()).expect("its own join");
    assert_eq!(own["push"]["join"]["info"]["chan_info"], json!({"role": "guest"}));
    let presence = told.iter().find(|line| line["id"] == 2).expect("a reply");
    let presence = presence["presence"]["presence"].as_object().expect("a map");
    let who = presence.values().next().expect("ann");
    assert_eq!((&who["user"], &who["chan_info"]), (&json!("ann"), &json!({"role": "guest"})));
    let again = told.iter().find(|line| line["id"] == 3).expect("a reply");
    assert_eq!(again["error"]["code"], 105);
    assert_eq!(world.stats.counters.subscriptions.get(), 3);
    end(&mut world, conn);
    world.assert_empty();
}

#[test]
fn who_is_not_to_be_seen_is_not_seen() {
    let mut world = world(1, 64);
    let watcher = connected(&mut world);
    say(&mut world, watcher, r#"{"id":2,"subscribe":{"channel":"full:a","join_leave":true}}"#);
    let before = told(&mut world, watcher).len();
    for (presence, join_leave) in [(false, false), (false, true), (true, false)] {
        let overrides = Overrides {
            presence: Some(presence),
            join_leave: Some(join_leave),
            ..Overrides::default()
        };
        let hidden = ServerSubscription { overrides, ..plain("full:a") };
        let conn = connect(&mut world, claims("ann", [hidden]), json!({}), "");
        say(&mut world, watcher, r#"{"id":3,"presence_stats":{"channel":"full:a"}}"#);
        end(&mut world, conn);
        say(&mut world, watcher, r#"{"id":4,"presence_stats":{"channel":"full:a"}}"#);
        let heard = told(&mut world, watcher).split_off(before);
        let count = |id| {
            let reply = heard.iter().rfind(|line| line["id"] == id).expect("a reply");
            reply["presence_stats"]["num_clients"].as_u64()
        };
        assert_eq!((count(3), count(4)), (Some(1 + u64::from(presence)), Some(1)));
    }
    let heard = told(&mut world, watcher).split_off(before);
    let news: Vec<_> = heard.iter().filter_map(|line| line["push"].as_object()).collect();
    assert_eq!(news.len(), 2, "one came and went in sight: {news:?}");
    assert!(news[0].contains_key("join") && news[1].contains_key("leave"));
}

#[test]
fn nothing_reaches_a_client_before_the_reply_and_nothing_is_lost() {
    let mut world = world(2, 64);
    let (near, far) = (world.channel_of(ShardId(0)), world.channel_of(ShardId(1)));
    let behind = "\n{\"id\":2,\"rpc\":{}}";
    let claims = claims("ann", [plain(&near), plain(&far)]);
    let conn = connect(&mut world, claims, json!({}), behind);
    let _results = [world.publish(&near, "1"), world.publish(&near, "2")];
    world.settle();
    assert_eq!(told(&mut world, conn), [] as [Value; 0]);
    assert_eq!(world.stats.counters.deliveries.get(), 2, "held back");
    let join = join(&mut world);
    assert_eq!(join.channel, far);
    answer(&mut world, &join, fresh());
    deliver(&mut world, &far, 1);
    let told = told(&mut world, conn);
    let subs = told[0]["connect"]["subs"].as_object().expect("a map");
    assert_eq!(subs[&*near].get("offset"), None, "it began before both");
    assert_eq!(subs[&*far]["positioned"], true);
    let data: Vec<_> = told[1..].iter().map(|line| &line["push"]["pub"]["data"]).collect();
    assert_eq!(data[..2], [&json!(1), &json!(2)]);
    assert_eq!(told[3]["id"], 2);
    assert_eq!(data[3], "far");
    assert_eq!(told.len(), 5);
    end(&mut world, conn);
    world.assert_empty();
}

/// Publications go on while a client connects, at every moment of it.
#[test]
fn what_was_missed_is_in_the_reply_and_the_rest_follows() {
    for moment in 0..8 {
        for recover in [false, true] {
            let mut world = world(2, 64);
            let (near, far) = (full_of(&world, ShardId(0)), world.channel_of(ShardId(1)));
            let mut results: Vec<_> =
                (0..3).map(|n| world.publish(&near, &n.to_string())).collect();
            world.settle();
            let epoch = results[0].try_recv().expect("numbered").expect("numbered").epoch;
            let since = json!({"recover": recover, "offset": 1, "epoch": epoch.as_str()});
            let conn = world.connect_centrifuge();
            let command = json!({"id": 1, "connect": {"token": "t", "subs": {&near: since}}});
            world.kernel().recv(conn, &masked(&command.to_string()));
            world.settle();
            let Ok(AuthAsk::Token(ask)) = world.auth.asks_in[0].pop() else {
                panic!("no token was shown")
            };
            let result = TokenResult::Connection(Ok(claims("ann", [plain(&near), plain(&far)])));
            let verdict = Request::Verdict(Box::new(Verdict {
                asker: ask.asker,
                ruling: Ruling::Token(result),
            }));
            world.auth.verdicts_out[0].push(verdict).expect("room");
            for turn in 0..8 {
                if turn >= moment {
                    results.push(world.publish(&near, "\"later\""));
                }
                world.turn();
                if turn == 4 {
                    let join = join(&mut world);
                    answer(&mut world, &join, fresh());
                }
            }
            world.settle();
            let lines = told(&mut world, conn);
            let reply = &lines[0]["connect"]["subs"][&*near];
            assert_eq!(reply.get("recovered").is_some(), recover, "{lines:?}");
            let mut offset = reply["offset"].as_u64().expect("an offset");
            let none = vec![];
            let given = reply["publications"].as_array().unwrap_or(&none).iter();
            let pushed = lines.iter().map(|line| &line["push"]["pub"]).filter(|p| p.is_object());
            for publication in given.chain(pushed) {
                offset += 1;
                assert_eq!(publication["offset"], offset, "moment {moment}: {lines:?}");
            }
            assert_eq!(offset, results.len() as u64, "moment {moment}");
        }
    }
}

#[test]
fn what_a_client_says_it_missed_counts_where_it_may_recover() {
    let mut world = world(1, 64);
    let _results = [world.publish("full:a", "1"), world.publish("full:b", "1")];
    world.settle();
    let elsewhere = json!({"recover": true, "offset": 1, "epoch": "elsewise"});
    let subs = json!({
        "full:a": elsewhere, "full:b": elsewhere, "plain": elsewhere,
        "closed:a": elsewhere, "unknown:a": elsewhere, "binary:a": elsewhere, "": elsewhere,
        "$x": elsewhere, "room#bob": elsewhere, "room#ann": {"recover": false},
    });
    let fixed = Overrides { force_recovery: Some(false), ..Overrides::default() };
    let fixed = ServerSubscription { overrides: fixed, ..plain("full:b") };
    let conn = connect(&mut world, claims("ann", [fixed]), json!({"subs": subs}), "");
    let reply = told(&mut world, conn).remove(0);
    let subs = reply["connect"]["subs"].as_object().expect("a map");
    let mut names: Vec<_> = subs.keys().map(String::as_str).collect();
    names.sort_unstable();
    // What it may subscribe to by itself it keeps; of the others nothing is said.
    assert_eq!(names, ["full:a", "full:b", "plain", "room#ann"]);
    assert_eq!(subs["full:a"]["was_recovering"], true);
    assert_eq!(subs["full:a"].get("recovered"), None);
    for name in ["full:b", "plain", "room#ann"] {
        assert_eq!(subs[name].get("was_recovering"), None, "{name}");
    }
    // Nobody in particular has what anyone may have.
    let anyone = world.connect_centrifuge();
    let subs = json!({"room#ann": {}, "full:a": {}});
    let command = json!({"id": 1, "connect": {"subs": subs}});
    say(&mut world, anyone, &command.to_string());
    let reply = told(&mut world, anyone).remove(0);
    let subs = reply["connect"]["subs"].as_object().expect("a map");
    assert_eq!(subs.keys().collect::<Vec<_>>(), ["full:a"]);
}

#[test]
fn in_a_cache_the_newest_comes_with_the_reply() {
    let cache = ChannelOptions { recovery: Recovery::Cache, ..FULL };
    let channels = Namespaces::new(cache, []);
    let mut world = World::with_channels(Options::default(), Arc::new(channels));
    let _results = [world.publish("a", "1"), world.publish("a", "2")];
    world.settle();
    let conn = ann(&mut world, &["a", "empty"]);
    let told = told(&mut world, conn);
    let subs = &told[0]["connect"]["subs"];
    assert_eq!(subs["a"]["recovered"], true);
    assert_eq!(subs["a"]["publications"].as_array().map(Vec::len), Some(1));
    assert_eq!(subs["a"]["publications"][0]["data"], 2);
    assert_eq!(subs["empty"].get("recovered"), None);
}

#[test]
fn every_user_has_a_channel_of_its_own_where_that_is_configured() {
    for (namespace, channel) in [(None, "#ann"), (Some("full"), "full:#ann")] {
        let channels = (*channels()).clone().with_personal_channels(namespace);
        let mut world = World::with_channels(Options::default(), Arc::new(channels));
        let conns = [ann(&mut world, &[]), ann(&mut world, &[channel])];
        let _result = world.publish(channel, "1");
        world.settle();
        for conn in conns {
            let told = told(&mut world, conn);
            let subs = told[0]["connect"]["subs"].as_object().expect("a map");
            assert_eq!(subs.keys().collect::<Vec<_>>(), [channel]);
            assert_eq!(told.last().expect("a push")["push"]["pub"]["data"], 1);
        }
        let nobody = connected(&mut world);
        assert_eq!(told(&mut world, nobody)[0]["connect"].get("subs"), None);
        // By their names these would be of others, too.
        for user in ["a,b", "a#b"] {
            let conn = connect(&mut world, claims(user, []), json!({}), "");
            assert_eq!(told(&mut world, conn)[0]["error"]["code"], 103, "{user}");
        }
        let long = "u".repeat(limits::CHANNEL_NAME_MAX);
        let conn = connect(&mut world, claims(&long, []), json!({}), "");
        assert_eq!(told(&mut world, conn)[0]["error"]["code"], 107);
    }
}

#[test]
fn recovery_is_asked_of_the_owner_in_the_words_of_the_client() {
    let mut world = world(2, 64);
    let name = full_of(&world, ShardId(1));
    let since = json!({"recover": true, "offset": 7, "epoch": "abcdefgh"});
    let connect_command = json!({"subs": {&name: since}});
    let claims = claims("ann", [plain(&name)]);
    connect(&mut world, claims, connect_command, "");
    let join = join(&mut world);
    let Recover::Stream(since) = join.recover else { panic!("{join:?}") };
    assert_eq!(since.offset, 7);
    assert_eq!(since.epoch, hub::AskedEpoch::from_text("abcdefgh"));
    assert!(join.visibility.presence && join.visibility.join_leave);
}
