//! `/metrics` in Prometheus's text format, and the table of it for README.
//!
//! `walk` visits every family once with its samples; [`text`] writes what it sees, [`table`] only
//! the heads. So the table cannot name what is not exported. The text is written here because
//! `prometheus-client` writes OpenMetrics, whose counter families drop `_total` from their name:
//! `promtool check metrics` takes such counters for untyped metrics without help.
//!
//! Labels are `shard`, `acceptor`, `code`, `hook`, `cause` and `version`; none has a value that a
//! peer chooses.

use std::fmt::{self, Display, Write};

use super::process::Process;
use crate::id::ShardId;
use crate::mail::Permits;
use crate::stats::{
    AcceptorCounters, AuthCounters, BOUNDS_S, ControlCounters, Descriptor, HOOK_FAILURE_LABELS,
    HOOK_LABELS, HistogramSnapshot, HookStats, MetricKind, NoticeCounters, ShardCounters, Stats,
};

/// The media type of [`text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything the process counts, as Prometheus scrapes it.
pub fn text(stats: &Stats, permits: &Permits) -> String {
    let mut text = Text { out: String::new(), family: String::new() };
    walk(&mut text, stats, permits, Process::read().as_ref());
    text.out
}

/// README's table of metrics: name, type, labels and meaning, in the order of [`text`].
pub fn table() -> String {
    let mut table = Table("| name | type | labels | meaning |\n|---|---|---|---|\n".to_owned());
    walk(&mut table, &Stats::new(0, 0), &Permits::new(0, 0), None);
    table.0
}

/// Takes families and their samples.
trait Sink {
    /// Begins a family.
    fn family(&mut self, family: &Family<'_>);
    /// One value of the family begun last; `suffix` is empty but in histograms.
    fn sample(&mut self, suffix: &str, labels: &[(&str, &dyn Display)], value: &dyn Display);
}

/// What a family is to Prometheus.
#[derive(Clone, Copy, Debug)]
enum FamilyKind {
    Counter,
    Gauge,
    Histogram,
}

/// The head of a family.
#[derive(Clone, Copy, Debug)]
struct Family<'a> {
    /// With its prefix.
    name: &'a str,
    kind: FamilyKind,
    /// The labels of its samples, but for a histogram's `le`.
    labels: &'a [&'a str],
    /// One sentence.
    help: &'a str,
}

fn walk(sink: &mut impl Sink, stats: &Stats, permits: &Permits, process: Option<&Process>) {
    walk_gateway(sink, permits, stats);
    let shards = || stats.shards.iter();
    let rows: Vec<_> = shards().map(|shard| shard.counters.values()).collect();
    walk_counters(sink, ShardCounters::descriptors(), Some("shard"), &rows);
    let closed = Family {
        name: "tidegate_connections_closed_total",
        kind: FamilyKind::Counter,
        labels: &["shard", "code"],
        help: "Connections closed, by the close code that ended them; none: without a Close frame.",
    };
    sink.family(&closed);
    for (index, shard) in shards().enumerate() {
        for (code, count) in shard.closes.values() {
            sink.sample("", &[("shard", &index), ("code", &code)], &count);
        }
    }
    walk_histogram(
        sink,
        "tidegate_publish_delivery_seconds",
        "From the gateway taking a publish to the shard submitting the last send it causes there.",
        Some("shard"),
        shards().map(|shard| shard.delivery.snapshot()),
    );
    walk_histogram(
        sink,
        "tidegate_loop_lag_seconds",
        "How long one turn of a shard's loop took, waiting excluded.",
        Some("shard"),
        shards().map(|shard| shard.loop_lag.snapshot()),
    );
    let rows: Vec<_> = stats.acceptors.iter().map(|acceptor| acceptor.counters.values()).collect();
    walk_counters(sink, AcceptorCounters::descriptors(), Some("acceptor"), &rows);
    walk_histogram(
        sink,
        "tidegate_handshake_seconds",
        "From accepting a connection to handing it, upgraded, to a shard.",
        Some("acceptor"),
        stats.acceptors.iter().map(|acceptor| acceptor.handshake.snapshot()),
    );
    let rows = [stats.control.counters.values()];
    walk_counters(sink, ControlCounters::descriptors(), None, &rows);
    walk_histogram(
        sink,
        "tidegate_api_call_seconds",
        "From an HTTP API call's headers read to its answer.",
        None,
        std::iter::once(stats.control.api_call.snapshot()),
    );
    walk_counters(sink, AuthCounters::descriptors(), None, &[stats.auth.counters.values()]);
    walk_histogram(
        sink,
        "tidegate_token_check_seconds",
        "From a token's arrival to the answer, waiting for keys included.",
        None,
        std::iter::once(stats.auth.check.snapshot()),
    );
    walk_hooks(sink, &stats.auth.hooks);
    walk_counters(sink, NoticeCounters::descriptors(), None, &[stats.notices.values()]);
    walk_process(sink, process);
}

