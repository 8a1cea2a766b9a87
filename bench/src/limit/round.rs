//! One round: two halves on two cores, read from outside while they run.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use super::framing::Framing;
use super::half::Shared;
use super::meter::{Meter, Reading};
use super::{Cpus, LimitArgs, LimitError, echo_half, fan_half, ping_half, relay_half, wire};
use crate::dial::{self, Opening, Place};
use crate::fanout::{self, FanoutArgs, PublishUrl};
use crate::generator::Generator;
use crate::output;
use crate::server::Usage;
use crate::session::{Protocol, SessionArgs};
use crate::tally::Tally;
use crate::target::Target;
use crate::traffic::{Load, Window};

/// What is measured without a generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bare {
    /// Echo of bytes over a ring.
    EchoTcp,
    /// The least WebSocket echo, by a client half that builds its one frame beforehand.
    EchoWs,
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
            Self::EchoWs => "echo_ws_minimal",
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
    /// Bytes on the wire a message, headers of frames included.
    pub(super) wire_bytes: Option<f64>,
}

/// Measures `bare` for `duration`.
pub(super) fn bare(bare: Bare, args: &LimitArgs, duration: Duration) -> Result<Sample, LimitError> {
    let (count, framing) = match bare {
        Bare::EchoTcp => (args.connections, Framing::Bare),
        Bare::EchoWs => (args.connections, Framing::WebSocket),
        Bare::Send | Bare::UringSend => (args.sockets, Framing::Bare),
    };
    let (accepted, connected) = wire::pairs(count)?;
    let (message, answer_len) = framing.exchange(args.size);
    let shared = Shared::new()?;
    let shared = &shared;
    let Cpus { server: server_cpu, client: client_cpu } = args.cpus();
    thread::scope(|scope| {
        let bytes = &message;
        let server = scope.spawn(move || -> Result<(), LimitError> {
            wire::pin(server_cpu)?;
            shared.server.start();
            match bare {
                Bare::EchoTcp | Bare::EchoWs => echo_half::run(accepted, framing, shared),
                Bare::Send => fan_half::run_send(&accepted, bytes, shared),
                Bare::UringSend => fan_half::run_uring(accepted, bytes, shared),
            }
        });
        let client = scope.spawn(move || -> Result<(), LimitError> {
            wire::pin(client_cpu)?;
            shared.client.start();
            match bare {
                Bare::EchoTcp | Bare::EchoWs => {
                    ping_half::run(connected, bytes.clone(), answer_len, shared)
                }
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
        sample.map_err(|halves| LimitError::Silent { figure: bare.name(), halves })
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

/// Reads both halves twice, `duration` apart. `Err`: how far they came instead.
fn observe(shared: &Shared, duration: Duration) -> Result<Sample, String> {
    let read = || (Instant::now(), shared.server.read(), shared.client.read());
    let before = read();
    thread::sleep(duration);
    let after = read();
    let elapsed = after.0.saturating_duration_since(before.0);
    let passed = |before: Option<Reading>, after: Option<Reading>| Some(after?.since(before?));
    let (server, client) = (passed(before.1, after.1), passed(before.2, after.2));
    match (server, client) {
        (Some(server), Some(client)) if server.messages > 0 && client.messages > 0 => Ok(Sample {
            server,
            client_ns: client.per_message(client.cpu_ns),
            rate: server.messages as f64 / elapsed.as_secs_f64(),
            wire_bytes: None,
        }),
        _ => {
            let told = |half: Option<Reading>| {
                half.map_or("was not there".to_owned(), |half| {
                    format!("took {} in {} us of CPU time", half.messages, half.cpu_ns / 1_000)
                })
            };
            Err(format!(
                "in {} ms the server half {}, the client half {}",
                elapsed.as_millis(),
                told(server),
                told(client)
            ))
        }
    }
}

/// Measures the least WebSocket echo, driven by the generator that drives servers.
pub(super) fn echo_ws_minimal(args: &LimitArgs, duration: Duration) -> Result<Sample, LimitError> {
    let serve = |listener: &TcpListener, shared: &Shared| {
        let sockets = (0..args.connections)
            .map(|_| Ok(wire::accept_upgraded(listener)?.0))
            .collect::<io::Result<_>>()?;
        echo_half::run(sockets, Framing::WebSocket, shared)
    };
    beside_half(args.cpus().server, serve, |address, shared| {
        let target = format!("ws://{address}/").parse().expect("an address makes a URL");
        echo_of(&target, args, duration, || shared.read_server())
    })
}

/// What `measure` finds while `serve` is a server half on core `cpu`. A half that still waits for
/// clients when nothing is measured any more is told that none come.
fn beside_half(
    cpu: usize,
    serve: impl FnOnce(&TcpListener, &Shared) -> Result<(), LimitError> + Send,
    measure: impl FnOnce(SocketAddr, &Shared) -> Result<Sample, LimitError>,
) -> Result<Sample, LimitError> {
    let (listener, address) = wire::listen()?;
    let shared = Shared::new()?;
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            wire::pin(cpu)?;
            shared.server.start();
            serve(&listener, &shared)
        });
        let sample = measure(address, &shared);
        shared.stop();
        wire::end_listening(&listener);
        let served = join(server);
        // Without clients the half fails, too: why there were none says more.
        let sample = sample?;
        served?;
        Ok(sample)
    })
}

/// Measures another server's echo the same way.
pub(super) fn echo_against(
    target: &Target,
    pid: u32,
    args: &LimitArgs,
    duration: Duration,
) -> Result<Sample, LimitError> {
    let sample = echo_of(target, args, duration, || read_process(pid))?;
    sample.worked(pid)
}

/// Measures a ring that sends to all sockets what a publisher sends it at the rate asked for. The
/// publisher and the subscribers are those of a fan-out, as they are for servers.
pub(super) fn uring_send_paced(args: &LimitArgs, duration: Duration) -> Result<Sample, LimitError> {
    let serve = |listener: &TcpListener, shared: &Shared| {
        let mut subscribers = Vec::new();
        let mut publisher = None;
        while publisher.is_none() || subscribers.len() < args.sockets as usize {
            let (socket, path) = wire::accept_upgraded(listener)?;
            match &path[..] {
                "/publish" => publisher = Some(socket),
                _ => subscribers.push(socket),
            }
        }
        relay_half::run(publisher.expect("the loop ends with one"), subscribers, shared)
    };
    beside_half(args.cpus().server, serve, |address, shared| {
        let [target, publish] = ["", "publish"].map(|path| format!("ws://{address}/{path}"));
        let target = target.parse().expect("an address makes a URL");
        let publish = publish.parse().expect("an address makes a URL");
        let way = Way { target: &target, session: None, publish: &publish, size: args.size };
        fan_of(way, args, duration, || shared.read_server())
    })
}

/// One way through a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way<'a> {
    /// Where subscribers connect to.
    pub(super) target: &'a Target,
    /// How they subscribe, if the URL alone does not do it.
    pub(super) session: Option<&'a SessionArgs>,
    pub(super) publish: &'a PublishUrl,
    /// Bytes of a payload.
    pub(super) size: usize,
}

/// Measures another server's fan-out the same way.
pub(super) fn fan_against(
    way: Way<'_>,
    pid: u32,
    args: &LimitArgs,
    duration: Duration,
) -> Result<Sample, LimitError> {
    let sample = fan_of(way, args, duration, || read_process(pid))?;
    sample.worked(pid)
}

/// What a server's process has used. Its turns are not known.
fn read_process(pid: u32) -> Result<Reading, LimitError> {
    let usage = Usage::of(pid).ok_or(LimitError::Unread(pid))?;
    Ok(Reading { cpu_ns: usage.cpu_ns, ..Reading::default() })
}

impl Sample {
    /// The sample, unless process `pid` did nothing for it.
    fn worked(self, pid: u32) -> Result<Self, LimitError> {
        match self.server {
            Reading { cpu_ns: 0, messages, .. } => {
                Err(LimitError::AnotherProcess { pid, messages })
            }
            _ => Ok(self),
        }
    }
}

/// A closed loop against `target`. The server is read by `read` on the generator's thread at both
/// ends of what it counts, while its connections are open: whatever else the machine does, the
/// server is there to be read, and its time is that of the messages counted.
fn echo_of(
    target: &Target,
    args: &LimitArgs,
    duration: Duration,
    read: impl Fn() -> Result<Reading, LimitError> + Send,
) -> Result<Sample, LimitError> {
    let count = args.connections;
    let measured = move || -> Result<Sample, LimitError> {
        let opening =
            Opening { total: count, ramp: Duration::ZERO, sources: None, compression: false };
        let mut generator = Generator::new(count as usize, None, args.size, Protocol::Raw, false)?;
        let place_of = |_| Place::from(target);
        let dialing = dial::dial_all(&opening, 0..count, place_of, &mut generator)?;
        if let Some(cause) = dialing.failures.into_keys().next() {
            return Err(LimitError::Dial(cause));
        }
        let start_ns = WARM_UP.as_nanos() as u64;
        let window = Window { start_ns, end_ns: start_ns + duration.as_nanos() as u64 };
        let start = Instant::now() + START_DELAY;
        let mut readings = Vec::new();
        let mut meter = output::Meter::whole(window);
        let mut at_edge = || readings.push(read());
        let tally = generator.run(Load::Closed, window, start, &mut meter, &mut at_edge)?;
        sample(&tally, readings, duration)
    };
    on_client_core(args, measured)
}

/// A fan-out at the rate asked for, measured the same way.
fn fan_of(
    way: Way<'_>,
    args: &LimitArgs,
    duration: Duration,
    read: impl Fn() -> Result<Reading, LimitError> + Send,
) -> Result<Sample, LimitError> {
    let rate = args.rate.expect("asked for with a fan-out");
    let times = [FAN_WARM_UP, duration];
    let Way { target, session, publish, size } = way;
    let (target, publish, session) = (target.clone(), publish.clone(), session.cloned());
    let fanout = FanoutArgs::of_everyone(target, session, args.sockets, publish, times, rate, size);
    let measured = move || -> Result<Sample, LimitError> {
        let mut readings = Vec::new();
        let driven = fanout::drive(&fanout, &mut || readings.push(read()))?;
        if driven.unpublished > 0 {
            return Err(LimitError::Unpublished(driven.unpublished));
        }
        sample(&driven.tally, readings, duration)
    };
    on_client_core(args, measured)
}

/// Does `measured` on a thread of its own, bound to the client half's core.
fn on_client_core(
    args: &LimitArgs,
    measured: impl FnOnce() -> Result<Sample, LimitError> + Send,
) -> Result<Sample, LimitError> {
    let cpu = args.cpus().client;
    thread::scope(|scope| {
        join(scope.spawn(move || {
            wire::pin(cpu)?;
            measured()
        }))
    })
}

/// From what was counted, and what was read of the server at both ends of that.
fn sample(
    tally: &Tally,
    readings: Vec<Result<Reading, LimitError>>,
    duration: Duration,
) -> Result<Sample, LimitError> {
    let readings = readings.into_iter().collect::<Result<Vec<_>, _>>()?;
    // One reading: the generator's turn before the window ended behind it.
    let [before, after] = readings[..] else { return Err(LimitError::Asleep(duration)) };
    let wrong = tally.duplicated + tally.reordered + tally.unknown + tally.too_old;
    if tally.delivered < tally.due || wrong > 0 || !tally.lost_connections.is_empty() {
        return Err(LimitError::Wrong);
    }
    if tally.received_in_window == 0 {
        return Err(LimitError::Unanswered(duration));
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
        wire_bytes: tally.bytes_per_delivery(),
    })
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, Result<T, LimitError>>) -> Result<T, LimitError> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// From when messages flow to the first reading.
const WARM_UP: Duration = Duration::from_millis(40);

