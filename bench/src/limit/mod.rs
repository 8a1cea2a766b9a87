//! `limit`: what this machine's kernel permits, whoever writes the server.
//!
//! Each figure has a server half on one core and a client half on another, both as bare as they can
//! be over the library's ring driver, which is the only way to a ring without unsafe code. Figures
//! take turns round by round, so that a slow moment of the machine meets all of them, and a figure
//! is the median of its rounds.
//!
//! With `--against` the least WebSocket echo, or a paced `uring_send`, takes turns with a server,
//! both driven and counted by the same generator: the ratio says how far that server is from the
//! limit. With `--baseline` two ways through one server take turns instead, which tells what a
//! protocol costs. With `--generator` the generator takes turns with the bare client half.

mod decision;
mod echo_half;
mod fan_half;
mod framing;
mod half;
mod memory;
mod meter;
mod ping_half;
mod relay_half;
mod report;
mod round;
mod spread;
mod wire;

use std::cell::Cell;
use std::path::PathBuf;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use clap::Args;
use tidegate::ring::{Fault, SetupError};

use crate::cli::{self, Verdict, complain, say};
use crate::dial;
use crate::fanout::{FanoutError, PublishUrl, SIZE_MIN};
use crate::generator::GeneratorError;
use crate::session::{SessionArgs, SessionError};
use crate::target::Target;
use report::{Beside, Comparison, Figures, GeneratorCost, Offered, Report};
use round::{Bare, Sample, Way};

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
    /// A server to hold against the least WebSocket echo, such as ws://127.0.0.1:8000/echo, or with
    /// --publish against a paced uring_send, such as 'ws://127.0.0.1:8000/raw?channel=bench'. It
    /// must be bound to the server half's core. Only the two are measured then.
    #[arg(long, value_name = "URL", requires = "server_pid")]
    against: Option<Target>,
    /// Where that server is published to, as for `fanout`. The channel of an HTTP API is that of
    /// the URL above, else bench.
    #[arg(long, value_name = "URL", requires_all = ["against", "rate"])]
    publish: Option<PublishUrl>,
    /// Another way through that server, such as 'ws://127.0.0.1:8000/raw?channel=bench', to hold
    /// the one of --against and --protocol against: the same rate, and payloads that make for the
    /// same bytes on the wire. Takes the place of uring_send.
    #[arg(long, value_name = "URL", requires = "publish")]
    baseline: Option<Target>,
    /// How a connection to --against subscribes.
    #[command(flatten)]
    session: SessionArgs,
    /// Publications a second: measures a paced uring_send too, fed by a publisher and received by
    /// subscribers as those of `fanout` are.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: Option<u64>,
    /// Measure what the generator costs beside the bare client half, both against the least
    /// WebSocket echo. Only the two are measured then, in rounds of a second.
    #[arg(long, conflicts_with_all = ["against", "rate"])]
    generator: bool,
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
    #[error(
        "no message passed in a round of {figure}: was the machine busy with something else? \
         {halves}"
    )]
    Silent { figure: &'static str, halves: String },
    #[error("nothing came back in {0:?}: was the machine busy with something else?")]
    Unanswered(Duration),
    #[error("the generator slept through {0:?}: was the machine busy with something else?")]
    Asleep(Duration),
    #[error("{0} publications that were due were not acknowledged: the server is not measured")]
    Unpublished(u64),
    #[error("the limit's own server half ended before it was read: a fault of this program")]
    HalfGone,
    #[error("nothing can be read of process {0}: it has ended, or /proc hides it")]
    Unread(u32),
    #[error(
        "process {pid} used no CPU time while {messages} messages came: is it the server's? \
         --server-pid names the process that serves"
    )]
    AnotherProcess { pid: u32, messages: u64 },
    #[error("with --rate a message is a publication, which needs {SIZE_MIN} bytes: raise --size")]
    Size,
    #[error(transparent)]
    Fanout(#[from] FanoutError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("--protocol centrifuge is held against another way: name it with --baseline")]
    NoBaseline,
    #[error("two ways through a server are published to over HTTP: give --publish an http:// URL")]
    PublishWay,
}

