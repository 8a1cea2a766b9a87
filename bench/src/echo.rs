//! `echo`: how long messages take to come back.

use crate::cli::{EchoArgs, Verdict, say};
use crate::report::{self, Report};
use crate::run::{self, Pace, RunError, Scenario};

/// Runs the command.
pub(crate) fn run(args: &EchoArgs) -> Result<Verdict, RunError> {
    args.connect.session.check_echo()?;
    let scenario = Scenario {
        pace: if args.rate == 0 { Pace::ClosedLoop } else { Pace::Rate(args.rate) },
        size: args.size,
        warm_up: args.warm_up,
        duration: args.duration,
    };
    let outcome = run::run(&args.connect, &scenario, |_| {})?;
    let report = Report::new("echo", &args.connect, &scenario, &outcome);
    say(report.text());
    report::write(&report, &args.connect, &outcome.tally)?;
    Ok(report.verdict())
}
