//! Rows of raw bytes over TCP: sent whole or in pieces, every byte of the answer compared.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::PATIENCE;

/// What a row found wrong.
pub type Verdict = Result<(), String>;

/// A connection with nothing sent, whose small pieces leave at once.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the port is open");
    stream.set_nodelay(true).expect("a TCP socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
    stream
}

/// Sends `input` in pieces of `piece_len`.
pub fn send(stream: &mut TcpStream, input: &[u8], piece_len: usize) -> Verdict {
    for (index, piece) in input.chunks(piece_len.max(1)).enumerate() {
        let at = index * piece_len;
        stream.write_all(piece).map_err(|error| format!("sending at byte {at}: {error}"))?;
    }
    Ok(())
}

/// Reads as many bytes as `expected` has, and compares.
pub fn expect(stream: &mut TcpStream, what: &str, expected: &[u8]) -> Verdict {
    let mut actual = vec![0; expected.len()];
    let mut filled = 0;
    while filled < expected.len() {
        match stream.read(&mut actual[filled..]) {
            Ok(0) => {
                actual.truncate(filled);
                compare(what, &actual, &expected[..filled])?;
                return Err(format!("{what}: end after {filled} of {} bytes", expected.len()));
            }
            Ok(len) => filled += len,
            Err(error) => return Err(format!("{what}: {error} after {filled} bytes")),
        }
    }
    compare(what, &actual, expected)
}

/// The server has finished sending, in order, with nothing before.
pub fn expect_end(stream: &mut TcpStream) -> Verdict {
    let mut more = [0; 64];
    match stream.read(&mut more) {
        Ok(0) => Ok(()),
        Ok(len) => Err(format!("{} where the end should be", show(&more[..len]))),
        Err(error) => Err(format!("{error} where the end should be")),
    }
}

/// The server has finished sending and still receives: what is sent now raises no reset.
pub fn expect_half_closed(stream: &mut TcpStream) -> Verdict {
    expect_end(stream)?;
    for _ in 0..3 {
        // A closed socket would answer the first with a reset, which fails the next.
        stream.write_all(&[0xAA; 1_000]).map_err(|error| format!("not half closed: {error}"))?;
    }
    stream.shutdown(Shutdown::Write).map_err(|error| format!("not half closed: {error}"))?;
    match stream.take_error() {
        Ok(None) => Ok(()),
        error => Err(format!("not half closed: {error:?}")),
    }
}

/// The server is there: it answers a Ping.
pub fn expect_open(stream: &mut TcpStream) -> Verdict {
    send(stream, b"\x89\x84\x01\x02\x03\x04\x72\x76\x6A\x68", usize::MAX)?;
    expect(stream, "pong", b"\x8A\x04stil")
}

/// Runs every row, `at_a_time` of them together, and panics with what all of them found wrong.
pub fn run<R: Sync>(rows: &[R], at_a_time: usize, check: impl Fn(&R) -> Verdict + Sync) {
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..at_a_time {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(fault) = check(row) {
                        wrong.lock().expect("no panic holds it").push(fault);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("no panic holds it");
    let some = &wrong[..wrong.len().min(20)];
    assert!(wrong.is_empty(), "{} of {} rows, such as {some:#?}", wrong.len(), rows.len());
}

/// Bytes as one reads them in a test.
pub fn show(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(24)];
    format!("{:02x?} ({:?})", shown, String::from_utf8_lossy(shown))
}

fn compare(what: &str, actual: &[u8], expected: &[u8]) -> Verdict {
    let same = actual.iter().zip(expected).take_while(|(a, b)| a == b).count();
    if same == expected.len() && actual.len() == expected.len() {
        return Ok(());
    }
    let (actual, expected) = (show(&actual[same..]), show(&expected[same..]));
    Err(format!("{what}: at byte {same} came {actual}, expected {expected}"))
}
