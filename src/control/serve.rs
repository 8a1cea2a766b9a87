//! The admin port's connections: how many, for how long, and their end.
//!
//! `axum::serve` bounds neither; so this is the loop around hyper that does.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::engine::Engine;
use crate::limits;

/// Serves `router` until `shutdown` resolves, then closes `engine` and lets requests end.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()>,
    engine: &Engine,
) {
    let places = Arc::new(Semaphore::new(limits::ADMIN_CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let (place, socket) = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let io = TokioIo::new(socket);
        let service = TowerToHyperService::new(router.clone());
        let connection = graceful.watch(http().serve_connection(io, service));
        tokio::spawn(async move {
            // A connection that breaks or idles too long concerns nobody but its peer.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    engine.close();
    let stop = Duration::from_secs(limits::CONTROL_STOP_S);
    if timeout(stop, graceful.shutdown()).await.is_err() {
        tracing::warn!("admin connections were still busy at the end and are cut");
    }
}

fn http() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(limits::ADMIN_IDLE_TIMEOUT_S))
        .max_header_size(limits::HEAD_SIZE_MAX)
        .max_headers(limits::HEAD_HEADERS_MAX)
        .max_buf_size(limits::HEAD_SIZE_MAX)
        // Who shuts down its sending side after the request still wants the answer.
        .half_close(true);
    builder
}

/// The next connection, once there is a place for it. Dropping this future loses no connection.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (OwnedSemaphorePermit, TcpStream) {
    let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((socket, _)) => match set_options(&socket) {
                Ok(()) => return (place, socket),
                Err(error) => tracing::debug!(%error, "admin connection was gone at once"),
            },
            Err(error) if is_peer_fault(&error) => {}
            Err(error) => {
                // Descriptors or memory ran out: the listener stays readable, so without the pause
                // this would spin.
                tracing::error!(%error, "cannot accept on the admin port; next try in a second");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

fn set_options(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let timeout_ms = u32::try_from(limits::ADMIN_IDLE_TIMEOUT_S * 1_000)
        .expect("the idle timeout is far below 49 days");
    rustix::net::sockopt::set_tcp_user_timeout(socket, timeout_ms)?;
    Ok(())
}

/// Whether the connection died while it waited in the backlog.
fn is_peer_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
