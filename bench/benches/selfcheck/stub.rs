//! Servers whose behaviour is known: each connection has a thread, which answers in turn.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// By how much answers left too late, in nanoseconds.
type Lag = Arc<Mutex<Histogram<u64>>>;

/// Longest lateness at p99 of a latency that is known.
const LAG_MAX: Duration = Duration::from_micros(500);

/// When the answer to a message leaves: given the time since the server's start at which the
/// message came, and how many came before it on its connection.
pub(super) type Leave = fn(Duration, u64) -> Duration;

/// A server that runs until the process ends.
pub(super) struct Stub {
    pub(super) url: String,
    lag: Lag,
}

impl Stub {
    /// Why its answers did not leave when they should have: it shares the machine.
    pub(super) fn lagged(&self) -> Option<String> {
        let lag_ns = self.lag.lock().expect("no thread of ours fails").value_at_quantile(0.99);
        let lag = Duration::from_nanos(lag_ns);
        (lag > LAG_MAX).then(|| format!("the server's answers left {lag:?} late at p99"))
    }
}

/// Serves on a free port.
pub(super) fn serve(leave: Leave) -> Stub {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address: SocketAddr = listener.local_addr().expect("bound");
    let start = Instant::now();
    let lag: Lag = Arc::new(Mutex::new(Histogram::new(3).expect("three digits")));
    let stub = Stub { url: format!("ws://{address}/"), lag: lag.clone() };
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, lag) = (stream.expect("a client"), lag.clone());
            thread::spawn(move || answer(stream, start, leave, &lag));
        }
    });
    stub
}

fn answer(stream: TcpStream, start: Instant, leave: Leave, lag: &Lag) {
    // The default of 50 us would be part of every known latency.
    rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN)).expect("a thread of ours");
    stream.set_nodelay(true).expect("a socket");
    let mut socket = tungstenite::accept(stream).expect("a handshake");
    let mut count = 0;
    // The client's end is an error here.
    while let Ok(message) = socket.read() {
        if !message.is_binary() {
            continue;
        }
        let came = start.elapsed();
        let leaves = leave(came, count);
        if leaves > came {
            thread::sleep(leaves - came);
            let late = start.elapsed().saturating_sub(leaves);
            let mut lag = lag.lock().expect("no thread of ours fails");
            lag.saturating_record(late.as_nanos() as u64);
        }
        count += 1;
        if socket.send(message).is_err() {
            return;
        }
    }
}
