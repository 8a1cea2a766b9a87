//! Unmasking, and unmasking with the check of text, against `memcpy` and the byte-wise twin.
//!
//! A table in GB/s (10^9 bytes a second) and as a ratio to `memcpy` of the same bytes. What is
//! compared takes turns within each round, so that a slow moment of the machine meets all; a cell
//! is the median of the rounds. Payloads lie behind a client's header as they do on the wire, so
//! most are not aligned.

#![allow(clippy::print_stdout, reason = "a benchmark's purpose is to print its table")]

use std::hint::black_box;
use std::time::Instant;

use tidegate::ws::{mask, utf8};

/// One thing measured: its column's title and what it does to a payload.
type Column = (&'static str, fn(&mut Bench));

const COLUMNS: [Column; 5] = [
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
    ("byte-wise", |bench| {
        mask::apply_bytewise(black_box(bench.ascii()), black_box(KEY), 0);
    }),
];

fn main() {
    print!("{:>8}", "bytes");
    for (title, _) in COLUMNS {
        print!(" | {title:>15} ratio");
    }
    println!();
    for size in [64, 1 << 10, 16 << 10, 64 << 10, 1 << 20] {
        let rates = measure(size);
        print!("{size:>8}");
        for rate in rates {
            print!(" | {rate:>15.2} {:>5.2}", rate / rates[0]);
        }
        println!();
    }
}

/// The median rate of each column, in GB/s.
fn measure(size: usize) -> [f64; COLUMNS.len()] {
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
    rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    })
}

/// The buffers of one size.
struct Bench {
    payload_start: usize,
    ascii: Vec<u8>,
    mixed: Vec<u8>,
    copy: Vec<u8>,
}

impl Bench {
    fn new(size: usize) -> Self {
        let payload_start = match size {
            0..=125 => 6,
            126..=65_535 => 8,
            _ => 14,
        };
        let header = vec![0; payload_start];
        let ascii = b"a gateway pushes. ".iter().copied().cycle().take(size);
        let mut mixed = "Grüße, 世界, привет 😀 ".repeat(size / 20 + 1);
        while mixed.len() > size {
            mixed.pop();
        }
        mixed.push_str(&"x".repeat(size - mixed.len()));
        Self {
            payload_start,
            ascii: header.iter().copied().chain(ascii).collect(),
            mixed: [header, mixed.into_bytes()].concat(),
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

/// Keeps ASCII within ASCII, so that unmasking again and again stays valid text.
const KEY: [u8; 4] = [1, 2, 3, 4];

/// Costs what any key costs and leaves other text as it is.
const NO_KEY: [u8; 4] = [0; 4];

/// Bytes each column works through in a round, some hundred microseconds.
const ROUND_BYTES: usize = 4 << 20;

/// Rounds of which the median is taken.
const ROUNDS: usize = 51;
