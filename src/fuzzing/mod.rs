//! What must hold of everything that reads bytes from outside, whatever the bytes are.
//!
//! Each function here takes any bytes and panics when a rule is broken: the same answer however
//! they are cut, what was read is what is written again, no limit is passed. cargo-fuzz calls them
//! through `fuzz/`, and `cargo test` for a second each, from the seeds in `fuzz/seeds` on.
//!
//! This module is in no program: it is compiled for tests and with cargo-fuzz's `--cfg fuzzing`.

mod commands;
mod compression;
mod configuration;
mod handshake;
mod session;
#[cfg(test)]
mod smoke;

pub use commands::centrifuge_commands;
pub use compression::deflate;
pub use configuration::configuration;
pub use handshake::{extension_header, http_head};
pub use session::{client_session, frame_header, server_session};

/// A rule for any bytes; panics when it is broken.
pub type Target = fn(&[u8]);

/// Every function here, by the name of its target and of its folder of seeds.
pub const TARGETS: [(&str, Target); 8] = [
    ("http_head", http_head),
    ("extension_header", extension_header),
    ("frame_header", frame_header),
    ("server_session", server_session),
    ("client_session", client_session),
    ("deflate", deflate),
    ("centrifuge_commands", centrifuge_commands),
    ("configuration", configuration),
];

/// Where `data` is cut: nowhere, behind every byte, and twice at places that depend on the bytes
/// alone, so that a finding is found again.
fn cuttings(data: &[u8]) -> [Vec<usize>; 4] {
    let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let mut random = fastrand::Rng::with_seed(data.iter().fold(0xcbf2_9ce4_8422_2325, hash));
    let mut few = |count: usize| {
        let mut cuts: Vec<_> = (0..random.usize(..=count)).collect();
        cuts.iter_mut().for_each(|cut| *cut = random.usize(..=data.len()));
        cuts.sort_unstable();
        cuts
    };
    [vec![], (1..data.len()).collect(), few(3), few(1 + data.len() / 8)]
}

/// The pieces of `data` between `cuts`; some may be empty.
fn pieces<'a>(data: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let begins = [0].into_iter().chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([data.len()]);
    begins.zip(ends).map(|(begin, end)| &data[begin..end])
}
