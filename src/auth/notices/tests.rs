//! The thread with its lane, and a backend that a server on this machine plays.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Condvar, Mutex};
use std::thread;

use aws_lc_rs::digest;
use serde_json::Value;

use super::*;
use crate::config::Secret;
use crate::mail::{self, News, NewsEvent, NewsPlan, NewsSender};

/// How long anything may take before a test calls it lost.
const PATIENCE: Duration = Duration::from_secs(20);

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// What the backend says to a request.
#[derive(Clone, Copy, Debug)]
enum Say {
    Status(&'static str),
    /// Nothing, until the client hangs up.
    Silence,
}

const OK: Say = Say::Status("200 OK");
const BROKEN: Say = Say::Status("500 Internal Server Error");

/// A request the backend got.
#[derive(Clone, Debug)]
struct Got {
    path: String,
    timestamp: String,
    signature: String,
    body: Vec<u8>,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn id(&self) -> String {
        self.json()["id"].as_str().unwrap().to_owned()
    }

    /// The channels of its notices.
    fn channels(&self) -> Vec<String> {
        let json = self.json();
        let events = json["events"].as_array().unwrap();
        events.iter().map(|event| event["channel"].as_str().unwrap().to_owned()).collect()
    }
}

/// An HTTP server that keeps what it is sent.
struct Backend {
    address: SocketAddr,
    shared: Arc<(Mutex<Shared>, Condvar)>,
}

#[derive(Default)]
struct Shared {
    /// What is said to one request each; the last is said for ever.
    script: Vec<Say>,
    got: Vec<Got>,
}

impl Backend {
    fn start(script: &[Say]) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    fn start_on(listener: TcpListener, script: &[Say]) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Shared { script: script.to_vec(), got: Vec::new() };
        let shared = Arc::new((Mutex::new(shared), Condvar::new()));
        let theirs = shared.clone();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (socket, shared) = (socket.unwrap(), theirs.clone());
                thread::spawn(move || while serve(&socket, &shared, address).is_some() {});
            }
        });
        Self { address, shared }
    }

    fn say(&self, say: Say) {
        self.shared.0.lock().unwrap().script = vec![say];
    }

    /// The first `count` requests, once they are there.
    fn wait_for(&self, count: usize) -> Vec<Got> {
        let (shared, changed) = &*self.shared;
        let shared = shared.lock().unwrap();
        let waited = changed.wait_timeout_while(shared, PATIENCE, |one| one.got.len() < count);
        let (shared, timeout) = waited.unwrap();
        assert!(!timeout.timed_out(), "{} of {count} requests", shared.got.len());
        shared.got[..count].to_vec()
    }

    /// All requests there are.
    fn got(&self) -> Vec<Got> {
        self.shared.0.lock().unwrap().got.clone()
    }

    /// The channels of the first `count` notices, once they are there.
    fn wait_for_channels(&self, count: usize) -> Vec<String> {
        let mut channels = Vec::new();
        for request in 0.. {
            channels.extend(self.wait_for(request + 1)[request].channels());
            if channels.len() >= count {
                break;
            }
        }
        channels
    }
}

