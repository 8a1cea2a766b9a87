//! A stream while HTTP heads are exchanged over it, before it is a WebSocket; both roles.

mod deadline;

use std::io;
use std::net::Shutdown;

use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::TcpStream;

use crate::limits;
use crate::ws::handshake::{HandshakeError, HeadReader};

pub(super) use deadline::Deadline;

/// How reading a head ended.
#[derive(Debug)]
pub(crate) enum HeadEnd {
    /// It is there.
    Complete {
        /// Its length, the empty line included.
        head_len: usize,
    },
    /// It breaks a rule.
    Broken(HandshakeError),
    /// The peer closed or reset the connection before.
    Aborted,
    /// Time was up before.
    TimedOut,
}

/// A stream with the deadline of its handshake. Dropped at any await point, it closes the
/// connection.
pub(crate) struct Exchange {
    stream: TcpStream,
    deadline: Deadline,
    operation_count: u64,
}

impl Exchange {
    /// Nothing has been read or sent yet.
    pub(super) fn new(stream: TcpStream, deadline: Deadline) -> Self {
        Self { stream, deadline, operation_count: 0 }
    }

    /// The stream, for its options and duplicates. No operation is in flight on it.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The stream itself. No operation is in flight on it.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Reads and writes given to the ring so far.
    pub(crate) fn operation_count(&self) -> u64 {
        self.operation_count
    }

    /// Whether time was up before an operation ended.
    pub(super) fn has_timed_out(&self) -> bool {
        self.deadline.has_passed()
    }

    /// Reads until the head is complete; gives all that was received, what follows the head
    /// included.
    pub(crate) async fn read_head(&mut self) -> (Vec<u8>, HeadEnd) {
        let mut reader = HeadReader::new();
        let mut received = Vec::with_capacity(limits::HEAD_BUFFER_SIZE);
        loop {
            if received.len() == received.capacity() {
                // The reader refuses a head above its limit, so this ends there.
                received.reserve_exact(received.len());
            }
            let (result, buffer) = self.read(received).await;
            received = buffer;
            match result {
                _ if self.deadline.has_passed() => return (received, HeadEnd::TimedOut),
                Ok(0) | Err(_) => return (received, HeadEnd::Aborted),
                Ok(_) => {}
            }
            match reader.handle(&received) {
                Ok(Some(head_len)) => return (received, HeadEnd::Complete { head_len }),
                Ok(None) => {}
                Err(error) => return (received, HeadEnd::Broken(error)),
            }
        }
    }

    /// Reads into the free room of `buffer`, behind what it holds.
    pub(super) async fn read(&mut self, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        debug_assert!(
            buffer.len() < buffer.capacity(),
            "a read of no room would look like the end"
        );
        self.operation_count += 1;
        let held = buffer.len();
        let reading = self.stream.read(buffer.slice(held..));
        let (result, slice) = self.deadline.bound(&self.stream, reading).await;
        (result, slice.into_inner())
    }

    /// Sends all of `bytes`; the result is void when time was up.
    pub(super) async fn send(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        self.operation_count += 1;
        let writing = self.stream.write_all(bytes);
        self.deadline.bound(&self.stream, writing).await.0
    }

    /// Sends the last words, then reads and discards until the peer closes too, so that no reset
    /// overtakes them. `buffer` is only room to read into, at least one byte.
    pub(crate) async fn finish(&mut self, response: Vec<u8>, mut buffer: Vec<u8>) {
        if self.send(response).await.is_err() || self.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let mut discarded = 0;
        while discarded < limits::REFUSED_DISCARD_MAX {
            buffer.clear();
            let (result, filled) = self.read(buffer).await;
            buffer = filled;
            match result {
                Ok(0) | Err(_) => return,
                Ok(len) => discarded += len,
            }
        }
    }
}
