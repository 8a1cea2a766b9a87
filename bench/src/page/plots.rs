//! Which plots a run has: latency by percentile, latency over time, rate over time.

use super::plot::{Axis, Series, figure, image};
use super::{grouped, plain, time};
use crate::output::{Point, Sample, SampleLatency};
use crate::recorded::{Recorded, number};

/// Most points of a line over time: more than the page has room for.
const POINTS_MAX: usize = 400;

/// All plots that what was recorded is enough for.
pub(super) fn all(run: &Recorded) -> String {
    [by_percentile(run), latency_over_time(run), rate_over_time(run)].concat()
}

fn by_percentile(run: &Recorded) -> String {
    percentiles(run, |x, y, series| figure("Latency by percentile", BY_PERCENTILE, x, y, series))
        .unwrap_or_default()
}

/// Latency by percentile as an image of its own, under `title`; `None` without latencies.
pub(super) fn percentile_image(run: &Recorded, title: &str) -> Option<String> {
    percentiles(run, |x, y, series| image(title, BY_PERCENTILE, x, y, series))
}

/// What the plot of percentiles says.
const BY_PERCENTILE: &str = "Both lines together mean that no message waited to be sent";

/// Both curves on one pair of axes: where they part is what counting from sending hides.
fn percentiles(
    run: &Recorded,
    draw: impl FnOnce(&Axis, &Axis, &[Series]) -> String,
) -> Option<String> {
    let latency = run.latency_us.as_ref()?;
    let count = number(latency, "count").unwrap_or(1.0).max(10.0);
    let end = count.log10();
    // At 100 % one value is left; the axis ends there instead of never.
    let place = |percentile: f64| (-(1.0 - percentile / 100.0).log10()).min(end);
    let points = |of: fn(&Point) -> f64| -> Vec<_> {
        run.percentiles.iter().map(|point| (place(point.percentile), of(point))).collect()
    };
    let series = [
        Series::line("from due", "first", points(|p| p.latency_us)),
        Series::line("from sent", "second dashed", points(|p| p.latency_raw_us)),
    ];
    if run.percentiles.is_empty() {
        return None;
    }
    let labels = ["0", "90", "99", "99.9", "99.99", "99.999", "99.9999", "99.99999"];
    let ticks = (0..).zip(labels).map(|(nines, label)| (f64::from(nines), label.to_owned()));
    let x = Axis {
        from: 0.0,
        to: end,
        is_log: false,
        ticks: ticks.filter(|(nines, _)| *nines <= end).collect(),
        title: "percentile",
    };
    let values = series.iter().flat_map(|series| &series.points).map(|(_, value)| *value);
    let y = Axis::log(values, "", time);
    Some(draw(&x, &y, &series))
}

fn latency_over_time(run: &Recorded) -> String {
    let samples = thinned(&run.intervals, |a, b| {
        let latency = |sample: &Sample| sample.latency_us.as_ref().map_or(0.0, |l| l.max);
        latency(a) >= latency(b)
    });
    let points = |of: fn(&SampleLatency) -> f64| -> Vec<_> {
        let point = |sample: &&Sample| Some((middle(sample), of(sample.latency_us.as_ref()?)));
        samples.iter().filter_map(point).collect()
    };
    let series = [
        Series::line("longest", "third", points(|l| l.max)),
        Series::line("p99", "second", points(|l| l.p99)),
        Series::line("p50", "first", points(|l| l.p50)),
    ];
    if series[0].points.is_empty() {
        return String::new();
    }
    let values = series.iter().flat_map(|series| &series.points).map(|(_, value)| *value);
    let y = Axis::log(values, "", time);
    let about = "Latency from due of what was received in each second";
    figure("Latency over time", about, &seconds(run), &y, &series)
}

fn rate_over_time(run: &Recorded) -> String {
    let samples = thinned(&run.intervals, |a, b| a.rate <= b.rate);
    if samples.iter().all(|sample| sample.rate == 0.0) {
        return String::new();
    }
    let points: Vec<_> = samples.iter().map(|sample| (middle(sample), sample.rate)).collect();
    let name = if run.command() == "connect" { "opened" } else { "received" };
    let mut series = vec![Series::line(name, "first", points)];
    // What a fan-out receives is not what was asked for.
    if let Some(asked) = number(&run.rate, "asked").filter(|_| run.fanout.is_none()) {
        let points = vec![(0.0, asked), (run.duration_s, asked)];
        series.push(Series::line("asked", "second dashed", points));
    }
    let top = series.iter().flat_map(|series| &series.points).map(|(_, rate)| *rate);
    let y = Axis::linear(top.fold(0.0, f64::max), "", short);
    let (title, what) = match run.command() {
        "connect" => ("Handshakes a second over time", "What was opened"),
        _ => ("Messages a second over time", "What was received"),
    };
    figure(title, what, &seconds(run), &y, &series)
}

fn seconds(run: &Recorded) -> Axis {
    let end = run.intervals.last().map_or(1.0, |sample| sample.at_s + sample.length_s);
    let mut axis = Axis::linear(end, "seconds measured", plain);
    axis.ticks.retain(|(value, _)| *value <= end * 1.000_001);
    axis.to = end;
    axis
}

fn middle(sample: &Sample) -> f64 {
    sample.at_s + sample.length_s / 2.0
}

/// At most [`POINTS_MAX`] samples: of neighbours the one that is `worse`, so that no peak is lost.
fn thinned(samples: &[Sample], worse: impl Fn(&Sample, &Sample) -> bool) -> Vec<&Sample> {
    let size = samples.len().div_ceil(POINTS_MAX).max(1);
    let worst = |part: &'_ [Sample]| {
        part.iter().reduce(|a, b| if worse(a, b) { a } else { b }).map(|s| s.at_s)
    };
    let kept: Vec<_> = samples.chunks(size).filter_map(worst).collect();
    samples
        .iter()
        .filter(|sample| kept.binary_search_by(|at| at.total_cmp(&sample.at_s)).is_ok())
        .collect()
}

/// A count in few letters: `50k`.
pub(super) fn short(value: f64) -> String {
    match value {
        ..10_000.0 => grouped(value),
        ..1e6 => format!("{}k", plain(value / 1e3)),
        _ => format!("{}M", plain(value / 1e6)),
    }
}
