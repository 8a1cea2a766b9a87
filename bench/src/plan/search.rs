//! The search for the highest rate at which windows pass: which rate to offer next, given what came
//! of those before. It measures nothing and knows no time, so it ends as fast as windows are given.
//!
//! One ascent raises the rate while windows pass and bisects between the highest that passed and
//! the lowest that did not. It is then repeated from where it ended, with small steps, until three
//! ends in a row agree. A neighbour's noise can make any window miss: the first miss of an ascent,
//! which bounds all of it, must come twice, and a spoiled bisection spoils one ascent, not the
//! result.
//!
//! A window in which the generator lagged tells nothing. It is offered again; a rate at which none
//! is valid bounds the search as the generator's limit, and the result says so.

use serde::{Deserialize, Serialize};

/// What came of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Valid, and every objective was met.
    Pass,
    /// Valid, and an objective was missed.
    Miss,
    /// The generator was the limit: nothing is known of the server.
    Invalid,
}

/// What kept a search from going higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wall {
    /// The server missed an objective at the next rate.
    Server,
    /// No window at the next rate was valid: the server may be able to do more.
    Generator,
    /// The highest rate that may be offered passed.
    Ceiling,
}

/// Rates the search may offer; `min <= start <= max`, and `min` is at least 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) min: u64,
    pub(super) start: u64,
    pub(super) max: u64,
}

/// What a search comes to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    /// The highest rate that passed.
    Edge {
        /// The lowest of the last ascents' ends.
        rate: u64,
        /// The ends of all ascents, in their order.
        ends: Vec<u64>,
        /// Whether the last three agree.
        repeatable: bool,
        wall: Wall,
    },
    /// Not even the lowest rate passed.
    Nothing {
        /// [`Wall::Server`] or [`Wall::Generator`].
        wall: Wall,
    },
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Measure a window at this rate, and [`Search::take`] its outcome.
    Offer(u64),
    /// The search is over.
    Done(Found),
}

/// A search. Ends after at most [`WINDOWS_MAX`] windows, whatever their outcomes.
#[derive(Debug)]
pub(super) struct Search {
    bounds: Bounds,
    ascent: Ascent,
    ends: Vec<(u64, Wall)>,
    /// Windows at the current rate that were not valid.
    invalid_count: u32,
    /// Whether the last window was the first miss of its ascent.
    missed_once: bool,
    window_count: u32,
    done: Option<Found>,
}

impl Search {
    /// Nothing measured yet.
    pub(super) fn new(bounds: Bounds) -> Self {
        assert!((1..=bounds.start).contains(&bounds.min) && bounds.start <= bounds.max);
        Self {
            bounds,
            ascent: Ascent::new(bounds.start, FACTOR_MAX),
            ends: Vec::new(),
            invalid_count: 0,
            missed_once: false,
            window_count: 0,
            done: None,
        }
    }

    /// The rate to offer, or the end.
    pub(super) fn step(&self) -> Step {
        self.done.clone().map_or(Step::Offer(self.ascent.rate), Step::Done)
    }

    /// Takes what came of a window at the rate that [`Search::step`] named.
    pub(super) fn take(&mut self, outcome: Outcome) {
        self.window_count += 1;
        let passed = match outcome {
            Outcome::Pass => Ok(()),
            Outcome::Miss => {
                let is_first = self.ascent.high.is_none() && !self.missed_once;
                if is_first && self.window_count < WINDOWS_MAX {
                    self.missed_once = true;
                    return;
                }
                Err(Wall::Server)
            }
            Outcome::Invalid => {
                self.invalid_count += 1;
                if self.invalid_count < INVALID_MAX && self.window_count < WINDOWS_MAX {
                    return;
                }
                Err(Wall::Generator)
            }
        };
        self.invalid_count = 0;
        self.missed_once = false;
        if let Some(end) = self.ascent.take(&self.bounds, passed) {
            self.take_end(end);
        }
        if self.done.is_none() && self.window_count >= WINDOWS_MAX {
            let low = self.ascent.low.map(|rate| (rate, Wall::Server));
            self.ends.extend(low.filter(|_| self.ends.is_empty()));
            let wall = if passed == Err(Wall::Generator) { Wall::Generator } else { Wall::Server };
            self.finish(wall);
        }
    }

    fn take_end(&mut self, end: Result<(u64, Wall), Wall>) {
        match end {
            Ok(end) => self.ends.push(end),
            Err(wall) => return self.finish(wall),
        }
        if agree(&self.ends) || self.ends.len() >= ENDS_MAX {
            self.finish(Wall::Server);
        } else {
            self.ascent = Ascent::new(end.map_or(self.bounds.min, |(rate, _)| rate), TOLERANCE);
        }
    }

