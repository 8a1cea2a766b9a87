//! The result of `limit`, as text and as JSON.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::round::Sample;
use super::spread::Spread;
use super::{Cpus, LimitArgs};
use crate::cli::Verdict;
use crate::environment::Environment;
use crate::report::Tool;

/// The result. The field names are those of the JSON form, which README describes.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    tool: Tool,
    environment: Environment,
    scenario: Scenario,
    limit: Option<Limit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    figures: Option<Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Comparison>,
    verdict: Verdict,
    why: Option<String>,
}

#[derive(Debug, Serialize)]
struct Scenario {
    command: &'static str,
    connections: u32,
    sockets: u32,
    size: usize,
    rounds: u32,
    round_s: f64,
    server_cpu: usize,
    client_cpu: usize,
}

/// The medians alone.
#[derive(Debug, Serialize)]
struct Limit {
    echo_tcp_us_per_message: f64,
    echo_us_per_message: f64,
    send_us_per_socket: f64,
    uring_send_us_per_socket: f64,
    memcpy_gb_per_s: f64,
}

/// Everything measured of the limit.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    echo_tcp: Figure,
    echo_ws_minimal: Figure,
    send: Figure,
    uring_send: Figure,
    memcpy_gb_per_s: f64,
    /// The generator's CPU time a message against the bare client half's.
    generator_ratio: f64,
}

/// One figure's rounds.
#[derive(Debug, Serialize)]
struct Figure {
    server_us_per_message: Spread,
    messages_per_turn: Option<f64>,
    enters_per_message: Option<f64>,
    client_us_per_message: f64,
    messages_per_s: f64,
}

/// A server beside the limit.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    echo_ws_minimal: Figure,
    server: Figure,
    /// The server's CPU time a message against the limit's, round by round.
    ratio: Spread,
    /// The server costs less than the limit: the limit is none.
    limit_is_wrong: bool,
}

impl Figures {
    /// `samples` in the order of the fields.
    pub(super) fn new(samples: &[Vec<Sample>; 4], memcpy_gb_per_s: f64) -> Self {
        let [echo_tcp, echo_ws_minimal, send, uring_send] =
            samples.each_ref().map(|samples| Figure::of(samples));
        let generator_ratio =
            echo_ws_minimal.client_us_per_message / echo_tcp.client_us_per_message;
        Self { echo_tcp, echo_ws_minimal, send, uring_send, memcpy_gb_per_s, generator_ratio }
    }
}

impl Comparison {
    /// Rounds that took turns, in pairs.
    pub(super) fn new(limit: &[Sample], server: &[Sample]) -> Self {
        let pairs = limit.iter().zip(server);
        let ratio = Spread::of(pairs.map(|(limit, server)| us(server) / us(limit)));
        Self {
            echo_ws_minimal: Figure::of(limit),
            server: Figure::of(server),
            limit_is_wrong: ratio.median < TRUSTED_RATIO_MIN,
            ratio,
        }
    }
}

impl Figure {
    fn of(samples: &[Sample]) -> Self {
        let median = |value: fn(&Sample) -> f64| Spread::of(samples.iter().map(value)).median;
        let turned = samples.iter().all(|sample| sample.server.turns > 0);
        Self {
            server_us_per_message: Spread::of(samples.iter().map(us)),
            messages_per_turn: turned.then(|| {
                median(|sample| sample.server.messages as f64 / sample.server.turns as f64)
            }),
            enters_per_message: turned
                .then(|| median(|sample| sample.server.per_message(sample.server.enters))),
            client_us_per_message: median(|sample| sample.client_ns / 1e3),
            messages_per_s: median(|sample| sample.rate),
        }
    }

    fn write_row(&self, name: &str, out: &mut String) -> std::fmt::Result {
        let Spread { median, min, max, .. } = self.server_us_per_message;
        let known = |value: Option<f64>, digits| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
        };
        writeln!(
            out,
            "{name:16} {median:9.2} {:>13} {:>14} {:>14} {:>15.2} {:>11.0}",
            format!("{min:.2}-{max:.2}"),
            known(self.messages_per_turn, 1),
            known(self.enters_per_message, 3),
            self.client_us_per_message,
            self.messages_per_s,
        )
    }
}

