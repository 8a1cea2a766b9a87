//! Tests of the judgements, each on facts as another machine would give them.

use std::io;

use rustix::io::Errno;

use super::facts::{RingBarriers, RingTrial};
use super::refusal::explain;
use super::*;
use crate::config::{self, FlagSetting, Inputs};
use crate::limits;
use crate::ring::{TableFault, TableSizes};

/// A machine where all is well.
fn facts() -> Facts {
    Facts {
        kernel: "6.18.44-cloud".into(),
        ring: RingTrial::Works,
        table: Ok(()),
        barriers: RingBarriers { disabled: Some(0), ..RingBarriers::default() },
        open_files: (1_024, 2_000_000),
        local_ports: Some((32_768, 60_999)),
        somaxconn: Some(4_096),
        memory_available: Some(64 << 30),
        memory_limit: None,
    }
}

fn config_with(settings: &[(&str, &str)]) -> Config {
    let flag = |(key, value): &(&str, &str)| FlagSetting {
        flag: "--set",
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    };
    let flags = settings.iter().map(flag).collect();
    config::load(&Inputs { flags, ..Inputs::default() }).unwrap().config
}

fn finding(facts: &Facts, settings: &[(&str, &str)], check: &str) -> Finding {
    let report = judge::judge(facts, &config_with(settings));
    report.findings.into_iter().find(|finding| finding.check == check).unwrap()
}

fn verdict(facts: &Facts, settings: &[(&str, &str)], check: &str) -> Verdict {
    finding(facts, settings, check).verdict
}

fn refused(errno: Errno) -> io::Error {
    errno.into()
}

#[test]
fn a_good_machine_is_all_ok() {
    let report = judge::judge(&facts(), &config_with(&[("server.shards", "4")]));
    assert!(report.can_run);
    assert!(report.findings.iter().all(|f| f.verdict == Verdict::Ok), "{report}");
    assert_eq!(report.to_string().lines().count(), 8);
}

#[test]
fn kernels_are_tested_untested_or_refused() {
    let cases = [
        ("6.18.0", Verdict::Ok),
        ("6.1.0-13-amd64", Verdict::Ok),
        ("6.12.3", Verdict::Warning),
        ("7.0.0-rc1", Verdict::Warning),
        ("6.0.19", Verdict::Fatal),
        ("5.15.0-1-generic", Verdict::Fatal),
        ("4.4.0", Verdict::Fatal),
        ("odd", Verdict::Warning),
    ];
    for (kernel, expected) in cases {
        let facts = Facts { kernel: kernel.into(), ..facts() };
        assert_eq!(verdict(&facts, &[], "kernel"), expected, "{kernel}");
        assert_eq!(judge::judge(&facts, &config_with(&[])).can_run, expected != Verdict::Fatal);
    }
}

#[test]
fn a_refused_ring_is_told_apart_by_its_barrier() {
    use RingRefusalCause as Cause;
    let open = RingBarriers { disabled: Some(0), ..RingBarriers::default() };
    let filtered = RingBarriers { seccomp_filter: true, ..open.clone() };
    let off = RingBarriers { disabled: Some(2), may_administrate: true, ..filtered.clone() };
    let group = RingBarriers { disabled: Some(1), group: Some(7), ..open.clone() };
    let member = RingBarriers { in_group: true, ..group.clone() };
    let root = RingBarriers { may_administrate: true, seccomp_filter: true, ..group.clone() };
    let old = RingBarriers { disabled: None, seccomp_filter: true, ..RingBarriers::default() };
    let locked = RingBarriers { memlock: Some(8 << 20), ..open.clone() };
    let unlocked = RingBarriers { may_lock_memory: true, ..locked.clone() };
    let cases = [
        (Errno::NOSYS, &open, Cause::NotInKernel),
        (Errno::NOSYS, &filtered, Cause::HiddenBySeccomp),
        (Errno::PERM, &open, Cause::DeniedBySecurityModule),
        (Errno::ACCESS, &open, Cause::DeniedBySecurityModule),
        (Errno::PERM, &filtered, Cause::DeniedBySeccomp),
        (Errno::PERM, &old, Cause::DeniedBySeccomp),
        (Errno::PERM, &off, Cause::DisabledForAll),
        (Errno::PERM, &group, Cause::DisabledOutsideGroup),
        (Errno::PERM, &member, Cause::DeniedBySecurityModule),
        (Errno::PERM, &root, Cause::DeniedBySeccomp),
        (Errno::NOMEM, &locked, Cause::LockedMemory { limit: 8 << 20 }),
        (Errno::NOMEM, &unlocked, Cause::OutOfMemory),
        (Errno::NOMEM, &open, Cause::OutOfMemory),
        (Errno::INVAL, &open, Cause::KernelTooOld),
        (Errno::MFILE, &open, Cause::OpenFiles),
        (Errno::BUSY, &open, Cause::Other(16)),
    ];
    for (errno, barriers, expected) in cases {
        let refusal = explain(&refused(errno), barriers);
        assert_eq!(refusal.cause, expected, "{errno:?} behind {barriers:?}");
        assert!(!refusal.to_string().contains('\n') && !refusal.remedy.is_empty());
    }
    assert!(explain(&refused(Errno::PERM), &group).remedy.contains("group 7"));
    assert!(explain(&refused(Errno::PERM), &off).remedy.contains("io_uring_disabled=0"));
    assert_eq!(explain(&io::Error::other("no number"), &open).cause, Cause::Other(0));
}

