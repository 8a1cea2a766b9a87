//! The decoder against tungstenite's, over generated streams of frames: both take the same messages
//! and refuse the same streams, but for what stands in [`EXCEPTIONS`]. And against itself: how a
//! stream is cut changes nothing.
//!
//! `TIDEGATE_DIFFERENTIAL` is the number of streams, `TIDEGATE_FUZZ_SEED` takes a failed run up
//! again.

mod streams;

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};

use streams::{LIMIT, Stream};
use tidegate::ws::{
    CloseCode, DecodeLimits, Decoder, Event, MessageKind, PieceDecoder, ProtocolError, Role, pieces,
};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message, WebSocket};

/// Where the two differ, and who is right.
const EXCEPTIONS: [(&str, &str); 4] = [
    (
        "length",
        "a length must be in its shortest form (RFC 6455 section 5.2); tungstenite takes any",
    ),
    (
        "close code",
        "a Close with a code that may not be sent is refused (section 7.4); tungstenite answers it \
         with a Close 1002 and hands that out as if it had come",
    ),
    ("1014", "1014 is registered with IANA (section 11.7) and taken; tungstenite does not know it"),
    (
        "sooner",
        "a fault is a fault as soon as its bytes are there (sections 5.2 and 8.1); tungstenite waits \
         for the rest of the frame",
    ),
];

