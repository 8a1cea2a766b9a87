//! The result of `plan`, as JSON and as text.

use std::fmt::{self, Write};
use std::fs;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::cli::Verdict;
use crate::environment::Environment;
use crate::report::Tool;
use crate::slo::Metric;

use super::PlanArgs;
use super::costs::LOAD;
use super::needs::{self, Machine, Wire};
use super::record::{Line, Need, Plan, Search, Target, Window};
use super::search::{Outcome, REPEATS, Wall};
use super::survey::Survey;
use super::usl::{self, Usl};

/// The result. The field names are those of the JSON form, which README describes.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    tool: Tool,
    environment: Environment,
    scenario: Scenario,
    duration_s: f64,
    plan: Plan,
    verdict: Verdict,
}

#[derive(Debug, Serialize)]
struct Scenario {
    command: &'static str,
    /// What a window runs.
    engine: &'static str,
    url: String,
    publish: Option<String>,
    objectives: String,
    connections: Vec<u32>,
    size: u32,
    window_s: f64,
    warm_up_s: f64,
    threads: u16,
    protocol: Option<&'static str>,
    server_pid: Option<u32>,
    server_cpu: Option<usize>,
}

impl Report {
    /// What `survey` found, in `duration`.
    pub(super) fn new(args: &PlanArgs, survey: Survey, duration: Duration) -> Self {
        let environment = Environment::read();
        let machine = machine(args, &environment);
        let has_fanout = args.publish.is_some();
        let (costs, mut notes) = survey.measured.costs(args.server_pid.is_some(), has_fanout);
        notes.splice(0..0, survey.failures.iter().cloned());
        notes.extend(search_notes(&survey.searches));
        let edges = edges(&survey.searches);
        let usl = Usl::fit(&edges);
        if usl.is_none() {
            notes.push(format!(
                "no scalability law: it takes {} counts of connections whose limit is the \
                 server's, here are {}",
                usl::POINTS_MIN,
                edges.len()
            ));
        }
        let target = target(args);
        notes.extend(fleet(&target, &survey.searches));
        notes.extend(full(&survey, machine.cores));
        let passed = |window: &&Window| window.outcome == Outcome::Pass;
        let last = survey.measured.windows.iter().rfind(passed);
        let message = last.and_then(|window| window.bytes_per_delivery);
        let wire = Wire { payload: args.size as usize, message };
        let (needs, runs_out_first) = needs::needs(&target, &costs, &machine, wire);
        let verdict = verdict(&survey);
        Self {
            tool: Tool::read(),
            environment,
            scenario: Scenario {
                command: "plan",
                engine: if has_fanout { "fanout" } else { "echo" },
                url: args.url.to_string(),
                publish: args.publish.as_ref().map(ToString::to_string),
                objectives: args.slo.to_string(),
                connections: args.counts(),
                size: args.size,
                window_s: args.window.as_secs_f64(),
                warm_up_s: args.warm_up.as_secs_f64(),
                threads: args.threads,
                protocol: has_fanout.then_some(args.session.protocol.name()),
                server_pid: args.server_pid,
                server_cpu: args.server_cpu,
            },
            duration_s: duration.as_secs_f64(),
            plan: Plan {
                target,
                searches: survey.searches,
                windows: survey.measured.windows,
                objective_p99_us: args.slo.bound(Metric::P99),
                costs,
                usl,
                needs,
                runs_out_first,
                notes,
            },
            verdict,
        }
    }

