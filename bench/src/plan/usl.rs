//! The Universal Scalability Law: throughput at load `n` is
//! `gamma n / (1 + sigma (n - 1) + kappa n (n - 1))`.
//!
//! `gamma` is what one unit of load yields alone, `sigma` the share that waits for its turn, and
//! `kappa` what units lose by agreeing with each other; above zero it makes throughput fall beyond
//! a peak. Both are at least zero. The fit is least squares of the throughput itself, not of its
//! reciprocal, whose errors would count most where the throughput is smallest.

use serde::{Deserialize, Serialize};

use super::fit::{Quality, leave_out, solve};

/// The law with its parameters. The field names are those of the JSON form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Usl {
    pub(crate) gamma: f64,
    pub(crate) sigma: f64,
    pub(crate) kappa: f64,
    /// The load at which throughput is highest; `None`: it only grows.
    pub(crate) peak: Option<f64>,
    pub(crate) quality: Quality,
}

impl Usl {
    /// Throughput at `load`.
    pub(crate) fn at(&self, load: f64) -> f64 {
        throughput([self.gamma, self.sigma, self.kappa], load)
    }

    /// The law that fits points of load and throughput best; `None`: fewer than [`POINTS_MIN`] with
    /// different loads, or one of them is not above zero.
    pub(super) fn fit(points: &[(f64, f64)]) -> Option<Self> {
        let mut loads: Vec<_> = points.iter().map(|(load, _)| *load).collect();
        loads.sort_by(f64::total_cmp);
        loads.dedup();
        let positive = |value: f64| value.is_finite() && value > 0.0;
        if loads.len() < POINTS_MIN || !points.iter().all(|(n, x)| positive(*n) && positive(*x)) {
            return None;
        }
        let frees =
            [[true, true, true], [true, true, false], [true, false, true], [true, false, false]];
        let fits = frees.into_iter().map(|free| descend(points, free));
        let within = fits.filter(|parameters| parameters.iter().all(|value| *value >= 0.0));
        let best =
            within.min_by(|one, other| cost(points, *one).total_cmp(&cost(points, *other)))?;
        let [gamma, sigma, kappa] = best;
        let pairs: Vec<_> = points.iter().map(|(n, x)| (*x, throughput(best, *n))).collect();
        Some(Self {
            gamma,
            sigma,
            kappa,
            peak: (kappa > 0.0 && sigma < 1.0).then(|| ((1.0 - sigma) / kappa).sqrt().max(1.0)),
            quality: Quality::of(&pairs),
        })
    }
}

fn throughput([gamma, sigma, kappa]: [f64; 3], n: f64) -> f64 {
    gamma * n / (1.0 + sigma * (n - 1.0) + kappa * n * (n - 1.0))
}

fn cost(points: &[(f64, f64)], parameters: [f64; 3]) -> f64 {
    points.iter().map(|(n, x)| (x - throughput(parameters, *n)).powi(2)).sum()
}

/// Levenberg and Marquardt's descent over the parameters that are `free`; the others stay 0.
fn descend(points: &[(f64, f64)], free: [bool; 3]) -> [f64; 3] {
    let mut parameters = beginning(points, free);
    let mut damping = 1e-3;
    for _ in 0..STEPS_MAX {
        let before = cost(points, parameters);
        let (mut matrix, mut right) = ([[0.0; 3]; 3], [0.0; 3]);
        for (n, x) in points {
            let slopes = slopes(parameters, *n, free);
            let missing = x - throughput(parameters, *n);
            for row in 0..3 {
                right[row] += slopes[row] * missing;
                for column in 0..3 {
                    matrix[row][column] += slopes[row] * slopes[column];
                }
            }
        }
        // Parameters differ by many orders of size; each is stepped in its own.
        let scale: [f64; 3] =
            std::array::from_fn(|row| matrix[row][row].sqrt().max(f64::MIN_POSITIVE));
        for row in 0..3 {
            right[row] /= scale[row];
            for column in 0..3 {
                matrix[row][column] /= scale[row] * scale[column];
            }
            matrix[row][row] = if free[row] { 1.0 + damping } else { 1.0 };
        }
        let Some(step) = solve(matrix, right) else { break };
        let next: [f64; 3] = std::array::from_fn(|row| {
            parameters[row] + if free[row] { step[row] / scale[row] } else { 0.0 }
        });
        let after = cost(points, next);
        if after.is_finite() && after <= before {
            parameters = next;
            damping = (damping / 10.0).max(1e-12);
            if before - after <= before * 1e-15 {
                break;
            }
        } else {
            damping *= 10.0;
            if damping > 1e12 {
                break;
            }
        }
    }
    parameters
}

