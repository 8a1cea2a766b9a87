//! [`Dialer`]: many handshakes at once on one thread, none of which waits for another.
//!
//! Sockets do not block while they are dialed, so that a slow server delays its own handshakes and
//! no others; they block again when handed over, as a ring wants them.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sockopt};
use tidegate::limits;
use tidegate::ws::handshake::{ClientRequest, HeadReader};
use tidegate::ws::{MessageKind, encode};

use super::greeting::Greeting;
use super::{DIAL_TIMEOUT, DialError, Dialed, Place, Sources};
use crate::compression::OFFER;
use crate::target::Target;

/// Handshakes in flight.
pub(crate) struct Dialer {
    epoll: OwnedFd,
    sources: Option<Sources>,
    compression: bool,
    attempts: Vec<Option<Attempt>>,
    /// Unused places in `attempts`.
    free: Vec<usize>,
    /// Every attempt when it was started, oldest first, finished ones included: where to look for
    /// those that took too long.
    ages: VecDeque<(Instant, usize)>,
    in_flight: usize,
    random: fastrand::Rng,
    events: Vec<Event>,
    /// Descriptors set aside: where connections take all there are, rings and files still open
    /// once dialing is over.
    _reserve: Vec<OwnedFd>,
}

/// How one handshake ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// What [`Dialer::start`] was given.
    pub(crate) number: u32,
    /// When it was started.
    pub(crate) started: Instant,
    /// The connection, or why there is none.
    pub(crate) result: Result<Dialed, DialError>,
}

