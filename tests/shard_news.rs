//! What a backend is told, over the real shard, a scripted kernel and a scripted clock; the test
//! plays the thread that sends it, and the other shard.

mod scripted;

use std::time::Duration;

use serde_json::json;
use tidegate::id::{ConnId, ShardId};
use tidegate::mail::{NewsEvent, NewsPlan, NewsPost, Party, Request};

use scripted::centrifuge::{channels, connected, say, subscribed};
use scripted::{Options, START_UNIX_S, World, masked_close};

const DELAY: Duration = Duration::from_secs(3);

const EVERYTHING: NewsPlan =
    NewsPlan { disconnect: true, unsubscribe: true, vacated_delay_ms: Some(3_000) };

fn world(shards: u16, plan: NewsPlan) -> (World, NewsPost) {
    let options = Options { shards, ..Options::default() };
    World::with_backend(options, channels(), plan)
}

/// What was told since the last call, in short.
fn told(news: &mut NewsPost) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut taken = Vec::new();
    while !news.is_empty() {
        runtime.block_on(news.take(&mut taken));
    }
    let who = |who: &Party| match who {
        Party::Client(info) => format!("client {:?}", &*info.user),
        Party::Raw(user) => format!("raw {user:?}"),
    };
    let short = |event: &NewsEvent| match event {
        NewsEvent::Disconnect { who: party, code, reason } => {
            format!("disconnect {} {code} {reason}", who(party)).trim_end().to_owned()
        }
        NewsEvent::Unsubscribe { who: party, channel, code, reason } => {
            format!("unsubscribe {} {channel} {code} {reason}", who(party))
        }
        NewsEvent::Vacated { channel } => format!("vacated {channel}"),
    };
    taken.iter().map(|one| short(&one.event)).collect()
}

fn pass(world: &mut World, time: Duration) {
    world.pass(time);
    world.settle();
}

fn subscribe(world: &mut World, conn: ConnId, channel: &str) {
    say(world, conn, &json!({"id": 7, "subscribe": {"channel": channel}}).to_string());
}

fn unsubscribe(world: &mut World, conn: ConnId, channel: &str) {
    say(world, conn, &json!({"id": 8, "unsubscribe": {"channel": channel}}).to_string());
}