/// What the process is and may hold.
fn walk_gateway(sink: &mut impl Sink, permits: &Permits, stats: &Stats) {
    sink.family(&Family {
        name: "tidegate_build_info",
        kind: FamilyKind::Gauge,
        labels: &["version"],
        help: "Always 1; the label names the build.",
    });
    sink.sample("", &[("version", &env!("CARGO_PKG_VERSION"))], &1);
    sink.family(&Family {
        name: "tidegate_connections_limit",
        kind: FamilyKind::Gauge,
        labels: &[],
        help: "Connections the process may hold; further upgrades are refused with 503.",
    });
    sink.sample("", &[], &permits.max());
    sink.family(&Family {
        name: "tidegate_connections_reserved",
        kind: FamilyKind::Gauge,
        labels: &["shard"],
        help: "Places taken of the limit: connections held and upgrades on their way.",
    });
    for (shard, _) in (0..).map(ShardId).zip(&stats.shards) {
        sink.sample("", &[("shard", &shard)], &permits.on_shard(shard));
    }
}

/// One family per descriptor; `rows` holds each thread's values in the same order.
fn walk_counters(
    sink: &mut impl Sink,
    descriptors: &[Descriptor],
    label: Option<&str>,
    rows: &[Vec<u64>],
) {
    for (column, descriptor) in descriptors.iter().enumerate() {
        let kind = match descriptor.kind {
            MetricKind::Counter => FamilyKind::Counter,
            MetricKind::Gauge => FamilyKind::Gauge,
        };
        let name = format!("tidegate_{}", descriptor.name);
        sink.family(&Family { name: &name, kind, labels: label.as_slice(), help: descriptor.help });
        for (index, row) in rows.iter().enumerate() {
            let labels = label.map(|label| (label, &index as &dyn Display));
            sink.sample("", labels.as_slice(), &row[column]);
        }
    }
}

/// What is known of each hook.
fn walk_hooks(sink: &mut impl Sink, hooks: &[HookStats]) {
    let each = || HOOK_LABELS.iter().zip(hooks);
    let mut family = |name, kind, labels: &[&str], help| {
        sink.family(&Family { name, kind, labels, help });
        for (hook, stats) in each() {
            let hook: (&str, &dyn Display) = ("hook", hook);
            match name {
                QUESTIONS => sink.sample("", &[hook], &stats.asked.get()),
                QUESTIONS_OPEN => sink.sample("", &[hook], &stats.open.get()),
                QUESTIONS_REFUSED => sink.sample("", &[hook], &stats.refused.get()),
                _ => {
                    for (cause, count) in HOOK_FAILURE_LABELS.iter().zip(&stats.failures) {
                        sink.sample("", &[hook, ("cause", cause)], &count.get());
                    }
                }
            }
        }
    };
    let counter = FamilyKind::Counter;
    family(QUESTIONS, counter, &["hook"], "Questions to backends.");
    let help = "Questions to backends without an answer so far.";
    family(QUESTIONS_OPEN, FamilyKind::Gauge, &["hook"], help);
    let help = "Questions to backends answered with an error or a disconnect.";
    family(QUESTIONS_REFUSED, counter, &["hook"], help);
    let help = "Questions to backends that got no answer that is of use.";
    family("tidegate_hook_failures_total", counter, &["hook", "cause"], help);
    walk_labelled_histogram(
        sink,
        "tidegate_hook_seconds",
        "From a question to a backend to its answer, or to its failure.",
        Some("hook"),
        each().map(|(hook, stats)| (hook, stats.answer.snapshot())),
    );
}

