//! The accept loop of one acceptor.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;
use tokio_uring::net::{TcpListener, TcpStream};

use super::{LogGate, Shared, connection};
use crate::limits;
use crate::ring::fd::{self, AcceptFault};

/// Accepts until the stop, then waits for the handshakes in flight, cutting them off after
/// [`limits::ACCEPT_STOP_MS`].
pub(super) async fn listen(shared: Rc<Shared>, listener: TcpListener, cut: watch::Sender<bool>) {
    let places = Arc::new(Semaphore::new(limits::HANDSHAKES_PER_ACCEPTOR_MAX));
    let mut pause = Pause::default();
    while let Some(place) = take_place(&shared, &places).await {
        match accept(&shared, &listener).await {
            None => break,
            Some(Ok((socket, peer))) => {
                pause.end();
                shared.stats.counters.accepted.add(1);
                shared.stats.counters.handshakes_open.add(1);
                let shared = Rc::clone(&shared);
                tokio_uring::spawn(async move {
                    connection::handshake(&shared, socket, peer).await;
                    shared.stats.counters.handshakes_open.sub(1);
                    drop::<OwnedSemaphorePermit>(place);
                });
            }
            Some(Err(error)) => {
                if AcceptFault::of(&error) != AcceptFault::Client {
                    pause.wait(&shared, &error).await;
                }
            }
        }
    }
    fd::stop_listening(&listener);
    let all = u32::try_from(limits::HANDSHAKES_PER_ACCEPTOR_MAX).expect("a small limit");
    let mut ended = pin!(places.acquire_many(all));
    let grace = Duration::from_millis(limits::ACCEPT_STOP_MS);
    if tokio::time::timeout(grace, &mut ended).await.is_err() {
        cut.send_replace(true);
        // Each handshake ends now: its socket is shut down, so no operation can stay in flight.
        let _ = ended.await;
    }
}

/// A place for one handshake; `None` at the stop. Accepting waits here while all are taken, and the
/// kernel's backlog holds who comes meanwhile.
async fn take_place(shared: &Shared, places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    let mut stopped = shared.stopped.clone();
    tokio::select! {
        biased;
        () = stopped.wait() => None,
        place = Arc::clone(places).acquire_owned() => {
            Some(place.expect("the semaphore is never closed"))
        }
    }
}

/// The next client or error; `None` at the stop. The accept in flight is not dropped then: the
/// listening socket is shut down, which ends it. A client it took in that moment is closed.
async fn accept(
    shared: &Shared,
    listener: &TcpListener,
) -> Option<io::Result<(TcpStream, SocketAddr)>> {
    shared.stats.counters.ring_operations.add(1);
    let mut stopped = shared.stopped.clone();
    let mut accepting = pin!(listener.accept());
    tokio::select! {
        // The stop first: when another acceptor has shut the socket down already, the error that
        // follows here is none.
        biased;
        () = stopped.wait() => fd::stop_listening(listener),
        accepted = &mut accepting => {
            // The error another acceptor's stop causes can come before this one's own wake-up.
            let stopped = accepted.is_err() && shared.stopped.is_stopped();
            return (!stopped).then_some(accepted);
        }
    }
    drop(accepting.await);
    None
}

/// For the line that says that accepting pauses.
static LOG: LogGate = LogGate::new();

/// How long accepting rests while descriptors or memory are short.
#[derive(Default)]
struct Pause {
    /// The last pause; zero when the last accept succeeded.
    last: Duration,
}

impl Pause {
    /// The shortage is over.
    fn end(&mut self) {
        self.last = Duration::ZERO;
    }

    /// Rests for twice as long as last time, or until the stop.
    async fn wait(&mut self, shared: &Shared, error: &io::Error) {
        let shortest = Duration::from_millis(limits::ACCEPT_PAUSE_MIN_MS);
        let longest = Duration::from_millis(limits::ACCEPT_PAUSE_MAX_MS);
        self.last = (self.last * 2).clamp(shortest, longest);
        shared.stats.counters.accept_pauses.add(1);
        if LOG.open() {
            tracing::warn!(
                %error,
                pause_ms = self.last.as_millis(),
                "accepting new clients pauses; connected clients are served on. \
                 When open files ran out, raise the limit (ulimit -n); where table slots work \
                 (tidegate doctor), more of server.shards do as well"
            );
        }
        let mut stopped = shared.stopped.clone();
        tokio::select! {
            () = sleep(self.last) => {}
            () = stopped.wait() => {}
        }
    }
}
