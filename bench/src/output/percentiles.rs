//! The percentile curve of a run: enough points to draw it to the last decade it can show.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Points per decade of `1 / (1 - percentile)`.
const POINTS_PER_DECADE: u32 = 20;

/// One point of the curve. Times are microseconds; the field names are those of the JSON form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// 0 to 100.
    pub(crate) percentile: f64,
    /// From due to received.
    pub(crate) latency_us: f64,
    /// From sent to received.
    pub(crate) latency_raw_us: f64,
}

/// The curve of `latency` and `raw` together, until one value is left above. Empty without values.
pub(super) fn curve(latency: &Histogram<u64>, raw: &Histogram<u64>) -> Vec<Point> {
    let count = latency.len();
    if count == 0 {
        return Vec::new();
    }
    let at = |quantile: f64| Point {
        percentile: 100.0 * quantile,
        latency_us: latency.value_at_quantile(quantile) as f64 / 1e3,
        latency_raw_us: raw.value_at_quantile(quantile) as f64 / 1e3,
    };
    let steps = ((count as f64).log10() * f64::from(POINTS_PER_DECADE)).floor() as u32;
    let quantile = |step: u32| 1.0 - 10f64.powf(-f64::from(step) / f64::from(POINTS_PER_DECADE));
    (0..=steps).map(quantile).chain([1.0]).map(at).collect()
}
