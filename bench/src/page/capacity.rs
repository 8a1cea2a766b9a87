//! The page of a plan: what was found, the searches, the costs, what the target needs.

use std::fmt::Write;

use super::plot::{Axis, Series, figure};
use super::plots::short;
use super::{bytes, escape, grouped, plain, tables, time, words};
use crate::plan::{Line, Need, Outcome, Plan, Search, Wall, Window};
use crate::recorded::{Recorded, text};

/// The title of a plan.
pub(super) fn title(plan: &Plan) -> String {
    let target = &plan.target;
    format!(
        "plan: {} connections, {} deliveries/s",
        grouped(target.connections),
        grouped(target.deliveries_per_s)
    )
}

/// Everything below the page's title.
pub(super) fn write_body(out: &mut String, run: &Recorded, plan: &Plan) -> std::fmt::Result {
    write_verdict(out, run, plan)?;
    write_figures(out, plan)?;
    write_needs(out, plan)?;
    let searches: String = plan.searches.iter().map(|search| by_rate(plan, search)).collect();
    let plots = [scalability(plan), memory(plan), cores(plan)].concat();
    writeln!(out, "<div class=\"plots\">\n{plots}{searches}</div>")?;
    write_searches(out, plan, text(&run.scenario, "objectives").unwrap_or("its objectives"))?;
    write_costs(out, plan)?;
    write_windows(out, plan)?;
    writeln!(out, "<div class=\"tables\">\n{}</div>", tables::all(run))
}

fn write_verdict(out: &mut String, run: &Recorded, plan: &Plan) -> std::fmt::Result {
    let verdict = run.verdict.as_deref().unwrap_or("unknown");
    let class = match verdict {
        "pass" => "good",
        "invalid" => "doubt",
        _ => "bad",
    };
    write!(out, "<div class=\"verdict {class}\"><strong>{}</strong>", escape(&words(verdict)))?;
    if !plan.notes.is_empty() {
        write!(out, "<ul>")?;
        for note in &plan.notes {
            write!(out, "<li>{}</li>", escape(note))?;
        }
        write!(out, "</ul>")?;
    }
    writeln!(out, "</div>")
}

fn write_figures(out: &mut String, plan: &Plan) -> std::fmt::Result {
    let need = |name: &str| {
        let need = plan.needs.iter().find(|need| need.name == name)?;
        need.provide.map(|provide| amount(need, provide))
    };
    let best = plan.searches.iter().filter_map(|search| search.deliveries_per_s).reduce(f64::max);
    let costs = &plan.costs;
    writeln!(out, "<dl class=\"figures\">")?;
    for (name, value) in [
        ("first to run out here", plan.runs_out_first.clone()),
        ("cores to provide", need("cores")),
        ("memory to provide", need("memory")),
        ("most deliveries a second", best.map(grouped)),
        ("memory a connection", costs.memory.as_ref().map(|line| bytes(line.per_unit))),
        ("CPU a delivery", costs.delivery.as_ref().map(|cost| time(cost.us_per_delivery))),
        ("CPU a handshake", costs.handshake.as_ref().map(|line| time(line.per_unit))),
    ] {
        if let Some(value) = value {
            writeln!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(&value))?;
        }
    }
    writeln!(out, "</dl>")
}

fn write_needs(out: &mut String, plan: &Plan) -> std::fmt::Result {
    if plan.needs.is_empty() {
        return Ok(());
    }
    write!(
        out,
        "<div class=\"scroll\"><table><caption>What the target needs, cores and link at {} % load\
         </caption><thead><tr><th></th><th scope=\"col\">to provide</th><th scope=\"col\">here</th>\
         <th scope=\"col\">share</th><th scope=\"col\">of what is here</th><th scope=\"col\" class=\"words\">\
         resting on</th></tr></thead><tbody>",
        plain(plan.target.load_percent)
    )?;
    for need in &plan.needs {
        let show = |value: Option<f64>| value.map_or("?".to_owned(), |value| amount(need, value));
        let share =
            need.share_percent.map_or("?".to_owned(), |share| format!("{} %", plain(share)));
        let width = need.share_percent.unwrap_or(0.0).clamp(0.0, 100.0);
        let over = if need.share_percent > Some(100.0) { " over" } else { "" };
        write!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{share}</td>\
             <td><div class=\"bar{over}\"><span style=\"width:{width:.1}%\"></span></div></td>\
             <td class=\"words\">{}</td></tr>",
            escape(&need.name),
            show(need.provide),
            show(need.here),
            escape(&need.basis)
        )?;
    }
    writeln!(out, "</tbody></table></div>")
}

