//! Bytes from the socket: the one read in flight and the buffer it fills.
//!
//! An operation of the ring that is dropped before it ends takes the bytes it receives with it. So
//! the read belongs to the connection and not to the call that waits for it: a call that is
//! dropped leaves the read where it is, and the next one goes on waiting for it.
//!
//! Invariant: a read is in flight only while nothing received waits to be decoded, so there is one
//! buffer.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio_uring::net::TcpStream;

/// The receiving side of one socket.
pub(super) struct Incoming {
    /// The bytes received last. Empty while a read is in flight.
    chunk: Vec<u8>,
    /// Bytes at the start of `chunk` that are done with.
    consumed: usize,
    buffer_size: usize,
    exchange: Rc<Exchange>,
    /// [`pump`], polled by whoever wants bytes.
    pump: Pin<Box<dyn Future<Output = Infallible>>>,
}

impl Incoming {
    /// Reads from `stream` in buffers of `buffer_size` bytes, after `leftover`, which was received
    /// before. Nothing is read before somebody waits for it.
    pub(super) fn new(stream: Rc<TcpStream>, leftover: Vec<u8>, buffer_size: usize) -> Self {
        let exchange = Rc::new(Exchange::default());
        let pump = Box::pin(pump(stream, Rc::clone(&exchange)));
        Self { chunk: leftover, consumed: 0, buffer_size, exchange, pump }
    }

    /// What was received and not consumed.
    pub(super) fn rest(&mut self) -> &mut [u8] {
        &mut self.chunk[self.consumed..]
    }

    /// Where [`rest`](Self::rest) begins among what was [received](Self::received).
    pub(super) fn position(&self) -> usize {
        self.consumed
    }

    /// Bytes that were received, until more are waited for. Nowhere there are always none.
    pub(super) fn received(&self, at: &Range<usize>) -> &[u8] {
        if at.is_empty() { &[] } else { &self.chunk[at.clone()] }
    }

    /// Is done with the first `len` bytes of [`rest`](Self::rest).
    pub(super) fn consume(&mut self, len: usize) {
        self.consumed += len;
        debug_assert!(self.consumed <= self.chunk.len());
    }

    /// Whether a read is in flight, so that bytes may arrive in a buffer that is not here.
    pub(super) fn is_in_flight(&self) -> bool {
        self.exchange.in_flight.get()
    }

    /// Waits for more bytes; 0 is the end of the stream. Everything must have been consumed. A
    /// caller that stops waiting loses nothing.
    ///
    /// # Errors
    /// The socket's.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if !self.is_in_flight() {
            debug_assert_eq!(self.consumed, self.chunk.len());
            let mut buffer = std::mem::take(&mut self.chunk);
            buffer.clear();
            buffer.reserve_exact(self.buffer_size);
            self.consumed = 0;
            self.exchange.in_flight.set(true);
            self.exchange.given.set(Some(buffer));
        }
        let Poll::Pending = self.pump.as_mut().poll(cx);
        match self.exchange.received.take() {
            None => Poll::Pending,
            Some((result, buffer)) => {
                self.exchange.in_flight.set(false);
                self.chunk = buffer;
                // A read that failed says nothing about its buffer.
                self.chunk.truncate(*result.as_ref().unwrap_or(&0));
                Poll::Ready(result)
            }
        }
    }
}

/// What goes between a connection and its [`pump`].
#[derive(Default)]
struct Exchange {
    /// True from giving a buffer until it is taken back, filled.
    in_flight: Cell<bool>,
    given: Cell<Option<Vec<u8>>>,
    received: Cell<Option<tokio_uring::BufResult<usize, Vec<u8>>>>,
}

/// Reads into every buffer it is given. One future for the life of the connection, so that a read
/// allocates nothing. Between buffers it waits without a waker: who gives one polls.
async fn pump(stream: Rc<TcpStream>, exchange: Rc<Exchange>) -> Infallible {
    loop {
        let buffer = poll_fn(|_| match exchange.given.take() {
            Some(buffer) => Poll::Ready(buffer),
            None => Poll::Pending,
        });
        let buffer = buffer.await;
        let received = stream.read(buffer).await;
        exchange.received.set(Some(received));
    }
}
