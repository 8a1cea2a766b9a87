//! What a unit of load costs the server, from what was measured, and why a cost is missing.

use super::fit::{self, Quality};
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

    /// Of windows that passed: in others the server may have been doing something else.
    fn delivery(&self, has_fanout: bool, notes: &mut Vec<String>) -> Option<Delivery> {
        let passed = || {
            let passed = self.windows.iter().filter(|window| window.outcome == Outcome::Pass);
            passed.filter_map(|window| Some((window, window.server_cores?)))
        };
        let with_publications: Vec<_> = passed()
            .map(|(window, cores)| ([1.0, window.deliveries_per_s, window.achieved], cores))
            .collect();
        let without: Vec<_> =
            with_publications.iter().map(|([one, d, _], cores)| ([*one, *d], *cores)).collect();
        let three = if has_fanout { fit::least_squares(&with_publications) } else { None };
        let is_split = three.is_some();
        let Some(fit) = three.or_else(|| fit::least_squares(&without)) else {
            notes.push("too few windows passed to tell what a delivery costs".to_owned());
            return None;
        };
        if has_fanout && !is_split {
            notes.push(
                "publications and deliveries rose together: what a publication costs is within the \
                 cost of its deliveries"
                    .to_owned(),
            );
        }
        let publication = fit.coefficients.get(2).copied();
        let fitted = |[_, deliveries, publications]: [f64; 3]| {
            fit.coefficients[0]
                + fit.coefficients[1] * deliveries
                + publication.unwrap_or(0.0) * publications
        };
        Some(Delivery {
            base_cores: fit.coefficients[0],
            us_per_delivery: fit.coefficients[1] * 1e6,
            us_per_publication: publication.map(|cores| cores * 1e6),
            points: with_publications
                .iter()
                .map(|(terms, cores)| (terms[1], *cores, fitted(*terms)))
                .collect(),
            quality: fit.quality,
        })
    }
}

fn line(points: Vec<(f64, f64)>) -> Option<Line> {
    let rows: Vec<_> = points.iter().map(|(count, value)| ([1.0, *count], *value)).collect();
    // Through two points a line fits without saying whether it is one.
    let fit = fit::least_squares(&rows).filter(|_| points.len() >= 3)?;
    let quality: Quality = fit.quality;
    Some(Line { base: fit.coefficients[0], per_unit: fit.coefficients[1], points, quality })
}

/// Share of the spread a line must explain to be planned with.
const TRUSTED: f64 = 0.9;
