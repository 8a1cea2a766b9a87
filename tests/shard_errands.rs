//! What backends have done to clients, over the real shard, a scripted kernel and a scripted clock.

mod scripted;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::hub;
use tidegate::id::{ConnId, SessionKey, ShardId};
use tidegate::limits;
use tidegate::mail::{
    AuthAsk, Deed, Delivery, Enrolment, Joined, Request, Ruling, Selector, Steer, TokenResult,
    Unanswered, Verdict,
};
use tidegate::protocol::claims::{ConnectClaims, Overrides};
use tidegate::publication::{Epoch, Position};
use tidegate::ws::CloseCode;
use tokio::sync::oneshot;

use scripted::centrifuge::{connected, say, told, world};
use scripted::{START_UNIX_S, World};

type Done = oneshot::Receiver<Result<(), Unanswered>>;

/// Has something done, as far as it can be now.
fn steer(world: &mut World, who: Selector, deed: Deed) -> Done {
    let (reply, done) = oneshot::channel();
    let steer = Steer { who: Arc::new(who), deed, reply };
    world.control.push(Request::Steer(Box::new(steer))).expect("room in control's lane");
    world.settle();
    done
}

fn steer_user(world: &mut World, user: &str, deed: Deed) {
    let who = Selector { user: Some(user.into()), ..Selector::default() };
    let mut done = steer(world, who, deed);
    assert_eq!(done.try_recv().expect("an answer"), Ok(()));
}

fn disconnect() -> Deed {
    Deed::Disconnect { code: CloseCode::new(4000).expect("may be sent"), reason: "".into() }
}

fn enrolment(channel: &str) -> Enrolment {
    Enrolment {
        channel: channel.into(),
        info: None,
        data: None,
        expire_at: None,
        since: None,
        overrides: Overrides::default(),
    }
}

/// Answers the next token: it is the user's.
fn accept(world: &mut World, user: &str) {
    let Ok(AuthAsk::Token(ask)) = world.auth.asks_in[0].pop() else { panic!("no token was shown") };
    let claims = ConnectClaims { user: user.into(), ..ConnectClaims::default() };
    let result = TokenResult::Connection(Ok(claims));
    let verdict =
        Request::Verdict(Box::new(Verdict { asker: ask.asker, ruling: Ruling::Token(result) }));
    world.auth.verdicts_out[0].push(verdict).expect("room");
    world.settle();
}

