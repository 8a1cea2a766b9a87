//! Whether a ratio that was measured lies within its goal.

use serde::Serialize;

use super::spread::Spread;

/// What an interval says of a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Decision {
    /// All of it lies within.
    Met,
    /// All of it lies beyond.
    Missed,
    /// It reaches across, or there is none.
    NotDecided,
}

impl Decision {
    /// In words.
    pub(super) fn told(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::NotDecided => "not decided",
        }
    }

    /// Whether `ratio` is at most `goal`.
    pub(super) fn of(ratio: &Spread, goal: f64) -> Self {
        match ratio.interval95 {
            Some([_, high]) if high <= goal => Self::Met,
            Some([low, _]) if low > goal => Self::Missed,
            Some(_) | None => Self::NotDecided,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_decided_by_the_worse_end_of_the_interval() {
        let of = |low: f64, high: f64| {
            Decision::of(&Spread::of((0..6).map(|n| low + (high - low) * f64::from(n) / 5.0)), 1.2)
        };
        assert_eq!(of(1.0, 1.2), Decision::Met);
        assert_eq!(of(1.0, 1.3), Decision::NotDecided);
        assert_eq!(of(1.21, 1.3), Decision::Missed);
        assert_eq!(Decision::of(&Spread::of([1.0; 5]), 1.2), Decision::NotDecided);
    }
}