    /// What the exit code tells.
    pub(super) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The JSON form.
    pub(super) fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain values") + "\n"
    }

    /// Tables for people.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        self.write_text(&mut out).expect("writing to a string does not fail");
        out.truncate(out.trim_end().len());
        out
    }

    fn write_text(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "highest load that meets {}", self.scenario.objectives)?;
        for search in &self.plan.searches {
            write_search(out, search)?;
        }
        self.write_costs(out)?;
        if let Some(usl) = &self.plan.usl {
            write!(
                out,
                "scalability  {:.0} deliveries/s by one connection, {:.4} of it waits, {:.3e} lost \
                 to crosstalk",
                usl.gamma, usl.sigma, usl.kappa
            )?;
            match usl.peak {
                Some(peak) => write!(out, "; most at {peak:.0} connections")?,
                None => write!(out, "; no peak")?,
            }
            writeln!(out, " (R2 {:.4}, {} points)", usl.quality.r_squared, usl.quality.points)?;
        }
        let target = &self.plan.target;
        writeln!(
            out,
            "target       {:.0} connections, {:.0} deliveries/s, {:.0} {}/s, {:.0} handshakes/s; \
             cores and link at {:.0} %",
            target.connections,
            target.deliveries_per_s,
            target.publications_per_s,
            if self.scenario.engine == "fanout" { "publications" } else { "messages" },
            target.handshakes_per_s,
            target.load_percent
        )?;
        for need in &self.plan.needs {
            write_need(out, need)?;
        }
        if let Some(name) = &self.plan.runs_out_first {
            writeln!(out, "first out    {name}")?;
        }
        for note in &self.plan.notes {
            writeln!(out, "note         {note}")?;
        }
        Ok(())
    }

    fn write_costs(&self, out: &mut String) -> fmt::Result {
        let costs = &self.plan.costs;
        if let Some(line) = &costs.memory {
            let base = format!("{:.1} MiB", line.base / 1_048_576.0);
            write_line(out, "memory", &base, "bytes a connection", line)?;
        }
        if let Some(line) = &costs.kernel {
            write_line(out, "kernel", "", "bytes a connection, half of both ends", line)?;
        }
        if let Some(line) = &costs.descriptors {
            write_line(out, "descriptors", &format!("{:.0}", line.base), "a connection", line)?;
        }
        if let Some(line) = &costs.idle {
            write_line(out, "CPU idle", "", "us a second and connection", line)?;
        }
        if let Some(line) = &costs.handshake {
            write_line(out, "CPU", "", "us a handshake", line)?;
        }
        if let Some(delivery) = &costs.delivery {
            write!(out, "CPU          {:.2} us a delivery", delivery.us_per_delivery)?;
            if let Some(us) = delivery.us_per_publication {
                write!(out, ", {us:.2} us a publication")?;
            }
            let quality = &delivery.quality;
            writeln!(
                out,
                ", {:.3} cores at rest (R2 {:.4}, off by at most {:.1} %, {} windows)",
                delivery.base_cores,
                quality.r_squared,
                quality.residual_max_percent,
                quality.points
            )?;
        }
        Ok(())
    }
}

fn write_search(out: &mut String, search: &Search) -> fmt::Result {
    let Search { connections, rate, deliveries_per_s, ends, .. } = search;
    write!(out, "{connections:>9} connections  ")?;
    match (rate, deliveries_per_s) {
        (Some(rate), Some(deliveries)) => {
            write!(out, "{rate:>8}/s, {deliveries:.0} deliveries/s")?;
        }
        _ => write!(out, "no rate passed")?,
    }
    write!(out, "; {}", ending(search))?;
    if search.repeatable {
        let last: Vec<_> = ends[ends.len() - REPEATS..].iter().map(u64::to_string).collect();
        write!(out, "; repeats {}", last.join(" "))?;
    }
    writeln!(out, "; {} windows, {} invalid", search.windows, search.windows_invalid)?;
    match &search.why {
        Some(why) => writeln!(out, "{:24}above: {why}", ""),
        None => Ok(()),
    }
}

fn ending(search: &Search) -> &'static str {
    match (search.ended_by, search.rate) {
        (Some(Wall::Server), _) => "ended by the server",
        (Some(Wall::Generator), Some(_)) => "ended by the GENERATOR: at least that",
        (Some(Wall::Generator), None) => "the GENERATOR could not keep any",
        (Some(Wall::Ceiling), _) => "ended by --max-rate: at least that",
        (None, _) => "not ended",
    }
}

