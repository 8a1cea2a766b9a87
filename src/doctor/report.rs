//! What `tidegate doctor` prints: one finding a line.

use std::fmt;

use serde::Serialize;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// The gateway runs, with less than it was configured for or than it could.
    Warning,
    /// The gateway cannot run.
    Fatal,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How much it matters.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What that means.
    pub meaning: String,
    /// The command or setting that mends it.
    pub remedy: Option<String>,
}

/// Everything that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether the gateway can run here.
    pub can_run: bool,
    /// In the order they are printed.
    pub findings: Vec<Finding>,
}

impl Report {
    /// A report of `findings`.
    pub(super) fn new(findings: Vec<Finding>) -> Self {
        let can_run = findings.iter().all(|finding| finding.verdict != Verdict::Fatal);
        Self { can_run, findings }
    }

    /// The report as one JSON object.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report holds only texts and truths")
    }
}

/// One line a finding.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { check, verdict, found, meaning, remedy } in &self.findings {
            let word = match verdict {
                Verdict::Ok => "ok",
                Verdict::Warning => "warning",
                Verdict::Fatal => "FATAL",
            };
            write!(f, "{word:<8} {check:<14} {found}: {meaning}")?;
            match remedy {
                Some(remedy) => writeln!(f, ". Mend with: {remedy}")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}
