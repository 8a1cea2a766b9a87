//! What was asked of a run: everything that must be equal for two runs to be compared.

use serde::Serialize;

use crate::cli::ConnectArgs;
use crate::pinning;
use crate::run::{Pace, Scenario};

/// The part `scenario` of the report. The field names are those of the JSON form; what a command
/// does not take is `null`.
#[derive(Debug, Serialize)]
pub(super) struct ScenarioReport {
    pub(super) command: &'static str,
    url: String,
    connections: u32,
    rate: Option<u64>,
    size: Option<usize>,
    duration_s: Option<f64>,
    warm_up_s: Option<f64>,
    ramp_s: Option<f64>,
    threads: u16,
    pin: Option<Vec<usize>>,
    server_cpu: Option<usize>,
    source_ip: Option<String>,
    pub(super) compression: bool,
    protocol: Option<&'static str>,
    channel: Option<String>,
    #[serde(flatten)]
    fanout: FanoutScenario,
}

/// The fields that only a fan-out has.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct FanoutScenario {
    pub(crate) publish: Option<String>,
    pub(crate) publishers: Option<u16>,
    pub(crate) subscribe: Option<String>,
    pub(crate) channels: Option<u16>,
    pub(crate) zipf: Option<f64>,
    pub(crate) slow_readers: Option<u32>,
    pub(crate) churn: Option<u64>,
}

impl ScenarioReport {
    /// What `command` was asked to do.
    pub(super) fn new(
        command: &'static str,
        connect: &ConnectArgs,
        scenario: &Scenario,
        fanout: FanoutScenario,
    ) -> Self {
        // The handshakes of `connect` are done when they are done, and no message is sent.
        let timed = command != "connect";
        let session = &connect.session;
        Self {
            command,
            url: connect.url.to_string(),
            connections: connect.connections,
            rate: match scenario.pace {
                Pace::Rate(rate) => Some(rate),
                Pace::Idle | Pace::ClosedLoop => None,
            },
            size: (timed && command != "idle").then_some(scenario.size),
            duration_s: timed.then_some(scenario.duration.as_secs_f64()),
            warm_up_s: timed.then_some(scenario.warm_up.as_secs_f64()),
            ramp_s: timed.then_some(connect.ramp.as_secs_f64()),
            threads: connect.threads,
            // Cores that cannot be told now were not bound to either: the run would have ended.
            pin: pinning::cores(connect).ok().flatten(),
            server_cpu: connect.server_cpu,
            source_ip: connect.source_ip.map(|sources| sources.to_string()),
            compression: connect.compression,
            protocol: (session.is_centrifuge() || command == "fanout")
                .then_some(session.protocol.name()),
            channel: session.is_centrifuge().then(|| session.channel().to_owned()),
            fanout,
        }
    }
}
