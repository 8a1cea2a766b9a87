//! Rules C5 to C11: what is compressed comes back, in whatever pieces, and what is not compressed
//! properly ends in the right error. Windows are held against an inflater of the peer's size.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use proptest::prelude::*;

use super::*;
use crate::limits::DEFLATE_SPARES_MAX;
use crate::ws::{DecodeLimits, Decoder, Event, MessageKind, ProtocolError, Role, encode};

const LIMIT: usize = 1 << 20;

fn side(window_bits: u8, context_takeover: bool) -> DeflateSide {
    DeflateSide { window_bits, context_takeover }
}

fn compressed(deflater: &mut Deflater, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    deflater.deflate_message(payload, &mut out);
    out
}

fn inflated(inflater: &mut Inflater, payload: &[u8]) -> Result<Vec<u8>, ProtocolError> {
    let mut out = Vec::new();
    inflate_message(inflater, MessageKind::Binary, payload, LIMIT, &mut out).map(|()| out)
}

/// Repeats itself at every distance up to its length, and is no pattern.
fn prose(len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    let words: Vec<Vec<u8>> = (0..400)
        .map(|_| (0..random.usize(2..9)).map(|_| random.u8(b'a'..=b'z')).collect())
        .collect();
    let mut text = Vec::new();
    while text.len() < len {
        text.extend_from_slice(&words[random.usize(..words.len())]);
        text.push(b' ');
    }
    text.truncate(len);
    text
}

fn noise(len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(3);
    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
}

#[test]
fn every_window_level_and_takeover_comes_back() {
    let messages = [prose(100_000), Vec::new(), b"a".to_vec(), noise(70_000), prose(100_000)];
    for window_bits in WINDOW_BITS_MIN..=WINDOW_BITS_MAX {
        for (takeover, level) in [(false, 6), (true, 6), (true, 1), (false, 9), (true, 0)] {
            let mut deflater = Deflater::new(side(window_bits, takeover), level);
            let mut inflater = Inflater::new(takeover);
            let mut sizes = Vec::new();
            for message in &messages {
                let wire = compressed(&mut deflater, message);
                assert!(wire.len() <= wire_size_max(message.len()));
                assert!(inflated(&mut inflater, &wire).as_ref() == Ok(message));
                sizes.push(wire.len());
            }
            if level > 0 {
                assert!(sizes[0] < messages[0].len(), "prose is compressed: {sizes:?}");
            }
        }
    }
}

/// zlib-rs keeps the largest window whatever it was told, so the distances are read here.
#[test]
fn no_distance_reaches_beyond_the_window_that_was_agreed() {
    for window_bits in WINDOW_BITS_MIN..=WINDOW_BITS_MAX {
        // Two equal halves without an inner repetition: only a reach of `distance` sees it.
        for (distance, is_within) in
            [((1_usize << window_bits) - 300, true), (1 << window_bits, false)]
        {
            let half = noise(distance);
            let message = [&half[..], &half[..]].concat();
            let mut deflater = Deflater::new(side(window_bits, false), 9);
            let wire = compressed(&mut deflater, &message);
            let saved = message.len().saturating_sub(wire.len());
            assert_eq!(saved > distance / 3, is_within, "{window_bits} bits saved {saved}");
        }
    }
}

#[test]
fn c6_c8_takeover_refers_back_and_no_takeover_really_resets() {
    let message = noise(300);
    for takeover in [false, true] {
        let mut deflater = Deflater::new(side(15, takeover), 6);
        let first = compressed(&mut deflater, &message);
        // A message that is sent uncompressed in between touches neither state.
        let second = compressed(&mut deflater, &message);
        assert_eq!(second.len() < 20, takeover, "{} then {}", first.len(), second.len());
        assert_eq!(first == second, !takeover);
        let mut fresh = Inflater::new(takeover);
        assert_eq!(inflated(&mut fresh, &second) == Ok(message.clone()), !takeover);
        let mut follows = Inflater::new(takeover);
        assert!(inflated(&mut follows, &first) == Ok(message.clone()));
        assert!(inflated(&mut follows, &second) == Ok(message.clone()));
        // An inflater that was to forget knows nothing of the first message.
        let mut forgets = Inflater::new(false);
        assert!(inflated(&mut forgets, &first) == Ok(message.clone()));
        assert_eq!(inflated(&mut forgets, &second) == Ok(message.clone()), !takeover);
    }
}

