//! Opens connections: TCP, the WebSocket handshake, and an explanation for each that failed.
//!
//! Blocking sockets, in batches: all of a batch connect and send their request before the first
//! answer is read, so that the server works on them together.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tidegate::limits;
use tidegate::ws::handshake::{ClientRequest, HeadReader, ResponseError};

use crate::target::Target;

/// Connections from one source address to one destination: the default range of local ports holds
/// 28,232, and some may be taken.
pub(crate) const PORTS_PER_SOURCE: u32 = 28_000;

/// Connections in one batch: below the backlog of any server.
const BATCH: u32 = 100;

/// How long a server may take for one batch.
const BATCH_TIMEOUT: Duration = Duration::from_secs(10);

/// An open WebSocket connection.
#[derive(Debug)]
pub(crate) struct Dialed {
    /// The socket, blocking.
    pub(crate) socket: OwnedFd,
    /// What came behind the server's answer.
    pub(crate) leftover: Vec<u8>,
}

/// What came of dialing.
#[derive(Debug, Default)]
pub(crate) struct Dialing {
    /// The open connections.
    pub(crate) open: Vec<Dialed>,
    /// How many failed, by cause.
    pub(crate) failures: BTreeMap<String, u32>,
}

/// Why one connection failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error(
        "no descriptor is left: raise the hard limit on open files (ulimit -Hn), now {limit}, or ask for fewer connections"
    )]
    NoDescriptor { limit: u64 },
    #[error(
        "no source port is left for this destination: widen net.ipv4.ip_local_port_range, or connect to a loopback address, where sources are spread"
    )]
    NoPort,
    #[error("the connection was refused: does the server listen there?")]
    Refused,
    #[error("no answer within {} s", BATCH_TIMEOUT.as_secs())]
    TimedOut,
    #[error("{0}")]
    Answer(#[from] ResponseError),
    #[error("the answer is no HTTP head")]
    Head,
    #[error("the server closed before it answered")]
    Closed,
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
            // A blocking connect or read ends so when its time is over.
            Some(Errno::INPROGRESS | Errno::AGAIN | Errno::TIMEDOUT) => Self::TimedOut,
            _ => Self::Other(error),
        }
    }
}

impl From<Errno> for DialError {
    fn from(errno: Errno) -> Self {
        io::Error::from(errno).into()
    }
}

/// Opens connections number `numbers` of `total`; stops early when the machine has no room for
/// more or nobody listens, and counts the rest as failed for that cause.
pub(crate) fn dial_all(target: &Target, numbers: std::ops::Range<u32>, total: u32) -> Dialing {
    let mut dialing = Dialing::default();
    dialing.open.reserve_exact(numbers.len());
    let mut random = fastrand::Rng::new();
    let mut next = numbers.start;
    while next < numbers.end {
        let end = numbers.end.min(next + BATCH);
        let deadline = Instant::now() + BATCH_TIMEOUT;
        let batch: Vec<_> = (next..end)
            .map(|number| Attempt::start(target, source(target, number, total), &mut random))
            .collect();
        next = end;
        for attempt in batch {
            match attempt.and_then(|attempt| attempt.finish(target, deadline)) {
                Ok(dialed) => dialing.open.push(dialed),
                Err(error) => {
                    let hopeless = matches!(
                        error,
                        DialError::NoDescriptor { .. } | DialError::NoPort | DialError::Refused
                    );
                    let rest = if hopeless { numbers.end - next } else { 0 };
                    next += rest;
                    *dialing.failures.entry(error.to_string()).or_default() += 1 + rest;
                }
            }
        }
    }
    dialing
}

/// Lets the process open as many descriptors as it may.
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // A refusal shows as a shortage of descriptors, which explains itself.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// The source address of connection `number`; `None`: the kernel's choice.
fn source(target: &Target, number: u32, total: u32) -> Option<Ipv4Addr> {
    let loopback = match target.address.ip() {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(_) => false,
    };
    if !loopback || total <= PORTS_PER_SOURCE {
        return None;
    }
    let sources = total.div_ceil(PORTS_PER_SOURCE);
    let last = u8::try_from(number % sources + 1).expect("the command line admits 254 sources");
    Some(Ipv4Addr::new(127, 0, 1, last))
}

