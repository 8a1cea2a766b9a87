//! The command line: what was asked for, and the exit code.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::descriptors::Descriptors;
use crate::dial::Sources;
use crate::fanout::{self, FanoutArgs};
use crate::limit::{self, LimitArgs};
use crate::output::OutputArgs;
use crate::pinning::Pin;
use crate::plan::{self, PlanArgs};
use crate::session::{SessionArgs, SessionError};
use crate::slo::Slo;
use crate::target::Target;
pub(crate) use crate::verdict::Verdict;
use crate::{compare, connect, echo, idle, payload, render};

/// A load generator for WebSocket servers.
#[derive(Debug, Parser)]
#[command(name = "tidegate-bench", version, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send messages to an echo server and time how long each takes to come back.
    Echo(EchoArgs),
    /// Open connections, hold them without a message, and answer pings.
    Idle(IdleArgs),
    /// Publish at a rate and time how long each publication takes to every subscriber.
    Fanout(FanoutArgs),
    /// Open connections at a rate and time each handshake, from when it was due to the 101.
    Connect(HandshakeArgs),
    /// Search for the highest load that meets objectives, and say what a target needs.
    Plan(Box<PlanArgs>),
    /// Tell whether a run is worse than an earlier one of the same scenario.
    Compare(compare::CompareArgs),
    /// Draw a page with plots from the JSON of a run.
    Report(render::RenderArgs),
    /// Measure what this machine's kernel permits at best, or hold a server against it.
    Limit(LimitArgs),
}

/// What every command that opens connections takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConnectArgs {
    /// Where to connect to, such as ws://127.0.0.1:8000/echo.
    #[arg(long)]
    pub(crate) url: Target,
    /// Connections to open. Above 28,000 to a loopback address they come from several sources.
    #[arg(long, visible_alias = "subscribers", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=MAX_CONNECTIONS))]
    pub(crate) connections: u32,
    /// Over how long to spread their opening; 0s: as fast as the server takes them.
    #[arg(long, default_value = "0s", value_parser = duration)]
    pub(crate) ramp: Duration,
    /// Addresses of this machine to connect from in turn, such as 127.0.1.1-127.0.1.8.
    #[arg(long, value_name = "FIRST-LAST")]
    pub(crate) source_ip: Option<Sources>,
    /// Compress messages (permessage-deflate, each by itself) and have the server do so; payloads
    /// are then text that can be compressed. A server that does not agree fails the connection.
    #[arg(long)]
    pub(crate) compression: bool,
    /// What holds open connections: descriptors, or slots of a ring's table, which the limit on
    /// open files does not count; each thread then holds as many as that says. `connect` has
    /// descriptors only.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) descriptors: Descriptors,
    /// Generator threads, each with a ring of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: u16,
    /// Bind each generator thread to a core: of those named, such as --pin=1 or --pin=2-3,6, else
    /// of all this process may use. The server's core is not among them.
    #[arg(long, value_name = "CORES", num_args = 0..=1, require_equals = true, default_missing_value = Pin::ALLOWED)]
    pub(crate) pin: Option<Pin>,
    /// The server's process, on this machine: adds its CPU time and memory to the result.
    #[arg(long, value_name = "PID")]
    pub(crate) server_pid: Option<u32>,
    /// The core that process has for itself: adds how busy that was, softirqs included. The load
    /// generator stays off it.
    #[arg(long, value_name = "CORE", requires = "server_pid")]
    pub(crate) server_cpu: Option<usize>,
    /// What the run is held to, such as 'p99<=50ms,loss=0'; missed: exit code 2. A ledger that is
    /// not clean is a miss too, unless what it lacks is bounded here.
    #[arg(long, value_name = "OBJECTIVES")]
    pub(crate) slo: Option<Slo>,
    /// Write the result as JSON to this file too.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// What a connection does once it is upgraded.
    #[command(flatten)]
    pub(crate) session: SessionArgs,
    /// The other outputs.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

impl ConnectArgs {
    /// Whether what a connection does once it is upgraded fits together.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn check_session(&self) -> Result<(), SessionError> {
        self.session.check()?;
        let both = self.compression && self.session.is_centrifuge();
        if both { Err(SessionError::Compression) } else { Ok(()) }
    }

    /// `connections` to `url` as fast as it takes them, on one thread; nothing is written or shown.
    pub(crate) fn to(url: Target, connections: u32) -> Self {
        Self {
            url,
            connections,
            ramp: Duration::ZERO,
            source_ip: None,
            compression: false,
            descriptors: Descriptors::Auto,
            threads: 1,
            server_pid: None,
            server_cpu: None,
            pin: None,
            slo: None,
            json: None,
            session: SessionArgs::default(),
            output: OutputArgs { quiet: true, ..OutputArgs::default() },
        }
    }
}

