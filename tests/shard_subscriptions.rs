//! Subscriptions of Centrifuge clients over the real shard and a scripted kernel: nothing lost,
//! nothing doubled, nothing left behind.

mod scripted;

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::id::ShardId;
use tidegate::mail::{Delivery, Joined, Request};
use tidegate::publication::{Epoch, Position};
use tidegate::ring::CloseHow;

use scripted::centrifuge::{connected, frames, say, subscribed, told, world};
use scripted::connecting::{answer, fresh, full_of, join};
use scripted::{masked, server_message};

#[test]
fn each_protocol_gets_its_own_form_of_a_publication() {
    let mut world = world(1, 64);
    let raw = world.connect_raw(&["news"]);
    let conns = [subscribed(&mut world, "news"), subscribed(&mut world, "news")];
    let _result = world.publish("news", "{ \"n\": 1 }");
    world.settle();
    assert_eq!(world.received(raw), server_message("{ \"n\": 1 }"));
    let frames = conns.map(|conn| frames(&mut world, conn).pop().expect("a push"));
    assert_eq!(frames[0], frames[1]);
    let push: Value = serde_json::from_str(&frames[0]).expect("JSON");
    assert_eq!(push["push"]["pub"]["data"], json!({"n": 1}));
    assert!(frames[0].contains("{ \"n\": 1 }"), "byte for byte");
    assert_eq!(world.stats.counters.frames_encoded.get(), 2);
}

/// Publications go on while a client subscribes, at every moment of its subscription.
#[test]
fn publications_during_a_subscription_are_neither_lost_nor_doubled() {
    for moment in 0..6 {
        for recover in [false, true] {
            let mut world = world(1, 64);
            let conn = connected(&mut world);
            let mut results: Vec<_> =
                (0..3).map(|n| world.publish("full:a", &n.to_string())).collect();
            world.settle();
            let epoch = results[0].try_recv().expect("numbered").expect("numbered").epoch;
            let subscribe = json!({"id": 2, "subscribe": {
                "channel": "full:a", "recover": recover, "offset": 1, "epoch": epoch.as_str(),
            }});
            world.kernel().recv(conn, &masked(&subscribe.to_string()));
            for turn in 0..6 {
                if turn >= moment {
                    results.push(world.publish("full:a", "\"later\""));
                }
                world.turn();
            }
            world.settle();
            let lines = told(&mut world, conn);
            let reply = lines.iter().find(|line| line["id"] == 2).expect("a reply");
            let reply = &reply["subscribe"];
            let mut offset = reply["offset"].as_u64().expect("an offset");
            let none = vec![];
            let given = reply["publications"].as_array().unwrap_or(&none).iter();
            let pushed = lines.iter().map(|line| &line["push"]["pub"]).filter(|p| p.is_object());
            for publication in given.chain(pushed) {
                offset += 1;
                assert_eq!(publication["offset"], offset, "moment {moment}: {lines:?}");
            }
            assert_eq!(offset, results.len() as u64, "moment {moment}");
            assert_eq!(reply.get("recovered").is_some(), recover);
        }
    }
}