    /// Ends the search with what is known; `wall` says why nothing is, if so.
    fn finish(&mut self, wall: Wall) {
        let last = &self.ends[self.ends.len().saturating_sub(REPEATS)..];
        let met = |wall| last.iter().any(|(_, met)| *met == wall);
        self.done = Some(match last.iter().map(|(rate, _)| *rate).min() {
            None => Found::Nothing { wall },
            Some(rate) => Found::Edge {
                rate,
                ends: self.ends.iter().map(|(rate, _)| *rate).collect(),
                repeatable: agree(&self.ends),
                // One ascent that the generator ended leaves open what the server can do.
                wall: if met(Wall::Generator) {
                    Wall::Generator
                } else if met(Wall::Server) {
                    Wall::Server
                } else {
                    Wall::Ceiling
                },
            },
        });
    }
}

/// One way up to the edge.
#[derive(Debug)]
struct Ascent {
    rate: u64,
    /// The next step, while only one side of the edge is known.
    factor: f64,
    /// The highest rate that passed.
    low: Option<u64>,
    /// The lowest that did not, always above `low`.
    high: Option<(u64, Wall)>,
}

impl Ascent {
    fn new(rate: u64, factor: f64) -> Self {
        Self { rate, factor, low: None, high: None }
    }

    /// Where it ended, if it has; `Err`: below the lowest rate.
    fn take(
        &mut self,
        bounds: &Bounds,
        passed: Result<(), Wall>,
    ) -> Option<Result<(u64, Wall), Wall>> {
        match passed {
            Ok(()) => self.low = Some(self.rate),
            Err(wall) => self.high = Some((self.rate, wall)),
        }
        match (self.low, self.high) {
            (Some(low), Some((high, wall))) if is_close(low, high) => return Some(Ok((low, wall))),
            (Some(low), Some((high, _))) => {
                let middle = (low as f64 * high as f64).sqrt().round() as u64;
                self.rate = middle.clamp(low + 1, high - 1);
                return None;
            }
            (Some(low), None) if low >= bounds.max => return Some(Ok((low, Wall::Ceiling))),
            (None, Some((high, wall))) if high <= bounds.min => return Some(Err(wall)),
            (Some(low), None) => {
                self.rate = ((low as f64 * self.factor).ceil() as u64).clamp(low + 1, bounds.max);
            }
            (None, Some((high, _))) => {
                let lower = (high as f64 / self.factor).floor() as u64;
                self.rate = lower.clamp(bounds.min, high - 1);
            }
            (None, None) => unreachable!("a window was taken"),
        }
        self.factor = (self.factor * self.factor).min(FACTOR_MAX);
        None
    }
}

/// Whether the last [`REPEATS`] ends agree.
fn agree(ends: &[(u64, Wall)]) -> bool {
    let Some(last) = ends.len().checked_sub(REPEATS).map(|from| &ends[from..]) else {
        return false;
    };
    let rates = || last.iter().map(|(rate, _)| *rate);
    rates().min().zip(rates().max()).is_some_and(|(low, high)| is_close(low, high))
}

/// Whether nothing of interest lies between: next to each other, or within [`TOLERANCE`].
fn is_close(low: u64, high: u64) -> bool {
    high - low <= 1 || high as f64 <= low as f64 * TOLERANCE
}

/// How far an edge may be off, and ends that agree apart.
const TOLERANCE: f64 = 1.05;

/// Ends that must agree.
pub(super) const REPEATS: usize = 3;

/// Ascents after which a search gives up on agreement.
const ENDS_MAX: usize = 6;

/// Windows at one rate that must be invalid before it counts as beyond the generator.
const INVALID_MAX: u32 = 3;

/// Steps while nothing is known of the edge double the rate.
const FACTOR_MAX: f64 = 2.0;

