//! permessage-deflate.

use super::{cuttings, pieces};
use crate::ws::{
    DeflateSide, Deflater, Inflater, MessageKind, ProtocolError, inflate_message, utf8,
};

/// Compressed and not: what is inflated does not depend on how it was cut and stays within the
/// limit, and what is deflated inflates to itself.
pub fn deflate(data: &[u8]) {
    let cuttings = cuttings(data);
    for context_takeover in [false, true] {
        let whole = inflate(data, &cuttings[0], context_takeover);
        for cuts in &cuttings[1..] {
            assert_eq!(inflate(data, cuts, context_takeover), whole, "cut at {cuts:?}");
        }
        check_text(data, context_takeover, &whole);
        for (cuts, window_bits) in cuttings[2..].iter().zip([9, 15]) {
            check_round_trip(data, cuts, DeflateSide { window_bits, context_takeover });
        }
    }
}

fn inflate(data: &[u8], cuts: &[usize], takeover: bool) -> Result<Vec<u8>, ProtocolError> {
    let mut inflater = Inflater::new(takeover);
    let mut out = Vec::new();
    let mut result = Ok(());
    for piece in pieces(data, cuts) {
        result = result.and_then(|()| inflater.inflate_piece(piece, &mut out, LIMIT));
    }
    let result = result.and_then(|()| inflater.finish_message(&mut out, LIMIT));
    assert!(out.len() <= LIMIT + 1, "one byte past the limit tells that it is passed");
    result.map(|()| {
        assert!(out.len() <= LIMIT);
        out
    })
}

/// As text it is the same, or refused because it is none.
fn check_text(data: &[u8], takeover: bool, binary: &Result<Vec<u8>, ProtocolError>) {
    let mut out = Vec::new();
    let mut inflater = Inflater::new(takeover);
    let text = inflate_message(&mut inflater, MessageKind::Text, data, LIMIT, &mut out);
    match (text, binary) {
        (Ok(()), Ok(binary)) => {
            assert_eq!(&out, binary);
            assert!(str::from_utf8(&out).is_ok());
        }
        (Err(ProtocolError::TextNotUtf8), Ok(binary)) => assert!(str::from_utf8(binary).is_err()),
        (text, binary) => assert_eq!(text.err(), binary.as_ref().err().copied()),
    }
    let checked = utf8::check(data).and_then(utf8::check_end);
    assert_eq!(checked.is_ok(), str::from_utf8(data).is_ok());
}

/// The data as one message in pieces, and its pieces as messages of their own.
fn check_round_trip(data: &[u8], cuts: &[usize], side: DeflateSide) {
    let mut deflater = Deflater::new(side, 1);
    let mut inflater = Inflater::new(side.context_takeover);
    let mut wire = Vec::new();
    pieces(data, cuts).for_each(|piece| deflater.deflate_piece(piece, &mut wire));
    deflater.finish_message(&mut wire);
    let mut back = Vec::new();
    inflate_message(&mut inflater, MessageKind::Binary, &wire, data.len(), &mut back)
        .expect("our own compressor made it");
    assert_eq!(back, data);
    // More say nothing new and take long.
    for piece in pieces(data, cuts).take(8) {
        wire.clear();
        back.clear();
        deflater.deflate_message(piece, &mut wire);
        inflate_message(&mut inflater, MessageKind::Binary, &wire, piece.len(), &mut back)
            .expect("our own compressor made it");
        assert_eq!(back, piece);
    }
}

/// Less than what a few hundred bytes inflate to.
const LIMIT: usize = 4_096;
