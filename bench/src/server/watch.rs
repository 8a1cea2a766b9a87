//! The server as a run sees it: read before the first connection and at both ends of what is
//! measured.

use std::time::Duration;

use super::machine::{self, CoreReading};
use super::process::{self, Usage};

/// Why the server cannot be observed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObserveError {
    #[error("no process {0} to be read: is --server-pid on this machine, and may you read it?")]
    NoServer(u32),
    #[error("this machine has no core {0}: --server-cpu takes one of those it has")]
    NoCore(usize),
    #[error(
        "process {pid} may run on cores {cores}, so that core {cpu} does not tell what it costs: \
         bind all of it with taskset -acp {cpu} {pid}, or leave --server-cpu out"
    )]
    NotBound { pid: u32, cpu: usize, cores: String },
}

/// One reading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observation {
    usage: Usage,
    core: Option<CoreReading>,
    kernel_bytes: Option<u64>,
}

impl Observation {
    /// Reads process `pid` and, if it is alone on one, its core.
    ///
    /// # Errors
    /// There is no such process or core, or the process may run elsewhere too.
    pub(crate) fn of(pid: u32, cpu: Option<usize>) -> Result<Self, ObserveError> {
        let core = match cpu {
            Some(cpu) => {
                let core = CoreReading::of(cpu).ok_or(ObserveError::NoCore(cpu))?;
                let lists = process::cores_allowed(pid).ok_or(ObserveError::NoServer(pid))?;
                if let Some(cores) = lists.into_iter().find(|list| *list != cpu.to_string()) {
                    return Err(ObserveError::NotBound { pid, cpu, cores });
                }
                Some(core)
            }
            None => None,
        };
        Ok(Self {
            usage: Usage::of(pid).ok_or(ObserveError::NoServer(pid))?,
            core,
            kernel_bytes: machine::kernel_bytes(),
        })
    }
}

/// What the server's process used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerUse {
    /// CPU time of all its threads within the measured time, in nanoseconds.
    pub(crate) cpu_ns: u64,
    /// The part of it in user mode, 0 to 1, as sampled; `None`: no sample met it.
    pub(crate) user_share: Option<f64>,
    /// How long its core was busy within the measured time; `None`: no core was named.
    pub(crate) core_busy: Option<Duration>,
    /// Context switches of its threads within the measured time.
    pub(crate) voluntary_switches: u64,
    /// Those that were forced.
    pub(crate) involuntary_switches: u64,
    /// Resident memory at the end.
    pub(crate) rss_bytes: u64,
    /// Growth of its resident memory from before the first connection to the end.
    pub(crate) rss_growth_bytes: u64,
    /// Growth of the kernel's memory over the same time, both ends of all connections.
    pub(crate) kernel_growth_bytes: Option<u64>,
}

impl ServerUse {
    /// From readings before the first connection and at both ends of the measured time.
    pub(crate) fn between(
        at_first: Option<Observation>,
        before: Option<Observation>,
        after: Option<Observation>,
    ) -> Option<Self> {
        let (first, before, after) = (at_first?, before?, after?);
        let passed = |of: fn(&Usage) -> u64| of(&after.usage).saturating_sub(of(&before.usage));
        let (user, system) = (passed(|u| u.user_ticks), passed(|u| u.system_ticks));
        let core = before.core.zip(after.core);
        let kernel = first.kernel_bytes.zip(after.kernel_bytes);
        Some(Self {
            cpu_ns: passed(|usage| usage.cpu_ns),
            user_share: (user + system > 0).then(|| user as f64 / (user + system) as f64),
            core_busy: core.map(|(before, after)| after.busy_since(&before)),
            voluntary_switches: passed(|usage| usage.voluntary_switches),
            involuntary_switches: passed(|usage| usage.involuntary_switches),
            rss_bytes: after.usage.rss_bytes,
            rss_growth_bytes: after.usage.rss_bytes.saturating_sub(first.usage.rss_bytes),
            kernel_growth_bytes: kernel.map(|(first, after)| after.saturating_sub(first)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation(factor: u64) -> Observation {
        let usage = Usage {
            cpu_ns: 1_000 * factor,
            user_ticks: factor,
            system_ticks: 3 * factor,
            voluntary_switches: 5 * factor,
            involuntary_switches: 7 * factor,
            rss_bytes: 4_096 * factor,
        };
        Observation { usage, core: None, kernel_bytes: Some(100 * factor) }
    }

    #[test]
    fn times_are_of_the_window_and_memory_of_the_whole_run() {
        let [first, before, after] = [1, 3, 10].map(|factor| Some(observation(factor)));
        let used = ServerUse::between(first, before, after).expect("three readings");
        assert_eq!((used.cpu_ns, used.user_share), (7_000, Some(0.25)));
        assert_eq!((used.voluntary_switches, used.involuntary_switches), (35, 49));
        assert_eq!((used.rss_bytes, used.rss_growth_bytes), (40_960, 9 * 4_096));
        assert_eq!(used.kernel_growth_bytes, Some(900));
        assert!(used.core_busy.is_none());
        assert!(ServerUse::between(first, None, after).is_none());
        let still = ServerUse::between(first, before, before).expect("three readings");
        assert_eq!(still.user_share, None);
    }

    #[test]
    fn a_server_that_may_run_elsewhere_is_not_alone() {
        let pid = std::process::id();
        assert!(matches!(Observation::of(u32::MAX, None), Err(ObserveError::NoServer(_))));
        assert!(matches!(Observation::of(pid, Some(100_000)), Err(ObserveError::NoCore(_))));
        let allowed = rustix::thread::sched_getaffinity(None).expect("this thread's");
        if allowed.count() > 1 {
            let said = Observation::of(pid, Some(0)).expect_err("elsewhere too").to_string();
            assert!(said.contains("taskset -acp 0"), "{said}");
        }
    }
}
