//! What a unit of load costs the server, from what was measured, and why a cost is missing.

use super::fit::{self, Fit, Quality};
use super::probe::Idle;
use super::record::{Costs, Delivery, Line, Window};
use super::search::Outcome;

/// Everything measured that costs are fitted to.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) windows: Vec<Window>,
    pub(super) idle: Vec<Idle>,
    /// Handshakes of a round, and the server's CPU microseconds for them.
    pub(super) handshakes: Vec<(f64, f64)>,
}

impl Measured {
    /// The costs, and notes on those that are missing or doubtful. `has_fanout`: a publication is
    /// not a delivery.
    pub(super) fn costs(&self, has_pid: bool, has_fanout: bool) -> (Costs, Vec<String>) {
        let mut notes = Vec::new();
        if !has_pid {
            notes.push(
                "the server's CPU and memory were not measured: add --server-pid; nothing is \
                 invented in their place"
                    .to_owned(),
            );
            return (Costs::default(), notes);
        }
        let costs = Costs {
            memory: self.memory(&mut notes),
            kernel: self.kernel(&mut notes),
            descriptors: line(self.idle_points(|idle| idle.descriptors)),
            idle: self.idle_cpu(&mut notes),
            handshake: line(self.handshakes.clone()),
            delivery: self.delivery(has_fanout, &mut notes),
        };
        if costs.handshake.is_none() {
            notes.push("handshakes were not measured, or not enough of them to fit".to_owned());
        }
        (costs, notes)
    }

    fn idle_points(&self, value: impl Fn(&Idle) -> Option<f64>) -> Vec<(f64, f64)> {
        let point = |idle: &Idle| Some((f64::from(idle.connections), value(idle)?));
        self.idle.iter().filter_map(point).collect()
    }

    fn memory(&self, notes: &mut Vec<String>) -> Option<Line> {
        let mut points = self.idle_points(|idle| Some(idle.rss_bytes));
        // What it had before the first connection of all is its own.
        points.extend(self.idle.first().map(|idle| (0.0, idle.rss_before_bytes)));
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        let line = line(points);
        match &line {
            None => {
                notes.push("memory was not measured, or not at enough counts to fit".to_owned())
            }
            Some(line) if line.per_unit <= 0.0 || line.quality.r_squared < TRUSTED => {
                notes.push(
                    "the server's memory did not grow in step with its connections: had it held \
                     more before? Start it anew"
                        .to_owned(),
                );
                return None;
            }
            Some(_) => {}
        }
        line
    }

    /// The whole machine's, so that anything else it does shows in the points. Growth begins with
    /// the first connection: a line that may begin elsewhere is too flat, for the kernel keeps some
    /// of what a round before had.
    fn kernel(&self, notes: &mut Vec<String>) -> Option<Line> {
        let line = line_from_nothing(self.idle_points(|idle| idle.kernel_growth_bytes));
        let trusted = line.filter(|line| line.per_unit > 0.0 && line.quality.r_squared >= TRUSTED);
        if trusted.is_none() && !self.idle.is_empty() {
            notes.push(
                "the kernel's memory did not grow in step with the connections, so what sockets \
                 cost it is left out of the memory"
                    .to_owned(),
            );
        }
        trusted
    }

    fn idle_cpu(&self, notes: &mut Vec<String>) -> Option<Line> {
        if self.idle.is_empty() {
            return None;
        }
        if self.idle.iter().all(|idle| idle.pings == 0) {
            notes.push(
                "no ping came while connections were idle, so the cores leave keeping them alive \
                 out: a longer --hold would measure it"
                    .to_owned(),
            );
            return None;
        }
        line(self.idle_points(|idle| Some(idle.cpu_us_per_s)))
    }

    /// Cores the server used at rest: in the calmest of the idle rounds.
    fn at_rest(&self) -> f64 {
        let cores = self.idle.iter().map(|idle| idle.cpu_us_per_s / 1e6);
        cores.reduce(f64::min).unwrap_or(0.0)
    }

