//! Streams of frames, good and damaged in every way the rules name, for tests that compare.

use tidegate::ws::{Opcode, Role};

/// One direction of a connection, as `role` receives it.
pub(crate) struct Stream {
    pub(crate) role: Role,
    pub(crate) wire: Vec<u8>,
}

impl Stream {
    /// A few messages and control frames; every second stream is damaged once.
    pub(crate) fn random(random: &mut fastrand::Rng) -> Self {
        let role = if random.bool() { Role::Server } else { Role::Client };
        let mut frames = Vec::new();
        for _ in 0..random.usize(1..=4) {
            match random.u8(..8) {
                0 => frames.push(control(random)),
                1 if random.u8(..3) == 0 => frames.push(close(random)),
                _ => message(random, &mut frames),
            }
        }
        if random.bool() {
            let at = random.usize(..frames.len());
            frames[at].damage(random);
        }
        let mut wire = Vec::new();
        frames.iter().for_each(|frame| frame.append(role, random, &mut wire));
        match random.u8(..20) {
            0 => wire.truncate(random.usize(..=wire.len())),
            1 => {
                let at = random.usize(..wire.len());
                wire[at] ^= 1 << random.u8(..8);
            }
            _ => {}
        }
        Self { role, wire }
    }

    /// Where the stream is cut: sometimes nowhere, sometimes everywhere.
    pub(crate) fn cuts(&self, random: &mut fastrand::Rng) -> Vec<usize> {
        let len = self.wire.len();
        let count = match random.u8(..8) {
            0 => 0,
            1 => return (1..len.min(600)).collect(),
            _ => random.usize(1..=6),
        };
        let mut cuts: Vec<_> = (0..count).map(|_| random.usize(..=len)).collect();
        cuts.sort_unstable();
        cuts
    }
}

/// A frame that need not keep any rule.
struct Frame {
    first: u8,
    payload: Vec<u8>,
    /// Bytes the length is written in: 0 for the seven bits; `None`: the shortest form.
    len_form: Option<usize>,
    /// A length that is not the payload's.
    len: Option<u64>,
    /// The other mask bit than its role has.
    mask_flipped: bool,
}

impl Frame {
    fn new(fin: bool, opcode: Opcode, payload: Vec<u8>) -> Self {
        let first = if fin { 0x80 } else { 0 } | opcode.bits();
        Self { first, payload, len_form: None, len: None, mask_flipped: false }
    }

    fn damage(&mut self, random: &mut fastrand::Rng) {
        match random.u8(..9) {
            0 => self.first ^= 0x10 << random.u8(..3),
            1 => self.first = (self.first & 0xF0) | random.u8(..16),
            2 => self.first ^= 0x80,
            3 => self.mask_flipped = true,
            4 => self.len_form = Some([2, 8][random.usize(..2)]),
            5 => {
                let boundaries = [LIMIT as u64 + 1, 0xFFFF, 1 << 32, (1 << 63) - 1, 1 << 63];
                self.len = Some(boundaries[random.usize(..boundaries.len())]);
            }
            6 => self.payload = random_text(random, true),
            7 if !self.payload.is_empty() => {
                let at = random.usize(..self.payload.len());
                self.payload[at] = random.u8(..);
            }
            _ => self.payload.resize(random.usize(..=LIMIT + 2), b'x'),
        }
    }

    fn append(&self, role: Role, random: &mut fastrand::Rng, wire: &mut Vec<u8>) {
        let len = self.len.unwrap_or(self.payload.len() as u64);
        let form = self.len_form.unwrap_or(match len {
            0..=125 => 0,
            126..=0xFFFF => 2,
            _ => 8,
        });
        let masked = (role == Role::Server) != self.mask_flipped;
        let mask_bit = if masked { 0x80 } else { 0 };
        wire.push(self.first);
        match form {
            0 => wire.push(mask_bit | len as u8),
            2 => {
                wire.push(mask_bit | 126);
                wire.extend_from_slice(&(len as u16).to_be_bytes());
            }
            _ => {
                wire.push(mask_bit | 127);
                wire.extend_from_slice(&len.to_be_bytes());
            }
        }
        let start = wire.len();
        if masked {
            wire.extend_from_slice(&random.u32(..).to_be_bytes());
        }
        wire.extend_from_slice(&self.payload);
        if masked {
            let (key, payload) = wire[start..].split_at_mut(4);
            payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        }
    }
}

