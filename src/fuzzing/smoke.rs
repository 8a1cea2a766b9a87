//! The same rules for a second each without cargo-fuzz: first the seeds, then changes of them.
//!
//! `TIDEGATE_FUZZ_SECONDS` makes it longer; `TIDEGATE_FUZZ_SEED` takes a failed run up again.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::*;

/// Prints what is needed to see a failure again.
struct Running<'a> {
    name: &'a str,
    seed: u64,
    input: Vec<u8>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (name, seed, input) = (self.name, self.seed, &self.input);
            let file = std::env::temp_dir().join(format!("tidegate-{name}-{seed}"));
            let written = fs::write(&file, input).map_or("not written", |()| "written");
            eprintln!("{name}: TIDEGATE_FUZZ_SEED={seed}; the input, {written} to {file:?}:");
            eprintln!("{}", input.escape_ascii());
        }
    }
}

fn run(name: &str) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target");
    let number =
        |variable: &str| std::env::var(variable).ok().map(|text| text.parse().expect(variable));
    let seed = number("TIDEGATE_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let time = Duration::from_secs(number("TIDEGATE_FUZZ_SECONDS").unwrap_or(1));
    let seeds = seeds(name);
    let mut running = Running { name, seed, input: Vec::new() };
    for input in &seeds {
        running.input.clone_from(input);
        target(&running.input);
    }
    let mut random = fastrand::Rng::with_seed(seed);
    let mut count = seeds.len();
    let end = Instant::now() + time;
    while Instant::now() < end {
        for _ in 0..16 {
            running.input = changed(&seeds, &mut random);
            target(&running.input);
            count += 1;
        }
    }
    eprintln!("fuzz {name} {count}");
}

/// What lies in the folder of a target, the empty input besides.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{name} has seeds");
    let files = paths.iter().map(|path| fs::read(path).unwrap());
    [Vec::new()].into_iter().chain(files).collect()
}

/// A seed with a few changes.
fn changed(seeds: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut input = seeds[random.usize(..seeds.len())].clone();
    for _ in 0..random.usize(1..=6) {
        let at = random.usize(..=input.len());
        let end = (at + random.usize(1..=12)).min(input.len());
        match random.u8(..8) {
            0 | 1 if at < input.len() => input[at] ^= 1 << random.u8(..8),
            2 if at < input.len() => input[at] = random.u8(..),
            3 if at < input.len() => {
                const BOUNDARIES: [u8; 10] = [0, 1, 9, 10, 13, 125, 126, 127, 128, 255];
                input[at] = BOUNDARIES[random.usize(..BOUNDARIES.len())];
            }
            4 => _ = input.drain(at..end),
            5 => input.splice(at..at, seeds[random.usize(..seeds.len())].clone()).for_each(drop),
            6 => {
                let part = input[at..end].to_vec();
                for _ in 0..random.usize(1..20) {
                    input.splice(at..at, part.iter().copied()).for_each(drop);
                }
            }
            _ => input.insert(at, random.u8(..)),
        }
        input.truncate(INPUT_MAX);
    }
    input
}

/// Longer inputs say nothing that shorter ones do not, and take their time.
const INPUT_MAX: usize = 8_192;

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })*

        #[test]
        fn every_target_runs_here_and_has_a_program_for_cargo_fuzz() {
            assert_eq!(TARGETS.map(|(name, _)| name), [$(stringify!($name)),*]);
            let manifest = include_str!("../../fuzz/Cargo.toml");
            for (name, _) in TARGETS {
                assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            }
        }
    };
}

targets! {
    http_head
    extension_header
    frame_header
    server_session
    client_session
    deflate
    centrifuge_commands
    configuration
}
