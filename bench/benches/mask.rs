//! Unmasking, unmasking with the check of text, and the whole decoder, against `memcpy` and the
//! byte-wise twin.
//!
//! A table in GB/s (10^9 bytes a second) and as a ratio to `memcpy` of the same bytes. What is
//! compared takes turns within each round, so that a slow moment of the machine meets all; a cell
//! is the median of the rounds. Payloads lie behind a client's header as they do on the wire, so
//! most are not aligned. The decoder gets its frame as receive buffers bring it: what is larger
//! than one is gathered as well.
//!
//! With `--json` the ratio of each round instead, by size and column.

#![allow(clippy::print_stdout, reason = "a benchmark's purpose is to print its table")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use tidegate::limits;
use tidegate::ws::{DecodeLimits, Decoder, Opcode, Role, encode, mask, utf8};

/// One thing measured: its column's title and what it does to a payload.
type Column = (&'static str, fn(&mut Bench));

const COLUMNS: [Column; 7] = [
    ("memcpy", |bench| {
        let payload = &bench.ascii[bench.payload_start..];
        bench.copy.copy_from_slice(black_box(payload));
        black_box(&mut bench.copy);
    }),
    ("unmask", |bench| {
        mask::apply(black_box(bench.ascii()), black_box(KEY), 0);
    }),
    ("+validate ascii", |bench| {
        let checked = utf8::unmask_and_check(black_box(bench.ascii()), black_box(Some(KEY)));
        assert_eq!(black_box(checked), Ok(()));
    }),
    ("+validate mixed", |bench| {
        let checked = utf8::unmask_and_check(black_box(bench.mixed()), black_box(Some(NO_KEY)));
        assert_eq!(black_box(checked), Ok(()));
    }),
    ("decoder ascii", |bench| decode(&mut bench.decoder, &mut bench.ascii)),
    ("decoder mixed", |bench| decode(&mut bench.decoder, &mut bench.mixed)),
    ("byte-wise", |bench| {
        mask::apply_bytewise(black_box(bench.ascii()), black_box(KEY), 0);
    }),
];

const SIZES: [usize; 6] = [64, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 1 << 20];

fn main() {
    if std::env::args().any(|argument| argument == "--json") {
        let sizes = SIZES.map(|size| (size.to_string(), ratios(&measure(size))));
        println!("{}", serde_json::json!(BTreeMap::from(sizes)));
        return;
    }
    print!("{:>8}", "bytes");
    for (title, _) in COLUMNS {
        print!(" | {title:>15} ratio");
    }
    println!();
    for size in SIZES {
        let rates = measure(size).map(median);
        print!("{size:>8}");
        for rate in rates {
            print!(" | {rate:>15.2} {:>5.2}", rate / rates[0]);
        }
        println!();
    }
}

/// Of each round, how fast each column was beside the first.
fn ratios(rates: &[Vec<f64>; COLUMNS.len()]) -> BTreeMap<&'static str, Vec<f64>> {
    let beside_first = |of: &Vec<f64>| of.iter().zip(&rates[0]).map(|(a, b)| a / b).collect();
    COLUMNS.iter().zip(rates).map(|((title, _), of)| (*title, beside_first(of))).collect()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// One message, in the pieces in which it arrives.
fn decode(decoder: &mut Decoder, frame: &mut [u8]) {
    let mut event = None;
    for piece in frame.chunks_mut(limits::RECV_BUFFER_SIZE_DEFAULT as usize) {
        event = decoder.handle(black_box(piece), &LIMITS).expect("a good frame").event;
    }
    assert!(black_box(event).is_some());
}

/// The rate of each column in each round, in GB/s.
fn measure(size: usize) -> [Vec<f64>; COLUMNS.len()] {
    let mut bench = Bench::new(size);
    let repeats = (ROUND_BYTES / size).max(1);
    let mut rates = [const { Vec::new() }; COLUMNS.len()];
    for round in 0..=ROUNDS {
        for (rates, (_, run)) in rates.iter_mut().zip(COLUMNS) {
            let started = Instant::now();
            for _ in 0..repeats {
                run(&mut bench);
            }
            let elapsed = started.elapsed().as_secs_f64();
            // The first round brings memory and caches up, and is not counted.
            if round > 0 {
                rates.push((repeats * size) as f64 / elapsed / 1e9);
            }
        }
    }
    rates
}

/// The frames of one size, and room for a copy.
struct Bench {
    decoder: Decoder,
    payload_start: usize,
    ascii: Vec<u8>,
    mixed: Vec<u8>,
    copy: Vec<u8>,
}

impl Bench {
    fn new(size: usize) -> Self {
        let ascii: Vec<u8> = b"a gateway pushes. ".iter().copied().cycle().take(size).collect();
        let mut mixed = "Grüße, 世界, привет 😀 ".repeat(size / 20 + 1);
        while mixed.len() > size {
            mixed.pop();
        }
        mixed.push_str(&"x".repeat(size - mixed.len()));
        let ascii = masked(&ascii, KEY);
        Self {
            decoder: Decoder::new(Role::Server),
            payload_start: ascii.len() - size,
            ascii,
            mixed: masked(mixed.as_bytes(), NO_KEY),
            copy: vec![0; size],
        }
    }

    fn ascii(&mut self) -> &mut [u8] {
        &mut self.ascii[self.payload_start..]
    }

    fn mixed(&mut self) -> &mut [u8] {
        &mut self.mixed[self.payload_start..]
    }
}

/// A text message as a client sends it.
fn masked(text: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode::append_masked(&mut frame, true, Opcode::Text, text, key);
    frame
}

const LIMITS: DecodeLimits =
    DecodeLimits { message_size: 1 << 20, fragments: limits::FRAGMENTS_DEFAULT };

/// Keeps ASCII within ASCII, so that unmasking again and again stays valid text.
const KEY: [u8; 4] = [1, 2, 3, 4];

/// Costs what any key costs and leaves other text as it is.
const NO_KEY: [u8; 4] = [0; 4];

/// Bytes each column works through in a round, some hundred microseconds.
const ROUND_BYTES: usize = 4 << 20;

/// Rounds of which the median is taken.
const ROUNDS: usize = 51;
