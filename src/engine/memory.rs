//! The engine of one process: a channel's owner shard orders its publications.
//!
//! Control is the only producer of its lanes, so a push either succeeds at once or is refused at
//! once; nothing here waits for room. Each publish carries a one-shot channel back. It resolves in
//! every case: the owner answers, or drops its end, or [`Engine::close`] lets go of the lanes and
//! with them of what no shard will take any more.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::id::{ChannelName, Owners, ShardId};
use crate::mail::{
    Answer, Ask, AskReply, Deed, Publish, PublishError, PublishResult, Question, Reply, Request,
    Selector, Sender, Steer, Subject, Survey, Surveyed, Unanswered,
};
use crate::publication::{Payload, PublishOptions};

/// Publishes on behalf of the control thread. Clones share the lanes.
///
/// The lock is never contended, since one thread uses all clones, and never held across an await;
/// it is there because HTTP handlers must be `Send`.
#[derive(Clone, Debug)]
pub struct Engine {
    lanes: Arc<Mutex<Vec<Sender<Request>>>>,
    owners: Owners,
}

impl Engine {
    /// Takes control's lanes, one per shard in order.
    ///
    /// # Panics
    /// `lanes` and `owners` disagree on the number of shards.
    pub fn new(lanes: Vec<Sender<Request>>, owners: Owners) -> Self {
        assert_eq!(lanes.len(), usize::from(owners.shard_count()), "one lane per shard");
        Self { lanes: Arc::new(Mutex::new(lanes)), owners }
    }

    /// Sends `payload` to the owner of `channel` now and gives its position once it is numbered.
    ///
    /// The request is on its way when this returns, whether or not the future is awaited. One
    /// allocation for the request, one for the answer; at most one system call.
    ///
    /// # Errors
    /// [`PublishError::MailboxFull`] at once, with nothing published;
    /// [`PublishError::ChannelsFull`] from the owner; [`PublishError::Stopping`] when the owner has
    /// ended.
    pub fn publish(
        &self,
        channel: ChannelName,
        payload: Payload,
        options: PublishOptions,
    ) -> impl Future<Output = PublishResult> + Send + use<> {
        let accepted_at = Instant::now();
        let mut lanes = self.lock();
        let owner = self.owners.owner(&channel).index();
        let answer = push(&mut lanes, owner, channel, payload, options, accepted_at);
        if answer.is_ok() {
            lanes[owner].bell().ring();
        }
        await_answer(answer)
    }

    /// Sends `payload` to every channel now and gives one result each, in the order of `channels`.
    ///
    /// All requests are in the lanes before the first shard is woken, and each shard is woken once.
    /// A channel whose owner has no room gets its own [`PublishError::MailboxFull`]; the others are
    /// published.
    pub fn publish_many(
        &self,
        channels: &[ChannelName],
        payload: &Payload,
        options: &PublishOptions,
    ) -> impl Future<Output = Vec<PublishResult>> + Send + use<> {
        let accepted_at = Instant::now();
        let mut lanes = self.lock();
        let mut touched = vec![false; lanes.len()];
        let mut answers = Vec::with_capacity(channels.len());
        for channel in channels {
            let owner = self.owners.owner(channel).index();
            let (payload, options) = (payload.clone(), options.clone());
            let answer = push(&mut lanes, owner, channel.clone(), payload, options, accepted_at);
            if answer.is_ok() {
                touched[owner] = true;
            }
            answers.push(answer);
        }
        for (lane, _) in lanes.iter().zip(touched).filter(|(_, touched)| *touched) {
            lane.bell().ring();
        }
        async move {
            let mut results = Vec::with_capacity(answers.len());
            for answer in answers {
                results.push(await_answer(answer).await);
            }
            results
        }
    }

    /// Asks the owner of `channel` now and gives its answer once it is there.
    ///
    /// # Errors
    /// [`Unanswered::Full`] at once; [`Unanswered::Stopping`] when the owner has ended.
    pub fn ask(
        &self,
        channel: ChannelName,
        question: Question,
    ) -> impl Future<Output = Result<Answer, Unanswered>> + Send + use<> {
        let owner = self.owners.owner(&channel);
        let answer = self.send(owner, |reply| {
            let reply = AskReply::Control(reply);
            Request::Ask(Box::new(Ask { channel, question, reply }))
        });
        async move { answer?.await.map_err(|_| Unanswered::Stopping) }
    }

