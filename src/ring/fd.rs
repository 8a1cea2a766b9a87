//! Calls on ordinary descriptors that a ring does not need.

use std::os::fd::AsFd;

use rustix::net::{Shutdown, shutdown, sockopt};

/// Tells the peer that nothing more will be sent. An error means that the peer is gone already,
/// which the receive reports.
pub fn shutdown_write(socket: impl AsFd) {
    let _ = shutdown(socket, Shutdown::Write);
}

/// Makes the coming close send a reset and free everything at once. An error leaves an ordinary
/// close.
pub fn reset_on_close(socket: impl AsFd) {
    let _ = sockopt::set_socket_linger(socket, Some(std::time::Duration::ZERO));
}
