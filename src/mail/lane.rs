//! Lanes between threads and how they are wired at start.

use std::cell::Cell;
use std::io;
use std::sync::Arc;

use rtrb::{Consumer, Producer, RingBuffer};

use super::auth::{self, AuthDesk, AuthPost, AuthSender};
use super::flag::StarvedFlag;
use super::{Bell, Delivery, NewsSender, Request};
use crate::id::ShardId;

/// The producing end of one lane.
#[derive(Debug)]
pub struct Sender<T> {
    lane: Producer<T>,
    bell: Bell,
    starved: Arc<StarvedFlag>,
    /// The least room asked for in vain since the last [`Sender::forget_asks`]; 0: none.
    asked: Cell<usize>,
}

impl<T> Sender<T> {
    /// How many messages fit now. Only grows until this sender pushes.
    pub fn room(&self) -> usize {
        self.lane.slots()
    }

    /// Puts `mail` in the lane. Does not wake the receiver: ring [`Sender::bell`] after the batch.
    ///
    /// # Errors
    /// The lane is full; the mail comes back.
    pub fn push(&mut self, mail: T) -> Result<(), T> {
        self.lane.push(mail).map_err(|rtrb::PushError::Full(mail)| mail)
    }

    /// Whether there is room for `count` messages, at most `limits::MAILBOX_LEN_MIN`; if not, the
    /// receiver will ring the producer once it has made some (see [`Receiver::take_starved`]). For
    /// shards, which wait in their ring and do not poll. A ring while the producer is awake says
    /// nothing, so before it waits it looks at [`Sender::has_room_asked_for`] once more.
    pub fn has_room_or_ask(&self, count: usize) -> bool {
        if self.room() >= count {
            return true;
        }
        self.starved.raise();
        let has_room = self.room() >= count;
        if !has_room {
            let before = self.asked.get();
            self.asked.set(if before == 0 { count } else { before.min(count) });
        }
        has_room
    }

    /// Whether room has come that [`Sender::has_room_or_ask`] found missing since the last
    /// [`Sender::forget_asks`].
    pub fn has_room_asked_for(&self) -> bool {
        let asked = self.asked.get();
        asked > 0 && self.room() >= asked
    }

    /// Called when a turn begins: who still wants room in it asks again.
    pub fn forget_asks(&self) {
        self.asked.set(0);
    }

    /// The receiver's bell.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }
}

/// The consuming end of one lane.
#[derive(Debug)]
pub struct Receiver<T> {
    lane: Consumer<T>,
    starved: Arc<StarvedFlag>,
    from: Option<ShardId>,
}

impl<T> Receiver<T> {
    /// Looks at the oldest message without taking it.
    pub fn peek(&self) -> Option<&T> {
        self.lane.peek().ok()
    }

    /// Takes the oldest message.
    pub fn pop(&mut self) -> Option<T> {
        self.lane.pop().ok()
    }

    /// The producer, if it is a shard and asked for room since the last call: it must be woken
    /// after something was taken.
    pub fn take_starved(&self) -> Option<ShardId> {
        let from = self.from?;
        self.starved.take().then_some(from)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lane.is_empty()
    }
}

/// All lanes that end or begin at one shard.
#[derive(Debug)]
pub struct Post {
    /// The shard these lanes belong to.
    pub shard: ShardId,
    /// Its own bell.
    pub bell: Bell,
    /// Requests coming in, one lane per producer: shards, then acceptors, then control.
    pub requests_in: Vec<Receiver<Request>>,
    /// Deliveries coming in, one lane per other shard; `None` at the shard's own index.
    pub deliveries_in: Vec<Option<Receiver<Delivery>>>,
    /// Requests going out, by shard; `None` at the shard's own index.
    pub requests_out: Vec<Option<Sender<Request>>>,
    /// Deliveries going out, by shard; `None` at the shard's own index.
    pub deliveries_out: Vec<Option<Sender<Delivery>>>,
    /// Questions going out to `auth`. A lane's length of tokens, and as many questions to backends,
    /// may be without an answer.
    pub auth_out: AuthSender,
    /// News for a backend; `None`, as from [`wire`]: nobody is told anything.
    pub news_out: Option<NewsSender>,
}

impl Post {
    /// As [`Sender::forget_asks`], for all lanes that begin here.
    pub fn forget_asks(&self) {
        self.requests_out.iter().flatten().for_each(Sender::forget_asks);
        self.deliveries_out.iter().flatten().for_each(Sender::forget_asks);
    }

    /// As [`Sender::has_room_asked_for`], for any lane that begins here.
    pub fn has_room_asked_for(&self) -> bool {
        self.requests_out.iter().flatten().any(Sender::has_room_asked_for)
            || self.deliveries_out.iter().flatten().any(Sender::has_room_asked_for)
    }
}

