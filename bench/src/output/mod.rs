//! What a run tells while it goes on and leaves behind: progress, interval log, percentile text.
//!
//! Each generator hands over what it counted once a second ([`Meter`]); a collector adds that up,
//! shows it, writes it to the interval log and keeps one line of figures per second
//! ([`collect`]). The whole is the sum of the seconds, so the files and the report cannot differ.

mod collector;
mod hgrm;
mod hlog;
mod meter;
mod percentiles;
mod progress;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

pub(crate) use collector::{Collected, Sample, SampleLatency, collect};
pub(crate) use meter::Meter;
pub(crate) use percentiles::Point;

use crate::tally::Tally;
use clap::Args;

/// Where a run's figures go besides standard output, and what is shown while it goes on.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct OutputArgs {
    /// Write the latencies' percentiles as text, in milliseconds, as HdrHistogram's tools read it;
    /// those counted from sending go to FILE with `.raw` before its extension.
    #[arg(long, value_name = "FILE")]
    pub(crate) hgrm: Option<PathBuf>,
    /// Write the latencies of each second as an HdrHistogram interval log, with the tags `due` and
    /// `sent` for what they count from.
    #[arg(long, value_name = "FILE")]
    pub(crate) hlog: Option<PathBuf>,
    /// Write a page with plots that opens without a network.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Show no progress.
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Whether the run is a window of a longer one, which tells of each by [`tell`].
    #[arg(skip)]
    pub(crate) is_window: bool,
}

/// Tells of a part of a longer run, in a line that stays, unless nothing shall be shown.
pub(crate) fn tell(quiet: bool, text: &str) {
    progress::Progress::new(&OutputArgs { quiet, ..OutputArgs::default() }).tell(text);
}

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
pub(crate) struct FileError {
    path: PathBuf,
    error: io::Error,
}

impl FileError {
    /// `error` happened to `path`.
    pub(crate) fn of(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self { path, error }
    }
}

/// Writes the percentile texts of a whole run, where asked for.
pub(crate) fn write_hgrm(args: &OutputArgs, tally: &Tally) -> Result<(), FileError> {
    let Some(path) = &args.hgrm else { return Ok(()) };
    let raw_path = hgrm::raw_path(path);
    for (path, histogram) in [(path, &tally.latency), (&raw_path, &tally.latency_raw)] {
        std::fs::write(path, hgrm::text(histogram)).map_err(FileError::of(path))?;
    }
    Ok(())
}

/// Points of the percentile curve of a whole run.
pub(crate) fn percentiles(tally: &Tally) -> Vec<Point> {
    percentiles::curve(&tally.latency, &tally.latency_raw)
}
