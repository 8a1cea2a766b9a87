//! Straight lines through measured points: what a unit of load costs, and how well a line fits.
//!
//! Costs are never negative. Where the best line would have one that is, the best among those
//! without it is taken: with a handful of terms all subsets can be tried.

use serde::{Deserialize, Serialize};

/// A fit of `value = sum of coefficient * term`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fit {
    /// One for each term, none below zero.
    pub(super) coefficients: Vec<f64>,
    pub(super) quality: Quality,
}

/// How well points and fit agree. The field names are those of the JSON form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Quality {
    /// Points it was made from.
    pub(crate) points: usize,
    /// Share of the values' spread that the fit explains; 1 is all of it.
    pub(crate) r_squared: f64,
    /// Root of the mean squared difference, in the unit of the values.
    pub(crate) residual_rms: f64,
    /// Largest difference as a share of the largest value, in percent.
    pub(crate) residual_max_percent: f64,
}

impl Quality {
    /// Of what was measured against what the fit says, point by point.
    pub(super) fn of(pairs: &[(f64, f64)]) -> Self {
        let count = pairs.len() as f64;
        let mean = pairs.iter().map(|(value, _)| value).sum::<f64>() / count;
        let spread: f64 = pairs.iter().map(|(value, _)| (value - mean).powi(2)).sum();
        let missed: f64 = pairs.iter().map(|(value, fitted)| (value - fitted).powi(2)).sum();
        let largest = pairs.iter().map(|(value, _)| value.abs()).fold(0.0, f64::max);
        let off = pairs.iter().map(|(value, fitted)| (value - fitted).abs()).fold(0.0, f64::max);
        Self {
            points: pairs.len(),
            r_squared: if spread > 0.0 { 1.0 - missed / spread } else { 1.0 },
            residual_rms: (missed / count).sqrt(),
            residual_max_percent: if largest > 0.0 { 100.0 * off / largest } else { 0.0 },
        }
    }
}

/// The least squares of rows of terms and a value each; `None`: fewer points than terms, or points
/// that do not tell the terms apart.
pub(super) fn least_squares<const TERMS: usize>(points: &[([f64; TERMS], f64)]) -> Option<Fit> {
    if points.len() < TERMS.max(2) {
        return None;
    }
    // A term that is the same multiple of another at every point cannot be told from it.
    let all = [true; TERMS];
    solve_for(points, all)?;
    let subsets = (1..1u32 << TERMS).map(|bits| std::array::from_fn(|term| bits & 1 << term != 0));
    let best = subsets
        .filter_map(|kept: [bool; TERMS]| solve_for(points, kept))
        .filter(|coefficients| coefficients.iter().all(|coefficient| *coefficient >= 0.0))
        .map(|coefficients| {
            let pairs: Vec<_> = points
                .iter()
                .map(|(terms, value)| (*value, value_of(terms, &coefficients)))
                .collect();
            (
                pairs.iter().map(|(value, fitted)| (value - fitted).powi(2)).sum::<f64>(),
                coefficients,
                pairs,
            )
        })
        .min_by(|(one, ..), (other, ..)| one.total_cmp(other));
    let (_, coefficients, pairs) = best?;
    Some(Fit { coefficients: coefficients.to_vec(), quality: Quality::of(&pairs) })
}

fn value_of(terms: &[f64], coefficients: &[f64]) -> f64 {
    terms.iter().zip(coefficients).map(|(term, coefficient)| term * coefficient).sum()
}

/// The normal equations with the terms that are `kept`; the others have the coefficient 0.
fn solve_for<const TERMS: usize>(
    points: &[([f64; TERMS], f64)],
    kept: [bool; TERMS],
) -> Option<[f64; TERMS]> {
    // Terms of very different size are brought to one scale, or rounding would drown the small.
    let scale: [f64; TERMS] = std::array::from_fn(|term| {
        points.iter().map(|(terms, _)| terms[term].abs()).fold(f64::MIN_POSITIVE, f64::max)
    });
    let mut matrix = [[0.0; TERMS]; TERMS];
    let mut right = [0.0; TERMS];
    for (terms, value) in points {
        for row in 0..TERMS {
            right[row] += terms[row] / scale[row] * value;
            for column in 0..TERMS {
                matrix[row][column] += terms[row] / scale[row] * terms[column] / scale[column];
            }
        }
    }
    for term in (0..TERMS).filter(|term| !kept[*term]) {
        leave_out(&mut matrix, &mut right, term);
    }
    let solved = solve(matrix, right)?;
    Some(std::array::from_fn(|term| solved[term] / scale[term]))
}