/// A text or binary message in one to four fragments, with control frames between them.
fn message(random: &mut fastrand::Rng, frames: &mut Vec<Frame>) {
    let (mut opcode, payload) = if random.u8(..3) > 0 {
        let broken = random.u8(..6) == 0;
        (Opcode::Text, random_text(random, broken))
    } else {
        let lens = [0, 1, 125, 126, 127, 300, LIMIT, LIMIT + 1];
        let len = lens[random.usize(..lens.len())];
        (Opcode::Binary, std::iter::repeat_with(|| random.u8(..)).take(len).collect())
    };
    let mut rest = &payload[..];
    for _ in 0..random.usize(..4) {
        let (part, after) = rest.split_at(random.usize(..=rest.len()));
        frames.push(Frame::new(false, opcode, part.to_vec()));
        (rest, opcode) = (after, Opcode::Continuation);
        if random.u8(..3) == 0 {
            frames.push(control(random));
        }
    }
    frames.push(Frame::new(true, opcode, rest.to_vec()));
}

fn control(random: &mut fastrand::Rng) -> Frame {
    let opcode = if random.bool() { Opcode::Ping } else { Opcode::Pong };
    let lens = [0, 1, 7, 124, 125, 126];
    // The last is one too long.
    let lens = if random.u8(..10) == 0 { &lens[..] } else { &lens[..5] };
    let len = lens[random.usize(..lens.len())];
    Frame::new(true, opcode, vec![b'p'; len])
}

/// With every code there is, and the bodies around the rules.
fn close(random: &mut fastrand::Rng) -> Frame {
    let mut payload = match random.u8(..8) {
        0 => return Frame::new(true, Opcode::Close, vec![]),
        1 => return Frame::new(true, Opcode::Close, vec![3]),
        2 => random.u16(..),
        3 => random.u16(3_000..5_000),
        _ => random.u16(995..1_020),
    }
    .to_be_bytes()
    .to_vec();
    let broken = random.u8(..6) == 0;
    let mut reason = random_text(random, broken);
    // Sometimes one byte too long.
    let reason_max = if random.u8(..10) == 0 { 124 } else { 123 };
    reason.truncate(reason_max);
    payload.extend(reason);
    Frame::new(true, Opcode::Close, payload)
}

/// Characters of every length and at their boundaries; `broken`: with something that is none.
fn random_text(random: &mut fastrand::Rng, broken: bool) -> Vec<u8> {
    const GOOD: [&str; 12] = [
        "a",
        "tide",
        "\u{7F}",
        "\u{80}",
        "\u{7FF}",
        "\u{800}",
        "€",
        "\u{D7FF}",
        "\u{E000}",
        "\u{FFFF}",
        "\u{10000}",
        "\u{10FFFF}",
    ];
    const BAD: [&[u8]; 14] = [
        b"\x80",
        b"\xBF",
        b"\xC0\x80",
        b"\xC1\xBF",
        b"\xC3",
        b"\xE0\x9F\xBF",
        b"\xE2\x82",
        b"\xED\xA0\x80",
        b"\xED\xBF\xBF",
        b"\xF0\x8F\xBF\xBF",
        b"\xF0\x9F\x98",
        b"\xF4\x90\x80\x80",
        b"\xF5\x80\x80\x80",
        b"\xFF",
    ];
    let mut text = Vec::new();
    let count_max = [2, 12, 80][random.usize(..3)];
    for _ in 0..random.usize(..count_max) {
        text.extend_from_slice(GOOD[random.usize(..GOOD.len())].as_bytes());
    }
    if broken {
        let bad = BAD[random.usize(..BAD.len())];
        let at = random.usize(..=text.len());
        text.splice(at..at, bad.iter().copied()).for_each(drop);
    }
    text
}

/// Longest message in bytes that a reader of these streams is to take.
pub(crate) const LIMIT: usize = 1_000;
