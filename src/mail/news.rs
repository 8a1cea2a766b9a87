//! What shards tell a backend of, on its way to the thread that sends it.
//!
//! One lane for all shards, with room for the end of very many clients at once. It takes memory
//! only as it fills, and a shard never waits for it: what finds no room is dropped, and counted by
//! the shard. Without a backend that is to be told there is no lane.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::Post;
use crate::id::ChannelName;
use crate::limits;
use crate::publication::ClientInfo;

/// Something a backend is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// When it happened, in milliseconds since 1970.
    pub time_ms: u64,
    /// What.
    pub event: NewsEvent,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewsEvent {
    /// A client is gone.
    Disconnect {
        /// Which.
        who: Party,
        /// The code of the Close that ended it, ours or the client's; 1005 for one without a code,
        /// 1006 without a Close (RFC 6455 section 7.1.5).
        code: u16,
        /// The reason in our Close; empty if the client was first.
        reason: Box<str>,
    },
    /// A subscription is over.
    Unsubscribe {
        /// Whose it was.
        who: Party,
        /// To what.
        channel: ChannelName,
        /// Why, as a number.
        code: u16,
        /// Why, in words.
        reason: &'static str,
    },
    /// Nobody is subscribed to a channel any more, on whatever shard.
    Vacated {
        /// Which.
        channel: ChannelName,
    },
}

/// Who a client is to a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Party {
    /// A client of the Centrifuge protocol.
    Client(Arc<ClientInfo>),
    /// A raw connection, which has no id; its user, if a token named one.
    Raw(Option<Arc<str>>),
}

/// What is told, and after how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewsPlan {
    /// Whether clients that are gone are told.
    pub disconnect: bool,
    /// Whether subscriptions that are over are told.
    pub unsubscribe: bool,
    /// Milliseconds a channel has no subscriber before that is told; `None`: it is not.
    pub vacated_delay_ms: Option<u64>,
}

/// Where a shard leaves news.
#[derive(Clone, Debug)]
pub struct NewsSender {
    lane: mpsc::Sender<News>,
    /// What is to be told.
    pub plan: NewsPlan,
}

impl NewsSender {
    /// Leaves a piece of news and wakes whoever sends it. Never waits.
    ///
    /// # Errors
    /// There is no room, or nobody who would send it: it is dropped, and the caller counts that.
    pub fn send(&self, news: News) -> Result<(), NewsDropped> {
        self.lane.try_send(news).map_err(|_| NewsDropped)
    }
}

/// A piece of news found no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no room for more news")]
pub struct NewsDropped;

/// What ends at the thread that sends news. Closed once every shard has ended.
#[derive(Debug)]
pub struct NewsPost(mpsc::Receiver<News>);

impl NewsPost {
    /// Takes what there is, at most `limits::NOTICES_PER_TURN` pieces; waits for one if there is
    /// none. False: the lane is closed and empty. Nothing is lost if the future is dropped.
    pub async fn take(&mut self, into: &mut Vec<News>) -> bool {
        self.0.recv_many(into, limits::NOTICES_PER_TURN).await > 0
    }

    /// Pieces that were not taken.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether everything was taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Has every shard in `posts` tell what `plan` says.
pub fn carry_news(posts: &mut [Post], plan: NewsPlan) -> NewsPost {
    let (lane, post) = mpsc::channel(limits::NOTICES_IN_LANE_MAX);
    for post in posts {
        post.news_out = Some(NewsSender { lane: lane.clone(), plan });
    }
    NewsPost(post)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::wire;

    fn vacated(n: u64) -> News {
        News { time_ms: n, event: NewsEvent::Vacated { channel: "c".into() } }
    }

    #[test]
    fn a_shard_is_told_that_there_is_no_room_and_never_waits() {
        let mut wiring = wire(1, 0, 4).expect("descriptors");
        assert!(wiring.posts[0].news_out.is_none());
        let plan = NewsPlan { disconnect: true, unsubscribe: true, vacated_delay_ms: None };
        let mut post = carry_news(&mut wiring.posts, plan);
        let sender = wiring.posts[0].news_out.take().expect("just made");
        for n in 0..limits::NOTICES_IN_LANE_MAX as u64 {
            sender.send(vacated(n)).expect("room");
        }
        assert_eq!(sender.send(vacated(0)), Err(NewsDropped));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut taken = Vec::new();
        assert!(runtime.block_on(post.take(&mut taken)));
        assert_eq!(taken.len(), limits::NOTICES_PER_TURN);
        assert!(taken.iter().map(|news| news.time_ms).eq(0..limits::NOTICES_PER_TURN as u64));
        sender.send(vacated(0)).expect("room again");
        drop(sender);
        while runtime.block_on(post.take(&mut taken)) {}
        assert_eq!(taken.len(), limits::NOTICES_IN_LANE_MAX + 1);
        assert_eq!(taken.last(), Some(&vacated(0)));
    }
}
