//! `tidegate-bench`: a load generator for any WebSocket server.
//!
//! A command opens its connections with blocking sockets (`dial`), hands them to one generator
//! per thread (`generator`, each with an io_uring of its own), and prints what came of it
//! (`report`). Uses `tidegate::ws` and `tidegate::ring`, and nothing of the gateway.

mod cli;
mod connection;
mod dial;
mod echo;
mod generator;
mod idle;
mod ledger;
mod payload;
mod report;
mod run;
mod schedule;
mod server;
mod tally;
mod target;
mod traffic;

use std::process::ExitCode;

/// Does what the command line asks for. Called once, from `main`.
///
/// Exit codes: 0 done; 2 it was asked for wrongly or cannot run here; 3 connections failed or were
/// lost, or messages are missing.
pub fn run() -> ExitCode {
    cli::run()
}
