//! The decoder against a stream in pieces of every kind, and what it holds meanwhile. The rules of
//! the RFC by name are rows of `tests/rules/frames.rs`.

use proptest::prelude::*;

use super::*;
use crate::ws::encode;

pub(in crate::ws) const LIMITS: DecodeLimits = DecodeLimits { message_size: 100_000, fragments: 8 };

pub(in crate::ws) const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// Events that outlive the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ws) enum Said {
    Message(MessageKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(CloseCode, String)>),
}

impl From<Event<'_>> for Said {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message(message) => Said::Message(message.kind, message.payload.into_owned()),
            Event::Ping(payload) => Said::Ping(payload.into_owned()),
            Event::Pong(payload) => Said::Pong(payload.into_owned()),
            Event::Close(body) => {
                Said::Close(body.map(|(code, reason)| (code, reason.into_owned())))
            }
        }
    }
}

pub(in crate::ws) type Outcome = (Vec<Said>, Option<ProtocolError>);

/// What a stream says when it comes in pieces that end at `cuts`.
pub(in crate::ws) fn decode(
    decoder: &mut Decoder,
    stream: &[u8],
    cuts: &[usize],
    limits: &DecodeLimits,
) -> Outcome {
    let mut said = Vec::new();
    let mut start = 0;
    for &end in cuts.iter().chain([&stream.len()]) {
        let mut piece = stream[start..end].to_vec();
        let mut rest = &mut piece[..];
        loop {
            match decoder.handle(rest, limits) {
                Ok(decoded) => {
                    let consumed = decoded.consumed;
                    match decoded.event {
                        Some(event) => said.push(event.into()),
                        None => {
                            assert_eq!(consumed, rest.len());
                            break;
                        }
                    }
                    rest = &mut rest[consumed..];
                }
                Err(fault) => return (said, Some(fault)),
            }
        }
        start = end;
    }
    (said, None)
}

pub(in crate::ws) fn decode_whole(role: Role, stream: &[u8]) -> Outcome {
    decode(&mut Decoder::new(role), stream, &[], &LIMITS)
}

fn decode_bytewise(role: Role, stream: &[u8]) -> Outcome {
    let cuts: Vec<usize> = (0..stream.len()).collect();
    decode(&mut Decoder::new(role), stream, &cuts, &LIMITS)
}

pub(in crate::ws) fn masked(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode::append_masked(&mut frame, fin, opcode, payload, KEY);
    frame
}

fn is_borrowed(event: &Option<Event<'_>>) -> bool {
    match event {
        Some(Event::Message(message)) => matches!(message.payload, Cow::Borrowed(_)),
        Some(Event::Ping(payload) | Event::Pong(payload)) => matches!(payload, Cow::Borrowed(_)),
        Some(Event::Close(Some((_, reason)))) => matches!(reason, Cow::Borrowed(_)),
        Some(Event::Close(None)) | None => false,
    }
}

#[test]
fn messages_of_boundary_lengths_cut_once_anywhere_near_the_ends() {
    for len in [0, 1, 125, 126, 127, 65_535, 65_536] {
        for role in [Role::Server, Role::Client] {
            for kind in [MessageKind::Text, MessageKind::Binary] {
                let payload: Vec<u8> = (0..len).map(|index| (index % 101) as u8).collect();
                let mut stream = Vec::new();
                match role {
                    Role::Server => {
                        encode::append_message_masked(&mut stream, kind, &payload, KEY);
                    }
                    Role::Client => encode::append_message(&mut stream, kind, &payload),
                }
                let expected = (vec![Said::Message(kind, payload)], None);
                let near_start = 0..stream.len().min(80);
                let near_end = stream.len().saturating_sub(40)..=stream.len();
                for cut in near_start.chain(near_end) {
                    let mut decoder = Decoder::new(role);
                    let outcome = decode(&mut decoder, &stream, &[cut], &LIMITS);
                    assert!(outcome == expected, "length {len} cut at {cut}");
                    assert_eq!(decoder.held_bytes(), 0);
                }
            }
        }
    }
}