#[test]
fn c7_examples_of_rfc_7692_section_7_2_3() {
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let shared = [0xf2, 0x00, 0x11, 0x00, 0x00];
    let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
    let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    let two_blocks = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    for takeover in [false, true] {
        let mut inflater = Inflater::new(takeover);
        for wire in [&hello[..], &stored, &two_blocks, &last, &hello, &[0]] {
            let expected = if wire == [0] { &b""[..] } else { b"Hello" };
            assert_eq!(inflated(&mut inflater, wire).as_deref(), Ok(expected), "{wire:x?}");
        }
    }
    let mut inflater = Inflater::new(true);
    assert_eq!(inflated(&mut inflater, &hello).as_deref(), Ok(&b"Hello"[..]));
    assert_eq!(inflated(&mut inflater, &shared).as_deref(), Ok(&b"Hello"[..]));
    let mut deflater = Deflater::new(side(15, true), 6);
    assert_eq!(compressed(&mut deflater, b"Hello"), hello);
    assert_eq!(compressed(&mut deflater, b"Hello"), shared);
    assert_eq!(compressed(&mut deflater, b""), [0]);
}

#[test]
fn c7_final_blocks_end_a_stream_and_not_the_message() {
    let last_hello = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    for takeover in [false, true] {
        let mut inflater = Inflater::new(takeover);
        // Twice final; final and nothing behind it, which a strict sender would not leave out.
        let twice = [&last_hello[..], &last_hello, &[0]].concat();
        assert_eq!(inflated(&mut inflater, &twice).as_deref(), Ok(&b"HelloHello"[..]));
        assert_eq!(inflated(&mut inflater, &last_hello).as_deref(), Ok(&b"Hello"[..]));
        let mut deflater = Deflater::new(side(15, false), 6);
        let next = compressed(&mut deflater, b"next");
        assert_eq!(inflated(&mut inflater, &next).as_deref(), Ok(&b"next"[..]));
        // Nothing at all is no message of a compressor, and says as little as an empty one.
        assert_eq!(inflated(&mut inflater, b"").as_deref(), Ok(&b""[..]));
    }
}

/// A message that inflates a thousandfold, as one compressor makes it.
fn bomb(len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    Deflater::new(side(15, false), 9).deflate_message(&vec![0; len], &mut out);
    out
}

#[test]
fn c9_inflating_stops_at_the_limit_and_memory_follows_what_was_produced() {
    let wire = bomb(64 << 20);
    assert!(wire.len() < 70_000);
    for limit in [0, 1, 1_000, 65_536, 1 << 20] {
        for piece_len in [1, 100, wire.len()] {
            let mut out = Vec::new();
            let mut inflater = Inflater::new(false);
            let mut result = Ok(());
            for piece in wire.chunks(piece_len) {
                result = inflater.inflate_piece(piece, &mut out, limit);
                if result.is_err() {
                    break;
                }
            }
            assert_eq!(result, Err(ProtocolError::MessageTooBig));
            assert_eq!(out.len(), limit + 1);
            assert!(out.capacity() <= 2 * limit + 2 * crate::limits::INFLATE_BLOCK_MIN);
        }
    }
}

#[test]
fn c9_the_limit_is_inclusive_and_counts_what_was_taken_out_already() {
    let message = prose(50_000);
    let wire = compressed(&mut Deflater::new(side(15, false), 6), &message);
    for (limit, expected) in
        [(50_000, Ok(())), (49_999, Err(ProtocolError::MessageTooBig)), (usize::MAX, Ok(()))]
    {
        let mut inflater = Inflater::new(false);
        let mut result = Ok(());
        let mut total = 0;
        for piece in wire.chunks(1_000) {
            let mut out = Vec::new();
            result = result.and_then(|()| inflater.inflate_piece(piece, &mut out, limit));
            total += out.len();
        }
        let mut out = Vec::new();
        assert_eq!(result.and_then(|()| inflater.finish_message(&mut out, limit)), expected);
        assert_eq!(total + out.len(), 50_000);
    }
}

