//! Publishers: connections that publish, one publication out at a time on each.

use std::collections::BTreeMap;

use tidegate::ws::{Decoder, MessageKind, Role, encode};

use super::closed_loop::ClosedLoop;
use super::http::{Answer, Answers, Request};
use super::message::{Header, Payload};
use super::plan::{Pace, Plan, PlanError};
use super::subscriber::Subscriber;
use crate::centrifuge;
use crate::traffic::REPLY_TIMEOUT;

/// One publishing connection. It sends publications `n`, `n + count`, `n + 2 count`, ...: one that
/// is due while another is out follows it, and is late.
pub(super) struct Publisher {
    pub(super) link: Link,
    /// Its place among all publishers.
    number: u16,
    /// The next publication it sends.
    next: u32,
    /// How many from there on are due.
    owed: u32,
    /// What is out and not acknowledged.
    out: Option<u32>,
    /// What was sent last and not refused, and when.
    last: Option<(u32, u64)>,
    /// Since when nothing is out.
    free_since_ns: u64,
    /// The connection is gone, or was never there.
    pub(super) ended: bool,
    /// The next number of each channel.
    sequences: Vec<u32>,
}

/// How a publisher speaks.
pub(super) enum Link {
    /// A request and its answer.
    Http(Answers),
    /// A message, published when the kernel took it. What comes is not looked at.
    WebSocket(Decoder),
    /// A publish command and its reply.
    Centrifuge(Decoder),
}

/// What became of every publication.
#[derive(Debug, Default)]
pub(super) struct Publications {
    /// By publication; empty on threads that do not publish.
    pub(super) fates: Vec<Fate>,
    /// When each was sent, in nanoseconds since the run's start; only in a closed loop, where
    /// nothing else tells. Taken as zeroed pages, so that only what is used costs.
    pub(super) sent_ns: Vec<u64>,
    /// A closed loop sent as many as can be accounted for.
    pub(super) exhausted: bool,
    /// Refusals by cause.
    pub(super) refusals: BTreeMap<String, u64>,
    /// Publishers that could not be connected, by cause.
    pub(super) connect_failures: BTreeMap<String, u32>,
}

impl Publications {
    /// Whether there was room for all of a closed loop.
    pub(super) fn check(&self) -> Result<(), PlanError> {
        if self.exhausted { Err(PlanError::Exhausted) } else { Ok(()) }
    }

    /// When `publication` was due, in nanoseconds since the run's start; `None`: in a closed loop
    /// it never was.
    pub(super) fn due_ns(&self, plan: &Plan, publication: u32) -> Option<u64> {
        let index = publication as usize;
        let sent = self.fates.get(index).is_some_and(|fate| *fate != Fate::Unsent);
        match plan.pace {
            Pace::Open(_) => Some(plan.due_ns(publication, 0)),
            Pace::Closed => sent.then(|| plan.due_ns(publication, self.sent_ns[index])),
        }
    }
}

/// What became of a publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fate {
    #[default]
    Unsent,
    /// Sent, and not answered.
    InDoubt,
    Acknowledged,
    Refused,
}

impl Link {
    /// Over WebSocket.
    pub(super) fn web_socket(plan: &Plan) -> Self {
        let decoder = Decoder::new(Role::Client);
        if plan.is_centrifuge { Self::Centrifuge(decoder) } else { Self::WebSocket(decoder) }
    }
}

impl Publisher {
    pub(super) fn new(plan: &Plan, number: u16, link: Link) -> Self {
        Self {
            link,
            number,
            next: number.into(),
            owed: 0,
            out: None,
            last: None,
            free_since_ns: 0,
            ended: true,
            sequences: vec![0; plan.channels.len()],
        }
    }

    /// Its next publication fell due at `due_ns`: how late we are, if that is our own doing.
    pub(super) fn owe(&mut self, due_ns: u64, now_ns: u64) -> Option<u64> {
        let free = self.out.is_none() && self.owed == 0 && self.free_since_ns <= due_ns;
        self.owed += 1;
        (free && !self.ended).then(|| now_ns - due_ns)
    }

    /// Closed loop: whether its next publication is due, for its last has arrived at every reader,
    /// or was refused, or is given up. Without an answer to the last there is no next.
    pub(super) fn is_ready(&self, desk: &Desk<'_>, now_ns: u64) -> bool {
        let arrived = |closed: &ClosedLoop| {
            self.last.is_none_or(|(publication, sent_ns)| {
                let channel = desk.plan.channel(publication);
                closed.has_arrived(self.number, publication, channel)
                    || now_ns.saturating_sub(sent_ns) > REPLY_TIMEOUT.as_nanos() as u64
            })
        };
        !self.ended && self.is_done() && desk.closed.is_some_and(arrived)
    }

