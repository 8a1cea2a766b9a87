//! Whether two sets of readings differ by more than chance: the rank-sum test of Mann and Whitney.
//!
//! It asks only which reading is above which, so that one bad second weighs no more than another,
//! and it needs no law for how latencies are spread.

/// Readings a side must have for the test to be able to answer: below, even sets that do not
/// overlap could have come from one run.
pub(super) const READINGS_MIN: usize = 8;

/// How far the readings of `new` lie above those of `old`, in standard deviations of chance;
/// negative: below. `None`: too few to tell.
pub(super) fn deviation(old: &[f64], new: &[f64]) -> Option<f64> {
    if old.len() < READINGS_MIN || new.len() < READINGS_MIN {
        return None;
    }
    let mut all: Vec<(f64, bool)> = old.iter().map(|value| (*value, false)).collect();
    all.extend(new.iter().map(|value| (*value, true)));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut new_ranks, mut ties, mut first) = (0.0, 0.0, 0);
    for group in all.chunk_by(|a, b| a.0 == b.0) {
        let size = group.len() as f64;
        // Equal readings share the middle of their ranks.
        let rank = first as f64 + f64::midpoint(1.0, size);
        new_ranks += rank * group.iter().filter(|(_, is_new)| *is_new).count() as f64;
        ties += size * (size * size - 1.0);
        first += group.len();
    }
    let (n, m) = (old.len() as f64, new.len() as f64);
    let total = n + m;
    let above = new_ranks - m * (m + 1.0) / 2.0;
    let spread = (n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)))).sqrt();
    if spread == 0.0 {
        return Some(0.0);
    }
    let off = above - n * m / 2.0;
    // Ranks are whole: half a step less, towards chance.
    Some(off.signum() * (off.abs() - 0.5).max(0.0) / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_cases() {
        let low: Vec<f64> = (0..8).map(f64::from).collect();
        let high: Vec<f64> = (10..18).map(f64::from).collect();
        // U = 0 of 64, spread sqrt(64 / 12 * 17): (32 - 0.5) / 9.522.
        let apart = deviation(&low, &high).expect("enough");
        assert!((apart - 3.308).abs() < 0.001, "{apart}");
        assert_eq!(deviation(&high, &low), Some(-apart));
        assert_eq!(deviation(&low, &low), Some(0.0));
        assert_eq!(deviation(&[1.0; 8], &[1.0; 9]), Some(0.0));
        assert_eq!(deviation(&low[1..], &high), None);
        // Ranks of new: 7 four times, 13 four times; U = 80 - 36 = 44. Ties of 3, 7 and 5 take
        // 24 + 336 + 120 from the spread: sqrt(64 / 12 * (17 - 480 / 240)) = 8.944.
        let with_ties = deviation(
            &[1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 5.0, 9.0],
            &[2.0, 2.0, 2.0, 2.0, 5.0, 5.0, 5.0, 5.0],
        )
        .expect("enough");
        assert!((with_ties - 11.5 / 8.944).abs() < 0.001, "{with_ties}");
    }
}