#[test]
fn a_refused_ring_is_fatal_and_explained() {
    let mut facts = facts();
    facts.ring = RingTrial::Refused(refused(Errno::PERM));
    facts.barriers.seccomp_filter = true;
    let report = judge::judge(&facts, &config_with(&[]));
    assert!(!report.can_run);
    let text = report.to_string();
    assert!(text.contains("seccomp filter denies it"), "{text}");
    assert!(text.contains("Mend with: allow io_uring_setup"), "{text}");
    assert!(!text.contains("operations"), "what could not be asked is not claimed: {text}");
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["can_run"], false);
    assert_eq!(json["findings"][1]["verdict"], "fatal");
    assert_eq!(json["findings"][0]["remedy"], serde_json::Value::Null);
}

#[test]
fn a_missing_operation_is_fatal_and_named() {
    let facts = Facts { ring: RingTrial::MissingOperation("MSG_RING"), ..facts() };
    let found = finding(&facts, &[], "io_uring");
    assert_eq!(found.verdict, Verdict::Fatal);
    assert!(found.found.contains("MSG_RING"));
}

#[test]
fn locked_memory_is_counted_as_the_kernel_counts_it() {
    // Measured: 8 MiB hold 60 rings of 1024/4096 and 15 of 4096/16384. With each shard come an
    // acceptor's ring (52 KiB) and a ring of 512 buffers (8 KiB): 136 + 52 + 8 = 196 KiB.
    let mut facts = facts();
    facts.barriers.memlock = Some(8 << 20);
    let shards = |count: &'static str| [("server.shards", count)];
    assert_eq!(verdict(&facts, &shards("41"), "locked memory"), Verdict::Ok);
    assert_eq!(verdict(&facts, &shards("42"), "locked memory"), Verdict::Warning);
    // Halved down to 256/1024, a ring takes 36 KiB, so a shard 96.
    facts.barriers.memlock = Some(96 * 1024);
    assert_eq!(verdict(&facts, &shards("1"), "locked memory"), Verdict::Warning);
    assert_eq!(verdict(&facts, &shards("2"), "locked memory"), Verdict::Fatal);
    facts.barriers.memlock = Some(96 * 1024 - 1);
    assert_eq!(verdict(&facts, &shards("1"), "locked memory"), Verdict::Fatal);
    facts.barriers.may_lock_memory = true;
    assert_eq!(verdict(&facts, &shards("2"), "locked memory"), Verdict::Ok);
}

#[test]
fn open_files_bound_the_clients() {
    let verdict_at = |hard, connections| {
        let facts = Facts { open_files: (hard, hard), ..facts() };
        let settings = [
            ("server.shards", "2"),
            ("server.descriptors", "ordinary"),
            ("limits.connections", connections),
        ];
        finding(&facts, &settings, "open files")
    };
    // 64 + 2 * 8 are reserved.
    assert_eq!(verdict_at(80, "1").verdict, Verdict::Fatal);
    assert_eq!(verdict_at(81, "1").verdict, Verdict::Ok);
    assert_eq!(verdict_at(256, "177").verdict, Verdict::Warning);
    assert_eq!(verdict_at(256, "176").verdict, Verdict::Ok);
    assert_eq!(verdict_at(u64::MAX, "1000000").verdict, Verdict::Ok);
    assert!(verdict_at(256, "1000").meaning.contains("about 176 clients of the 1000"));
    assert!(verdict_at(256, "1000").remedy.unwrap().contains("ulimit -Hn 1080"));
}

