//! [`Cast`]: the subscribers and publishers of one thread, and what they saw.
//!
//! Subscribers have the first places on the ring, publishers those behind them.

use std::fmt::Display;

use tidegate::ws::{DecodeLimits, Decoded, Event, MessageKind, Opcode, encode};

use super::closed_loop::ClosedLoop;
use super::http::{Answer, Request};
use super::plan::Plan;
use super::publisher::{Desk, Link, Publications, Publisher};
use super::receipts::Receipts;
use super::subscriber::{End, Life, State, Subscriber, Trace};
use super::wires::Sink;
use crate::centrifuge::{self, Line};
use crate::compression::Codec;
use crate::ledger::Arrival;
use crate::tally::{Tally, histogram};

/// Everybody of one thread.
pub(super) struct Cast<'p> {
    pub(super) plan: &'p Plan,
    /// The time of this turn, since the run's start.
    pub(super) now_ns: u64,
    pub(super) subscribers: Vec<Subscriber>,
    pub(super) publishers: Vec<Publisher>,
    pub(super) desk: Desk<'p>,
    /// Per subscriber, one for each publisher of the run.
    traces: Vec<Trace>,
    pub(super) seen: Seen,
    /// With compression.
    codec: Option<Codec>,
    /// Subscribers whose connection is closed, since this was last looked at.
    pub(super) closed: Vec<usize>,
}

/// What was counted and timed.
pub(super) struct Seen {
    pub(super) tally: Tally,
    pub(super) receipts: Receipts,
    pub(super) lives: Vec<Life>,
    /// From due to acknowledged.
    pub(super) publish: hdrhistogram::Histogram<u64>,
    /// Messages that are no publications, where they may come.
    pub(super) foreign: u64,
}

impl<'p> Cast<'p> {
    /// Nobody connected yet. `numbers` are the run's numbers of this thread's subscribers.
    pub(super) fn new(
        plan: &'p Plan,
        closed: Option<&'p ClosedLoop>,
        requests: &'p [Request],
        numbers: std::ops::Range<u32>,
        publishers: Vec<Publisher>,
    ) -> Self {
        let subscriber = |number: u32| {
            let channel = plan.channel_of[number as usize];
            Subscriber::new(number, channel, plan.is_slow(number))
        };
        let traces = numbers.len() * usize::from(plan.publisher_count);
        let count = plan.publication_count as usize;
        let publishes = !publishers.is_empty();
        Self {
            plan,
            now_ns: 0,
            subscribers: numbers.clone().map(subscriber).collect(),
            traces: vec![Trace::default(); traces],
            desk: Desk {
                plan,
                closed,
                requests,
                payload: plan.payload.clone(),
                command: Vec::with_capacity(2 * plan.payload.len() + 512),
                random: fastrand::Rng::new(),
                publishes,
                publications: Publications {
                    fates: vec![Default::default(); if publishes { count } else { 0 }],
                    sent_ns: vec![0; if publishes && closed.is_some() { count } else { 0 }],
                    ..Default::default()
                },
            },
            publishers,
            seen: Seen {
                tally: Tally::new(),
                receipts: Receipts::new(count),
                lives: Vec::with_capacity(numbers.len()),
                publish: histogram(),
                foreign: 0,
            },
            codec: plan.compression.then(Codec::new),
            closed: Vec::with_capacity(numbers.len()),
        }
    }

    /// The publisher of a place, if it is one.
    fn publisher(&self, wire: usize) -> Option<usize> {
        wire.checked_sub(self.subscribers.len())
    }

    /// Publisher `index` sends what is due, if it can.
    pub(super) fn pump(&mut self, index: usize, out: &mut Vec<u8>) {
        self.publishers[index].pump(&mut self.desk, self.now_ns, out);
    }

    /// Says goodbye to the server on subscriber `wire`.
    pub(super) fn leave(&mut self, wire: usize, end: End, out: &mut Vec<u8>) {
        let key = self.desk.key();
        self.subscribers[wire].leave(end, out, key);
    }

