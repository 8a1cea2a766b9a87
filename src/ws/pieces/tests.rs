//! The decoder in pieces against its twin that gives whole messages, and what only it promises.

use proptest::prelude::*;

use super::*;
use crate::ws::decode::tests::{
    LIMITS, Outcome, Said, any_frame, any_message, decode_whole, masked,
};

/// What a stream says when it comes in pieces that end at `cuts`; pieces put together to messages.
fn assemble(role: Role, stream: &[u8], cuts: &[usize], limits: &DecodeLimits) -> Outcome {
    let mut decoder = PieceDecoder::new(role);
    let mut said = Vec::new();
    let mut open: Option<Vec<u8>> = None;
    let mut start = 0;
    for &end in cuts.iter().chain([&stream.len()]) {
        let mut input = stream[start..end].to_vec();
        let mut rest = &mut input[..];
        loop {
            let decoded = match decoder.handle(rest, limits) {
                Ok(decoded) => decoded,
                Err(fault) => return (said, Some(fault)),
            };
            let consumed = decoded.consumed;
            match decoded.event {
                Some(Event::Piece(piece)) => {
                    assert_eq!(piece.begins, open.is_none());
                    let mut message = open.take().unwrap_or_default();
                    message.extend_from_slice(piece.bytes);
                    if piece.ends {
                        said.push(Said::Message(piece.kind, message));
                    } else {
                        open = Some(message);
                    }
                }
                Some(Event::Ping(payload)) => said.push(Said::Ping(payload.to_vec())),
                Some(Event::Pong(payload)) => said.push(Said::Pong(payload.to_vec())),
                Some(Event::Close(body)) => {
                    said.push(Said::Close(body.map(|(code, text)| (code, text.into_owned()))));
                }
                None => {
                    assert_eq!(consumed, rest.len());
                    break;
                }
            }
            rest = &mut rest[consumed..];
        }
        start = end;
    }
    (said, None)
}

fn assemble_bytewise(role: Role, stream: &[u8]) -> Outcome {
    let cuts: Vec<usize> = (0..stream.len()).collect();
    assemble(role, stream, &cuts, &LIMITS)
}

#[test]
fn a_piece_lies_at_the_end_of_what_was_consumed() {
    let frame = masked(true, Opcode::Text, b"in place");
    let mut input = [&frame[..], b"more"].concat();
    let mut decoder = PieceDecoder::new(Role::Server);
    let decoded = decoder.handle(&mut input, &LIMITS).expect("a good frame");
    let consumed = decoded.consumed;
    assert_eq!(consumed, frame.len());
    let Some(Event::Piece(piece)) = decoded.event else { panic!("a message") };
    assert_eq!((piece.kind, piece.begins, piece.ends), (MessageKind::Text, true, true));
    assert_eq!(piece.bytes, b"in place");
    assert_eq!(&input[consumed - 8..consumed], b"in place");
}

#[test]
fn the_kind_is_known_with_the_header() {
    let frame = masked(false, Opcode::Binary, b"payload");
    let mut header = frame[..frame.len() - 7].to_vec();
    let mut decoder = PieceDecoder::new(Role::Server);
    let decoded = decoder.handle(&mut header, &LIMITS).expect("a good header");
    let expected = Piece {
        kind: MessageKind::Binary,
        compressed: false,
        begins: true,
        bytes: &mut [],
        ends: false,
    };
    assert_eq!(decoded.event, Some(Event::Piece(expected)));
}

#[test]
fn the_limits_count_each_message_from_its_beginning() {
    let limits = DecodeLimits { message_size: 10, fragments: 2 };
    let message = [
        masked(false, Opcode::Binary, &[1; 4]),
        masked(true, Opcode::Ping, &[2; 100]),
        masked(true, Opcode::Continuation, &[3; 6]),
    ]
    .concat();
    let (said, fault) = assemble(Role::Server, &message.repeat(3), &[], &limits);
    assert_eq!((said.len(), fault), (6, None));
    let tight = DecodeLimits { message_size: 9, ..limits };
    let (said, fault) = assemble(Role::Server, &message, &[], &tight);
    assert_eq!((said.len(), fault), (1, Some(ProtocolError::MessageTooBig)));
    let few = DecodeLimits { fragments: 1, ..limits };
    let (_, fault) = assemble(Role::Server, &message, &[], &few);
    assert_eq!(fault, Some(ProtocolError::TooManyFragments));
}

#[test]
fn faulty_text_fails_in_the_piece_that_holds_it() {
    let frame = masked(true, Opcode::Text, "ok \u{20AC} \u{20AC}".as_bytes());
    for bad in 6 + 3..frame.len() {
        let mut stream = frame.clone();
        stream[bad] ^= 0xC0;
        let mut decoder = PieceDecoder::new(Role::Server);
        let mut before = stream[..bad].to_vec();
        assert!(decoder.handle(&mut before, &LIMITS).is_ok());
        let mut rest = stream[bad..].to_vec();
        let fault = decoder.handle(&mut rest, &LIMITS).map(|_| ());
        assert_eq!(fault, Err(ProtocolError::TextNotUtf8), "byte {bad}");
        let rest_len = rest.len();
        let decoded = decoder.handle(&mut rest, &LIMITS).expect("ignored");
        assert_eq!((decoded.consumed, decoded.event), (rest_len, None));
    }
}

#[test]
fn every_piece_of_a_compressed_message_says_so_and_its_text_is_not_checked() {
    let mut stream = masked(false, Opcode::Text, &[0xFF, 0xFE]);
    stream[0] |= 0x40;
    stream.extend(masked(true, Opcode::Continuation, &[0xFF]));
    let mut decoder = PieceDecoder::with_deflate(Role::Server);
    let mut rest = &mut stream[..];
    for ends in [false, true] {
        let decoded = decoder.handle(rest, &LIMITS).expect("good frames");
        let consumed = decoded.consumed;
        let Some(Event::Piece(piece)) = decoded.event else { panic!("a piece") };
        assert_eq!((piece.kind, piece.compressed), (MessageKind::Text, true));
        assert_eq!(piece.ends, ends);
        rest = &mut rest[consumed..];
    }
    let fault = PieceDecoder::new(Role::Server).handle(&mut [0xC1], &LIMITS).map(|_| ());
    assert_eq!(fault, Err(ProtocolError::ReservedBitSet));
}

proptest! {
    #[test]
    fn any_cutting_says_what_the_whole_says_to_the_other_decoder(
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
        prop_assert_eq!(&assemble(Role::Server, &stream, &[], &LIMITS), &whole);
        prop_assert_eq!(&assemble(Role::Server, &stream, &cuts, &LIMITS), &whole);
        prop_assert_eq!(&assemble_bytewise(Role::Server, &stream), &whole);
    }

    #[test]
    fn garbage_says_the_same_to_both_decoders(
        stream in proptest::collection::vec(any::<u8>(), 0..200),
        client in any::<bool>(),
    ) {
        let role = if client { Role::Client } else { Role::Server };
        let whole = decode_whole(role, &stream);
        prop_assert_eq!(&assemble(role, &stream, &[], &LIMITS), &whole);
        prop_assert_eq!(&assemble_bytewise(role, &stream), &whole);
    }
}