fn write_line(out: &mut String, title: &str, base: &str, unit: &str, line: &Line) -> fmt::Result {
    write!(out, "{title:12} ")?;
    if !base.is_empty() {
        write!(out, "{base} and ")?;
    }
    writeln!(
        out,
        "{:.2} {unit} (R2 {:.4}, off by at most {:.1} %, {} points to {:.0})",
        line.per_unit,
        line.quality.r_squared,
        line.quality.residual_max_percent,
        line.quality.points,
        line.measured_to()
    )
}

fn write_need(out: &mut String, need: &Need) -> fmt::Result {
    let amount = |value: Option<f64>| match value {
        None => "?".to_owned(),
        Some(value) => match need.unit.as_str() {
            "bytes" => format!("{:.1} GiB", value / 1_073_741_824.0),
            "bits_per_s" => format!("{:.2} Gbit/s", value / 1e9),
            "cores" => format!("{value:.2}"),
            _ => format!("{value:.0}"),
        },
    };
    write!(out, "  {:13} {:>12}", need.name, amount(need.provide))?;
    if let Some(share) = need.share_percent {
        write!(out, ", {share:.0} % of {} here", amount(need.here))?;
    }
    writeln!(out, "; {}", need.basis)
}

fn target(args: &PlanArgs) -> Target {
    let largest = args.counts().last().copied().unwrap_or(1);
    let audience = match (&args.publish, args.target_audience) {
        (None, _) => 1.0,
        (Some(_), Some(audience)) => audience as f64,
        (Some(_), None) => f64::from(largest),
    };
    Target {
        connections: args.target_connections as f64,
        deliveries_per_s: args.target_deliveries as f64,
        publications_per_s: args.target_deliveries as f64 / audience,
        handshakes_per_s: args.target_handshakes as f64,
        audience,
        load_percent: 100.0 * LOAD,
    }
}

/// This machine, and what the server's process may use of it.
fn machine(args: &PlanArgs, environment: &Environment) -> Machine {
    let environment = serde_json::to_value(environment).expect("plain values");
    let number = |value: &Value| value.as_f64();
    let limits = &environment["limits"];
    let ports = limits["local_ports"]
        .as_array()
        .and_then(|ports| Some(ports.get(1)?.as_f64()? - ports.first()?.as_f64()? + 1.0));
    let of_server = args.server_pid.and_then(|pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
        hard_limit(&text, "Max open files")
    });
    Machine {
        memory_bytes: number(&environment["memory_bytes"]),
        cores: number(&environment["cores"]).unwrap_or(0.0),
        descriptors: of_server.or_else(|| number(&limits["open_files_hard"])),
        ports,
        link_bits_per_s: args.link * 1e9,
    }
}

