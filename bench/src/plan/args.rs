//! What `plan` takes on the command line, and the runs it is made of.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::{ConnectArgs, HandshakeArgs, MAX_SIZE, duration};
use crate::descriptors::Descriptors;
use crate::dial::Sources;
use crate::fanout::{FanoutArgs, PublishUrl};
use crate::output::OutputArgs;
use crate::pinning::Pin;
use crate::session::{Protocol, SessionArgs};
use crate::slo::Slo;
use crate::target::Target;

use super::search::Bounds;

/// What `plan` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct PlanArgs {
    /// Where to connect to: an echo such as ws://127.0.0.1:8000/echo, or with --publish where
    /// publications come from.
    #[arg(long)]
    pub(crate) url: Target,
    /// Where to publish, as fanout takes it; without it the search is over an echo.
    #[arg(long, value_name = "URL")]
    pub(crate) publish: Option<PublishUrl>,
    /// What every window is held to. Without a bound on them, also: no message lost, doubled, out
    /// of order or dropped by policy, and no connection lost.
    #[arg(long, value_name = "OBJECTIVES", default_value = "p99<=50ms,loss=0")]
    pub(crate) slo: Slo,
    /// Connections to plan for.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=TARGET_MAX))]
    pub(crate) target_connections: u64,
    /// Messages to all of them a second to plan for (an echo: messages back).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=TARGET_MAX))]
    pub(crate) target_deliveries: u64,
    /// Handshakes a second to plan for.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=TARGET_MAX))]
    pub(crate) target_handshakes: u64,
    /// Subscribers one publication reaches in the plan [default: the largest of --connections].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=TARGET_MAX))]
    pub(crate) target_audience: Option<u64>,
    /// The network link of the machine to plan for, in gigabits a second.
    #[arg(long, value_name = "GBIT", default_value_t = 10.0, value_parser = link)]
    pub(crate) link: f64,
    /// How many connections to search with, one search each.
    #[arg(long, visible_alias = "subscribers", value_delimiter = ',', default_value = "10,30,100,200,500,1000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections: Vec<u32>,
    /// Lowest rate a search may offer: messages, or publications, a second; at least ten a window.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) min_rate: u64,
    /// Highest rate a search may offer.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) max_rate: u64,
    /// How long each window is measured.
    #[arg(long, default_value = "2s", value_parser = window)]
    pub(crate) window: Duration,
    /// How long each window runs before it is measured.
    #[arg(long, default_value = "500ms", value_parser = duration)]
    pub(crate) warm_up: Duration,
    /// Most connections to hold idle, to learn what one costs; 0: none.
    #[arg(long, value_name = "N", default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub(crate) idle: u32,
    /// How long to hold them. Longer than the server's pings are apart, it shows what those cost.
    #[arg(long, default_value = "1s", value_parser = window)]
    pub(crate) hold: Duration,
    /// Most handshakes of a round, to learn what one costs; 0: none.
    #[arg(long, value_name = "N", default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub(crate) handshakes: u32,
    /// Bytes of a message's payload.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(34..=MAX_SIZE as i64))]
    pub(crate) size: u32,
    /// What a connection does once it is upgraded.
    #[command(flatten)]
    pub(crate) session: SessionArgs,
    /// A text each subscriber sends when it is open; {channel} stands for the channel's name.
    #[arg(long, value_name = "TEXT")]
    pub(crate) subscribe: Option<String>,
    /// Sent as X-API-Key when publishing over HTTP.
    #[arg(long, value_name = "KEY")]
    pub(crate) api_key: Option<String>,
    /// Addresses of this machine to connect from in turn, such as 127.0.1.1-127.0.1.8.
    #[arg(long, value_name = "FIRST-LAST")]
    pub(crate) source_ip: Option<Sources>,
    /// Generator threads, each with a ring of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: u16,
    /// Bind each generator thread to a core: of those named, such as --pin=1 or --pin=2-3,6, else
    /// of all this process may use. The server's core is not among them.
    #[arg(long, value_name = "CORES", num_args = 0..=1, require_equals = true, default_missing_value = Pin::ALLOWED)]
    pub(crate) pin: Option<Pin>,
    /// The core the server has for itself: what is planned with is how busy that was, softirqs
    /// included. The load generator stays off it.
    #[arg(long, value_name = "CORE", requires = "server_pid")]
    pub(crate) server_cpu: Option<usize>,
    /// The server's process, on this machine, started anew: without it there is no cost of memory
    /// and CPU to plan with.
    #[arg(long, value_name = "PID")]
    pub(crate) server_pid: Option<u32>,
    /// Write the result as JSON to this file too.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write a page with plots that opens without a network.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Show no progress.
    #[arg(long)]
    pub(crate) quiet: bool,
}

