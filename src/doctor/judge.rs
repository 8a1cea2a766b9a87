//! From facts to findings. Pure: the same facts and settings give the same report.

use super::facts::{Facts, RingTrial};
use super::report::{Finding, Report, Verdict};
use super::{descriptors, refusal};
use crate::config::{Config, Descriptors};
use crate::limits;
use crate::ring::TableSizes;

/// Judges `facts` for a gateway with the settings of `config`.
pub(super) fn judge(facts: &Facts, config: &Config) -> Report {
    let findings = [
        Some(judge_kernel(&facts.kernel)),
        Some(judge_ring(facts)),
        Some(judge_locked_memory(facts, config)),
        Some(judge_open_files(facts, config)),
        matches!(facts.ring, RingTrial::Works).then(|| judge_table(facts, config)),
        facts.local_ports.map(judge_local_ports),
        facts.somaxconn.map(judge_backlog),
        judge_memory(facts, config),
    ];
    Report::new(findings.into_iter().flatten().collect())
}

fn judge_kernel(release: &str) -> Finding {
    let found = format!("Linux {release}");
    let newer = |remedy: &str| Some(format!("upgrade to Linux {remedy}"));
    let least = format!("{}.{} or newer", KERNEL_MIN.0, KERNEL_MIN.1);
    match version(release) {
        None => warning("kernel", found, "its version cannot be read; untested".into(), None),
        Some(version) if version < KERNEL_MIN => {
            let meaning = format!("too old: the gateway needs {least}");
            fatal("kernel", found, meaning, newer(&least))
        }
        Some(version) if KERNELS_TESTED.contains(&version) => {
            ok("kernel", found, "new enough, and tested".into())
        }
        Some(_) => {
            let tested: Vec<String> =
                KERNELS_TESTED.iter().map(|(major, minor)| format!("{major}.{minor}")).collect();
            let meaning = format!(
                "new enough, but untested: nobody has run the tests on it, only on {}",
                tested.join(", ")
            );
            warning("kernel", found, meaning, Some("run scripts/test on this machine".into()))
        }
    }
}

fn judge_ring(facts: &Facts) -> Finding {
    match &facts.ring {
        RingTrial::Works => {
            let found = "works with SINGLE_ISSUER and DEFER_TASKRUN, all operations present";
            ok("io_uring", found.into(), "shards can build their rings".into())
        }
        RingTrial::MissingOperation(name) => {
            let found = format!("works, but the operation {name} is missing");
            let meaning = "the gateway cannot run without it";
            fatal("io_uring", found, meaning.into(), Some("upgrade to Linux 6.1 or newer".into()))
        }
        RingTrial::Refused(error) => {
            let refusal = refusal::explain(error, &facts.barriers);
            let meaning = format!("{}; the gateway cannot run", refusal.cause);
            fatal("io_uring", format!("refused ({error})"), meaning, Some(refusal.remedy))
        }
    }
}

fn judge_locked_memory(facts: &Facts, config: &Config) -> Finding {
    let shards = u64::from(config.server.shards.get());
    let needed_with = |sq: u32, cq: u32| {
        let shard = ring_locked_bytes(sq, cq) + pages(u64::from(config.limits.recv_buffers) * 16);
        shards * (shard + ring_locked_bytes(limits::ACCEPT_SQ_ENTRIES, limits::ACCEPT_CQ_ENTRIES))
    };
    let (sq, cq) = (config.limits.sq_entries, config.limits.cq_entries);
    let needed = needed_with(sq, cq);
    let (smallest_sq, smallest_cq) = smallest_ring(sq, cq);
    let least = needed_with(smallest_sq, smallest_cq);
    let limit = match facts.barriers.memlock {
        Some(limit) if !facts.barriers.may_lock_memory => limit,
        _ => {
            let found = format!("not counted for this process ({} needed)", kib(needed));
            return ok("locked memory", found, "rings may take what they need".into());
        }
    };
    let found = format!(
        "limit {}, {} needed for {shards} shards with rings of {sq}/{cq}",
        kib(limit),
        kib(needed)
    );
    let remedy = Some(
        "ulimit -l unlimited (docker run --ulimit memlock=-1; systemd: LimitMEMLOCK=infinity), or \
         lower limits.sq_entries, limits.cq_entries or server.shards"
            .to_owned(),
    );
    if needed <= limit {
        let meaning = "enough, unless other processes of this user have rings too";
        ok("locked memory", found, meaning.into())
    } else if least <= limit {
        let meaning = "too little: rings are built smaller than configured";
        warning("locked memory", found, meaning.into(), remedy)
    } else {
        let meaning = format!("too little even for the smallest rings ({})", kib(least));
        fatal("locked memory", found, meaning, remedy)
    }
}

