//! The interval log of HdrHistogram (`.hlog`), version 1.3: each second's histograms, compressed.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};

use super::FileError;
use crate::tally::Tally;

/// A log that is being written.
pub(super) struct Log {
    path: PathBuf,
    file: BufWriter<File>,
    serializer: V2DeflateSerializer,
    /// A histogram's bytes, before they become text.
    bytes: Vec<u8>,
}

impl Log {
    /// Makes the file, or empties it.
    pub(super) fn create(path: &Path) -> Result<Self, FileError> {
        let file = File::create(path).map_err(FileError::of(path))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
            serializer: V2DeflateSerializer::new(),
            bytes: Vec::new(),
        })
    }

    /// Writes the head. Times of intervals count from `start`.
    pub(super) fn begin(&mut self, start: SystemTime) -> Result<(), FileError> {
        let path = &self.path;
        let since_epoch = start.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        write_head(&mut self.file, since_epoch).map_err(FileError::of(path))
    }

    /// Adds an interval: from when messages were due, and from when they were sent.
    pub(super) fn add(
        &mut self,
        start: Duration,
        length: Duration,
        tally: &Tally,
    ) -> Result<(), FileError> {
        let of_path = FileError::of(&self.path);
        self.write_interval(start, length, tally).map_err(of_path)
    }

    fn write_interval(
        &mut self,
        start: Duration,
        length: Duration,
        tally: &Tally,
    ) -> io::Result<()> {
        for (tag, histogram) in [("due", &tally.latency), ("sent", &tally.latency_raw)] {
            self.bytes.clear();
            self.serializer.serialize(histogram, &mut self.bytes).map_err(io::Error::other)?;
            writeln!(
                self.file,
                "Tag={tag},{:.3},{:.3},{:.3},{}",
                start.as_secs_f64(),
                length.as_secs_f64(),
                histogram.max() as f64 / MAX_DIVISOR,
                Base64Display::new(&self.bytes, &STANDARD)
            )?;
        }
        Ok(())
    }

    /// Writes what is buffered.
    pub(super) fn finish(mut self) -> Result<(), FileError> {
        self.file.flush().map_err(FileError::of(&self.path))
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The version line and the legend, which readers look for; values are nanoseconds.
fn write_head(out: &mut impl Write, start: Duration) -> io::Result<()> {
    writeln!(out, "#[tidegate-bench {}: latencies in nanoseconds]", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "#[Histogram log format version 1.3]")?;
    writeln!(out, "#[StartTime: {:.3} (seconds since epoch)]", start.as_secs_f64())?;
    writeln!(
        out,
        "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\""
    )
}

/// The column `Interval_Max` is in milliseconds, as the other tools write it.
const MAX_DIVISOR: f64 = 1e6;
