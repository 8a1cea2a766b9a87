//! The result of `limit`, as text and as JSON.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::decision::Decision;
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
    #[serde(skip_serializing_if = "Option::is_none")]
    generator: Option<GeneratorCost>,
    verdict: Verdict,
    why: Option<String>,
}

#[derive(Debug, Serialize)]
struct Scenario {
    command: &'static str,
    connections: u32,
    sockets: u32,
    rate: Option<u64>,
    size: usize,
    protocol: &'static str,
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
    uring_send_paced_us_per_socket: Option<f64>,
    memcpy_gb_per_s: f64,
}

/// Everything measured of the limit.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    echo_tcp: Figure,
    echo_ws_minimal: Figure,
    send: Figure,
    uring_send: Figure,
    uring_send_paced: Option<Figure>,
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
    bytes_per_message: Option<f64>,
}

/// A server beside the limit.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    /// One of these is the limit.
    echo_ws_minimal: Option<Figure>,
    uring_send_paced: Option<Figure>,
    /// The other way through the server.
    baseline: Option<Figure>,
    server: Figure,
    /// The server's CPU time a message against the limit's, round by round.
    ratio: Spread,
    /// The server costs less than the limit: the limit is none.
    limit_is_wrong: bool,
    /// Of a fan-out: deliveries a second that were offered, and whether both came within 1 % of
    /// them.
    offered_per_s: Option<f64>,
    rate_kept: bool,
    /// Of two ways: whether a message took the same bytes on both, within 1 %.
    bytes_kept: Option<bool>,
    /// Of two ways: what is wanted at most.
    goal: Option<f64>,
    verdict: Option<Decision>,
}

/// What a server is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// The least WebSocket echo.
    Echo,
    /// A paced send to all sockets.
    Paced,
    /// Another way through the same server.
    Baseline,
}

/// The generator beside the bare client half.
#[derive(Debug, Serialize)]
pub(super) struct GeneratorCost {
    bare: Figure,
    generator: Figure,
    /// The generator's CPU time a message against the bare client half's, round by round.
    ratio: Spread,
    /// What is wanted at most.
    goal: f64,
    verdict: Decision,
}

impl Figures {
    /// `samples` in the order of the fields.
    pub(super) fn new(samples: &[Vec<Sample>; 5], memcpy_gb_per_s: f64) -> Self {
        let [echo_tcp, echo_ws_minimal, send, uring_send, paced] = samples;
        let [echo_tcp, echo_ws_minimal, send, uring_send] =
            [echo_tcp, echo_ws_minimal, send, uring_send].map(|samples| Figure::of(samples));
        let uring_send_paced = (!paced.is_empty()).then(|| Figure::of(paced));
        let generator_ratio =
            echo_ws_minimal.client_us_per_message / echo_tcp.client_us_per_message;
        Self {
            echo_tcp,
            echo_ws_minimal,
            send,
            uring_send,
            uring_send_paced,
            memcpy_gb_per_s,
            generator_ratio,
        }
    }
}

impl Comparison {
    /// Rounds that took turns, in pairs; of a fan-out, at how many deliveries a second.
    pub(super) fn new(
        limit: &[Sample],
        server: &[Sample],
        beside: Beside,
        offered: Option<Offered>,
    ) -> Self {
        let pairs = limit.iter().zip(server);
        let ratio = Spread::of(pairs.map(|(limit, server)| us(server) / us(limit)));
        let (limit, server) = (Figure::of(limit), Figure::of(server));
        let kept = |figure: &Figure| {
            offered.is_none_or(|Offered { per_s, edge_per_s }| {
                (figure.messages_per_s - per_s).abs() <= RATE_OFF_MAX * per_s + edge_per_s
            })
        };
        let rate_kept = kept(&limit) && kept(&server);
        let is_baseline = beside == Beside::Baseline;
        let bytes = limit.bytes_per_message.zip(server.bytes_per_message);
        let same = |(one, other): (f64, f64)| (one - other).abs() <= BYTES_OFF_MAX * one;
        let (mut echo_ws_minimal, mut uring_send_paced, mut baseline) = (None, None, None);
        *match beside {
            Beside::Echo => &mut echo_ws_minimal,
            Beside::Paced => &mut uring_send_paced,
            Beside::Baseline => &mut baseline,
        } = Some(limit);
        Self {
            rate_kept,
            bytes_kept: is_baseline.then(|| bytes.is_some_and(same)),
            echo_ws_minimal,
            uring_send_paced,
            baseline,
            server,
            limit_is_wrong: !is_baseline && ratio.median < TRUSTED_RATIO_MIN,
            goal: is_baseline.then_some(PROTOCOL_RATIO_MAX),
            verdict: is_baseline.then(|| Decision::of(&ratio, PROTOCOL_RATIO_MAX)),
            ratio,
            offered_per_s: offered.map(|offered| offered.per_s),
        }
    }
}

/// The load of a fan-out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offered {
    /// Deliveries.
    pub(super) per_s: f64,
    /// By how much a round may be off because it begins and ends between two receipts.
    pub(super) edge_per_s: f64,
}

