//! The one deadline of a handshake.

use std::future::Future;
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Sleep, sleep};
use tokio_uring::net::TcpStream;

/// Bounds every operation on one client's socket by one point in time, set at accept and never
/// moved, and by the acceptor's cut-off when it stops.
pub(super) struct Deadline {
    time_is_up: Pin<Box<Sleep>>,
    cut: watch::Receiver<bool>,
    /// True once time was up: the socket is shut down.
    passed: bool,
}

impl Deadline {
    /// A deadline `after` now, or earlier when `cut` turns true.
    pub(super) fn new(after: Duration, cut: watch::Receiver<bool>) -> Self {
        Self { time_is_up: Box::pin(sleep(after)), cut, passed: false }
    }

    /// Whether time was up before an operation ended. Whatever the operation gave then is void.
    pub(super) fn has_passed(&self) -> bool {
        self.passed
    }

    /// Waits for `operation` on `socket` to its end. Dropped in flight it would take its bytes with
    /// it and keep the socket open; so when time is up first, the socket is shut down, whereupon
    /// the kernel ends the operation.
    pub(super) async fn bound<T>(
        &mut self,
        socket: &TcpStream,
        operation: impl Future<Output = T>,
    ) -> T {
        let mut operation = pin!(operation);
        if !self.passed {
            tokio::select! {
                biased;
                output = &mut operation => return output,
                () = &mut self.time_is_up => {}
                // An error means that the accept loop is gone, which is a cut-off too.
                _ = self.cut.wait_for(|cut| *cut) => {}
            }
            self.passed = true;
            // ENOTCONN: the peer has reset the connection, which ends the operation as well.
            let _ = socket.shutdown(Shutdown::Both);
        }
        operation.await
    }
}