/// A connected client of this user.
fn client_of(world: &mut World, user: &str) -> ConnId {
    let conn = world.connect_centrifuge();
    say(world, conn, r#"{"id":1,"connect":{"token":"t"}}"#);
    accept(world, user);
    assert!(told(world, conn)[0].get("connect").is_some());
    conn
}

/// What a client was told last, pings apart.
fn last(world: &mut World, conn: ConnId) -> Value {
    let mut told = told(world, conn);
    told.retain(|line| *line != json!({}));
    told.pop().expect("something")
}

/// Lets time pass second by second, and answers pings.
fn wait(world: &mut World, conn: ConnId, seconds: u64) {
    for _ in 0..seconds {
        let before = told(world, conn).len();
        world.pass(Duration::from_secs(1));
        world.settle();
        if told(world, conn).split_off(before).contains(&json!({})) {
            say(world, conn, "{}");
        }
    }
}

#[test]
fn a_user_is_meant_with_all_connections_and_nobody_else() {
    let mut world = world(1, 64);
    let anns = [client_of(&mut world, "ann"), client_of(&mut world, "ann")];
    let bob = client_of(&mut world, "bob");
    // A new token changes nothing about who is where.
    say(&mut world, bob, r#"{"id":2,"refresh":{"token":"n"}}"#);
    accept(&mut world, "bob");
    let before = told(&mut world, bob).len();
    steer_user(&mut world, "ann", disconnect());
    for ann in anns {
        assert_eq!(last(&mut world, ann), 4000);
    }
    steer_user(&mut world, "", disconnect());
    steer_user(&mut world, "ann", disconnect());
    assert_eq!(told(&mut world, bob).len(), before);
    steer_user(&mut world, "bob", disconnect());
    assert_eq!(last(&mut world, bob), 4000);
}

#[test]
fn a_session_means_its_client_and_nobody_else() {
    let mut world = world(1, 64);
    let anns = [client_of(&mut world, "ann"), client_of(&mut world, "ann")];
    let sessions = anns.map(|ann| {
        let reply = told(&mut world, ann).remove(0);
        let session = reply["connect"]["session"].as_str().expect("a session").to_owned();
        assert!(session.starts_with(reply["connect"]["client"].as_str().expect("an id")));
        SessionKey::parse(&session).expect("a session")
    });
    let [first, second] = sessions;
    let guessed = SessionKey { secret: first.secret + 1, ..first };
    let of_another = SessionKey { secret: second.secret, ..first };
    for who in [
        Selector { session: Some(guessed), ..Selector::default() },
        Selector { session: Some(of_another), ..Selector::default() },
        Selector { session: Some(first), client: Some(second.client), ..Selector::default() },
        Selector { session: Some(first), user: Some("bob".into()), ..Selector::default() },
    ] {
        let mut done = steer(&mut world, who, disconnect());
        assert_eq!(done.try_recv().expect("nobody is meant"), Ok(()));
    }
    let who = Selector { session: Some(first), user: Some("ann".into()), ..Selector::default() };
    assert_eq!(steer(&mut world, who, disconnect()).try_recv().expect("an answer"), Ok(()));
    assert_eq!(last(&mut world, anns[0]), 4000);
    assert_eq!(told(&mut world, anns[1]).len(), 1);
}

#[test]
fn a_client_is_told_until_when_it_may_stay_and_closed_after_that() {
    let mut world = world(1, 64);
    let ann = client_of(&mut world, "ann");
    let refresh = |expire_at| Deed::Refresh { expire_at, info: None };
    steer_user(&mut world, "ann", refresh(None));
    assert_eq!(told(&mut world, ann).len(), 1, "nothing is new");
    steer_user(&mut world, "ann", refresh(Some(START_UNIX_S + 30)));
    let push = json!({"push": {"refresh": {"expires": true, "ttl": 30}}});
    assert_eq!(last(&mut world, ann), push);
    wait(&mut world, ann, 30 + limits::EXPIRED_CLOSE_DELAY_S - 1);
    assert_eq!(last(&mut world, ann), push, "still there");
    wait(&mut world, ann, 2);
    assert_eq!(last(&mut world, ann), 3005);

    let late = client_of(&mut world, "ann");
    steer_user(&mut world, "ann", refresh(Some(START_UNIX_S)));
    assert_eq!(last(&mut world, late), 3005);
}

#[test]
fn what_a_refresh_says_of_a_client_holds_from_then_on() {
    let mut world = world(1, 64);
    let ann = client_of(&mut world, "ann");
    let info = Some(r#"{"away":true}"#.into());
    steer_user(&mut world, "ann", Deed::Refresh { expire_at: None, info });
    say(&mut world, ann, r#"{"id":2,"subscribe":{"channel":"full:a"}}"#);
    say(&mut world, ann, r#"{"id":3,"presence":{"channel":"full:a"}}"#);
    let answer = last(&mut world, ann);
    let presence = answer["presence"]["presence"].as_object().expect("a map");
    let who = presence.values().next().expect("ann");
    assert_eq!((&who["user"], &who["conn_info"]), (&json!("ann"), &json!({"away": true})));
}

#[test]
fn a_subscription_of_a_backend_has_its_own_info_and_ends_in_time() {
    let mut world = world(1, 64);
    let ann = client_of(&mut world, "ann");
    for expire_at in [START_UNIX_S, START_UNIX_S + 5] {
        let info = Some(r#"{"role":"guest"}"#.into());
        let expire_at = Some(expire_at);
        let enrolment = Enrolment { info, expire_at, ..enrolment("news") };
        let before = told(&mut world, ann).len();
        steer_user(&mut world, "ann", Deed::Subscribe(Arc::new(enrolment)));
        let subscribed = told(&mut world, ann).len() > before;
        assert_eq!(subscribed, expire_at > Some(START_UNIX_S), "not for a time that is over");
    }
    say(&mut world, ann, r#"{"id":2,"publish":{"channel":"news","data":1}}"#);
    let lines = told(&mut world, ann);
    let published = lines.iter().find(|line| line["push"].get("pub").is_some());
    let info = &published.expect("a publication")["push"]["pub"]["info"];
    assert_eq!((&info["user"], &info["chan_info"]), (&json!("ann"), &json!({"role": "guest"})));
    wait(&mut world, ann, 4);
    assert_eq!(told(&mut world, ann).len(), lines.len(), "not yet");
    wait(&mut world, ann, 2);
    // It did not ask for it, so it could not ask again: it is to come back.
    assert_eq!(last(&mut world, ann), 3006);
}

#[test]
fn an_unsubscribe_waits_until_the_subscription_of_a_backend_has_begun() {
    let mut world = world(2, 64);
    let conn = connected(&mut world);
    let channel = world.channel_of(ShardId(1));
    let client = told(&mut world, conn)[0]["connect"]["client"].clone();
    let client = tidegate::id::ClientKey::parse(client.as_str().expect("an id"));
    let who = Selector { client, ..Selector::default() };
    let mut done = steer(&mut world, who, Deed::Subscribe(Arc::new(enrolment(&channel))));
    assert!(done.try_recv().is_err(), "the owner has not answered");
    let unsubscribe = json!({"id": 2, "unsubscribe": {"channel": &*channel}});
    say(&mut world, conn, &unsubscribe.to_string());
    assert_eq!(told(&mut world, conn).len(), 1);
    let join = match world.others[0].requests_in[0].pop() {
        Some(Request::Join(join)) => *join,
        other => panic!("{other:?}"),
    };
    let position = Position { offset: 0, epoch: Epoch::from_random(1) };
    let result = Ok(hub::Joined { position, recovered: false, publications: Vec::new() });
    let (subscriber, ticket) = (join.subscriber, join.ticket);
    let joined = Joined { subscriber, ticket, result, notice: None };
    let lane = world.others[0].deliveries_out[0].as_mut().expect("shard 0 is another");
    lane.push(Delivery::Joined(Box::new(joined))).expect("room in the lane");
    world.settle();
    assert_eq!(done.try_recv().expect("an answer"), Ok(()));
    let told = told(&mut world, conn);
    assert_eq!(told[1]["push"]["channel"], *channel);
    assert_eq!(told[2], json!({"id": 2, "unsubscribe": {}}));
}
