//! How fast this core copies memory.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Copies for about `duration` on the calling thread: 10^9 bytes copied a second, reading and
/// writing counted once.
pub(super) fn copy_gb_per_s(duration: Duration) -> f64 {
    let source = vec![1u8; LEN];
    let mut target = vec![2u8; LEN];
    let start = Instant::now();
    let mut copied = 0usize;
    while copied == 0 || start.elapsed() < duration {
        target.copy_from_slice(black_box(&source));
        black_box(&mut target);
        copied += LEN;
    }
    copied as f64 / 1e9 / start.elapsed().as_secs_f64()
}

/// More than a core's own caches hold.
const LEN: usize = 32 * 1024 * 1024;
