//! What the system says: `/proc`, `/sys`, limits, and one ring set up for a trial.

use std::fs;
use std::io;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

use crate::config::Limits;
use crate::ring::{self, RingSizes, SetupError, TableFault};

/// What the system says. A value that could not be read is `None`.
#[derive(Debug)]
pub struct Facts {
    /// Release of the kernel, as `uname -r` prints it.
    pub kernel: String,
    /// What came of setting up a ring.
    pub ring: RingTrial,
    /// Whether sockets can be held in table slots.
    pub table: Result<(), TableFault>,
    /// What may stand between the process and a ring.
    pub barriers: RingBarriers,
    /// Soft and hard limit of open files; `u64::MAX` if there is none.
    pub open_files: (u64, u64),
    /// First and last local port for outgoing connections.
    pub local_ports: Option<(u16, u16)>,
    /// Longest backlog of a listening socket.
    pub somaxconn: Option<u64>,
    /// Bytes of memory that can be taken without swapping.
    pub memory_available: Option<u64>,
    /// Memory limit of the control group, in bytes.
    pub memory_limit: Option<u64>,
}

/// What came of setting up a ring as a shard does.
#[derive(Debug)]
pub enum RingTrial {
    /// It works, with the configured queues or with smaller ones if memory for those was refused.
    Works,
    /// The kernel has not this operation.
    MissingOperation(&'static str),
    /// The kernel said no.
    Refused(io::Error),
}

/// What may stand between the process and a ring. A value that could not be read is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingBarriers {
    /// Whether a seccomp filter is installed (`Seccomp: 2` in `/proc/self/status`).
    pub seccomp_filter: bool,
    /// `kernel.io_uring_disabled`: 0 for all, 1 for a group, 2 for nobody. Absent before 6.6, and
    /// in a kernel built without io_uring.
    pub disabled: Option<u8>,
    /// `kernel.io_uring_group`, if one is set.
    pub group: Option<u32>,
    /// Whether the process is in that group.
    pub in_group: bool,
    /// Whether it has `CAP_SYS_ADMIN`, which `kernel.io_uring_disabled = 1` lets pass.
    pub may_administrate: bool,
    /// Whether it has `CAP_IPC_LOCK`, for which locked memory is not counted.
    pub may_lock_memory: bool,
    /// `RLIMIT_MEMLOCK`, soft, in bytes; `None` if there is none.
    pub memlock: Option<u64>,
}

impl Facts {
    /// Asks the system. Sets up one ring with the sizes of `limits` and takes it down again, which
    /// may wait some 100 ms where locked memory is short. Tries table slots, which takes a second
    /// where they do not work.
    pub(super) fn gather(limits: &Limits) -> Self {
        let files = getrlimit(Resource::Nofile);
        let unlimited = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
        Self {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            ring: try_ring(limits),
            table: ring::probe_table(),
            barriers: RingBarriers::gather(),
            open_files: (unlimited(files.current), unlimited(files.maximum)),
            local_ports: read_line("/proc/sys/net/ipv4/ip_local_port_range").and_then(|line| {
                let (first, last) = line.split_once(char::is_whitespace)?;
                Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
            }),
            somaxconn: read_line("/proc/sys/net/core/somaxconn").and_then(|line| line.parse().ok()),
            memory_available: fs::read_to_string("/proc/meminfo")
                .ok()
                .and_then(|text| field(&text, "MemAvailable")?.strip_suffix(" kB")?.parse().ok())
                .map(|kib: u64| kib * 1024),
            memory_limit: memory_limit(),
        }
    }
}

impl RingBarriers {
    /// Asks the system.
    pub(super) fn gather() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let capabilities =
            field(&status, "CapEff").and_then(|set| u64::from_str_radix(set, 16).ok());
        let may = |capability: u32| capabilities.is_some_and(|set| set & (1 << capability) != 0);
        let group = read_line("/proc/sys/kernel/io_uring_group").and_then(|line| line.parse().ok());
        let groups = field(&status, "Groups").unwrap_or("").split_whitespace();
        let effective = field(&status, "Gid").and_then(|gids| gids.split_whitespace().nth(1));
        let own: Vec<u32> = groups.chain(effective).filter_map(|gid| gid.parse().ok()).collect();
        Self {
            seccomp_filter: field(&status, "Seccomp") == Some("2"),
            disabled: read_line("/proc/sys/kernel/io_uring_disabled")
                .and_then(|line| line.parse().ok()),
            group,
            in_group: group.is_some_and(|group| own.contains(&group)),
            may_administrate: may(CAP_SYS_ADMIN),
            may_lock_memory: may(CAP_IPC_LOCK),
            memlock: getrlimit(Resource::Memlock).current,
        }
    }
}

/// Asks the same function as the gateway does at its start, so that both get the same answer.
fn try_ring(limits: &Limits) -> RingTrial {
    let tried = ring::probe(RingSizes {
        sq_entries: limits.sq_entries,
        cq_entries: limits.cq_entries,
        recv_buffers: limits.recv_buffers,
        recv_buffer_size: limits.recv_buffer_size,
    });
    match tried {
        Ok(()) => RingTrial::Works,
        Err(
            SetupError::Refused { source, .. }
            | SetupError::Buffers { source, .. }
            | SetupError::Table { source, .. },
        ) => RingTrial::Refused(source),
        Err(SetupError::MissingOperation(name)) => RingTrial::MissingOperation(name),
    }
}

/// The limit of the process's own control group (version 2). Limits of the groups above it are not
/// looked at: a container sees only its own.
fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let path = Path::new("/sys/fs/cgroup").join(group).join("memory.max");
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn read_line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// The value of `name` in text of lines `name: value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

const CAP_IPC_LOCK: u32 = 14;

const CAP_SYS_ADMIN: u32 = 21;
