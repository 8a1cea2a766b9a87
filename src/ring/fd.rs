//! Descriptors of client sockets on their way to a ring: options, duplicates, and what an error of
//! `accept` means.
//!
//! Knows no protocol. One of the files that may hold unsafe code: it borrows descriptors from types
//! that only lend numbers, and sets the one socket option no crate of ours wraps.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{Shutdown, sockopt};
use tokio_uring::net::{TcpListener, TcpStream};

use crate::limits;

/// Sets what every client socket has before a shard gets it: no delay of small frames, at most
/// [`limits::NOTSENT_LOWAT`] unsent bytes in the kernel, and an end to the connection once bytes
/// have gone unacknowledged for `user_timeout`. Three system calls.
///
/// # Errors
/// The peer is gone already.
pub fn set_client_options(socket: &TcpStream, user_timeout: Duration) -> io::Result<()> {
    let fd = borrow(socket);
    sockopt::set_tcp_nodelay(fd, true)?;
    set_notsent_lowat(fd, limits::NOTSENT_LOWAT)?;
    let timeout_ms = u32::try_from(user_timeout.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(fd, timeout_ms)?;
    Ok(())
}

/// A second descriptor for the same socket, closed on `exec`. The runtime's stream gives its own
/// one never away; dropped afterwards, it closes a number and not the connection, for the kernel
/// counts. No operation of the stream may be in flight, else its end would belong to nobody.
///
/// # Errors
/// The descriptor table is full.
pub fn duplicate(socket: &TcpStream) -> io::Result<OwnedFd> {
    borrow(socket).try_clone_to_owned()
}

/// The address this end of `socket` is bound to.
///
/// # Errors
/// The kernel's; it gives none for an open TCP socket.
pub fn local_addr(socket: &TcpStream) -> io::Result<SocketAddr> {
    Ok(SocketAddr::try_from(rustix::net::getsockname(borrow(socket))?)?)
}

/// The address of the other end of `socket`.
///
/// # Errors
/// The peer is gone already.
pub fn peer_addr(socket: &TcpStream) -> io::Result<SocketAddr> {
    let address = rustix::net::getpeername(borrow(socket))?.ok_or(Errno::NOTCONN)?;
    Ok(SocketAddr::try_from(address)?)
}

/// Ends listening on the socket behind `listener` and all its duplicates: accepts in flight on any
/// of them fail with `EINVAL`, clients not yet accepted are reset. Harmless when done twice.
pub fn stop_listening(listener: &TcpListener) {
    // SAFETY: the listener owns its descriptor, closes it only when dropped, and is borrowed for
    // as long as this value lives.
    let fd = unsafe { BorrowedFd::borrow_raw(listener.as_raw_fd()) };
    // ENOTCONN: another acceptor was first.
    let _ = rustix::net::shutdown(fd, Shutdown::Both);
}

/// What an error of `accept` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptFault {
    /// One client was lost before it was accepted: go on.
    Client,
    /// Descriptors or memory ran out: pause.
    Exhausted,
    /// The listening socket itself: pause too, for nothing else ends a loop of errors.
    Listener,
}

impl AcceptFault {
    /// Reads the errno. Errors of the network that `accept` reports for one client are listed in
    /// accept(2).
    pub fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => Self::Exhausted,
            Some(
                Errno::CONNABORTED
                | Errno::INTR
                | Errno::AGAIN
                | Errno::PERM
                | Errno::PROTO
                | Errno::NETDOWN
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::HOSTUNREACH
                | Errno::NETUNREACH
                | Errno::TIMEDOUT,
            ) => Self::Client,
            _ => Self::Listener,
        }
    }
}

/// Whether the kernel refused a ring for want of memory, which may pass.
pub fn is_out_of_memory(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::NOMEM)
}

/// The descriptor of `socket`, for as long as the socket is borrowed.
fn borrow(socket: &TcpStream) -> BorrowedFd<'_> {
    // SAFETY: the stream owns its descriptor and closes it only when dropped; the result borrows
    // the stream, so the descriptor stays open and its number is not reused while it lives.
    unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) }
}

/// Bounds the unsent bytes the kernel takes for this socket (tcp(7), `TCP_NOTSENT_LOWAT`).
fn set_notsent_lowat(fd: impl AsFd, bytes: u32) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<u32>()).expect("4 fits any integer");
    // SAFETY: the kernel reads `len` bytes at `bytes`, a local of exactly that size that lives past
    // the call, and keeps no pointer; the descriptor is borrowed, hence open.
    let result = unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NOTSENT_LOWAT,
            (&raw const bytes).cast(),
            len,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Tells the peer that nothing more will be sent. An error means that the peer is gone already,
/// which the receive reports.
pub fn shutdown_write(socket: impl AsFd) {
    let _ = rustix::net::shutdown(socket, Shutdown::Write);
}

/// Makes the coming close send a reset and free everything at once. An error leaves an ordinary
/// close.
pub fn reset_on_close(socket: impl AsFd) {
    let _ = sockopt::set_socket_linger(socket, Some(std::time::Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_arrive_at_the_socket_and_at_its_duplicate() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let client = std::net::TcpStream::connect(listener.local_addr().expect("bound"));
        let socket = TcpStream::from_std(client.expect("connected"));
        set_client_options(&socket, Duration::from_millis(35_000)).expect("an open socket");
        let copy = duplicate(&socket).expect("descriptors");
        drop(socket);
        assert!(sockopt::tcp_nodelay(&copy).expect("open"));
        assert_eq!(sockopt::tcp_user_timeout(&copy).expect("open"), 35_000);
        // The peer is still connected to the duplicate.
        assert_eq!(rustix::net::send(&copy, b"x", rustix::net::SendFlags::empty()), Ok(1));
    }

    #[test]
    fn errors_of_accept() {
        for (errno, fault) in [
            (libc::EMFILE, AcceptFault::Exhausted),
            (libc::ENOMEM, AcceptFault::Exhausted),
            (libc::ECONNABORTED, AcceptFault::Client),
            (libc::EINVAL, AcceptFault::Listener),
        ] {
            assert_eq!(AcceptFault::of(&io::Error::from_raw_os_error(errno)), fault);
        }
        assert_eq!(AcceptFault::of(&io::Error::other("no errno")), AcceptFault::Listener);
    }
}
