//! One connection of a generator: what it owes, what it awaits, and the frames it builds.

use tidegate::ring::Sock;
use tidegate::ws::{CloseCode, Decoder, MessageKind, Opcode, Role, encode};

use crate::compression::Codec;
use crate::ledger::Ledger;
use crate::payload::Header;

/// State of one connection. Its sockets' operations belong to the generator.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) sock: Sock,
    pub(crate) decoder: Decoder,
    pub(crate) ledger: Ledger,
    /// Room for the next frame; empty while the ring has it.
    pub(crate) frame: Vec<u8>,
    /// Answers to pings, and Close, to go out with the next send.
    pub(crate) control: Vec<u8>,
    /// Bytes of the send in flight that earlier, short sends took already.
    pub(crate) sent_len: usize,
    /// Messages due and not sent.
    pub(crate) owed: u32,
    /// The message that is out and not back, until it is given up.
    pub(crate) awaited: Option<Awaited>,
    /// A send is in flight: the ring has `frame`.
    pub(crate) sending: bool,
    /// A receive is armed.
    pub(crate) recv_armed: bool,
    /// A Close was queued, ours or the answer to the peer's: no message follows.
    pub(crate) close_queued: bool,
    /// The peer is gone: nothing is sent or counted any more.
    pub(crate) ended: bool,
    /// The driver has closed the socket.
    pub(crate) retired: bool,
}

/// A message whose reply is awaited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Awaited {
    /// Its number on the connection.
    pub(crate) sequence: u32,
    /// When it was sent.
    pub(crate) sent_ns: u64,
}

impl Connection {
    /// A connection that has just been upgraded, `compressed` or not.
    pub(crate) fn new(sock: Sock, compressed: bool) -> Self {
        let new_decoder = if compressed { Decoder::with_deflate } else { Decoder::new };
        Self {
            sock,
            decoder: new_decoder(Role::Client),
            ledger: Ledger::default(),
            frame: Vec::new(),
            control: Vec::new(),
            sent_len: 0,
            owed: 0,
            awaited: None,
            sending: false,
            recv_armed: false,
            close_queued: false,
            ended: false,
            retired: false,
        }
    }

    /// Whether the next message could leave now.
    pub(crate) fn is_free(&self) -> bool {
        !self.sending && self.awaited.is_none() && !self.close_queued && !self.ended
    }

    /// Builds the message `header` describes; its payload is `payload` with that header at its
    /// head. Allocates only while `frame` grows to its size.
    pub(crate) fn append_message(
        &mut self,
        header: Header,
        payload: &mut [u8],
        codec: Option<&mut Codec>,
        key: [u8; 4],
    ) {
        debug_assert!(self.is_free() && self.owed > 0);
        header.write(payload);
        self.owed -= 1;
        self.awaited = Some(Awaited { sequence: header.sequence, sent_ns: header.sent_ns });
        let (frame, kind) = (&mut self.frame, MessageKind::Binary);
        match codec {
            None => encode::append_message_masked(frame, kind, payload, key),
            Some(codec) => {
                let deflated = codec.deflate(payload);
                encode::append_compressed_message_masked(frame, kind, deflated, key);
            }
        }
    }

    /// Queues the answer to a ping.
    pub(crate) fn queue_pong(&mut self, payload: &[u8], key: [u8; 4]) {
        if !self.close_queued {
            encode::append_masked(&mut self.control, true, Opcode::Pong, payload, key);
        }
    }

    /// Queues a text message besides those that are owed.
    pub(crate) fn queue_text(&mut self, text: &[u8], key: [u8; 4]) {
        if !self.close_queued {
            encode::append_message_masked(&mut self.control, MessageKind::Text, text, key);
        }
    }

    /// Queues a Close, once. What is owed will not be sent.
    pub(crate) fn queue_close(&mut self, key: [u8; 4]) {
        if !self.close_queued {
            self.close_queued = true;
            encode::append_close_masked(&mut self.control, Some(CloseCode::NORMAL), "", key);
        }
    }
}