fn amount(need: &Need, value: f64) -> String {
    match need.unit.as_str() {
        "bytes" => bytes(value),
        "bits_per_s" => format!("{} Gbit/s", plain(value / 1e9)),
        "cores" => plain(value),
        _ => grouped(value),
    }
}

/// Latency against the rate that was offered, window by window.
fn by_rate(plan: &Plan, search: &Search) -> String {
    let mut windows: Vec<&Window> =
        plan.windows.iter().filter(|window| window.connections == search.connections).collect();
    windows.sort_by_key(|window| window.rate);
    let points = |of: fn(&Window) -> Option<f64>, kept: &[Outcome]| -> Vec<_> {
        let chosen = windows.iter().filter(|window| kept.contains(&window.outcome));
        chosen.filter_map(|window| Some((window.rate as f64, of(window)?))).collect()
    };
    let of_server = |of| medians(points(of, &[Outcome::Pass, Outcome::Miss]));
    let every = [Outcome::Pass, Outcome::Miss, Outcome::Invalid];
    let values = points(|w| w.p99_us, &every).into_iter().chain(points(|w| w.p50_us, &every));
    let values: Vec<f64> = values.map(|(_, us)| us).chain(plan.objective_p99_us).collect();
    let Some(most) = windows.last().filter(|_| values.len() > 1) else { return String::new() };
    let x = Axis::linear(most.rate as f64, "offered a second", short);
    let y = Axis::log(values.into_iter(), "", time);
    let mut series = vec![
        Series::line("p50", "third", of_server(|window| window.p50_us)),
        Series::line("p99 from sent", "second dashed", of_server(|window| window.raw_p99_us)),
        Series::line("p99 from due", "first", of_server(|window| window.p99_us)),
    ];
    if let Some(bound) = plan.objective_p99_us {
        series.push(Series::line("objective", "third dashed", vec![(0.0, bound), (x.to, bound)]));
    }
    for (name, class, outcome) in [
        ("passed", "good", Outcome::Pass),
        ("missed", "bad", Outcome::Miss),
        ("invalid", "third", Outcome::Invalid),
    ] {
        let points = points(|window| window.p99_us, &[outcome]);
        if !points.is_empty() {
            series.push(Series::dots(name, class, points));
        }
    }
    let title =
        format!("Latency by offered rate, {} connections", grouped(search.connections.into()));
    let about = "Where the line turns up the server cannot take more; dots are windows' p99";
    figure(&title, about, &x, &y, &series)
}

/// One value for each place: the median of those there. `points` come in the order of places.
fn medians(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let mut groups: Vec<(f64, Vec<f64>)> = Vec::new();
    for (place, value) in points {
        match groups.last_mut() {
            Some((last, values)) if *last == place => values.push(value),
            Some(_) | None => groups.push((place, vec![value])),
        }
    }
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    groups.into_iter().map(|(place, values)| (place, median(values))).collect()
}

/// Deliveries at the edge by connections, and the law fitted to them.
fn scalability(plan: &Plan) -> String {
    let points = |by_server: bool| -> Vec<(f64, f64)> {
        let searches = plan.searches.iter();
        let chosen = searches.filter(|s| (s.ended_by == Some(Wall::Server)) == by_server);
        chosen.filter_map(|s| Some((f64::from(s.connections), s.deliveries_per_s?))).collect()
    };
    let (server, others) = (points(true), points(false));
    let all: Vec<_> = server.iter().chain(&others).copied().collect();
    let Some(most) = all.iter().map(|(_, rate)| *rate).reduce(f64::max) else {
        return String::new();
    };
    let x = Axis::log(all.iter().map(|(count, _)| *count), "connections", short);
    let mut series = Vec::new();
    let mut top = most;
    if let Some(usl) = &plan.usl {
        let curve: Vec<_> =
            steps(x.from, x.to).into_iter().map(|load| (load, usl.at(load))).collect();
        top = curve.iter().map(|(_, rate)| *rate).fold(top, f64::max);
        series.push(Series::line("scalability law", "first", curve));
    }
    if !server.is_empty() {
        series.push(Series::dots("the server's limit", "second", server));
    }
    if !others.is_empty() {
        series.push(Series::dots("at least, not in the fit", "third", others));
    }
    let y = Axis::linear(top, "", short);
    let about = "The highest rate that met the objectives, by connections";
    figure("Deliveries a second by connections", about, &x, &y, &series)
}