impl GeneratorCost {
    /// Rounds that took turns, in pairs.
    pub(super) fn new(bare: &[Sample], generator: &[Sample]) -> Self {
        let pairs = bare.iter().zip(generator);
        let ratio = Spread::of(pairs.map(|(bare, full)| full.client_ns / bare.client_ns));
        Self {
            bare: Figure::of(bare),
            generator: Figure::of(generator),
            verdict: Decision::of(&ratio, GENERATOR_RATIO_MAX),
            ratio,
            goal: GENERATOR_RATIO_MAX,
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
            bytes_per_message: samples
                .iter()
                .all(|sample| sample.wire_bytes.is_some())
                .then(|| median(|sample| sample.wire_bytes.unwrap_or_default())),
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
                uring_send_paced_us_per_socket: figures.uring_send_paced.as_ref().map(us),
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
        let why = against.why();
        let verdict = if why.is_some() { Verdict::Invalid } else { Verdict::Pass };
        Self { against: Some(against), verdict, why, ..Self::empty(args, rounds, round) }
    }

    /// The generator beside the bare client half.
    pub(super) fn of_generator(
        args: &LimitArgs,
        rounds: u32,
        round: Duration,
        generator: GeneratorCost,
    ) -> Self {
        Self { generator: Some(generator), ..Self::empty(args, rounds, round) }
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
                rate: args.rate,
                size: args.size,
                protocol: args.session.protocol.name(),
                rounds,
                round_s: round.as_secs_f64(),
                server_cpu: server,
                client_cpu: client,
            },
            limit: None,
            figures: None,
            against: None,
            generator: None,
            verdict: Verdict::Pass,
            why: None,
        }
    }

    /// What the exit code tells: a limit that a server undercuts is none, and a
    /// load that both did not carry decides nothing.
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
            if let Some(paced) = &figures.uring_send_paced {
                paced.write_row("uring_send_paced", out)?;
            }
            let Figures { memcpy_gb_per_s, generator_ratio, .. } = figures;
            writeln!(out, "memcpy           {memcpy_gb_per_s:9.2} GB/s")?;
            writeln!(out, "generator        {generator_ratio:9.2} times the bare client half")?;
        }
        if let Some(comparison) = &self.against {
            comparison.write_text(out)?;
        }
        if let Some(GeneratorCost { bare, generator, ratio, goal, verdict }) = &self.generator {
            bare.write_row("bare client half", out)?;
            generator.write_row("generator", out)?;
            ratio.write_text("client ratio", out)?;
            writeln!(out, "goal             at most {goal}: {}", verdict.told())?;
        }
        if let Some(why) = &self.why {
            writeln!(out, "not valid        {why}")?;
        }
        Ok(())
    }
}

impl Comparison {
    /// Why it decides nothing.
    fn why(&self) -> Option<String> {
        match self.offered_per_s {
            Some(offered) if !self.rate_kept => {
                Some(format!("{offered:.0} deliveries a second were not kept by both"))
            }
            _ if self.bytes_kept == Some(false) => {
                Some("a message did not take the same bytes on both ways".to_owned())
            }
            _ => self.limit_is_wrong.then(|| {
                format!(
                    "the limit is wrong: a server costs {:.3} of it, and less than \
                     {TRUSTED_RATIO_MIN} cannot be",
                    self.ratio.median
                )
            }),
        }
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        let Self { echo_ws_minimal, uring_send_paced, baseline, .. } = self;
        for (name, figure) in [
            ("echo_ws_minimal", echo_ws_minimal),
            ("uring_send_paced", uring_send_paced),
            ("baseline", baseline),
        ] {
            if let Some(figure) = figure {
                figure.write_row(name, out)?;
            }
        }
        self.server.write_row("the server", out)?;
        self.ratio.write_text("ratio", out)?;
        let bytes = baseline.as_ref().and_then(|other| other.bytes_per_message);
        if let Some((baseline, server)) = bytes.zip(self.server.bytes_per_message) {
            writeln!(out, "bytes a message  baseline {baseline:.1}, the server {server:.1}")?;
        }
        match self.goal.zip(self.verdict) {
            Some((goal, verdict)) => {
                writeln!(out, "goal             at most {goal}: {}", verdict.told())
            }
            None => Ok(()),
        }
    }
}

/// The server's CPU time a message.
fn us(sample: &Sample) -> f64 {
    sample.server.per_message(sample.server.cpu_ns) / 1e3
}

/// A server that costs less than this part of the limit shows the limit to be wrong.
const TRUSTED_RATIO_MIN: f64 = 0.97;

/// A pair whose deliveries a second are further from those offered is not compared at one load.
const RATE_OFF_MAX: f64 = 0.01;

/// Messages whose bytes on the wire are further apart are not the same load.
const BYTES_OFF_MAX: f64 = 0.01;

/// What a protocol may cost beside the raw one.
const PROTOCOL_RATIO_MAX: f64 = 1.1;

/// What the generator may cost beside the bare client half.
const GENERATOR_RATIO_MAX: f64 = 1.2;
