//! Servers whose behaviour is known: each connection has a thread, which answers in turn.
//!
//! They share the machine with the generator, so they may be late themselves: each notes when its
//! answers really left, beside what the message says of when it was due and sent.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Longest lateness at p99 of a latency that is known.
const LAG_MAX: Duration = Duration::from_micros(500);

/// When the answer to a message leaves: given the time since the server's start at which the
/// message came, and how many came before it on its connection.
pub(super) type Leave = fn(Duration, u64) -> Duration;

/// A server that runs until the process ends.
pub(super) struct Stub {
    pub(super) url: String,
    notes: Arc<Mutex<Notes>>,
}

/// What a server saw of one run.
struct Notes {
    /// By how much answers left too late, in nanoseconds.
    lag: Histogram<u64>,
    answers: Vec<Answered>,
}

/// One answer, in nanoseconds: by the generator's clock, then by ours.
struct Answered {
    due: u64,
    sent: u64,
    came: u64,
    left: u64,
}

impl Stub {
    /// Forgets what was before: another run begins.
    pub(super) fn begin(&self) {
        *self.notes() = Notes::new();
    }

    /// Why its answers did not leave when they should have, counted from when they came.
    pub(super) fn lagged(&self) -> Option<String> {
        let lag = Duration::from_nanos(self.notes().lag.value_at_quantile(0.99));
        (lag > LAG_MAX).then(|| format!("the server's answers left {lag:?} late at p99"))
    }

    /// From when messages were due at `from` or later to when their answers left, in nanoseconds:
    /// what the generator should have found, but for the way back. The clocks are joined at the
    /// message that came soonest after it was sent.
    pub(super) fn since_due(&self, from: Duration) -> Histogram<u64> {
        let notes = self.notes();
        let offset = notes.answers.iter().map(|answer| answer.came as i64 - answer.sent as i64);
        let offset = offset.min().unwrap_or(0);
        let mut seen = histogram();
        let measured = |answer: &&Answered| u128::from(answer.due) >= from.as_nanos();
        for answer in notes.answers.iter().filter(measured) {
            let took = answer.left as i64 - offset - answer.due as i64;
            seen.saturating_record(took.max(0) as u64);
        }
        seen
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().expect("no thread of ours fails")
    }
}

impl Notes {
    fn new() -> Self {
        Self { lag: histogram(), answers: Vec::new() }
    }
}

/// Serves on a free port.
pub(super) fn serve(leave: Leave) -> Stub {
    serve_late(leave, |_| Duration::ZERO)
}

/// The same, but it notices each message late by as much as `dawdle` has it, given how many came
/// before: as a server whose thread waits for a core.
pub(super) fn serve_late(leave: Leave, dawdle: fn(u64) -> Duration) -> Stub {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address: SocketAddr = listener.local_addr().expect("bound");
    let start = Instant::now();
    let notes = Arc::new(Mutex::new(Notes::new()));
    let stub = Stub { url: format!("ws://{address}/"), notes: notes.clone() };
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, notes) = (stream.expect("a client"), notes.clone());
            thread::spawn(move || answer(stream, start, leave, dawdle, &notes));
        }
    });
    stub
}

fn answer(
    stream: TcpStream,
    start: Instant,
    leave: Leave,
    dawdle: fn(u64) -> Duration,
    notes: &Mutex<Notes>,
) {
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
        let late = dawdle(count);
        if !late.is_zero() {
            thread::sleep(late);
        }
        let came = start.elapsed();
        let leaves = leave(came, count);
        let data = message.into_data();
        if leaves > came {
            thread::sleep(leaves - came);
            note(&data, came, leaves, start.elapsed(), notes);
        }
        count += 1;
        if socket.send(tungstenite::Message::Binary(data)).is_err() {
            return;
        }
    }
}

/// Of nanoseconds, up to a minute: one that grows by itself does not do so for a saturating record.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are valid")
}

/// A payload begins with when it was due and when it was sent.
fn note(data: &[u8], came: Duration, leaves: Duration, left: Duration, notes: &Mutex<Notes>) {
    let number = |at: usize| {
        let bytes = data[at..at + 8].try_into().expect("eight of them");
        u64::from_be_bytes(bytes)
    };
    let mut notes = notes.lock().expect("no thread of ours fails");
    notes.lag.saturating_record(left.saturating_sub(leaves).as_nanos() as u64);
    notes.answers.push(Answered {
        due: number(0),
        sent: number(8),
        came: came.as_nanos() as u64,
        left: left.as_nanos() as u64,
    });
}
