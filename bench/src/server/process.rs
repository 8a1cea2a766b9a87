//! A process as `/proc` shows it: CPU time, context switches, resident memory.

use std::fs;

/// What a process has used by one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// CPU time of all its threads so far, in nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Clock ticks in which it was found in user mode. The kernel samples: only the proportion to
    /// `system_ticks` means something, and only over many ticks.
    pub(crate) user_ticks: u64,
    /// Clock ticks in which it was found in the kernel.
    pub(crate) system_ticks: u64,
    /// Times its threads gave their core away to wait for something.
    pub(crate) voluntary_switches: u64,
    /// Times it was taken from them.
    pub(crate) involuntary_switches: u64,
    /// Resident memory.
    pub(crate) rss_bytes: u64,
}

impl Usage {
    /// Reads process `pid`; `None` if there is none, or nothing may be read of it. Threads that
    /// ended since the last reading take their time with them.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let mut usage = Self::default();
        for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
            let task = task.ok()?.path();
            // A thread may end while the list is read.
            let Ok(schedstat) = fs::read_to_string(task.join("schedstat")) else { continue };
            let Ok(status) = fs::read_to_string(task.join("status")) else { continue };
            usage.cpu_ns += on_cpu_ns(&schedstat)?;
            usage.voluntary_switches += number(&status, "voluntary_ctxt_switches:")?;
            usage.involuntary_switches += number(&status, "nonvoluntary_ctxt_switches:")?;
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        (usage.user_ticks, usage.system_ticks) = ticks(&stat)?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        usage.rss_bytes = number(&status, "VmRSS:")? * 1024;
        Some(usage)
    }
}

/// The cores that the threads of process `pid` may run on, each list as the kernel writes it.
pub(super) fn cores_allowed(pid: u32) -> Option<Vec<String>> {
    let mut lists = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let Ok(status) = fs::read_to_string(task.ok()?.path().join("status")) else { continue };
        lists.push(field(&status, "Cpus_allowed_list:")?.to_owned());
    }
    Some(lists)
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

/// `utime` and `stime` of `stat`, whose second field is a name that may hold anything.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11).map(str::parse);
    Some((fields.next()?.ok()?, fields.next()?.ok()?))
}

/// The number of the line `name 1234` or `name 1234 kB`.
pub(super) fn number(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.split_ascii_whitespace().next()?.parse().ok()
}

/// What follows `name` in the first line that begins with it.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    Some(text.lines().find_map(|line| line.strip_prefix(name))?.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_kernel() {
        assert_eq!(on_cpu_ns("123456 789 10\n"), Some(123_456));
        assert_eq!(on_cpu_ns(""), None);
        let status = "Name:\tx\nVmRSS:\t   1234 kB\nvoluntary_ctxt_switches:\t7\n\
                      nonvoluntary_ctxt_switches:\t9\n";
        assert_eq!(number(status, "VmRSS:"), Some(1234));
        assert_eq!(number(status, "voluntary_ctxt_switches:"), Some(7));
        assert_eq!(number(status, "nonvoluntary_ctxt_switches:"), Some(9));
        assert_eq!(number("Name:\tx\n", "VmRSS:"), None);
        let stat = "12 (a) b (c) S 1 12 12 0 -1 4194560 170 0 0 0 31 47 0 0 20 0 1 0";
        assert_eq!(ticks(stat), Some((31, 47)));
        assert_eq!(ticks("12 (a) S 1"), None);
    }

    #[test]
    fn this_process_uses_something() {
        let pid = std::process::id();
        let usage = Usage::of(pid).expect("it runs");
        assert!(usage.cpu_ns > 0 && usage.rss_bytes > 0 && usage.voluntary_switches > 0);
        assert!(!cores_allowed(pid).expect("it runs").is_empty());
    }
}
