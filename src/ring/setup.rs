//! Building a ring, and trying whether one can be built.

use std::io;
use std::time::Duration;

use io_uring::{IoUring, Probe, opcode};

use super::fault::{SetupError, is_out_of_memory};
use crate::limits;

/// Sizes of one shard's ring.
#[derive(Clone, Copy, Debug)]
pub struct RingSizes {
    /// Submission queue entries.
    pub sq_entries: u32,
    /// Completion queue entries.
    pub cq_entries: u32,
    /// Receive buffers, a power of two.
    pub recv_buffers: u16,
    /// Bytes of a receive buffer.
    pub recv_buffer_size: u32,
}

/// How long to wait before the one retry at full size: the kernel gives locked memory of a
/// process that has just ended back some 100 ms late.
const MEMLOCK_RETRY: Duration = Duration::from_millis(200);

/// Builds a ring of `sizes`, halving it down to `limits::SQ_ENTRIES_MIN` while the kernel refuses
/// memory. Must run on the thread that will use the ring: `SINGLE_ISSUER` binds it.
///
/// # Errors
/// The kernel refused even the smallest ring, or refused for another reason than memory.
pub(super) fn build(sizes: RingSizes) -> Result<IoUring, SetupError> {
    let mut entries = sizes.sq_entries;
    let mut completions = sizes.cq_entries;
    let mut waited = false;
    loop {
        match builder(completions).build(entries) {
            Ok(ring) => {
                if entries < sizes.sq_entries {
                    tracing::warn!(
                        asked = sizes.sq_entries,
                        got = entries,
                        "locked memory is short: this shard's ring is smaller than configured; \
                         raise the limit (ulimit -l, LimitMEMLOCK=) or lower limits.sq_entries"
                    );
                }
                return Ok(ring);
            }
            Err(error) if is_out_of_memory(&error) && !waited => {
                waited = true;
                std::thread::sleep(MEMLOCK_RETRY);
            }
            Err(error) if is_out_of_memory(&error) && entries / 2 >= limits::SQ_ENTRIES_MIN => {
                entries /= 2;
                completions /= 2;
            }
            Err(source) => return Err(SetupError::Refused { entries, source }),
        }
    }
}

/// Each flag has its reason.
fn builder(cq_entries: u32) -> io_uring::Builder {
    let mut builder = IoUring::builder();
    builder
        // One thread submits: the kernel skips its locks.
        .setup_single_issuer()
        // Completions are worked out inside our own wait, not by interrupting the thread.
        .setup_defer_taskrun()
        // One bad entry must not hold back those behind it.
        .setup_submit_all()
        // The default of two per submission overflows with multishot receives.
        .setup_cqsize(cq_entries)
        // Memory of the ring is of no use to a child process.
        .dontfork();
    builder
}

/// Tries on the calling thread whether a shard's ring can be built, then takes it down again.
///
/// # Errors
/// As a shard would fail.
pub fn probe(sizes: RingSizes) -> Result<(), SetupError> {
    let ring = build(sizes)?;
    check_operations(&ring)
}

/// Operations a shard submits, with their names for people.
const OPERATIONS: [(u8, &str); 5] = [
    (opcode::RecvMulti::CODE, "RECV"),
    (opcode::Send::CODE, "SEND"),
    (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
    (opcode::MsgRingData::CODE, "MSG_RING"),
    (opcode::Read::CODE, "READ"),
];

fn check_operations(ring: &IoUring) -> Result<(), SetupError> {
    let mut probe = Probe::new();
    let refused =
        |source: io::Error| SetupError::Refused { entries: ring.params().sq_entries(), source };
    ring.submitter().register_probe(&mut probe).map_err(refused)?;
    for (code, name) in OPERATIONS {
        if !probe.is_supported(code) {
            return Err(SetupError::MissingOperation(name));
        }
    }
    Ok(())
}