#[test]
fn c10_text_is_checked_after_inflation() {
    for (text, expected) in [
        ("grün".as_bytes(), Ok(())),
        (b"\xC3", Err(ProtocolError::TextNotUtf8)),
        (b"a\xFFb", Err(ProtocolError::TextNotUtf8)),
        (b"\xED\xA0\x80", Err(ProtocolError::TextNotUtf8)),
    ] {
        let wire = compressed(&mut Deflater::new(side(15, false), 6), text);
        let mut out = b"\xFF before".to_vec();
        let mut inflater = Inflater::new(false);
        let result = inflate_message(&mut inflater, MessageKind::Text, &wire, LIMIT, &mut out);
        assert_eq!(result, expected);
        assert_eq!(inflated(&mut inflater, &wire).as_deref(), Ok(text), "as bytes it is fine");
    }
}

#[test]
fn c11_a_message_that_is_cut_off_is_corrupt() {
    let stored = {
        let mut stream = Compress::new_with_window_bits(Compression::new(0), false, 15);
        let mut out = Vec::with_capacity(10_000);
        stream.compress_vec(&prose(5_000), &mut out, FlushCompress::Sync).expect("sound");
        out
    };
    let huffman = compressed(&mut Deflater::new(side(15, false), 6), &prose(5_000));
    for wire in [&stored[..stored.len() - 4], &huffman] {
        // One byte of the stored one is the head of a block, which is an empty message.
        for end in 2..wire.len() - 1 {
            let result = inflated(&mut Inflater::new(false), &wire[..end]);
            assert_eq!(result, Err(ProtocolError::DeflateCorrupt), "cut at {end}");
        }
        assert!(inflated(&mut Inflater::new(false), wire).is_ok());
    }
}

#[test]
fn c11_a_fault_is_that_of_one_message_for_a_pool() {
    let mut pool = DeflatePool::new();
    let wire = compressed(&mut Deflater::new(side(15, false), 6), b"after the fault");
    for corrupt in [&[0xFF; 40][..], &[0x06, 1, 2], &[0, 5, 0, 5, 0], &wire[..5]] {
        let mut inflater = pool.take_inflater();
        assert_eq!(inflated(&mut inflater, corrupt), Err(ProtocolError::DeflateCorrupt));
        pool.put_inflater(inflater);
        let mut inflater = pool.take_inflater();
        assert_eq!(inflated(&mut inflater, &wire).as_deref(), Ok(&b"after the fault"[..]));
        let given_up = inflater.inflate_piece(&wire[..4], &mut Vec::new(), LIMIT);
        assert_eq!(given_up, Ok(()));
        pool.put_inflater(inflater);
        assert_eq!(pool.spares(), (1, 0), "one after another is one state");
    }
}

#[test]
fn a_pool_keeps_few_states_and_none_with_a_memory() {
    let mut pool = DeflatePool::new();
    let inflaters: Vec<_> = (0..20).map(|_| pool.take_inflater()).collect();
    let deflaters: Vec<_> = (0..20).map(|i| pool.take_deflater(9 + i % 7, 6)).collect();
    inflaters.into_iter().for_each(|inflater| pool.put_inflater(inflater));
    deflaters.into_iter().for_each(|deflater| pool.put_deflater(deflater));
    assert_eq!(pool.spares(), (DEFLATE_SPARES_MAX, DEFLATE_SPARES_MAX));
    pool.put_deflater(Deflater::new(side(15, true), 6));
    pool.put_inflater(Inflater::new(true));
    assert_eq!(pool.spares(), (DEFLATE_SPARES_MAX, DEFLATE_SPARES_MAX));

    let mut pool = DeflatePool::new();
    let mut deflater = pool.take_deflater(15, 6);
    deflater.deflate_piece(b"given up", &mut Vec::new());
    pool.put_deflater(deflater);
    assert_eq!(pool.take_deflater(15, 5).level(), 5);
    assert_eq!(pool.spares(), (0, 1), "another level is another state");
    let mut deflater = pool.take_deflater(15, 6);
    assert_eq!(pool.spares(), (0, 0));
    let wire = compressed(&mut deflater, b"whole");
    assert_eq!(inflated(&mut Inflater::new(false), &wire).as_deref(), Ok(&b"whole"[..]));
}