fn memory(plan: &Plan) -> String {
    let Some(line) = &plan.costs.memory else { return String::new() };
    let points: Vec<_> = line.points.iter().copied().filter(|(count, _)| *count > 0.0).collect();
    let target = plan.target.connections;
    extrapolation(
        "Resident memory by connections",
        "connections",
        points,
        target,
        decimal,
        |count| line.at(count),
    )
}

fn cores(plan: &Plan) -> String {
    let Some(delivery) = &plan.costs.delivery else { return String::new() };
    let target = &plan.target;
    let share = target.publications_per_s / target.deliveries_per_s.max(1.0);
    let us = delivery.us_per_delivery + delivery.us_per_publication.unwrap_or(0.0) * share;
    let points = delivery.points.iter().map(|(rate, cores, _)| (*rate, *cores)).collect();
    extrapolation(
        "Cores by deliveries a second, before handshakes and pings",
        "deliveries a second",
        points,
        target.deliveries_per_s,
        fraction,
        |rate| delivery.base_cores + us * rate / 1e6,
    )
}

/// A fitted cost as far as it was measured, and beyond to the target.
fn extrapolation(
    title: &str,
    unit: &'static str,
    points: Vec<(f64, f64)>,
    target: f64,
    label: fn(f64) -> String,
    cost: impl Fn(f64) -> f64,
) -> String {
    let Some(to) = points.iter().map(|(count, _)| *count).reduce(f64::max) else {
        return String::new();
    };
    let counts = points.iter().map(|(count, _)| *count).chain([target]);
    let x = Axis::log(counts, unit, short);
    let line = |from: f64, to: f64| -> Vec<_> {
        steps(from, to).into_iter().map(|count| (count, cost(count))).collect()
    };
    let measured = line(x.from, to.min(x.to));
    let beyond = if target > to { line(to, target) } else { Vec::new() };
    let values = points.iter().chain(&measured).chain(&beyond).map(|(_, value)| *value);
    let y = Axis::log(values, "", label);
    let mut series = vec![Series::line("fitted", "first", measured)];
    if !beyond.is_empty() {
        series.push(Series::line("extrapolated", "first dashed", beyond));
    }
    series.push(Series::dots("measured", "third", points));
    series.push(Series::dots("target", "second", vec![(target, cost(target))]));
    figure(title, "What was measured, and how far the target lies beyond it", &x, &y, &series)
}

/// A value whose first digit may stand far behind the point.
fn fraction(value: f64) -> String {
    if value >= 0.1 { plain(value) } else { format!("{value:.5}").trim_end_matches('0').to_owned() }
}

/// Bytes in steps of a thousand, which are round where the axis has its ticks.
fn decimal(count: f64) -> String {
    match count {
        ..999.5 => format!("{} B", plain(count)),
        ..999.5e3 => format!("{} kB", plain(count / 1e3)),
        ..999.5e6 => format!("{} MB", plain(count / 1e6)),
        ..999.5e9 => format!("{} GB", plain(count / 1e9)),
        _ => format!("{} TB", plain(count / 1e12)),
    }
}

/// Places from one end to the other, even on a logarithmic axis.
fn steps(from: f64, to: f64) -> Vec<f64> {
    (0..=CURVE).map(|step| from * (to / from).powf(f64::from(step) / f64::from(CURVE))).collect()
}