/// Every lane of the process.
#[derive(Debug)]
pub struct Wiring {
    /// One post per shard.
    pub posts: Vec<Post>,
    /// For each acceptor its senders, by shard.
    pub acceptors: Vec<Vec<Sender<Request>>>,
    /// Control's senders, by shard.
    pub control: Vec<Sender<Request>>,
    /// What ends at the thread that checks tokens and asks backends.
    pub auth: AuthPost,
    /// Where acceptors leave what they have to ask it.
    pub auth_desk: AuthDesk,
    /// The gateway's own senders, by shard, for drain and stop: never filled by traffic.
    pub gateway: Vec<Sender<Request>>,
}

/// Builds the lanes: `lane_len` messages each (the gateway's lanes hold two at least).
///
/// # Errors
/// The descriptor table has no room for a bell per shard.
pub fn wire(shard_count: u16, acceptor_count: usize, lane_len: usize) -> io::Result<Wiring> {
    let shards = || (0..shard_count).map(ShardId);
    let mut posts = Vec::new();
    // One half for tokens, the other for backends.
    let auth_len = 2 * lane_len;
    let (auth_out, auth_desk, mut auth) = auth::wire_auth(shard_count, auth_len);
    for (shard, auth_out) in shards().zip(auth_out) {
        posts.push(Post {
            auth_out,
            news_out: None,
            shard,
            bell: Bell::new()?,
            requests_in: Vec::new(),
            deliveries_in: Vec::new(),
            requests_out: Vec::new(),
            deliveries_out: Vec::new(),
        });
    }
    for from in shards().map(ShardId::index) {
        for to in shards().map(ShardId::index) {
            let (request, delivery) = if from == to {
                (None, None)
            } else {
                let from = Some(ShardId(u16::try_from(from).expect("shards are u16")));
                let request = connect(&mut posts[to], lane_len, from);
                let (delivery, receiver) = lane(lane_len, &posts[to].bell, from);
                posts[to].deliveries_in.push(Some(receiver));
                (Some(request), Some(delivery))
            };
            if from == to {
                posts[to].deliveries_in.push(None);
            }
            posts[from].requests_out.push(request);
            posts[from].deliveries_out.push(delivery);
        }
    }
    let mut all = |len| posts.iter_mut().map(|post| connect(post, len, None)).collect::<Vec<_>>();
    let acceptors = (0..acceptor_count).map(|_| all(lane_len)).collect();
    let control = all(lane_len);
    auth.verdicts_out = all(auth_len);
    let gateway = all(lane_len.max(2));
    Ok(Wiring { posts, acceptors, control, auth, auth_desk, gateway })
}

/// A new request lane into `post`.
fn connect(post: &mut Post, lane_len: usize, from: Option<ShardId>) -> Sender<Request> {
    let (sender, receiver) = lane(lane_len, &post.bell, from);
    post.requests_in.push(receiver);
    sender
}

fn lane<T>(lane_len: usize, bell: &Bell, from: Option<ShardId>) -> (Sender<T>, Receiver<T>) {
    let (producer, consumer) = RingBuffer::new(lane_len);
    let starved = Arc::new(StarvedFlag::new());
    let (bell, asked) = (bell.clone(), Cell::new(0));
    let sender = Sender { lane: producer, bell, starved: starved.clone(), asked };
    (sender, Receiver { lane: consumer, starved, from })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_has_its_lane_and_room_is_known() {
        let mut wiring = wire(2, 1, 4).expect("descriptors");
        // One other shard, one acceptor, control, verdicts, gateway.
        assert_eq!(wiring.posts[0].requests_in.len(), 5);
        assert!(wiring.posts[0].deliveries_in[0].is_none());
        assert!(wiring.posts[0].deliveries_in[1].is_some());
        let sender = &mut wiring.acceptors[0][1];
        for _ in 0..4 {
            sender.push(Request::Stop).expect("room for four");
        }
        assert_eq!(sender.room(), 0);
        assert!(sender.push(Request::Stop).is_err());
        let taken = wiring.posts[1].requests_in.iter_mut().filter_map(Receiver::pop).count();
        assert_eq!(taken, 1);
        assert_eq!(sender.room(), 1);
    }

    #[test]
    fn a_starved_shard_is_named_once() {
        let mut wiring = wire(2, 0, 1).expect("descriptors");
        let mut posts = wiring.posts.drain(..);
        let (mut first, mut second) = (posts.next().expect("two"), posts.next().expect("two"));
        let sender = first.deliveries_out[1].as_mut().expect("another shard");
        assert!(sender.has_room_or_ask(1));
        let full = Delivery::Registered { channel: "c".into(), position: None };
        sender.push(full).expect("room for one");
        assert!(!sender.has_room_or_ask(1));
        assert!(!sender.has_room_asked_for());
        let receiver = second.deliveries_in[0].as_mut().expect("another shard");
        receiver.pop().expect("one waits");
        assert_eq!(receiver.take_starved(), Some(ShardId(0)));
        assert_eq!(receiver.take_starved(), None);
        assert!(first.has_room_asked_for());
        first.forget_asks();
        assert!(!first.has_room_asked_for());
    }
}