fn judge_open_files(facts: &Facts, config: &Config) -> Finding {
    let (soft, hard) = facts.open_files;
    let reserved = descriptors::reserved(config);
    let wanted = u64::from(config.limits.connections);
    let found = format!("soft limit {}, hard limit {}", limit_text(soft), limit_text(hard));
    let enough = wanted.saturating_add(reserved);
    let table = descriptors::wanted_table(config, hard).filter(|_| facts.table.is_ok());
    let or_shards = if table.is_some() { ", raise server.shards" } else { "" };
    let remedy = || {
        Some(format!(
            "ulimit -Hn {enough} as root (docker run --ulimit nofile={enough}; systemd: \
             LimitNOFILE={enough}){or_shards}, or lower limits.connections"
        ))
    };
    let clients = descriptors::client_room(config, hard, table);
    let in_slots = if table.is_some() { ", with table slots" } else { "" };
    if hard <= reserved {
        let meaning = format!("the gateway needs {reserved} for itself; no client could connect");
        fatal("open files", found, meaning, remedy())
    } else if clients < wanted {
        let meaning = format!(
            "serve raises the soft limit to the hard one: room for about {clients} clients of the \
             {wanted} configured{in_slots}"
        );
        warning("open files", found, meaning, remedy())
    } else {
        let meaning = format!(
            "room for the {wanted} clients configured{in_slots}; serve raises the soft limit to \
             the hard one"
        );
        ok("open files", found, meaning)
    }
}

/// Slots that fail are a fault only where they are asked for.
fn judge_table(facts: &Facts, config: &Config) -> Finding {
    let wanted = descriptors::wanted_table(config, facts.open_files.1);
    let setting = config.server.descriptors;
    let check = "table slots";
    match (&facts.table, wanted) {
        (Ok(()), None) => {
            let meaning = match setting {
                Descriptors::Ordinary => "not used: server.descriptors is \"ordinary\"",
                _ => "not needed: there are descriptors for the clients configured",
            };
            ok(check, "work".into(), meaning.into())
        }
        (Ok(()), Some(TableSizes { slots, ordinary_max })) => {
            let meaning = format!(
                "each shard holds {ordinary_max} clients by descriptors, then {slots} in slots"
            );
            ok(check, "work".into(), meaning)
        }
        (Err(fault), None) => ok(check, format!("not usable ({fault})"), "not needed".into()),
        (Err(fault), Some(_)) => {
            let found = format!("not usable ({fault})");
            let remedy = "upgrade to Linux 6.13 or newer".to_owned();
            if setting == Descriptors::Table {
                let meaning = "server.descriptors is \"table\"; the gateway cannot run";
                return fatal(check, found, meaning.into(), Some(remedy));
            }
            let meaning = "clients are held by descriptors alone, see open files";
            ok(check, found, meaning.into())
        }
    }
}

fn judge_local_ports((first, last): (u16, u16)) -> Finding {
    let count = u32::from(last.saturating_sub(first)) + 1;
    let found = format!("{first} to {last}");
    let meaning = format!(
        "a load test from this machine opens at most {count} connections per pair of addresses; \
         serving clients needs none of them"
    );
    if count >= LOCAL_PORTS_USUAL {
        return ok("local ports", found, meaning);
    }
    let remedy = "sysctl -w net.ipv4.ip_local_port_range='1024 65535'";
    warning("local ports", found, meaning, Some(remedy.into()))
}

