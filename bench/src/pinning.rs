//! Where the generator runs: off the server's core, and each thread on a core of its own if asked.

use std::num::ParseIntError;
use std::str::FromStr;

use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::cli::ConnectArgs;

/// What `--pin` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pin {
    /// Every core this process may use.
    Allowed,
    /// These cores.
    Cores(Vec<usize>),
}

/// Why threads cannot run where they should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PinError {
    #[error(
        "core {0} is the only one the load generator may use, and it is the server's: bind the \
         server to another, or leave --server-cpu out"
    )]
    NoneLeft(usize),
    #[error("core {0} is the server's: name others for --pin")]
    Servers(usize),
    #[error("this process may not run on core {0}: --pin takes cores it may use")]
    NotAllowed(usize),
    #[error("the kernel does not bind threads to cores: {0}")]
    Refused(#[from] Errno),
}

/// Takes the calling thread, and those it will start, off the server's core.
///
/// # Errors
/// No core is left, or a core of `--pin` is out of reach.
pub(crate) fn leave_server(connect: &ConnectArgs) -> Result<(), PinError> {
    let mut allowed = sched_getaffinity(None)?;
    if let Some(cpu) = connect.server_cpu.filter(|cpu| *cpu < CpuSet::MAX_CPU) {
        allowed.unset(cpu);
        if allowed.count() == 0 {
            return Err(PinError::NoneLeft(cpu));
        }
        sched_setaffinity(None, &allowed)?;
    }
    if let Some(Pin::Cores(cores)) = &connect.pin {
        for cpu in cores {
            if connect.server_cpu == Some(*cpu) {
                return Err(PinError::Servers(*cpu));
            }
            if *cpu >= CpuSet::MAX_CPU || !allowed.is_set(*cpu) {
                return Err(PinError::NotAllowed(*cpu));
            }
        }
    }
    Ok(())
}

/// Names the calling thread, which is generator `thread`, and binds it to its core, if that was
/// asked for.
///
/// # Errors
/// The kernel refused.
pub(crate) fn settle(connect: &ConnectArgs, thread: u16) -> Result<(), Errno> {
    rustix::thread::set_name(c"generator")?;
    let Some(cores) = cores(connect)? else { return Ok(()) };
    let mut own = CpuSet::new();
    own.set(cores[usize::from(thread)]);
    sched_setaffinity(None, &own)
}

/// The core of each generator thread; `None`: they run where the kernel puts them. With more
/// threads than cores they share.
pub(crate) fn cores(connect: &ConnectArgs) -> Result<Option<Vec<usize>>, Errno> {
    let of = match &connect.pin {
        None => return Ok(None),
        Some(Pin::Cores(cores)) => cores.clone(),
        Some(Pin::Allowed) => {
            let allowed = sched_getaffinity(None)?;
            (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect()
        }
    };
    Ok(Some(of.into_iter().cycle().take(connect.threads.into()).collect()))
}

impl FromStr for Pin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == Self::ALLOWED {
            return Ok(Self::Allowed);
        }
        let malformed = |_: ParseIntError| "write cores such as 1, 2-3 or 0,4-7";
        let mut cores = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (usize, usize) =
                (first.parse().map_err(malformed)?, last.parse().map_err(malformed)?);
            if first > last || last >= CpuSet::MAX_CPU {
                return Err("cores go from the lower to the higher, up to 1023");
            }
            cores.extend(first..=last);
        }
        Ok(Self::Cores(cores))
    }
}

impl Pin {
    /// What `--pin` alone stands for.
    pub(crate) const ALLOWED: &str = "allowed";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores() {
        assert_eq!("1".parse(), Ok(Pin::Cores(vec![1])));
        assert_eq!("0,4-6".parse(), Ok(Pin::Cores(vec![0, 4, 5, 6])));
        assert_eq!(Pin::ALLOWED.parse(), Ok(Pin::Allowed));
        for wrong in ["", "a", "3-1", "1,", "0-99999", "-1"] {
            assert!(wrong.parse::<Pin>().is_err(), "{wrong}");
        }
    }
}
