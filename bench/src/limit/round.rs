//! One round: two halves on two cores, read from outside while they run.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::framing::Framing;
use super::half::Shared;
use super::meter::{Meter, Reading};
use super::{Cpus, LimitArgs, LimitError, echo_half, fan_half, ping_half, wire};
use crate::dial::{self, Opening};
use crate::generator::Generator;
use crate::output;
use crate::server::Usage;
use crate::tally::Tally;
use crate::target::Target;
use crate::traffic::{Load, Window};

/// What is measured without a generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bare {
    /// Echo of bytes over a ring.
    EchoTcp,
    /// One message to all sockets, a `send` each.
    Send,
    /// One message to all sockets, a ring's operation each.
    UringSend,
}

impl Bare {
    /// What the report calls it.
    fn name(self) -> &'static str {
        match self {
            Self::EchoTcp => "echo_tcp",
            Self::Send => "send",
            Self::UringSend => "uring_send",
        }
    }
}

/// What a round came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// The server half; of a server that is not ours only messages and CPU time are known.
    pub(super) server: Reading,
    /// CPU time of the client half a message, in nanoseconds.
    pub(super) client_ns: f64,
    /// Messages a second.
    pub(super) rate: f64,
}

/// Measures `bare` for `duration`.
pub(super) fn bare(bare: Bare, args: &LimitArgs, duration: Duration) -> Result<Sample, LimitError> {
    let count = if bare == Bare::EchoTcp { args.connections } else { args.sockets };
    let (accepted, connected) = wire::pairs(count)?;
    let message = vec![0x5A; args.size];
    let shared = Shared::new()?;
    let shared = &shared;
    let Cpus { server: server_cpu, client: client_cpu } = args.cpus();
    thread::scope(|scope| {
        let bytes = &message;
        let server = scope.spawn(move || -> Result<(), LimitError> {
            wire::pin(server_cpu)?;
            shared.server.start();
            match bare {
                Bare::EchoTcp => echo_half::run(accepted, Framing::Bare, shared),
                Bare::Send => fan_half::run_send(&accepted, bytes, shared),
                Bare::UringSend => fan_half::run_uring(accepted, bytes, shared),
            }
        });
        let client = scope.spawn(move || -> Result<(), LimitError> {
            wire::pin(client_cpu)?;
            shared.client.start();
            match bare {
                Bare::EchoTcp => ping_half::run(connected, bytes.clone(), shared),
                Bare::Send | Bare::UringSend => fan_half::run_sink(connected, bytes.len(), shared),
            }
        });
        await_both(shared);
        thread::sleep(WARM_UP);
        let sample = observe(shared, duration);
        shared.stop();
        // Whoever waits in a call that the bell does not end finds the peer gone.
        join(client)?;
        join(server)?;
        sample.ok_or(LimitError::Silent(bare.name()))
    })
}

