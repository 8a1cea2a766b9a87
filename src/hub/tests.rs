//! Registration with the owner, numbering, eviction.

use std::num::NonZeroU16;

use super::*;
use crate::id::ConnId;
use crate::publication::{Draft, Payload};

fn member(slot: u32) -> Member {
    Member { conn: ConnId { slot, generation: 0 }, subscription_index: 0 }
}

fn room_for(channels_max: usize) -> HubLimits {
    HubLimits { channels_max, ..HubLimits::of_one_in(1) }
}

fn publish(hub: &mut Hub, name: &ChannelName) -> Result<Published, ChannelsFull> {
    let draft = Draft::plain(Payload::text("x"), 0);
    hub.publish(name, draft, &StreamOptions::default(), 0)
}

/// Two hubs and a channel owned by the second.
fn pair() -> (Hub, Hub, ChannelName) {
    let owners = Owners::new(NonZeroU16::new(2).expect("not zero"));
    let name = (0..).map(|i| ChannelName::from(format!("c{i}")));
    let name = { name }.find(|name| owners.owner(name) == ShardId(1)).expect("half are");
    let hub = |shard| Hub::new(ShardId(shard), owners.clone(), room_for(4), 7);
    (hub(0), hub(1), name)
}

fn registered(hub: &mut Hub, name: &str, accepted: bool) -> (Vec<u32>, Vec<u32>) {
    let (mut joined, mut refused) = (Vec::new(), Vec::new());
    hub.on_registered(
        name,
        accepted,
        |member, _| joined.push(member.conn.slot),
        |member| refused.push(member.conn.slot),
    );
    (joined, refused)
}

#[test]
fn the_owners_own_subscriber_registers_like_any_other() {
    let (_, mut owner, name) = pair();
    let subscription = owner.subscribe(&name, member(1)).expect("room");
    assert_eq!(subscription.place, Place::Waiting);
    let mail = owner.poll_mail(|_| true);
    assert_eq!(mail, Some((ShardId(1), InterestMail::Interest(name.clone()))));
    owner.on_interest(&name, ShardId(1), 0).expect("room");
    assert_eq!(owner.interest(&name).iter().collect::<Vec<_>>(), [ShardId(1)]);
    assert_eq!(registered(&mut owner, &name, true), (vec![1], vec![]));
}

#[test]
fn a_remote_subscriber_waits_for_the_owners_answer() {
    let (mut local, mut owner, name) = pair();
    let subscription = local.subscribe(&name, member(1)).expect("room");
    assert_eq!(subscription.place, Place::Waiting);
    assert!(local.begin_fan_out(&name).is_none(), "nobody is live yet");
    assert!(local.poll_mail(|_| false).is_none(), "no room: stays queued");
    let mail = local.poll_mail(|_| true);
    assert_eq!(mail, Some((ShardId(1), InterestMail::Interest(name.clone()))));
    assert!(local.poll_mail(|_| true).is_none(), "told once");
    assert_eq!(owner.on_interest(&name, ShardId(0), 0).expect("room").offset, 0);
    assert_eq!(registered(&mut local, &name, true), (vec![1], vec![]));
    let second = local.subscribe(&name, member(2)).expect("room");
    assert_eq!(second.place, Place::Member(1), "the channel is live");
    let published = publish(&mut owner, &name).expect("room");
    assert_eq!((published.position.offset, published.interest.iter().count()), (1, 1));
    let id = local.begin_fan_out(&name).expect("two listen");
    assert_eq!(local.next_owed(id).map(|m| m.conn.slot), Some(2));
    assert_eq!(local.next_owed(id).map(|m| m.conn.slot), Some(1));
    assert_eq!(local.next_owed(id), None);
}

#[test]
fn an_answer_to_an_older_question_admits_nobody() {
    let (mut local, _, name) = pair();
    let first = local.subscribe(&name, member(1)).expect("room");
    assert!(matches!(local.poll_mail(|_| true), Some((_, InterestMail::Interest(_)))));
    local.unsubscribe(first, member(1));
    assert!(matches!(local.poll_mail(|_| true), Some((_, InterestMail::Disinterest(_)))));
    local.subscribe(&name, member(2)).expect("room");
    assert!(matches!(local.poll_mail(|_| true), Some((_, InterestMail::Interest(_)))));
    // Between the two questions the owner sends nothing, so the first answer is worth nothing.
    assert_eq!(registered(&mut local, &name, true), (vec![], vec![]));
    assert_eq!(registered(&mut local, &name, true), (vec![2], vec![]));
}

#[test]
fn a_channel_is_kept_while_an_answer_is_owed_and_forgotten_after() {
    let (mut local, _, name) = pair();
    let first = local.subscribe(&name, member(1)).expect("room");
    local.poll_mail(|_| true);
    local.unsubscribe(first, member(1));
    local.poll_mail(|_| true);
    assert_eq!(local.channel_count(), 1);
    assert_eq!(registered(&mut local, &name, true), (vec![], vec![]));
    assert_eq!(local.channel_count(), 0);
}

#[test]
fn changing_ones_mind_before_telling_tells_nothing() {
    let (mut local, _, name) = pair();
    let first = local.subscribe(&name, member(1)).expect("room");
    local.unsubscribe(first, member(1));
    assert!(local.poll_mail(|_| true).is_none());
    assert_eq!(local.channel_count(), 0);
}

#[test]
fn a_refusal_frees_the_waiting() {
    let (mut local, _, name) = pair();
    local.subscribe(&name, member(1)).expect("room");
    local.poll_mail(|_| true);
    assert_eq!(registered(&mut local, &name, false), (vec![], vec![1]));
    assert_eq!(local.channel_count(), 0);
}

#[test]
fn a_full_table_forgets_idle_streams_only() {
    let owners = Owners::new(NonZeroU16::new(1).expect("not zero"));
    let mut hub = Hub::new(ShardId(0), owners, room_for(2), 7);
    let name = |text: &str| ChannelName::from(text);
    hub.subscribe(&name("a"), member(1)).expect("room");
    hub.poll_mail(|_| true);
    hub.on_interest(&name("a"), ShardId(0), 0).expect("room");
    registered(&mut hub, "a", true);
    let first = publish(&mut hub, &name("b")).expect("room");
    publish(&mut hub, &name("c")).expect("b is forgotten");
    assert_eq!(hub.evicted_count(), 1);
    hub.subscribe(&name("c"), member(2)).expect("known");
    assert_eq!(publish(&mut hub, &name("d")), Err(ChannelsFull));
    assert_eq!(hub.subscribe(&name("d"), member(3)), Err(ChannelsFull));
    assert_eq!(first.position.offset, 1);
    assert!(hub.begin_fan_out("a").is_some(), "its member is still there");
}