#[test]
fn what_cannot_be_recovered_is_said() {
    let mut world = world(1, 64);
    let mut result = world.publish("full:a", "1");
    world.settle();
    let epoch = result.try_recv().expect("numbered").expect("numbered").epoch;
    let conn = connected(&mut world);
    let subscribe = |id: u32, epoch: &str, offset: u64, flag: u32| {
        json!({"id": id, "subscribe": {
            "channel": "full:a", "recover": true, "epoch": epoch, "offset": offset, "flag": flag,
        }})
        .to_string()
    };
    say(&mut world, conn, &subscribe(2, "elsewise", 0, 2));
    say(&mut world, conn, &subscribe(3, "elsewise", 0, 1));
    say(&mut world, conn, r#"{"id":4,"unsubscribe":{"channel":"full:a"}}"#);
    say(&mut world, conn, &subscribe(5, epoch.as_str(), 1, 0));
    let told = told(&mut world, conn);
    assert_eq!(told[1]["error"]["code"], 112);
    let unrecovered = &told[2]["subscribe"];
    assert_eq!(unrecovered["was_recovering"], true);
    assert_eq!((&unrecovered["offset"], unrecovered.get("recovered")), (&json!(1), None));
    let nothing_missed = &told[4]["subscribe"];
    assert_eq!(
        (&nothing_missed["recovered"], &nothing_missed["offset"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(world.stats.counters.recovered.get(), 1);
    // The refused one had been let in by the owner: it is out of presence again.
    say(&mut world, conn, r#"{"id":6,"presence_stats":{"channel":"full:a"}}"#);
    let last = frames(&mut world, conn).pop().expect("a reply");
    assert!(last.contains(r#""num_clients":1"#), "{last}");
}

#[test]
fn news_of_others_is_for_those_who_asked() {
    let mut world = world(1, 64);
    let silent = subscribed(&mut world, "full:a");
    let curious = connected(&mut world);
    let subscribe = r#"{"id":2,"subscribe":{"channel":"full:a","join_leave":true}}"#;
    say(&mut world, curious, subscribe);
    let third = subscribed(&mut world, "full:a");
    world.kernel().recv_end(third);
    world.settle();
    let heard = told(&mut world, curious).split_off(1);
    assert_eq!(heard[0]["id"], 2, "the reply comes before the news of oneself");
    let kinds: Vec<_> = heard[1..]
        .iter()
        .map(|line| {
            line["push"].as_object().expect("a push").keys().next_back().expect("a kind").as_str()
        })
        .collect();
    assert_eq!(kinds, ["join", "join", "leave"]);
    assert_eq!(told(&mut world, silent).len(), 2);
    say(&mut world, curious, r#"{"id":3,"presence":{"channel":"full:a"}}"#);
    let presence = told(&mut world, curious).pop().expect("a reply");
    assert_eq!(presence["presence"]["presence"].as_object().expect("a map").len(), 2);
}

#[test]
fn commands_wait_for_room_in_order() {
    let mut world = world(2, 4);
    let conn = connected(&mut world);
    let channel = world.channel_of(ShardId(1));
    let publish =
        |id: u32| json!({"id": id, "publish": {"channel": &*channel, "data": id}}).to_string();
    let commands: Vec<_> = (10..20).map(publish).collect();
    world.kernel().recv(conn, &masked(&commands.join("\n")));
    // More bytes behind them stay behind them.
    world.kernel().recv(conn, &masked(&publish(20)));
    world.settle();
    let mut taken = Vec::new();
    while let Some(request) = world.others[0].requests_in[0].pop() {
        let Request::Publish(publish) = request else { panic!("{request:?}") };
        let tidegate::mail::Reply::Client(asker) = publish.reply else { panic!("a client's") };
        taken.push(asker.command);
        let position = Position { offset: 1, epoch: Epoch::from_random(1) };
        let answer = Delivery::Published { conn, command: asker.command, result: Ok(position) };
        let lane = world.others[0].deliveries_out[0].as_mut().expect("shard 0 is another");
        lane.push(answer).expect("room in the lane");
        world.settle();
    }
    assert_eq!(taken, (10..=20).collect::<Vec<_>>());
    let ids: Vec<_> = told(&mut world, conn)[1..].iter().map(|line| line["id"].as_u64()).collect();
    assert_eq!(ids, (10..=20).map(Some).collect::<Vec<_>>());
}

/// A client that waits for no answer of its own is told of room that others took.
#[test]
fn commands_wait_for_room_that_others_took() {
    let mut world = world(2, 4);
    let (first, second) = (connected(&mut world), connected(&mut world));
    let channel = world.channel_of(ShardId(1));
    let publish = |id: u32| json!({"id": id, "publish": {"channel": &*channel, "data": id}});
    for id in 10..14 {
        say(&mut world, first, &publish(id).to_string());
    }
    say(&mut world, second, &publish(20).to_string());
    assert!(!world.kernel().is_armed(second), "it is not read");
    let mut taken = 0;
    while world.others[0].requests_in[0].pop().is_some() {
        taken += 1;
        world.settle();
    }
    assert_eq!(taken, 5);
    assert!(world.kernel().is_armed(second));
}

/// The owner's answer comes when the client is gone: nothing is left of either.
#[test]
fn a_client_that_goes_while_it_is_let_in_leaves_nothing() {
    let mut world = world(2, 64);
    let conn = connected(&mut world);
    let name = (0..)
        .map(|n| format!("full:{n}"))
        .find(|name| world.owners.owner(name) == ShardId(1))
        .expect("every shard owns some");
    say(&mut world, conn, &json!({"id": 2, "subscribe": {"channel": name}}).to_string());
    world.kernel().recv_end(conn);
    world.settle();
    assert_eq!(world.kernel().peer(conn).closed, Some(CloseHow::Orderly));
    let requests = &mut world.others[0].requests_in[0];
    let Some(Request::Join(join)) = requests.pop() else { panic!("a join first") };
    let Some(Request::Leave(leave)) = requests.pop() else { panic!("its leave behind it") };
    assert_eq!(leave.info.client, join.info.client);
    let joined = Joined {
        subscriber: join.subscriber,
        ticket: join.ticket,
        result: Ok(tidegate::hub::Joined {
            position: Position { offset: 0, epoch: Epoch::from_random(1) },
            recovered: false,
            publications: Vec::new(),
        }),
        notice: None,
    };
    let lane = world.others[0].deliveries_out[0].as_mut().expect("shard 0 is another");
    lane.push(Delivery::Joined(Box::new(joined))).expect("room in the lane");
    world.settle();
    let request = world.others[0].requests_in[0].pop();
    assert!(matches!(request, Some(Request::Disinterest { .. })), "{request:?}");
    assert_eq!(world.stats.counters.channels.get(), 0);
    world.assert_empty();
}

#[test]
fn a_question_does_not_overtake_a_leave() {
    let mut world = world(2, 64);
    for owner in [ShardId(0), ShardId(1)] {
        let name = full_of(&world, owner);
        let conn = connected(&mut world);
        say(&mut world, conn, &json!({"id": 2, "subscribe": {"channel": name}}).to_string());
        if owner == ShardId(1) {
            let join = join(&mut world);
            answer(&mut world, &join, fresh());
        }
        let both = [
            json!({"id": 3, "unsubscribe": {"channel": name}}),
            json!({"id": 4, "presence_stats": {"channel": name}}),
        ];
        say(&mut world, conn, &both.map(|command| command.to_string()).join("\n"));
        if owner == ShardId(0) {
            let reply = told(&mut world, conn).pop().expect("a reply");
            assert_eq!(reply["presence_stats"], json!({"num_clients": 0, "num_users": 0}));
            continue;
        }
        let mut requests = Vec::new();
        while let Some(request) = world.others[0].requests_in[0].pop() {
            requests.push(request);
        }
        let leave = requests.iter().position(|request| matches!(request, Request::Leave(_)));
        let ask = requests.iter().position(|request| matches!(request, Request::Ask(_)));
        assert!(leave.is_some() && leave < ask, "{requests:?}");
    }
}

#[test]
fn a_drain_sends_clients_back_later() {
    let mut world = world(1, 64);
    let conn = subscribed(&mut world, "a");
    let window = Duration::ZERO;
    world.gateway.push(Request::Drain { window }).expect("room");
    world.settle();
    assert_eq!(told(&mut world, conn).last(), Some(&json!(3001)));
}

#[test]
fn a_raw_message_that_is_no_json_is_refused_and_nobody_is_disconnected() {
    let mut world = world(1, 64);
    let raw = world.connect_raw(&["news"]);
    let conn = subscribed(&mut world, "news");
    for text in ["hello", "", "{\"a\":1}x", "{\"a\":1}"] {
        say(&mut world, raw, text);
    }
    assert_eq!(world.received(raw), server_message("{\"a\":1}"));
    assert_eq!(told(&mut world, conn).len(), 3);
    assert_eq!(world.stats.counters.publications_refused.get(), 3);
    assert_eq!(world.kernel().open_count(), 2);
}
