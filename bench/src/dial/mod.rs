//! Opens connections: TCP, the WebSocket handshake, and an explanation for each that failed.

mod dialer;
mod greeting;
mod source;

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags};
use rustix::io::Errno;
use tidegate::ws::handshake::ResponseError;

pub(crate) use dialer::{Dialer, Finished};
pub(crate) use source::{PORTS_PER_SOURCE, Sources};

use crate::centrifuge::Hello;
use crate::target::Target;

/// Handshakes in flight while connections are opened as fast as the server takes them: below the
/// backlog of any server.
pub(crate) const IN_FLIGHT_MAX: usize = 100;

/// How long a server may take for one handshake.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a connection goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'p> {
    /// The server.
    pub(crate) target: &'p Target,
    /// The commands a connection sends once it is upgraded: it is open when they are carried out.
    pub(crate) hello: Option<&'p Hello>,
}

impl<'p> From<&'p Target> for Place<'p> {
    /// Open as soon as it is upgraded.
    fn from(target: &'p Target) -> Self {
        Self { target, hello: None }
    }
}

/// An open WebSocket connection.
#[derive(Debug)]
pub(crate) struct Dialed {
    /// Which of the run's connections it is.
    pub(crate) number: u32,
    /// The socket, blocking.
    pub(crate) socket: OwnedFd,
    /// What came behind the server's answer.
    pub(crate) leftover: Vec<u8>,
}

/// What came of dialing.
#[derive(Debug, Default)]
pub(crate) struct Dialing {
    /// How many connections were opened.
    pub(crate) opened: u32,
    /// How many failed, by cause.
    pub(crate) failures: BTreeMap<String, u32>,
}

/// Who takes connections as they open.
pub(crate) trait Host {
    /// A connection is open.
    fn take(&mut self, dialed: Dialed);

    /// Looks after those taken while others are opened: a server may ping them. Waits for something
    /// to do until `timeout` has passed, then does all there is: the kernel hands over some 20
    /// completions at a time. What fails here fails again when the run begins.
    fn serve(&mut self, timeout: Duration);
}

impl Host for Vec<Dialed> {
    fn take(&mut self, dialed: Dialed) {
        self.push(dialed);
    }

    fn serve(&mut self, _: Duration) {}
}

/// Why one connection failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error(
        "no descriptor is left: raise the hard limit on open files (ulimit -Hn), now {limit}, ask for fewer connections, or hold them with --descriptors table, on several --threads"
    )]
    NoDescriptor { limit: u64 },
    #[error(
        "no source port is left for this destination: add --source-ip FIRST-LAST with more addresses of this machine, or widen net.ipv4.ip_local_port_range"
    )]
    NoPort,
    #[error("this machine cannot connect from {0}: --source-ip takes addresses of its own")]
    NoSource(Ipv4Addr),
    #[error("the connection was refused: does the server listen there?")]
    Refused,
    #[error("no answer within {} s", DIAL_TIMEOUT.as_secs())]
    TimedOut,
    #[error("{0}")]
    Answer(#[from] ResponseError),
    #[error("the server did not agree to compress: is that switched on there?")]
    NotCompressed,
    #[error("the answer is no HTTP head")]
    Head,
    #[error("the server closed before it answered")]
    Closed,
    #[error("the server refused to connect or subscribe: error {code}, {message}")]
    Command { code: u32, message: String },
    #[error("the server ended the session with {code} {reason}")]
    Ended { code: u16, reason: String },
    #[error("the server does not speak the Centrifuge protocol in JSON")]
    NotCentrifuge,
    #[error("{0}")]
    Other(io::Error),
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE) => Self::NoDescriptor {
                limit: rustix::process::getrlimit(rustix::process::Resource::Nofile)
                    .current
                    .unwrap_or(u64::MAX),
            },
            Some(Errno::ADDRNOTAVAIL) => Self::NoPort,
            Some(Errno::CONNREFUSED) => Self::Refused,
            Some(Errno::TIMEDOUT) => Self::TimedOut,
            _ => Self::Other(error),
        }
    }
}

impl DialError {
    /// Whether the next connection would fail for the same cause.
    pub(crate) fn is_hopeless(&self) -> bool {
        matches!(self, Self::NoDescriptor { .. } | Self::NoPort | Self::NoSource(_) | Self::Refused)
    }

