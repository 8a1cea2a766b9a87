//! The percentile text of HdrHistogram's tools (`.hgrm`), as their plotter reads it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;

/// Steps from one percentile to the point halfway between it and 100.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// Nanoseconds of the unit the text is in.
const UNIT_NS: f64 = 1e6;

/// Where the latencies counted from sending go: `run.hgrm` has its `run.raw.hgrm`.
pub(super) fn raw_path(path: &Path) -> PathBuf {
    let mut extension = std::ffi::OsString::from("raw");
    if let Some(own) = path.extension() {
        extension.push(".");
        extension.push(own);
    }
    path.with_extension(extension)
}

/// Values, percentiles, counts and 1/(1-percentile), with the footer: four columns, but three in
/// the last line, whose fourth would be infinite.
pub(super) fn text(histogram: &Histogram<u64>) -> String {
    let mut out = String::new();
    write_text(&mut out, histogram).expect("writing to a string does not fail");
    out
}

fn write_text(out: &mut String, histogram: &Histogram<u64>) -> std::fmt::Result {
    let (value, percentile) = ("Value", "Percentile");
    writeln!(
        out,
        "{value:>12} {percentile:>14} {:>10} {:>14}\n",
        "TotalCount", "1/(1-Percentile)"
    )?;
    let mut count = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        count += step.count_since_last_iteration();
        let value = step.value_iterated_to() as f64 / UNIT_NS;
        // The quantile the line is about, not that of its value's bucket.
        let quantile = step.quantile_iterated_to();
        write!(out, "{value:12.6} {quantile:2.12} {count:10}")?;
        if quantile < 1.0 {
            write!(out, " {:14.2}", 1.0 / (1.0 - quantile))?;
        }
        writeln!(out)?;
    }
    writeln!(
        out,
        "#[Mean    = {:12.6}, StdDeviation   = {:12.6}]\n#[Max     = {:12.6}, Total count    = {:12}]\n#[Buckets = {:12}, SubBuckets     = {:12}]",
        histogram.mean() / UNIT_NS,
        histogram.stdev() / UNIT_NS,
        histogram.max() as f64 / UNIT_NS,
        histogram.len(),
        histogram.buckets(),
        2 * 10u64.pow(histogram.sigfig().into()).next_power_of_two(),
    )
}
