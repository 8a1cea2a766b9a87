//! Whether the figures of a run are the server's or the generator's own.

use super::server::Server;
use crate::run::{Pace, Scenario};

/// Why the figures are the generator's and not the server's; `None`: they are the server's, as far
/// as can be told. `cpu_percent` is that of one thread of the generator.
pub(super) fn judge(
    scenario: &Scenario,
    cpu_percent: f64,
    lag_p99_us: Option<f64>,
    received_per_s: f64,
    server: Option<&Server>,
) -> Option<String> {
    let server_busy = server.is_some_and(|server| server.busy_percent() >= BUSY_PERCENT);
    match scenario.pace {
        Pace::Idle => None,
        Pace::ClosedLoop => (!server_busy).then(|| {
            let server = match server {
                Some(server) => format!("the server used {:.0} % of a core", server.busy_percent()),
                None => "what the server used is not known without --server-pid".to_owned(),
            };
            format!(
                "generator-bound: {server}, the generator's threads {cpu_percent:.0} % of one each: \
                 the figures are what this load makes of the server, not what it can do at most"
            )
        }),
        Pace::Rate(rate) => match lag_p99_us {
            Some(lag) if lag > LAG_MAX_US => {
                Some(format!("the generator was behind its schedule by {lag:.0} us at p99"))
            }
            // In time for its schedule, yet too busy to say what the server could have done.
            _ => {
                let bound = cpu_percent >= BUSY_PERCENT && !server_busy;
                (bound && received_per_s < KEPT_MIN * rate as f64).then(|| {
                    format!(
                        "generator-bound: {received_per_s:.0} a second came back of the {rate} \
                         asked for while the generator's threads used {cpu_percent:.0} % of a core \
                         each, and the server is not known to have been as busy"
                    )
                })
            }
        },
    }
}

/// Latest a schedule may be served, at p99, for its latencies to be the server's.
const LAG_MAX_US: f64 = 1_000.0;

/// The part of the rate asked for from which on it was kept.
const KEPT_MIN: f64 = 0.995;

/// From here on a thread, or a server, counts as limited by its core.
const BUSY_PERCENT: f64 = 90.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generator_without_cpu_to_spare_is_the_limit() {
        let second = std::time::Duration::from_secs(1);
        let scenario = |pace| Scenario { pace, size: 64, warm_up: second, duration: second };
        let rate = scenario(Pace::Rate(1_000));
        let valid = |scenario: &Scenario, cpu, lag, received| {
            judge(scenario, cpu, Some(lag), received, None).is_none()
        };
        assert!(valid(&rate, 50.0, 1_000.0, 1_000.0));
        assert!(!valid(&rate, 50.0, 1_001.0, 1_000.0), "late");
        // A server that cannot keep up is no fault of the generator's.
        assert!(valid(&rate, 50.0, 10.0, 500.0));
        assert!(valid(&rate, 95.0, 10.0, 995.0));
        assert!(!valid(&rate, 95.0, 10.0, 994.0), "bound");
        // Nobody has said what the server used.
        assert!(!valid(&scenario(Pace::ClosedLoop), 5.0, 0.0, 5.0), "bound");
        assert!(valid(&scenario(Pace::Idle), 95.0, 0.0, 0.0));
    }
}
