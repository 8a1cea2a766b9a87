//! `tidegate-bench`: a load generator for any WebSocket server.
//!
//! A command opens its connections (`dial`), hands them to one generator
//! per thread (`generator`, each with an io_uring of its own), and prints what came of it
//! (`report`). Uses `tidegate::ws` and `tidegate::ring`, and nothing of the gateway.

mod centrifuge;
mod cli;
mod compare;
mod compression;
mod connect;
mod connection;
#[cfg(test)]
#[path = "../../tests/allocations/counting.rs"]
mod counting;
mod descriptors;
mod dial;
mod echo;
mod environment;
mod fanout;
mod generator;
mod idle;
mod ledger;
mod limit;
mod output;
mod page;
mod payload;
mod pinning;
mod plan;
mod recorded;
mod render;
mod report;
mod run;
mod schedule;
mod server;
mod session;
mod slo;
#[cfg(test)]
mod steady_server;
mod tally;
mod target;
mod traffic;
mod verdict;
#[cfg(test)]
mod virtual_clock;

use std::process::ExitCode;

/// Some tests count what their thread allocates.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Does what the command line asks for. Called once, from `main`.
///
/// Exit codes: 0 pass; 1 asked for wrongly, cannot run here, or a fault of our own; 2 an objective
/// was missed; 3 the run says nothing of the server; 4 connections failed or were lost.
pub fn run() -> ExitCode {
    // A panic's own code would not be told from a script's.
    std::panic::catch_unwind(cli::run).unwrap_or_else(|_| verdict::Verdict::Usage.into())
}