/// Waits until messages flow, or until they should have.
fn await_both(shared: &Shared) {
    let deadline = Instant::now() + START_TIMEOUT;
    let flows = |meter: &Meter| meter.read().is_some_and(|reading| reading.messages > 0);
    while !(flows(&shared.server) && flows(&shared.client)) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Reads both halves twice, `duration` apart.
fn observe(shared: &Shared, duration: Duration) -> Option<Sample> {
    let read = || Some((Instant::now(), shared.server.read()?, shared.client.read()?));
    let before = read()?;
    thread::sleep(duration);
    let after = read()?;
    let server = after.1.since(before.1);
    let client = after.2.since(before.2);
    let elapsed = after.0.saturating_duration_since(before.0);
    (server.messages > 0 && client.messages > 0).then(|| Sample {
        server,
        client_ns: client.per_message(client.cpu_ns),
        rate: server.messages as f64 / elapsed.as_secs_f64(),
    })
}

/// Measures the least WebSocket echo, driven by the generator that drives servers.
pub(super) fn echo_ws_minimal(args: &LimitArgs, duration: Duration) -> Result<Sample, LimitError> {
    let (listener, address) = wire::listen()?;
    let shared = Shared::new()?;
    let shared = &shared;
    let server_cpu = args.cpus().server;
    thread::scope(|scope| {
        let server = scope.spawn(move || -> Result<(), LimitError> {
            wire::pin(server_cpu)?;
            shared.server.start();
            let sockets = (0..args.connections)
                .map(|_| wire::accept_upgraded(&listener))
                .collect::<io::Result<_>>()?;
            echo_half::run(sockets, Framing::WebSocket, shared)
        });
        let target = format!("ws://{address}/").parse().expect("an address makes a URL");
        let sample = echo_of(&target, args, duration, || shared.server.read());
        shared.stop();
        join(server)?;
        sample
    })
}

/// Measures another server's echo the same way.
pub(super) fn echo_against(
    target: &Target,
    pid: u32,
    args: &LimitArgs,
    duration: Duration,
) -> Result<Sample, LimitError> {
    echo_of(target, args, duration, || {
        Usage::of(pid).map(|usage| Reading { cpu_ns: usage.cpu_ns, ..Reading::default() })
    })
}

/// A closed loop against `target`. The server is read by `read` at both ends of what the generator
/// counts, so both sides of a comparison are counted by the same code.
fn echo_of(
    target: &Target,
    args: &LimitArgs,
    duration: Duration,
    read: impl Fn() -> Option<Reading>,
) -> Result<Sample, LimitError> {
    let count = args.connections;
    let client_cpu = args.cpus().client;
    let (ready, dialed) = mpsc::channel();
    let (start, started) = mpsc::channel();
    thread::scope(|scope| {
        let client = scope.spawn(move || -> Result<Tally, LimitError> {
            wire::pin(client_cpu)?;
            let opening = Opening { total: count, ramp: Duration::ZERO, sources: None };
            let dialing = dial::dial_all(&opening, 0..count, |_| target)?;
            if let Some(cause) = dialing.failures.into_keys().next() {
                return Err(LimitError::Dial(cause));
            }
            let generator = Generator::new(dialing.open, args.size)?;
            let _ = ready.send(());
            let Ok(start) = started.recv() else { return Err(LimitError::TooLate) };
            let start_ns = WARM_UP.as_nanos() as u64;
            let window = Window { start_ns, end_ns: start_ns + duration.as_nanos() as u64 };
            Ok(generator.run(Load::Closed, window, start, &mut output::Meter::whole(window))?)
        });
        if dialed.recv().is_err() {
            return match join(client) {
                Err(error) => Err(error),
                Ok(_) => unreachable!("it says that it is ready before it runs"),
            };
        }
        let start_at = Instant::now() + START_DELAY;
        // A thread that is gone says why when it is joined.
        let _ = start.send(start_at);
        let window_start = start_at + WARM_UP;
        thread::sleep(window_start.saturating_duration_since(Instant::now()));
        let before = read();
        let window_end = window_start + duration;
        thread::sleep(window_end.saturating_duration_since(Instant::now()));
        let after = read();
        let tally = join(client)?;
        let (Some(before), Some(after)) = (before, after) else { return Err(LimitError::TooLate) };
        let wrong = tally.duplicated + tally.reordered + tally.unknown;
        if tally.delivered < tally.due || wrong > 0 || !tally.lost_connections.is_empty() {
            return Err(LimitError::Wrong);
        }
        let mut server = after.since(before);
        let turned = server;
        server.messages = tally.received_in_window;
        if turned.messages > 0 {
            // Turns and messages were read together: their ratio holds, whatever the window.
            let scale = server.messages as f64 / turned.messages as f64;
            server.turns = (turned.turns as f64 * scale) as u64;
            server.enters = (turned.enters as f64 * scale) as u64;
        }
        Ok(Sample {
            server,
            client_ns: tally.cpu_ns as f64 / tally.received_in_window as f64,
            rate: tally.received_in_window as f64 / duration.as_secs_f64(),
        })
    })
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, Result<T, LimitError>>) -> Result<T, LimitError> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// From when messages flow to the first reading.
const WARM_UP: Duration = Duration::from_millis(40);

/// From when the generator is ready to its start.
const START_DELAY: Duration = Duration::from_millis(5);

/// How long both halves may take until messages flow.
const START_TIMEOUT: Duration = Duration::from_secs(5);
