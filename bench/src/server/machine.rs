//! What no process shows: how busy a core was, and what the kernel holds for connections.

use std::fs;
use std::time::{Duration, Instant};

use super::process::number;

/// A core's counters at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct CoreReading {
    at: Instant,
    /// Time it had nothing to run, and time the host gave its place to another machine.
    away: Duration,
}

impl CoreReading {
    /// Reads core `cpu`; `None`: there is none.
    pub(super) fn of(cpu: usize) -> Option<Self> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let ticks = away_ticks(&text, cpu)?;
        let per_second = rustix::param::clock_ticks_per_second();
        let away = Duration::from_millis(ticks * 1_000 / per_second);
        Some(Self { at: Instant::now(), away })
    }

    /// How long the core was busy since `before`: what is left of the time that passed. The kernel
    /// takes the moments at which a core falls idle and wakes, while it samples what a busy one
    /// does; so interrupts and softirqs are in it, whomever they were for, and however short. The
    /// counters are shown in hundredths of a second.
    pub(super) fn busy_since(&self, before: &Self) -> Duration {
        let elapsed = self.at.saturating_duration_since(before.at);
        elapsed.saturating_sub(self.away.saturating_sub(before.away))
    }
}

/// `idle`, `iowait` and `steal` of the line of a core. A thread that waits for its ring counts as
/// one that waits for IO, so `iowait` is idleness like the other.
fn away_ticks(stat: &str, cpu: usize) -> Option<u64> {
    let name = format!("cpu{cpu} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name))?;
    let fields: Vec<u64> =
        line.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    Some(fields.get(3)? + fields.get(4)? + fields.get(7).unwrap_or(&0))
}

/// Memory of the kernel that grows with connections, of the whole machine: slabs (sockets, files,
/// what waits in their buffers), stacks, page tables and per-core counters.
pub(super) fn kernel_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let kib = |name| number(&text, name);
    // `Percpu` is younger than the others.
    let sum = kib("Slab:")? + kib("KernelStack:")? + kib("PageTables:")?;
    Some((sum + kib("Percpu:").unwrap_or(0)) * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_iowait_and_steal_are_not_busy() {
        let stat =
            "cpu  9 9 9 9 9 9 9 9 0 0\ncpu1 1 2 3 40 5 6 7 8 0 0\ncpu10 0 0 0 1 0 0 0 0 0 0\n";
        assert_eq!(away_ticks(stat, 1), Some(53));
        assert_eq!(away_ticks(stat, 10), Some(1));
        assert_eq!(away_ticks(stat, 2), None);
    }

    #[test]
    fn busy_is_what_is_left() {
        let start = Instant::now();
        let reading = |seconds, away_ms| CoreReading {
            at: start + Duration::from_secs(seconds),
            away: Duration::from_millis(away_ms),
        };
        let busy = reading(10, 7_500).busy_since(&reading(5, 4_000));
        assert_eq!(busy, Duration::from_millis(1_500));
        // The counters come in steps, the time does not.
        assert_eq!(reading(6, 5_010).busy_since(&reading(5, 4_000)), Duration::ZERO);
    }

    #[test]
    fn this_machine_can_be_read() {
        assert!(CoreReading::of(0).is_some());
        assert!(CoreReading::of(100_000).is_none());
        assert!(kernel_bytes() > Some(1 << 20));
    }
}
