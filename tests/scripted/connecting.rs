//! Clients that are subscribed from their connect on, and the owner on the other shard.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate::hub::{self, ChannelsFull};
use tidegate::id::{ChannelName, ConnId, ShardId};
use tidegate::mail::{
    AuthAsk, Deed, Delivery, Enrolment, Join, Joined, Request, Ruling, Selector, Steer,
    TokenResult, Unanswered, Verdict,
};
use tidegate::protocol::claims::{ConnectClaims, Overrides, ServerSubscription};
use tidegate::publication::{Entry, Epoch, Payload, Position, Publication};
use tokio::sync::oneshot;

use super::World;
use super::centrifuge::say;

/// A client whose connect command and what is behind it were received, and whose token was found
/// to say `claims`.
pub(crate) fn connect(
    world: &mut World,
    claims: ConnectClaims,
    connect: Value,
    behind: &str,
) -> ConnId {
    let conn = world.connect_centrifuge();
    let mut command = json!({"id": 1, "connect": connect});
    command["connect"]["token"] = json!("t");
    say(world, conn, &format!("{command}{behind}"));
    let Ok(AuthAsk::Token(ask)) = world.auth.asks_in[0].pop() else { panic!("no token was shown") };
    let ruling = Ruling::Token(TokenResult::Connection(Ok(claims)));
    let verdict = Request::Verdict(Box::new(Verdict { asker: ask.asker, ruling }));
    world.auth.verdicts_out[0].push(verdict).expect("room");
    world.settle();
    conn
}

pub(crate) fn claims(
    user: &str,
    subscriptions: impl IntoIterator<Item = ServerSubscription>,
) -> ConnectClaims {
    let subscriptions = subscriptions.into_iter().collect();
    ConnectClaims { user: user.into(), subscriptions, ..ConnectClaims::default() }
}

pub(crate) fn plain(channel: &str) -> ServerSubscription {
    ServerSubscription::plain(channel.into())
}

/// A client of user ann with these subscriptions and nothing else.
pub(crate) fn ann(world: &mut World, channels: &[&str]) -> ConnId {
    let claims = claims("ann", channels.iter().map(|channel| plain(channel)));
    connect(world, claims, json!({}), "")
}

/// The next join that shard 1 was asked for.
pub(crate) fn join(world: &mut World) -> Join {
    match world.others[0].requests_in[0].pop() {
        Some(Request::Join(join)) => *join,
        other => panic!("{other:?}"),
    }
}

/// As shard 1: answers a join.
pub(crate) fn answer(world: &mut World, join: &Join, result: Result<hub::Joined, ChannelsFull>) {
    let (subscriber, ticket) = (join.subscriber, join.ticket);
    let joined = Joined { subscriber, ticket, result, notice: None };
    let lane = world.others[0].deliveries_out[0].as_mut().expect("shard 0 is another");
    lane.push(Delivery::Joined(Box::new(joined))).expect("room in the lane");
    world.settle();
}

pub(crate) fn fresh() -> Result<hub::Joined, ChannelsFull> {
    let position = Position { offset: 0, epoch: Epoch::from_random(1) };
    Ok(hub::Joined { position, recovered: false, publications: Vec::new() })
}

/// As shard 1: a publication of its channel.
pub(crate) fn deliver(world: &mut World, channel: &ChannelName, offset: u64) {
    let payload = Payload::text("\"far\"");
    let entry = Entry { offset, time_ms: 0, payload, tags: None, info: None, version: 0 };
    let publication = Publication::new(
        channel.clone(),
        Epoch::from_random(1),
        Arc::new(entry),
        std::time::Instant::now(),
    );
    let lane = world.others[0].deliveries_out[0].as_mut().expect("shard 0 is another");
    lane.push(Delivery::Publication(Arc::new(publication))).expect("room in the lane");
    world.settle();
}

pub(crate) fn steer(
    world: &mut World,
    who: Selector,
    deed: Deed,
) -> oneshot::Receiver<Result<(), Unanswered>> {
    let (reply, done) = oneshot::channel();
    let steer = Steer { who: Arc::new(who), deed, reply };
    world.control.push(Request::Steer(Box::new(steer))).expect("room in control's lane");
    world.settle();
    done
}

pub(crate) fn user(name: &str) -> Selector {
    Selector { user: Some(name.into()), ..Selector::default() }
}

pub(crate) fn enrolment(channel: &str, expire_at: Option<u64>) -> Deed {
    Deed::Subscribe(Arc::new(Enrolment {
        channel: channel.into(),
        info: None,
        data: None,
        expire_at,
        since: None,
        overrides: Overrides::default(),
    }))
}

/// A channel with everything that `shard` owns.
pub(crate) fn full_of(world: &World, shard: ShardId) -> String {
    let names = (0..).map(|n| format!("full:{n}"));
    { names }.find(|name| world.owners.owner(name) == shard).expect("every shard owns some")
}

/// The peer ends the connection.
pub(crate) fn end(world: &mut World, conn: ConnId) {
    world.kernel().recv_end(conn);
    world.settle();
}