/// Answers one request of a connection; `None` at its end.
fn serve(
    mut socket: &TcpStream,
    shared: &(Mutex<Shared>, Condvar),
    address: SocketAddr,
) -> Option<()> {
    let mut reader = BufReader::new(socket);
    let mut line = String::new();
    let (mut path, mut length, mut timestamp, mut signature) = Default::default();
    while reader.read_line(&mut line).ok()? > 0 && line != "\r\n" {
        if let Some((name, value)) = line.trim().split_once(": ") {
            match &*name.to_ascii_lowercase() {
                "content-length" => length = value.parse().unwrap(),
                "x-tidegate-timestamp" => timestamp = value.to_owned(),
                "x-tidegate-signature" => signature = value.to_owned(),
                "content-type" => assert_eq!(value, "application/json"),
                _ => {}
            }
        } else {
            path = line.split(' ').nth(1)?.to_owned();
        }
        line.clear();
    }
    if line.is_empty() {
        return None;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (shared, changed) = shared;
    let say = {
        let mut shared = shared.lock().unwrap();
        shared.got.push(Got { path, timestamp, signature, body });
        changed.notify_all();
        if shared.script.len() > 1 { shared.script.remove(0) } else { shared.script[0] }
    };
    match say {
        Say::Silence => socket.read(&mut [0]).err().map(|_| ()),
        Say::Status(status) => {
            let location = format!("Location: http://{address}/elsewhere\r\n");
            let answer = format!("HTTP/1.1 {status}\r\n{location}Content-Length: 2\r\n\r\nok");
            socket.write_all(answer.as_bytes()).ok()
        }
    }
}

/// The thread, with one shard that reports to it.
struct Running {
    news: Option<NewsSender>,
    counters: Arc<NoticeCounters>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Running {
    fn start(settings: &config::Notices, pace: Pace) -> Self {
        let mut wiring = mail::wire(1, 0, 4).unwrap();
        let plan = NewsPlan { disconnect: true, unsubscribe: true, vacated_delay_ms: Some(0) };
        let post = mail::carry_news(&mut wiring.posts, plan);
        let counters: Arc<NoticeCounters> = Arc::default();
        let notices = Notices::with_pace(settings, post, counters.clone(), pace).unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = Some(thread::spawn(move || notices.run(stopped).unwrap()));
        Self { news: wiring.posts[0].news_out.take(), counters, stop: Some(stop), thread }
    }

    fn tell(&self, channels: std::ops::Range<usize>) {
        for n in channels {
            let channel = n.to_string().into();
            let news = News { time_ms: n as u64, event: NewsEvent::Vacated { channel } };
            self.news.as_ref().unwrap().send(news).unwrap();
        }
    }

    /// Waits until a counter has come to `least`.
    fn wait_for(&self, what: &str, count: impl Fn(&NoticeCounters) -> u64, least: u64) {
        let begun_at = std::time::Instant::now();
        while count(&self.counters) < least {
            assert!(begun_at.elapsed() < PATIENCE, "{what}: {:?}", self.counters);
            thread::yield_now();
        }
    }

    /// Ends it as the gateway does: the shards first.
    fn stop(mut self) -> Arc<NoticeCounters> {
        self.end();
        self.counters.clone()
    }

    fn end(&mut self) {
        drop(self.news.take());
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || thread::panicking());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn settings(address: SocketAddr) -> config::Notices {
    config::Notices {
        url: format!("http://{address}/told?by=tidegate").parse().unwrap(),
        secret: Secret::new(SECRET),
        disconnect: true,
        unsubscribe: true,
        vacated: true,
        timeout: PATIENCE,
        batch_size: 100,
        batch_delay: Duration::from_millis(20),
        vacated_delay: Duration::ZERO,
    }
}

fn quick() -> Pace {
    let (retry_min, retry_max) = (Duration::from_millis(5), Duration::from_millis(20));
    Pace { retry_min, retry_max, ..Pace::default() }
}

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// HMAC-SHA256 as RFC 2104 has it, from nothing but the hash.
fn hmac_sha256(key: &[u8], message: &[u8]) -> String {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let padded = |pad: u8| block.map(|byte| byte ^ pad);
    let inner = digest::digest(&digest::SHA256, &[&padded(0x36), message].concat());
    let outer = digest::digest(&digest::SHA256, &[&padded(0x5c), inner.as_ref()].concat());
    outer.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn notices_go_in_batches_in_order_and_signed() {
    let backend = Backend::start(&[OK]);
    let before = crate::auth::unix_now();
    let running = Running::start(&settings(backend.address), quick());
    running.tell(0..250);
    assert_eq!(backend.wait_for_channels(250), names(0..250));
    let got = backend.got();
    assert!((3..50).contains(&got.len()), "{} requests for 250 notices", got.len());
    for one in &got {
        let (timestamp, body) = (&one.timestamp, &one.body);
        assert_eq!(one.path, "/told?by=tidegate");
        assert!((before..=crate::auth::unix_now()).contains(&timestamp.parse().unwrap()));
        let signed = [timestamp.as_bytes(), b".", body].concat();
        let expect = format!("sha256={}", hmac_sha256(SECRET.as_bytes(), &signed));
        assert_eq!(one.signature, expect);
        assert!(one.channels().len() <= 100);
    }
    let mut ids: Vec<_> = got.iter().map(Got::id).collect();
    ids.dedup();
    assert_eq!(ids.len(), got.len());
    let counters = running.stop();
    assert_eq!((counters.sent.get(), counters.waiting.get()), (250, 0));
    assert_eq!((counters.retries.get(), counters.given_up.get()), (0, 0));
}

#[test]
fn what_is_not_taken_is_sent_again_the_same_and_before_what_follows() {
    let redirect = Say::Status("307 Temporary Redirect");
    let backend = Backend::start(&[BROKEN, redirect, Say::Status("404 Not Found"), OK]);
    let running = Running::start(&settings(backend.address), quick());
    running.tell(0..2);
    backend.wait_for(1);
    running.tell(2..4);
    let got = backend.wait_for(5);
    for again in &got[..4] {
        assert_eq!((&again.body, &*again.path), (&got[0].body, "/told?by=tidegate"));
    }
    assert_eq!(got[0].channels(), names(0..2));
    assert_eq!(got[4].channels(), names(2..4));
    assert_ne!(got[4].id(), got[0].id());
    let counters = running.stop();
    assert_eq!((counters.sent.get(), counters.retries.get()), (4, 3));
}

#[test]
fn a_backend_that_comes_up_later_gets_everything() {
    // Nobody listens on its port until then.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let running = Running::start(&settings(address), quick());
    running.tell(0..150);
    running.wait_for("tries", |counters| counters.retries.get(), 3);
    assert_eq!(running.counters.waiting.get(), 150);
    let backend = Backend::start_on(TcpListener::bind(address).unwrap(), &[OK]);
    assert_eq!(backend.wait_for_channels(150), names(0..150));
    running.wait_for("sent", |counters| counters.sent.get(), 150);
    assert_eq!(running.counters.given_up.get(), 0);
}

#[test]
fn a_backend_that_says_nothing_is_asked_again() {
    let backend = Backend::start(&[Say::Silence, OK]);
    let timeout = Duration::from_millis(50);
    let settings = config::Notices { timeout, ..settings(backend.address) };
    let running = Running::start(&settings, quick());
    running.tell(0..1);
    let got = backend.wait_for(2);
    assert_eq!(got[0].body, got[1].body);
}

#[test]
fn what_is_too_old_is_given_up_and_what_follows_is_not() {
    let backend = Backend::start(&[BROKEN]);
    let give_up = Duration::from_millis(200);
    let running = Running::start(&settings(backend.address), Pace { give_up, ..quick() });
    running.tell(0..150);
    running.wait_for("given up", |counters| counters.given_up.get(), 150);
    assert!(running.counters.retries.get() > 1);
    backend.say(OK);
    let before = backend.got().len();
    running.tell(150..153);
    running.wait_for("sent", |counters| counters.sent.get(), 3);
    let got = backend.got();
    let taken: Vec<_> = got[before..].iter().flat_map(Got::channels).collect();
    assert!(taken.ends_with(&names(150..153)), "{taken:?}");
    let counters = running.stop();
    assert_eq!((counters.given_up.get(), counters.sent.get()), (150, 3));
}

#[test]
fn what_has_no_room_is_dropped_and_counted() {
    let backend = Backend::start(&[Say::Silence]);
    let stop = Duration::from_millis(50);
    let pace = Pace { queue_bytes: 10_000, stop, ..quick() };
    let running = Running::start(&settings(backend.address), pace);
    running.tell(0..1_000);
    running.wait_for("looked at", |c| c.dropped.get() + c.waiting.get(), 1_000);
    assert!(running.counters.dropped.get() > 500);
    // The oldest are those that are kept.
    assert_eq!(backend.wait_for(1)[0].channels()[..2], names(0..2));
    let counters = running.stop();
    assert_eq!(counters.dropped.get() + counters.given_up.get(), 1_000);
}

#[test]
fn what_waits_at_the_end_is_still_sent() {
    let backend = Backend::start(&[BROKEN, OK]);
    let slow = config::Notices { batch_delay: PATIENCE, ..settings(backend.address) };
    let running = Running::start(&slow, quick());
    running.tell(0..150);
    let counters = running.stop();
    assert_eq!((counters.sent.get(), counters.given_up.get()), (150, 0));
    let channels: Vec<_> = backend.got().iter().map(Got::channels).collect();
    assert_eq!(channels, [names(0..100), names(0..100), names(100..150)]);
}

#[test]
fn a_backend_that_is_gone_holds_up_the_end_for_a_short_time_only() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let pace = Pace { stop: Duration::from_millis(50), ..Pace::default() };
    let running = Running::start(&settings(address), pace);
    running.tell(0..150);
    let counters = running.stop();
    assert_eq!((counters.sent.get(), counters.given_up.get()), (0, 150));
}

#[test]
fn the_end_of_very_many_clients_is_told_whole() {
    let backend = Backend::start(&[OK]);
    let running = Running::start(&settings(backend.address), quick());
    running.tell(0..30_000);
    assert_eq!(backend.wait_for_channels(30_000), names(0..30_000));
    running.wait_for("sent", |counters| counters.sent.get(), 30_000);
    assert_eq!(running.counters.dropped.get(), 0);
}