    /// Accounts for the connection of subscriber `wire`, which is over.
    pub(super) fn bury(&mut self, wire: usize, tails: Option<&[Vec<u32>]>) {
        let count = usize::from(self.plan.publisher_count);
        let traces = &mut self.traces[wire * count..(wire + 1) * count];
        let subscriber = &mut self.subscribers[wire];
        if let Some(closed) = self.desk.closed
            && !subscriber.slow
            && subscriber.state != State::Gone
        {
            closed.leave(subscriber.channel);
        }
        let tail = tails.map(|tails| &tails[usize::from(subscriber.channel)][..]);
        self.seen.lives.extend(subscriber.bury(traces, tail));
    }

    fn on_answer(&mut self, index: usize, answer: Answer) {
        let Desk { plan, publications, .. } = &mut self.desk;
        let published = answer == Answer::Published;
        let publisher = &mut self.publishers[index];
        let publication = publisher.on_answer(answer, publications, plan, self.now_ns);
        let due_ns = publication.and_then(|n| publications.due_ns(plan, n));
        if let Some(due_ns) = due_ns.filter(|due_ns| published && plan.window.holds(*due_ns)) {
            self.seen.publish.saturating_record(self.now_ns - due_ns);
        }
    }

    fn on_publisher_bytes(&mut self, index: usize, bytes: &mut [u8], out: &mut Vec<u8>) {
        let heard = match &mut self.publishers[index].link {
            Link::Http(answers) => answers.handle(bytes).map_err(|fault| fault.to_string()),
            Link::WebSocket(_) | Link::Centrifuge(_) => self.hear_publisher(index, bytes, out),
        };
        match heard {
            Ok(None) => {}
            Ok(Some(answer)) => {
                self.on_answer(index, answer);
                self.pump(index, out);
            }
            Err(cause) => self.end_publisher(index, &cause),
        }
    }

    /// Takes what came to a publisher over WebSocket; the answer to what is out, if it came. `Err`:
    /// why the connection is over.
    fn hear_publisher(
        &mut self,
        index: usize,
        bytes: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Answer>, String> {
        let Self { publishers, desk, .. } = self;
        let mut answer = None;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (decoder, is_centrifuge) = match &mut publishers[index].link {
                Link::WebSocket(decoder) => (decoder, false),
                Link::Centrifuge(decoder) => (decoder, true),
                Link::Http(_) => return Ok(None),
            };
            let Decoded { consumed, event } =
                decoder.handle(rest, &LIMITS).map_err(|_| "the server broke the protocol")?;
            match event {
                Some(Event::Ping(payload)) => {
                    let key = desk.key();
                    encode::append_masked(out, true, Opcode::Pong, &payload, key);
                }
                Some(Event::Close(body)) => {
                    let code = body.map_or(1005, |(code, _)| code.get());
                    return Err(format!("the server sent Close {code}"));
                }
                Some(Event::Message(message)) if is_centrifuge => {
                    for line in centrifuge::lines(&message.payload) {
                        match Line::read(line) {
                            Line::Ping => desk.pong(out),
                            Line::Done(id) if publishers[index].awaits(id) => {
                                answer = Some(Answer::Published);
                            }
                            Line::Refused { id, code, message } if publishers[index].awaits(id) => {
                                answer = Some(Answer::Refused(format!("error {code}: {message}")));
                            }
                            _ => {}
                        }
                    }
                }
                None | Some(Event::Message(_) | Event::Pong(_)) => {}
            }
            rest = &mut rest[consumed..];
        }
        Ok(answer)
    }

    fn end_publisher(&mut self, index: usize, cause: &dyn Display) {
        if !self.publishers[index].ended {
            self.publishers[index].ended = true;
            let cause = format!("a publisher: {cause}");
            *self.seen.tally.lost_connections.entry(cause).or_default() += 1;
        }
    }

    fn on_subscriber_bytes(&mut self, wire: usize, bytes: &mut [u8], out: &mut Vec<u8>) {
        let Self { plan, subscribers, traces, desk, seen, codec, now_ns, .. } = self;
        let count = usize::from(plan.publisher_count);
        let mut ear = Ear {
            plan,
            subscriber: &mut subscribers[wire],
            traces: &mut traces[wire * count..(wire + 1) * count],
            desk,
            seen,
            codec: codec.as_mut(),
            now_ns: *now_ns,
        };
        if plan.window.holds(ear.now_ns) {
            ear.seen.tally.wire_bytes += bytes.len() as u64;
        }
        let mut rest = bytes;
        while !rest.is_empty() && matches!(ear.subscriber.state, State::Open | State::Leaving(_)) {
            let Decoded { consumed, event } = match ear.subscriber.decoder.handle(rest, &LIMITS) {
                Ok(decoded) => decoded,
                Err(error) => {
                    let cause = format!("the server broke the protocol: {error}");
                    ear.lose(&cause);
                    let key = ear.desk.key();
                    ear.subscriber.on_close(None, out, key);
                    return;
                }
            };
            if let Some(event) = event {
                ear.on_event(event, out);
            }
            rest = &mut rest[consumed..];
        }
    }
}

