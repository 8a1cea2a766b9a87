//! Both halves of a connection in one hand.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use tokio_uring::net::TcpStream;

use super::controls::{CloseHandler, Control, ControlHandler, Controls};
use super::incoming::Incoming;
use super::join::JoinMessages;
use super::message::Message;
use super::outgoing::Outgoing;
use super::prepared::PreparedMessage;
use super::read::ReadHalf;
use super::reader::MessageReader;
use super::write::WriteHalf;
use super::writer::MessageWriter;
use super::{CloseError, ConnParts, Error, HandlerError};
use crate::limits;
use crate::ring::fd;
use crate::ws::{CloseCode, MessageKind};

/// A WebSocket connection, either end of it. Made by an upgrade or a dial.
///
/// One task reads and writes it, or [`split`](Self::split) makes a half for each. The methods are
/// those of the halves, where each is described: what it promises, what becomes of it when it is
/// dropped before its end, and how it fails.
///
/// A connection belongs to the tokio-uring runtime it was made on, stays on its thread, and must be
/// dropped before it. Dropped, it closes the socket at once: what the kernel has taken is still
/// sent, what is queued is not, and the peer sees no Close; [`close`](Self::close) does it in the
/// order of RFC 6455.
#[derive(Debug)]
pub struct Conn {
    read: ReadHalf,
    write: WriteHalf,
}

impl Conn {
    /// A connection over `stream`, whose handshake was done elsewhere and has sent all it had to.
    pub fn new(stream: TcpStream, mut parts: ConnParts) -> Self {
        // An error means that the peer is gone, which the first read reports.
        let _ = stream.set_nodelay(true);
        let stream = Rc::new(stream);
        let leftover = std::mem::take(&mut parts.leftover);
        let buffer_size = parts.read_buffer_size.max(1);
        let incoming = Incoming::new(Rc::clone(&stream), leftover, buffer_size);
        let outgoing = Rc::new(RefCell::new(Outgoing::new(stream, parts.role)));
        Self {
            read: ReadHalf::new(&parts, incoming, Rc::clone(&outgoing)),
            write: WriteHalf::new(&parts, outgoing),
        }
    }

    /// The next message, whole; see [`ReadHalf::read_message`].
    ///
    /// # Errors
    /// As there.
    pub async fn read_message(&mut self) -> Result<Message, Error> {
        self.read.read_message().await
    }

    /// The next message, in pieces; see [`ReadHalf::next_reader`].
    ///
    /// # Errors
    /// As there.
    pub async fn next_reader(&mut self) -> Result<(MessageKind, MessageReader<'_>), Error> {
        self.read.next_reader().await
    }

