//! The `tidegate` program: see `tidegate --help`.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Threads of the gateway allocate and free each other's publications, which the system's allocator
/// does under locks.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // The allocator asks for huge pages: then memory comes in pieces of 2 MiB, some 18 MiB more of
    // it with 10,000 connections, and a message costs no less CPU. A refusal changes only that.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    tidegate::cli::run()
}