    /// Has `shard` look at a piece of all it holds, from `cursor` on.
    ///
    /// # Errors
    /// As [`Engine::ask`].
    pub fn survey(
        &self,
        shard: ShardId,
        subject: Subject,
        cursor: usize,
    ) -> impl Future<Output = Result<Surveyed, Unanswered>> + Send + use<> {
        let answer =
            self.send(shard, |reply| Request::Survey(Box::new(Survey { subject, cursor, reply })));
        async move { answer?.await.map_err(|_| Unanswered::Stopping) }
    }

    /// Has every shard do `deed` to those of its clients that are meant, and says when it is done.
    ///
    /// # Errors
    /// [`Unanswered::Full`] at once, with nothing done, when some lane is full; later, when a shard
    /// has too much to do or a table of channels is full, with the deed done elsewhere.
    /// [`Unanswered::Stopping`] as [`Engine::ask`].
    pub fn steer(
        &self,
        who: &Arc<Selector>,
        deed: &Deed,
    ) -> impl Future<Output = Result<(), Unanswered>> + Send + use<> {
        let is_full = self.lock().iter().any(|lane| lane.room() == 0);
        let send = |shard| {
            self.send(shard, |reply| {
                let (who, deed) = (who.clone(), deed.clone());
                Request::Steer(Box::new(Steer { who, deed, reply }))
            })
        };
        let answers = if is_full { Vec::new() } else { self.shards().map(send).collect() };
        async move {
            let mut result = if is_full { Err(Unanswered::Full) } else { Ok(()) };
            for answer in answers {
                result = result.and(match answer {
                    Ok(answer) => answer.await.unwrap_or(Err(Unanswered::Stopping)),
                    Err(refused) => Err(refused),
                });
            }
            result
        }
    }

    /// Every shard, in order.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.owners.shard_count()).map(ShardId)
    }

    /// Puts what `request` makes of a reply's sending end in the lane of `shard` and wakes it.
    fn send<T>(
        &self,
        shard: ShardId,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<oneshot::Receiver<T>, Unanswered> {
        let mut lanes = self.lock();
        let lane = lanes.get_mut(shard.index()).ok_or(Unanswered::Stopping)?;
        if lane.room() == 0 {
            return Err(Unanswered::Full);
        }
        let (reply, answer) = oneshot::channel();
        lane.push(request(reply)).expect(ONLY_PRODUCER);
        lane.bell().ring();
        Ok(answer)
    }

    /// Lets go of the lanes: from now on every publish is [`PublishError::Stopping`]. A shard that
    /// still runs answers what it was sent; what was sent to one that has ended is `Stopping` too.
    pub fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Sender<Request>>> {
        self.lanes.lock().expect("a panic aborts the process, so no lock is poisoned")
    }
}

/// What a publish waits for: the owner's answer, or nothing because it was refused on the way.
type Numbered = Result<oneshot::Receiver<PublishResult>, PublishError>;

/// Puts one publish in the lane of shard `owner` without waking it.
fn push(
    lanes: &mut [Sender<Request>],
    owner: usize,
    channel: ChannelName,
    payload: Payload,
    options: PublishOptions,
    accepted_at: Instant,
) -> Numbered {
    let lane = lanes.get_mut(owner).ok_or(PublishError::Stopping)?;
    if lane.room() == 0 {
        return Err(PublishError::MailboxFull);
    }
    let (reply, answer) = oneshot::channel();
    let reply = Reply::Control(reply);
    let publish = Publish { channel, payload, options, info: None, accepted_at, reply };
    let pushed = lane.push(Request::Publish(Box::new(publish)));
    pushed.expect(ONLY_PRODUCER);
    Ok(answer)
}

async fn await_answer(answer: Numbered) -> PublishResult {
    answer?.await.unwrap_or(Err(PublishError::Stopping))
}