#[test]
fn a_client_that_unsubscribes_and_goes_is_told_step_by_step() {
    let (mut world, mut news) = world(1, EVERYTHING);
    let conn = subscribed(&mut world, "a");
    subscribe(&mut world, conn, "full:b");
    assert!(told(&mut news).is_empty());
    unsubscribe(&mut world, conn, "a");
    assert_eq!(told(&mut news), [r#"unsubscribe client "" a 0 client unsubscribed"#]);
    world.kernel().recv_end(conn);
    world.settle();
    let gone =
        [r#"unsubscribe client "" full:b 1 client disconnected"#, r#"disconnect client "" 1006"#];
    assert_eq!(told(&mut news), gone);
    assert!(world.next_wait().expect("something is to be told") <= DELAY);
    pass(&mut world, DELAY);
    assert_eq!(told(&mut news), ["vacated a", "vacated full:b"]);
    // That is all, and nothing more is waited for.
    pass(&mut world, DELAY);
    assert!(told(&mut news).is_empty());
    world.assert_empty();
}

#[test]
fn the_close_that_ended_it_is_named() {
    let (mut world, mut news) = world(1, EVERYTHING);
    let (mut ends, mut expect) = (Vec::new(), Vec::new());
    // Ours, with its reason.
    let conn = connected(&mut world);
    say(&mut world, conn, "x");
    ends.extend(told(&mut news));
    // Its socket ends later, which is no news.
    world.kernel().recv_end(conn);
    world.settle();
    world.assert_empty();
    ends.extend(told(&mut news));
    expect.push(r#"disconnect client "" 3501 bad request"#);
    // The peer's, with a code and without.
    let conn = connected(&mut world);
    world.kernel().recv(conn, &masked_close(Some(1001)));
    world.settle();
    ends.extend(told(&mut news));
    expect.push(r#"disconnect client "" 1001"#);
    let conn = connected(&mut world);
    world.kernel().recv(conn, &masked_close(None));
    world.settle();
    ends.extend(told(&mut news));
    expect.push(r#"disconnect client "" 1005"#);
    assert_eq!(ends, expect);
    // Whoever never said who it is was never there.
    let conn = world.connect_centrifuge();
    world.kernel().recv_end(conn);
    world.settle();
    assert!(told(&mut news).is_empty());
}

#[test]
fn a_raw_connection_is_told_with_the_user_of_its_token() {
    let (mut world, mut news) = world(1, EVERYTHING);
    let conn = world.connect_raw_as("ann", &["a", "b"]);
    let other = world.connect_raw(&["a"]);
    world.kernel().recv_end(conn);
    world.settle();
    let gone = [
        r#"unsubscribe raw Some("ann") a 1 client disconnected"#,
        r#"unsubscribe raw Some("ann") b 1 client disconnected"#,
        r#"disconnect raw Some("ann") 1006"#,
    ];
    assert_eq!(told(&mut news), gone);
    pass(&mut world, DELAY);
    assert_eq!(told(&mut news), ["vacated b"]);
    world.kernel().recv_end(other);
    world.settle();
    assert_eq!(told(&mut news)[1], "disconnect raw None 1006");
    let echo = world.connect_echo();
    world.kernel().recv_end(echo);
    world.settle();
    assert!(told(&mut news).is_empty());
}

#[test]
fn a_raw_connection_whose_101_was_held_back_is_no_news() {
    let (mut world, mut news) = world(2, EVERYTHING);
    let elsewhere = world.channel_of(ShardId(1));
    world.hand_over_raw(&[&elsewhere], b"");
    world.settle();
    world.gateway.push(Request::Drain { window: Duration::ZERO }).expect("room");
    world.settle();
    assert_eq!(world.kernel().open_count(), 0);
    assert!(told(&mut news).is_empty());
}

#[test]
fn a_channel_is_vacated_when_nobody_came_back_meanwhile() {
    let (mut world, mut news) = world(1, EVERYTHING);
    let conn = subscribed(&mut world, "a");
    unsubscribe(&mut world, conn, "a");
    told(&mut news);
    pass(&mut world, DELAY / 2);
    subscribe(&mut world, conn, "a");
    pass(&mut world, 2 * DELAY);
    assert!(told(&mut news).is_empty(), "somebody is there");
    // Leaving, coming and leaving again counts from the last time.
    unsubscribe(&mut world, conn, "a");
    pass(&mut world, DELAY / 2);
    subscribe(&mut world, conn, "a");
    unsubscribe(&mut world, conn, "a");
    told(&mut news);
    pass(&mut world, DELAY * 3 / 4);
    assert!(told(&mut news).is_empty(), "the second time is not over");
    pass(&mut world, DELAY);
    assert_eq!(told(&mut news), ["vacated a"]);
}

#[test]
fn the_owner_speaks_for_all_shards() {
    let (mut world, mut news) = world(2, EVERYTHING);
    let own = world.channel_of(ShardId(0));
    let other = |world: &mut World, request| {
        let lane = world.others[0].requests_out[0].as_mut().expect("shard 0 is another");
        lane.push(request).expect("room");
        world.settle();
    };
    let conn = subscribed(&mut world, &own);
    other(&mut world, Request::Interest { from: ShardId(1), channel: own.clone() });
    unsubscribe(&mut world, conn, &own);
    assert_eq!(told(&mut news).len(), 1);
    pass(&mut world, 2 * DELAY);
    assert!(told(&mut news).is_empty(), "the other shard still listens");
    other(&mut world, Request::Disinterest { from: ShardId(1), channel: own.clone() });
    pass(&mut world, DELAY);
    assert_eq!(told(&mut news), [format!("vacated {own}")]);
    // Of a channel of the other shard that one will speak.
    let elsewhere = world.channel_of(ShardId(1));
    let raw = {
        world.hand_over_raw(&[&elsewhere], b"");
        world.settle();
        world.answer_interest(&elsewhere);
        world.settle();
        world.newest()
    };
    world.kernel().recv_end(raw);
    pass(&mut world, 2 * DELAY);
    let news = told(&mut news);
    assert!(news.iter().all(|one| !one.starts_with("vacated")), "{news:?}");
}

#[test]
fn the_time_of_a_notice_is_that_of_what_it_tells() {
    let (mut world, mut news) = world(1, EVERYTHING);
    let conn = subscribed(&mut world, "a");
    pass(&mut world, Duration::from_secs(1));
    unsubscribe(&mut world, conn, "a");
    pass(&mut world, 2 * DELAY);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut taken = Vec::new();
    runtime.block_on(news.take(&mut taken));
    let times: Vec<_> = taken.iter().map(|one| one.time_ms).collect();
    assert_eq!(times, [(START_UNIX_S + 1) * 1_000; 2]);
}

#[test]
fn what_is_not_wanted_is_not_told() {
    for (plan, expect) in [
        (NewsPlan { unsubscribe: false, vacated_delay_ms: None, ..EVERYTHING }, "disconnect"),
        (NewsPlan { disconnect: false, vacated_delay_ms: None, ..EVERYTHING }, "unsubscribe"),
        (NewsPlan { disconnect: false, unsubscribe: false, ..EVERYTHING }, "vacated"),
    ] {
        let (mut world, mut news) = world(1, plan);
        for conn in [subscribed(&mut world, "a"), world.connect_raw(&["b"])] {
            world.kernel().recv_end(conn);
        }
        world.settle();
        pass(&mut world, DELAY);
        let told = told(&mut news);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().all(|one| one.starts_with(expect)), "{told:?}");
    }
}

#[test]
fn the_end_of_ten_thousand_clients_is_told_whole() {
    const COUNT: usize = 10_000;
    let (mut world, mut news) = world(1, EVERYTHING);
    let conns: Vec<_> = (0..COUNT).map(|_| subscribed(&mut world, "full:a")).collect();
    for conn in &conns {
        world.kernel().recv_end(*conn);
    }
    world.settle();
    pass(&mut world, DELAY);
    let told = told(&mut news);
    let count = |what: &str| told.iter().filter(|one| one.starts_with(what)).count();
    assert_eq!((count("unsubscribe"), count("disconnect")), (COUNT, COUNT));
    assert_eq!(
        (told.len(), told.last().map(|one| &**one)),
        (2 * COUNT + 1, Some("vacated full:a"))
    );
    assert_eq!(world.stats.counters.notices_unsent.get(), 0);
    world.assert_empty();
}

#[test]
fn a_shard_that_ends_tells_what_it_had_put_off_and_whom_it_cuts_off() {
    let (mut world, mut news) = world(1, EVERYTHING);
    let conn = subscribed(&mut world, "a");
    world.kernel().recv_end(conn);
    subscribed(&mut world, "b");
    world.connect_raw(&["b"]);
    told(&mut news);
    world.gateway.push(Request::Stop).expect("room");
    world.turn();
    let mut ends = [
        r#"unsubscribe client "" b 1 client disconnected"#,
        r#"disconnect client "" 1006"#,
        "unsubscribe raw None b 1 client disconnected",
        "disconnect raw None 1006",
        "vacated a",
        "vacated b",
    ];
    let mut told = told(&mut news);
    told.sort_unstable();
    ends.sort_unstable();
    assert_eq!(told, ends);
}

#[test]
fn a_backend_that_is_gone_costs_a_count() {
    let (mut world, news) = world(1, EVERYTHING);
    let conn = subscribed(&mut world, "a");
    drop(news);
    world.kernel().recv_end(conn);
    world.settle();
    pass(&mut world, DELAY);
    assert_eq!(world.stats.counters.notices_unsent.get(), 3);
}
