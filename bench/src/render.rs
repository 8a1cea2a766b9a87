//! `report`: a page from what an earlier run left.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cli::complain;
use crate::output::FileError;
use crate::page;
use crate::recorded::Recorded;

/// What `report` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct RenderArgs {
    /// What `--json` wrote.
    run: PathBuf,
    /// The page to write.
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
}

/// Runs the command. Exit code 1: a file cannot be read or written, or there is nothing to draw.
pub(crate) fn run(args: &RenderArgs) -> ExitCode {
    let run = match Recorded::read(&args.run) {
        Ok(run) if run.command() == "limit" => {
            complain("a limit has no page: its table is all there is to see");
            return ExitCode::FAILURE;
        }
        Ok(run) => run,
        Err(error) => {
            complain(error);
            return ExitCode::FAILURE;
        }
    };
    match std::fs::write(&args.html, page::page(&run)).map_err(FileError::of(&args.html)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}
