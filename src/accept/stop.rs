//! How the gateway ends its acceptors.

use tokio::sync::watch;

/// Held by the gateway: ends every acceptor that holds a [`Stopped`] of it. Dropping it ends them
/// as well.
#[derive(Debug)]
pub struct Stop(watch::Sender<bool>);

/// Held by an acceptor.
#[derive(Clone, Debug)]
pub struct Stopped(watch::Receiver<bool>);

impl Stop {
    /// A stop that nobody has asked for.
    #[allow(clippy::new_without_default, reason = "a stop on its own is of no use to anybody")]
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// What acceptors watch.
    pub fn watch(&self) -> Stopped {
        Stopped(self.0.subscribe())
    }

    /// Ends the acceptors: each leaves its loop at once, gives the handshakes in flight
    /// [`crate::limits::ACCEPT_STOP_MS`], and then ends its thread. From any thread; does not wait.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stopped {
    /// Whether [`Stop::stop`] was called. True as soon as any other holder's wait has ended, which
    /// this holder's own wait need not have by then.
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until [`Stop::stop`] is called. May be dropped and called again at any time.
    pub async fn wait(&mut self) {
        // An error means that the gateway is gone, which is a stop too.
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }
}
