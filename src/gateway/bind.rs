//! The two listening sockets.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use super::ServeError;
use crate::limits;

/// A client port that is bound but refuses clients still: it listens when all threads are ready.
#[derive(Debug)]
pub(super) struct BoundClients {
    socket: OwnedFd,
    address: SocketAddr,
}

/// Binds the admin port and listens.
///
/// `SO_REUSEADDR` is set, contrary to the first plan: on Linux it admits no second listener, and
/// without it a restart would fail for a minute after any HTTP client whose connection we closed.
pub(super) fn admin(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let listener = bound(address).and_then(|socket| {
        listen(&socket, limits::LISTEN_BACKLOG)?;
        Ok(TcpListener::from(socket))
    });
    listener.map_err(|source| ServeError::Bind { key: "server.admin", address, source })
}

/// Has the kernel make room for descriptors while the process has one thread. A table that grows
/// while threads share it makes the kernel wait for readers of the old one, and a handshake with
/// it. `any` is any open descriptor, `open_files` the soft limit.
pub(super) fn make_room(any: impl AsFd, open_files: u64) {
    let last = open_files.saturating_sub(1).min(limits::DESCRIPTORS_ROOM);
    // Without the room all works; some handshakes are late.
    let _ = rustix::io::fcntl_dupfd_cloexec(any, i32::try_from(last).unwrap_or(i32::MAX));
}

/// Binds the client port without listening.
pub(super) fn clients(address: SocketAddr) -> Result<BoundClients, ServeError> {
    let error = |source| ServeError::Bind { key: "server.listen", address, source };
    let socket = bound(address).map_err(error)?;
    Ok(BoundClients { socket, address })
}

impl BoundClients {
    /// Opens the port.
    pub(super) fn listen(self) -> Result<TcpListener, ServeError> {
        let Self { socket, address } = self;
        let error = |source| ServeError::Bind { key: "server.listen", address, source };
        listen(&socket, limits::LISTEN_BACKLOG).map_err(|errno| error(errno.into()))?;
        Ok(TcpListener::from(socket))
    }
}

fn bound(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    // The kernel tears rings down behind a process that was killed: for some milliseconds after its
    // end, an accept in flight still holds the port that whoever restarts it asks for.
    let deadline = Instant::now() + Duration::from_millis(limits::BIND_PATIENCE_MS);
    loop {
        match bind(&socket, &address) {
            Err(Errno::ADDRINUSE) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(limits::BIND_RETRY_MS));
            }
            bound => return Ok(bound.map(|()| socket)?),
        }
    }
}