/// What an ordinary zlib makes of the wire, tail put back.
fn zlib_inflated(wire: &[u8], len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + 64);
    let input = [wire, &TAIL].concat();
    let mut stream = Decompress::new(false);
    stream.decompress_vec(&input, &mut out, FlushDecompress::Sync).expect("a good stream");
    out
}

fn decode_one(
    stream: &mut [u8],
    deflate: bool,
    role: Role,
) -> Result<(bool, Vec<u8>), ProtocolError> {
    let limits = DecodeLimits { message_size: 1_000, fragments: 8 };
    let mut decoder = if deflate { Decoder::with_deflate(role) } else { Decoder::new(role) };
    match decoder.handle(stream, &limits)?.event {
        Some(Event::Message(message)) => Ok((message.compressed, message.payload.into_owned())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn c5_rsv1_stands_on_the_first_frame_of_a_data_message_or_nowhere() {
    let wire = compressed(&mut Deflater::new(side(15, false), 6), b"\xFFnot text");
    for kind in [MessageKind::Text, MessageKind::Binary] {
        let mut served = Vec::new();
        encode::append_compressed_message(&mut served, kind, &wire);
        let mut asked = Vec::new();
        encode::append_compressed_message_masked(&mut asked, kind, &wire, [1, 2, 3, 4]);
        for (stream, role) in [(&mut served, Role::Client), (&mut asked, Role::Server)] {
            let refused = decode_one(&mut stream.clone(), false, role);
            assert_eq!(refused, Err(ProtocolError::ReservedBitSet), "not agreed on");
            let (compressed, payload) = decode_one(stream, true, role).expect("agreed on");
            assert!(compressed);
            assert_eq!(payload, wire);
        }
        let mut fragments = Vec::new();
        encode::append_compressed_header(&mut fragments, false, kind, 1);
        fragments.push(wire[0]);
        encode::append_ping(&mut fragments, b"");
        let before = fragments.len();
        encode::append_header(
            &mut fragments,
            true,
            crate::ws::Opcode::Continuation,
            wire.len() - 1,
        );
        fragments.extend_from_slice(&wire[1..]);
        let mut repeated = fragments.clone();
        repeated[before] |= 0x40;
        for (mut stream, expected) in
            [(fragments, Ok(true)), (repeated, Err(ProtocolError::ReservedBitSet))]
        {
            let limits = DecodeLimits { message_size: 1_000, fragments: 8 };
            let mut decoder = Decoder::with_deflate(Role::Client);
            let ping = decoder.handle(&mut stream, &limits).expect("a ping");
            assert!(matches!(ping.event, Some(Event::Ping(_))));
            let consumed = ping.consumed;
            let last = decoder.handle(&mut stream[consumed..], &limits);
            let compressed = last.map(|decoded| match decoded.event {
                Some(Event::Message(message)) => message.compressed && *message.payload == wire,
                _ => false,
            });
            assert_eq!(compressed, expected);
        }
    }
    for control in [0xC8, 0xC9, 0xCA] {
        let result = decode_one(&mut [control, 0], true, Role::Client);
        assert_eq!(result, Err(ProtocolError::ReservedBitSet));
    }
    for other in [0xA1, 0x91, 0xE1, 0xD2] {
        let result = decode_one(&mut [other, 0], true, Role::Client);
        assert_eq!(result, Err(ProtocolError::ReservedBitSet), "RSV2 and RSV3 mean nothing");
    }
    let mut plain = Vec::new();
    encode::append_message(&mut plain, MessageKind::Text, b"plain");
    assert_eq!(decode_one(&mut plain, true, Role::Client), Ok((false, b"plain".to_vec())));
    let mut not_text = Vec::new();
    encode::append_message(&mut not_text, MessageKind::Text, b"\xFF");
    let result = decode_one(&mut not_text, true, Role::Client);
    assert_eq!(result, Err(ProtocolError::TextNotUtf8), "what is not compressed is checked");
}

#[test]
fn a_message_at_the_limit_that_cannot_be_compressed_is_let_through() {
    let message = noise(1_000);
    let wire = compressed(&mut Deflater::new(side(15, false), 6), &message);
    assert!(wire.len() > message.len());
    let mut stream = Vec::new();
    encode::append_compressed_message(&mut stream, MessageKind::Binary, &wire);
    assert!(decode_one(&mut stream, true, Role::Client).is_ok());
    let mut stream = Vec::new();
    encode::append_compressed_message(&mut stream, MessageKind::Binary, &noise(1_300));
    let result = decode_one(&mut stream, true, Role::Client);
    assert_eq!(result, Err(ProtocolError::MessageTooBig));
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut start = 0;
    let piece = |end| &bytes[std::mem::replace(&mut start, end)..end];
    ends.into_iter().map(piece).collect()
}

/// Compressible, incompressible and in between.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..3_000),
        proptest::collection::vec(0_u8..3, 0..3_000),
        (0_usize..20_000).prop_map(prose),
    ]
}

proptest! {
    #[test]
    fn any_pieces_in_and_out_are_the_same_message(
        messages in proptest::collection::vec(payload(), 1..5),
        cuts in proptest::collection::vec(any::<usize>(), 0..8),
        (window_bits, level, takeover) in (9_u8..=15, 0_u8..=9, any::<bool>()),
    ) {
        let mut deflater = Deflater::new(side(window_bits, takeover), level);
        let mut inflater = Inflater::new(takeover);
        for message in &messages {
            // The writer hands on what it has after each piece, as a fragment would.
            let mut wire = Vec::new();
            for piece in pieces(message, &cuts) {
                let mut ready = Vec::new();
                deflater.deflate_piece(piece, &mut ready);
                wire.append(&mut ready);
            }
            let mut ready = Vec::new();
            deflater.finish_message(&mut ready);
            wire.append(&mut ready);
            if !takeover {
                prop_assert!(zlib_inflated(&wire, message.len()) == *message);
            }
            let mut out = Vec::new();
            for piece in pieces(&wire, &cuts) {
                prop_assert_eq!(inflater.inflate_piece(piece, &mut out, message.len()), Ok(()));
            }
            prop_assert_eq!(inflater.finish_message(&mut out, message.len()), Ok(()));
            prop_assert!(out == *message);
        }
    }

    #[test]
    fn c11_corrupt_bytes_are_a_message_or_an_error_however_cut(
        message in payload(),
        flips in proptest::collection::vec((any::<usize>(), 1_u8..), 0..4),
        tail in proptest::collection::vec(any::<u8>(), 0..40),
        cuts in proptest::collection::vec(any::<usize>(), 0..8),
        takeover in any::<bool>(),
    ) {
        let mut wire = compressed(&mut Deflater::new(side(15, takeover), 6), &message);
        wire.extend_from_slice(&tail);
        for (at, flip) in flips {
            let at = at % wire.len();
            wire[at] ^= flip;
        }
        let limit = 4_000;
        let whole = |wire: &[u8]| {
            let mut out = Vec::new();
            let mut inflater = Inflater::new(takeover);
            let result =
                inflate_message(&mut inflater, MessageKind::Binary, wire, limit, &mut out);
            (result, out)
        };
        let mut out = Vec::new();
        let mut inflater = Inflater::new(takeover);
        let result = pieces(&wire, &cuts)
            .into_iter()
            .try_for_each(|piece| inflater.inflate_piece(piece, &mut out, limit))
            .and_then(|()| inflater.finish_message(&mut out, limit));
        prop_assert!(out.len() <= limit + 1);
        let (expected, content) = whole(&wire);
        prop_assert_eq!(result, expected);
        prop_assert!(result.is_err() || out == content);
    }
}
