//! A client for the command line: sends each line of its input as a message, prints what arrives.
//! The end of the input closes the connection; what the server sends before its answer is printed.
//!
//! `cargo run --example client -- ws://127.0.0.1:8080/echo`, with more headers behind the URL, such
//! as `'Origin: http://example.com'`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::error::Error;
use std::process::ExitCode;

use tidegate::conn::{Control, DialError, Dialer, WriteHalf, is_close_error};
use tidegate::ws::{CloseCode, MessageKind};
use tokio::sync::mpsc;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(url) = arguments.next() else {
        eprintln!("usage: client URL ['Name: value'...]");
        return ExitCode::from(2);
    };
    match tokio_uring::start(talk(&url, arguments.collect())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            if let Some(DialError::BadHandshake { response: Some(response), .. }) =
                error.downcast_ref()
            {
                eprint!("{}", String::from_utf8_lossy(&response.body));
            }
            ExitCode::FAILURE
        }
    }
}

/// Connects and talks until the server closes the connection.
async fn talk(url: &str, headers: Vec<String>) -> Result<(), Box<dyn Error>> {
    let headers: Vec<_> = headers
        .iter()
        .map(|header| header.split_once(':').unwrap_or((header, "")))
        .map(|(name, value)| (name, value.trim()))
        .collect();
    let dialer = Dialer::new().enable_compression(true);
    let (conn, _) = dialer.dial(url, &headers).await?;
    let (mut read, write) = conn.split();
    tokio_uring::spawn(send_lines(write));
    loop {
        match read.read_message().await {
            Ok(message) => match message.as_text() {
                Some(text) => println!("{text}"),
                None => println!("{} bytes of binary data", message.payload.len()),
            },
            Err(error) if is_close_error(&error, &[1000, 1001, 1005]) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Sends the input, then closes. An error needs no words here: the reader meets it too.
async fn send_lines(mut write: WriteHalf) -> Result<(), tidegate::conn::Error> {
    let mut lines = input_lines();
    while let Some(line) = lines.recv().await {
        write.write_message(MessageKind::Text, line.as_bytes()).await?;
    }
    write.write_control(Control::Close(Some(CloseCode::NORMAL), "")).await?;
    // The server's answer is the reader's to wait for; the connection is open until both are gone.
    Ok(())
}

/// The lines of standard input. Reading it blocks, so a thread of its own does.
fn input_lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let Ok(line) = line else { return };
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
