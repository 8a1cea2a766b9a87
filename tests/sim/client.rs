//! A client: what it sends, what it reads, and what that tells the oracle.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use serde_json::Value;

use super::centrifuge::Centrifuge;
use super::env::Env;
use super::faults::Fault;
use super::link::Link;
use super::oracle::{Oracle, Publisher, Run};
use super::wire::{self, Frame, RESPONSE};
use super::world::Channel;

/// Close code of clients whom the backend disconnects.
pub(crate) const DISMISSED: u16 = 4_000;

/// What a client needs to act.
pub(crate) struct Scene<'a> {
    pub(crate) env: &'a Env,
    pub(crate) oracle: &'a mut Oracle,
    pub(crate) channels: &'a [Channel],
}

/// What a client speaks.
pub(crate) enum Kind {
    Echo {
        /// Messages that are still to come back.
        awaited: VecDeque<Vec<u8>>,
    },
    /// Subscribed to these from the start; publishes to the first.
    Raw {
        channels: Vec<usize>,
    },
    Centrifuge(Centrifuge),
}

pub(crate) struct Client {
    pub(crate) number: usize,
    pub(crate) link: Rc<Link>,
    pub(crate) kind: Kind,
    /// Subscriptions in force, by channel.
    pub(crate) runs: BTreeMap<usize, Run>,
    /// Bytes received that are no whole frame yet.
    received: Vec<u8>,
    is_open: bool,
    /// The code of the gateway's Close; 1005 for none.
    pub(crate) closed: Option<u16>,
    /// It ends the connection itself, or the network does it for it.
    pub(crate) has_left: bool,
    sent_close: bool,
    /// It has seen the end of the connection.
    pub(crate) is_gone: bool,
    answers_pings: bool,
    reads: bool,
    /// Pings of its own that are still to be answered.
    pings: VecDeque<Vec<u8>>,
}

/// How a client leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leave {
    /// With a Close, reading until the end.
    Close,
    /// It sends nothing more, and no Close before.
    End,
    Reset,
}

impl Client {
    pub(crate) fn new(number: usize, link: Rc<Link>, kind: Kind, env: &Env) -> Self {
        Self {
            number,
            link,
            kind,
            runs: BTreeMap::new(),
            received: Vec::new(),
            is_open: false,
            closed: None,
            has_left: false,
            sent_close: false,
            is_gone: false,
            answers_pings: !env.strikes(Fault::MutePeer),
            reads: true,
            pings: VecDeque::new(),
        }
    }

    /// Whether the connection is in use on both ends.
    pub(crate) fn is_in_use(&self) -> bool {
        self.is_open && !self.has_left && self.closed.is_none() && !self.is_gone
    }

    /// Does one of the things it does. Only once it is open.
    pub(crate) fn act(&mut self, scene: &mut Scene<'_>) {
        if !self.is_in_use() {
            return;
        }
        match scene.env.below(24) {
            0 => self.reads = !self.reads,
            1 => {
                let payload = scene.oracle.count().to_be_bytes().to_vec();
                self.send(scene.env, wire::PING, &payload);
                self.pings.push_back(payload);
            }
            2 if scene.env.strikes(Fault::Reset) => self.leave(scene.env, Leave::Reset),
            2 if scene.env.strikes(Fault::CutShort) => self.leave(scene.env, Leave::End),
            3 if scene.env.one_in(4) => self.leave(scene.env, Leave::Close),
            _ => self.talk(scene),
        }
    }

    /// Sends something of its protocol.
    pub(crate) fn talk(&mut self, scene: &mut Scene<'_>) {
        let text = match &mut self.kind {
            Kind::Echo { awaited } => {
                let text = format!("{}{}", scene.env.moment(), padding(scene.env));
                awaited.push_back(text.clone().into_bytes());
                text
            }
            Kind::Raw { channels } => {
                let publisher = Publisher::Client(self.number);
                publication(scene, channels[0], publisher).1
            }
            Kind::Centrifuge(centrifuge) => match centrifuge.talk(scene, self.number) {
                Some(text) => text,
                None => return,
            },
        };
        self.send(scene.env, wire::TEXT, text.as_bytes());
    }

    /// The first thing it says, with or right behind its request head.
    pub(crate) fn greeting(&mut self, scene: &mut Scene<'_>) -> Vec<u8> {
        let text = match &mut self.kind {
            Kind::Centrifuge(centrifuge) => centrifuge.greeting(),
            Kind::Raw { channels } => {
                publication(scene, channels[0], Publisher::Client(self.number)).1
            }
            Kind::Echo { awaited } => {
                awaited.push_back(b"hello".to_vec());
                "hello".into()
            }
        };
        wire::client_text(&text, [7, 0, 255, 9])
    }

    /// Leaves, if it has not.
    pub(crate) fn leave(&mut self, env: &Env, how: Leave) {
        if self.has_left || self.is_gone {
            return;
        }
        env.trace(|| format!("client {} leaves: {how:?}", self.number));
        self.has_left = true;
        match how {
            Leave::Close => {
                self.has_left = false;
                self.send_close(env);
                self.has_left = true;
            }
            Leave::End => self.link.up_ended.set(true),
            Leave::Reset => {
                self.link.reset();
                self.is_gone = true;
            }
        }
    }

    /// From now on it reads everything and answers every ping.
    pub(crate) fn behave(&mut self) {
        self.reads = true;
        self.answers_pings = true;
    }

