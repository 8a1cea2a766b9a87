//! Takes all measurements of a plan, in an order that keeps them apart: memory first, while the
//! server has not held anything else, and what needs a server that is warm last.

use crate::output;

use super::PlanArgs;
use super::costs::Measured;
use super::probe::{self, ProbeError};
use super::record::{self, Window};
use super::search::{Found, Outcome, Search, Step, WINDOWS_MAX, Wall};

/// What was measured.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) measured: Measured,
    pub(super) searches: Vec<record::Search>,
    /// Connections that could not be opened, in words.
    pub(super) failures: Vec<String>,
}

/// What will be done, and how long that takes.
pub(super) fn announcement(args: &PlanArgs) -> String {
    let searches = args.counts().len() as u32;
    let window = args.warm_up + args.window + OVERHEAD;
    let mut seconds = window.as_secs_f64() * f64::from(searches * WINDOWS_TYPICAL);
    let mut text = format!("{searches} searches of about {WINDOWS_TYPICAL} windows");
    if args.server_pid.is_some() {
        if args.idle > 0 {
            seconds += ROUNDS as f64 * (args.hold + 4 * OVERHEAD).as_secs_f64();
            text = format!("{} idle connections, {text}", args.idle);
        }
        if args.handshakes > 0 {
            seconds += ROUNDS as f64 * 2.0 * OVERHEAD.as_secs_f64();
            text = format!("{} handshakes, {text}", args.handshakes);
        }
    }
    let time = |seconds: f64| match seconds {
        ..90.0 => format!("{seconds:.0} s"),
        _ => format!("{:.0} min", seconds / 60.0),
    };
    let worst =
        seconds + window.as_secs_f64() * f64::from(searches * (WINDOWS_MAX - WINDOWS_TYPICAL));
    format!(
        "this takes about {}, on a busy machine up to {}: {text} of {:.1} s",
        time(seconds),
        time(worst),
        window.as_secs_f64()
    )
}

impl Survey {
    /// Measures everything. What connections cannot be opened for is left out and told.
    pub(super) fn measure(args: &PlanArgs) -> Result<Self, ProbeError> {
        let mut survey = Self::default();
        for count in rounds(args, args.idle) {
            let idle = probe::idle(args, count);
            let Some(idle) = survey.unless_unopened(idle)? else { break };
            if let Some(idle) = idle {
                survey
                    .tell(args, &format!("{count} idle: {:.1} MiB", idle.rss_bytes / 1_048_576.0));
                survey.measured.idle.push(idle);
            }
        }
        for connections in args.counts() {
            let searched = survey.search(args, connections);
            let Some(search) = survey.unless_unopened(searched)? else { break };
            survey.searches.push(search);
        }
        for count in rounds(args, args.handshakes) {
            let handshakes = probe::handshakes(args, count);
            let Some((us, rate)) = survey.unless_unopened(handshakes)? else { break };
            survey.tell(args, &format!("{count} handshakes: {rate:.0}/s"));
            survey.measured.handshakes.extend(us.map(|us| (f64::from(count), us)));
        }
        Ok(survey)
    }

    /// The search at one count.
    fn search(&mut self, args: &PlanArgs, connections: u32) -> Result<record::Search, ProbeError> {
        let mut search = Search::new(args.bounds(connections));
        let first = self.measured.windows.len();
        let found = loop {
            let rate = match search.step() {
                Step::Done(found) => break found,
                Step::Offer(rate) => rate,
            };
            let window = probe::window(args, connections, rate)?;
            search.take(window.outcome);
            self.tell(args, &line(&window));
            self.measured.windows.push(window);
        };
        let search = record(connections, found, &self.measured.windows[first..]);
        self.tell(args, &result(&search));
        Ok(search)
    }