impl PlanArgs {
    /// What a run of `connections` that is one part of the plan takes.
    pub(super) fn connect(&self, connections: u32) -> ConnectArgs {
        ConnectArgs {
            url: self.url.clone(),
            connections,
            ramp: Duration::ZERO,
            source_ip: self.source_ip,
            compression: false,
            descriptors: Descriptors::Auto,
            threads: self.threads,
            pin: self.pin.clone(),
            server_pid: self.server_pid,
            server_cpu: self.server_cpu,
            slo: Some(self.slo.clone()),
            json: None,
            session: self.session.clone(),
            output: self.output(),
        }
    }

    /// A window of a fan-out to `publish`.
    pub(super) fn fanout(&self, publish: &PublishUrl, connections: u32, rate: u64) -> FanoutArgs {
        FanoutArgs {
            connect: self.connect(connections),
            publish: publish.clone(),
            rate,
            size: self.size as usize,
            duration: self.window,
            warm_up: self.warm_up,
            channels: self.channels(connections),
            zipf: None,
            subscribe: self.subscribe.clone(),
            publishers: None,
            api_key: self.api_key.clone(),
            slow_readers: 0,
            churn: 0,
        }
    }

    /// Channels that `connections` are spread over: so many that one publication reaches as many of
    /// them as in the plan, if there are more. One where the server sends to everyone.
    fn channels(&self, connections: u32) -> u16 {
        if self.session.protocol == Protocol::None {
            return 1;
        }
        let fit = |audience: u64| (u64::from(connections) / audience).clamp(1, CHANNELS_MAX) as u16;
        self.target_audience.map_or(1, fit)
    }

    /// `count` handshakes as fast as the server takes them.
    pub(super) fn handshakes(&self, count: u32) -> HandshakeArgs {
        HandshakeArgs { connect: self.connect(count), rate: 0 }
    }

    /// What is shown of a part.
    pub(super) fn output(&self) -> OutputArgs {
        OutputArgs { quiet: self.quiet, is_window: true, ..OutputArgs::default() }
    }

    /// The counts to search with, rising, each once.
    pub(super) fn counts(&self) -> Vec<u32> {
        let mut counts = self.connections.clone();
        counts.sort_unstable();
        counts.dedup();
        counts
    }

    /// Where a search with `connections` begins: so low that windows on the way up tell what a
    /// delivery costs a server with no backlog.
    pub(super) fn bounds(&self, connections: u32) -> Bounds {
        let audience = match self.publish {
            Some(_) => connections / u32::from(self.channels(connections)),
            None => 1,
        };
        let start = FIRST_DELIVERIES / u64::from(audience);
        let (min, max) = (self.lowest_rate(), self.max_rate);
        Bounds { min, start: start.clamp(min, max), max }
    }

    /// The lowest rate that may be offered: in a window without messages every server is slow.
    pub(super) fn lowest_rate(&self) -> u64 {
        self.min_rate.max((MESSAGES_MIN / self.window.as_secs_f64()).ceil() as u64)
    }
}

/// A time that is long enough to measure in.
fn window(text: &str) -> Result<Duration, String> {
    let window = duration(text)?;
    let fits = (WINDOW_MIN..=WINDOW_MAX).contains(&window);
    if fits { Ok(window) } else { Err("from 100ms to 10m".to_owned()) }
}

fn link(text: &str) -> Result<f64, &'static str> {
    let gbit = text.parse().ok().filter(|gbit| (0.001..=10_000.0).contains(gbit));
    gbit.ok_or("write gigabits a second, such as 1, 10 or 2.5")
}

/// More than any machine's; products of two stay exact in a double.
const TARGET_MAX: u64 = 1_000_000_000_000;

/// Shorter windows hold too little to judge.
const WINDOW_MIN: Duration = Duration::from_millis(100);

/// Publications of longer ones could not all be accounted for.
const WINDOW_MAX: Duration = Duration::from_secs(600);

/// Messages a second of the first window of a search, at least: to double a rate takes fewer
/// windows than to halve it.
const FIRST_DELIVERIES: u64 = 4_000;

/// As many as a fan-out takes.
const CHANNELS_MAX: u64 = 10_000;

/// Messages that are due in a window at least.
const MESSAGES_MIN: f64 = 10.0;

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        plan: PlanArgs,
    }

    fn plan(more: &[&str]) -> PlanArgs {
        let fixed = "plan --url ws://127.0.0.1:1/raw --publish http://127.0.0.1:1/api/publish \
                     --target-connections 1000000 --target-deliveries 500000";
        let line = fixed.split_ascii_whitespace().chain(more.iter().copied());
        Line::try_parse_from(line).expect("arguments").plan
    }

    #[test]
    fn a_publication_reaches_as_many_as_in_the_plan() {
        let asked = plan(&["--target-audience", "1000"]);
        assert_eq!([300, 1_000, 10_000].map(|count| asked.channels(count)), [1, 1, 10]);
        // At least ten publications in a window of two seconds.
        assert_eq!([300, 1_000, 10_000].map(|count| asked.bounds(count).start), [13, 5, 5]);
        assert_eq!(plan(&[]).channels(10_000), 1);
        let to_all = plan(&["--target-audience", "1000", "--protocol", "none"]);
        assert_eq!(to_all.channels(10_000), 1);
    }
}
