//! Registration with the owner, numbering, eviction.

use std::num::NonZeroU16;

use super::*;
use crate::id::ConnId;
use crate::publication::{Draft, Payload};

fn member(slot: u32) -> Member {
    Member::new(ConnId { slot, generation: 0 }, 0)
}

fn room_for(channels_max: usize) -> HubLimits {
    HubLimits { channels_max, ..HubLimits::of_one_in(1, limits::HISTORY_BYTES_DEFAULT) }
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
fn a_notice_walks_nobody_where_nobody_wants_it() {
    let (_, mut hub, name) = pair();
    let mut join = |slot, wants_notices| {
        let ticket = hub.begin_join(&name).expect("room");
        let place = hub.finish_join(ticket, Member { wants_notices, ..member(slot) }, |_, _| {});
        let starts = hub.begin_notice(&name);
        while starts.and_then(|id| hub.next_owed(id)).is_some() {}
        (Subscription { channel: ticket.channel, place }, starts.is_some())
    };
    let (_, starts) = join(1, false);
    assert!(!starts, "the only member does not want it");
    let (wanting, starts) = join(2, true);
    assert!(starts, "one of two wants it");
    let (_, starts) = join(3, false);
    assert!(starts, "it still does");
    hub.unsubscribe(wanting, member(2));
    assert!(hub.begin_notice(&name).is_none(), "whoever wanted it is gone");
    assert!(hub.begin_notice("unheard of").is_none());
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

/// What the owner answers to a join of shard 0, and whom it lets in besides.
fn finish(hub: &mut Hub, ticket: JoinTicket, slot: u32) -> (Place, Vec<u32>) {
    let mut others = Vec::new();
    let place = hub.finish_join(ticket, member(slot), |member, _| others.push(member.conn.slot));
    (place, others)
}

fn abandon(hub: &mut Hub, ticket: JoinTicket, accepted: bool) -> (Vec<u32>, Vec<u32>) {
    let (mut joined, mut refused) = (Vec::new(), Vec::new());
    hub.abandon_join(
        ticket,
        accepted,
        |member, _| joined.push(member.conn.slot),
        |member| refused.push(member.conn.slot),
    );
    (joined, refused)
}

fn disinterest(name: &ChannelName) -> Option<(ShardId, InterestMail)> {
    Some((ShardId(1), InterestMail::Disinterest(name.clone())))
}

#[test]
fn a_join_tells_the_owner_by_itself_and_its_answer_lets_all_in_who_wait() {
    let (mut local, _, name) = pair();
    let first = local.begin_join(&name).expect("room");
    let second = local.begin_join(&name).expect("room");
    assert_eq!(local.subscribe(&name, member(3)).expect("room").place, Place::Waiting);
    assert!(local.poll_mail(|_| true).is_none(), "the join itself is the question");
    assert_eq!(finish(&mut local, first, 1), (Place::Member(0), vec![3]));
    assert_eq!(local.subscribe(&name, member(4)).expect("room").place, Place::Member(2));
    assert_eq!(finish(&mut local, second, 2), (Place::Member(3), vec![]));
}

#[test]
fn joins_that_never_pause_keep_nobody_waiting() {
    let (mut local, _, name) = pair();
    local.subscribe(&name, member(1)).expect("room");
    local.poll_mail(|_| true).expect("interest");
    let ticket = local.begin_join(&name).expect("room");
    assert_eq!(registered(&mut local, &name, true), (vec![1], vec![]), "a join is on its way");
    assert_eq!(finish(&mut local, ticket, 2), (Place::Member(1), vec![]));
}

#[test]
fn the_owner_hears_of_nobody_left_only_after_the_last_join_was_answered() {
    let (mut local, _, name) = pair();
    let first = local.begin_join(&name).expect("room");
    let second = local.begin_join(&name).expect("room");
    assert_eq!(abandon(&mut local, first, true), (vec![], vec![]));
    assert!(local.poll_mail(|_| true).is_none(), "the second is wanted");
    assert_eq!(abandon(&mut local, second, true), (vec![], vec![]));
    assert_eq!(local.poll_mail(|_| true), disinterest(&name));
    assert_eq!(local.channel_count(), 0);
}

#[test]
fn a_refused_join_refuses_those_who_wait_for_its_answer() {
    let (mut local, _, name) = pair();
    let ticket = local.begin_join(&name).expect("room");
    local.subscribe(&name, member(1)).expect("room");
    assert_eq!(abandon(&mut local, ticket, false), (vec![], vec![1]));
    assert!(local.poll_mail(|_| true).is_none(), "the owner knows nothing of us");
    assert_eq!(local.channel_count(), 0);
}

#[test]
fn a_join_let_in_after_one_was_refused_is_taken_back_when_nobody_wants_it() {
    let (mut local, _, name) = pair();
    let refused = local.begin_join(&name).expect("room");
    let accepted = local.begin_join(&name).expect("room");
    assert_eq!(abandon(&mut local, refused, false), (vec![], vec![]));
    assert_eq!(abandon(&mut local, accepted, true), (vec![], vec![]));
    assert_eq!(local.poll_mail(|_| true), disinterest(&name), "its bit is set there");
    assert_eq!(local.channel_count(), 0);
}

#[test]
fn a_join_let_in_after_one_was_refused_lets_in_whoever_began_to_wait_between() {
    let (mut local, _, name) = pair();
    let refused = local.begin_join(&name).expect("room");
    let accepted = local.begin_join(&name).expect("room");
    assert_eq!(abandon(&mut local, refused, false), (vec![], vec![]));
    // The owner has not been told of it by itself, and need not be any more.
    assert_eq!(local.subscribe(&name, member(1)).expect("room").place, Place::Waiting);
    assert_eq!(finish(&mut local, accepted, 2), (Place::Member(0), vec![1]));
    assert!(local.poll_mail(|_| true).is_none(), "the owner knows");
}

#[test]
fn a_join_behind_a_disinterest_asks_anew() {
    let (mut local, _, name) = pair();
    let first = local.subscribe(&name, member(1)).expect("room");
    local.poll_mail(|_| true).expect("interest");
    local.unsubscribe(first, member(1));
    assert_eq!(local.poll_mail(|_| true), disinterest(&name));
    let ticket = local.begin_join(&name).expect("room");
    local.subscribe(&name, member(2)).expect("room");
    assert_eq!(registered(&mut local, &name, true), (vec![], vec![]), "the older answer");
    assert_eq!(finish(&mut local, ticket, 3), (Place::Member(0), vec![2]));
}

#[test]
fn the_list_names_what_has_members_in_pieces() {
    let owners = Owners::new(NonZeroU16::MIN);
    let mut hub = Hub::new(ShardId(0), owners, room_for(9), 7);
    for (slot, text) in ["a", "b", "b", "idle"].into_iter().enumerate() {
        let ticket = hub.begin_join(&text.into()).expect("room");
        match text {
            "idle" => _ = abandon(&mut hub, ticket, true),
            _ => _ = finish(&mut hub, ticket, slot as u32),
        }
    }
    let (mut found, mut cursor, mut calls) = (Vec::new(), Some(0), 0);
    while let Some(at) = cursor {
        cursor = hub.list(at, 1, |name, count| found.push((name.to_string(), count)));
        calls += 1;
    }
    assert_eq!(found, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    assert_eq!(calls, 3);
    assert_eq!(hub.list(99, 1, |_, _| panic!("beyond the end")), None);
}
