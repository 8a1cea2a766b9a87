//! What the kernel says about this process, under the names every Prometheus client library uses.

use std::fs;

use rustix::process::Resource;

/// One reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process {
    /// User and system time.
    pub(super) cpu_s: f64,
    /// Resident memory.
    pub(super) resident_bytes: u64,
    /// Start, in seconds of the Unix epoch.
    pub(super) start_s: f64,
    /// Open descriptors.
    pub(super) fd_count: u64,
    /// Most descriptors the process may open; `None`: any number.
    pub(super) fd_max: Option<u64>,
}

impl Process {
    /// Reads `/proc`; `None` when it is not mounted. A few system calls, one more per 1,000 open
    /// descriptors before Linux 6.2.
    pub(super) fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the name in parentheses and may hold anything; the third follows.
        let (_, after_name) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks_per_s = rustix::param::clock_ticks_per_second() as f64;
        let page_size = rustix::param::page_size() as u64;
        Some(Self {
            cpu_s: (field(14)? + field(15)?) as f64 / ticks_per_s,
            resident_bytes: field(24)? * page_size,
            start_s: booted_at_s()? + field(22)? as f64 / ticks_per_s,
            fd_count: fd_count()?,
            fd_max: rustix::process::getrlimit(Resource::Nofile).current,
        })
    }
}

fn booted_at_s() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Since Linux 6.2 the directory's size is the number of open descriptors; listing a million of
/// them would take longer than a scrape may.
fn fd_count() -> Option<u64> {
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64),
        size => Some(size),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn a_reading_is_plausible() {
        let process = Process::read().expect("/proc is mounted");
        assert!(process.resident_bytes > 100_000 && process.resident_bytes < 1 << 40);
        assert!(process.fd_count >= 3);
        assert!(process.fd_max.is_none_or(|max| max >= process.fd_count));
        let age =
            SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs_f64() - process.start_s;
        assert!((-2.0..Duration::from_secs(86_400).as_secs_f64()).contains(&age), "{age}");
        assert!(process.cpu_s >= 0.0);
    }
}
