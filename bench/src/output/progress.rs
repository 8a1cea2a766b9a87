//! What a run shows while it goes on: on standard error, a line a second.
//!
//! On a terminal the line is written over, elsewhere each second has a line of its own. Of a window
//! of a longer run only what is written over is shown: one line at its end tells of it.

use std::io::{self, IsTerminal, Write};

use super::{OutputArgs, Sample};
use crate::tally::Tally;

/// Where the progress goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nowhere.
    Quiet,
    /// To a terminal.
    Terminal,
    /// To a terminal, in a line that is written over in the end too.
    Passing,
    /// To a file or pipe.
    Lines,
}

impl Progress {
    /// As fits standard error, unless nothing shall be shown.
    pub(super) fn new(args: &OutputArgs) -> Self {
        match (args.quiet, io::stderr().is_terminal()) {
            (true, _) => Self::Quiet,
            (false, true) if args.is_window => Self::Passing,
            (false, true) => Self::Terminal,
            (false, false) if args.is_window => Self::Quiet,
            (false, false) => Self::Lines,
        }
    }

    /// Writes a line that stays.
    pub(super) fn tell(self, text: &str) {
        self.write(text);
        self.end();
    }

    /// Connections are open, and the load begins.
    pub(super) fn begin(self, opened: u32, asked: u32) {
        self.write(&format!("opened {opened} of {asked} connections"));
    }

    /// A second is over; `whole` is all that was counted by now, `opened` connections were there
    /// when it began.
    pub(super) fn show(self, opened: u32, sample: &Sample, whole: &Tally) {
        if self != Self::Quiet {
            self.write(&line(opened, sample, whole));
        }
    }

    /// Leaves the last line alone.
    pub(super) fn end(self) {
        if self == Self::Terminal {
            let _ = io::stderr().write_all(b"\n");
        }
    }

    fn write(self, text: &str) {
        let mut out = io::stderr().lock();
        // A closed standard error ends nothing.
        let _ = match self {
            Self::Quiet => Ok(()),
            Self::Lines => writeln!(out, "{text}"),
            Self::Terminal | Self::Passing => {
                // A line that wraps could not be written over.
                let width = rustix::termios::tcgetwinsize(&out).map_or(0, |size| size.ws_col);
                let width = if width == 0 { WIDTH } else { usize::from(width) };
                let fitting: String = text.chars().take(width - 1).collect();
                write!(out, "\r\x1b[K{fitting}").and_then(|()| out.flush())
            }
        };
    }
}

/// Columns of a terminal that does not tell.
const WIDTH: usize = 80;

/// The most telling first: a narrow terminal cuts the rest.
pub(super) fn line(opened: u32, sample: &Sample, whole: &Tally) -> String {
    let lost: u32 = whole.lost_connections.values().sum();
    let errors = whole.duplicated
        + whole.reordered
        + whole.unknown
        + whole.too_old
        + whole.failed
        + u64::from(lost);
    let latency = sample.latency_us.as_ref().map_or(String::new(), |latency| {
        format!("  p50 {:.0} us  p99 {:.0} us", latency.p50, latency.p99)
    });
    // What a fan-out sends is told when its ledger is settled.
    let counts = match (whole.sent, whole.started) {
        (0, 0) => format!("received {}", whole.received_in_window),
        (0, started) => format!("started {started}"),
        (sent, _) => format!("sent {sent}  back {}", whole.delivered),
    };
    // Handshakes leave connections behind.
    let done = if whole.started > 0 { whole.received_in_window } else { 0 };
    let open = (u64::from(opened) + done).saturating_sub(lost.into());
    let end_s = sample.at_s + sample.length_s;
    // The last second may be a part of one.
    let digits = if end_s.fract() < 0.05 { 0 } else { 1 };
    format!(
        "{end_s:4.digits$} s  open {open}  {:.0}/s{latency}  errors {errors}  {counts}",
        sample.rate
    )
}
