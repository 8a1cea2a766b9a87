//! Two ends of one connection on loopback, for the tests of `tidegate::conn`.

#![allow(dead_code, reason = "each test program uses a part")]

use std::future::Future;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use tidegate::conn::{Conn, ConnParts, DeflateParams, Role};
use tidegate::ws::{Opcode, encode};

/// Runs a test on a ring of its own; a test that hangs fails.
pub(crate) fn run(test: impl Future<Output = ()>) {
    tokio_uring::start(async {
        tokio::time::timeout(Duration::from_secs(60), test).await.expect("the test hangs");
    });
}

/// Two connected sockets.
pub(crate) fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("a listener");
    let (far, _) = listener.accept().expect("a client");
    near.set_nodelay(true).expect("an open socket");
    (near, far)
}

/// A connection over `socket`.
pub(crate) fn conn(socket: TcpStream, parts: ConnParts) -> Conn {
    Conn::new(tokio_uring::net::TcpStream::from_std(socket), parts)
}

/// A client and the server it is connected to.
pub(crate) fn pair() -> (Conn, Conn) {
    pair_with(None)
}

/// A client and the server it is connected to, which agreed on this about compression.
pub(crate) fn pair_with(deflate: Option<DeflateParams>) -> (Conn, Conn) {
    let (client, server) = sockets();
    let parts = |role| {
        let mut parts = ConnParts::new(role);
        parts.deflate = deflate;
        parts
    };
    (conn(client, parts(Role::Client)), conn(server, parts(Role::Server)))
}

/// A bare socket and the server it is connected to.
pub(crate) fn raw_and_server() -> (Raw, Conn) {
    raw_and_server_with(ConnParts::new(Role::Server))
}

/// A bare socket and the server it is connected to.
pub(crate) fn raw_and_server_with(parts: ConnParts) -> (Raw, Conn) {
    let (raw, server) = sockets();
    raw.set_read_timeout(Some(Duration::from_secs(20))).expect("an open socket");
    (Raw(raw), conn(server, parts))
}

/// A peer that writes and reads bytes. Writing blocks, so it sends no more than the kernel buffers;
/// reading waits on a thread of its own, for the ring needs this one.
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the server is there");
    }

    /// Receives exactly these bytes.
    pub(crate) async fn expect(&mut self, bytes: &[u8]) {
        let received = self.receive(bytes.len()).await;
        assert!(received == bytes, "{received:x?} is not {bytes:x?}");
    }

    /// Receives this many bytes, or fewer if the stream ends.
    pub(crate) async fn receive(&mut self, len: usize) -> Vec<u8> {
        let socket = self.0.try_clone().expect("a descriptor");
        let read = tokio::task::spawn_blocking(move || {
            let mut received = Vec::new();
            socket.take(len as u64).read_to_end(&mut received).map(|_| received)
        });
        read.await.expect("no panic").expect("the server answers")
    }

    /// The stream ends here.
    pub(crate) async fn expect_end(&mut self) {
        assert_eq!(self.receive(1).await, b"");
    }
}

/// A client's frame.
pub(crate) fn masked(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode::append_masked(&mut frame, fin, opcode, payload, [0x37, 0xFA, 0x21, 0x3D]);
    frame
}

/// A server's frame.
pub(crate) fn unmasked(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode::append_header(&mut frame, fin, opcode, payload.len());
    frame.extend_from_slice(payload);
    frame
}

/// Bytes that show where they belong.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251) as u8).collect()
}
