//! Why the kernel refuses a ring, and what mends it.

use std::fmt;
use std::io;

use rustix::io::Errno;

use super::facts::RingBarriers;

/// A refusal of io_uring: the cause and what to do about it. Displays as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingRefusal {
    /// What refuses.
    pub cause: RingRefusalCause,
    /// The command or setting that mends it.
    pub remedy: String,
}

/// What refuses io_uring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingRefusalCause {
    /// `ENOSYS` with a seccomp filter installed: the filter, or a sandbox that hides the call.
    HiddenBySeccomp,
    /// `ENOSYS` without a filter: a kernel built without it, or a sandbox that is no Linux.
    NotInKernel,
    /// `kernel.io_uring_disabled` is 2.
    DisabledForAll,
    /// `kernel.io_uring_disabled` is 1, and the process is neither privileged nor in the group.
    DisabledOutsideGroup,
    /// `EPERM` with a seccomp filter installed, and the sysctl allows it: Docker's default.
    DeniedBySeccomp,
    /// `EPERM` or `EACCES` for a reason that cannot be seen from here: a security module.
    DeniedBySecurityModule,
    /// `ENOMEM` and locked memory is counted: the limit is used up.
    LockedMemory {
        /// The limit in bytes.
        limit: u64,
    },
    /// `ENOMEM` and locked memory is not counted: the machine or the control group is out of it.
    OutOfMemory,
    /// `EINVAL`: the kernel lacks a flag.
    KernelTooOld,
    /// `EMFILE` or `ENFILE`.
    OpenFiles,
    /// Another error; its number.
    Other(i32),
}

/// Says why the kernel answered `error` to the set-up of a ring. Reads `/proc` and limits, which
/// takes well below a millisecond.
pub fn explain_ring_refusal(error: &io::Error) -> RingRefusal {
    explain(error, &RingBarriers::gather())
}

/// Says why the kernel answered `error` behind these barriers.
pub(super) fn explain(error: &io::Error, barriers: &RingBarriers) -> RingRefusal {
    let cause = find_cause(error, barriers);
    RingRefusal { remedy: remedy(cause, barriers), cause }
}

fn find_cause(error: &io::Error, barriers: &RingBarriers) -> RingRefusalCause {
    use RingRefusalCause as Cause;
    match Errno::from_io_error(error) {
        Some(Errno::NOSYS) if barriers.seccomp_filter => Cause::HiddenBySeccomp,
        Some(Errno::NOSYS) => Cause::NotInKernel,
        Some(Errno::PERM | Errno::ACCESS) => match barriers.disabled {
            Some(0) | None if barriers.seccomp_filter => Cause::DeniedBySeccomp,
            Some(1) if !barriers.may_administrate && !barriers.in_group => {
                Cause::DisabledOutsideGroup
            }
            Some(1) if barriers.seccomp_filter => Cause::DeniedBySeccomp,
            Some(0 | 1) | None => Cause::DeniedBySecurityModule,
            Some(_) => Cause::DisabledForAll,
        },
        Some(Errno::NOMEM) => match barriers.memlock {
            Some(limit) if !barriers.may_lock_memory => Cause::LockedMemory { limit },
            _ => Cause::OutOfMemory,
        },
        Some(Errno::INVAL) => Cause::KernelTooOld,
        Some(Errno::MFILE | Errno::NFILE) => Cause::OpenFiles,
        Some(other) => Cause::Other(other.raw_os_error()),
        None => Cause::Other(0),
    }
}

fn remedy(cause: RingRefusalCause, barriers: &RingBarriers) -> String {
    use RingRefusalCause as Cause;
    let text = match cause {
        Cause::HiddenBySeccomp | Cause::DeniedBySeccomp => {
            "allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile \
             (docker run --security-opt seccomp=PROFILE.json, or seccomp=unconfined for a trial; \
             Kubernetes: securityContext.seccompProfile of type Localhost; systemd: \
             SystemCallFilter=@aio)"
        }
        Cause::NotInKernel => {
            "run on Linux 6.1 or newer built with CONFIG_IO_URING, not in a sandbox such as gVisor"
        }
        Cause::DisabledForAll => "sysctl -w kernel.io_uring_disabled=0",
        Cause::DisabledOutsideGroup => match barriers.group {
            Some(group) => {
                return format!(
                    "run as a member of group {group}, or sysctl -w kernel.io_uring_disabled=0"
                );
            }
            None => {
                "sysctl -w kernel.io_uring_disabled=0, or sysctl -w kernel.io_uring_group=GID with \
                 a group of this user"
            }
        },
        Cause::DeniedBySecurityModule => {
            "look for the denial in the audit log (ausearch -m avc -ts recent, or journalctl -k) \
             and allow io_uring there"
        }
        Cause::LockedMemory { .. } => {
            "ulimit -l unlimited (docker run --ulimit memlock=-1; systemd: LimitMEMLOCK=infinity), \
             or lower limits.sq_entries, limits.cq_entries or server.shards; just after a restart, \
             wait a second"
        }
        Cause::OutOfMemory => {
            "free memory or raise the memory limit, or lower limits.sq_entries and limits.cq_entries"
        }
        Cause::KernelTooOld => "run on Linux 6.1 or newer",
        Cause::OpenFiles => {
            "ulimit -n 1048576 (docker run --ulimit nofile=1048576; systemd: LimitNOFILE=1048576)"
        }
        Cause::Other(_) => "run tidegate doctor and look at the line that is not ok",
    };
    text.to_owned()
}

impl fmt::Display for RingRefusalCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HiddenBySeccomp => f.write_str(
                "a seccomp filter or sandbox answers ENOSYS, as if the kernel had no io_uring",
            ),
            Self::NotInKernel => f.write_str("the kernel has no io_uring (ENOSYS)"),
            Self::DisabledForAll => f.write_str("kernel.io_uring_disabled is 2: nobody may use it"),
            Self::DisabledOutsideGroup => f.write_str(
                "kernel.io_uring_disabled is 1: only kernel.io_uring_group and privileged \
                 processes may use it",
            ),
            Self::DeniedBySeccomp => {
                f.write_str("a seccomp filter denies it (EPERM), as container runtimes do")
            }
            Self::DeniedBySecurityModule => f.write_str(
                "it is denied (EPERM) by neither seccomp nor sysctl, so by a security module such \
                 as SELinux",
            ),
            Self::LockedMemory { limit } => write!(
                f,
                "no locked memory is left for its rings (ENOMEM; RLIMIT_MEMLOCK is {} KiB for all \
                 processes of this user)",
                limit / 1024
            ),
            Self::OutOfMemory => f.write_str("there is no memory for its rings (ENOMEM)"),
            Self::KernelTooOld => {
                f.write_str("the kernel lacks a feature the gateway needs (EINVAL)")
            }
            Self::OpenFiles => f.write_str("the limit of open files is reached (EMFILE)"),
            Self::Other(code) => write!(f, "{}", io::Error::from_raw_os_error(*code)),
        }
    }
}

impl fmt::Display for RingRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "io_uring is refused: {}. Mend with: {}", self.cause, self.remedy)
    }
}

impl std::error::Error for RingRefusal {}