/// Runs the command.
pub(crate) fn run(args: &LimitArgs) -> Result<Verdict, LimitError> {
    if args.rate.is_some() && args.size < SIZE_MIN {
        return Err(LimitError::Size);
    }
    args.session.check()?;
    if args.session.is_centrifuge() && args.baseline.is_none() {
        return Err(LimitError::NoBaseline);
    }
    if args.baseline.is_some() && matches!(args.publish, Some(PublishUrl::WebSocket(_))) {
        return Err(LimitError::PublishWay);
    }
    dial::raise_file_limit();
    let report = match (&args.against, args.server_pid) {
        _ if args.generator => generator(args)?,
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
    let mut samples: [Vec<Sample>; 5] = Default::default();
    let figure_count = if args.rate.is_some() { 5 } else { 4 };
    for round in 0..rounds {
        for step in 0..figure_count {
            // There and back again: no figure always follows the same other.
            let index = if round % 2 == 0 { step } else { figure_count - 1 - step };
            samples[index].push(match index {
                0 => round::bare(Bare::EchoTcp, args, duration)?,
                1 => round::echo_ws_minimal(args, duration)?,
                2 => round::bare(Bare::Send, args, duration)?,
                3 => round::bare(Bare::UringSend, args, duration)?,
                _ => round::uring_send_paced(args, duration)?,
            });
        }
    }
    let cpu = args.cpus().server;
    let copying = thread::spawn(move || wire::pin(cpu).map(|()| memory::copy_gb_per_s(COPY_TIME)));
    let memcpy = copying.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    Ok(Report::of_limit(args, rounds, duration, Figures::new(&samples, memcpy)))
}

/// The limit and the server, in turn.
fn compare(args: &LimitArgs, target: &Target, pid: u32) -> Result<Report, LimitError> {
    let (rounds, duration) = args.seconds();
    let against = args.publish.as_ref().map(|publish| Way {
        target,
        session: args.session.is_centrifuge().then_some(&args.session),
        publish,
        size: args.size,
    });
    let (limit, server) = match against {
        None => in_turn(
            rounds,
            || round::echo_ws_minimal(args, duration),
            || round::echo_against(target, pid, args, duration),
        )?,
        Some(way) => match &args.baseline {
            None => in_turn(
                rounds,
                || round::uring_send_paced(args, duration),
                || round::fan_against(way, pid, args, duration),
            )?,
            Some(baseline) => two_ways(args, way, baseline, pid)?,
        },
    };
    let offered = args.publish.as_ref().and(args.rate).map(|rate| {
        let sockets = f64::from(args.sockets);
        // One publication may lie across an edge of its round.
        Offered { per_s: rate as f64 * sockets, edge_per_s: sockets / duration.as_secs_f64() }
    });
    let beside = match (&args.baseline, offered) {
        (_, None) => Beside::Echo,
        (None, Some(_)) => Beside::Paced,
        (Some(_), Some(_)) => Beside::Baseline,
    };
    let comparison = Comparison::new(&limit, &server, beside, offered);
    Ok(Report::of_comparison(args, rounds, duration, comparison))
}

/// Two ways through one server, in turn. What a message of the one takes on the wire beside its
/// payload is learned from its last round, and the payloads of the other are larger by as much.
fn two_ways(
    args: &LimitArgs,
    way: Way<'_>,
    baseline: &Target,
    pid: u32,
) -> Result<(Vec<Sample>, Vec<Sample>), LimitError> {
    let (rounds, duration) = args.seconds();
    let wire_bytes = Cell::new(0.0);
    let against = |duration| {
        let sample = round::fan_against(way, pid, args, duration)?;
        wire_bytes.set(sample.wire_bytes.unwrap_or_default());
        Ok(sample)
    };
    against(duration.min(LEARN_TIME))?;
    in_turn(
        rounds,
        || {
            let size = payload_size(wire_bytes.get()).max(SIZE_MIN);
            let other = Way { target: baseline, session: None, size, ..way };
            round::fan_against(other, pid, args, duration)
        },
        || against(duration),
    )
}

/// Bytes of the payload whose unmasked frame has `frame_size` (RFC 6455 section 5.2).
fn payload_size(frame_size: f64) -> usize {
    match frame_size.round() as usize {
        size @ ..=127 => size.saturating_sub(2),
        size @ 128..=65_539 => size - 4,
        size => size - 10,
    }
}

/// The bare client half and the generator, in turn, against the least WebSocket echo.
fn generator(args: &LimitArgs) -> Result<Report, LimitError> {
    let (rounds, duration) = args.seconds();
    let (bare, generator) = in_turn(
        rounds,
        || round::bare(Bare::EchoWs, args, duration),
        || round::echo_ws_minimal(args, duration),
    )?;
    let cost = GeneratorCost::new(&bare, &generator);
    Ok(Report::of_generator(args, rounds, duration, cost))
}

/// Rounds of both; each goes first every other time.
fn in_turn(
    rounds: u32,
    one: impl Fn() -> Result<Sample, LimitError>,
    other: impl Fn() -> Result<Sample, LimitError>,
) -> Result<(Vec<Sample>, Vec<Sample>), LimitError> {
    let mut samples = (Vec::new(), Vec::new());
    for round in 0..rounds {
        if round % 2 == 0 {
            samples.0.push(one()?);
            samples.1.push(other()?);
        } else {
            samples.1.push(other()?);
            samples.0.push(one()?);
        }
    }
    Ok(samples)
}

impl LimitArgs {
    /// Rounds of a second each, unless their number was asked for; how many and how long.
    fn seconds(&self) -> (u32, Duration) {
        let rounds = self.rounds.unwrap_or((self.duration.as_secs() as u32).max(1));
        (rounds, self.duration / rounds)
    }

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

/// How long a protocol's frames are looked at before the first round.
const LEARN_TIME: Duration = Duration::from_millis(500);

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
    fn a_payload_fills_its_frame() {
        for size in [34, 125, 126, 1_000, 65_535, 65_536, 100_000] {
            let mut frame = Vec::new();
            let kind = tidegate::ws::MessageKind::Text;
            tidegate::ws::encode::append_message(&mut frame, kind, &vec![b'x'; size]);
            assert_eq!(payload_size(frame.len() as f64 + 0.2), size);
        }
    }

    #[test]
    fn a_message_comes_whole() {
        assert!(limit_size("23").is_err());
        assert_eq!(limit_size("8192"), Ok(8192));
        assert!(limit_size("8193").is_err());
    }
}
