//! What the server used, a message and a connection.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use crate::server::ServerUse;

/// The part `server` of the report. The field names are those of the JSON form.
#[derive(Debug, Serialize)]
pub(super) struct Server {
    pid: u32,
    cpu_percent: f64,
    cpu_us_per_message: Option<f64>,
    user_us_per_message: Option<f64>,
    system_us_per_message: Option<f64>,
    core_busy_percent: Option<f64>,
    core_busy_us_per_message: Option<f64>,
    /// The worse of CPU time and core time.
    counted_us_per_message: Option<f64>,
    voluntary_switches: u64,
    involuntary_switches: u64,
    rss_bytes: u64,
    rss_per_connection_bytes: Option<f64>,
    kernel_per_connection_bytes: Option<f64>,
}

impl Server {
    /// What `used` comes to over the measured time, for `messages` received in it and `opened`
    /// connections.
    pub(super) fn new(
        pid: u32,
        used: &ServerUse,
        measured: Duration,
        messages: u64,
        opened: u32,
    ) -> Self {
        let window_ns = measured.as_nanos() as f64;
        let us = |ns: f64| (messages > 0).then(|| ns / 1e3 / messages as f64);
        let cpu_ns = used.cpu_ns as f64;
        let user_ns = used.user_share.map(|share| share * cpu_ns);
        let busy_ns = used.core_busy.map(|busy| busy.as_nanos() as f64);
        let each = |bytes: u64| bytes as f64 / f64::from(opened);
        Self {
            pid,
            cpu_percent: 100.0 * cpu_ns / window_ns,
            cpu_us_per_message: us(cpu_ns),
            user_us_per_message: user_ns.and_then(us),
            system_us_per_message: user_ns.and_then(|user_ns| us(cpu_ns - user_ns)),
            // The readings are a little further apart than the window is long.
            core_busy_percent: busy_ns.map(|busy_ns| (100.0 * busy_ns / window_ns).min(100.0)),
            core_busy_us_per_message: busy_ns.and_then(us),
            counted_us_per_message: us(busy_ns.map_or(cpu_ns, |busy_ns| busy_ns.max(cpu_ns))),
            voluntary_switches: used.voluntary_switches,
            involuntary_switches: used.involuntary_switches,
            rss_bytes: used.rss_bytes,
            rss_per_connection_bytes: (opened > 0).then(|| each(used.rss_growth_bytes)),
            // The reading is of the whole machine, and holds both ends of each connection.
            kernel_per_connection_bytes: used
                .kernel_growth_bytes
                .filter(|_| opened >= KERNEL_CONNECTIONS_MIN)
                .map(|bytes| each(bytes) / 2.0),
        }
    }

    /// How much of a core it used, by the worse of the two counts.
    pub(super) fn busy_percent(&self) -> f64 {
        self.core_busy_percent.map_or(self.cpu_percent, |busy| busy.max(self.cpu_percent))
    }

    /// Its lines of the table for people; `unit` is what was received.
    pub(super) fn write_text(&self, unit: &str, out: &mut String) -> std::fmt::Result {
        write!(out, "server       {:.1} % of a core", self.cpu_percent)?;
        if let Some(us) = self.cpu_us_per_message {
            write!(out, ", {us:.2} us a {unit}")?;
        }
        if let (Some(user), Some(system)) = (self.user_us_per_message, self.system_us_per_message) {
            write!(out, " (sampled: {user:.2} user, {system:.2} system)")?;
        }
        writeln!(out)?;
        if let Some(busy) = self.core_busy_percent {
            write!(out, "             its core {busy:.1} % busy, softirqs included")?;
            if let Some(us) = self.core_busy_us_per_message {
                write!(out, ", {us:.2} us a {unit}")?;
            }
            if let Some(us) = self.counted_us_per_message {
                write!(out, "; the worse of both counts: {us:.2} us")?;
            }
            writeln!(out)?;
        }
        let Self { voluntary_switches, involuntary_switches, .. } = self;
        writeln!(
            out,
            "             context switches {voluntary_switches} voluntary, {involuntary_switches} \
             involuntary"
        )?;
        write!(out, "             {:.1} MiB resident", self.rss_bytes as f64 / 1_048_576.0)?;
        if let Some(bytes) = self.rss_per_connection_bytes {
            write!(out, ", grown by {bytes:.0} bytes a connection")?;
        }
        if let Some(bytes) = self.kernel_per_connection_bytes {
            write!(out, "; the kernel by {bytes:.0} for its end of each")?;
        }
        writeln!(out)
    }
}

/// Connections from which on the kernel's growth is theirs and not the machine's other doings.
const KERNEL_CONNECTIONS_MIN: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn used() -> ServerUse {
        ServerUse {
            cpu_ns: 2_000_000,
            user_share: Some(0.25),
            core_busy: Some(Duration::from_millis(3)),
            voluntary_switches: 10,
            involuntary_switches: 1,
            rss_bytes: 1 << 20,
            rss_growth_bytes: 512_000,
            kernel_growth_bytes: Some(6_000_000),
        }
    }

    #[test]
    fn the_worse_count_is_the_one_that_counts() {
        let second = Duration::from_secs(1);
        let server = Server::new(1, &used(), second, 1_000, 1_000);
        assert_eq!(server.cpu_us_per_message, Some(2.0));
        assert_eq!(server.user_us_per_message, Some(0.5));
        assert_eq!(server.system_us_per_message, Some(1.5));
        assert_eq!(server.core_busy_us_per_message, Some(3.0));
        assert_eq!(server.counted_us_per_message, Some(3.0));
        assert!((server.busy_percent() - 0.3).abs() < 1e-9);
        let mut text = String::new();
        server.write_text("message", &mut text).expect("a string");
        assert!(text.contains("the worse of both counts: 3.00 us"), "{text}");
        assert!(text.contains("sampled: 0.50 user, 1.50 system"), "{text}");
        // Threads on other cores than the one named cannot be hidden by it.
        let idle_core = ServerUse { core_busy: Some(Duration::from_millis(1)), ..used() };
        let server = Server::new(1, &idle_core, second, 1_000, 1_000);
        assert_eq!(server.counted_us_per_message, Some(2.0));
        let unnamed = ServerUse { core_busy: None, user_share: None, ..used() };
        let server = Server::new(1, &unnamed, second, 1_000, 1_000);
        assert_eq!(server.counted_us_per_message, Some(2.0));
        assert!(server.core_busy_us_per_message.is_none() && server.user_us_per_message.is_none());
    }

    #[test]
    fn memory_is_that_of_one_end() {
        let second = Duration::from_secs(1);
        let server = Server::new(1, &used(), second, 0, 1_000);
        assert_eq!(server.rss_per_connection_bytes, Some(512.0));
        assert_eq!(server.kernel_per_connection_bytes, Some(3_000.0));
        assert_eq!(server.cpu_us_per_message, None);
        let few = Server::new(1, &used(), second, 0, KERNEL_CONNECTIONS_MIN - 1);
        assert!(few.kernel_per_connection_bytes.is_none());
        assert!(Server::new(1, &used(), second, 0, 0).rss_per_connection_bytes.is_none());
    }
}
