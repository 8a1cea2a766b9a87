//! Start, wire, drain, stop.
//!
//! The order at start: probe io_uring, bind the admin port (a second instance stops there with its
//! cause), bind the client port, build every shard and acceptor on its own thread, and only when
//! all are ready listen for clients. The order at stop: close the clients, end the acceptors, then
//! the shards, whose rings go away together, then notices, which tells of all that, then control.

mod announce;
mod bind;
mod drain;
mod error;
mod signals;
mod threads;

use std::sync::mpsc;

pub use error::ServeError;

use crate::config::{Config, Descriptors};
use crate::doctor;
use crate::lifecycle::{Lifecycle, Phase};
use crate::ring::{self, RingSizes, TableSizes};
use drain::Drained;
use signals::Signals;
use threads::Threads;

/// What the main thread waits for.
#[derive(Debug)]
enum Event {
    /// SIGTERM or SIGINT.
    Signal,
    /// A thread ended that should not have.
    Failed(ServeError),
}

/// Runs the gateway until SIGTERM or SIGINT has drained it. Prints what it serves once it serves.
///
/// # Errors
/// Anything that keeps it from starting, each with cause and remedy, within a second; a thread that
/// failed; or a second signal, which ends the process at once.
pub fn serve(mut config: Config) -> Result<(), ServeError> {
    abort_on_panic();
    let signals = Signals::block();
    let open_files = doctor::raise_open_files();
    ring::probe(ring_sizes(&config)).map_err(ServeError::from_ring)?;
    let table = choose_table(&config, open_files.after)?;
    let admin = bind::admin(config.server.admin)?;
    bind::make_room(&admin, open_files.after);
    // Port 0 asks for any: the demo page is to name the one it became.
    config.server.admin = admin.local_addr().map_err(ServeError::resources("the admin port"))?;
    let clients = bind::clients(config.server.listen)?;
    let (events, happened) = mpsc::channel();
    let lifecycle = Lifecycle::new();
    let threads = Threads::start(&config, table, &lifecycle, admin, &events)?;
    let listening = clients.listen()?;
    threads.accept_on(&listening)?;
    lifecycle.advance(Phase::Serving);
    announce::serving(&config, &listening, threads.admin_address);
    signals.forward(events);
    match next(&happened) {
        Event::Signal => {}
        Event::Failed(error) => return Err(error),
    }
    lifecycle.advance(Phase::Draining);
    tracing::info!(
        connections = threads.permits.total(),
        window_s = config.server.drain.as_secs_f64(),
        "draining: new clients get 503, open ones are closed with 1001 over the window"
    );
    let outcome = drain::drain(threads, &lifecycle, config.server.drain, &happened);
    match outcome {
        Drained::Cleanly => {
            tracing::info!("drained; every client is closed");
            Ok(())
        }
        Drained::WithRest(rest) => {
            tracing::warn!(
                connections = rest,
                "drained; some clients did not end in time and were reset"
            );
            Ok(())
        }
        Drained::Forced(rest) => Err(ServeError::Forced { connections: rest }),
        Drained::Failed(error) => Err(error),
    }
}

fn next(happened: &mpsc::Receiver<Event>) -> Event {
    happened.recv().expect("the signal thread holds a sender for as long as the process lives")
}

fn ring_sizes(config: &Config) -> RingSizes {
    RingSizes {
        sq_entries: config.limits.sq_entries,
        cq_entries: config.limits.cq_entries,
        recv_buffers: config.limits.recv_buffers,
        recv_buffer_size: config.limits.recv_buffer_size,
    }
}

/// The table each shard's ring gets, if descriptors are not enough or not wanted.
fn choose_table(config: &Config, open_files: u64) -> Result<Option<TableSizes>, ServeError> {
    let Some(sizes) = doctor::wanted_table(config, open_files) else { return Ok(None) };
    match ring::probe_table() {
        Ok(()) => Ok(Some(sizes)),
        Err(fault) if config.server.descriptors == Descriptors::Auto => {
            tracing::info!(%fault, "clients are held by descriptors alone; tidegate doctor says more");
            Ok(None)
        }
        Err(fault) => Err(ServeError::Table(fault)),
    }
}

/// A broken invariant in one thread must not leave the others serving half a gateway.
fn abort_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        tracing::error!(thread, "a broken invariant stops the gateway: {panic}");
        std::process::abort();
    }));
}