    /// The next message, read as JSON; see [`ReadHalf::read_json`].
    ///
    /// # Errors
    /// As there.
    pub async fn read_json<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        self.read.read_json().await
    }

    /// All messages as one stream; see [`ReadHalf::join_messages`].
    pub fn join_messages(&mut self, separator: impl Into<Vec<u8>>) -> JoinMessages<'_> {
        self.read.join_messages(separator)
    }

    /// Sends a message; see [`WriteHalf::write_message`].
    ///
    /// # Errors
    /// As there.
    pub async fn write_message(&mut self, kind: MessageKind, payload: &[u8]) -> Result<(), Error> {
        self.write.write_message(kind, payload).await
    }

    /// Queues a message, to be sent with others; see [`WriteHalf::feed`].
    ///
    /// # Errors
    /// As there.
    pub async fn feed(&mut self, kind: MessageKind, payload: &[u8]) -> Result<(), Error> {
        self.write.feed(kind, payload).await
    }

    /// Sends what is queued; see [`WriteHalf::flush`].
    ///
    /// # Errors
    /// As there.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.write.flush().await
    }

    /// Sends a message in fragments; see [`WriteHalf::next_writer`].
    ///
    /// # Errors
    /// As there.
    pub fn next_writer(&mut self, kind: MessageKind) -> Result<MessageWriter<'_>, Error> {
        self.write.next_writer(kind)
    }

    /// Sends a prepared message; see [`WriteHalf::write_prepared`].
    ///
    /// # Errors
    /// As there.
    pub async fn write_prepared(&mut self, message: &PreparedMessage) -> Result<(), Error> {
        self.write.write_prepared(message).await
    }

    /// Queues a prepared message; see [`WriteHalf::feed_prepared`].
    ///
    /// # Errors
    /// As there.
    pub async fn feed_prepared(&mut self, message: &PreparedMessage) -> Result<(), Error> {
        self.write.feed_prepared(message).await
    }

    /// Sends a value as JSON; see [`WriteHalf::write_json`].
    ///
    /// # Errors
    /// As there.
    pub async fn write_json<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.write.write_json(value).await
    }

    /// Sends a control frame; see [`WriteHalf::write_control`].
    ///
    /// # Errors
    /// As there.
    pub async fn write_control(&mut self, control: Control<'_>) -> Result<(), Error> {
        self.write.write_control(control).await
    }

    /// Sends control frames from elsewhere on this thread.
    pub fn controls(&self) -> Controls {
        self.read.controls()
    }

    /// Sets the largest message that is read; see [`ReadHalf::set_read_limit`].
    pub fn set_read_limit(&mut self, bytes: usize) {
        self.read.set_read_limit(bytes);
    }

    /// Sets how many fragments a message may have; see [`ReadHalf::set_fragment_limit`].
    pub fn set_fragment_limit(&mut self, fragments: u32) {
        self.read.set_fragment_limit(fragments);
    }

    /// Sets when calls that read give up; see [`ReadHalf::set_read_deadline`].
    pub fn set_read_deadline(&mut self, at: Option<Instant>) {
        self.read.set_read_deadline(at);
    }

    /// Sets when calls that send give up; see [`WriteHalf::set_write_deadline`].
    pub fn set_write_deadline(&mut self, at: Option<Instant>) {
        self.write.set_write_deadline(at);
    }

    /// Sets what is done with Pings; see [`ReadHalf::set_ping_handler`].
    pub fn set_ping_handler(
        &mut self,
        handler: impl Fn(&Controls, &[u8]) -> Result<(), HandlerError> + 'static,
    ) {
        self.read.set_ping_handler(handler);
    }

    /// Sets what is done with Pongs; see [`ReadHalf::set_pong_handler`].
    pub fn set_pong_handler(
        &mut self,
        handler: impl Fn(&Controls, &[u8]) -> Result<(), HandlerError> + 'static,
    ) {
        self.read.set_pong_handler(handler);
    }

    /// Sets what is done with the peer's Close; see [`ReadHalf::set_close_handler`].
    pub fn set_close_handler(
        &mut self,
        handler: impl Fn(&Controls, &CloseError) -> Result<(), HandlerError> + 'static,
    ) {
        self.read.set_close_handler(handler);
    }

    /// What is done with Pings, for a handler that does more.
    pub fn ping_handler(&self) -> ControlHandler {
        self.read.ping_handler()
    }

    /// What is done with Pongs, for a handler that does more.
    pub fn pong_handler(&self) -> ControlHandler {
        self.read.pong_handler()
    }

    /// What is done with the peer's Close, for a handler that does more.
    pub fn close_handler(&self) -> CloseHandler {
        self.read.close_handler()
    }

    /// Says whether messages are compressed; see [`WriteHalf::enable_write_compression`].
    pub fn enable_write_compression(&mut self, enabled: bool) {
        self.write.enable_write_compression(enabled);
    }

    /// Sets how hard to compress; see [`WriteHalf::set_compression_level`].
    ///
    /// # Panics
    /// If the level is above 9.
    pub fn set_compression_level(&mut self, level: u8) {
        self.write.set_compression_level(level);
    }

    /// The subprotocol that was agreed on.
    pub fn subprotocol(&self) -> Option<&str> {
        self.read.subprotocol()
    }

    /// The address this end is bound to.
    ///
    /// # Errors
    /// The kernel's; it gives none for an open socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        fd::local_addr(self.write.outgoing.borrow().stream())
    }

    /// The address of the other end, which may be a proxy's.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        fd::peer_addr(self.write.outgoing.borrow().stream())
    }

    /// A half that reads and a half that writes, for two tasks of this thread.
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        (self.read, self.write)
    }

    /// The connection of two halves.
    ///
    /// # Panics
    /// If they are not those of one connection.
    pub fn reunite(read: ReadHalf, write: WriteHalf) -> Self {
        assert!(Rc::ptr_eq(&read.outgoing, &write.outgoing), "halves of two connections");
        Self { read, write }
    }

    /// The socket, and what was received and not consumed.
    ///
    /// # Errors
    /// The connection, unchanged: a read that was given up is still in flight, and what it receives
    /// would be lost, or something is queued that was not sent.
    pub fn into_inner(mut self) -> Result<(TcpStream, Vec<u8>), Box<Self>> {
        if self.read.incoming.is_in_flight() {
            return Err(Box::new(self));
        }
        let Some(stream) = self.write.outgoing.borrow_mut().take_stream() else {
            return Err(Box::new(self));
        };
        let rest = self.read.incoming.rest().to_vec();
        drop(self);
        let stream = Rc::try_unwrap(stream).ok().expect("the halves held the other references");
        Ok((stream, rest))
    }

    /// Closes the connection in the order of RFC 6455 (section 7.1): sends a Close, unless one was
    /// sent, and whatever is queued before it; reads until the peer's Close, dropping messages; and
    /// goes on until the peer has closed the socket too, lest it be reset and our Close lost. Takes
    /// no longer than [`limits::CLOSE_TIMEOUT_S`] and no more than [`limits::CLOSE_DISCARD_MAX`]
    /// bytes.
    ///
    /// Gives the peer's Close, which reading may have come to before. The reason that is sent is
    /// cut to 123 bytes, where a character ends.
    ///
    /// # Errors
    /// Why there was no Close from the peer: [`Error::TimedOut`], [`Error::Closed`] with code 1006,
    /// or what made reading fail. The socket is closed all the same.
    pub async fn close(mut self, code: CloseCode, reason: &str) -> Result<CloseError, Error> {
        // An error means that a Close was sent, or that nothing can be; the peer's may still come.
        let _ = self.write.outgoing.borrow_mut().queue_control(Control::Close(Some(code), reason));
        self.write.set_write_deadline(None);
        self.read.set_read_deadline(None);
        let patience = Duration::from_secs(limits::CLOSE_TIMEOUT_S);
        let _ = timeout(patience, self.drain()).await;
        match self.read.closed() {
            Some(close) if close.code != CloseError::ABNORMAL => Ok(close.clone()),
            Some(close) => Err(close.clone().into()),
            None => Err(self.read.fault().unwrap_or(Error::TimedOut)),
        }
    }

    /// Sends what is queued, then reads and drops until the end of the stream.
    async fn drain(&mut self) {
        if self.write.flush().await.is_ok() {
            self.write.outgoing.borrow().shutdown_write();
        }
        self.read.discard(limits::CLOSE_DISCARD_MAX).await;
    }
}