/// Windows of one search: four times what a calm server takes.
pub(super) const WINDOWS_MAX: u32 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { min: 1, start: 1_000, max: 10_000_000 };

    /// Answers until the search ends: what it found, and how many windows that took.
    fn run(bounds: Bounds, mut server: impl FnMut(u64) -> Outcome) -> (Found, u32) {
        let mut search = Search::new(bounds);
        for windows in 0..=WINDOWS_MAX {
            match search.step() {
                Step::Done(found) => return (found, windows),
                Step::Offer(rate) => {
                    assert!((bounds.min..=bounds.max).contains(&rate), "{rate} is out of bounds");
                    search.take(server(rate));
                }
            }
        }
        panic!("no end after {WINDOWS_MAX} windows: {search:?}");
    }

    fn up_to(capacity: f64) -> impl Fn(u64) -> Outcome {
        move |rate| if rate as f64 <= capacity { Outcome::Pass } else { Outcome::Miss }
    }

    #[test]
    fn the_capacity_of_a_calm_server_is_found_within_five_percent_from_any_start() {
        for capacity in [1u64, 2, 3, 7, 20, 999, 1_000, 1_001, 54_321, 9_999_999] {
            for start in [1, 1_000, 10_000_000] {
                let bounds = Bounds { start, ..BOUNDS };
                let (found, windows) = run(bounds, up_to(capacity as f64));
                let Found::Edge { rate, ends, repeatable, wall } = found else {
                    panic!("{capacity}: {found:?}")
                };
                assert!(rate <= capacity && is_close(rate, capacity), "{capacity}: {rate}");
                assert!(repeatable && ends.len() == 3 && wall == Wall::Server, "{ends:?} {wall:?}");
                assert!(windows <= 40, "{windows} windows for {capacity} from {start}");
            }
        }
    }

    #[test]
    fn few_windows_are_needed_when_the_start_is_a_good_guess() {
        let (_, windows) = run(Bounds { start: 40_000, ..BOUNDS }, up_to(54_321.0));
        assert!(windows <= 15, "{windows}");
    }

    #[test]
    fn noise_is_averaged_out() {
        let mut steady = 0;
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            // Each window's capacity is off by up to 3 %, and a neighbour spoils every tenth.
            let (found, _) = run(BOUNDS, |rate| {
                let spoiled = random.f64() < 0.1;
                let capacity = 50_000.0 * (0.97 + 0.06 * random.f64());
                if !spoiled && rate as f64 <= capacity { Outcome::Pass } else { Outcome::Miss }
            });
            let Found::Edge { rate, repeatable, wall, .. } = found else { panic!("{found:?}") };
            assert_eq!(wall, Wall::Server);
            steady += u32::from(repeatable);
            // What did not repeat is told as such, and errs on the safe side.
            assert!(rate <= 51_500, "seed {seed}: {rate}");
            if repeatable {
                assert!((41_000..=51_500).contains(&rate), "seed {seed}: {rate}");
            }
        }
        assert!(steady >= 180, "{steady} of 200 agreed");
    }

    #[test]
    fn a_server_that_never_agrees_with_itself_is_told_as_such() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut unsteady = 0;
        for _ in 0..50 {
            let (found, _) = run(BOUNDS, |rate| {
                let capacity = 10_000.0 * 10f64.powf(random.f64());
                if rate as f64 <= capacity { Outcome::Pass } else { Outcome::Miss }
            });
            unsteady += u32::from(matches!(found, Found::Edge { repeatable: false, .. }));
        }
        assert!(unsteady > 0);
    }

    #[test]
    fn an_invalid_window_is_offered_again_and_counts_for_nothing() {
        let mut last = 0;
        // Every rate is invalid at first, then what it is.
        let (found, _) = run(BOUNDS, |rate| {
            if std::mem::replace(&mut last, rate) != rate {
                return Outcome::Invalid;
            }
            up_to(54_321.0)(rate)
        });
        let Found::Edge { rate, wall, .. } = found else { panic!("{found:?}") };
        assert!(rate <= 54_321 && is_close(rate, 54_321), "{rate}");
        assert_eq!(wall, Wall::Server);
    }

    #[test]
    fn the_generators_limit_is_not_taken_for_the_servers() {
        // The server could do 90,000; the generator lags from 30,000 on.
        let (found, _) = run(BOUNDS, |rate| match rate {
            30_000.. => Outcome::Invalid,
            _ => up_to(90_000.0)(rate),
        });
        let Found::Edge { rate, wall, .. } = found else { panic!("{found:?}") };
        assert!(rate < 30_000 && is_close(rate, 30_000), "{rate}");
        assert_eq!(wall, Wall::Generator);
        // The other way round it is the server's.
        let (found, _) = run(BOUNDS, |rate| match rate {
            90_000.. => Outcome::Invalid,
            _ => up_to(30_000.0)(rate),
        });
        let Found::Edge { wall, .. } = found else { panic!("{found:?}") };
        assert_eq!(wall, Wall::Server);
        let (found, windows) = run(BOUNDS, |_| Outcome::Invalid);
        assert_eq!(found, Found::Nothing { wall: Wall::Generator });
        assert!(windows <= WINDOWS_MAX);
    }

    #[test]
    fn the_bounds_are_kept_and_told() {
        let bounds = Bounds { min: 100, start: 100, max: 3_000 };
        let (found, windows) = run(bounds, up_to(1e9));
        assert_eq!(
            found,
            Found::Edge {
                rate: 3_000,
                ends: vec![3_000; 3],
                repeatable: true,
                wall: Wall::Ceiling
            }
        );
        assert!(windows <= 8, "{windows}");
        let (found, windows) = run(Bounds { start: 3_000, ..bounds }, up_to(50.0));
        assert_eq!(found, Found::Nothing { wall: Wall::Server });
        assert!(windows <= 12, "{windows}");
    }

    #[test]
    fn it_ends_whatever_comes() {
        for seed in 0..2_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let outcomes = [Outcome::Pass, Outcome::Miss, Outcome::Invalid];
            run(BOUNDS, |_| outcomes[random.usize(..3)]);
        }
    }
}