    /// Whether its next publication has a place in the tables.
    pub(super) fn has_next(&self, plan: &Plan) -> bool {
        self.next < plan.publication_count
    }

    /// Sends what is due, if nothing is out.
    pub(super) fn pump(&mut self, desk: &mut Desk<'_>, now_ns: u64, out: &mut Vec<u8>) {
        if self.ended || self.owed == 0 || self.out.is_some() {
            return;
        }
        let publication = self.next;
        let channel = desk.plan.channel(publication);
        let header = Header {
            run: desk.plan.run,
            publication,
            publisher: self.number,
            channel,
            sequence: self.sequences[usize::from(channel)],
            sent_ns: now_ns,
        };
        let key = desk.key();
        let payload = desk.payload.with(&header);
        match &self.link {
            Link::Http(_) => desk.requests[usize::from(channel)].append(payload, out),
            Link::WebSocket(_) => {
                encode::append_message_masked(out, MessageKind::Text, payload, key);
            }
            Link::Centrifuge(_) => {
                let name = &desk.plan.channels[usize::from(channel)].name;
                desk.command.clear();
                let id = command_id(publication);
                centrifuge::append_publish(&mut desk.command, id, name, payload);
                encode::append_message_masked(out, MessageKind::Text, &desk.command, key);
            }
        }
        self.owed -= 1;
        self.next += u32::from(desk.plan.publisher_count);
        self.out = Some(publication);
        // A refused one gives its number back: subscribers see no gap where nothing was published.
        self.sequences[usize::from(channel)] += 1;
        desk.publications.fates[publication as usize] = Fate::InDoubt;
        self.last = Some((publication, now_ns));
        if let Some(closed) = desk.closed {
            desk.publications.sent_ns[publication as usize] = now_ns;
            closed.begin(self.number, publication);
        }
    }

    /// Whether the command of that number is the one that is out.
    pub(super) fn awaits(&self, id: u32) -> bool {
        self.out.is_some_and(|publication| command_id(publication) == id)
    }

    /// What is out was answered; which it was, if anything was.
    pub(super) fn on_answer(
        &mut self,
        answer: Answer,
        publications: &mut Publications,
        plan: &Plan,
        now_ns: u64,
    ) -> Option<u32> {
        let publication = self.out.take()?;
        self.free_since_ns = now_ns;
        publications.fates[publication as usize] = match answer {
            Answer::Published => Fate::Acknowledged,
            Answer::Refused(cause) => {
                *publications.refusals.entry(cause).or_default() += 1;
                self.sequences[usize::from(plan.channel(publication))] -= 1;
                self.last = None;
                Fate::Refused
            }
        };
        Some(publication)
    }

    /// Whether nothing is out or due, or never will be answered.
    pub(super) fn is_done(&self) -> bool {
        self.ended || (self.out.is_none() && self.owed == 0)
    }

    /// One more than the last number on `channel`.
    pub(super) fn tail(&self, channel: usize) -> u32 {
        self.sequences[channel]
    }
}

/// Bytes of some answers to pings.
const PONGS_ROOM: usize = 64;

/// The number of the command that publishes: behind that of connecting.
fn command_id(publication: u32) -> u32 {
    publication + 2
}

/// What all publishers of a thread share.
pub(super) struct Desk<'p> {
    pub(super) plan: &'p Plan,
    /// What publishers wait for; `None`: for when it is time.
    pub(super) closed: Option<&'p ClosedLoop>,
    /// By channel; empty over WebSocket.
    pub(super) requests: &'p [Request],
    pub(super) payload: Payload,
    /// Room for a command of the Centrifuge protocol.
    pub(super) command: Vec<u8>,
    pub(super) random: fastrand::Rng,
    pub(super) publications: Publications,
    /// This thread publishes.
    pub(super) publishes: bool,
}

impl Desk<'_> {
    /// A key to mask a frame with.
    pub(super) fn key(&mut self) -> [u8; 4] {
        self.random.u32(..).to_ne_bytes()
    }

    /// Answers a ping of the Centrifuge protocol.
    pub(super) fn pong(&mut self, out: &mut Vec<u8>) {
        // Else a buffer grows whenever one more of them than ever before waits for the kernel.
        out.reserve(PONGS_ROOM);
        let key = self.key();
        encode::append_message_masked(out, MessageKind::Text, centrifuge::PONG, key);
    }

    /// `subscriber` has `publication` of `publisher`: a closed loop may have waited for it.
    pub(super) fn on_receipt(&self, subscriber: &Subscriber, publisher: u16, publication: u32) {
        if let Some(closed) = self.closed
            && !subscriber.slow
            && closed.on_receipt(publisher, publication, subscriber.channel)
            && !self.publishes
        {
            closed.ring();
        }
    }
}
