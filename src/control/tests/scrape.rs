//! `/metrics`, read the way Prometheus reads it.

use std::collections::{HashMap, HashSet};

use super::*;
use crate::control::metrics;

/// The samples by series; panics on what breaks the text format or its conventions.
fn parse(text: &str) -> HashMap<String, f64> {
    assert!(text.ends_with('\n'));
    let mut families = HashSet::new();
    let mut samples = HashMap::new();
    let mut family = (String::new(), String::new());
    let mut help = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, text) = rest.split_once(' ').expect("a help text");
            assert!(text.ends_with('.') && !text.contains(['\\', '\n']), "{line}");
            assert!(families.insert(name.to_owned()), "{name} comes twice");
            help = name;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert_eq!(name, help);
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            assert!(name.starts_with("tidegate_") || name.starts_with("process_"), "{line}");
            family = (name.to_owned(), kind.to_owned());
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let name = series.split('{').next().expect("a name");
            let suffix = name.strip_prefix(&*family.0).expect("samples follow their family");
            let suffixes: &[_] = match &*family.1 {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(suffixes.contains(&suffix), "{line}");
            let value = value.parse().expect("a number");
            assert!(samples.insert(series.to_owned(), value).is_none(), "{series} comes twice");
        }
    }
    samples
}

#[test]
fn every_number_is_there_with_its_labels() {
    let gateway = Gateway::start(Options::default());
    gateway.post("/api/publish", r#"{"channel":"a","data":1}"#).offset();
    gateway.post("/api/publish", r#"{"channel":"a"}"#).error(200, 107);
    let shard = &gateway.stats.shards[1];
    shard.counters.connections.set(3);
    shard.counters.deliveries.add(7);
    shard.closes.count(Some(3008));
    shard.delivery.record(Duration::from_micros(30));
    shard.delivery.record(Duration::from_secs(60));
    gateway.stats.acceptors[0].counters.accepted.add(4);
    gateway.stats.acceptors[0].handshake.record(Duration::from_millis(1));
    let permit = gateway.permits.take().expect("there is room");
    let answer = gateway.get("/metrics");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some(metrics::CONTENT_TYPE));
    let samples = parse(&answer.body);
    for (series, value) in EXPECTED {
        assert_eq!(samples.get(*series), Some(value), "{series}");
    }
    let reserved = format!("tidegate_connections_reserved{{shard=\"{}\"}}", permit.shard());
    assert_eq!(samples[&reserved], 1.0);
    for name in ["cpu_seconds_total", "resident_memory_bytes", "start_time_seconds", "open_fds"] {
        assert!(samples.contains_key(&format!("process_{name}")), "{name}");
    }
}

#[test]
fn the_table_names_what_is_exported_and_nothing_else() {
    let permits = Permits::new(2, 100);
    let text = metrics::text(&Stats::new(2, 1), &permits);
    parse(&text);
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let exported: Vec<_> = types.map(|rest| rest.split_once(' ').expect("a type")).collect();
    let table = metrics::table();
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("| name | type | labels | meaning |"));
    assert_eq!(lines.next(), Some("|---|---|---|---|"));
    let rows: Vec<_> =
        lines.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>()).collect();
    let names: Vec<_> = rows.iter().map(|row| (row[1].trim_matches('`'), row[2])).collect();
    assert_eq!(names, exported);
    for row in &rows {
        assert_eq!(row.len(), 6, "{row:?}");
        // Every series of the family has exactly the labels of the row.
        let name = row[1].trim_matches('`');
        let labels = row[3].replace(['`', ' '], "");
        let series = |line: &&str| line.split(['{', ' ']).next() == Some(name);
        for line in text.lines().filter(series) {
            let inside = line.split_once('{').map_or("", |(_, rest)| rest);
            let found =
                inside.split("\",").filter_map(|pair| pair.split_once('=')).map(|pair| pair.0);
            assert_eq!(found.collect::<Vec<_>>().join(","), labels, "{line}");
        }
    }
}

/// What `every_number_is_there_with_its_labels` counted, as series and value.
const EXPECTED: &[(&str, f64)] = &[
    ("tidegate_connections{shard=\"0\"}", 0.0),
    ("tidegate_connections{shard=\"1\"}", 3.0),
    ("tidegate_deliveries_total{shard=\"1\"}", 7.0),
    ("tidegate_connections_closed_total{shard=\"1\",code=\"3008\"}", 1.0),
    ("tidegate_connections_closed_total{shard=\"1\",code=\"1000\"}", 0.0),
    ("tidegate_publish_delivery_seconds_bucket{shard=\"1\",le=\"0.000025\"}", 0.0),
    ("tidegate_publish_delivery_seconds_bucket{shard=\"1\",le=\"0.00005\"}", 1.0),
    ("tidegate_publish_delivery_seconds_bucket{shard=\"1\",le=\"10\"}", 1.0),
    ("tidegate_publish_delivery_seconds_bucket{shard=\"1\",le=\"+Inf\"}", 2.0),
    ("tidegate_publish_delivery_seconds_count{shard=\"1\"}", 2.0),
    ("tidegate_publish_delivery_seconds_sum{shard=\"1\"}", 60.00003),
    ("tidegate_loop_lag_seconds_count{shard=\"0\"}", 0.0),
    ("tidegate_accepted_total{acceptor=\"0\"}", 4.0),
    ("tidegate_handshake_seconds_count{acceptor=\"0\"}", 1.0),
    ("tidegate_api_calls_total", 2.0),
    ("tidegate_api_errors_total", 1.0),
    ("tidegate_api_call_seconds_count", 2.0),
    ("tidegate_connections_limit", 100.0),
    (concat!("tidegate_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
];