    fn of_bind(errno: Errno, source: Ipv4Addr) -> Self {
        if errno == Errno::ADDRNOTAVAIL { Self::NoSource(source) } else { errno.into() }
    }
}

impl From<Errno> for DialError {
    fn from(errno: Errno) -> Self {
        io::Error::from(errno).into()
    }
}

/// How connections are opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    /// All connections of the run.
    pub(crate) total: u32,
    /// Over how long they are spread; zero: as fast as the server takes them.
    pub(crate) ramp: Duration,
    /// Where they come from; `None`: the kernel's choice.
    pub(crate) sources: Option<Sources>,
    /// Whether they must agree on compression.
    pub(crate) compression: bool,
}

/// Opens the connections `numbers` of all, number `n` to `place_of(n)`; stops early when the
/// machine has no room for more or nobody listens, and counts the rest as failed for that cause.
pub(crate) fn dial_all<'p>(
    opening: &Opening,
    numbers: Range<u32>,
    place_of: impl Fn(u32) -> Place<'p>,
    host: &mut impl Host,
) -> io::Result<Dialing> {
    let mut dialing = Dialing::default();
    let mut dialer = Dialer::new(opening.sources, opening.compression)?;
    let start = Instant::now();
    let due = |number| start + opening.ramp.mul_f64(f64::from(number) / f64::from(opening.total));
    let mut next = numbers.start;
    while next < numbers.end || dialer.in_flight() > 0 {
        let mut failed = Vec::new();
        while next < numbers.end
            && dialer.in_flight() < IN_FLIGHT_MAX
            && failed.is_empty()
            && due(next) <= Instant::now()
        {
            if let Err(error) = dialer.start(place_of(next), next) {
                failed.push(error);
            }
            next += 1;
        }
        let timeout = match due(next).saturating_duration_since(Instant::now()) {
            _ if !failed.is_empty() => Duration::ZERO,
            left if next < numbers.end && !left.is_zero() => left.min(LOOK_INTERVAL),
            _ => LOOK_INTERVAL,
        };
        dialer.wait(timeout, |finished| match finished.result {
            Ok(dialed) => {
                dialing.opened += 1;
                host.take(dialed);
            }
            Err(error) => failed.push(error),
        })?;
        host.serve(Duration::ZERO);
        for error in failed {
            let rest = if error.is_hopeless() { numbers.end - next } else { 0 };
            next += rest;
            *dialing.failures.entry(error.to_string()).or_default() += 1 + rest;
        }
    }
    Ok(dialing)
}

/// Lets the process open as many descriptors as it may, and has the kernel make room for them: a
/// table that grows while threads share it makes the kernel wait for all of them.
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // A refusal shows as a shortage of descriptors, which explains itself.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let last = maximum.map_or(ROOM_MAX, |limit| limit.saturating_sub(1).min(ROOM_MAX));
    if let Ok(any) = epoll::create(CreateFlags::CLOEXEC) {
        // Without the room the run is right and its first handshakes are late, which shows.
        let _ = rustix::io::fcntl_dupfd_cloexec(&any, last as i32);
    }
}

/// Descriptors the table has room for from the start: 2 MiB of the kernel's.
const ROOM_MAX: u64 = 256 * 1024;

/// Between two looks at handshakes that may have taken too long.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_listening_is_said_once_for_all() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("bound");
        drop(free);
        let target: Target = format!("ws://{address}/").parse().expect("a URL");
        let opening =
            Opening { total: 1_000, ramp: Duration::ZERO, sources: None, compression: false };
        let mut open = Vec::new();
        let dialing = dial_all(&opening, 0..1_000, |_| Place::from(&target), &mut open);
        let dialing = dialing.expect("a descriptor");
        assert!(open.is_empty() && dialing.opened == 0);
        let refused = DialError::Refused.to_string();
        assert_eq!(dialing.failures.into_iter().collect::<Vec<_>>(), [(refused, 1_000)]);
    }

    #[test]
    fn a_shortage_of_ports_names_its_remedy() {
        let error = DialError::from(Errno::ADDRNOTAVAIL);
        assert!(error.to_string().contains("add --source-ip"), "{error}");
        let outside = Ipv4Addr::new(192, 0, 2, 1);
        let error = DialError::of_bind(Errno::ADDRNOTAVAIL, outside);
        assert!(error.to_string().contains("192.0.2.1"), "{error}");
    }
}