#[test]
fn a_frame_that_lies_whole_is_lent_and_a_split_one_given_away() {
    let frames = [
        masked(true, Opcode::Text, "tschüß".as_bytes()),
        masked(true, Opcode::Binary, &[7; 300]),
        masked(true, Opcode::Ping, b"ping"),
        masked(true, Opcode::Pong, b"pong"),
        masked(true, Opcode::Close, b"\x03\xE8bye"),
    ];
    for frame in frames {
        let mut input = frame.clone();
        let mut decoder = Decoder::new(Role::Server);
        let decoded = decoder.handle(&mut input, &LIMITS).expect("a good frame");
        assert!(is_borrowed(&decoded.event));
        assert_eq!(decoded.consumed, frame.len());

        for cut in 1..frame.len() {
            let mut left = frame[..cut].to_vec();
            let mut right = frame[cut..].to_vec();
            let mut decoder = Decoder::new(Role::Server);
            let decoded = decoder.handle(&mut left, &LIMITS).expect("a good frame");
            assert_eq!((decoded.consumed, decoded.event), (cut, None));
            let decoded = decoder.handle(&mut right, &LIMITS).expect("a good frame");
            // A header alone in front does not make the payload less whole.
            let header_len = if frame.len() > 200 { 8 } else { 6 };
            assert_eq!(is_borrowed(&decoded.event), cut <= header_len, "cut {cut}");
        }
    }
}

#[test]
fn control_frames_are_taken_between_fragments_and_split_anywhere() {
    let euro = "€".as_bytes();
    let stream = [
        masked(false, Opcode::Text, &euro[..1]),
        masked(true, Opcode::Ping, b"one"),
        masked(false, Opcode::Continuation, &euro[1..2]),
        masked(true, Opcode::Pong, b""),
        masked(true, Opcode::Ping, &[0xFF; 125]),
        masked(true, Opcode::Continuation, &euro[2..]),
        masked(true, Opcode::Close, &[3, 232]),
    ]
    .concat();
    let said = vec![
        Said::Ping(b"one".to_vec()),
        Said::Pong(Vec::new()),
        Said::Ping(vec![0xFF; 125]),
        Said::Message(MessageKind::Text, euro.to_vec()),
        Said::Close(Some((CloseCode::NORMAL, String::new()))),
    ];
    let expected = (said, None);
    assert_eq!(decode_whole(Role::Server, &stream), expected);
    assert_eq!(decode_bytewise(Role::Server, &stream), expected);
    for cut in 0..stream.len() {
        for second in [cut, cut + 1, cut + 40] {
            let cuts = [cut, second.min(stream.len())];
            let outcome = decode(&mut Decoder::new(Role::Server), &stream, &cuts, &LIMITS);
            assert_eq!(outcome, expected, "cuts {cuts:?}");
        }
    }
}

#[test]
fn size_is_decided_from_the_declared_sum_before_memory_is_taken() {
    let declare = |first: u8, len: u64| {
        let mut wire = vec![first, 0xFF];
        wire.extend_from_slice(&len.to_be_bytes());
        wire.extend_from_slice(&KEY);
        wire
    };
    let cases = [
        (declare(0x82, 100_000), None),
        (declare(0x82, 100_001), Some(ProtocolError::MessageTooBig)),
        (declare(0x82, (1 << 63) - 1), Some(ProtocolError::MessageTooBig)),
        (declare(0x82, 1 << 63), Some(ProtocolError::LengthTopBitSet)),
        (declare(0x82, u64::MAX), Some(ProtocolError::LengthTopBitSet)),
    ];
    for (wire, fault) in cases {
        let mut decoder = Decoder::new(Role::Server);
        assert_eq!(decode(&mut decoder, &wire, &[], &LIMITS).1, fault);
        assert_eq!(decoder.held_bytes(), 0);

        let mut decoder = Decoder::new(Role::Server);
        let first = masked(false, Opcode::Binary, b"x");
        assert_eq!(decode(&mut decoder, &first, &[], &LIMITS).1, None);
        let held = decoder.held_bytes();
        let mut wire = wire;
        wire[0] = 0x80;
        let fault = fault.or(Some(ProtocolError::MessageTooBig));
        assert_eq!(decode(&mut decoder, &wire, &[], &LIMITS).1, fault);
        assert!(decoder.held_bytes() <= held);
    }
}