fn write_searches(out: &mut String, plan: &Plan, objectives: &str) -> std::fmt::Result {
    write!(
        out,
        "<div class=\"scroll\"><table><caption>Highest rate that meets {}</caption><thead><tr>\
         <th scope=\"col\">connections</th><th scope=\"col\">rate</th>\
         <th scope=\"col\">deliveries/s</th><th scope=\"col\">last ascents</th>\
         <th scope=\"col\">windows</th><th scope=\"col\">invalid</th>\
         <th scope=\"col\" class=\"words\">ended by</th></tr></thead><tbody>",
        escape(objectives)
    )?;
    for search in &plan.searches {
        let ends: Vec<_> = search.ends.iter().map(|end| grouped(*end as f64)).collect();
        let wall = match search.ended_by {
            Some(Wall::Server) => "the server",
            Some(Wall::Generator) if search.rate.is_none() => {
                "the generator, which could keep none"
            }
            Some(Wall::Generator) => "the generator: at least that",
            Some(Wall::Ceiling) => "the highest rate allowed: at least that",
            None => "nothing",
        };
        let unsteady = if search.repeatable { "" } else { "; not repeatable within 5 %" };
        let why = search.why.as_ref().map_or(String::new(), |why| format!("; above: {why}"));
        write!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td class=\"words\">{wall}{unsteady}{}</td></tr>",
            grouped(search.connections.into()),
            search.rate.map_or("none".to_owned(), |rate| grouped(rate as f64)),
            search.deliveries_per_s.map_or(String::new(), grouped),
            ends[ends.len().saturating_sub(3)..].join(" · "),
            search.windows,
            search.windows_invalid,
            escape(&why)
        )?;
    }
    writeln!(out, "</tbody></table></div>")
}

fn write_costs(out: &mut String, plan: &Plan) -> std::fmt::Result {
    let costs = &plan.costs;
    let mut rows = Vec::new();
    let mut add = |name: &str, line: &Option<Line>, unit: fn(f64) -> String| {
        if let Some(line) = line {
            let more = (unit(line.per_unit), unit(line.base));
            rows.push((name.to_owned(), more, line.quality.clone()));
        }
    };
    add("memory of a connection", &costs.memory, bytes);
    add("kernel's memory of a connection", &costs.kernel, bytes);
    add("descriptors of a connection", &costs.descriptors, plain);
    add("CPU of an idle connection, a second", &costs.idle, time);
    add("CPU of a handshake", &costs.handshake, time);
    if let Some(cost) = &costs.delivery {
        let base = format!("{} cores", plain(cost.base_cores));
        let figures = (time(cost.us_per_delivery), base.clone());
        rows.push(("CPU of a delivery".to_owned(), figures, cost.quality.clone()));
        if let Some(us) = cost.us_per_publication {
            rows.push(("CPU of a publication".to_owned(), (time(us), base), cost.quality.clone()));
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    write!(
        out,
        "<div class=\"scroll\"><table><caption>Costs, fitted to what was measured</caption><thead>\
         <tr><th></th><th scope=\"col\">each</th><th scope=\"col\">besides</th>\
         <th scope=\"col\">points</th><th scope=\"col\">R²</th><th scope=\"col\">off by at most\
         </th></tr></thead><tbody>"
    )?;
    for (name, (each, base), quality) in rows {
        write!(
            out,
            "<tr><th scope=\"row\">{name}</th><td>{each}</td><td>{base}</td><td>{}</td>\
             <td>{:.4}</td><td>{} %</td></tr>",
            quality.points,
            quality.r_squared,
            plain(quality.residual_max_percent)
        )?;
    }
    writeln!(out, "</tbody></table></div>")
}

fn write_windows(out: &mut String, plan: &Plan) -> std::fmt::Result {
    write!(
        out,
        "<details><summary>All {} windows</summary><div class=\"scroll\"><table><thead><tr>\
         <th scope=\"col\">connections</th><th scope=\"col\">offered/s</th>\
         <th scope=\"col\">deliveries/s</th><th scope=\"col\">p50</th><th scope=\"col\">p99</th>\
         <th scope=\"col\">server</th><th scope=\"col\">generator</th>\
         <th scope=\"col\" class=\"words\">outcome</th></tr></thead><tbody>",
        plan.windows.len()
    )?;
    for window in &plan.windows {
        let outcome = match window.outcome {
            Outcome::Pass => "passed",
            Outcome::Miss => "missed: ",
            Outcome::Invalid => "invalid: ",
        };
        write!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td class=\"words\">{outcome}{}</td></tr>",
            grouped(window.connections.into()),
            grouped(window.rate as f64),
            grouped(window.deliveries_per_s),
            window.p50_us.map_or(String::new(), time),
            window.p99_us.map_or(String::new(), time),
            window.server_cores.map_or(String::new(), plain),
            plain(window.generator_cores),
            escape(window.why.as_deref().unwrap_or_default())
        )?;
    }
    writeln!(out, "</tbody></table></div></details>")
}

/// Points of a drawn curve.
const CURVE: u32 = 60;
