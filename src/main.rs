//! The `tidegate` program: see `tidegate --help`.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Threads of the gateway allocate and free each other's publications, which the system's allocator
/// does under locks.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    tidegate::cli::run()
}
