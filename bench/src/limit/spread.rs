//! What several rounds say together.

use std::fmt::Write;

use serde::Serialize;

/// The middle of some values and how far they lie apart.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Spread {
    /// The median.
    pub(super) median: f64,
    /// Interval that holds the true median in 95 of 100 cases, whatever the distribution; `None`
    /// for fewer than six values, which cannot say so.
    pub(super) interval95: Option<[f64; 2]>,
    /// Smallest value.
    pub(super) min: f64,
    /// Largest value.
    pub(super) max: f64,
    /// The values, in the order measured.
    pub(super) rounds: Vec<f64>,
}

impl Spread {
    /// Of at least one value.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let rounds: Vec<f64> = values.into_iter().collect();
        let mut sorted = rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let median = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2.0;
        let interval95 = outside(count).map(|cut| [sorted[cut], sorted[count - 1 - cut]]);
        Self { median, interval95, min: sorted[0], max: sorted[count - 1], rounds }
    }

    /// One line of the table for people.
    pub(super) fn write_text(&self, title: &str, out: &mut String) -> std::fmt::Result {
        let Self { median, interval95, min, max, .. } = self;
        let interval = interval95.map_or_else(
            || "too few rounds for an interval".to_owned(),
            |[low, high]| format!("95 %: {low:.3} to {high:.3}"),
        );
        writeln!(out, "{title:16} {median:9.3} ({interval}; all: {min:.3} to {max:.3})")
    }
}

/// How many of `count` sorted values may be cut off at either end so that the rest still spans the
/// true median with 95 %: each value lies below it as a coin falls.
fn outside(count: usize) -> Option<usize> {
    // The chance of at most `cut` heads in `count` throws, both tails.
    let mut chance = 0.5f64.powi(i32::try_from(count).ok()?) * 2.0;
    let mut tails = chance;
    if tails > 0.05 {
        return None;
    }
    let mut cut = 0;
    loop {
        chance *= (count - cut) as f64 / (cut + 1) as f64;
        tails += chance;
        if tails > 0.05 {
            return Some(cut);
        }
        cut += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_the_sign_test() {
        // Tables of the sign test, two-sided at 5 %.
        let known =
            [(5, None), (6, Some(0)), (9, Some(1)), (12, Some(2)), (20, Some(5)), (25, Some(7))];
        for (count, cut) in known {
            assert_eq!(outside(count), cut, "{count} values");
        }
    }

    #[test]
    fn median_of_odd_and_even_counts() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]).median, 2.0);
        let four = Spread::of([4.0, 1.0, 2.0, 3.0]);
        assert_eq!((four.median, four.min, four.max), (2.5, 1.0, 4.0));
        assert_eq!(four.interval95, None);
        assert_eq!(Spread::of((1..=6).map(f64::from)).interval95, Some([1.0, 6.0]));
    }
}
