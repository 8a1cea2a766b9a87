//! `plan`: how much a server carries within its objectives, what a unit of load costs it, and what
//! a target needs.
//!
//! Holds idle connections, then searches for the highest rate at each count of connections
//! ([`search`], a window of `echo` or `fanout` at a time), then counts handshakes. Costs are fitted
//! to what that left ([`costs`]), and multiplied by the target ([`needs`]). What lies beyond what
//! was measured is called so, and what was not measured is not there.

mod args;
mod costs;
mod fit;
mod needs;
mod probe;
mod record;
mod report;
mod search;
mod survey;
mod usl;

use std::time::Instant;

pub(crate) use args::PlanArgs;
pub(crate) use record::{Line, Need, Plan, Search, Window};
pub(crate) use search::{Outcome, Wall};

use crate::cli::{Verdict, say};
use crate::output::FileError;
use crate::page;
use crate::recorded::Recorded;
use crate::session::SessionError;
use crate::{dial, output};
use probe::ProbeError;
use report::Report;
use survey::Survey;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("--max-rate is below {0}: that is --min-rate, or ten messages a window")]
    Bounds(u64),
    #[error("the window and its warm-up are too long for --max-rate: {0} publications at most")]
    Publications(u64),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error(transparent)]
    File(#[from] FileError),
}

/// Runs the command.
pub(crate) fn run(args: &PlanArgs) -> Result<Verdict, PlanError> {
    check(args)?;
    dial::raise_file_limit();
    output::tell(args.quiet, &survey::announcement(args));
    let start = Instant::now();
    let survey = Survey::measure(args)?;
    let report = Report::new(args, survey, start.elapsed());
    say(report.text());
    if let Some(path) = &args.json {
        std::fs::write(path, report.json()).map_err(FileError::of(path))?;
    }
    if let Some(path) = &args.html {
        let run = Recorded::parse(&report.json()).expect("just written");
        std::fs::write(path, page::page(&run)).map_err(FileError::of(path))?;
    }
    Ok(report.verdict())
}

/// What no single flag can tell.
fn check(args: &PlanArgs) -> Result<(), PlanError> {
    match &args.publish {
        Some(_) => args.session.check()?,
        None => args.session.check_echo()?,
    }
    if args.lowest_rate() > args.max_rate {
        return Err(PlanError::Bounds(args.lowest_rate()));
    }
    let seconds = (args.warm_up + args.window).as_secs_f64();
    let count = args.max_rate as f64 * seconds;
    match &args.publish {
        Some(_) if count > PUBLICATIONS_MAX as f64 => {
            Err(PlanError::Publications(PUBLICATIONS_MAX))
        }
        Some(_) | None => Ok(()),
    }
}

/// Those of one window of a fan-out that are accounted for.
const PUBLICATIONS_MAX: u64 = 8 * 1024 * 1024;
