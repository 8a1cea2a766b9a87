//! The tables of a page: every figure of the run, and its circumstances.

use std::fmt::Write;

use serde_json::Value;

use super::{bytes, escape, grouped, plain, time, words};
use crate::recorded::{Fields, Recorded, number, text};

/// All tables but that of the latencies.
pub(super) fn all(run: &Recorded) -> String {
    let mut out = String::new();
    write_all(&mut out, run).expect("writing to a string does not fail");
    out
}

/// The latencies counted both ways, side by side.
pub(super) fn latency(run: &Recorded) -> String {
    let mut out = String::new();
    write_latency(&mut out, run).expect("writing to a string does not fail");
    out
}

fn write_all(out: &mut String, run: &Recorded) -> std::fmt::Result {
    let order: &[&str] =
        &["expected", "sent", "delivered", "lost", "duplicated", "reordered", "dropped_by_policy"];
    // Of a run without messages there is nothing to tell.
    if run.messages.values().any(|count| count.as_f64() != Some(0.0)) {
        write_part(out, "Messages", &run.messages, order)?;
    }
    let order: &[&str] = &["asked", "opened", "failed", "lost", "causes", "dial_s"];
    write_part(out, "Connections", &run.connections, order)?;
    if let Some(server) = &run.server {
        write_part(out, "Server", server, SERVER)?;
    }
    if let Some(fanout) = &run.fanout {
        write_part(out, "Fan-out", fanout, &["channels", "publishers", "deliveries_per_s"])?;
    }
    write_part(out, "Generator", &run.generator, &["valid", "why", "lag_p99_us"])?;
    write_part(out, "Scenario", &run.scenario, SCENARIO)?;
    let order: &[&str] = &["cpu", "cores", "cores_allowed", "memory_bytes", "kernel"];
    write_part(out, "Environment", &run.environment, order)?;
    let tool = &run.tool;
    let version = text(tool, "version").unwrap_or("unknown");
    let commit = text(tool, "commit").unwrap_or("unknown");
    writeln!(
        out,
        "<section class=\"wide\"><h2>Command</h2><pre>{}</pre><p>tidegate-bench {}, commit {}</p></section>",
        escape(text(tool, "command").unwrap_or_default()),
        escape(version),
        escape(commit)
    )
}

fn write_latency(out: &mut String, run: &Recorded) -> std::fmt::Result {
    let (Some(due), Some(sent)) = (&run.latency_us, &run.latency_raw_us) else { return Ok(()) };
    write!(
        out,
        "<table><caption>Latency</caption><thead><tr><th></th><th scope=\"col\">from due</th>\
         <th scope=\"col\">from sent</th></tr></thead><tbody>"
    )?;
    for name in ["min", "mean", "p50", "p90", "p99", "p999", "max", "count"] {
        let cell = |fields| match number(fields, name) {
            Some(value) if name == "count" => grouped(value),
            Some(value) => time(value),
            None => String::new(),
        };
        let title = if name == "p999" { "p99.9" } else { name };
        write_row(out, title, &[cell(due), cell(sent)])?;
    }
    writeln!(out, "</tbody></table>")
}

/// A part of the JSON: the fields named in `order` first, then whatever else is there.
fn write_part(out: &mut String, title: &str, fields: &Fields, order: &[&str]) -> std::fmt::Result {
    if fields.is_empty() {
        return Ok(());
    }
    write!(out, "<table><caption>{title}</caption><tbody>")?;
    let rest = fields.keys().map(String::as_str).filter(|name| !order.contains(name));
    for name in order.iter().copied().chain(rest) {
        match fields.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::Object(latency)) if name.ends_with("_us") => {
                for quantile in ["p50", "p99", "max"] {
                    let us = number(latency, quantile).map(time).unwrap_or_default();
                    write_row(out, &format!("{} {quantile}", label(name)), &[us])?;
                }
            }
            Some(Value::Object(inner)) => {
                for (inner_name, value) in inner.iter().filter(|(_, value)| !value.is_null()) {
                    if value.as_object().is_some_and(Fields::is_empty) {
                        continue;
                    }
                    // Causes and limits speak for themselves.
                    let title = match name {
                        "causes" | "limits" => words(inner_name),
                        _ => format!("{}: {}", words(name), label(inner_name)),
                    };
                    write_row(out, &title, &[cell(inner_name, value)])?;
                }
            }
            Some(value) => write_row(out, &label(name), &[cell(name, value)])?,
        }
    }
    writeln!(out, "</tbody></table>")
}

fn write_row(out: &mut String, title: &str, cells: &[String]) -> std::fmt::Result {
    write!(out, "<tr><th scope=\"row\">{}</th>", escape(title))?;
    for cell in cells {
        write!(out, "<td>{}</td>", escape(cell))?;
    }
    write!(out, "</tr>")
}

/// The name of a field without the unit its cell shows.
fn label(name: &str) -> String {
    if let Some((_, label)) = LABELS.iter().find(|(field, _)| *field == name) {
        return (*label).to_owned();
    }
    if let Some(what) = name.strip_suffix("_per_s") {
        return format!("{} a second", words(what));
    }
    let units = ["_bytes", "_percent", "_us", "_s"];
    let bare = units.iter().find_map(|unit| name.strip_suffix(unit)).unwrap_or(name);
    words(&bare.replace("_us_per_", "_per_").replace("_bytes_per_", "_per_"))
}

/// A value with the unit its field's name ends with.
fn cell(name: &str, value: &Value) -> String {
    match value {
        Value::Number(number) => {
            let value = number.as_f64().unwrap_or(f64::NAN);
            match name {
                _ if name.ends_with("_bytes") => bytes(value),
                _ if name.ends_with("_percent") => format!("{} %", plain(value)),
                _ if name.ends_with("_us") || name.contains("_us_per_") => time(value),
                _ if name.ends_with("_per_s") => grouped(value),
                _ if name.ends_with("_s") => format!("{} s", plain(value)),
                "pid" | "local_ports" => format!("{value:.0}"),
                _ if value.fract() != 0.0 => plain(value),
                _ => grouped(value),
            }
        }
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let cells: Vec<_> = values.iter().map(|value| cell(name, value)).collect();
            cells.join(", ")
        }
        other => other.to_string(),
    }
}

/// Names that need a word more than they have.
const LABELS: &[(&str, &str)] = &[
    ("user_us_per_message", "user per message, sampled"),
    ("system_us_per_message", "system per message, sampled"),
    ("core_busy_percent", "core busy, softirqs included"),
    ("counted_us_per_message", "the worse of both, per message"),
    ("kernel_per_connection_bytes", "kernel per connection, one end"),
];

/// The order of what the server used.
const SERVER: &[&str] = &[
    "pid",
    "cpu_percent",
    "cpu_us_per_message",
    "user_us_per_message",
    "system_us_per_message",
    "core_busy_percent",
    "core_busy_us_per_message",
    "counted_us_per_message",
    "voluntary_switches",
    "involuntary_switches",
    "rss_bytes",
    "rss_per_connection_bytes",
    "kernel_per_connection_bytes",
];

/// The order of what was asked for.
const SCENARIO: &[&str] = &[
    "command",
    "url",
    "publish",
    "connections",
    "rate",
    "size",
    "channels",
    "duration_s",
    "warm_up_s",
    "ramp_s",
    "threads",
];
