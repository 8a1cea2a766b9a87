//! One upgraded connection: decode state, outbox, keepalive and how it closes.
//!
//! Values in, values out: bytes and the time come in, events, owed frames and deadlines go out.
//! Nothing here knows a socket, a channel or a clock. The shard owns the order of things: it feeds
//! [`Session::handle`], acts on the event, and sends what [`Outbox::take_send`] gives.
//!
//! ```text
//! Open ──peer's Close, or its fault► Closing (our Close queued) ──sent──► AwaitEnd ──► gone
//!   ├──close_after_outbox(code) ───► Closing (our Close behind all that waits)
//!   └──close(code): rest dropped ──► Closing
//! ```

mod keepalive;
mod outbox;

use std::time::Duration;

pub use keepalive::{Keepalive, KeepaliveStep, KeepaliveTimes};
pub use outbox::{Dropped, Outbox, OutboxFull};

use crate::limits;
use crate::ws::{CloseCode, DecodeLimits, Decoded, Decoder, ProtocolError, Role, encode};

/// Milliseconds on the shard's own clock; the shard reads it once a turn.
pub type Millis = u64;

/// How far a connection is on its way out.
#[derive(Debug)]
enum State {
    /// Messages flow. Keepalive says when a ping is due or a pong is late.
    Open(Keepalive),
    /// Our Close is queued or in flight. What the peer sends is discarded.
    Closing(Box<Exit>),
    /// Our Close was sent and the write side shut: only the peer's end is missing.
    AwaitEnd(Box<Exit>),
}

/// What is known of a connection that closes. Boxed: those that are open do not pay for it.
#[derive(Debug)]
struct Exit {
    /// When it is given up.
    deadline: Millis,
    /// The code it will be counted under: ours, `None` if the peer ended without a Close.
    code: Option<u16>,
    /// Bytes discarded since our Close.
    discarded_len: u32,
}

/// Decode state, outbox, keepalive and close state of one connection.
///
/// In the order of the declaration: what a delivery touches comes first, for the shard puts a
/// border of cache lines behind the outbox.
#[derive(Debug)]
#[repr(C)]
pub struct Session {
    /// What waits to be sent.
    pub outbox: Outbox,
    state: State,
    decoder: Decoder,
}

impl Session {
    /// A connection that has just been upgraded. `deflate`: with permessage-deflate.
    pub fn new(keepalive: Keepalive, deflate: bool) -> Self {
        let new_decoder = if deflate { Decoder::with_deflate } else { Decoder::new };
        Self {
            outbox: Outbox::default(),
            state: State::Open(keepalive),
            decoder: new_decoder(Role::Server),
        }
    }

    /// Takes bytes until one event is complete or the input ends. Call while [`Session::is_open`].
    ///
    /// # Errors
    /// The peer broke RFC 6455; the caller closes with the error's code.
    pub fn handle<'a>(
        &mut self,
        input: &'a mut [u8],
        limits: &DecodeLimits,
    ) -> Result<Decoded<'a>, ProtocolError> {
        debug_assert!(self.is_open(), "bytes after the Close are discarded, not decoded");
        self.decoder.handle(input, limits)
    }

    /// Queues our Close and drops whatever waits before it; the frame in flight is finished.
    /// Returns the bytes dropped. Does nothing when a Close is queued already.
    ///
    /// For slow consumers, whose outbox is what must go. Only when the 101 has left, and where
    /// every waiting item ends with a frame: a large reply whose header is in flight would be cut.
    pub fn close(&mut self, code: Option<CloseCode>, reason: &str, now: Millis) -> usize {
        if !self.is_open() {
            return 0;
        }
        let dropped = self.outbox.drop_waiting();
        self.queue_close(code, reason, now, Duration::from_secs(limits::CLOSE_TIMEOUT_S));
        dropped
    }

    /// Queues our Close behind everything that waits: nothing promised is lost, and what the peer
    /// sent before its Close or its fault is answered (RFC 6455 sections 5.5.1 and 7.1.5). Does
    /// nothing when a Close is queued already.
    pub fn close_after_outbox(&mut self, code: Option<CloseCode>, reason: &str, now: Millis) {
        if self.is_open() {
            let grace = Duration::from_secs(limits::DRAIN_FLUSH_S);
            self.queue_close(code, reason, now, grace);
        }
    }

    /// Notes that everything queued was sent. True if that was our Close: the caller shuts the
    /// write side.
    pub fn on_outbox_sent(&mut self, now: Millis) -> bool {
        let State::Closing(exit) = &mut self.state else { return false };
        let deadline = now + limits::CLOSE_TIMEOUT_S * 1000;
        self.state = State::AwaitEnd(Box::new(Exit { deadline, ..**exit }));
        true
    }

    /// The peer finished sending. If no Close was exchanged, the connection ends once its outbox is
    /// sent or the close deadline is over.
    pub fn on_peer_end(&mut self, now: Millis) {
        if self.is_open() {
            self.begin_close(None, now + limits::CLOSE_TIMEOUT_S * 1000);
        }
    }

    /// Counts bytes received after our Close. True when the peer has sent more than we discard
    /// patiently: the connection is reset.
    #[must_use]
    pub fn discard(&mut self, len: usize) -> bool {
        let (State::Closing(exit) | State::AwaitEnd(exit)) = &mut self.state else {
            unreachable!("what an open connection receives is decoded")
        };
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        exit.discarded_len = exit.discarded_len.saturating_add(len);
        exit.discarded_len as usize > limits::CLOSE_DISCARD_MAX
    }

    /// Whether messages still flow.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// When a ping is due or a pong is late; `None` once the connection closes.
    pub fn keepalive_mut(&mut self) -> Option<&mut Keepalive> {
        match &mut self.state {
            State::Open(keepalive) => Some(keepalive),
            State::Closing(_) | State::AwaitEnd(_) => None,
        }
    }

    /// When the next ping is due or a deadline runs out, on the shard's clock.
    pub fn next_deadline(&self) -> Millis {
        match &self.state {
            State::Open(keepalive) => keepalive.next_deadline(),
            State::Closing(exit) | State::AwaitEnd(exit) => exit.deadline,
        }
    }

    /// Whether the close deadline is over: the connection is reset.
    pub fn is_close_overdue(&self, now: Millis) -> bool {
        self.exit().is_some_and(|exit| now >= exit.deadline)
    }

    /// The code for the statistics: ours or the peer's, `None` until a Close frame was sent or
    /// received.
    pub fn close_code(&self) -> Option<u16> {
        self.exit()?.code
    }

    fn queue_close(&mut self, code: Option<CloseCode>, reason: &str, now: Millis, wait: Duration) {
        let frame = self.outbox.tail_mut(Vec::new);
        let before = frame.len();
        encode::append_close(frame, code, reason);
        let added = frame.len() - before;
        self.outbox.note_added(added);
        // 1005 stands for a Close without a code (RFC 6455 section 7.1.5).
        let counted_as = code.map_or(1005, CloseCode::get);
        self.begin_close(Some(counted_as), now + wait.as_millis() as u64);
    }

    fn begin_close(&mut self, code: Option<u16>, deadline: Millis) {
        self.state = State::Closing(Box::new(Exit { deadline, code, discarded_len: 0 }));
    }

    fn exit(&self) -> Option<&Exit> {
        match &self.state {
            State::Open(_) => None,
            State::Closing(exit) | State::AwaitEnd(exit) => Some(exit),
        }
    }
}

#[cfg(test)]
mod tests;