#[test]
fn the_message_limit_is_inclusive() {
    let limits = DecodeLimits { message_size: 1_000, fragments: 2 };
    for (first_len, second_len, fault) in [
        (1_000, 0, None),
        (400, 600, None),
        (400, 601, Some(ProtocolError::MessageTooBig)),
        (0, 1_001, Some(ProtocolError::MessageTooBig)),
    ] {
        let stream = [
            masked(false, Opcode::Binary, &vec![1; first_len]),
            masked(true, Opcode::Continuation, &vec![1; second_len]),
        ]
        .concat();
        let outcome = decode(&mut Decoder::new(Role::Server), &stream, &[], &limits);
        assert_eq!(outcome.1, fault);
        assert_eq!(outcome.0.len(), usize::from(fault.is_none()));
    }
}

#[test]
fn heap_follows_what_arrived_not_what_was_declared() {
    let limits = DecodeLimits { message_size: 16 << 20, fragments: 8 };
    for fin in [true, false] {
        let stream = masked(fin, Opcode::Binary, &vec![5; 1 << 20]);
        let mut decoder = Decoder::new(Role::Server);
        let mut arrived = 0;
        for piece in stream.chunks(1_000) {
            assert!(decoder.held_bytes() <= 2 * arrived);
            let outcome = decode(&mut decoder, piece, &[], &limits);
            assert_eq!(outcome.1, None);
            arrived += piece.len();
            if fin && arrived < stream.len() {
                assert!(decoder.held_bytes() <= 1 << 20);
            }
        }
        if fin {
            assert_eq!(decoder.held_bytes(), 0);
        }
    }
}

#[test]
fn fragments_are_counted_empty_ones_too() {
    let more = |count| masked(false, Opcode::Continuation, b"").repeat(count);
    let start = masked(false, Opcode::Binary, b"");
    let end = masked(true, Opcode::Continuation, b"");

    let at_limit = [&start[..], &more(6), &end].concat();
    let message = Said::Message(MessageKind::Binary, Vec::new());
    let expected = (vec![message], None);
    assert_eq!(decode_whole(Role::Server, &at_limit), expected);
    // The next message counts from the start again.
    let twice = decode_whole(Role::Server, &at_limit.repeat(2));
    assert_eq!((twice.0.len(), twice.1), (2, None));

    let above = [&start[..], &more(7), &end].concat();
    let expected = (Vec::new(), Some(ProtocolError::TooManyFragments));
    assert_eq!(decode_whole(Role::Server, &above), expected);
    assert_eq!(decode_bytewise(Role::Server, &above), expected);
}

#[test]
fn faulty_text_fails_before_its_frame_is_complete() {
    let stream = masked(true, Opcode::Text, b"ok \xC0 and a long rest");
    let bad = 6 + 3;
    let mut decoder = Decoder::new(Role::Server);
    assert_eq!(decode(&mut decoder, &stream[..bad], &[], &LIMITS).1, None);
    let outcome = decode(&mut decoder, &stream[bad..=bad], &[], &LIMITS);
    assert_eq!(outcome.1, Some(ProtocolError::TextNotUtf8));
}

#[test]
fn after_close_and_after_a_fault_everything_is_ignored() {
    let ends =
        [masked(true, Opcode::Close, &[3, 232]), masked(true, Opcode::Binary, b"inside another")];
    for mut end in ends {
        let mut decoder = Decoder::new(Role::Server);
        let open = masked(false, Opcode::Binary, &[1; 500]);
        decode(&mut decoder, &open, &[], &LIMITS);
        match decoder.handle(&mut end, &LIMITS) {
            Ok(decoded) => assert!(matches!(decoded.event, Some(Event::Close(_)))),
            Err(fault) => assert_eq!(fault, ProtocolError::StartWithinMessage),
        }
        assert_eq!(decoder.held_bytes(), 0);
        let mut garbage = [0xFF; 20];
        let decoded = decoder.handle(&mut garbage, &LIMITS).expect("ignored");
        assert_eq!((decoded.consumed, decoded.event), (20, None));
    }
}