/// A connection whose request is sent.
struct Attempt {
    socket: OwnedFd,
    key: [u8; 16],
}

impl Attempt {
    fn start(
        target: &Target,
        source: Option<Ipv4Addr>,
        random: &mut fastrand::Rng,
    ) -> Result<Self, DialError> {
        let family = match target.address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let socket =
            rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        if let Some(source) = source {
            // Without it bind would take a port that no other destination could use.
            setsockopt(&socket, IpBindAddressNoPort, &true).map_err(io::Error::from)?;
            rustix::net::bind(&socket, &SocketAddr::from((source, 0)))?;
        }
        sockopt::set_tcp_nodelay(&socket, true)?;
        // Connecting waits as long as sending may.
        sockopt::set_socket_timeout(&socket, Timeout::Send, Some(BATCH_TIMEOUT))?;
        rustix::net::connect(&socket, &target.address)?;
        let mut key = [0; 16];
        random.fill(&mut key);
        let mut head = Vec::with_capacity(256);
        request(target, key).append(&mut head).expect("the URL was checked");
        let mut stream = File::from(socket);
        stream.write_all(&head)?;
        Ok(Self { socket: stream.into(), key })
    }

    fn finish(self, target: &Target, deadline: Instant) -> Result<Dialed, DialError> {
        let mut stream = File::from(self.socket);
        let mut received = Vec::with_capacity(512);
        let mut reader = HeadReader::new();
        let head_len = loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(MIN_TIMEOUT);
            sockopt::set_socket_timeout(stream.as_fd(), Timeout::Recv, Some(left))?;
            let mut buffer = [0; 4096];
            let len = stream.read(&mut buffer)?;
            if len == 0 {
                return Err(DialError::Closed);
            }
            received.extend_from_slice(&buffer[..len]);
            debug_assert!(received.len() <= limits::HEAD_SIZE_MAX + buffer.len());
            if let Some(len) = reader.handle(&received).map_err(|_| DialError::Head)? {
                break len;
            }
        };
        request(target, self.key).check(&received[..head_len])?;
        Ok(Dialed { socket: stream.into(), leftover: received.split_off(head_len) })
    }
}

fn request(target: &Target, key: [u8; 16]) -> ClientRequest<'_> {
    ClientRequest {
        host: &target.host,
        target: &target.path,
        key,
        subprotocols: &[],
        extensions: "",
        headers: &[],
    }
}

/// A time of zero would mean to wait for ever.
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_spread_only_when_ports_would_run_out() {
        let target: Target = "ws://127.0.0.1:1/".parse().expect("a URL");
        assert_eq!(source(&target, 0, PORTS_PER_SOURCE), None);
        let spread = |number| source(&target, number, PORTS_PER_SOURCE + 1);
        assert_eq!(spread(0), Some(Ipv4Addr::new(127, 0, 1, 1)));
        assert_eq!(spread(1), Some(Ipv4Addr::new(127, 0, 1, 2)));
        assert_eq!(spread(2), Some(Ipv4Addr::new(127, 0, 1, 1)));
        let outside: Target = "ws://192.0.2.1:1/".parse().expect("a URL");
        assert_eq!(source(&outside, 0, 1_000_000), None);
    }

    #[test]
    fn the_last_source_is_an_address() {
        let target: Target = "ws://127.0.0.1:1/".parse().expect("a URL");
        let total = 254 * PORTS_PER_SOURCE;
        let last = source(&target, 253, total);
        assert_eq!(last, Some(Ipv4Addr::new(127, 0, 1, 254)));
    }

    #[test]
    fn nobody_listening_is_said_once_for_all() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("bound");
        drop(free);
        let target: Target = format!("ws://{address}/").parse().expect("a URL");
        let dialing = dial_all(&target, 0..1_000, 1_000);
        assert!(dialing.open.is_empty());
        let refused = DialError::Refused.to_string();
        assert_eq!(dialing.failures.into_iter().collect::<Vec<_>>(), [(refused, 1_000)]);
    }
}