#[test]
fn what_tungstenite_takes_and_refuses() {
    let count = number("TIDEGATE_DIFFERENTIAL").unwrap_or(100_000);
    let seed = number("TIDEGATE_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("seed {seed}");
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for index in 0..count {
        let mut random = fastrand::Rng::with_seed(seed.wrapping_add(index));
        let stream = Stream::random(&mut random);
        let cuts = stream.cuts(&mut random);
        let (ours, theirs) = (ours(&stream, &cuts), theirs(&stream, &cuts));
        let verdict = compare(&stream, &ours, &theirs).unwrap_or_else(|| {
            let wire = stream.wire.escape_ascii();
            let seed = seed.wrapping_add(index);
            panic!(
                "TIDEGATE_FUZZ_SEED={seed}: {:?} reads {wire}\nours: {ours:?}\ntheirs: {theirs:?}",
                stream.role
            );
        });
        *seen.entry(verdict).or_default() += 1;
    }
    eprintln!("differential {count}: {seen:?}");
    if count >= 100_000 {
        let verdicts = EXCEPTIONS.iter().map(|(name, _)| *name).chain(["taken", "refused"]);
        for verdict in verdicts {
            assert!(seen.contains_key(verdict), "{verdict}: never seen, the streams are too tame");
        }
    }
}

#[test]
fn cutting_changes_nothing() {
    let count = number("TIDEGATE_DIFFERENTIAL").unwrap_or(100_000);
    let seed = number("TIDEGATE_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("seed {seed}");
    for index in 0..count {
        let mut random = fastrand::Rng::with_seed(seed.wrapping_add(index));
        let stream = Stream::random(&mut random);
        let whole = ours(&stream, &[]);
        let cuts = stream.cuts(&mut random);
        let label = || format!("TIDEGATE_FUZZ_SEED={} cut at {cuts:?}", seed.wrapping_add(index));
        assert_eq!(ours(&stream, &cuts), whole, "{}", label());
        assert_eq!(by_piece(&stream, &cuts), whole, "{}, by piece", label());
    }
    eprintln!("cutting {count}: nothing changed");
}

/// What was said, and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Heard<F> {
    said: Vec<Said>,
    fault: Option<F>,
}

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Message(MessageKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

/// How the two verdicts go together; `None`: they do not.
fn compare(
    stream: &Stream,
    ours: &Heard<ProtocolError>,
    theirs: &Heard<tungstenite::Error>,
) -> Option<&'static str> {
    let same_said = ours.said == theirs.said;
    match (ours.fault, &theirs.fault) {
        (None, None) if same_said => Some("taken"),
        (Some(_), Some(_)) if same_said => Some("refused"),
        (Some(ProtocolError::LengthNotMinimal), _) if theirs.said.starts_with(&ours.said) => {
            Some("length")
        }
        // A control frame of at most 125 bytes has no other form than the shortest.
        (Some(ProtocolError::ControlTooLong), _) if next_is_control(ours, theirs) => Some("length"),
        (Some(ProtocolError::CloseCodeReserved), None) => {
            let [said @ .., Said::Close(Some((1002, reason)))] = &theirs.said[..] else {
                return None;
            };
            (said == ours.said && reason == "Protocol violation").then_some("close code")
        }
        (Some(_), None) if same_said && ends_within_a_frame(&stream.wire) => Some("sooner"),
        (None, None) => match (&ours.said[..], &theirs.said[..]) {
            (
                [said @ .., Said::Close(Some((1014, _)))],
                [same @ .., Said::Close(Some((1002, _)))],
            ) => (said == same).then_some("1014"),
            _ => None,
        },
        _ => None,
    }
}

/// Whether they have taken a control frame where we stopped.
fn next_is_control(ours: &Heard<ProtocolError>, theirs: &Heard<tungstenite::Error>) -> bool {
    theirs
        .said
        .strip_prefix(&ours.said[..])
        .is_some_and(|rest| matches!(rest, [Said::Ping(_) | Said::Pong(_) | Said::Close(_), ..]))
}

/// Whether the stream's last frame is not complete.
fn ends_within_a_frame(mut wire: &[u8]) -> bool {
    while let [_, second, rest @ ..] = wire {
        let (len, rest) = match (second & 0x7F, rest) {
            (126, [high, low, rest @ ..]) => (u64::from(u16::from_be_bytes([*high, *low])), rest),
            (127, rest) if rest.len() >= 8 => {
                let (len, rest) = rest.split_at(8);
                (u64::from_be_bytes(len.try_into().expect("eight bytes")), rest)
            }
            (126 | 127, _) => return true,
            (len, rest) => (u64::from(len), rest),
        };
        let mask_len = if second & 0x80 == 0 { 0 } else { 4 };
        let frame_len = usize::try_from(len).unwrap_or(usize::MAX).saturating_add(mask_len);
        let Some(after) = rest.get(frame_len..) else { return true };
        wire = after;
    }
    !wire.is_empty()
}

fn ours(stream: &Stream, cuts: &[usize]) -> Heard<ProtocolError> {
    let mut decoder = Decoder::new(stream.role);
    let mut heard = Heard { said: Vec::new(), fault: None };
    for mut piece in pieces_of(stream, cuts) {
        let mut rest = &mut piece[..];
        loop {
            let decoded = match decoder.handle(rest, &LIMITS) {
                Ok(decoded) => decoded,
                Err(fault) => {
                    heard.fault = Some(fault);
                    return heard;
                }
            };
            let consumed = decoded.consumed;
            let Some(event) = decoded.event else { break };
            heard.said.push(match event {
                Event::Message(message) => {
                    Said::Message(message.kind, message.payload.into_owned())
                }
                Event::Ping(payload) => Said::Ping(payload.into_owned()),
                Event::Pong(payload) => Said::Pong(payload.into_owned()),
                Event::Close(body) => Said::Close(body.map(owned)),
            });
            rest = &mut rest[consumed..];
        }
    }
    heard
}

fn by_piece(stream: &Stream, cuts: &[usize]) -> Heard<ProtocolError> {
    let mut decoder = PieceDecoder::new(stream.role);
    let mut heard = Heard { said: Vec::new(), fault: None };
    let mut open = Vec::new();
    for mut piece in pieces_of(stream, cuts) {
        let mut rest = &mut piece[..];
        loop {
            let decoded = match decoder.handle(rest, &LIMITS) {
                Ok(decoded) => decoded,
                Err(fault) => {
                    heard.fault = Some(fault);
                    return heard;
                }
            };
            let consumed = decoded.consumed;
            let Some(event) = decoded.event else { break };
            heard.said.extend(match event {
                pieces::Event::Piece(piece) => {
                    open.extend_from_slice(piece.bytes);
                    piece.ends.then(|| Said::Message(piece.kind, std::mem::take(&mut open)))
                }
                pieces::Event::Ping(payload) => Some(Said::Ping(payload.to_vec())),
                pieces::Event::Pong(payload) => Some(Said::Pong(payload.to_vec())),
                pieces::Event::Close(body) => Some(Said::Close(body.map(owned))),
            });
            rest = &mut rest[consumed..];
        }
    }
    heard
}

fn owned((code, reason): (CloseCode, std::borrow::Cow<'_, str>)) -> (u16, String) {
    (code.get(), reason.into_owned())
}

fn theirs(stream: &Stream, cuts: &[usize]) -> Heard<tungstenite::Error> {
    let wire = Wire(pieces_of(stream, cuts).collect());
    let role = match stream.role {
        Role::Server => tungstenite::protocol::Role::Server,
        Role::Client => tungstenite::protocol::Role::Client,
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(LIMIT))
        .max_frame_size(Some(LIMIT))
        .read_buffer_size(4_096);
    let mut socket = WebSocket::from_raw_socket(wire, role, Some(config));
    let mut heard = Heard { said: Vec::new(), fault: None };
    loop {
        heard.said.push(match socket.read() {
            Ok(Message::Text(text)) => Said::Message(MessageKind::Text, text.as_bytes().to_vec()),
            Ok(Message::Binary(bytes)) => Said::Message(MessageKind::Binary, bytes.to_vec()),
            Ok(Message::Ping(payload)) => Said::Ping(payload.to_vec()),
            Ok(Message::Pong(payload)) => Said::Pong(payload.to_vec()),
            Ok(Message::Close(body)) => {
                let body = body.map(|body| (body.code.into(), body.reason.as_str().to_owned()));
                heard.said.push(Said::Close(body));
                return heard;
            }
            Ok(Message::Frame(_)) => unreachable!("never read"),
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return heard;
            }
            Err(fault) => {
                heard.fault = Some(fault);
                return heard;
            }
        });
    }
}

fn pieces_of<'a>(stream: &'a Stream, cuts: &'a [usize]) -> impl Iterator<Item = Vec<u8>> + 'a {
    let begins = [0].into_iter().chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([stream.wire.len()]);
    begins.zip(ends).map(|(begin, end)| stream.wire[begin..end].to_vec())
}

/// A socket that gives one piece a read, then has no more yet; what is written to it is gone.
struct Wire(VecDeque<Vec<u8>>);

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.0.front().is_some_and(Vec::is_empty) {
            self.0.pop_front();
        }
        let piece = self.0.front_mut().ok_or(io::ErrorKind::WouldBlock)?;
        let len = piece.len().min(buffer.len());
        buffer[..len].copy_from_slice(&piece[..len]);
        piece.drain(..len);
        Ok(len)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect(variable))
}

const LIMITS: DecodeLimits = DecodeLimits { message_size: LIMIT, fragments: u32::MAX };
