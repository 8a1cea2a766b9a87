//! The command line: what was asked for, and the exit code. Decides nothing itself: settings are
//! for `config`, judgements for `doctor`, everything that runs for `gateway`.
//!
//! Exit codes: 0 done, 1 it failed while running or cannot run here, 2 it was asked for wrongly.

mod args;
mod logging;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Parser;

use crate::auth::sign;
use crate::config::{self, Inputs, Loaded, LogFormat};
use crate::{doctor, gateway};
use args::{Args, Command, ConfigCommand};

/// Name, version and commit, such as `0.1.0 (0123456789ab)`; no commit when built outside git.
pub const VERSION: &str = env!("VERSION_AND_COMMIT");

/// Does what the command line asks for. Called once, from `main`.
pub fn run() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // A closed output is no reason for another error.
            let _ = error.print();
            return if error.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    match args.command {
        Command::Serve(settings) => with_settings(&settings.inputs(), serve),
        Command::Doctor(doctor) => with_settings(&doctor.inputs(), |loaded| {
            let report = doctor::examine(&loaded.config);
            let text = if doctor.json { report.to_json() + "\n" } else { report.to_string() };
            let code = if report.can_run { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            print(&text).unwrap_or(code)
        }),
        Command::Token(asked) => with_settings(&asked.inputs(), |loaded| {
            for warning in &loaded.warnings {
                complain("warning", warning);
            }
            token(&asked, &loaded)
        }),
        Command::Config { command: ConfigCommand::Default } => {
            print(&config::default_text()).unwrap_or(ExitCode::SUCCESS)
        }
        Command::Config { command: ConfigCommand::Check(settings) } => {
            with_settings(&settings.inputs(), |loaded| {
                for warning in &loaded.warnings {
                    complain("warning", warning);
                }
                print("the settings are valid\n").unwrap_or(ExitCode::SUCCESS)
            })
        }
    }
}

fn serve(loaded: Loaded) -> ExitCode {
    logging::init(&loaded.config.log);
    let format = loaded.config.log.format;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    match gateway::serve(loaded.config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match format {
                LogFormat::Json => tracing::error!("{error}"),
                // Cause and remedy have lines of their own, whose ends the log would escape.
                LogFormat::Text => complain("error", &error),
            }
            ExitCode::FAILURE
        }
    }
}

/// Prints a token.
fn token(asked: &args::Token, loaded: &Loaded) -> ExitCode {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs());
    let wish = sign::Wish {
        user: &asked.user,
        expire_at: (!asked.exp.is_zero()).then(|| now.saturating_add(asked.exp.as_secs().max(1))),
        issued_at: now,
        channel: asked.channel.as_deref(),
        info: asked.info.as_ref().map(|info| &*info.0),
    };
    match sign::sign(loaded.config.token.as_ref(), &wish) {
        Ok(token) => print(&(token + "\n")).unwrap_or(ExitCode::SUCCESS),
        Err(error) => {
            complain("error", &error);
            USAGE.into()
        }
    }
}

/// Runs `then` with the settings, or says what is wrong with them.
fn with_settings(inputs: &Inputs, then: impl FnOnce(Loaded) -> ExitCode) -> ExitCode {
    match config::load(inputs) {
        Ok(loaded) => then(loaded),
        Err(error) => {
            complain("error", &error);
            USAGE.into()
        }
    }
}

/// Writes `text` to standard output; the exit code if that fails. A reader that has seen enough and
/// closed the pipe (`| head`) is no failure.
fn print(text: &str) -> Option<ExitCode> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => None,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
        Err(error) => {
            complain("error", &error);
            Some(ExitCode::FAILURE)
        }
    }
}

/// Writes one line to standard error, for what is said before logging is set up.
fn complain(word: &str, what: &dyn Display) {
    let _ = writeln!(io::stderr(), "tidegate: {word}: {what}");
}

/// Exit code when it was asked for wrongly, by arguments or settings; clap uses it too.
const USAGE: u8 = 2;
