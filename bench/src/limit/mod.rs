//! `limit`: what this machine's kernel permits, whoever writes the server.
//!
//! Each figure has a server half on one core and a client half on another, both as bare as they can
//! be over the library's ring driver, which is the only way to a ring without unsafe code. Figures
//! take turns round by round, so that a slow moment of the machine meets all of them, and a figure
//! is the median of its rounds.
//!
//! With `--against` the least WebSocket echo takes turns with a server, both driven and counted by
//! the same generator: the ratio says how far that server is from the limit.

mod echo_half;
mod fan_half;
mod framing;
mod half;
mod memory;
mod meter;
mod ping_half;
mod report;
mod round;
mod spread;
mod wire;

use std::path::PathBuf;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use clap::Args;
use tidegate::ring::{Fault, SetupError};

use crate::cli::{self, Verdict, complain, say};
use crate::dial;
use crate::generator::GeneratorError;
use crate::target::Target;
use report::{Comparison, Figures, Report};
use round::{Bare, Sample};

/// What `limit` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct LimitArgs {
    /// Connections of an echo, with one message out on each.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    connections: u32,
    /// Sockets one message goes to.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    sockets: u32,
    /// Bytes of a message's payload.
    #[arg(long, default_value_t = 64, value_parser = limit_size)]
    size: usize,
    /// How long to measure each figure, all rounds together.
    #[arg(long, default_value = "2s", value_parser = cli::duration)]
    duration: Duration,
    /// How many rounds that takes [default: 4, against a server one a second].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: Option<u32>,
    /// The server half's core and the client half's [default: the first two allowed].
    #[arg(long, value_name = "SERVER,CLIENT")]
    cpus: Option<Cpus>,
    /// A server to hold against the least WebSocket echo, such as ws://127.0.0.1:8000/echo. It must
    /// be bound to the server half's core. Only the two are measured then.
    #[arg(long, value_name = "URL", requires = "server_pid")]
    against: Option<Target>,
    /// That server's process, on this machine.
    #[arg(long, value_name = "PID", requires = "against")]
    server_pid: Option<u32>,
    /// Write the result as JSON to this file too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The cores of both halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cpus {
    server: usize,
    client: usize,
}

/// Why there is no limit.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LimitError {
    #[error("a half has no ring: {0}")]
    Setup(#[from] SetupError),
    #[error("a half's ring broke: {0}")]
    Ring(#[from] Fault),
    #[error(transparent)]
    Generator(#[from] GeneratorError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the server cannot be reached: {0}")]
    Dial(String),
    #[error("a connection ended while it was measured")]
    Ended,
    #[error("the client half sent what the least echo does not take")]
    Unfit,
    #[error("messages were lost, doubled, out of order or changed: the server is not measured")]
    Wrong,
    #[error("no message passed in a round of {0}: was the machine busy with something else?")]
    Silent(&'static str),
    #[error("nothing could be read of the server, or it did nothing: is that its process?")]
    TooLate,
}

/// Runs the command.
pub(crate) fn run(args: &LimitArgs) -> Result<Verdict, LimitError> {
    dial::raise_file_limit();
    let report = match (&args.against, args.server_pid) {
        (Some(target), Some(pid)) => compare(args, target, pid)?,
        _ => measure(args)?,
    };
    say(report.text());
    if let Some(path) = &args.json
        && let Err(error) = std::fs::write(path, report.json())
    {
        complain(format_args!("{}: {error}", path.display()));
        return Ok(Verdict::Usage);
    }
    Ok(report.verdict())
}

/// All figures, in turn.
fn measure(args: &LimitArgs) -> Result<Report, LimitError> {
    let rounds = args.rounds.unwrap_or(ROUNDS);
    let duration = args.duration / rounds;
    let mut samples: [Vec<Sample>; 4] = Default::default();
    for round in 0..rounds {
        for step in 0..samples.len() {
            // There and back again: no figure always follows the same other.
            let index = if round % 2 == 0 { step } else { samples.len() - 1 - step };
            samples[index].push(match index {
                0 => round::bare(Bare::EchoTcp, args, duration)?,
                1 => round::echo_ws_minimal(args, duration)?,
                2 => round::bare(Bare::Send, args, duration)?,
                _ => round::bare(Bare::UringSend, args, duration)?,
            });
        }
    }
    let cpu = args.cpus().server;
    let copying = thread::spawn(move || wire::pin(cpu).map(|()| memory::copy_gb_per_s(COPY_TIME)));
    let memcpy = copying.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    Ok(Report::of_limit(args, rounds, duration, Figures::new(&samples, memcpy)))
}

/// The least WebSocket echo and the server, in turn.
fn compare(args: &LimitArgs, target: &Target, pid: u32) -> Result<Report, LimitError> {
    let rounds = args.rounds.unwrap_or((args.duration.as_secs() as u32).max(1));
    let duration = args.duration / rounds;
    let mut limit = Vec::new();
    let mut server = Vec::new();
    for round in 0..rounds {
        if round % 2 == 0 {
            limit.push(round::echo_ws_minimal(args, duration)?);
            server.push(round::echo_against(target, pid, args, duration)?);
        } else {
            server.push(round::echo_against(target, pid, args, duration)?);
            limit.push(round::echo_ws_minimal(args, duration)?);
        }
    }
    Ok(Report::of_comparison(args, rounds, duration, Comparison::new(&limit, &server)))
}

impl LimitArgs {
    /// The cores asked for, else the first two this process may use.
    fn cpus(&self) -> Cpus {
        self.cpus.unwrap_or_else(|| {
            let allowed = rustix::thread::sched_getaffinity(None);
            let mut allowed = (0..rustix::thread::CpuSet::MAX_CPU)
                .filter(|cpu| allowed.as_ref().is_ok_and(|set| set.is_set(*cpu)));
            let server = allowed.next().unwrap_or(0);
            Cpus { server, client: allowed.next().unwrap_or(server) }
        })
    }
}

impl FromStr for Cpus {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let cores = text.split_once(',').map(|(server, client)| (server.parse(), client.parse()));
        match cores {
            Some((Ok(server), Ok(client))) => Ok(Self { server, client }),
            _ => Err("write two cores such as 0,1"),
        }
    }
}

fn limit_size(text: &str) -> Result<usize, String> {
    match cli::message_size(text)? {
        size @ ..=framing::PAYLOAD_MAX => Ok(size),
        _ => Err(format!("at most {}: a frame must come whole", framing::PAYLOAD_MAX)),
    }
}

/// Rounds of each figure.
const ROUNDS: u32 = 4;

/// How long memory is copied.
const COPY_TIME: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_come_in_twos() {
        assert_eq!("0,1".parse(), Ok(Cpus { server: 0, client: 1 }));
        for wrong in ["", "0", "0,", "0,1,2", "a,b"] {
            assert!(wrong.parse::<Cpus>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_message_comes_whole() {
        assert!(limit_size("23").is_err());
        assert_eq!(limit_size("8192"), Ok(8192));
        assert!(limit_size("8193").is_err());
    }
}
