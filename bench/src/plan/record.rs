//! What a plan is made of, as its JSON tells it: what was measured, what was fitted, what follows.
//!
//! The field names are those of the JSON form, which README describes. It is read back to draw the
//! page; a field that is missing has its default.

use serde::{Deserialize, Serialize};

use super::fit::Quality;
use super::search::{Outcome, Wall};
use super::usl::Usl;

/// Everything a plan adds to the report.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) searches: Vec<Search>,
    pub(crate) windows: Vec<Window>,
    /// What p99 from due may be, if it is bounded.
    pub(crate) objective_p99_us: Option<f64>,
    pub(crate) costs: Costs,
    /// Deliveries a second at the edge, by connections.
    pub(crate) usl: Option<Usl>,
    pub(crate) needs: Vec<Need>,
    /// The name of the need that this machine meets least.
    pub(crate) runs_out_first: Option<String>,
    /// What a reader must know to trust the figures.
    pub(crate) notes: Vec<String>,
}

/// What is planned for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Target {
    pub(crate) connections: f64,
    pub(crate) deliveries_per_s: f64,
    /// Publications of a fan-out, messages of an echo.
    pub(crate) publications_per_s: f64,
    pub(crate) handshakes_per_s: f64,
    /// Subscribers one publication reaches; 1 of an echo.
    pub(crate) audience: f64,
    /// Of cores and the link.
    pub(crate) load_percent: f64,
}

/// The search at one count of connections.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Search {
    pub(crate) connections: u32,
    /// The highest rate that met the objectives; `None`: none did.
    pub(crate) rate: Option<u64>,
    pub(crate) deliveries_per_s: Option<f64>,
    /// The ends of all ascents.
    pub(crate) ends: Vec<u64>,
    /// Whether the last three are within 5 %.
    pub(crate) repeatable: bool,
    pub(crate) ended_by: Option<Wall>,
    /// Why the last window that did not pass did not.
    pub(crate) why: Option<String>,
    pub(crate) windows: u32,
    pub(crate) windows_invalid: u32,
}

/// One window.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Window {
    pub(crate) connections: u32,
    /// Messages or publications offered a second.
    pub(crate) rate: u64,
    pub(crate) achieved: f64,
    pub(crate) deliveries_per_s: f64,
    /// Bytes on the wire, frames with their headers.
    pub(crate) bytes_per_delivery: Option<f64>,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) raw_p99_us: Option<f64>,
    pub(crate) lag_p99_us: Option<f64>,
    pub(crate) server_cores: Option<f64>,
    pub(crate) generator_cores: f64,
    pub(crate) outcome: Outcome,
    /// Why it did not pass.
    pub(crate) why: Option<String>,
}

/// What a unit of load costs the server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Costs {
    /// Resident bytes by idle connections.
    pub(crate) memory: Option<Line>,
    /// Bytes of the kernel by idle connections, half of what both ends take.
    pub(crate) kernel: Option<Line>,
    /// Descriptors of its process by idle connections.
    pub(crate) descriptors: Option<Line>,
    /// CPU microseconds a second by idle connections, pings included.
    pub(crate) idle: Option<Line>,
    /// CPU microseconds by handshakes.
    pub(crate) handshake: Option<Line>,
    pub(crate) delivery: Option<Delivery>,
}

/// A straight line through points of a count and a value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Line {
    pub(crate) base: f64,
    pub(crate) per_unit: f64,
    pub(crate) points: Vec<(f64, f64)>,
    pub(crate) quality: Quality,
}

/// CPU under load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Delivery {
    pub(crate) base_cores: f64,
    pub(crate) us_per_delivery: f64,
    /// `None`: an echo, or all windows had one audience, so that it is within the deliveries' cost.
    pub(crate) us_per_publication: Option<f64>,
    /// Deliveries a second, cores used, cores by the fit.
    pub(crate) points: Vec<(f64, f64, f64)>,
    pub(crate) quality: Quality,
}

/// What the target needs of one resource.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Need {
    pub(crate) name: String,
    /// `bytes`, `cores`, `bits_per_s` or `count`.
    pub(crate) unit: String,
    /// At the target; `None`: it was not measured.
    pub(crate) amount: Option<f64>,
    /// What to have, so that the load stays at the target's share.
    pub(crate) provide: Option<f64>,
    /// What this machine has.
    pub(crate) here: Option<f64>,
    /// `provide` as a share of `here`, in percent.
    pub(crate) share_percent: Option<f64>,
    /// Whether it is the server's; what is not cannot run out there.
    pub(crate) of_server: bool,
    /// What the amount rests on: measured, extrapolated how far, computed or assumed.
    pub(crate) basis: String,
}

impl Line {
    /// The value at `count`.
    pub(crate) fn at(&self, count: f64) -> f64 {
        self.base + self.per_unit * count
    }

    /// The largest count that was measured.
    pub(crate) fn measured_to(&self) -> f64 {
        self.points.iter().map(|(count, _)| *count).fold(0.0, f64::max)
    }
}
