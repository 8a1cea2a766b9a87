//! The client under test of the Autobahn test suite: runs every case of its fuzzing server, sending
//! back what it receives, and has the server write its reports. `scripts/conformance` runs it.
//!
//! `cargo run --example autobahn -- ws://127.0.0.1:9001`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::error::Error;
use std::process::ExitCode;

use tidegate::conn::{Conn, Dialer, Proxy};
use tidegate::ws::CloseCode;

/// Under this name the results stand in the server's reports.
const AGENT: &str = "tidegate";

fn main() -> ExitCode {
    let Some(server) = std::env::args().nth(1) else {
        eprintln!("usage: autobahn URL");
        return ExitCode::from(2);
    };
    match tokio_uring::start(run_all(server.trim_end_matches('/'))) {
        Ok(count) => {
            println!("{count} cases were run");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all cases, one after the other, and gives their number.
async fn run_all(server: &str) -> Result<u32, Box<dyn Error>> {
    let dialer = Dialer::new().proxy(Proxy::direct()).enable_compression(true);
    let count: u32 = ask(&dialer, &format!("{server}/getCaseCount")).await?.parse()?;
    for case in 1..=count {
        let url = format!("{server}/runCase?case={case}&agent={AGENT}");
        let (mut conn, _) = dialer.dial(&url, &[]).await?;
        // How a case ends is the server's to judge; many end with an error on purpose.
        let _ = echo(&mut conn).await;
        let _ = conn.close(CloseCode::NORMAL, "").await;
    }
    let (conn, _) = dialer.dial(&format!("{server}/updateReports?agent={AGENT}"), &[]).await?;
    conn.close(CloseCode::NORMAL, "").await?;
    Ok(count)
}

/// The one message with which the server answers the request.
async fn ask(dialer: &Dialer, url: &str) -> Result<String, Box<dyn Error>> {
    let (mut conn, _) = dialer.dial(url, &[]).await?;
    let message = conn.read_message().await?;
    let text = message.as_text().ok_or("the answer is no text")?.to_owned();
    conn.close(CloseCode::NORMAL, "").await?;
    Ok(text)
}

/// Sends back what comes, until the connection ends.
async fn echo(conn: &mut Conn) -> Result<(), tidegate::conn::Error> {
    loop {
        let message = conn.read_message().await?;
        conn.write_message(message.kind, &message.payload).await?;
    }
}
