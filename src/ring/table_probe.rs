//! Whether table slots can be used here: tried, not derived from a version, for fixes are carried
//! to older kernels.

use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use super::{CloseHow, Driver, Fault, RingSizes, SetupError, TableSizes, UringDriver};
use crate::id::ConnId;
use crate::limits;

/// Why sockets cannot be held in table slots.
#[derive(Debug, thiserror::Error)]
pub enum TableFault {
    /// Kernels before about 6.13: closed connections would stay open while another is idle.
    #[error(
        "this kernel keeps a closed slot's connection open while a receive waits on another; \
         Linux 6.13 or newer does not"
    )]
    LateClose,
    /// The trial's ring or table was refused.
    #[error("{0}")]
    Setup(#[from] SetupError),
    /// The trial's ring broke.
    #[error("the ring of the trial broke: {0}")]
    Ring(#[from] Fault),
    /// The trial's sockets were refused.
    #[error("no sockets to try it with: {0}")]
    Sockets(#[from] io::Error),
}

/// Tries on the calling thread whether the end of a connection in a slot reaches its peer while a
/// receive is armed on another slot. Takes [`limits::TABLE_TRIAL_MS`] where it does not.
///
/// # Errors
/// Slots are of no use here, and why.
pub fn probe_table() -> Result<(), TableFault> {
    let bell = eventfd(0, EventfdFlags::CLOEXEC).map_err(io::Error::from)?;
    let mut driver = UringDriver::new(SIZES, bell.as_raw_fd())?;
    driver.register_table(TableSizes { slots: 2, ordinary_max: 0 })?;
    let (idle, _idle_peer) = UnixStream::pair()?;
    let (closed, mut closed_peer) = UnixStream::pair()?;
    let idle = driver.insert(ConnId { slot: 0, generation: 0 }, idle.into());
    let closed = driver.insert(ConnId { slot: 1, generation: 0 }, closed.into());
    driver.arm_recv(idle);
    driver.wait(Some(Duration::ZERO))?;
    driver.close(closed, CloseHow::Orderly);
    driver.wait(Some(Duration::ZERO))?;
    closed_peer.set_read_timeout(Some(Duration::from_millis(limits::TABLE_TRIAL_MS)))?;
    match closed_peer.read(&mut [0]) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(TableFault::LateClose),
        Err(error) => Err(error.into()),
    }
}

/// The smallest ring there is.
const SIZES: RingSizes =
    RingSizes { sq_entries: 8, cq_entries: 16, recv_buffers: 1, recv_buffer_size: 64 };