/// One subscriber and what it needs to take what comes.
struct Ear<'a, 'p> {
    plan: &'p Plan,
    subscriber: &'a mut Subscriber,
    /// One for each publisher of the run.
    traces: &'a mut [Trace],
    desk: &'a mut Desk<'p>,
    seen: &'a mut Seen,
    codec: Option<&'a mut Codec>,
    now_ns: u64,
}

impl Ear<'_, '_> {
    fn on_event(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Pong(_) => {}
            Event::Message(message) if self.plan.is_centrifuge => {
                self.count_payload(&message.payload);
                for line in centrifuge::lines(&message.payload) {
                    self.on_line(line, out);
                }
            }
            Event::Message(message) => {
                let mut codec = self.codec.take();
                let payload = match &mut codec {
                    Some(codec) if message.compressed => codec.inflate(&message),
                    _ => Some(&*message.payload),
                };
                let payload = payload.unwrap_or_default();
                self.count_payload(payload);
                self.on_letter(&Letter { kind: message.kind, payload });
                self.codec = codec;
            }
            Event::Ping(payload) => {
                self.seen.tally.pings += 1;
                let key = self.desk.key();
                encode::append_masked(out, true, Opcode::Pong, &payload, key);
            }
            Event::Close(body) => {
                let code = body.as_ref().map(|(code, _)| code.get());
                let cause = format!("the server sent Close {}", code.unwrap_or(1005));
                if !self.subscriber.slow {
                    self.lose(&cause);
                }
                let key = self.desk.key();
                self.subscriber.on_close(code, out, key);
            }
        }
    }

    /// A line of the Centrifuge protocol.
    fn on_line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        match Line::read(line) {
            Line::Publication(payload) => {
                self.on_letter(&Letter { kind: MessageKind::Text, payload });
            }
            Line::Ping => {
                self.seen.tally.pings += 1;
                self.desk.pong(out);
            }
            Line::Unsubscribed(code) => {
                if !self.subscriber.slow {
                    self.lose(&format_args!("the server unsubscribed with {code}"));
                }
                let key = self.desk.key();
                self.subscriber.on_unsubscribed(code, out, key);
            }
            Line::Other => self.seen.foreign += 1,
            // Of what --subscribe asked.
            Line::Done(_) | Line::Refused { .. } if self.plan.foreign_allowed => {
                self.seen.foreign += 1;
            }
            Line::Done(_) | Line::Refused { .. } | Line::Malformed => self.seen.tally.unknown += 1,
        }
    }

    fn on_letter(&mut self, letter: &Letter<'_>) {
        let heard = letter.publication(self.plan, self.desk, self.subscriber);
        let (publication, publisher, sequence, sent_ns) = match heard {
            Heard::Ours { publication, publisher, sequence, sent_ns } => {
                (publication, publisher, sequence, sent_ns)
            }
            Heard::Foreign => return self.seen.foreign += 1,
            Heard::Wrong => return self.seen.tally.unknown += 1,
        };
        let tally = &mut self.seen.tally;
        match self.traces[usize::from(publisher)].on_arrival(sequence) {
            Arrival::InOrder => {}
            Arrival::Reordered => tally.reordered += 1,
            Arrival::Duplicate => return tally.duplicated += 1,
            Arrival::Unknown => return tally.unknown += 1,
            Arrival::TooOld => return tally.too_old += 1,
        }
        self.seen.on_receipt(self.plan, self.subscriber, publication, sent_ns, self.now_ns);
        self.desk.on_receipt(self.subscriber, publisher, publication);
    }

    fn count_payload(&mut self, payload: &[u8]) {
        let measured = self.plan.window.holds(self.now_ns);
        self.seen.tally.payload_bytes += if measured { payload.len() as u64 } else { 0 };
    }

    fn lose(&mut self, cause: &dyn Display) {
        lose(&mut self.seen.tally, self.subscriber.state, cause);
    }
}