#[test]
fn table_slots_make_room_past_the_open_file_limit() {
    let found = |table, shards, descriptors, check| {
        let facts = Facts { open_files: (256, 256), table, ..facts() };
        let settings = [
            ("server.shards", shards),
            ("server.descriptors", descriptors),
            ("limits.connections", "1000"),
        ];
        finding(&facts, &settings, check)
    };
    let fails = || Err(TableFault::LateClose);
    // Half of 256 - 96 for 4 shards, and 250 slots a shard.
    let text = found(Ok(()), "4", "auto", "table slots").meaning;
    assert_eq!(text, "each shard holds 20 clients by descriptors, then 250 in slots");
    assert_eq!(found(Ok(()), "4", "auto", "open files").verdict, Verdict::Ok);
    assert_eq!(found(Ok(()), "4", "table", "open files").verdict, Verdict::Ok);
    // A table has at most as many slots as descriptors may be open.
    let short = found(Ok(()), "3", "table", "open files");
    assert!(short.meaning.contains("about 768 clients of the 1000"), "{}", short.meaning);
    assert!(short.remedy.unwrap().contains("raise server.shards"));
    // Where slots do not work, all is as without them, unless nothing else will do.
    assert_eq!(found(fails(), "4", "auto", "open files").verdict, Verdict::Warning);
    assert_eq!(found(fails(), "4", "auto", "table slots").verdict, Verdict::Ok);
    assert_eq!(found(fails(), "4", "ordinary", "table slots").verdict, Verdict::Ok);
    let fatal = found(fails(), "4", "table", "table slots");
    assert_eq!(fatal.verdict, Verdict::Fatal);
    assert!(fatal.found.contains("6.13"), "{}", fatal.found);
}

#[test]
fn descriptors_are_enough_for_whom_they_are_enough() {
    let wanted = |descriptors, connections, open_files| {
        let settings = [
            ("server.shards", "2"),
            ("server.descriptors", descriptors),
            ("limits.connections", connections),
        ];
        wanted_table(&config_with(&settings), open_files)
    };
    assert_eq!(wanted("auto", "176", 256), None);
    let half = TableSizes { slots: 89, ordinary_max: 44 };
    assert_eq!(wanted("auto", "177", 256), Some(half));
    assert_eq!(wanted("ordinary", "177", 256), None);
    assert_eq!(wanted("table", "10", 256), Some(TableSizes { slots: 5, ordinary_max: 0 }));
    assert_eq!(wanted("auto", "1000000", u64::MAX), None);
    let most = TableSizes { slots: limits::TABLE_SLOTS_MAX, ordinary_max: 0 };
    assert_eq!(wanted("table", "4000000", u64::MAX), Some(most));
}

#[test]
fn ports_backlog_and_memory_warn_when_short() {
    let mut short = facts();
    short.local_ports = Some((40_000, 40_099));
    short.somaxconn = Some(128);
    short.memory_limit = Some(1 << 30);
    for check in ["local ports", "backlog", "memory"] {
        let found = finding(&short, &[], check);
        assert_eq!(found.verdict, Verdict::Warning, "{check}");
        assert!(found.remedy.is_some(), "{check}");
    }
    assert_eq!(verdict(&short, &[("limits.connections", "104857")], "memory"), Verdict::Ok);
    assert_eq!(verdict(&short, &[("limits.connections", "104858")], "memory"), Verdict::Warning);
    assert!(judge::judge(&short, &config_with(&[])).can_run);
}

#[test]
fn what_cannot_be_read_is_left_out() {
    let mut unknown = facts();
    unknown.local_ports = None;
    unknown.somaxconn = None;
    unknown.memory_available = None;
    assert_eq!(judge::judge(&unknown, &config_with(&[])).findings.len(), 5);
}

#[test]
fn this_machine_can_be_examined() {
    let report = examine(&config_with(&[("limits.sq_entries", "8"), ("limits.cq_entries", "64")]));
    assert!(report.findings.len() >= 4, "{report}");
    assert!(report.to_string().lines().count() == report.findings.len());
}

#[test]
fn the_soft_limit_is_raised_to_the_hard_one() {
    let raised = raise_open_files();
    assert_eq!(raised.after, raised.hard);
    assert!(raised.before <= raised.after);
    assert_eq!(raise_open_files().before, raised.after);
}