    /// Deliveries, publications and the cores for them of windows that passed: in others the server
    /// may have been doing something else. Of those in which it was no busier than it is planned to
    /// be, if there are enough: one with a backlog sends several messages at once, which costs a
    /// fraction, and no server with cores to spare does. And of those with the most connections, if
    /// these are enough: fewer are in the processor's caches, which makes each delivery cheaper.
    fn loads(&self, base_cores: f64) -> Vec<([f64; 2], f64)> {
        let busiest = self.windows.iter().filter_map(|window| window.server_cores);
        let planned = LOAD * busiest.fold(0.0, f64::max);
        let passed = || self.windows.iter().filter(|window| window.outcome == Outcome::Pass);
        let widest = passed().map(|window| window.connections).max().unwrap_or(0);
        let of = |connections: u32, most: f64| -> Vec<_> {
            let chosen = passed().filter(|window| window.connections >= connections);
            chosen
                .filter_map(|window| Some((window, window.server_cores?)))
                .filter(|(_, cores)| *cores <= most)
                .map(|(w, cores)| ([w.deliveries_per_s, w.achieved], cores - base_cores))
                .collect()
        };
        let choices = [(widest, planned), (0, planned)].map(|(count, most)| of(count, most));
        let enough = choices.into_iter().find(|chosen| chosen.len() >= CALM_MIN);
        enough.unwrap_or_else(|| of(0, f64::INFINITY))
    }

    /// What the server uses at rest is measured, not fitted: a busy server does more at a turn,
    /// which makes a line begin too high.
    fn delivery(&self, has_fanout: bool, notes: &mut Vec<String>) -> Option<Delivery> {
        let base_cores = self.at_rest();
        let both = self.loads(base_cores);
        let deliveries: Vec<_> = both.iter().map(|([d, _], cores)| ([*d], *cores)).collect();
        let split = if has_fanout { fit::least_squares(&both) } else { None };
        if has_fanout && split.is_none() {
            notes.push(
                "publications and deliveries rose together: what a publication costs is within the \
                 cost of its deliveries"
                    .to_owned(),
            );
        }
        let Some(fit) = split.or_else(|| fit::least_squares(&deliveries)) else {
            notes.push("too few windows passed to tell what a delivery costs".to_owned());
            return None;
        };
        let dearest = dearest(&both);
        // Where publications cost nothing, a delivery near the plan must cost what the line says.
        let bears_all = fit.coefficients[1..].iter().all(|cost| *cost == 0.0);
        let is_far_off = bears_all && dearest.coefficients[0] > FAR_OFF * fit.coefficients[0];
        let fit = if fit.quality.r_squared < TRUSTED || is_far_off {
            notes.push(
                "what deliveries cost does not lie on a line, as with a server that sends several \
                 at once when it is busy: planned with the dearest delivery seen with the most \
                 connections"
                    .to_owned(),
            );
            dearest
        } else {
            fit
        };
        let [delivery, publication] = [0, 1].map(|term| fit.coefficients.get(term).copied());
        let delivery = delivery.expect("the first term");
        let point = |([deliveries, publications], cores): &([f64; 2], f64)| {
            let fitted = delivery * deliveries + publication.unwrap_or(0.0) * publications;
            (*deliveries, base_cores + cores, base_cores + fitted)
        };
        Some(Delivery {
            base_cores,
            us_per_delivery: delivery * 1e6,
            us_per_publication: publication.map(|cores| cores * 1e6),
            points: both.iter().map(point).collect(),
            quality: fit.quality,
        })
    }
}

/// One cost for every delivery: the highest of the windows with the most connections, which are
/// nearest to what is planned for. Publications are within it. `points` are those that passed.
fn dearest(points: &[([f64; 2], f64)]) -> Fit {
    // Deliveries of a publication: the connections that take part, whatever the rate.
    let audience = |[deliveries, publications]: [f64; 2]| (deliveries / publications).round();
    let widest = points.iter().map(|(terms, _)| audience(*terms)).fold(0.0, f64::max);
    let near = points.iter().filter(|(terms, _)| audience(*terms) >= 0.9 * widest);
    let dearest = near.map(|([deliveries, _], cores)| cores / deliveries).fold(0.0, f64::max);
    let pairs = points.iter().map(|([deliveries, _], cores)| (*cores, dearest * deliveries));
    Fit { coefficients: vec![dearest], quality: Quality::of(&pairs.collect::<Vec<_>>()) }
}

fn line(points: Vec<(f64, f64)>) -> Option<Line> {
    let rows: Vec<_> = points.iter().map(|(count, value)| ([1.0, *count], *value)).collect();
    let fit = fit::least_squares(&rows)?;
    made(points, fit.coefficients[0], fit.coefficients[1], fit.quality)
}

fn line_from_nothing(points: Vec<(f64, f64)>) -> Option<Line> {
    let rows: Vec<_> = points.iter().map(|(count, value)| ([*count], *value)).collect();
    let fit = fit::least_squares(&rows)?;
    made(points, 0.0, fit.coefficients[0], fit.quality)
}