/// Changes normal equations so that coefficient `term` is 0.
pub(super) fn leave_out<const N: usize>(
    matrix: &mut [[f64; N]; N],
    right: &mut [f64; N],
    term: usize,
) {
    for row in matrix.iter_mut() {
        row[term] = 0.0;
    }
    matrix[term] = [0.0; N];
    matrix[term][term] = 1.0;
    right[term] = 0.0;
}

/// Gauss' elimination with the largest pivot; `None`: there is no single solution.
pub(super) fn solve<const N: usize>(
    mut matrix: [[f64; N]; N],
    mut right: [f64; N],
) -> Option<[f64; N]> {
    for column in 0..N {
        let pivot = (column..N).max_by(|one, other| {
            matrix[*one][column].abs().total_cmp(&matrix[*other][column].abs())
        })?;
        let largest = matrix[pivot][column].abs();
        let whole = matrix.iter().flatten().fold(0.0, |most: f64, value| most.max(value.abs()));
        if largest.is_nan() || largest <= whole * SINGULAR {
            return None;
        }
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        for row in column + 1..N {
            let share = matrix[row][column] / matrix[column][column];
            let above = matrix[column];
            for (value, above) in matrix[row].iter_mut().zip(above).skip(column) {
                *value -= share * above;
            }
            right[row] -= share * right[column];
        }
    }
    for row in (0..N).rev() {
        let known: f64 = (row + 1..N).map(|place| matrix[row][place] * right[place]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    Some(right)
}

/// A pivot so much smaller than the matrix is rounding.
const SINGULAR: f64 = 1e-12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_points_give_their_line() {
        let points = [100.0, 1_000.0, 5_000.0].map(|n: f64| ([1.0, n], 4e7 + 5_432.0 * n));
        let fit = least_squares(&points).expect("a line");
        assert!((fit.coefficients[0] / 4e7 - 1.0).abs() < 1e-9, "{fit:?}");
        assert!((fit.coefficients[1] / 5_432.0 - 1.0).abs() < 1e-9, "{fit:?}");
        assert!(fit.quality.r_squared > 0.999_999 && fit.quality.residual_max_percent < 1e-6);
    }

    #[test]
    fn publications_and_deliveries_are_told_apart() {
        let points: Vec<_> = [(100.0, 10.0), (200.0, 10.0), (50.0, 100.0), (80.0, 1000.0)]
            .map(|(publications, audience): (f64, f64)| {
                let deliveries = publications * audience;
                ([1.0, publications, deliveries], 0.02 + 40e-6 * publications + 1.5e-6 * deliveries)
            })
            .to_vec();
        let fit = least_squares(&points).expect("three terms");
        for (found, planted) in fit.coefficients.iter().zip([0.02, 40e-6, 1.5e-6]) {
            assert!((found / planted - 1.0).abs() < 1e-6, "{fit:?}");
        }
    }

    #[test]
    fn residuals_say_how_far_points_are_off() {
        let points =
            [([1.0, 1.0], 11.0), ([1.0, 2.0], 19.0), ([1.0, 3.0], 31.0), ([1.0, 4.0], 39.0)];
        let fit = least_squares(&points).expect("a line");
        // By hand: slope 9.6, intercept 1, differences 0.4, -1.2, 1.2, -0.4.
        assert!((fit.coefficients[1] - 9.6).abs() < 1e-9, "{fit:?}");
        assert!((fit.quality.residual_rms - 0.8f64.sqrt()).abs() < 1e-9, "{fit:?}");
        assert!((fit.quality.residual_max_percent - 100.0 * 1.2 / 39.0).abs() < 1e-9, "{fit:?}");
        assert_eq!(fit.quality.points, 4);
    }

    #[test]
    fn nothing_costs_less_than_nothing() {
        let points = [([1.0, 1.0], 1.0), ([1.0, 2.0], 3.0), ([1.0, 3.0], 5.0)];
        let fit = least_squares(&points).expect("a line");
        // The best line has the intercept -1; through zero it is 22 / 14.
        assert_eq!(fit.coefficients[0], 0.0);
        assert!((fit.coefficients[1] - 22.0 / 14.0).abs() < 1e-9, "{fit:?}");
    }

    #[test]
    fn points_that_tell_nothing_give_no_fit() {
        assert_eq!(least_squares(&[([1.0, 5.0], 3.0)]), None);
        assert_eq!(least_squares(&[([1.0, 5.0], 3.0), ([1.0, 5.0], 4.0)]), None);
        let collinear = [1.0, 2.0, 3.0, 4.0].map(|n: f64| ([1.0, n, 10.0 * n], n));
        assert_eq!(least_squares(&collinear), None);
    }
}
