//! Notices that wait, in words, and how they are put into batches.

use std::collections::VecDeque;

use hyper::body::Bytes;
use serde::Serialize;
use tokio::time::Instant;

use crate::limits;
use crate::mail::{News, NewsEvent, Party};

/// Notices that wait to be sent, oldest first.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    /// Sum of the sizes.
    bytes: usize,
    bytes_max: usize,
    /// The beginning of the ids of this run of the process.
    run: u64,
    /// Batches made.
    batch_count: u64,
}

#[derive(Debug)]
struct Waiting {
    /// A JSON object.
    text: Box<[u8]>,
    since: Instant,
}

/// Notices that go together, however often.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    /// The body of the request.
    pub(super) body: Bytes,
    /// How many notices it holds.
    pub(super) count: usize,
    /// Since when the oldest of them waits.
    pub(super) since: Instant,
}

impl Queue {
    /// An empty queue for at most `bytes_max` bytes. `run` makes ids unique.
    pub(super) fn new(bytes_max: usize, run: u64) -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, bytes_max, run, batch_count: 0 }
    }

    /// Takes a piece of news. False: there is no room, it is dropped.
    pub(super) fn push(&mut self, news: &News, now: Instant) -> bool {
        let waiting = Waiting { text: words(news).into(), since: now };
        if self.bytes + waiting.size() > self.bytes_max {
            return false;
        }
        self.bytes += waiting.size();
        self.waiting.push_back(waiting);
        true
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Since when the oldest waits.
    pub(super) fn since(&self) -> Option<Instant> {
        self.waiting.front().map(|oldest| oldest.since)
    }

    /// Whether there is enough for a batch of `size_max` notices.
    pub(super) fn is_batch_full(&self, size_max: usize) -> bool {
        self.waiting.len() >= size_max || self.bytes >= limits::NOTICE_BATCH_BYTES_MAX
    }

    /// Drops those that wait since `moment` or longer; says how many that were.
    pub(super) fn drop_since(&mut self, moment: Instant) -> usize {
        let mut count = 0;
        while self.since().is_some_and(|since| since <= moment) {
            self.pop();
            count += 1;
        }
        count
    }

    /// Puts the oldest into a batch: at most `size_max`, and not more bytes than
    /// `limits::NOTICE_BATCH_BYTES_MAX` unless one alone has them. `None`: there are none.
    pub(super) fn take_batch(&mut self, size_max: usize, time_ms: u64) -> Option<Batch> {
        let since = self.since()?;
        let id = format!("{:016x}-{}", self.run, self.batch_count);
        self.batch_count += 1;
        let mut body = format!(r#"{{"time_ms":{time_ms},"id":"{id}","events":["#).into_bytes();
        let mut count = 0;
        while let Some(next) = self.waiting.front() {
            let is_full =
                count == size_max || body.len() + next.text.len() > limits::NOTICE_BATCH_BYTES_MAX;
            if is_full && count > 0 {
                break;
            }
            if count > 0 {
                body.push(b',');
            }
            body.extend_from_slice(&next.text);
            count += 1;
            self.pop();
        }
        body.extend_from_slice(b"]}");
        Some(Batch { body: body.into(), count, since })
    }

    fn pop(&mut self) {
        let oldest = self.waiting.pop_front().expect("looked at by the caller");
        self.bytes -= oldest.size();
    }
}

impl Waiting {
    /// What it costs to keep.
    fn size(&self) -> usize {
        size_of::<Self>() + self.text.len()
    }
}

/// The JSON object that tells it.
fn words(news: &News) -> Vec<u8> {
    #[derive(Serialize)]
    struct Told<'a> {
        name: &'a str,
        time_ms: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        client: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        channel: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    }
    let (name, who, channel, why) = match &news.event {
        NewsEvent::Disconnect { who, code, reason } => {
            ("disconnect", Some(who), None, Some((*code, &**reason)))
        }
        NewsEvent::Unsubscribe { who, channel, code, reason } => {
            ("unsubscribe", Some(who), Some(&**channel), Some((*code, *reason)))
        }
        NewsEvent::Vacated { channel } => ("vacated", None, Some(&**channel), None),
    };
    let (client, user) = match who {
        Some(Party::Client(info)) => (Some(info.client.to_string()), Some(&*info.user)),
        Some(Party::Raw(user)) => (None, Some(user.as_deref().unwrap_or(""))),
        None => (None, None),
    };
    let (code, reason) = why.unzip();
    let told = Told { name, time_ms: news.time_ms, client, user, channel, code, reason };
    serde_json::to_vec(&told).expect("texts and numbers are JSON")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn vacated(n: usize, name_len: usize) -> News {
        let channel = format!("{n}{}", "\"".repeat(name_len)).into();
        News { time_ms: n as u64, event: NewsEvent::Vacated { channel } }
    }

    fn times(batch: &Batch) -> Vec<u64> {
        let body: Value = serde_json::from_slice(&batch.body).expect("JSON");
        let events = body["events"].as_array().expect("a list");
        events.iter().map(|event| event["time_ms"].as_u64().expect("a number")).collect()
    }

    #[test]
    fn batches_are_bounded_in_notices_and_bytes() {
        let now = Instant::now();
        let mut queue = Queue::new(1 << 20, 7);
        for n in 0..5 {
            assert!(queue.push(&vacated(n, 0), now));
        }
        assert!(!queue.is_batch_full(6) && queue.is_batch_full(5));
        let batch = queue.take_batch(3, 99).expect("there are some");
        assert_eq!((batch.count, times(&batch)), (3, vec![0, 1, 2]));
        let body: Value = serde_json::from_slice(&batch.body).expect("JSON");
        assert_eq!((&body["time_ms"], &body["id"]), (&json!(99), &json!("0000000000000007-0")));
        assert_eq!(times(&queue.take_batch(3, 99).expect("there are some")), [3, 4]);
        assert!(queue.take_batch(3, 99).is_none());
        assert_eq!(queue.bytes, 0);
        // Two of them do not go together, and one alone is not held back.
        for n in 0..2 {
            assert!(queue.push(&vacated(n, limits::NOTICE_BATCH_BYTES_MAX / 2), now));
        }
        assert!(queue.is_batch_full(100));
        assert_eq!(times(&queue.take_batch(100, 99).expect("there are some")), [0]);
        assert_eq!(times(&queue.take_batch(100, 99).expect("there are some")), [1]);
    }

    #[test]
    fn what_has_no_room_is_dropped_and_what_is_old_can_be() {
        let (then, now) = (Instant::now(), Instant::now() + std::time::Duration::from_secs(1));
        let mut queue = Queue::new(1_000, 7);
        let room = (0..).take_while(|n| queue.push(&vacated(*n, 0), then)).count();
        assert!((5..20).contains(&room), "{room}");
        assert_eq!(queue.drop_since(then), room);
        assert!(queue.push(&vacated(0, 0), now));
        assert_eq!(queue.drop_since(then), 0);
    }

    #[test]
    fn a_raw_client_has_no_id_and_perhaps_no_user() {
        let event = |user: Option<&str>| NewsEvent::Disconnect {
            who: Party::Raw(user.map(Into::into)),
            code: 1006,
            reason: "".into(),
        };
        for (user, shown) in [(Some("ann"), "ann"), (None, "")] {
            let told = words(&News { time_ms: 5, event: event(user) });
            let told: Value = serde_json::from_slice(&told).expect("JSON");
            let expect = json!({"name": "disconnect", "time_ms": 5, "user": shown, "code": 1006,
                "reason": ""});
            assert_eq!(told, expect);
        }
    }
}
