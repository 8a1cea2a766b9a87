//! What a generator's connections say and hear: everything about them that is not the ring's.
//!
//! Never touches the driver while bytes of a receive buffer are borrowed: what came is taken in
//! first ([`Traffic::feed`]), and what it leads to is sent afterwards ([`Traffic::pump`]).

use std::fmt::Display;
use std::time::Duration;

use tidegate::frame::FrameBytes;
use tidegate::ring::{Driver, Sock};
use tidegate::ws::{DecodeLimits, Decoded, Event};

use crate::centrifuge::{self, Line};
use crate::compression::{self, Codec};
use crate::connection::Connection;
use crate::ledger::Arrival;
use crate::payload::{HEADER_LEN, Header};
use crate::schedule::Schedule;
use crate::session::Protocol;
use crate::tally::Tally;

/// What a generator sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// Nothing.
    Idle,
    /// On each connection one message, and the next when it is back.
    Closed,
    /// Messages at fixed times.
    Open(Schedule),
}

/// The measured part of a run, in nanoseconds since its start. Nothing falls due past `end_ns`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// End of the warm-up.
    pub(crate) start_ns: u64,
    /// End of the run.
    pub(crate) end_ns: u64,
}

impl Window {
    /// From the run's start to whenever it ends.
    pub(crate) const OPEN: Self = Self { start_ns: 0, end_ns: u64::MAX };

    /// Whether it is within.
    pub(crate) fn holds(&self, time_ns: u64) -> bool {
        (self.start_ns..self.end_ns).contains(&time_ns)
    }
}

/// The connections of one generator.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) connections: Vec<Connection>,
    /// Connections that have not ended.
    pub(crate) open_count: usize,
    pub(crate) load: Load,
    pub(crate) window: Window,
    /// The time of this turn, since the run's start.
    pub(crate) now_ns: u64,
    pub(crate) tally: Tally,
    protocol: Protocol,
    /// What every message holds behind its header.
    payload: Vec<u8>,
    /// With compression.
    codec: Option<Box<Codec>>,
    random: fastrand::Rng,
}

impl Traffic {
    /// No connections yet, room for `capacity`; servers speak `protocol`. Payloads will have `size`
    /// bytes, and be compressed if connections have agreed on that.
    pub(crate) fn new(capacity: usize, size: usize, protocol: Protocol, compression: bool) -> Self {
        let mut random = fastrand::Rng::new();
        let payload = if compression {
            compression::prose(&mut random, size)
        } else {
            let mut noise = vec![0; size];
            random.fill(&mut noise);
            noise
        };
        Self {
            connections: Vec::with_capacity(capacity),
            open_count: 0,
            load: Load::Idle,
            window: Window { start_ns: 0, end_ns: u64::MAX },
            now_ns: 0,
            tally: Tally::new(),
            protocol,
            payload,
            codec: compression.then(|| Box::new(Codec::new())),
            random,
        }
    }

    /// Adds a connection that has just been upgraded.
    pub(crate) fn add(&mut self, sock: Sock) {
        self.connections.push(Connection::new(sock, self.codec.is_some()));
        self.open_count += 1;
    }

    /// Starts the load: in a closed loop every connection owes its first message.
    pub(crate) fn begin(&mut self, load: Load, window: Window) {
        self.load = load;
        self.window = window;
        if matches!(load, Load::Closed) {
            for index in 0..self.connections.len() as u32 {
                self.owe(index);
            }
        }
    }

    /// Whether messages are out or owed.
    pub(crate) fn is_waiting(&self) -> bool {
        self.connections.iter().any(|connection| {
            !connection.ended && (connection.awaited.is_some() || connection.owed > 0)
        })
    }