impl Report {
    /// The limit's own figures.
    pub(super) fn of_limit(
        args: &LimitArgs,
        rounds: u32,
        round: Duration,
        figures: Figures,
    ) -> Self {
        let us = |figure: &Figure| figure.server_us_per_message.median;
        Self {
            limit: Some(Limit {
                echo_tcp_us_per_message: us(&figures.echo_tcp),
                echo_us_per_message: us(&figures.echo_ws_minimal),
                send_us_per_socket: us(&figures.send),
                uring_send_us_per_socket: us(&figures.uring_send),
                memcpy_gb_per_s: figures.memcpy_gb_per_s,
            }),
            figures: Some(figures),
            ..Self::empty(args, rounds, round)
        }
    }

    /// A server beside the limit.
    pub(super) fn of_comparison(
        args: &LimitArgs,
        rounds: u32,
        round: Duration,
        against: Comparison,
    ) -> Self {
        let why = against.limit_is_wrong.then(|| {
            format!(
                "the limit is wrong: a server costs {:.3} of it, and less than {TRUSTED_RATIO_MIN} \
                 cannot be",
                against.ratio.median
            )
        });
        let verdict = if why.is_some() { Verdict::Invalid } else { Verdict::Pass };
        Self { against: Some(against), verdict, why, ..Self::empty(args, rounds, round) }
    }

    fn empty(args: &LimitArgs, rounds: u32, round: Duration) -> Self {
        let Cpus { server, client } = args.cpus();
        Self {
            tool: Tool::read(),
            environment: Environment::read(),
            scenario: Scenario {
                command: "limit",
                connections: args.connections,
                sockets: args.sockets,
                size: args.size,
                rounds,
                round_s: round.as_secs_f64(),
                server_cpu: server,
                client_cpu: client,
            },
            limit: None,
            figures: None,
            against: None,
            verdict: Verdict::Pass,
            why: None,
        }
    }

    /// What the exit code tells: a limit that a server undercuts is none.
    pub(super) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The JSON form.
    pub(super) fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain values") + "\n"
    }

    /// A short table for people.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        self.write_text(&mut out).expect("writing to a string does not fail");
        out.truncate(out.trim_end().len());
        out
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        let Scenario {
            connections, sockets, size, rounds, round_s, server_cpu, client_cpu, ..
        } = &self.scenario;
        writeln!(
            out,
            "{rounds} rounds of {round_s:.2} s in turn; {size} bytes; echo over {connections} \
             connections, send to {sockets} sockets; server half on core {server_cpu}, client half \
             on core {client_cpu}"
        )?;
        writeln!(
            out,
            "{:16} {:>9} {:>13} {:>14} {:>14} {:>15} {:>11}",
            "CPU a message",
            "server us",
            "min-max",
            "messages/turn",
            "enters/message",
            "client us",
            "messages/s"
        )?;
        if let Some(figures) = &self.figures {
            figures.echo_tcp.write_row("echo_tcp", out)?;
            figures.echo_ws_minimal.write_row("echo_ws_minimal", out)?;
            figures.send.write_row("send", out)?;
            figures.uring_send.write_row("uring_send", out)?;
            let Figures { memcpy_gb_per_s, generator_ratio, .. } = figures;
            writeln!(out, "memcpy           {memcpy_gb_per_s:9.2} GB/s")?;
            writeln!(out, "generator        {generator_ratio:9.2} times the bare client half")?;
        }
        if let Some(Comparison { echo_ws_minimal, server, ratio, .. }) = &self.against {
            echo_ws_minimal.write_row("echo_ws_minimal", out)?;
            server.write_row("the server", out)?;
            let interval = ratio.interval95.map_or_else(
                || "too few rounds for an interval".to_owned(),
                |[low, high]| format!("95 %: {low:.3} to {high:.3}"),
            );
            let Spread { median, min, max, .. } = ratio;
            writeln!(out, "ratio            {median:9.3} ({interval}; all: {min:.3} to {max:.3})")?;
        }
        if let Some(why) = &self.why {
            writeln!(out, "not valid        {why}")?;
        }
        Ok(())
    }
}

/// The server's CPU time a message.
fn us(sample: &Sample) -> f64 {
    sample.server.per_message(sample.server.cpu_ns) / 1e3
}

/// A server that costs less than this part of the limit shows the limit to be wrong.
const TRUSTED_RATIO_MIN: f64 = 0.97;
