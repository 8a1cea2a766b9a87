//! How a command ended, as its exit code and as a word in the JSON.

use std::process::ExitCode;

use serde::Serialize;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Everything asked for was done.
    Pass,
    /// It was asked for wrongly, or this machine cannot run it.
    Usage,
    /// An objective was missed, or messages are missing, doubled, out of order or changed.
    SloMissed,
    /// The generator could not keep its schedule: the figures say nothing of the server.
    Invalid,
    /// Connections failed or were lost.
    ConnectionsFailed,
}

impl Verdict {
    /// What a finished run comes to. Where several faults apply, the one that makes the others
    /// doubtful counts.
    pub(crate) fn of(valid: bool, connections_ok: bool, objectives_met: bool) -> Self {
        match (valid, connections_ok, objectives_met) {
            (false, _, _) => Self::Invalid,
            (true, false, _) => Self::ConnectionsFailed,
            (true, true, false) => Self::SloMissed,
            (true, true, true) => Self::Pass,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Usage => 1,
            Self::SloMissed => 2,
            Self::Invalid => 3,
            Self::ConnectionsFailed => 4,
        }
    }
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        verdict.code().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_invalid_failed_missed_counts() {
        for (faults, code) in [
            ([false, false, false], 0),
            ([false, false, true], 2),
            ([false, true, false], 4),
            ([false, true, true], 4),
            ([true, false, false], 3),
            ([true, true, true], 3),
        ] {
            let [lag, connections, missed] = faults;
            assert_eq!(Verdict::of(!lag, !connections, !missed).code(), code, "{faults:?}");
        }
        assert_eq!(Verdict::Usage.code(), 1);
    }
}
