//! Tidegate is two things: a WebSocket push gateway for Linux on io_uring, and the library it is
//! made of. This is the manual of the library, [`conn`]: WebSocket connections (RFC 6455) for
//! programs of your own, servers and clients, asynchronous on
//! [tokio-uring](https://docs.rs/tokio-uring). It means to be as comfortable as Go's
//! gorilla/websocket and keeps its names; the [table](#coming-from-gorillawebsocket) below lists
//! them all, and what is different.
//!
//! # Overview
//!
//! A [`Conn`](conn::Conn) is one end of a WebSocket connection. A server's comes from an
//! [`Upgrader`](conn::Upgrader), a client's from a [`Dialer`](conn::Dialer). It sends and receives
//! messages:
//!
//! ```
//! use tidegate::conn::{Conn, Error};
//!
//! async fn echo(mut conn: Conn) -> Result<(), Error> {
//!     loop {
//!         let message = conn.read_message().await?;
//!         conn.write_message(message.kind, &message.payload).await?;
//!     }
//! }
//! ```
//!
//! A message is as long as it likes to be, up to the read limit. To send or receive one without
//! holding it in memory, take it in pieces:
//!
//! ```
//! use tidegate::conn::{Conn, Error};
//!
//! async fn echo_in_pieces(from: &mut Conn, to: &mut Conn) -> Result<(), Error> {
//!     let (kind, mut reader) = from.next_reader().await?;
//!     let mut writer = to.next_writer(kind)?;
//!     while let Some(piece) = reader.read().await? {
//!         writer.write(piece).await?;
//!     }
//!     writer.close().await
//! }
//! ```
//!
//! # Handshakes
//!
//! A server whose answer depends on the request looks at it first, then upgrades it or answers in
//! plain HTTP:
//!
//! ```
//! use tidegate::conn::{Conn, UpgradeError, Upgrader};
//! use tidegate::ws::handshake::{Reply, Status};
//! use tokio_uring::net::TcpStream;
//!
//! async fn news(upgrader: &Upgrader, stream: TcpStream) -> Result<Option<Conn>, UpgradeError> {
//!     let handshake = upgrader.accept(stream).await?;
//!     if handshake.request().path != "/news" {
//!         handshake.respond(&Reply::text(Status::NotFound, &[], "there is only /news")).await;
//!         return Ok(None);
//!     }
//!     handshake.upgrade().await.map(Some)
//! }
//! ```
//!
//! A web page may connect to the host it came from and to no other, unless
//! [`check_origin`](conn::Upgrader::check_origin) says otherwise. A client gets the server's answer
//! with the connection, and with the refusal:
//!
//! ```
//! use tidegate::conn::{DialError, Dialer};
//!
//! async fn subscribe() -> Result<(), DialError> {
//!     let dialer = Dialer::new().subprotocols(["v2.news", "v1.news"]);
//!     let headers = [("Authorization", "Bearer 3f9c")];
//!     let (conn, response) = dialer.dial("ws://server.example/news", &headers).await?;
//!     println!("{:?} from {:?}", conn.subprotocol(), response.header("Server"));
//!     Ok(())
//! }
//! ```
//!
//! # Text and binary
//!
//! A message is [text or binary](conn::MessageKind). Text is UTF-8, on the way in and out, and the
//! library sees to it: [`Message::as_text`](conn::Message::as_text) never fails for a text message,
//! and text that is not UTF-8 is refused before it is sent. gorilla/websocket leaves both to the
//! application.
//!
//! # Control frames
//!
//! Close, Ping and Pong arrive while a call reads, and go to handlers. At first a Ping is answered
//! with a Pong, a Close with a Close. So a connection that is never read never answers, and does
//! not notice that its peer is gone: even a program that only sends reads in a task beside.
//!
//! ```
//! use tidegate::conn::ReadHalf;
//!
//! async fn answer_only(mut read: ReadHalf) {
//!     while read.next_reader().await.is_ok() {}
//! }
//! ```
//!
//! When the peer closes, reading ends with [`Error::Closed`](conn::Error::Closed), which holds its
//! code and reason, 1006 if it went without a word.
//! [`is_unexpected_close_error`](conn::is_unexpected_close_error) tells what is worth a line in a
//! log. To close in order, [`Conn::close`](conn::Conn::close) sends a Close, waits for the peer's
//! and for the end of its stream. To only send one, use
//! [`write_control`](conn::Conn::write_control). Dropping a connection closes its socket at once.
//!
//! # Keepalive
//!
//! A peer that is gone without a word is noticed by its silence. A read that times out may be
//! repeated, so a loop can ask first:
//!
//! ```
//! use std::cell::Cell;
//! use std::rc::Rc;
//! use std::time::{Duration, Instant};
//!
//! use tidegate::conn::{Conn, Control, Error};
//!
//! async fn listen(mut conn: Conn) -> Result<(), Error> {
//!     let alive = Rc::new(Cell::new(true));
//!     let heard = Rc::clone(&alive);
//!     conn.set_pong_handler(move |_, _| {
//!         heard.set(true);
//!         Ok(())
//!     });
//!     loop {
//!         conn.set_read_deadline(Some(Instant::now() + Duration::from_secs(30)));
//!         match conn.read_message().await {
//!             Ok(message) => println!("{} bytes", message.payload.len()),
//!             Err(Error::TimedOut) if alive.take() => {
//!                 conn.write_control(Control::Ping(b"")).await?;
//!             }
//!             Err(error) => return Err(error),
//!         }
//!     }
//! }
//! ```
//!
//! # One reader, one writer
//!
//! gorilla/websocket asks that a connection has one reader and one writer at a time; here the types
//! do. [`Conn::split`](conn::Conn::split) makes a [`ReadHalf`](conn::ReadHalf) and a
//! [`WriteHalf`](conn::WriteHalf), neither of which can be cloned or shared. Control frames are
//! the exception: [`Controls`](conn::Controls) can be cloned and sends them from anywhere on the
//! thread, as the reading half does with its answers. They go out between the frames that the
//! writing half sends, also between the fragments of a message, never inside a frame.
//!
//! A connection stays on the thread of its runtime. To serve with several cores, run a runtime on
//! each.
//!
//! # Cancellation and deadlines
//!
//! Any call that reads may be dropped before it is done, in a `select!` or by a time-out, and loses
//! nothing: the operation of the ring and its buffer belong to the connection, and the next call
//! goes on where that one stopped, also in the middle of a message. For the same reason a
//! connection can be read again after its read deadline has passed, where gorilla/websocket's
//! cannot.
//!
//! A call that writes and is dropped has sent its message whole, or will, or has done nothing. A
//! write that passes its *deadline* is different: the peer has not taken in time what it was sent,
//! and the connection sends nothing any more.
//!
//! Every error is final for its direction, a passed read deadline apart: all later calls give the
//! same one.
//!
//! # Sending at once, and together
//!
//! [`write_message`](conn::Conn::write_message) sends, and waits until the kernel has taken the
//! message. A program that answers many small messages does better with
//! [`feed`](conn::Conn::feed): it queues, and what is queued is sent together, in one operation,
//! when a read of the connection has to wait, when more comes than the queue holds, or at
//! [`flush`](conn::Conn::flush). Replies to messages that arrived together leave together. Nothing
//! fed stays behind while the program reads; before it waits for anything else it has to flush.
//!
//! ```
//! use tidegate::conn::{Conn, Error};
//!
//! async fn echo_many(mut conn: Conn) -> Result<(), Error> {
//!     loop {
//!         let message = conn.read_message().await?;
//!         conn.feed(message.kind, &message.payload).await?;
//!     }
//! }
//! ```
//!
//! What is queued is bounded: `feed` waits while the peer takes nothing. A message for many
//! connections is a [`PreparedMessage`](conn::PreparedMessage), checked and compressed once for all
//! of them.
//!
//! # Buffers and limits
//!
//! A connection holds one read buffer (16 KiB at first), lent to the kernel while it waits, and
//! what it has queued. Small messages allocate nothing: a [`Payload`](conn::Payload) gives its
//! memory back to its connection when it is dropped, and write buffers are used again. So there is
//! no pool to configure. Every maximum has a name in [`limits`]; a peer that exceeds the read limit
//! is sent a Close with code 1009, however it tries: by length, in fragments, compressed.
//!
//! # Compression
//!
//! With permessage-deflate (RFC 7692) agreed on in the handshake, messages are compressed in both
//! directions, each by itself or with the memory of those before it, as was agreed.
//! [`enable_write_compression`](conn::Conn::enable_write_compression) turns it off and on between
//! messages. A compressor costs 300 KiB; without context takeover the connections of a thread share
//! a few, with it each has its own.
//!
//! # Coming from gorilla/websocket
//!
//! | gorilla | here |
//! |---|---|
//! | `Upgrader`, `Upgrade` | [`Upgrader`], [`upgrade`]; [`accept`] gives the request first |
//! | `Upgrader.HandshakeTimeout` | [`Upgrader::handshake_timeout`]; the request counts too |
//! | `ReadBufferSize` | [`Upgrader::read_buffer_size`], [`Dialer::read_buffer_size`] |
//! | `WriteBufferSize` | [`Upgrader::write_buffer_size`], [`Dialer::write_buffer_size`] |
//! | `WriteBufferPool` | none: a connection with nothing to send holds little, see above |
//! | `Upgrader.Subprotocols` | [`Upgrader::subprotocols`], [`Handshake::choose_subprotocol`] |
//! | `Upgrader.CheckOrigin` | [`Upgrader::check_origin`]; the same host at first |
//! | `Upgrader.Error` | [`Upgrader::error_reply`]; for your own refusals [`Handshake::respond`] |
//! | `Upgrader.EnableCompression` | [`Upgrader::enable_compression`]; windows: [`compression`] |
//! | `Dialer.EnableCompression` | [`Dialer::enable_compression`] |
//! | response headers of `Upgrade` | [`Handshake::add_header`] |
//! | `Subprotocols(r)` | [`Request::subprotocols`] |
//! | `IsWebSocketUpgrade(r)` | [`Request::is_websocket_upgrade`] |
//! | `Dialer`, `DefaultDialer`, `Dial` | [`Dialer`], [`Dialer::new`], [`Dialer::dial`] |
//! | `DialContext` | drop the future of [`Dialer::dial`] |
//! | `Dialer.NetDial` | [`Dialer::net_dial`] |
//! | `Dialer.Proxy` | [`Dialer::proxy`]: HTTP proxies, no SOCKS |
//! | `ProxyFromEnvironment` | [`Proxy::from_environment`], which is the default |
//! | `Dialer.Jar` | [`Dialer::cookie_jar`], a [`CookieJar`] |
//! | `Dialer.TLSClientConfig` | none: `wss://` is refused so far |
//! | `ErrBadHandshake`, `resp` | [`DialError::BadHandshake`] with the [`Response`] |
//! | `Conn.ReadMessage` | [`Conn::read_message`]; the [`Message`] has a kind and a payload |
//! | `Conn.WriteMessage` | [`Conn::write_message`]; [`feed`], [`flush`]: several at once |
//! | `Conn.NextReader` | [`Conn::next_reader`], a [`MessageReader`] |
//! | `Conn.NextWriter` | [`Conn::next_writer`], a [`MessageWriter`], never ended by dropping it |
//! | `Conn.SetReadLimit` | [`Conn::set_read_limit`]; 16 MiB at first; [`set_fragment_limit`] |
//! | `Conn.SetReadDeadline` | [`Conn::set_read_deadline`]; the connection survives it |
//! | `Conn.SetWriteDeadline` | [`Conn::set_write_deadline`] |
//! | `Conn.SetPingHandler`, `PingHandler` | [`Conn::set_ping_handler`], [`ping_handler`] |
//! | `Conn.SetPongHandler`, `PongHandler` | [`Conn::set_pong_handler`], [`pong_handler`] |
//! | `Conn.SetCloseHandler`, `CloseHandler` | [`Conn::set_close_handler`], [`close_handler`] |
//! | `Conn.WriteControl` | [`Conn::write_control`]; from elsewhere [`Controls::write_control`] |
//! | `PreparedMessage`, `NewPreparedMessage` | [`PreparedMessage`], [`PreparedMessage::new`] |
//! | `Conn.WritePreparedMessage` | [`Conn::write_prepared`], [`feed_prepared`] |
//! | `Conn.ReadJSON`, `WriteJSON` | [`Conn::read_json`], [`write_json`] |
//! | `JoinMessages` | [`Conn::join_messages`] |
//! | `FormatCloseMessage` | [`format_close_message`], [`Control::Close`] |
//! | `CloseError` | [`CloseError`] in [`Error::Closed`] |
//! | `IsCloseError`, `IsUnexpectedCloseError` | [`is_close_error`], [`is_unexpected_close_error`] |
//! | `ErrCloseSent`, `ErrReadLimit` | [`Error::CloseSent`], [`ProtocolError::MessageTooBig`] |
//! | `Conn.Subprotocol` | [`Conn::subprotocol`] |
//! | `Conn.LocalAddr`, `RemoteAddr` | [`Conn::local_addr`], [`peer_addr`] |
//! | `Conn.NetConn` | [`Conn::into_inner`] |
//! | `Conn.EnableWriteCompression` | [`Conn::enable_write_compression`] |
//! | `Conn.SetCompressionLevel` | [`Conn::set_compression_level`] |
//! | `Conn.Close` | dropping the connection; [`Conn::close`] does it in order |
//! | one reader and one writer at a time | [`Conn::split`] |
//!
//! # The gateway
//!
//! Backends publish over HTTP; browsers, phones and services hold WebSocket connections and
//! receive. Acceptor threads (tokio-uring) do what may be slow or hostile before the `101`; shard
//! threads, one per core with a ring of their own, do everything after it. `ARCHITECTURE.md` holds
//! the picture and the table of which module may import which; `tests/layering.rs` checks it.
//!
//! [`accept`]: conn::Upgrader::accept
//! [`compression`]: conn::Upgrader::compression
//! [`upgrade`]: conn::Upgrader::upgrade
//! [`CloseError`]: conn::CloseError
//! [`CookieJar`]: conn::CookieJar
//! [`DialError::BadHandshake`]: conn::DialError::BadHandshake
//! [`Dialer::cookie_jar`]: conn::Dialer::cookie_jar
//! [`Dialer::dial`]: conn::Dialer::dial
//! [`Dialer::enable_compression`]: conn::Dialer::enable_compression
//! [`Dialer::net_dial`]: conn::Dialer::net_dial
//! [`Dialer::new`]: conn::Dialer::new
//! [`Dialer::proxy`]: conn::Dialer::proxy
//! [`Dialer::read_buffer_size`]: conn::Dialer::read_buffer_size
//! [`Dialer::write_buffer_size`]: conn::Dialer::write_buffer_size
//! [`Dialer`]: conn::Dialer
//! [`Handshake::add_header`]: conn::Handshake::add_header
//! [`Handshake::choose_subprotocol`]: conn::Handshake::choose_subprotocol
//! [`Handshake::respond`]: conn::Handshake::respond
//! [`Proxy::from_environment`]: conn::Proxy::from_environment
//! [`Request::is_websocket_upgrade`]: ws::handshake::Request::is_websocket_upgrade
//! [`Request::subprotocols`]: ws::handshake::Request::subprotocols
//! [`Response`]: conn::Response
//! [`Upgrader::check_origin`]: conn::Upgrader::check_origin
//! [`Upgrader::enable_compression`]: conn::Upgrader::enable_compression
//! [`Upgrader::error_reply`]: conn::Upgrader::error_reply
//! [`Upgrader::handshake_timeout`]: conn::Upgrader::handshake_timeout
//! [`Upgrader::read_buffer_size`]: conn::Upgrader::read_buffer_size
//! [`Upgrader::subprotocols`]: conn::Upgrader::subprotocols
//! [`Upgrader::write_buffer_size`]: conn::Upgrader::write_buffer_size
//! [`Upgrader`]: conn::Upgrader
//! [`Conn::close`]: conn::Conn::close
//! [`Conn::enable_write_compression`]: conn::Conn::enable_write_compression
//! [`Conn::into_inner`]: conn::Conn::into_inner
//! [`Conn::join_messages`]: conn::Conn::join_messages
//! [`Conn::local_addr`]: conn::Conn::local_addr
//! [`Conn::next_reader`]: conn::Conn::next_reader
//! [`Conn::next_writer`]: conn::Conn::next_writer
//! [`Conn::read_json`]: conn::Conn::read_json
//! [`Conn::read_message`]: conn::Conn::read_message
//! [`Conn::set_close_handler`]: conn::Conn::set_close_handler
//! [`Conn::set_compression_level`]: conn::Conn::set_compression_level
//! [`Conn::set_ping_handler`]: conn::Conn::set_ping_handler
//! [`Conn::set_pong_handler`]: conn::Conn::set_pong_handler
//! [`Conn::set_read_deadline`]: conn::Conn::set_read_deadline
//! [`Conn::set_read_limit`]: conn::Conn::set_read_limit
//! [`Conn::set_write_deadline`]: conn::Conn::set_write_deadline
//! [`Conn::split`]: conn::Conn::split
//! [`Conn::subprotocol`]: conn::Conn::subprotocol
//! [`Conn::write_control`]: conn::Conn::write_control
//! [`Conn::write_message`]: conn::Conn::write_message
//! [`Conn::write_prepared`]: conn::Conn::write_prepared
//! [`Control::Close`]: conn::Control::Close
//! [`Controls::write_control`]: conn::Controls::write_control
//! [`Error::CloseSent`]: conn::Error::CloseSent
//! [`Error::Closed`]: conn::Error::Closed
//! [`MessageReader`]: conn::MessageReader
//! [`MessageWriter`]: conn::MessageWriter
//! [`Message`]: conn::Message
//! [`PreparedMessage::new`]: conn::PreparedMessage::new
//! [`PreparedMessage`]: conn::PreparedMessage
//! [`ProtocolError::MessageTooBig`]: ws::ProtocolError::MessageTooBig
//! [`close_handler`]: conn::Conn::close_handler
//! [`feed_prepared`]: conn::Conn::feed_prepared
//! [`feed`]: conn::Conn::feed
//! [`flush`]: conn::Conn::flush
//! [`format_close_message`]: conn::format_close_message
//! [`is_close_error`]: conn::is_close_error
//! [`is_unexpected_close_error`]: conn::is_unexpected_close_error
//! [`peer_addr`]: conn::Conn::peer_addr
//! [`ping_handler`]: conn::Conn::ping_handler
//! [`pong_handler`]: conn::Conn::pong_handler
//! [`set_fragment_limit`]: conn::Conn::set_fragment_limit
//! [`write_json`]: conn::Conn::write_json

pub mod accept;
pub mod auth;
mod chunks;
pub mod cli;
pub mod config;
pub mod conn;
pub mod control;
pub mod doctor;
pub mod engine;
pub mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod gateway;
pub mod hub;
pub mod id;
pub mod lifecycle;
pub mod limits;
pub mod mail;
#[doc(hidden)]
pub mod planted;
pub mod protocol;
pub mod publication;
pub mod ring;
pub mod session;
pub mod shard;
pub mod stats;
pub mod ws;

/// The Rust of README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
