//! Tests of the whole way from a thread's counts to the files.

use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use super::*;
use crate::traffic::Window;

const SECOND: u64 = 1_000_000_000;

/// 0.5 s of warm-up, 2.5 s of measuring.
const WINDOW: Window = Window { start_ns: SECOND / 2, end_ns: 3 * SECOND };

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250)
}

fn args() -> OutputArgs {
    OutputArgs { quiet: true, ..OutputArgs::default() }
}

/// What two threads do: every 10 ms each receives a message that took as many microseconds.
fn two_threads(args: &OutputArgs) -> (Collected, Tally) {
    let (meters, collector) = collect(args, WINDOW, 2, None).expect("a log");
    let mut whole = Tally::new();
    for (thread, mut meter) in (0..).zip(meters) {
        let mut tally = Tally::new();
        // The last ones come after the end.
        for now_ns in (0..3 * SECOND + SECOND / 5).step_by(SECOND as usize / 100) {
            if now_ns < WINDOW.end_ns {
                meter.cut(now_ns, &mut tally);
            }
            if now_ns < WINDOW.start_ns {
                tally.pings += 1;
                whole.pings += 1;
                continue;
            }
            for tally in [&mut tally, &mut whole] {
                tally.sent += 1;
                tally.received_in_window += u64::from(now_ns < WINDOW.end_ns);
                tally.latency.saturating_record(now_ns / 1_000 + thread);
                tally.latency_raw.saturating_record(7 + thread);
            }
        }
        meter.finish(tally);
    }
    (collector.run(2, 2, start()).expect("a log"), whole)
}

#[test]
fn the_whole_is_the_sum_of_the_seconds() {
    let (collected, whole) = two_threads(&args());
    assert_eq!(collected.tally.latency, whole.latency);
    assert_eq!(collected.tally.latency_raw, whole.latency_raw);
    assert_eq!((collected.tally.sent, collected.tally.pings), (whole.sent, whole.pings));
    let rows: Vec<_> = collected
        .samples
        .iter()
        .map(|sample| (sample.at_s, sample.length_s, sample.sent, sample.rate))
        .collect();
    assert_eq!(rows, [(0.0, 1.0, 200, 200.0), (1.0, 1.0, 200, 200.0), (2.0, 0.5, 140, 200.0)]);
}

#[test]
fn a_thread_that_skips_seconds_leaves_them_empty() {
    let (meters, collector) = collect(&args(), WINDOW, 2, None).expect("no log");
    let [mut steady, mut stalled] = <[_; 2]>::try_from(meters).expect("two threads");
    let mut tally = Tally::new();
    for now_ns in [SECOND / 2, SECOND * 3 / 2, SECOND * 5 / 2] {
        steady.cut(now_ns, &mut tally);
        tally.sent = 1;
    }
    steady.finish(tally);
    let mut tally = Tally::new();
    stalled.cut(SECOND / 2, &mut tally);
    tally.sent = 10;
    stalled.cut(4 * SECOND, &mut tally);
    tally.sent = 20;
    stalled.finish(tally);
    let collected = collector.run(2, 2, start()).expect("no log");
    let sent: Vec<_> = collected.samples.iter().map(|sample| sample.sent).collect();
    assert_eq!(sent, [11, 1, 21]);
}

#[test]
fn the_interval_log_is_read_back_bit_for_bit() {
    let path = std::env::temp_dir().join(format!("tidegate-bench-{}.hlog", std::process::id()));
    let args = OutputArgs { hlog: Some(path.clone()), ..args() };
    let (_, whole) = two_threads(&args);
    let text = std::fs::read_to_string(&path).expect("written");
    std::fs::remove_file(&path).expect("just read");
    let head: Vec<_> = text.lines().skip(1).take(3).collect();
    assert_eq!(head[0], "#[Histogram log format version 1.3]");
    assert_eq!(head[1], "#[StartTime: 1700000000.250 (seconds since epoch)]");
    assert!(head[2].starts_with("\"StartTimestamp\",\"Interval_Length\""));
    // The reader of the crate knows no legend; that of another language is tried elsewhere.
    let text: String = text
        .lines()
        .filter(|line| !line.starts_with('"'))
        .fold(String::new(), |text, line| text + line + "\n");
    let (mut due, mut sent) = (Tally::new().latency, Tally::new().latency);
    let mut times = Vec::new();
    for entry in IntervalLogIterator::new(text.as_bytes()) {
        let LogEntry::Interval(entry) = entry.expect("readable") else { continue };
        let histogram = decode(entry.encoded_histogram());
        assert!((entry.max() - histogram.max() as f64 / 1e6).abs() < 0.001);
        match entry.tag().expect("a tag").as_str() {
            "due" => {
                due += &histogram;
                times.push((entry.start_timestamp().as_millis(), entry.duration().as_millis()));
            }
            "sent" => sent += &histogram,
            tag => panic!("{tag}"),
        }
    }
    assert_eq!(times, [(0, 1000), (1000, 1000), (2000, 500)]);
    assert_eq!((due, sent), (whole.latency, whole.latency_raw));
}

