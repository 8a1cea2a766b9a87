//! `idle`: connections that are held without a message; pings are answered.

use std::time::Duration;

use crate::cli::{IdleArgs, Verdict, say};
use crate::payload;
use crate::report::{self, Report};
use crate::run::{self, Pace, RunError, Scenario};

/// Runs the command. Prints `holding N of M connections` once they are open.
pub(crate) fn run(args: &IdleArgs) -> Result<Verdict, RunError> {
    let scenario = Scenario {
        pace: Pace::Idle,
        size: payload::HEADER_LEN,
        warm_up: Duration::ZERO,
        duration: args.hold,
    };
    let asked = args.connect.connections;
    let outcome = run::run(&args.connect, &scenario, |opened| {
        say(format_args!("holding {opened} of {asked} connections"));
    })?;
    let report = Report::new("idle", &args.connect, &scenario, &outcome);
    say(report.text());
    report::write(&report, &args.connect, &outcome.tally)?;
    Ok(report.verdict())
}