    /// Reads some of what is there. False: there was nothing.
    pub(crate) fn attend(&mut self, scene: &mut Scene<'_>) -> bool {
        let available = self.link.down_len();
        if self.is_gone || !self.reads && !self.has_left {
            return false;
        }
        if available == 0 {
            if self.link.down_ended.get() {
                self.on_end(scene.env);
                return true;
            }
            return false;
        }
        let some = scene.env.faults.are_on() && scene.env.one_in(2);
        let len = if some { 1 + scene.env.below(available) } else { available };
        let bytes = self.link.take_down(len);
        self.received.extend_from_slice(&bytes);
        self.read_response(scene.env);
        while self.is_open
            && let Some(frame) = wire::take_frame(&mut self.received)
        {
            assert_eq!(self.closed, None, "{self} got a frame behind a Close");
            self.on_frame(scene, frame);
        }
        assert!(self.closed.is_none() || self.received.is_empty(), "{self}: bytes behind a Close");
        true
    }

    fn read_response(&mut self, env: &Env) {
        if !self.is_open && self.received.len() >= RESPONSE.len() {
            assert!(self.received.starts_with(RESPONSE), "{self} was not sent its 101 first");
            self.received.drain(..RESPONSE.len());
            self.is_open = true;
            self.runs.values_mut().for_each(|run| run.began = env.moment());
        }
    }

    fn on_frame(&mut self, scene: &mut Scene<'_>, frame: Frame) {
        scene.env.trace(|| {
            format!("{self} got {} {}", frame.opcode, String::from_utf8_lossy(&frame.payload))
        });
        match frame.opcode {
            wire::CLOSE => self.on_close(scene.env, &frame.payload),
            wire::PING if self.answers_pings => self.send(scene.env, wire::PONG, &frame.payload),
            wire::PING => {}
            wire::PONG => {
                assert_eq!(self.pings.pop_front(), Some(frame.payload), "{self}: a wrong pong");
            }
            wire::TEXT => self.on_text(scene, &frame.payload),
            other => panic!("{self} got a frame of kind {other}"),
        }
    }

    fn on_text(&mut self, scene: &mut Scene<'_>, payload: &[u8]) {
        match &mut self.kind {
            Kind::Echo { awaited } => {
                let sent = awaited.pop_front();
                assert_eq!(sent.as_deref(), Some(payload), "another echo than was sent");
            }
            Kind::Raw { .. } => {
                let value: Value = serde_json::from_slice(payload).expect("JSON was published");
                let id = id_of(&value);
                let run = self.runs.get_mut(&scene.oracle.channel_of(id));
                let run = run.expect("a publication of a channel without a subscription");
                scene.oracle.receive(run, id, None);
            }
            Kind::Centrifuge(centrifuge) => {
                let text = std::str::from_utf8(payload).expect("JSON is text");
                for line in text.lines() {
                    if line == "{}" {
                        if self.answers_pings && !self.has_left {
                            self.link.send_up(&wire::client_text("{}", [0; 4]));
                        }
                        continue;
                    }
                    let value: Value = serde_json::from_str(line).expect("JSON");
                    centrifuge.on_line(scene, &mut self.runs, &value);
                }
            }
        }
    }

    /// The gateway's Close: its code must have a reason here.
    fn on_close(&mut self, env: &Env, payload: &[u8]) {
        let code = match payload {
            [] => 1005,
            [high, low, ..] => u16::from_be_bytes([*high, *low]),
            _ => panic!("{self} got a Close of one byte"),
        };
        let may_be = match code {
            // The answer to its own.
            1000 => self.sent_close,
            // The gateway stops, and some seeds have that.
            1001 | 3001 => true,
            3008 | 3012 | DISMISSED => true,
            // No connect command in time.
            3502 => matches!(&self.kind, Kind::Centrifuge(one) if !one.is_connected()),
            _ => false,
        };
        assert!(may_be, "{self} got Close {code}: {}", String::from_utf8_lossy(payload));
        self.closed = Some(code);
        self.send_close(env);
        self.link.up_ended.set(true);
    }

    fn on_end(&mut self, env: &Env) {
        env.trace(|| format!("{self} sees the end"));
        self.is_gone = true;
        self.link.up_ended.set(true);
        let is_explained = self.closed.is_some() || self.has_left || self.link.excused.get();
        assert!(is_explained, "{self} lost its connection without a Close");
    }

    fn send_close(&mut self, env: &Env) {
        if !self.sent_close {
            self.send(env, wire::CLOSE, &1000u16.to_be_bytes());
            self.sent_close = true;
        }
    }

    fn send(&mut self, env: &Env, opcode: u8, payload: &[u8]) {
        if self.has_left || self.sent_close {
            return;
        }
        let mask = std::array::from_fn(|_| env.below(256) as u8);
        self.link.send_up(&wire::client_frame(opcode, payload, mask));
    }
}

impl std::fmt::Display for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            Kind::Echo { .. } => "echo",
            Kind::Raw { .. } => "raw",
            Kind::Centrifuge(_) => "centrifuge",
        };
        write!(f, "client {} ({kind})", self.number)
    }
}

/// A new publication: its number and its text.
pub(crate) fn publication(
    scene: &mut Scene<'_>,
    channel: usize,
    publisher: Publisher,
) -> (u32, String) {
    let (moment, now) = (scene.env.moment(), scene.env.now());
    let id = scene.oracle.publish(channel, publisher, moment, now);
    let padding = padding(scene.env);
    (id, format!(r#"{{"id":{id},"padding":"{padding}"}}"#))
}

/// The number of a publication; what the dice of the driver made up has none.
pub(crate) fn id_of(data: &Value) -> u32 {
    let id = data["id"].as_u64().unwrap_or_else(|| panic!("nobody published {data}"));
    u32::try_from(id).expect("few")
}

/// Makes messages short, mostly.
fn padding(env: &Env) -> String {
    let len = if env.one_in(8) { env.below(900) } else { env.below(20) };
    "x".repeat(len)
}
