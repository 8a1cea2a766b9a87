//! A run as one page: verdict, figures, plots, tables. It opens without a network, asks for
//! nothing, runs no script, and reads well on a phone and on a dark screen.

mod capacity;
mod plot;
mod plots;
mod tables;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use serde_json::Value;

use crate::recorded::{Recorded, number, text};

/// The whole page.
pub(crate) fn page(run: &Recorded) -> String {
    let mut out = String::new();
    write_page(&mut out, run).expect("writing to a string does not fail");
    out
}

/// The run's latency by percentile as an SVG image; `None` for a run without latencies.
pub(crate) fn image(run: &Recorded) -> Option<String> {
    plots::percentile_image(run, &title(run))
}

fn write_page(out: &mut String, run: &Recorded) -> std::fmt::Result {
    let title = title(run);
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{title} · tidegate-bench</title>\n<style>\n{}</style>",
        include_str!("style.css")
    )?;
    writeln!(out, "<header><h1>{title}</h1><p>{}</p></header>", escape(&subtitle(run)))?;
    if let Some(plan) = &run.plan {
        return capacity::write_body(out, run, plan);
    }
    write_verdict(out, run)?;
    write_figures(out, run)?;
    let (plots, latency) = (plots::all(run), tables::latency(run));
    writeln!(out, "<div class=\"plots\">\n{plots}{latency}</div>")?;
    writeln!(out, "<div class=\"tables\">\n{}</div>", tables::all(run))
}

fn title(run: &Recorded) -> String {
    if let Some(plan) = &run.plan {
        return capacity::title(plan);
    }
    let connections = number(&run.connections, "asked").unwrap_or(0.0);
    let pace = match number(&run.rate, "asked") {
        Some(rate) => format!("{} {}/s, ", grouped(rate), run.rate_of()),
        None if run.latency_us.is_some() => "closed loop, ".to_owned(),
        None => String::new(),
    };
    format!("{}: {pace}{} connections", escape(run.command()), grouped(connections))
}

fn subtitle(run: &Recorded) -> String {
    let known = |name| text(&run.environment, name).unwrap_or("unknown");
    let cores = number(&run.environment, "cores").unwrap_or(0.0);
    format!(
        "{} s measured · {} × {} · Linux {}",
        plain(run.duration_s),
        cores,
        known("cpu"),
        known("kernel")
    )
}

/// The verdict, in words, and what speaks against the run.
fn write_verdict(out: &mut String, run: &Recorded) -> std::fmt::Result {
    let mut reasons = Vec::new();
    if !run.is_valid() {
        reasons.push(text(&run.generator, "why").unwrap_or("the generator lagged").to_owned());
    }
    for (fields, names) in [
        (&run.connections, &["failed", "lost"][..]),
        (&run.messages, &["lost", "duplicated", "reordered", "unknown"]),
    ] {
        let kind = if names[0] == "failed" { "connections" } else { "messages" };
        for name in names {
            if let Some(count) = number(fields, name).filter(|count| *count > 0.0) {
                reasons.push(format!("{kind} {name}: {}", grouped(count)));
            }
        }
    }
    for objective in &run.slo {
        if objective.get("pass").and_then(Value::as_bool) == Some(false) {
            let expression = text(objective, "expression").unwrap_or_default();
            let value = number(objective, "value").map_or("nothing".to_owned(), plain);
            reasons.push(format!("missed: {expression}; measured {value}"));
        }
    }
    let verdict = run.verdict.as_deref().unwrap_or(match (run.is_valid(), reasons.is_empty()) {
        (false, _) => "invalid",
        (true, true) => "pass",
        (true, false) => "failed",
    });
    let class = match verdict {
        "pass" if reasons.is_empty() => "good",
        "pass" | "invalid" => "doubt",
        _ => "bad",
    };
    write!(out, "<div class=\"verdict {class}\"><strong>{}</strong>", escape(&words(verdict)))?;
    if !reasons.is_empty() {
        write!(out, "<ul>")?;
        for reason in reasons {
            write!(out, "<li>{}</li>", escape(&reason))?;
        }
        write!(out, "</ul>")?;
    }
    writeln!(out, "</div>")
}

/// The few figures a reader looks for.
fn write_figures(out: &mut String, run: &Recorded) -> std::fmt::Result {
    let latency = |name| run.latency_us.as_ref().and_then(|fields| number(fields, name)).map(time);
    let server = |name| run.server.as_ref().and_then(|fields| number(fields, name));
    let has_messages = number(&run.messages, "expected").is_some_and(|count| count > 0.0);
    let has_rate = has_messages || run.command() == "connect";
    let rate = number(&run.rate, "achieved").filter(|_| has_rate);
    let opened = number(&run.connections, "opened").map(grouped);
    let lost = number(&run.messages, "lost").filter(|_| has_messages).map(grouped);
    // Without a core of its own there is only one count.
    let cost_title = match server("core_busy_us_per_message") {
        Some(_) => "server a message, worse of CPU and core",
        None => "server CPU a message",
    };
    writeln!(out, "<dl class=\"figures\">")?;
    for (name, value) in [
        (format!("{} a second", run.rate_of()).as_str(), rate.map(grouped)),
        ("p50 from due", latency("p50")),
        ("p99 from due", latency("p99")),
        ("longest from due", latency("max")),
        ("messages lost", lost),
        ("connections open", opened),
        (cost_title, server("counted_us_per_message").map(time)),
        ("server memory", server("rss_bytes").map(bytes)),
    ] {
        if let Some(value) = value {
            writeln!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>")?;
        }
    }
    writeln!(out, "</dl>")
}

/// `text` as it may stand in a page and between its quotes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(character),
        }
    }
    out
}

/// A name of a field, for people.
fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// Microseconds with the unit that suits them.
fn time(us: f64) -> String {
    match us {
        ..999.5 => format!("{} µs", plain(us)),
        ..999_500.0 => format!("{} ms", plain(us / 1e3)),
        _ => format!("{} s", plain(us / 1e6)),
    }
}

/// Bytes with the unit that suits them.
fn bytes(count: f64) -> String {
    match count {
        ..10_240.0 => format!("{} B", grouped(count)),
        ..10_485_760.0 => format!("{} KiB", plain(count / 1024.0)),
        ..10_737_418_240.0 => format!("{} MiB", plain(count / 1_048_576.0)),
        _ => format!("{} GiB", plain(count / 1_073_741_824.0)),
    }
}

/// Three digits that mean something, without zeros behind them.
fn plain(value: f64) -> String {
    let digits = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let text = if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    text.to_owned()
}

/// A whole number with its thousands apart; the gap does not break.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::from(if value <= -0.5 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}
