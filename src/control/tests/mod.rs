//! The admin port over real TCP, with threads that answer the lanes in place of shards.

mod answers;
mod batches;
mod guards;
mod scrape;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU16;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

use super::{Control, Node, Settings};
use crate::config::Secret;
use crate::engine::Engine;
use crate::id::{ChannelName, Owners};
use crate::lifecycle::{Lifecycle, Phase};
use crate::limits;
use crate::mail::{self, Permits, Post, PublishError, Reply, Request, Sender};
use crate::protocol::channel::{ChannelOptions, HistoryOptions, Namespaces};
use crate::publication::{Epoch, Payload, Position};
use crate::stats::Stats;

/// How a gateway under test differs from the usual one.
struct Options {
    key: Option<&'static str>,
    lane_len: usize,
    /// No shard takes mail.
    held: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { key: None, lane_len: 1_024, held: false }
    }
}

/// A control thread and its stand-in shards; stops them when dropped.
struct Gateway {
    addr: SocketAddr,
    lifecycle: Lifecycle,
    stats: Stats,
    permits: Permits,
    /// What the shards numbered, in the order taken.
    published: mpsc::Receiver<(ChannelName, Payload)>,
    /// The posts nobody reads, when held.
    held: Vec<Post>,
    shards: Vec<JoinHandle<()>>,
    stop_shards: Vec<Sender<Request>>,
    stop: Option<oneshot::Sender<()>>,
    control: Option<JoinHandle<()>>,
}

impl Gateway {
    fn start(options: Options) -> Self {
        let mut wiring = mail::wire(SHARDS, 1, options.lane_len).expect("descriptors");
        let (publish, published) = mpsc::channel();
        let mut shards = Vec::new();
        if !options.held {
            for post in wiring.posts.drain(..) {
                let publish = publish.clone();
                shards.push(thread::spawn(move || answer_mail(post, &publish)));
            }
        }
        let owners = Owners::new(NonZeroU16::new(SHARDS).expect("two"));
        let (stop, stopped) = oneshot::channel();
        let control = Control {
            settings: Settings {
                api_key: options.key.map(Secret::new),
                publication_size: limits::PUBLICATION_SIZE_DEFAULT,
                channels: channels(),
            },
            node: Node::new(),
            engine: Engine::new(wiring.control, owners),
            stats: Stats::new(usize::from(SHARDS), 1),
            permits: Permits::new(SHARDS, 100),
            lifecycle: Lifecycle::new(),
        };
        control.lifecycle.advance(Phase::Serving);
        let (lifecycle, stats) = (control.lifecycle.clone(), control.stats.clone());
        let permits = control.permits.clone();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("bound");
        let control = thread::spawn(move || {
            let shutdown = async { stopped.await.unwrap_or(()) };
            control.run(listener, shutdown).expect("the kernel grants an epoll instance");
        });
        Self {
            addr,
            lifecycle,
            stats,
            permits,
            published,
            held: wiring.posts,
            shards,
            stop_shards: wiring.gateway,
            stop: Some(stop),
            control: Some(control),
        }
    }

