//! Two ends of one connection on loopback, for the tests of `tidegate::conn`.

#![allow(dead_code, reason = "each test program uses a part")]

use std::future::Future;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use tidegate::conn::{Conn, ConnParts};
use tidegate::ws::Role;

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
pub(crate) fn conn(socket: TcpStream, role: Role) -> Conn {
    Conn::new(tokio_uring::net::TcpStream::from_std(socket), ConnParts::new(role))
}

/// A client and the server it is connected to.
pub(crate) fn pair() -> (Conn, Conn) {
    let (client, server) = sockets();
    (conn(client, Role::Client), conn(server, Role::Server))
}

/// A bare socket and the server it is connected to.
pub(crate) fn raw_and_server() -> (TcpStream, Conn) {
    let (raw, server) = sockets();
    raw.set_read_timeout(Some(Duration::from_secs(20))).expect("an open socket");
    (raw, conn(server, Role::Server))
}