/// The second column of a line of `/proc/PID/limits`: soft, hard, unit.
fn hard_limit(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Limits that are the server's, by connections.
fn edges(searches: &[Search]) -> Vec<(f64, f64)> {
    let by_server = searches.iter().filter(|search| search.ended_by == Some(Wall::Server));
    by_server.filter_map(|s| Some((f64::from(s.connections), s.deliveries_per_s?))).collect()
}

fn search_notes(searches: &[Search]) -> Vec<String> {
    let counts = |chosen: &dyn Fn(&Search) -> bool| {
        let counts: Vec<_> = searches
            .iter()
            .filter(|search| chosen(search))
            .map(|search| search.connections.to_string())
            .collect();
        (!counts.is_empty()).then(|| counts.join(", "))
    };
    let mut notes = Vec::new();
    if let Some(counts) = counts(&|search| search.ended_by == Some(Wall::Generator)) {
        notes.push(format!(
            "the generator, not the server, ended the search at {counts} connections: what the \
             server can do there is not known; give it --threads, or a machine nothing else is busy on"
        ));
    }
    if let Some(counts) = counts(&|search| search.rate.is_some() && !search.repeatable) {
        notes.push(format!(
            "at {counts} connections the result did not repeat within 5 %: the machine is busy with \
             something else, or --window is too short"
        ));
    }
    notes
}

/// How many servers as fast as this one was at its own limit.
fn fleet(target: &Target, searches: &[Search]) -> Option<String> {
    let best = edges(searches).into_iter().map(|(_, rate)| rate).fold(0.0, f64::max);
    let servers = (target.deliveries_per_s / (best * LOAD)).ceil();
    (best > 0.0).then(|| {
        format!(
            "the most delivered within the objectives was {best:.0} a second: at {:.0} % of that \
             the target's deliveries take {servers:.0} such server{}",
            100.0 * LOAD,
            if servers > 1.0 { "s" } else { "" }
        )
    })
}

/// Both ends share this machine: its limit may be that of both together.
fn full(survey: &Survey, cores: f64) -> Option<String> {
    let busiest = survey
        .measured
        .windows
        .iter()
        .filter_map(|window| Some(window.server_cores? + window.generator_cores))
        .fold(0.0, f64::max);
    (busiest >= FULL * cores).then(|| {
        format!(
            "server and generator together used {busiest:.2} of this machine's {cores:.0} cores: \
             with one each the server may do more"
        )
    })
}

/// What a plan comes to. That the generator, or chance, ended every search says nothing of the
/// server.
fn verdict(survey: &Survey) -> Verdict {
    let searches = &survey.searches;
    let missed = |search: &Search| search.rate.is_none() && search.ended_by == Some(Wall::Server);
    let found = |search: &Search| {
        search.rate.is_some() && search.repeatable && search.ended_by != Some(Wall::Generator)
    };
    let valid =
        searches.is_empty() || searches.iter().any(|search| missed(search) || found(search));
    Verdict::of(valid, survey.failures.is_empty(), !searches.iter().any(missed))
}

/// Share of the machine's cores from which on it is full.
const FULL: f64 = 0.9;

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(searches: &[(Option<u64>, bool, Wall)], failures: usize) -> Survey {
        Survey {
            searches: searches
                .iter()
                .map(|(rate, repeatable, wall)| Search {
                    rate: *rate,
                    repeatable: *repeatable,
                    ended_by: Some(*wall),
                    ..Search::default()
                })
                .collect(),
            failures: vec![String::new(); failures],
            ..Survey::default()
        }
    }

    #[test]
    fn the_exit_code_tells_what_was_found() {
        let found = (Some(100), true, Wall::Server);
        let generator = (Some(100), true, Wall::Generator);
        let unsteady = (Some(100), false, Wall::Server);
        let missed = (None, false, Wall::Server);
        for (searches, failures, expected) in [
            (vec![found, generator], 0, Verdict::Pass),
            (vec![(Some(9), true, Wall::Ceiling)], 0, Verdict::Pass),
            (vec![generator, generator], 0, Verdict::Invalid),
            (vec![unsteady], 0, Verdict::Invalid),
            (vec![(None, false, Wall::Generator)], 1, Verdict::Invalid),
            (vec![found, missed], 0, Verdict::SloMissed),
            (vec![found, missed], 1, Verdict::ConnectionsFailed),
            (vec![], 1, Verdict::ConnectionsFailed),
        ] {
            assert_eq!(verdict(&survey(&searches, failures)), expected, "{searches:?}");
        }
    }

    #[test]
    fn only_the_servers_limits_scale() {
        let mut survey =
            survey(&[(Some(5), true, Wall::Server), (Some(6), true, Wall::Generator)], 0);
        for search in &mut survey.searches {
            search.deliveries_per_s = Some(50.0);
        }
        assert_eq!(edges(&survey.searches).len(), 1);
        assert!(search_notes(&survey.searches)[0].contains("generator"));
    }

    #[test]
    fn limits_of_another_process() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max processes             95961                95961                processes \n\
                    Max open files            1024                 20000                files     \n";
        assert_eq!(hard_limit(text, "Max open files"), Some(20_000.0));
        assert_eq!(hard_limit("Max open files  1024 unlimited files\n", "Max open files"), None);
    }
}