/// The same of a fan-out: its first publications meet connections that were just opened.
const FAN_WARM_UP: Duration = Duration::from_millis(200);

/// From when the generator is ready to its start.
const START_DELAY: Duration = Duration::from_millis(5);

/// How long both halves may take until messages flow.
const START_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        limit: LimitArgs,
    }

    /// The generator ends a round on time, closes its connections, and the server half ends with
    /// the last of them: whoever read it later found nobody.
    #[test]
    fn a_server_is_read_before_its_connections_close_however_late_that_is() {
        let args = Line::parse_from(["", "--connections=2"]).limit;
        let serve = |listener: &TcpListener, shared: &Shared| {
            let accepted = (0..2).map(|_| Ok(wire::accept_upgraded(listener)?.0));
            echo_half::run(accepted.collect::<io::Result<_>>()?, Framing::WebSocket, shared)
        };
        let sample = beside_half(args.cpus().server, serve, |address, shared| {
            let target = format!("ws://{address}/").parse().expect("a URL");
            let count = AtomicU32::new(0);
            let late = || {
                // The second reading is the one behind the last message.
                if count.fetch_add(1, Ordering::Relaxed) == 1 {
                    thread::sleep(Duration::from_millis(300));
                }
                shared.read_server()
            };
            echo_of(&target, &args, Duration::from_millis(200), late)
        });
        assert!(sample.expect("it was there to be read").server.messages > 0);
    }

    #[test]
    fn a_generator_that_slept_through_the_window_measured_nothing() {
        let sample = sample(&Tally::new(), vec![Ok(Reading::default())], Duration::from_secs(1));
        assert!(matches!(sample, Err(LimitError::Asleep(_))), "{sample:?}");
    }

    /// Whoever measures may fail before all clients have connected, and the half waits for them.
    #[test]
    fn a_half_that_waits_for_clients_ends_when_none_come() {
        let serve = |listener: &TcpListener, _: &Shared| {
            wire::accept_upgraded(listener)?;
            panic!("nobody came");
        };
        let cpu = Line::parse_from([""]).limit.cpus().server;
        let sample = beside_half(cpu, serve, |_, _| Err(LimitError::Dial("no route".into())));
        assert!(matches!(sample, Err(LimitError::Dial(_))), "{sample:?}");
    }
}
