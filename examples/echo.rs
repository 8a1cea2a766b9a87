//! A server that sends every message back, with a page to try it in a browser.
//!
//! `cargo run --example echo`, or `cargo run --example echo -- 127.0.0.1:9000`; then open the
//! address it prints, or connect to `/echo` with any WebSocket client.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::error::Error;
use std::net::SocketAddr;

use tidegate::conn::{Conn, Upgrader, is_close_error};
use tidegate::ws::handshake::{Reply, Status};
use tokio_uring::net::{TcpListener, TcpStream};

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    tokio_uring::start(listen(address.parse()?))
}

async fn listen(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(address)?;
    println!("open http://{}/", listener.local_addr()?);
    let upgrader = Upgrader::new().enable_compression(true);
    loop {
        let (stream, peer) = listener.accept().await?;
        let upgrader = upgrader.clone();
        tokio_uring::spawn(async move {
            if let Err(error) = serve(&upgrader, stream).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

/// One client: the page, or a connection.
async fn serve(upgrader: &Upgrader, stream: TcpStream) -> Result<(), Box<dyn Error>> {
    let handshake = upgrader.accept(stream).await?;
    match handshake.request().path {
        "/echo" => echo(handshake.upgrade().await?).await?,
        "/" => handshake.respond(&page()).await,
        _ => handshake.respond(&Reply::text(Status::NotFound, &[], "there is / and /echo")).await,
    }
    Ok(())
}

/// Sends back what comes, until the client closes the connection.
async fn echo(mut conn: Conn) -> Result<(), tidegate::conn::Error> {
    loop {
        match conn.read_message().await {
            Ok(message) => conn.write_message(message.kind, &message.payload).await?,
            Err(error) if is_close_error(&error, &[1000, 1001, 1005]) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn page() -> Reply<'static> {
    Reply {
        status: Status::Ok,
        content_type: "text/html; charset=utf-8",
        headers: &[],
        body: include_bytes!("echo.html").into(),
    }
}