    /// Takes the next message that is due, if one is; the connection that owes it now.
    pub(crate) fn take_due(&mut self) -> Option<u32> {
        let Load::Open(schedule) = &mut self.load else { return None };
        let due_ns = schedule.next_due_ns();
        if due_ns > self.now_ns || due_ns >= self.window.end_ns {
            return None;
        }
        let index = schedule.take();
        let connection = &mut self.connections[index as usize];
        // Found late by the generator itself, whether or not the server lets it leave now.
        if self.window.holds(due_ns) {
            self.tally.lag.saturating_record(self.now_ns - due_ns);
            self.tally.due += 1;
        }
        connection.owed += 1;
        Some(index)
    }

    /// Frees the connections whose reply is overdue, so that a lost message holds up no other. If
    /// it comes after all, it still counts as delivered. `freed` is called for each.
    pub(crate) fn give_up_overdue(&mut self, mut freed: impl FnMut(&mut Self, u32)) {
        let sent_before_ns = self.now_ns.saturating_sub(REPLY_TIMEOUT.as_nanos() as u64);
        for index in 0..self.connections.len() as u32 {
            let awaited = &mut self.connections[index as usize].awaited;
            if awaited.take_if(|awaited| awaited.sent_ns < sent_before_ns).is_some() {
                if matches!(self.load, Load::Closed) {
                    self.owe(index);
                }
                freed(self, index);
            }
        }
    }

    /// Sends what the connection has to send, if no send is in flight.
    pub(crate) fn pump(&mut self, index: u32, driver: &mut impl Driver) {
        let connection = &mut self.connections[index as usize];
        if connection.sending || connection.ended {
            return;
        }
        if connection.is_free() && connection.owed > 0 {
            let sequence = connection.ledger.on_send();
            let due_ns = match &self.load {
                Load::Open(schedule) => schedule.due_of(index, sequence),
                Load::Idle | Load::Closed => self.now_ns,
            };
            let header = Header { due_ns, sent_ns: self.now_ns, connection: index, sequence };
            let key = self.random.u32(..).to_ne_bytes();
            let codec = self.codec.as_deref_mut();
            connection.append_message(header, &mut self.payload, codec, key);
            self.tally.sent += u64::from(self.window.holds(due_ns));
        }
        connection.frame.append(&mut connection.control);
        if !connection.frame.is_empty() {
            connection.sending = true;
            let frame = std::mem::take(&mut connection.frame);
            driver.submit_send(connection.sock, FrameBytes::Owned(frame), 0);
        }
    }

    /// Queues a Close of our own on the connection.
    pub(crate) fn queue_close(&mut self, index: u32) {
        let key = self.random.u32(..).to_ne_bytes();
        self.connections[index as usize].queue_close(key);
    }

    /// Takes what came from the server. `Err`: it broke the protocol, and a Close is queued.
    pub(crate) fn feed(&mut self, index: u32, mut input: &mut [u8]) {
        let measured = self.window.holds(self.now_ns);
        self.tally.wire_bytes += if measured { input.len() as u64 } else { 0 };
        while !input.is_empty() && !self.connections[index as usize].ended {
            let decoder = &mut self.connections[index as usize].decoder;
            let decoded = match decoder.handle(input, &LIMITS) {
                Ok(decoded) => decoded,
                Err(error) => {
                    self.lose(index, &format_args!("the server broke the protocol: {error}"));
                    self.queue_close(index);
                    return;
                }
            };
            let Decoded { consumed, event } = decoded;
            match event {
                None | Some(Event::Pong(_)) => {}
                Some(Event::Message(message)) if self.protocol == Protocol::Centrifuge => {
                    centrifuge::lines(&message.payload).for_each(|line| self.on_line(index, line));
                }
                Some(Event::Message(message)) => {
                    let payload = match &mut self.codec {
                        Some(codec) if message.compressed => codec.inflate(&message),
                        _ => Some(&*message.payload),
                    };
                    let payload = payload.unwrap_or_default();
                    self.tally.payload_bytes += if measured { payload.len() as u64 } else { 0 };
                    let header = Header::read(payload)
                        .filter(|_| payload[HEADER_LEN..] == self.payload[HEADER_LEN..]);
                    self.on_message(index, header);
                }
                Some(Event::Ping(payload)) => {
                    self.tally.pings += 1;
                    let key = self.random.u32(..).to_ne_bytes();
                    self.connections[index as usize].queue_pong(&payload, key);
                }
                Some(Event::Close(body)) => {
                    let code = body.as_ref().map_or(1005, |(code, _)| code.get());
                    self.lose(index, &format_args!("the server sent Close {code}"));
                    self.queue_close(index);
                }
            }
            input = &mut input[consumed..];
        }
    }