/// What `echo` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct EchoArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// Messages a second over all connections, due at fixed times; latency counts from the due
    /// time. 0: one message outstanding per connection, the next is sent when it is back.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=100_000_000))]
    pub(crate) rate: u64,
    /// Bytes of a message's payload.
    #[arg(long, default_value_t = 64, value_parser = message_size)]
    pub(crate) size: usize,
    /// How long to measure.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub(crate) duration: Duration,
    /// How long to send before measuring.
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub(crate) warm_up: Duration,
}

/// What `idle` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct IdleArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// How long to hold the connections, from when all are open.
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub(crate) hold: Duration,
}

/// What `connect` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct HandshakeArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// Handshakes a second over all threads, due at fixed times. 0: 100 in flight per thread, the
    /// next is started when one is done.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=10_000_000))]
    pub(crate) rate: u64,
}

/// Does what the command line asks for.
pub(crate) fn run() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => {
            // A closed output is no reason for another error.
            let _ = error.print();
            let verdict = if error.use_stderr() { Verdict::Usage } else { Verdict::Pass };
            return verdict.into();
        }
    };
    let ended = match line.command {
        Command::Echo(args) => echo::run(&args).map_err(|error| error.to_string()),
        Command::Idle(args) => idle::run(&args).map_err(|error| error.to_string()),
        Command::Connect(args) => connect::run(&args).map_err(|error| error.to_string()),
        Command::Fanout(args) => fanout::run(&args).map_err(|error| error.to_string()),
        Command::Plan(args) => plan::run(&args).map_err(|error| error.to_string()),
        Command::Compare(args) => return compare::run(&args),
        Command::Report(args) => return render::run(&args),
        Command::Limit(args) => limit::run(&args).map_err(|error| error.to_string()),
    };
    let verdict = ended.unwrap_or_else(|error| {
        complain(error);
        Verdict::Usage
    });
    verdict.into()
}

/// Prints one line at once, for people and scripts that wait for it.
pub(crate) fn say(text: impl Display) {
    let mut out = io::stdout().lock();
    // A closed output ends nothing: the exit code still tells.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints what went wrong.
pub(crate) fn complain(text: impl Display) {
    let _ = writeln!(io::stderr(), "tidegate-bench: {text}");
}

/// Reads `10s`, `500ms`, `2m`; a plain number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, &'static str> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("write a time such as 500ms, 10s, 2m or 1h"),
    };
    let number: f64 = number.parse().map_err(|_| "write a time such as 500ms, 10s or 2m")?;
    let duration = Duration::try_from_secs_f64(number * scale).map_err(|_| "too long")?;
    if duration > MAX_DURATION { Err("at most 24h") } else { Ok(duration) }
}

/// Reads a size that holds a message's own header.
pub(crate) fn message_size(text: &str) -> Result<usize, String> {
    let size: usize = text.parse().map_err(|_| "write a number of bytes".to_owned())?;
    match size {
        ..payload::HEADER_LEN => Err(format!(
            "a message needs {} bytes for its time, connection and number",
            payload::HEADER_LEN
        )),
        payload::HEADER_LEN..=MAX_SIZE => Ok(size),
        _ => Err(format!("at most {MAX_SIZE}")),
    }
}

/// Times are counted in 64 bits of nanoseconds; a day is far from their end.
const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);

/// Largest payload: each connection holds one frame of it.
pub(crate) const MAX_SIZE: usize = 16 * 1024 * 1024;

/// Source addresses of loopback (254) times source ports of one.
const MAX_CONNECTIONS: i64 = 254 * crate::dial::PORTS_PER_SOURCE as i64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        CommandLine::command().debug_assert();
    }

    #[test]
    fn times_carry_their_unit() {
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("3"), Ok(Duration::from_secs(3)));
        for wrong in ["", "s", "1d", "-1s", "25h", "1..0s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_message_holds_its_header() {
        assert!(message_size("23").expect_err("too small").contains("24"));
        assert_eq!(message_size("24"), Ok(24));
        assert!(message_size(&(MAX_SIZE + 1).to_string()).is_err());
    }
}
