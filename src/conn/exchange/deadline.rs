//! The one deadline of a handshake.

use std::future::Future;
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Sleep, sleep};
use tokio_uring::net::TcpStream;

/// Bounds every operation on one stream by one point in time, set once and never moved, and by a
/// cut-off from outside if there is one.
pub(in crate::conn) struct Deadline {
    time_is_up: Pin<Box<Sleep>>,
    /// Ends the handshake early when it turns true or its sender is gone.
    cut: Option<watch::Receiver<bool>>,
    /// True once time was up: the stream is shut down.
    passed: bool,
}

impl Deadline {
    /// A deadline `after` now, or earlier when `cut` turns true.
    pub(in crate::conn) fn new(after: Duration, cut: Option<watch::Receiver<bool>>) -> Self {
        Self { time_is_up: Box::pin(sleep(after)), cut, passed: false }
    }

    /// Whether time was up before an operation ended. Whatever the operation gave then is void.
    pub(super) fn has_passed(&self) -> bool {
        self.passed
    }

    /// Waits for `operation` on `stream` to its end. Given up in flight it would keep the stream
    /// open until the peer does something; so when time is up first, the stream is shut down,
    /// whereupon the kernel ends the operation. The same happens when this future is dropped.
    pub(super) async fn bound<T>(
        &mut self,
        stream: &TcpStream,
        operation: impl Future<Output = T>,
    ) -> T {
        let guard = ShutDownOnDrop(stream);
        let mut operation = pin!(operation);
        if !self.passed {
            tokio::select! {
                biased;
                output = &mut operation => {
                    std::mem::forget(guard);
                    return output;
                }
                () = &mut self.time_is_up => {}
                () = is_cut(&mut self.cut) => {}
            }
            self.passed = true;
        }
        drop(guard);
        operation.await
    }
}

/// Waits for the cut-off; for ever if none can come.
async fn is_cut(cut: &mut Option<watch::Receiver<bool>>) {
    match cut {
        // An error means that whoever could cut is gone, which is a cut-off too.
        Some(cut) => drop(cut.wait_for(|cut| *cut).await),
        None => std::future::pending().await,
    }
}

/// Ends the operation in flight on a stream by shutting the stream down.
struct ShutDownOnDrop<'a>(&'a TcpStream);

impl Drop for ShutDownOnDrop<'_> {
    fn drop(&mut self) {
        // ENOTCONN: the peer has reset the connection, which ends the operation as well.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}