impl Dialer {
    /// Nothing in flight; connections will come from `sources` in turn, and agree on compression
    /// if asked to.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub(crate) fn new(sources: Option<Sources>, compression: bool) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self {
            _reserve: (0..RESERVE).map(|_| epoll.try_clone()).collect::<Result<_, _>>()?,
            epoll,
            sources,
            compression,
            attempts: Vec::new(),
            free: Vec::new(),
            ages: VecDeque::new(),
            in_flight: 0,
            random: fastrand::Rng::new(),
            events: Vec::with_capacity(EVENTS),
        })
    }

    /// Handshakes that are started and not finished.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Starts the handshake of connection `number` with `place`, its first commands included.
    ///
    /// # Errors
    /// It failed at once; nothing of it is in flight.
    pub(crate) fn start(&mut self, place: Place<'_>, number: u32) -> Result<(), DialError> {
        let started = Instant::now();
        let Place { target, hello } = place;
        let socket = self.open(target, number)?;
        let mut key = [0; 16];
        self.random.fill(&mut key);
        let mut bytes = Vec::with_capacity(512);
        let extensions = self.extensions();
        request(target, key, &extensions).append(&mut bytes).expect("the URL was checked");
        let greeting = hello.map(|hello| {
            let mut frame = Vec::new();
            let mask = self.random.u32(..).to_ne_bytes();
            encode::append_message_masked(&mut frame, MessageKind::Text, hello.as_bytes(), mask);
            (frame, Greeting::new(hello))
        });
        let index = self.free.pop().unwrap_or_else(|| {
            self.attempts.push(None);
            self.attempts.len() - 1
        });
        let interest = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        if let Err(errno) =
            epoll::add(&self.epoll, &socket, EventData::new_u64(index as u64), interest)
        {
            self.free.push(index);
            return Err(errno.into());
        }
        let reader = HeadReader::new();
        self.attempts[index] = Some(Attempt {
            socket,
            number,
            started,
            key,
            extensions,
            bytes,
            reader,
            connected: false,
            upgraded: false,
            greeting,
        });
        self.ages.push_back((started, index));
        self.in_flight += 1;
        Ok(())
    }

    /// Waits until a handshake makes progress or `timeout` has passed, and hands out those that
    /// finished.
    ///
    /// # Errors
    /// The kernel refused to wait.
    pub(crate) fn wait(
        &mut self,
        timeout: Duration,
        mut finished: impl FnMut(Finished),
    ) -> io::Result<()> {
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let timeout = timeout.try_into().expect("a day at most");
        // Waits to the nanosecond, where `epoll_wait` would round up to a millisecond: a handshake
        // in 2,000 a second would be late by that.
        let ready = poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], Some(&timeout));
        let taken = ready.and_then(|_| {
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&Timespec::default()))
        });
        match taken {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        for event in &events {
            let index = event.data.u64() as usize;
            let Some(attempt) = &mut self.attempts[index] else { continue };
            match attempt.advance() {
                Ok(None) => {}
                Ok(Some(leftover)) => finished(self.finish(index, Ok(leftover))),
                Err(error) => finished(self.finish(index, Err(error))),
            }
        }
        self.events = events;
        self.give_up(finished);
        Ok(())
    }

    /// Ends the attempts that took too long.
    fn give_up(&mut self, mut finished: impl FnMut(Finished)) {
        while let Some(&(started, index)) = self.ages.front() {
            let same = |attempt: &Attempt| attempt.started == started;
            let alive = self.attempts[index].as_ref().is_some_and(same);
            if alive && started.elapsed() < DIAL_TIMEOUT {
                return;
            }
            self.ages.pop_front();
            if alive {
                finished(self.finish(index, Err(DialError::TimedOut)));
            }
        }
    }

    /// Takes the attempt at `index` out; `Ok` holds what came behind what it waited for.
    fn finish(&mut self, index: usize, leftover: Result<Vec<u8>, DialError>) -> Finished {
        let attempt = self.attempts[index].take().expect("an attempt finishes once");
        self.free.push(index);
        self.in_flight -= 1;
        // Before its descriptor leaves: it stays open, and would go on to report.
        let removed = epoll::delete(&self.epoll, &attempt.socket);
        let Attempt { socket, number, started, .. } = attempt;
        let result = leftover.and_then(|leftover| {
            removed?;
            rustix::io::ioctl_fionbio(&socket, false)?;
            Ok(Dialed { number, socket, leftover })
        });
        Finished { number, started, result }
    }

    /// What is offered.
    fn extensions(&self) -> String {
        if self.compression { OFFER.to_string() } else { String::new() }
    }

    /// A socket on its way to `target`.
    fn open(&self, target: &Target, number: u32) -> Result<OwnedFd, DialError> {
        let family = match target.address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        if let Some(sources) = &self.sources {
            // Without it bind would take a port that no other destination could use.
            setsockopt(&socket, IpBindAddressNoPort, &true).map_err(io::Error::from)?;
            rustix::net::bind(&socket, &SocketAddr::from((sources.of(number), 0)))
                .map_err(|errno| DialError::of_bind(errno, sources.of(number)))?;
        }
        sockopt::set_tcp_nodelay(&socket, true)?;
        match rustix::net::connect(&socket, &target.address) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// One handshake.
struct Attempt {
    socket: OwnedFd,
    number: u32,
    started: Instant,
    key: [u8; 16],
    /// What was offered.
    extensions: String,
    /// The request until it is sent, then what came and is not taken.
    bytes: Vec<u8>,
    reader: HeadReader,
    connected: bool,
    /// The server's head was taken and agreed.
    upgraded: bool,
    /// The frame to send once it has, and who takes the answers.
    greeting: Option<(Vec<u8>, Greeting)>,
}

impl Attempt {
    /// Goes as far as the socket lets it; what came behind the last answer once that is there.
    fn advance(&mut self) -> Result<Option<Vec<u8>>, DialError> {
        if !self.connected {
            sockopt::socket_error(&self.socket)??;
            match rustix::net::send(&self.socket, &self.bytes, SendFlags::NOSIGNAL) {
                Ok(len) => assert_eq!(len, self.bytes.len(), "a new socket holds a request"),
                // An event may come before the connection does.
                Err(Errno::AGAIN | Errno::NOTCONN) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
            self.connected = true;
            self.bytes.clear();
        }
        loop {
            let mut buffer = [0; 4096];
            match rustix::io::read(&self.socket, &mut buffer) {
                Ok(0) => return Err(DialError::Closed),
                Ok(len) => self.bytes.extend_from_slice(&buffer[..len]),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            debug_assert!(self.bytes.len() <= limits::HEAD_SIZE_MAX + buffer.len());
            if let Some(leftover) = self.take()? {
                return Ok(Some(leftover));
            }
        }
    }

    /// Takes what came: the server's head, then the answers to the first commands.
    fn take(&mut self) -> Result<Option<Vec<u8>>, DialError> {
        if !self.upgraded {
            let head = self.reader.handle(&self.bytes).map_err(|_| DialError::Head)?;
            let Some(head_len) = head else { return Ok(None) };
            check(self.key, &self.extensions, &self.bytes[..head_len])?;
            self.bytes.drain(..head_len);
            self.upgraded = true;
            if let Some((frame, _)) = &self.greeting {
                let len = rustix::net::send(&self.socket, frame, SendFlags::NOSIGNAL)?;
                assert_eq!(len, frame.len(), "a new socket holds two commands");
            }
        }
        let leftover = match &mut self.greeting {
            None => Some(std::mem::take(&mut self.bytes)),
            Some((_, greeting)) => greeting.handle(&mut self.bytes)?,
        };
        self.bytes.clear();
        Ok(leftover)
    }
}

fn request<'a>(target: &'a Target, key: [u8; 16], extensions: &'a str) -> ClientRequest<'a> {
    ClientRequest {
        host: &target.host,
        target: &target.path,
        key,
        subprotocols: &[],
        extensions,
        headers: &[],
    }
}

/// Whether the server agreed to the request that carried `key`, and to `extensions` if any were
/// offered.
fn check(key: [u8; 16], extensions: &str, head: &[u8]) -> Result<(), DialError> {
    let request =
        ClientRequest { host: "", target: "/", key, subprotocols: &[], extensions, headers: &[] };
    let agreed = request.check(head)?;
    if !extensions.is_empty() && OFFER.check(&agreed.extensions)?.is_none() {
        return Err(DialError::NotCompressed);
    }
    Ok(())
}

/// Descriptors set aside: eventfd and ring of a thread, a report, what is read of `/proc`.
const RESERVE: usize = 8;

/// Events taken in one wait.
const EVENTS: usize = 256;