    /// The connection is over: nothing is sent or counted any more.
    pub(crate) fn end(&mut self, index: u32, cause: &dyn Display) {
        self.lose(index, cause);
        let connection = &mut self.connections[index as usize];
        if !connection.ended {
            connection.ended = true;
            self.open_count -= 1;
        }
    }

    /// Counts the connection as lost, unless a Close has been queued: then its end is expected.
    fn lose(&mut self, index: u32, cause: &dyn Display) {
        let connection = &self.connections[index as usize];
        if !connection.close_queued && !connection.ended {
            *self.tally.lost_connections.entry(cause.to_string()).or_default() += 1;
        }
    }

    /// A line of a server of the Centrifuge protocol, to which nothing is sent but answers.
    fn on_line(&mut self, index: u32, line: &[u8]) {
        match Line::read(line) {
            Line::Ping => {
                self.tally.pings += 1;
                let key = self.random.u32(..).to_ne_bytes();
                self.connections[index as usize].queue_text(centrifuge::PONG, key);
            }
            Line::Unsubscribed(code) => {
                self.lose(index, &format_args!("the server unsubscribed with {code}"));
                self.queue_close(index);
            }
            // What others publish, and who comes and goes.
            Line::Publication(_) | Line::Other => {}
            Line::Done(_) | Line::Refused { .. } | Line::Malformed => self.tally.unknown += 1,
        }
    }

    /// A message came back; `None`: it is none of ours.
    fn on_message(&mut self, index: u32, header: Option<Header>) {
        let connection = &mut self.connections[index as usize];
        let Some(header) = header.filter(|header| header.connection == index) else {
            self.tally.unknown += 1;
            return;
        };
        match connection.ledger.on_arrival(header.sequence) {
            Arrival::InOrder => {}
            Arrival::Reordered => self.tally.reordered += 1,
            Arrival::Duplicate => {
                self.tally.duplicated += 1;
                return;
            }
            Arrival::Unknown => {
                self.tally.unknown += 1;
                return;
            }
            Arrival::TooOld => {
                self.tally.too_old += 1;
                return;
            }
        }
        self.tally.received_in_window += u64::from(self.window.holds(self.now_ns));
        if self.window.holds(header.due_ns) {
            self.tally.delivered += 1;
            // A server that answers changed times is its own fault, and no reason to stop.
            let latency = self.now_ns.saturating_sub(header.due_ns);
            self.tally.latency.saturating_record(latency);
            let latency_raw = self.now_ns.saturating_sub(header.sent_ns);
            self.tally.latency_raw.saturating_record(latency_raw);
        }
        if connection.awaited.is_some_and(|awaited| awaited.sequence == header.sequence) {
            connection.awaited = None;
            if matches!(self.load, Load::Closed) {
                self.owe(index);
            }
        }
    }

    /// Closed loop: the connection's next message is due now.
    fn owe(&mut self, index: u32) {
        if self.now_ns < self.window.end_ns {
            self.tally.due += u64::from(self.window.holds(self.now_ns));
            self.connections[index as usize].owed += 1;
        }
    }
}

/// From sending a message to giving its reply up.
pub(crate) const REPLY_TIMEOUT: Duration = Duration::from_secs(2);

/// Whatever the server sends: a message is judged when it is whole.
const LIMITS: DecodeLimits =
    DecodeLimits { message_size: tidegate::limits::MESSAGE_SIZE_MAX, fragments: u32::MAX };
