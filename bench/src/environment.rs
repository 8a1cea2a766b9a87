//! The machine a run was made on, as far as it bears on the figures.

use std::fs;

use rustix::process::{Resource, getrlimit};
use serde::Serialize;

/// The machine, and what this process may use of it. A field that cannot be read is absent.
#[derive(Debug, Serialize)]
pub(crate) struct Environment {
    kernel: String,
    cpu: Option<String>,
    /// Those of the machine, not those this process is pinned to.
    cores: usize,
    /// Cores this process may run on, such as `0-3,6`.
    cores_allowed: Option<String>,
    memory_bytes: Option<u64>,
    congestion_control: Option<String>,
    limits: Limits,
}

#[derive(Debug, Serialize)]
struct Limits {
    /// Open files of this process: what it may have, and what it may raise that to; absent:
    /// without a limit.
    open_files: Option<u64>,
    open_files_hard: Option<u64>,
    /// Connections that wait to be accepted, per listener.
    somaxconn: Option<u64>,
    /// First and last source port of one address.
    local_ports: Option<(u64, u64)>,
    /// Connections the firewall tracks, where it does.
    conntrack: Option<u64>,
}

impl Environment {
    /// Reads it.
    pub(crate) fn read() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory_kib = field("/proc/meminfo", "MemTotal").and_then(|text| {
            text.strip_suffix("kB").and_then(|kib| kib.trim().parse::<u64>().ok())
        });
        Self {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            cpu: field("/proc/cpuinfo", "model name"),
            cores: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            cores_allowed: field("/proc/self/status", "Cpus_allowed_list"),
            memory_bytes: memory_kib.map(|kib| kib * 1024),
            congestion_control: setting("net/ipv4/tcp_congestion_control"),
            limits: Limits::read(),
        }
    }
}

impl Limits {
    fn read() -> Self {
        let open_files = getrlimit(Resource::Nofile);
        let ports = setting("net/ipv4/ip_local_port_range");
        let ports = ports.as_deref().and_then(|text| {
            let mut numbers = text.split_ascii_whitespace().map(str::parse);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
        });
        let number = |name| setting(name).and_then(|text| text.parse().ok());
        Self {
            open_files: open_files.current,
            open_files_hard: open_files.maximum,
            somaxconn: number("net/core/somaxconn"),
            local_ports: ports,
            conntrack: number("net/netfilter/nf_conntrack_max"),
        }
    }
}

/// A setting of the kernel.
fn setting(name: &str) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().to_owned())
}

/// What follows `name:` in the first such line of a file of `/proc`.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim_start().strip_prefix(':')?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_says_what_it_is() {
        let environment = Environment::read();
        assert!(environment.cores > 0 && !environment.kernel.is_empty());
        assert!(environment.memory_bytes > Some(1 << 20));
        assert!(environment.cores_allowed.is_some());
        assert!(environment.limits.local_ports.is_some_and(|(first, last)| first < last));
    }
}