    /// `None`: connections could not be opened, which is noted.
    fn unless_unopened<T>(
        &mut self,
        result: Result<T, ProbeError>,
    ) -> Result<Option<T>, ProbeError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error @ ProbeError::Connections { .. }) => {
                self.failures.push(error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn tell(&self, args: &PlanArgs, text: &str) {
        output::tell(args.quiet, text);
    }
}

/// Rising counts up to `most`, to fit a line through; none without the server's process.
fn rounds(args: &PlanArgs, most: u32) -> impl Iterator<Item = u32> + use<> {
    let rounds = if args.server_pid.is_some() { ROUNDS } else { 0 };
    (1..=rounds).map(move |round| most * round / ROUNDS).filter(|count| *count > 0)
}

/// What `windows` came to.
fn record(connections: u32, found: Found, windows: &[Window]) -> record::Search {
    let invalid = windows.iter().filter(|window| window.outcome == Outcome::Invalid).count();
    let mut search = record::Search {
        connections,
        windows: windows.len() as u32,
        windows_invalid: invalid as u32,
        why: windows.iter().rev().find_map(|window| window.why.clone()),
        ..record::Search::default()
    };
    match found {
        Found::Nothing { wall } => search.ended_by = Some(wall),
        Found::Edge { rate, ends, repeatable, wall } => {
            let at_edge = windows
                .iter()
                .rev()
                .find(|window| window.rate == rate && window.outcome == Outcome::Pass);
            search.rate = Some(rate);
            search.deliveries_per_s = at_edge.map(|window| window.deliveries_per_s);
            search.ends = ends;
            search.repeatable = repeatable;
            search.ended_by = Some(wall);
        }
    }
    search
}

/// One window in a line.
fn line(window: &Window) -> String {
    let Window { connections, rate, outcome, p50_us, p99_us, .. } = window;
    let word = match outcome {
        Outcome::Pass => "pass",
        Outcome::Miss => "miss",
        Outcome::Invalid => "invalid",
    };
    let mut text = format!("{connections} connections, {rate}/s: {word}");
    if let Some((p50, p99)) = p50_us.zip(*p99_us) {
        text += &format!(", p50 {p50:.0} us, p99 {p99:.0} us");
    }
    if let Some(cores) = window.server_cores {
        text += &format!(", server {cores:.2} cores");
    }
    text += &format!(", generator {:.2}", window.generator_cores);
    if let Some(why) = &window.why {
        text += &format!(" ({why})");
    }
    text
}

fn result(search: &record::Search) -> String {
    let why = match search.ended_by {
        Some(Wall::Server) => "the server's limit",
        Some(Wall::Generator) => "the generator's limit, not the server's",
        Some(Wall::Ceiling) => "the highest rate allowed",
        None => "no end",
    };
    match search.rate {
        Some(rate) => {
            let repeated = if search.repeatable { "" } else { "; it did not repeat within 5 %" };
            format!("{} connections: {rate}/s, {why}{repeated}", search.connections)
        }
        None => {
            let last = search.why.as_deref().unwrap_or("nothing was measured");
            format!("{} connections: no rate passed, {why}: {last}", search.connections)
        }
    }
}

/// Points of a line.
const ROUNDS: u32 = 4;

/// What a search of a calm server takes.
const WINDOWS_TYPICAL: u32 = 20;

/// Connecting and closing around a window.
const OVERHEAD: std::time::Duration = std::time::Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_takes_its_figures_from_a_window_that_passed() {
        let window = |rate, deliveries_per_s, outcome| Window {
            connections: 10,
            rate,
            achieved: rate as f64,
            deliveries_per_s,
            bytes_per_delivery: None,
            p50_us: None,
            p99_us: None,
            raw_p99_us: None,
            lag_p99_us: None,
            server_cores: None,
            generator_cores: 0.0,
            outcome,
            why: None,
        };
        let windows = [
            window(100, 1_000.0, Outcome::Pass),
            window(200, 1_700.0, Outcome::Invalid),
            window(100, 900.0, Outcome::Miss),
        ];
        let found =
            Found::Edge { rate: 100, ends: vec![100; 3], repeatable: true, wall: Wall::Generator };
        let search = record(10, found, &windows);
        assert_eq!((search.rate, search.deliveries_per_s), (Some(100), Some(1_000.0)));
        assert_eq!((search.windows, search.windows_invalid), (3, 1));
        assert!(result(&search).contains("not the server's"));
    }
}
