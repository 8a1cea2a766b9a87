//! A run as its JSON tells it: what is read back from a file, be it of an older version.
//!
//! A field that is missing is absent, and one that is new is shown without being understood.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::output::{Point, Sample};
use crate::plan::Plan;

/// Fields of a part whose names are not known here.
pub(crate) type Fields = Map<String, Value>;

/// One run. `README.md` tells what the fields hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Recorded {
    pub(crate) tool: Fields,
    pub(crate) environment: Fields,
    pub(crate) scenario: Fields,
    pub(crate) connections: Fields,
    pub(crate) duration_s: f64,
    pub(crate) rate: Fields,
    pub(crate) messages: Fields,
    pub(crate) latency_us: Option<Fields>,
    pub(crate) latency_raw_us: Option<Fields>,
    pub(crate) server: Option<Fields>,
    pub(crate) generator: Fields,
    pub(crate) fanout: Option<Fields>,
    pub(crate) plan: Option<Plan>,
    pub(crate) slo: Vec<Fields>,
    pub(crate) verdict: Option<String>,
    pub(crate) percentiles: Vec<Point>,
    pub(crate) intervals: Vec<Sample>,
}

/// A file that tells of no run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordedError {
    #[error("{path}: {error}")]
    Unreadable { path: String, error: std::io::Error },
    #[error("{path} is no result of a run: {error}")]
    Malformed { path: String, error: serde_json::Error },
    #[error("{path} is no result of a run: it names no scenario")]
    NoScenario { path: String },
}

impl Recorded {
    /// Reads the file that `--json` wrote.
    pub(crate) fn read(path: &Path) -> Result<Self, RecordedError> {
        let name = || path.display().to_string();
        let text = fs::read_to_string(path)
            .map_err(|error| RecordedError::Unreadable { path: name(), error })?;
        let recorded =
            Self::parse(&text).map_err(|error| RecordedError::Malformed { path: name(), error })?;
        if recorded.scenario.contains_key("command") {
            Ok(recorded)
        } else {
            Err(RecordedError::NoScenario { path: name() })
        }
    }

    /// Reads the text that `--json` writes.
    pub(crate) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// What was run: `echo`, `fanout`.
    pub(crate) fn command(&self) -> &str {
        text(&self.scenario, "command").unwrap_or("run")
    }

    /// What its rate counts; a fan-out receives more than is asked for.
    pub(crate) fn rate_of(&self) -> &'static str {
        match self.command() {
            "fanout" => "publications",
            "connect" => "handshakes",
            _ => "messages",
        }
    }

    /// Whether the figures say nothing, by the run's own verdict where it has one: a closed loop
    /// that was bound by its generator still shows what it shows.
    pub(crate) fn is_void(&self) -> bool {
        self.verdict.as_deref().map_or(!self.is_valid(), |verdict| verdict == "invalid")
    }

    /// Whether the figures are the server's, as far as the generator could tell.
    pub(crate) fn is_valid(&self) -> bool {
        self.generator.get("valid").and_then(Value::as_bool).unwrap_or(true)
    }
}

/// A number of `fields`, if it is there.
pub(crate) fn number(fields: &Fields, name: &str) -> Option<f64> {
    fields.get(name)?.as_f64()
}

/// A text of `fields`, if it is there.
pub(crate) fn text<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.get(name)?.as_str()
}
