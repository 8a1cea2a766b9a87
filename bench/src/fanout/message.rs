//! What a publication says about itself, as text: publishing over HTTP takes JSON, so a payload is
//! a JSON string, and it arrives as it was written.
//!
//! `"`, a header of 24 bytes in base64 (RFC 4648 section 5), filler, `"`.

use tidegate::ws::MessageKind;

use crate::compression::prose;

/// Least size of a payload: the header between its quotes.
pub(crate) const SIZE_MIN: usize = HEADER_TEXT + 2;

/// The header of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The run that published it: others may publish to the same channel.
    pub(super) run: u32,
    /// Its place in the schedule, which tells when it was due.
    pub(super) publication: u32,
    /// The connection that published it.
    pub(super) publisher: u16,
    /// The channel it was published to.
    pub(super) channel: u16,
    /// Its number among those of this publisher on this channel, from 0.
    pub(super) sequence: u32,
    /// When it was sent, in nanoseconds since the run's start.
    pub(super) sent_ns: u64,
}

/// A whole payload: what changes from one to the next is its header.
#[derive(Clone, Debug)]
pub(super) struct Payload {
    text: Vec<u8>,
}

impl Payload {
    /// A payload of `size` bytes, at least [`SIZE_MIN`], filled with noise or with prose.
    pub(super) fn new(size: usize, compressible: bool) -> Self {
        let mut random = fastrand::Rng::new();
        let mut text: Vec<u8> = if compressible {
            prose(&mut random, size)
        } else {
            (0..size).map(|_| ALPHABET[usize::from(random.u8(..64))]).collect()
        };
        text[0] = b'"';
        text[size - 1] = b'"';
        Self { text }
    }

    /// Bytes of a payload.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// The payload with `header` in its place.
    pub(super) fn with(&mut self, header: &Header) -> &[u8] {
        self.text[1..=HEADER_TEXT].copy_from_slice(&header.encode());
        &self.text
    }

    /// The header of a message that came; `None`: it is none of ours, or was changed.
    pub(super) fn read(&self, kind: MessageKind, message: &[u8]) -> Option<Header> {
        let filler = 1 + HEADER_TEXT;
        if kind != MessageKind::Text
            || message.len() != self.text.len()
            || message[0] != b'"'
            || message[filler..] != self.text[filler..]
        {
            return None;
        }
        Header::decode(message[1..filler].try_into().expect("the length was checked"))
    }
}

impl Header {
    fn encode(&self) -> [u8; HEADER_TEXT] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&self.run.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.publication.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.publisher.to_be_bytes());
        bytes[10..12].copy_from_slice(&self.channel.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.sent_ns.to_be_bytes());
        let mut text = [0; HEADER_TEXT];
        for (four, three) in text.chunks_exact_mut(4).zip(bytes.chunks_exact(3)) {
            let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
            for (place, letter) in (0..4).zip(four) {
                *letter = ALPHABET[(bits >> (18 - 6 * place)) as usize & 63];
            }
        }
        text
    }

    fn decode(text: &[u8; HEADER_TEXT]) -> Option<Self> {
        let mut bytes = [0; HEADER_BYTES];
        let mut seen = 0;
        for (three, four) in bytes.chunks_exact_mut(3).zip(text.chunks_exact(4)) {
            let values = [0, 1, 2, 3].map(|place| VALUES[usize::from(four[place])]);
            // Letters outside of the alphabet set the top bits.
            seen |= values[0] | values[1] | values[2] | values[3];
            let bits = values.iter().fold(0, |bits, value| bits << 6 | u32::from(value & 63));
            three.copy_from_slice(&bits.to_be_bytes()[1..]);
        }
        if seen > 63 {
            return None;
        }
        let (run, rest) = bytes.split_first_chunk()?;
        let (publication, rest) = rest.split_first_chunk()?;
        let (publisher, rest) = rest.split_first_chunk()?;
        let (channel, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        Some(Self {
            run: u32::from_be_bytes(*run),
            publication: u32::from_be_bytes(*publication),
            publisher: u16::from_be_bytes(*publisher),
            channel: u16::from_be_bytes(*channel),
            sequence: u32::from_be_bytes(*sequence),
            sent_ns: u64::from_be_bytes(*rest.first_chunk()?),
        })
    }
}

/// Bytes of a header, a multiple of three.
const HEADER_BYTES: usize = 24;

/// The same as text.
const HEADER_TEXT: usize = HEADER_BYTES / 3 * 4;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What each letter stands for; 255: nothing.
const VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut value = 0;
    while value < ALPHABET.len() {
        values[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        run: 0xDEAD_BEEF,
        publication: 7,
        publisher: u16::MAX,
        channel: 1,
        sequence: 0x0102_0304,
        sent_ns: u64::MAX - 1,
    };

    #[test]
    fn what_is_written_is_read() {
        for size in [SIZE_MIN, SIZE_MIN + 1, 1000] {
            let mut payload = Payload::new(size, size % 2 == 0);
            let text = payload.with(&HEADER).to_vec();
            assert_eq!(text.len(), size);
            let json: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
            assert!(json.is_string());
            assert_eq!(payload.read(MessageKind::Text, &text), Some(HEADER));
        }
    }

    #[test]
    fn what_is_not_ours_is_not_read() {
        let mut payload = Payload::new(40, false);
        let text = payload.with(&HEADER).to_vec();
        assert_eq!(payload.read(MessageKind::Binary, &text), None);
        assert_eq!(payload.read(MessageKind::Text, &text[..39]), None);
        assert_eq!(payload.read(MessageKind::Text, b""), None);
        for place in [0, 33, 38, 39] {
            let mut changed = text.clone();
            changed[place] ^= 1;
            assert_eq!(payload.read(MessageKind::Text, &changed), None, "{place}");
        }
        let mut foreign = text;
        foreign[5] = b'!';
        assert_eq!(payload.read(MessageKind::Text, &foreign), None);
    }
}