#[test]
fn the_percentile_text_has_the_columns_of_its_readers() {
    let mut histogram = Tally::new().latency;
    for ms in 1..=1000u64 {
        histogram.saturating_record(ms * 1_000_000);
    }
    let text = hgrm::text(&histogram);
    let mut lines = text.lines();
    let titles: Vec<_> = lines.next().expect("a head").split_whitespace().collect();
    assert_eq!(titles, ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]);
    assert_eq!(lines.next(), Some(""));
    let (rows, footer): (Vec<_>, Vec<_>) = lines.partition(|line| !line.starts_with('#'));
    assert_eq!(footer.len(), 3);
    assert!(footer[1].contains("Total count    =         1000"), "{text}");
    let rows: Vec<Vec<f64>> = rows
        .iter()
        .map(|row| row.split_whitespace().map(|field| field.parse().expect("a number")).collect())
        .collect();
    let (last, rows) = rows.split_last().expect("rows");
    assert_eq!(last[1..], [1.0, 1000.0]);
    for row in rows {
        let [value, quantile, count, inverse] = row[..] else { panic!("{row:?}") };
        // What lies at or below the value is what the count says, in the histogram's precision.
        assert!((value - count).abs() <= 0.001 * value, "{row:?}");
        assert!(count >= (quantile * 1000.0).floor(), "{row:?}");
        assert!((inverse * (1.0 - quantile) - 1.0).abs() < 0.01, "{row:?}");
    }
}

#[test]
fn the_file_counted_from_sending_has_a_name_of_its_own() {
    for (path, raw) in [("a/run.hgrm", "a/run.raw.hgrm"), ("run", "run.raw")] {
        assert_eq!(hgrm::raw_path(Path::new(path)), Path::new(raw));
    }
}

#[test]
fn the_curve_ends_where_one_value_is_left() {
    let (mut latency, mut raw) = (Tally::new().latency, Tally::new().latency);
    assert_eq!(percentiles::curve(&latency, &raw), []);
    for us in 1..=1000u64 {
        latency.saturating_record(us * 1_000);
        raw.saturating_record(5_000);
    }
    let points = percentiles::curve(&latency, &raw);
    assert_eq!(points.len(), 3 * 20 + 2);
    for point in &points {
        assert!((point.latency_us - 10.0 * point.percentile).abs() <= 1.5, "{point:?}");
        assert!((point.latency_raw_us - 5.0).abs() < 0.01, "{point:?}");
    }
    assert!((points[60].percentile - 99.9).abs() < 1e-9);
    assert_eq!(points[61].percentile, 100.0);
}

#[test]
fn the_progress_tells_what_matters_first() {
    let mut whole = Tally::new();
    (whole.sent, whole.delivered, whole.duplicated) = (120, 100, 3);
    whole.lost_connections.insert("gone".to_owned(), 2);
    let latency_us = Some(SampleLatency { p50: 80.4, p99: 1234.5, ..SampleLatency::default() });
    let mut sample =
        Sample { at_s: 2.0, length_s: 1.0, sent: 60, rate: 50.0, latency_us, ..Sample::default() };
    assert_eq!(
        progress::line(10, &sample, &whole),
        "   3 s  open 8  50/s  p50 80 us  p99 1234 us  errors 5  sent 120  back 100"
    );
    sample.latency_us = None;
    assert_eq!(
        progress::line(10, &sample, &whole),
        "   3 s  open 8  50/s  errors 5  sent 120  back 100"
    );
}

#[test]
fn the_progress_of_handshakes_tells_how_many_are_open() {
    let mut whole = Tally::new();
    (whole.started, whole.received_in_window, whole.failed) = (30, 20, 4);
    let sample = Sample { at_s: 2.0, length_s: 0.5, rate: 10.0, ..Sample::default() };
    assert_eq!(progress::line(0, &sample, &whole), " 2.5 s  open 20  10/s  errors 4  started 30");
}

#[test]
fn a_window_without_an_end_ends_with_its_last_thread() {
    let (meters, collector) = collect(&args(), Window::OPEN, 2, None).expect("no log");
    let [mut short, mut long] = <[_; 2]>::try_from(meters).expect("two threads");
    for (meter, ends) in [(&mut short, SECOND), (&mut long, 2 * SECOND)] {
        let mut tally = Tally::new();
        for now_ns in (0..=ends).step_by(SECOND as usize) {
            meter.cut(now_ns, &mut tally);
            tally.started = 1;
            tally.received_in_window = 1;
        }
        assert_eq!(meter.next_ns(), ends + SECOND);
    }
    let last = || {
        let mut tally = Tally::new();
        (tally.started, tally.received_in_window) = (5, 5);
        tally
    };
    short.finish_at(SECOND * 5 / 4, last());
    long.finish_at(SECOND * 5 / 2, last());
    let collected = collector.run_unopened(start()).expect("no log");
    let rows: Vec<_> = collected
        .samples
        .iter()
        .map(|sample| (sample.at_s, sample.length_s, sample.sent, sample.rate))
        .collect();
    assert_eq!(rows, [(0.0, 1.0, 2, 2.0), (1.0, 1.0, 6, 6.0), (2.0, 0.5, 5, 10.0)]);
    assert_eq!(collected.tally.started, 13);
}

/// Base64 and zlib around the bytes of a histogram.
fn decode(text: &str) -> Histogram<u64> {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
    hdrhistogram::serialization::Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .expect("a histogram")
}