/// Through two points a line fits without saying whether it is one.
fn made(points: Vec<(f64, f64)>, base: f64, per_unit: f64, quality: Quality) -> Option<Line> {
    (points.len() >= 3).then_some(Line { base, per_unit, points, quality })
}

/// Share of its cores and its link a server is planned to use.
pub(super) const LOAD: f64 = 0.6;

/// Through two a line fits without saying whether it is one.
const CALM_MIN: usize = 3;

/// How much dearer than a line says the dearest delivery near the plan may be, where deliveries
/// bear all costs.
const FAR_OFF: f64 = 2.0;

/// Share of the spread a line must explain to be planned with.
const TRUSTED: f64 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;

    fn window(connections: u32, rate: u64, cores: f64, outcome: Outcome) -> Window {
        Window {
            connections,
            rate,
            achieved: rate as f64,
            deliveries_per_s: (rate * u64::from(connections)) as f64,
            bytes_per_delivery: None,
            p50_us: None,
            p99_us: None,
            raw_p99_us: None,
            lag_p99_us: None,
            server_cores: Some(cores),
            generator_cores: 0.0,
            outcome,
            why: None,
        }
    }

    fn idle(connections: u32, rss_bytes: f64, pings: u64) -> Idle {
        let connections_f = f64::from(connections);
        Idle {
            connections,
            rss_bytes,
            rss_before_bytes: 10e6,
            kernel_growth_bytes: Some(8_000.0 * connections_f),
            descriptors: Some(20.0 + connections_f),
            cpu_us_per_s: 1_000.0 + 2.0 * connections_f,
            pings,
        }
    }

    /// A server of known costs: 1.5 us a delivery, 40 a publication.
    fn measured(pings: u64) -> Measured {
        let cores =
            |audience: u32, rate: u64| 0.003 + rate as f64 * (40e-6 + f64::from(audience) * 1.5e-6);
        let mut windows: Vec<_> = [(10, 100), (10, 2_000), (100, 500), (1_000, 100), (1_000, 300)]
            .map(|(audience, rate)| window(audience, rate, cores(audience, rate), Outcome::Pass))
            .to_vec();
        // One that missed counts for nothing.
        windows.push(window(1_000, 900, 9.0, Outcome::Miss));
        let idle =
            [1_000, 2_000, 4_000].map(|n| idle(n, 10e6 + 5_000.0 * f64::from(n), pings)).to_vec();
        let handshakes = [1e3, 2e3, 3e3].map(|n| (n, 50.0 * n)).to_vec();
        Measured { windows, idle, handshakes }
    }

    #[test]
    fn planted_costs_are_found() {
        let (costs, notes) = measured(7).costs(true, true);
        assert_eq!(notes, Vec::<String>::new());
        let near = |found: f64, wanted: f64| {
            assert!((found / wanted - 1.0).abs() < 1e-6, "{found} is not {wanted}");
        };
        let memory = costs.memory.expect("fitted");
        near(memory.base, 10e6);
        near(memory.per_unit, 5_000.0);
        assert_eq!(memory.points.len(), 4, "nothing is a point too");
        near(costs.kernel.expect("fitted").per_unit, 8_000.0);
        near(costs.descriptors.expect("fitted").per_unit, 1.0);
        near(costs.idle.expect("pings came").per_unit, 2.0);
        near(costs.handshake.expect("fitted").per_unit, 50.0);
        let delivery = costs.delivery.expect("fitted");
        near(delivery.base_cores, 0.003);
        near(delivery.us_per_delivery, 1.5);
        near(delivery.us_per_publication.expect("two audiences"), 40.0);
        assert_eq!(delivery.quality.points, 5);
    }

    #[test]
    fn what_was_not_measured_is_missing_and_told() {
        let (costs, notes) = measured(7).costs(false, true);
        assert!(costs.memory.is_none() && costs.delivery.is_none());
        assert!(notes[0].contains("--server-pid"), "{notes:?}");
        let mut shared = measured(7);
        for (idle, other) in shared.idle.iter_mut().zip([9e6, 1e6, 2e6]) {
            idle.kernel_growth_bytes = Some(other);
        }
        let (costs, notes) = shared.costs(true, true);
        assert!(costs.kernel.is_none() && notes[0].contains("kernel's memory"), "{notes:?}");
        let (costs, notes) = measured(0).costs(true, true);
        assert!(costs.idle.is_none() && notes[0].contains("no ping"), "{notes:?}");
        let (_, notes) = Measured::default().costs(true, true);
        for missing in ["memory", "windows", "handshakes"] {
            assert!(notes.iter().any(|note| note.contains(missing)), "{missing}: {notes:?}");
        }
    }

    #[test]
    fn one_audience_has_one_cost() {
        let mut measured = measured(7);
        measured.windows.retain(|window| window.connections == 1_000);
        let (costs, notes) = measured.costs(true, true);
        let delivery = costs.delivery.expect("fitted");
        assert_eq!(delivery.us_per_publication, None);
        assert!((delivery.us_per_delivery - 1.54).abs() < 1e-6, "{delivery:?}");
        assert!(notes[0].contains("rose together"), "{notes:?}");
        // Of an echo nobody expects two.
        let (_, notes) = measured.costs(true, false);
        assert_eq!(notes, Vec::<String>::new());
    }

    #[test]
    fn what_the_kernel_kept_of_earlier_rounds_does_not_make_the_next_connection_cheap() {
        let mut measured = measured(7);
        let grown = [(2_500, 12.7e6), (5_000, 23.4e6), (7_500, 33.5e6), (10_000, 41.0e6)];
        measured.idle.truncate(0);
        for (connections, bytes) in grown {
            let mut idle = idle(connections, 10e6 + f64::from(connections), 7);
            idle.kernel_growth_bytes = Some(bytes);
            measured.idle.push(idle);
        }
        let kernel = measured.costs(true, true).0.kernel.expect("fitted");
        assert_eq!(kernel.base, 0.0);
        assert!((kernel.at(10_000.0) / 43.2e6 - 1.0).abs() < 0.01, "{kernel:?}");
    }

    #[test]
    fn what_a_backlog_saves_is_not_planned_with() {
        // Searched to its edge, it has several messages for each connection at every turn.
        let mut measured = measured(7);
        let edge = |rate: u64| window(1_000, rate, 0.9, Outcome::Pass);
        measured.windows.extend([1_500, 1_600, 1_700, 1_600, 1_600].map(edge));
        measured.windows.iter_mut().for_each(|window| {
            window.server_cores = window.server_cores.map(|cores| cores.min(0.9));
        });
        let (costs, _) = measured.costs(true, true);
        let delivery = costs.delivery.expect("fitted");
        assert!((delivery.us_per_delivery - 1.5).abs() < 1e-6, "{delivery:?}");
        assert_eq!(delivery.quality.points, 5);
    }

    #[test]
    fn connections_that_fit_into_caches_are_not_planned_with() {
        let mut measured = measured(7);
        let wide = |rate: u64| window(10_000, rate, 0.003 + rate as f64 * 0.06, Outcome::Pass);
        measured.windows.extend([1, 2, 4, 8].map(wide));
        let (costs, _) = measured.costs(true, true);
        let delivery = costs.delivery.expect("fitted");
        assert!((delivery.us_per_delivery - 6.0).abs() < 1e-6, "{delivery:?}");
        assert_eq!(delivery.quality.points, 4);
    }

    #[test]
    fn deliveries_off_every_line_are_planned_at_the_dearest() {
        // Busy with few connections it sends several at once; with many each is a send of its own.
        let mut measured = measured(7);
        let cheap = |rate: u64| window(10, rate, rate as f64 * 10.0 * 0.3e-6, Outcome::Pass);
        let dear = |rate: u64| window(1_000, rate, rate as f64 * 1_000.0 * 2.5e-6, Outcome::Pass);
        measured.windows = vec![cheap(50_000), cheap(100_000), cheap(150_000), dear(50), dear(300)];
        measured.idle.clear();
        let (costs, notes) = measured.costs(true, true);
        let delivery = costs.delivery.expect("measured");
        assert!((delivery.us_per_delivery - 2.5).abs() < 1e-6, "{delivery:?}");
        assert_eq!(delivery.us_per_publication, None);
        assert!(notes.iter().any(|note| note.contains("dearest delivery")), "{notes:?}");
    }

    #[test]
    fn a_server_that_held_more_before_is_found_out() {
        let mut measured = measured(7);
        for idle in &mut measured.idle {
            idle.rss_bytes = 50e6;
            idle.rss_before_bytes = 50e6;
        }
        let (costs, notes) = measured.costs(true, true);
        assert!(costs.memory.is_none() && notes[0].contains("anew"), "{notes:?}");
    }
}