const QUESTIONS: &str = "tidegate_hook_questions_total";
const QUESTIONS_OPEN: &str = "tidegate_hook_questions_open";
const QUESTIONS_REFUSED: &str = "tidegate_hook_refused_total";

/// One family with one series of buckets per snapshot, numbered.
fn walk_histogram(
    sink: &mut impl Sink,
    name: &str,
    help: &str,
    label: Option<&str>,
    snapshots: impl Iterator<Item = HistogramSnapshot>,
) {
    walk_labelled_histogram(sink, name, help, label, snapshots.enumerate());
}

/// One family with one series of buckets per snapshot, each with the value of its label.
fn walk_labelled_histogram(
    sink: &mut impl Sink,
    name: &str,
    help: &str,
    label: Option<&str>,
    snapshots: impl Iterator<Item = (impl Display, HistogramSnapshot)>,
) {
    let kind = FamilyKind::Histogram;
    sink.family(&Family { name, kind, labels: label.as_slice(), help });
    for (value, snapshot) in snapshots {
        let mut labels: Vec<(&str, &dyn Display)> = Vec::new();
        labels.extend(label.map(|label| (label, &value as &dyn Display)));
        let mut count = 0;
        let bounds = BOUNDS_S.into_iter().chain([f64::INFINITY]);
        for (bound, in_bucket) in bounds.zip(snapshot.buckets) {
            count += in_bucket;
            let bound = Bound(bound);
            let mut labels = labels.clone();
            labels.push(("le", &bound));
            sink.sample("_bucket", &labels, &count);
        }
        sink.sample("_sum", &labels, &snapshot.sum_s);
        sink.sample("_count", &labels, &count);
    }
}

/// The names are those of every Prometheus client library, so common dashboards work.
fn walk_process(sink: &mut impl Sink, process: Option<&Process>) {
    let mut value = |name, kind, help, value: Option<&dyn Display>| {
        sink.family(&Family { name, kind, labels: &[], help });
        if let Some(value) = value {
            sink.sample("", &[], value);
        }
    };
    value(
        "process_cpu_seconds_total",
        FamilyKind::Counter,
        "User and system CPU time.",
        process.map(|process| &process.cpu_s as &dyn Display),
    );
    value(
        "process_resident_memory_bytes",
        FamilyKind::Gauge,
        "Resident memory.",
        process.map(|process| &process.resident_bytes as &dyn Display),
    );
    value(
        "process_start_time_seconds",
        FamilyKind::Gauge,
        "When the process started, in seconds of the Unix epoch.",
        process.map(|process| &process.start_s as &dyn Display),
    );
    value(
        "process_open_fds",
        FamilyKind::Gauge,
        "Open descriptors.",
        process.map(|process| &process.fd_count as &dyn Display),
    );
    value(
        "process_max_fds",
        FamilyKind::Gauge,
        "Most descriptors the process may open.",
        process.and_then(|process| process.fd_max.as_ref()).map(|max| max as &dyn Display),
    );
}

/// Writes the text format.
struct Text {
    out: String,
    family: String,
}

impl Sink for Text {
    fn family(&mut self, family: &Family<'_>) {
        let Family { name, kind, help, .. } = family;
        push(&mut self.out, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        self.family.replace_range(.., name);
    }

    fn sample(&mut self, suffix: &str, labels: &[(&str, &dyn Display)], value: &dyn Display) {
        push(&mut self.out, format_args!("{}{suffix}", self.family));
        for (index, (label, value)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            push(&mut self.out, format_args!("{open}{label}=\"{value}\""));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        push(&mut self.out, format_args!("{close} {value}\n"));
    }
}

/// Writes README's rows and no values.
struct Table(String);

impl Sink for Table {
    fn family(&mut self, family: &Family<'_>) {
        let Family { name, kind, labels, help } = family;
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        push(&mut self.0, format_args!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", ")));
    }

    fn sample(&mut self, _: &str, _: &[(&str, &dyn Display)], _: &dyn Display) {}
}

fn push(out: &mut String, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string does not fail");
}

impl Display for FamilyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FamilyKind::Counter => "counter",
            FamilyKind::Gauge => "gauge",
            FamilyKind::Histogram => "histogram",
        })
    }
}

/// A bucket's upper bound; Rust writes infinity in its own way.
struct Bound(f64);

impl Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_infinite() { f.write_str("+Inf") } else { self.0.fmt(f) }
    }
}