    /// Sends a request as it stands and reads the answer to the end of the connection.
    fn send(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut socket = self.connect();
        socket.write_all(request.as_ref()).expect("the gateway reads");
        read_answer(socket)
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.addr).expect("the gateway listens");
        socket.set_read_timeout(Some(DEADLINE)).expect("not zero");
        socket
    }

    /// A request with the head that a local program sends, and `headers`, each ended by CRLF.
    fn request(&self, line: &str, headers: &str, body: &str) -> Answer {
        let addr = self.addr;
        let len = body.len();
        self.send(format!(
            "{line} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Length: {len}\r\n\
             {headers}\r\n{body}"
        ))
    }

    fn get(&self, path: &str) -> Answer {
        self.request(&format!("GET {path}"), "", "")
    }

    fn post(&self, path: &str, body: &str) -> Answer {
        self.request(&format!("POST {path}"), "Content-Type: application/json\r\n", body)
    }

    /// Sends a broadcast to so many channels and leaves the answer unread. Which shard owns which
    /// is random; with 100 channels each owns some.
    fn begin_broadcast(&self, channel_count: usize) -> TcpStream {
        let names: Vec<_> = (0..channel_count).map(|n| format!("c{n}")).collect();
        let body = serde_json::json!({"channels": names, "data": 1}).to_string();
        let head = "POST /api/broadcast HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                    Content-Type: application/json\r\n";
        let mut socket = self.connect();
        write!(socket, "{head}Content-Length: {}\r\n\r\n{body}", body.len())
            .expect("the gateway reads");
        socket
    }

    /// Waits until every held shard was woken: its mail is in its lane by then.
    fn await_rung(&self) {
        for post in &self.held {
            rustix::io::read(post.bell.fd(), &mut [0u8; 8]).expect("an eventfd can be read");
        }
    }

    /// The channel and payload the shards numbered next.
    fn next_published(&self) -> (ChannelName, Payload) {
        self.published.recv_timeout(DEADLINE).expect("a publication was numbered")
    }

    fn assert_nothing_published(&self) {
        assert!(self.published.try_recv().is_err(), "something was published");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        for lane in &mut self.stop_shards {
            let _ = lane.push(Request::Stop);
            lane.bell().ring();
        }
        for shard in self.shards.drain(..) {
            shard.join().expect("the shard did not panic");
        }
        drop(self.stop.take());
        let control = self.control.take().expect("taken here only").join();
        control.expect("control did not panic");
    }
}

/// An HTTP answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).expect("JSON")
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Asserts an error object and gives its text.
    fn error(&self, status: u16, code: u16) -> String {
        let json = self.json();
        assert_eq!((self.status, &json["error"]["code"]), (status, &code.into()), "{self:?}");
        assert_eq!(json.as_object().map(|object| object.len()), Some(1), "{self:?}");
        json["error"]["message"].as_str().expect("a text").to_owned()
    }

    /// Asserts a numbered publication and gives its offset.
    fn offset(&self) -> u64 {
        assert_eq!(self.status, 200, "{self:?}");
        offset(&self.json())
    }
}

/// Asserts that `json` is a numbered publication and gives its offset.
fn offset(json: &Value) -> u64 {
    assert_eq!(json["result"]["epoch"], epoch().as_str(), "{json}");
    json["result"]["offset"].as_u64().expect("a number")
}

fn read_answer(mut socket: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).expect("an answer within the deadline");
    let text = String::from_utf8(bytes).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer { status: status.expect("a status"), head: head.to_owned(), body: body.to_owned() }
}

/// Numbers publishes until told to stop; the channel `full` is one the owner has no room for.
fn answer_mail(mut post: Post, published: &mpsc::Sender<(ChannelName, Payload)>) {
    let mut offset = 0;
    loop {
        rustix::io::read(post.bell.fd(), &mut [0u8; 8]).expect("an eventfd can be read");
        post.bell.clear();
        for lane in &mut post.requests_in {
            while let Some(request) = lane.pop() {
                let publish = match request {
                    Request::Publish(publish) => *publish,
                    Request::Stop => return,
                    other => panic!("{other:?}"),
                };
                let Reply::Control(reply) = publish.reply else { panic!("control asked") };
                let result = if &*publish.channel == "full" {
                    Err(PublishError::ChannelsFull)
                } else {
                    offset += 1;
                    let _ = published.send((publish.channel, publish.payload));
                    Ok(Position { offset, epoch: epoch() })
                };
                let _ = reply.send(result);
            }
        }
    }
}

/// Nothing is kept, but in one namespace.
fn channels() -> Arc<Namespaces> {
    let full = ChannelOptions {
        presence: true,
        history: Some(HistoryOptions { size: 1, ttl_ms: 1, meta_ttl_ms: 1 }),
        ..ChannelOptions::default()
    };
    Arc::new(Namespaces::new(ChannelOptions::default(), [("full".into(), full)]))
}

fn epoch() -> Epoch {
    Epoch::from_random(26)
}

const SHARDS: u16 = 2;
const DEADLINE: Duration = Duration::from_secs(20);