impl Seen {
    /// A publication came to `subscriber` for the first time.
    fn on_receipt(
        &mut self,
        plan: &Plan,
        subscriber: &mut Subscriber,
        publication: u32,
        sent_ns: u64,
        now_ns: u64,
    ) {
        subscriber.received += 1;
        self.tally.received_in_window += u64::from(plan.window.holds(now_ns));
        self.receipts.count(publication);
        let due_ns = plan.due_ns(publication, sent_ns);
        if !plan.window.holds(due_ns) {
            return;
        }
        subscriber.delivered += 1;
        // Who stops reading says nothing of how fast the server is.
        if !subscriber.slow {
            self.receipts.time(publication, now_ns);
            self.tally.latency.saturating_record(now_ns.saturating_sub(due_ns));
            self.tally.latency_raw.saturating_record(now_ns.saturating_sub(sent_ns));
        }
    }
}

/// A message of the server.
struct Letter<'m> {
    kind: MessageKind,
    payload: &'m [u8],
}

/// What a message is.
enum Heard {
    Ours {
        publication: u32,
        publisher: u16,
        sequence: u32,
        sent_ns: u64,
    },
    /// Of another run, or what a server may say besides.
    Foreign,
    /// Changed, or sent to somebody else.
    Wrong,
}

impl Letter<'_> {
    fn publication(&self, plan: &Plan, desk: &Desk<'_>, subscriber: &Subscriber) -> Heard {
        let Some(header) = desk.payload.read(self.kind, self.payload) else {
            return if plan.foreign_allowed { Heard::Foreign } else { Heard::Wrong };
        };
        if header.run != plan.run {
            return Heard::Foreign;
        }
        let publication = header.publication;
        let true_to_plan = publication < plan.publication_count
            && header.publisher == plan.publisher(publication)
            && header.channel == plan.channel(publication)
            && header.channel == subscriber.channel;
        if !true_to_plan {
            return Heard::Wrong;
        }
        Heard::Ours {
            publication,
            publisher: header.publisher,
            sequence: header.sequence,
            sent_ns: header.sent_ns,
        }
    }
}

impl Sink for Cast<'_> {
    fn on_bytes(&mut self, wire: usize, bytes: &mut [u8], out: &mut Vec<u8>) {
        match self.publisher(wire) {
            Some(index) => self.on_publisher_bytes(index, bytes, out),
            None => self.on_subscriber_bytes(wire, bytes, out),
        }
    }

    fn on_sent(&mut self, wire: usize, out: &mut Vec<u8>) {
        if let Some(index) = self.publisher(wire)
            && matches!(self.publishers[index].link, Link::WebSocket(_))
        {
            self.on_answer(index, Answer::Published);
            self.pump(index, out);
        }
    }

    fn on_end(&mut self, wire: usize, cause: &dyn Display) {
        match self.publisher(wire) {
            Some(index) => self.end_publisher(index, cause),
            None => {
                let subscriber = &self.subscribers[wire];
                if !subscriber.slow {
                    lose(&mut self.seen.tally, subscriber.state, cause);
                }
            }
        }
    }

    fn is_over(&self, wire: usize) -> bool {
        match self.publisher(wire) {
            Some(index) => self.publishers[index].ended,
            None => matches!(self.subscribers[wire].state, State::Gone | State::Over(_)),
        }
    }

    fn on_closed(&mut self, wire: usize) {
        if self.publisher(wire).is_none() {
            self.closed.push(wire);
        }
    }
}

/// Counts a connection as lost, unless we said goodbye before.
fn lose(tally: &mut Tally, state: State, cause: &dyn Display) {
    if state == State::Open {
        *tally.lost_connections.entry(cause.to_string()).or_default() += 1;
    }
}

/// Whatever the server sends: a message is judged when it is whole.
const LIMITS: DecodeLimits =
    DecodeLimits { message_size: tidegate::limits::MESSAGE_SIZE_MAX, fragments: u32::MAX };
