//! What processes of this machine use: the server's, by its id, and this one's threads.

use std::fs;

/// CPU time and memory of a process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// CPU time of all its threads so far, in nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Resident memory.
    pub(crate) rss_bytes: u64,
}

impl Usage {
    /// Reads process `pid`; `None` if there is none, or nothing may be read of it. Threads that
    /// ended since the last reading take their time with them.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let mut cpu_ns = 0;
        for task in tasks {
            // A thread may end while the list is read.
            let Ok(text) = fs::read_to_string(task.ok()?.path().join("schedstat")) else {
                continue;
            };
            cpu_ns += on_cpu_ns(&text)?;
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        Some(Self { cpu_ns, rss_bytes: rss_bytes(&status)? })
    }
}

/// CPU time of the calling thread so far, in nanoseconds.
pub(crate) fn own_cpu_ns() -> Option<u64> {
    on_cpu_ns(&fs::read_to_string("/proc/thread-self/schedstat").ok()?)
}

/// CPU time of this process's thread `tid` so far, in nanoseconds; `None` once it has ended.
pub(crate) fn thread_cpu_ns(tid: u32) -> Option<u64> {
    on_cpu_ns(&fs::read_to_string(format!("/proc/self/task/{tid}/schedstat")).ok()?)
}

/// The first field of `schedstat`: time on a core.
fn on_cpu_ns(schedstat: &str) -> Option<u64> {
    schedstat.split_ascii_whitespace().next()?.parse().ok()
}

/// The line `VmRSS:   1234 kB` of `status`.
fn rss_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_kernel() {
        assert_eq!(on_cpu_ns("123456 789 10\n"), Some(123_456));
        assert_eq!(rss_bytes("Name:\tx\nVmRSS:\t   1234 kB\nRssAnon: 1 kB\n"), Some(1_263_616));
        assert_eq!(on_cpu_ns(""), None);
        assert_eq!(rss_bytes("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_uses_something() {
        let usage = Usage::of(std::process::id()).expect("it runs");
        assert!(usage.cpu_ns > 0 && usage.rss_bytes > 0);
    }
}
