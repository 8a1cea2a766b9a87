//! What goes wrong, or meanwhile, between a connect command and the answers of the owners it asks,
//! over the real shard and a scripted kernel: nothing is left behind.

mod scripted;

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::hub::ChannelsFull;
use tidegate::id::ShardId;
use tidegate::limits;
use tidegate::mail::{Deed, Request};
use tidegate::protocol::claims::{Overrides, ServerSubscription};
use tidegate::ws::CloseCode;

use scripted::centrifuge::{channels, say, told, world};
use scripted::connecting::{
    ann, answer, claims, connect, end, enrolment, fresh, join, plain, steer, user,
};
use scripted::{Options, START_UNIX_S, World};

#[test]
fn what_cannot_be_refuses_the_connect_command() {
    for (channel, code) in [("unknown:a", 102), ("binary:a", 108), ("", 107)] {
        let mut world = world(1, 64);
        let behind = "\n{\"id\":2,\"rpc\":{}}";
        let claims = claims("ann", [plain("full:a"), plain(channel)]);
        let conn = connect(&mut world, claims, json!({}), behind);
        let heard = told(&mut world, conn);
        assert_eq!((heard.len(), &heard[0]["error"]["code"]), (1, &json!(code)), "{heard:?}");
        say(&mut world, conn, r#"{"id":3,"connect":{}}"#);
        assert_eq!(told(&mut world, conn)[1], 3501);
        end(&mut world, conn);
        world.assert_empty();
    }
}

#[test]
fn more_subscriptions_than_a_client_may_have_end_it() {
    let most = limits::CHANNELS_PER_CONNECTION_MAX;
    let names = |count: usize| (0..count).map(|n| plain(&format!("c{n}"))).collect::<Vec<_>>();
    for (claimed, asked, code) in [
        (most, 0, None),
        (most + 1, 0, Some(3505)),
        (most, 1, Some(3505)),
        (0, most + 1, Some(3505)),
    ] {
        let mut world = world(1, 1024);
        let subs: serde_json::Map<_, _> =
            (0..asked).map(|n| (format!("a{n}"), json!({}))).collect();
        let conn = connect(&mut world, claims("ann", names(claimed)), json!({"subs": subs}), "");
        let told = told(&mut world, conn);
        match code {
            None => {
                assert_eq!(
                    told[0]["connect"]["subs"].as_object().map(|subs| subs.len()),
                    Some(most)
                );
            }
            Some(code) => assert_eq!(told, [json!(code)]),
        }
        end(&mut world, conn);
        world.assert_empty();
    }
}

#[test]
fn an_owner_that_refuses_undoes_the_rest() {
    let mut world = world(2, 64);
    let (near, far) = (world.channel_of(ShardId(0)), world.channel_of(ShardId(1)));
    let conn = ann(&mut world, &["full:a", &near, &far]);
    let join_full = world.owners.owner("full:a") == ShardId(1);
    let mut joins = Vec::new();
    if join_full {
        joins.push(join(&mut world));
    }
    joins.push(join(&mut world));
    let refused = joins.pop().expect("that of the far channel");
    answer(&mut world, &refused, Err(ChannelsFull));
    let heard = told(&mut world, conn);
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!(heard[0]["error"]["code"], 100);
    assert_eq!(heard[0]["error"]["temporary"], true);
    assert_eq!(world.stats.counters.subscriptions.get(), 0);
    // An answer that is late finds nobody.
    for late in joins {
        answer(&mut world, &late, fresh());
    }
    // Nor does a backend.
    let mut done = steer(&mut world, user("ann"), enrolment(&near, None));
    assert_eq!(done.try_recv().expect("nobody is meant"), Ok(()));
    let _result = world.publish(&near, "1");
    world.settle();
    assert_eq!(told(&mut world, conn).len(), 1);
    say(&mut world, conn, r#"{"id":2,"rpc":{}}"#);
    assert_eq!(told(&mut world, conn)[1], 3501);
    end(&mut world, conn);
    world.assert_empty();
}

#[test]
fn a_client_that_goes_while_owners_are_asked_leaves_nothing_behind() {
    for (goes, is_late) in [(4000, false), (4000, true), (3001, false), (3001, true)] {
        let mut world = world(2, 64);
        let overrides = Overrides { presence: Some(true), ..Overrides::default() };
        let (near, far) = (world.channel_of(ShardId(0)), world.channel_of(ShardId(1)));
        let seen = |channel: &str| ServerSubscription { overrides, ..plain(channel) };
        let claims = claims("ann", [seen(&near), seen(&far)]);
        let conn = connect(&mut world, claims, json!({}), "");
        let _result = world.publish(&near, "1");
        world.settle();
        let join = join(&mut world);
        if goes == 4000 {
            let code = CloseCode::new(goes).expect("may be sent");
            let mut done =
                steer(&mut world, user("ann"), Deed::Disconnect { code, reason: "".into() });
            assert_eq!(done.try_recv().expect("an answer"), Ok(()));
        } else {
            world.gateway.push(Request::Drain { window: Duration::ZERO }).expect("room");
            world.settle();
        }
        assert_eq!(told(&mut world, conn), [json!(goes)]);
        if is_late {
            end(&mut world, conn);
        }
        answer(&mut world, &join, fresh());
        assert_eq!(world.stats.counters.ring_stale.get(), 1, "the answer finds nobody");
        // Its owner learns that it was there and is not any more.
        let left = match world.others[0].requests_in[0].pop() {
            Some(Request::Leave(leave)) => leave,
            other => panic!("{goes}, {is_late}: {other:?}"),
        };
        assert_eq!((&left.channel, &*left.info.user), (&far, "ann"));
        if !is_late {
            end(&mut world, conn);
        }
        world.assert_empty();
    }
}

#[test]
fn subscriptions_wait_for_room_on_the_way() {
    let mut world = world(2, 4);
    let names: Vec<_> = (0..)
        .map(|n| format!("c{n}"))
        .filter(|name| world.owners.owner(name) == ShardId(1))
        .take(10)
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let conn = ann(&mut world, &names);
    for (answered, name) in names.iter().enumerate() {
        assert_eq!(told(&mut world, conn), [] as [Value; 0], "{answered} answers");
        let join = join(&mut world);
        assert_eq!(*join.channel, **name);
        answer(&mut world, &join, fresh());
        if let Some(from) = world.others[0].requests_in[0].take_starved() {
            assert_eq!(from, ShardId(0));
            world.settle();
        }
    }
    let told = told(&mut world, conn);
    assert_eq!(told[0]["connect"]["subs"].as_object().map(|subs| subs.len()), Some(10));
    end(&mut world, conn);
    world.assert_empty();
}

#[test]
fn what_backends_do_meanwhile_follows_the_reply() {
    let mut world = world(2, 64);
    let (near, far) = (world.channel_of(ShardId(0)), world.channel_of(ShardId(1)));
    let conn = ann(&mut world, &[&near, &far]);
    let mut dones = vec![
        steer(&mut world, user("ann"), Deed::Unsubscribe(far.clone())),
        steer(&mut world, user("ann"), Deed::Unsubscribe(near.clone())),
        steer(&mut world, user("ann"), enrolment("news", None)),
    ];
    let refresh = Deed::Refresh { expire_at: Some(START_UNIX_S + 60), info: None };
    dones.push(steer(&mut world, user("ann"), refresh));
    assert_eq!(told(&mut world, conn), [] as [Value; 0]);
    let news_is_far = world.owners.owner("news") == ShardId(1);
    let joined = join(&mut world);
    answer(&mut world, &joined, fresh());
    if news_is_far {
        let joined = join(&mut world);
        answer(&mut world, &joined, fresh());
    }
    for mut done in dones {
        assert_eq!(done.try_recv().expect("an answer"), Ok(()));
    }
    let told = told(&mut world, conn);
    let connect = &told[0]["connect"];
    assert_eq!(connect["subs"].as_object().map(|subs| subs.len()), Some(2));
    assert_eq!(connect["ttl"], 60);
    let mut ended: Vec<_> = told[1..]
        .iter()
        .filter(|line| line["push"].get("unsubscribe").is_some())
        .map(|line| line["push"]["channel"].as_str().expect("a name"))
        .collect();
    ended.sort_unstable();
    let mut both = [&*near, &*far];
    both.sort_unstable();
    assert_eq!(ended, both);
    let begun = told[1..].iter().find(|line| line["push"].get("subscribe").is_some());
    assert_eq!(begun.expect("a push")["push"]["channel"], "news");
    assert_eq!(world.stats.counters.subscriptions.get(), 1);
}

#[test]
fn what_is_held_back_has_a_limit() {
    let options = Options { shards: 2, outbox_bytes: 300, ..Options::default() };
    let mut world = World::with_channels(options, channels());
    let (near, far) = (world.channel_of(ShardId(0)), world.channel_of(ShardId(1)));
    let conn = ann(&mut world, &[&near, &far]);
    for _ in 0..10 {
        let _result = world.publish(&near, "\"some data\"");
        world.settle();
    }
    assert_eq!(told(&mut world, conn), [json!(3008)]);
    assert_eq!(world.stats.counters.slow_consumers_disconnected.get(), 1);
    assert!(world.stats.counters.outbox_dropped_bytes.get() > 0);
    let join = join(&mut world);
    answer(&mut world, &join, fresh());
    end(&mut world, conn);
    world.assert_empty();
}
