//! What the kernel's error numbers mean. The only place that reads errno.

use std::io;

use rustix::io::Errno;

use super::RecvOutcome;

/// An error of one operation, by what the shard does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The peer is gone: reset, broken pipe, timed out, unreachable. The connection is over.
    #[error("the peer is gone ({0})")]
    PeerGone(Errno),
    /// The operation was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The kernel has no memory for it now.
    #[error("the kernel is out of memory ({0})")]
    OutOfMemory(Errno),
    /// Anything else; the connection is over and the number goes to the log.
    #[error("unexpected error {0}")]
    Other(Errno),
}

impl Fault {
    /// Sorts a completion's negative result.
    pub(super) fn from_result(result: i32) -> Self {
        debug_assert!(result < 0);
        Self::from_errno(Errno::from_raw_os_error(-result))
    }

    /// Sorts an error number.
    pub fn from_errno(errno: Errno) -> Self {
        match errno {
            Errno::CONNRESET
            | Errno::PIPE
            | Errno::TIMEDOUT
            | Errno::CONNABORTED
            | Errno::NOTCONN
            | Errno::HOSTUNREACH
            | Errno::NETUNREACH
            | Errno::NETDOWN
            | Errno::NETRESET
            | Errno::SHUTDOWN => Fault::PeerGone(errno),
            Errno::CANCELED => Fault::Cancelled,
            Errno::NOMEM | Errno::NOBUFS => Fault::OutOfMemory(errno),
            _ => Fault::Other(errno),
        }
    }
}

/// What a receive's result means, `armed` being the kernel's more-flag.
pub(super) fn recv_outcome(result: i32, has_buffer: bool, armed: bool) -> RecvOutcome {
    if result > 0 {
        debug_assert!(has_buffer, "a receive with data without a buffer");
        return RecvOutcome::Data;
    }
    if result == 0 {
        // Zero with the more-flag has not been seen; it would be no end.
        return if armed { RecvOutcome::Data } else { RecvOutcome::End };
    }
    match Errno::from_raw_os_error(-result) {
        Errno::NOBUFS => RecvOutcome::NoBuffers,
        Errno::CANCELED => RecvOutcome::Cancelled,
        // A signal or a passing shortage ended the multishot, the socket is as it was.
        Errno::INTR | Errno::AGAIN | Errno::NOMEM => RecvOutcome::Ended,
        errno => RecvOutcome::Failed(Fault::from_errno(errno)),
    }
}

/// What the outcome of `io_uring_enter` asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EnterVerdict {
    /// Submitted, or the time was up: look at the completions.
    Fine,
    /// The completion queue is full: take completions, then go on.
    TakeCompletions,
    /// The ring is broken.
    Broken(Fault),
}

/// Reads the error of `io_uring_enter`.
pub(super) fn enter_verdict(result: io::Result<usize>) -> EnterVerdict {
    let Err(error) = result else { return EnterVerdict::Fine };
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::TIME | Errno::INTR) => EnterVerdict::Fine,
        Some(Errno::BUSY | Errno::AGAIN) => EnterVerdict::TakeCompletions,
        Some(errno) => EnterVerdict::Broken(Fault::from_errno(errno)),
        None => EnterVerdict::Broken(Fault::Other(Errno::IO)),
    }
}

/// Why a ring could not be built.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The kernel refused the ring itself.
    #[error("the kernel refused an io_uring of {entries} entries: {source}")]
    Refused {
        /// Submission entries asked for last.
        entries: u32,
        /// The kernel's error.
        source: io::Error,
    },
    /// The kernel refused the ring of receive buffers.
    #[error("the kernel refused a ring of {count} receive buffers: {source}")]
    Buffers {
        /// Buffers asked for.
        count: u16,
        /// The kernel's error.
        source: io::Error,
    },
    /// The kernel refused a table of slots for sockets.
    #[error("the kernel refused a table of {slots} slots for sockets: {source}")]
    Table {
        /// Slots asked for.
        slots: u32,
        /// The kernel's error.
        source: io::Error,
    },
    /// The kernel lacks an operation the gateway needs.
    #[error("the kernel lacks the io_uring operation {0}")]
    MissingOperation(&'static str),
}

impl SetupError {
    /// The kernel's error, where there is one.
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            SetupError::Refused { source, .. }
            | SetupError::Buffers { source, .. }
            | SetupError::Table { source, .. } => Some(source),
            SetupError::MissingOperation(_) => None,
        }
    }
}

/// Whether a refused set-up is worth another try with a smaller ring: the locked-memory limit is
/// counted per user, and freed rings are given back late.
pub(super) fn is_out_of_memory(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::NOMEM.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receive_results_are_sorted() {
        assert_eq!(recv_outcome(5, true, true), RecvOutcome::Data);
        assert_eq!(recv_outcome(0, false, false), RecvOutcome::End);
        let raw = |errno: Errno| -errno.raw_os_error();
        assert_eq!(recv_outcome(raw(Errno::NOBUFS), false, false), RecvOutcome::NoBuffers);
        assert_eq!(recv_outcome(raw(Errno::CANCELED), true, false), RecvOutcome::Cancelled);
        assert_eq!(recv_outcome(raw(Errno::NOMEM), false, false), RecvOutcome::Ended);
        assert_eq!(
            recv_outcome(raw(Errno::CONNRESET), false, false),
            RecvOutcome::Failed(Fault::PeerGone(Errno::CONNRESET))
        );
    }

    #[test]
    fn a_full_completion_queue_is_not_fatal() {
        let error = |errno: Errno| Err(io::Error::from_raw_os_error(errno.raw_os_error()));
        assert_eq!(enter_verdict(error(Errno::BUSY)), EnterVerdict::TakeCompletions);
        assert_eq!(enter_verdict(error(Errno::TIME)), EnterVerdict::Fine);
        assert_eq!(
            enter_verdict(error(Errno::BADF)),
            EnterVerdict::Broken(Fault::Other(Errno::BADF))
        );
    }
}