const ONLY_PRODUCER: &str =
    "this thread is the lane's only producer, so the room it saw is still there";

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;
    use crate::mail::{Post, wire};
    use crate::publication::{Epoch, Position};

    fn engine(shard_count: u16, lane_len: usize) -> (Engine, Vec<Post>) {
        let wiring = wire(shard_count, 0, lane_len).expect("descriptors");
        let owners = Owners::new(NonZeroU16::new(shard_count).expect("at least one"));
        (Engine::new(wiring.control, owners), wiring.posts)
    }

    fn take_publishes(post: &mut Post) -> Vec<Publish> {
        let mut taken = Vec::new();
        for lane in &mut post.requests_in {
            while let Some(request) = lane.pop() {
                match request {
                    Request::Publish(publish) => taken.push(*publish),
                    other => panic!("{other:?}"),
                }
            }
        }
        taken
    }

    fn answer(publish: Publish, offset: u64) {
        let position = Position { offset, epoch: Epoch::from_random(7) };
        let Reply::Control(reply) = publish.reply else { panic!("control asked") };
        reply.send(Ok(position)).expect("control waits");
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
    }

    #[test]
    fn a_publish_reaches_its_owner_before_it_is_awaited() {
        let (engine, mut posts) = engine(2, 4);
        let pending = engine.publish("news".into(), Payload::text("1"), PublishOptions::default());
        let owner = engine.owners.owner("news").index();
        let mut taken = take_publishes(&mut posts[owner]);
        assert!(take_publishes(&mut posts[1 - owner]).is_empty());
        assert!(!posts[owner].bell.claim(), "the owner was woken");
        assert!(posts[1 - owner].bell.claim(), "the other shard was not");
        let publish = taken.pop().expect("one publish");
        assert_eq!((&*publish.channel, publish.payload.clone()), ("news", Payload::text("1")));
        answer(publish, 9);
        assert_eq!(block_on(pending).expect("numbered").offset, 9);
    }

    #[test]
    fn a_full_lane_refuses_at_once_and_pushes_nothing() {
        let (engine, mut posts) = engine(1, 1);
        let first = engine.publish("a".into(), Payload::text("1"), PublishOptions::default());
        let second = engine.publish("b".into(), Payload::text("2"), PublishOptions::default());
        assert_eq!(block_on(second), Err(PublishError::MailboxFull));
        let taken = take_publishes(&mut posts[0]);
        assert_eq!(taken.len(), 1);
        drop(taken);
        assert_eq!(block_on(first), Err(PublishError::Stopping));
    }

    #[test]
    fn many_wake_each_shard_once_and_keep_their_order() {
        let (engine, mut posts) = engine(1, 3);
        let channels: Vec<ChannelName> = ["a", "b", "c", "d"].map(Into::into).to_vec();
        let pending =
            engine.publish_many(&channels, &Payload::binary(b"x"), &PublishOptions::default());
        let mut wakes = [0; 8];
        rustix::io::read(posts[0].bell.fd(), &mut wakes).expect("it was rung");
        assert_eq!(u64::from_ne_bytes(wakes), 1);
        for (offset, publish) in (1..).zip(take_publishes(&mut posts[0])) {
            answer(publish, offset);
        }
        let results = block_on(pending);
        let offsets: Vec<_> = results.iter().flatten().map(|position| position.offset).collect();
        assert_eq!(offsets, [1, 2, 3]);
        assert_eq!(results[3], Err(PublishError::MailboxFull));
    }

    #[test]
    fn close_resolves_what_an_ended_shard_left_in_its_lane() {
        let (engine, posts) = engine(1, 4);
        let pending = engine.publish("a".into(), Payload::text("1"), PublishOptions::default());
        drop(posts);
        engine.close();
        assert_eq!(block_on(pending), Err(PublishError::Stopping));
        let late = engine.publish("a".into(), Payload::text("1"), PublishOptions::default());
        assert_eq!(block_on(late), Err(PublishError::Stopping));
        let late =
            engine.publish_many(&["a".into()], &Payload::text("1"), &PublishOptions::default());
        assert_eq!(block_on(late), [Err(PublishError::Stopping)]);
    }
}
