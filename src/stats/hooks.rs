//! What is counted of each hook.

use super::{Counter, Gauge, Histogram};

/// The values of the label `hook`.
pub const HOOK_LABELS: [&str; 6] =
    ["connect", "subscribe", "publish", "rpc", "refresh", "sub_refresh"];

/// The values of the label `cause` of questions without an answer: too many waited, no answer in
/// time, no connection or a broken one, another status than 200, too long an answer, one that is
/// not understood.
pub const HOOK_FAILURE_LABELS: [&str; 6] =
    ["overload", "timeout", "connection", "status", "size", "answer"];

/// Everything measured of one hook.
#[derive(Debug, Default)]
pub struct HookStats {
    /// Questions asked.
    pub asked: Counter,
    /// Questions without an answer so far, those that wait for a place included.
    pub open: Gauge,
    /// Answers that are an error or a disconnect.
    pub refused: Counter,
    /// Questions that got no answer that is of use, in the order of [`HOOK_FAILURE_LABELS`].
    pub failures: [Counter; HOOK_FAILURE_LABELS.len()],
    /// From a question's arrival to its answer, or to its failure.
    pub answer: Histogram,
}
