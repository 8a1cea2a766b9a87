//! `report`: a page or an image from what an earlier run left.

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
    #[arg(long, value_name = "FILE", required_unless_present = "svg")]
    html: Option<PathBuf>,
    /// The image to write: latency by percentile, for a README or a slide.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
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
    let image = match (&args.svg, page::image(&run)) {
        (Some(_), None) => {
            complain(
                "this run has no latencies, so there is no image to draw; --html shows the rest",
            );
            return ExitCode::FAILURE;
        }
        (Some(path), Some(image)) => Some((path, image)),
        (None, _) => None,
    };
    let page = args.html.as_ref().map(|path| (path, page::page(&run)));
    for (path, text) in page.into_iter().chain(image) {
        if let Err(error) = std::fs::write(path, text).map_err(FileError::of(path)) {
            complain(error);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
