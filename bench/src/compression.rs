//! permessage-deflate on the generator's side (RFC 7692), with `--compression`.
//!
//! Each message is compressed by itself, in both directions: so the connections of a thread share
//! one [`Codec`], and a hundred thousand of them cost no more than one.

use std::fmt::Write;

use serde::Serialize;
use tidegate::ws::handshake::DeflateOffer;
use tidegate::ws::{DeflateSide, Deflater, Inflater, Message, inflate_message};

use crate::cli::MAX_SIZE;
use crate::tally::Tally;

/// What is offered. A server that does not accept it fails the connection, for its figures would
/// be of something else.
pub(crate) const OFFER: DeflateOffer = DeflateOffer {
    server_window_bits: 15,
    client_window_bits: None,
    server_no_context_takeover: true,
    client_no_context_takeover: true,
};

/// Compresses and inflates the messages of one thread.
#[derive(Debug)]
pub(crate) struct Codec {
    deflater: Deflater,
    inflater: Inflater,
    /// The message that was compressed or inflated last.
    bytes: Vec<u8>,
}

impl Codec {
    /// Allocates about 400 KiB.
    pub(crate) fn new() -> Self {
        let side = DeflateSide { window_bits: 15, context_takeover: false };
        let deflater = Deflater::new(side, LEVEL);
        Self { deflater, inflater: Inflater::new(false), bytes: Vec::new() }
    }

    /// The compressed form of a message.
    pub(crate) fn deflate(&mut self, payload: &[u8]) -> &[u8] {
        self.bytes.clear();
        self.deflater.deflate_message(payload, &mut self.bytes);
        &self.bytes
    }

    /// What a compressed message says; `None` if it is corrupt or longer than any of ours.
    pub(crate) fn inflate(&mut self, message: &Message<'_>) -> Option<&[u8]> {
        self.bytes.clear();
        let Message { kind, payload, .. } = message;
        if inflate_message(&mut self.inflater, *kind, payload, MAX_SIZE, &mut self.bytes).is_err() {
            self.inflater = Inflater::new(false);
            return None;
        }
        Some(&self.bytes)
    }
}

/// Text to compress in place of noise, which cannot be: words of a small vocabulary, none with a
/// character that JSON would escape.
pub(crate) fn prose(random: &mut fastrand::Rng, size: usize) -> Vec<u8> {
    let word = |random: &mut fastrand::Rng| -> Vec<u8> {
        (0..random.usize(2..10)).map(|_| random.u8(b'a'..=b'z')).collect()
    };
    let words: Vec<_> = (0..VOCABULARY).map(|_| word(random)).collect();
    let mut text = Vec::with_capacity(size + 16);
    while text.len() < size {
        text.extend_from_slice(&words[random.usize(..words.len())]);
        text.push(b' ');
    }
    text.truncate(size);
    text
}

/// What was received while it was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ReceivedBytes {
    /// Bytes on the wire, frame headers and control frames included.
    wire: u64,
    /// Bytes of messages, inflated.
    payload: u64,
}

impl ReceivedBytes {
    /// What `tally` counted.
    pub(crate) fn of(tally: &Tally) -> Self {
        Self { wire: tally.wire_bytes, payload: tally.payload_bytes }
    }

    /// A line for people.
    pub(crate) fn write_text(&self, out: &mut String) -> std::fmt::Result {
        let Self { wire, payload } = self;
        let percent = 100.0 * *wire as f64 / (*payload).max(1) as f64;
        writeln!(out, "received     {wire} bytes for {payload} bytes of messages, {percent:.0} %")
    }
}

/// Level the generator compresses with: the fastest, for its own time is not what is measured.
const LEVEL: u8 = 1;

/// Words a payload is made of.
const VOCABULARY: usize = 64;

#[cfg(test)]
mod tests {
    use tidegate::ws::MessageKind;

    use super::*;

    #[test]
    fn what_is_compressed_is_inflated_and_a_fault_is_that_of_one_message() {
        let mut codec = Codec::new();
        let text = prose(&mut fastrand::Rng::with_seed(1), 2_000);
        for _ in 0..3 {
            let deflated = codec.deflate(&text).to_vec();
            assert!(deflated.len() < text.len() / 2, "{} bytes", deflated.len());
            let message = |payload: &[u8]| Message {
                kind: MessageKind::Text,
                compressed: true,
                payload: payload.to_vec().into(),
            };
            assert_eq!(codec.inflate(&message(&deflated[..9])), None);
            assert_eq!(codec.inflate(&message(&deflated)), Some(&text[..]));
        }
    }
}