/// How the throughput changes with each parameter.
fn slopes([gamma, sigma, kappa]: [f64; 3], n: f64, free: [bool; 3]) -> [f64; 3] {
    let divisor = 1.0 + sigma * (n - 1.0) + kappa * n * (n - 1.0);
    let by_divisor = -gamma * n / (divisor * divisor);
    let slopes = [n / divisor, by_divisor * (n - 1.0), by_divisor * n * (n - 1.0)];
    std::array::from_fn(|row| if free[row] { slopes[row] } else { 0.0 })
}

/// Where the descent begins: `load / throughput` is a polynomial of the load, whose least squares
/// have a closed form. They are weighted by the throughput's square, which undoes most of what the
/// reciprocal does to the errors.
fn beginning(points: &[(f64, f64)], free: [bool; 3]) -> [f64; 3] {
    let (mut matrix, mut right) = ([[0.0; 3]; 3], [0.0; 3]);
    for (n, x) in points {
        let weight = x.powi(4) / (n * n);
        let terms = [1.0, n - 1.0, n * (n - 1.0)];
        for row in 0..3 {
            right[row] += weight * terms[row] * n / x;
            for column in 0..3 {
                matrix[row][column] += weight * terms[row] * terms[column];
            }
        }
    }
    for row in (0..3).filter(|row| !free[*row]) {
        leave_out(&mut matrix, &mut right, row);
    }
    let best = points.iter().map(|(n, x)| x / n).fold(0.0, f64::max);
    match solve(matrix, right) {
        Some([first, ..]) if first <= 0.0 => [best, 0.0, 0.0],
        Some([first, second, third]) => [1.0 / first, second / first, third / first],
        None => [best, 0.0, 0.0],
    }
}

/// Points of different loads a fit of three parameters needs to be more than a drawing through
/// them; six are better.
pub(super) const POINTS_MIN: usize = 4;

/// Far more than the descent takes.
const STEPS_MAX: u32 = 500;

#[cfg(test)]
mod tests {
    use super::*;

    /// SPEC SDM91 on a machine of the time, the reference data of the law's literature.
    const SPECSDM91: [(f64, f64); 7] = [
        (1.0, 64.9),
        (18.0, 995.9),
        (36.0, 1652.4),
        (72.0, 1853.2),
        (108.0, 1828.9),
        (144.0, 1775.0),
        (216.0, 1702.2),
    ];

    fn assert_near(found: f64, wanted: f64, tolerance: f64) {
        assert!((found / wanted - 1.0).abs() <= tolerance, "{found} is not {wanted}");
    }

    #[test]
    fn the_published_example_is_reproduced() {
        let usl = Usl::fit(&SPECSDM91).expect("seven points");
        assert_near(usl.gamma, 89.995, 0.001);
        assert_near(usl.sigma, 0.02773, 0.001);
        assert_near(usl.kappa, 1.0436e-4, 0.001);
        // The square root of (1 - sigma) / kappa.
        assert_near(usl.peak.expect("it falls"), 96.52, 0.001);
        assert!(usl.quality.r_squared > 0.98, "{usl:?}");
        assert_eq!(usl.quality.points, 7);
    }

    #[test]
    fn planted_parameters_are_found_over_many_orders_of_size() {
        let loads = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 10_000.0];
        for gamma in [1.0, 90.0, 250_000.0] {
            for sigma in [0.001, 0.05, 0.6] {
                for kappa in [1e-8, 1e-5, 1e-3] {
                    let points = loads.map(|n| (n, throughput([gamma, sigma, kappa], n)));
                    let usl = Usl::fit(&points).expect("eight points");
                    assert_near(usl.gamma, gamma, 1e-3);
                    assert_near(usl.sigma, sigma, 1e-2);
                    for (n, x) in points {
                        assert_near(usl.at(n), x, 1e-3);
                    }
                }
            }
        }
    }

    #[test]
    fn what_grows_without_loss_has_no_peak_and_no_negative_share() {
        // Better than in proportion: the free fit would have a negative share.
        let usl = Usl::fit(&[(1.0, 90.0), (2.0, 190.0), (4.0, 390.0), (8.0, 790.0)]).expect("four");
        assert_eq!((usl.sigma, usl.kappa, usl.peak), (0.0, 0.0, None));
        assert_near(usl.gamma, 98.5, 0.01);
        // Flat from the first: all of it waits.
        let usl =
            Usl::fit(&[(10.0, 50.0), (20.0, 50.0), (40.0, 50.0), (80.0, 50.0)]).expect("four");
        for load in [10.0, 20.0, 40.0, 80.0] {
            assert_near(usl.at(load), 50.0, 0.02);
        }
    }

    #[test]
    fn too_little_gives_no_law() {
        assert_eq!(Usl::fit(&SPECSDM91[..3]), None);
        assert_eq!(Usl::fit(&[(1.0, 5.0); 6]), None, "one load");
        assert_eq!(Usl::fit(&[(1.0, 5.0), (2.0, 0.0), (3.0, 1.0), (4.0, 1.0)]), None);
    }
}