#[test]
fn every_fault_has_a_reason_that_fits_its_close_frame() {
    let codes = [
        (ProtocolError::ReservedBitSet, 1002),
        (ProtocolError::ReservedOpcode, 1002),
        (ProtocolError::ControlFragmented, 1002),
        (ProtocolError::ControlTooLong, 1002),
        (ProtocolError::FrameNotMasked, 1002),
        (ProtocolError::FrameMasked, 1002),
        (ProtocolError::LengthNotMinimal, 1002),
        (ProtocolError::LengthTopBitSet, 1002),
        (ProtocolError::ContinuationWithoutStart, 1002),
        (ProtocolError::StartWithinMessage, 1002),
        (ProtocolError::CloseCodeCut, 1002),
        (ProtocolError::CloseCodeReserved, 1002),
        (ProtocolError::CloseReasonNotUtf8, 1007),
        (ProtocolError::TextNotUtf8, 1007),
        (ProtocolError::MessageTooBig, 1009),
        (ProtocolError::TooManyFragments, 1008),
    ];
    for (fault, code) in codes {
        assert_eq!(fault.close_code().get(), code);
        let reason = fault.to_string();
        assert!(!reason.is_empty() && reason.len() <= 123 && reason.is_ascii());
    }
}

/// A frame that is good or bad in some way, of few and small kinds so that sequences make sense.
pub(in crate::ws) fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![
        4 => Just(0_u8), 4 => Just(1), 2 => Just(2), 1 => Just(8), 2 => Just(9), 1 => Just(10),
        1 => 0..16_u8,
    ];
    let text = prop_oneof![
        8 => "[aé€😀]{0,40}".prop_map(String::into_bytes),
        2 => "[aé€😀]{100,140}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..12),
        1 => Just(vec![3, 232]),
    ];
    let odd = prop_oneof![30 => Just(0_u8), 1 => Just(0x40)];
    (opcode, any::<bool>(), text, any::<[u8; 4]>(), odd).prop_map(
        |(opcode, fin, payload, key, odd)| {
            let fin = fin || opcode >= 8;
            let mut frame = Vec::new();
            encode::append_masked(&mut frame, fin, Opcode::Binary, &payload, key);
            frame[0] = (frame[0] & 0x80) | opcode | odd;
            frame
        },
    )
}

/// A text message in fragments cut anywhere, so also inside characters, with pings between them.
pub(in crate::ws) fn any_message() -> impl Strategy<Value = Vec<u8>> {
    ("[aé€😀]{0,60}", proptest::collection::vec(0.0..1.0_f64, 0..5), any::<[u8; 4]>()).prop_map(
        |(text, mut cuts, key)| {
            cuts.sort_by(f64::total_cmp);
            let mut stream = Vec::new();
            let mut start = 0;
            let mut opcode = Opcode::Text;
            for cut in cuts {
                let end = (cut * text.len() as f64) as usize;
                let part = &text.as_bytes()[start..end];
                encode::append_masked(&mut stream, false, opcode, part, key);
                let ping = &part[..part.len().min(125)];
                encode::append_masked(&mut stream, true, Opcode::Ping, ping, key);
                opcode = Opcode::Continuation;
                start = end;
            }
            encode::append_masked(&mut stream, true, opcode, &text.as_bytes()[start..], key);
            stream
        },
    )
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_events_and_the_same_error(
        frames in proptest::collection::vec(
            prop_oneof![1 => any_frame(), 2 => any_message()], 1..8),
        cuts in proptest::collection::vec(0.0..1.0_f64, 0..12),
    ) {
        let stream = frames.concat();
        let mut cuts: Vec<usize> = cuts
            .into_iter()
            .map(|cut| (cut * stream.len() as f64) as usize)
            .collect();
        cuts.sort_unstable();
        let whole = decode_whole(Role::Server, &stream);
        let pieces = decode(&mut Decoder::new(Role::Server), &stream, &cuts, &LIMITS);
        prop_assert_eq!(&pieces, &whole);
        prop_assert_eq!(&decode_bytewise(Role::Server, &stream), &whole);
    }

    #[test]
    fn messages_survive_any_fragmentation(
        frames in proptest::collection::vec(any_message(), 1..4),
    ) {
        let (said, fault) = decode_whole(Role::Server, &frames.concat());
        prop_assert_eq!(fault, None);
        let messages = said.iter().filter(|said| matches!(said, Said::Message(..))).count();
        prop_assert_eq!(messages, frames.len());
    }

    #[test]
    fn garbage_never_panics(
        stream in proptest::collection::vec(any::<u8>(), 0..200),
        client in any::<bool>(),
    ) {
        let role = if client { Role::Client } else { Role::Server };
        prop_assert_eq!(decode_whole(role, &stream), decode_bytewise(role, &stream));
    }
}