fn judge_backlog(somaxconn: u64) -> Finding {
    let wanted = u64::from(limits::LISTEN_BACKLOG.unsigned_abs());
    let found = format!("net.core.somaxconn {somaxconn}");
    if somaxconn >= wanted {
        let meaning = format!("the whole backlog of {wanted} connections may wait for accept");
        return ok("backlog", found, meaning);
    }
    let meaning = format!(
        "only {somaxconn} connections may wait for accept instead of {wanted}; when all clients \
         reconnect at once, more of them have to try again"
    );
    warning("backlog", found, meaning, Some(format!("sysctl -w net.core.somaxconn={wanted}")))
}

fn judge_memory(facts: &Facts, config: &Config) -> Option<Finding> {
    let available = facts.memory_available?;
    let usable = facts.memory_limit.map_or(available, |limit| limit.min(available));
    let found = match facts.memory_limit {
        Some(limit) => format!("{} available, control group limit {}", mib(available), mib(limit)),
        None => format!("{} available", mib(available)),
    };
    let clients = usable / CONNECTION_BYTES;
    let wanted = u64::from(config.limits.connections);
    if clients >= wanted {
        let meaning = format!("room for the {wanted} clients configured while they are idle");
        return Some(ok("memory", found, meaning));
    }
    let meaning = format!(
        "room for about {clients} idle clients of the {wanted} configured; past that the kernel \
         may kill the process"
    );
    let remedy = format!("set limits.connections to {clients} or less, or add memory");
    Some(warning("memory", found, meaning, Some(remedy)))
}

/// What `ring` comes down to while it is refused memory: both queues halved, as often as allowed.
fn smallest_ring(sq_entries: u32, cq_entries: u32) -> (u32, u32) {
    let (mut sq, mut cq) = (sq_entries, cq_entries);
    while sq / 2 >= limits::SQ_ENTRIES_MIN {
        (sq, cq) = (sq / 2, cq / 2);
    }
    (sq, cq)
}

/// Bytes the kernel counts as locked for a ring: the submission entries (64 bytes each) in pages of
/// their own, and the two queues (4 and 16 bytes an entry) behind a header in others.
fn ring_locked_bytes(sq_entries: u32, cq_entries: u32) -> u64 {
    let (sq, cq) = (sq_entries.next_power_of_two(), cq_entries.next_power_of_two());
    let (sq, cq) = (u64::from(sq), u64::from(cq));
    pages(sq * 64) + pages(RING_HEADER_BYTES + cq * 16 + sq * 4)
}

fn pages(bytes: u64) -> u64 {
    bytes.next_multiple_of(PAGE_BYTES)
}

/// Major and minor of `6.18.44-fc`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn kib(bytes: u64) -> String {
    format!("{} KiB", bytes / 1024)
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn limit_text(limit: u64) -> String {
    if limit == u64::MAX { "none".to_owned() } else { limit.to_string() }
}

fn ok(check: &'static str, found: String, meaning: String) -> Finding {
    Finding { check, verdict: Verdict::Ok, found, meaning, remedy: None }
}

fn warning(check: &'static str, found: String, meaning: String, remedy: Option<String>) -> Finding {
    Finding { check, verdict: Verdict::Warning, found, meaning, remedy }
}

fn fatal(check: &'static str, found: String, meaning: String, remedy: Option<String>) -> Finding {
    Finding { check, verdict: Verdict::Fatal, found, meaning, remedy }
}

/// The oldest kernel with every feature the gateway uses; the last of them, `DEFER_TASKRUN`, is
/// of 6.1.
const KERNEL_MIN: (u32, u32) = (6, 1);

/// Kernels the tests have been run on: all of them, or those that `scripts/kernel-smoke` takes.
const KERNELS_TESTED: &[(u32, u32)] = &[(6, 1), (6, 18)];

/// Header of the two queues: heads, tails, masks and counters on cache lines of their own.
const RING_HEADER_BYTES: u64 = 320;

const PAGE_BYTES: u64 = 4_096;

/// Ports in Linux's default range, 32768 to 60999.
const LOCAL_PORTS_USUAL: u32 = 28_232;

/// Memory of one idle connection, the kernel's share included, rounded up: 9.6 KB were measured for
/// both ends of a loopback connection with a receive armed, and 0.5 KiB is the goal for ours.
const CONNECTION_BYTES: u64 = 10 * 1024;
