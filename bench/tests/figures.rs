//! What a run says of the server and does with the machine: cores, memory, descriptors, output,
//! and which exit code counts when several apply.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use common::gateway::Gateway;
use common::{PROGRAM, assert_verdict, bench, bench_with};
use serde_json::Value;

#[test]
fn a_server_on_a_core_of_its_own_is_counted_both_ways() {
    let core = cores()[0].to_string();
    let gateway = Gateway::behind(&["taskset", "-c", &core], &[]);
    let (pid, url) = (gateway.pid().to_string(), echo_url(&gateway));
    let arguments = ["echo", "--url", &url, "--rate", "2000", "--duration", "2s", "--warm-up=0s"];
    let server = ["--server-pid", &pid, "--server-cpu", &core];
    let (code, report) = bench(&[&arguments[..], &server].concat());
    assert_verdict(code, &report, 0);
    let figure = |name: &str| {
        report["server"][name].as_f64().unwrap_or_else(|| panic!("{name} in {report:#}"))
    };
    let (cpu, core) = (figure("cpu_us_per_message"), figure("core_busy_us_per_message"));
    assert!(cpu > 0.0 && core > 0.0, "{report:#}");
    assert_eq!(figure("counted_us_per_message"), cpu.max(core), "{report:#}");
    let halves = figure("user_us_per_message") + figure("system_us_per_message");
    assert!((halves / cpu - 1.0).abs() < 1e-9, "{report:#}");
    assert!(figure("voluntary_switches") > 0.0, "{report:#}");
}

#[test]
fn a_server_that_may_run_elsewhere_is_refused_with_the_remedy() {
    let gateway = Gateway::dev(&[]);
    let (pid, url) = (gateway.pid().to_string(), echo_url(&gateway));
    let server = ["--server-pid", &pid, "--server-cpu", "0", "--connections", "1"];
    let said = refusal(&[&["idle", "--url", &url, "--hold", "10ms"][..], &server].concat());
    assert!(said.contains(&format!("taskset -acp 0 {pid}")), "{said}");
}

#[test]
fn a_crowd_shows_what_a_connection_costs_the_kernel() {
    let gateway = Gateway::dev(&[]);
    let (pid, url) = (gateway.pid().to_string(), echo_url(&gateway));
    let arguments = ["idle", "--url", &url, "--connections", "1000", "--hold", "100ms"];
    let (code, report) = bench(&[&arguments[..], &["--server-pid", &pid]].concat());
    assert_eq!(code, 0, "{report}");
    // What else the machine frees or takes meanwhile is in it: no more can be said of its size.
    assert!(report["server"]["kernel_per_connection_bytes"].is_number(), "{report}");
    assert!(report["server"]["rss_per_connection_bytes"].as_f64() > Some(0.0), "{report}");
}

#[test]
fn threads_are_bound_to_the_cores_named_and_stay_off_the_servers() {
    let cores = cores();
    let [server, .., own] = cores[..] else { panic!("this test needs two cores: {cores:?}") };
    let gateway = Gateway::behind(&["taskset", "-c", &server.to_string()], &[]);
    let (pid, url) = (gateway.pid().to_string(), echo_url(&gateway));
    let server = server.to_string();
    let apart = ["--server-pid", &pid, "--server-cpu", &server];
    for (pin, bound) in [(&["--pin"][..], 2), (&[&format!("--pin={own}")], 2), (&[], 0)] {
        let mut child = Command::new(PROGRAM)
            .args(["idle", "--url", &url, "--connections", "2", "--threads", "2", "--quiet"])
            .args(["--hold", "1m"])
            .args(apart)
            .args(pin)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("text");
        let lists: Vec<_> = allowed_of_threads(child.id())
            .into_iter()
            .filter(|(name, _)| name == "generator")
            .map(|(_, list)| list)
            .collect();
        child.kill().expect("it runs");
        child.wait().expect("it was killed");
        assert_eq!(line, "holding 2 of 2 connections\n");
        assert_eq!(lists.len(), 2, "{lists:?}");
        let on_one = lists.iter().filter(|list| list.parse::<usize>().is_ok()).count();
        if bound == 2 || cores.len() == 2 {
            assert_eq!(on_one, 2, "{pin:?}: {lists:?}");
        }
        if pin.len() == 1 && pin[0] != "--pin" {
            assert!(lists.iter().all(|list| *list == own.to_string()), "{lists:?}");
        }
        assert!(lists.iter().all(|list| *list != server), "{lists:?}");
    }
}

#[test]
fn cores_out_of_reach_are_usage() {
    let gateway = Gateway::dev(&[]);
    let url = echo_url(&gateway);
    let idle = ["idle", "--url", &url, "--connections", "1", "--hold", "10ms"];
    let said = refusal(&[&idle[..], &["--pin=1000"]].concat());
    assert!(said.contains("may not run on core 1000"), "{said}");
    let said = refusal(&[&idle[..], &["--pin=x"]].concat());
    assert!(said.contains("write cores such as"), "{said}");
    let said = refusal(&[&idle[..], &["--server-cpu", "0"]].concat());
    assert!(said.contains("--server-pid"), "{said}");
}

#[test]
fn quiet_is_quiet_and_otherwise_each_second_has_its_line() {
    let gateway = Gateway::dev(&[]);
    let (echo, [subscribe, publish]) = (echo_url(&gateway), gateway.urls());
    for arguments in [
        &["echo", "--url", &echo, "--duration", "100ms", "--rate", "100"][..],
        &["idle", "--url", &echo, "--hold", "100ms"],
        &["connect", "--url", &echo, "--rate", "1000"],
        &[
            "fanout",
            "--url",
            &subscribe,
            "--publish",
            &publish,
            "--rate",
            "10",
            "--duration",
            "200ms",
        ],
    ] {
        let run = |more: &[&str]| {
            let run = Command::new(PROGRAM).args(arguments).args(more).output().expect("it starts");
            (run.status.code(), String::from_utf8(run.stderr).expect("text"))
        };
        let (code, said) = run(&["--quiet"]);
        assert!(matches!(code, Some(0 | 3)), "{arguments:?}: {said}");
        assert_eq!(said, "", "{arguments:?}");
        let (_, said) = run(&[]);
        let last = said.lines().last().expect("a line");
        assert!(last.contains(" s  open ") && last.contains("errors 0"), "{said}");
    }
}

#[test]
fn handshakes_have_intervals_and_files_of_their_own() {
    let gateway = Gateway::dev(&[]);
    let url = echo_url(&gateway);
    let at = |name| format!("{}/{}-{name}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let files = ["run.hlog", "run.hgrm", "run.raw.hgrm", "run.html"].map(at);
    let arguments = ["connect", "--url", &url, "--connections", "300", "--rate", "200"];
    let outputs = ["--hlog", &files[0], "--hgrm", &files[1], "--html", &files[3], "--threads=2"];
    let (code, report) = bench(&[&arguments[..], &outputs].concat());
    assert_verdict(code, &report, 0);
    let intervals = report["intervals"].as_array().expect("intervals");
    let started = |interval: &Value| interval["sent"].as_u64().expect("a count");
    assert_eq!(intervals.iter().map(started).sum::<u64>(), 300, "{report:#}");
    // The last is due after 1.495 s.
    assert!(intervals.len() >= 2, "{report:#}");
    assert!(intervals[0]["latency_us"]["p50"].as_f64() > Some(0.0), "{report:#}");
    let [log, due, sent, page] = files.each_ref().map(|file| fs::read_to_string(file).expect(file));
    assert_eq!(log.lines().filter(|line| line.starts_with("Tag=due,")).count(), intervals.len());
    assert!(due.contains("Total count    =          300"), "{due}");
    assert!(sent.contains("Total count    =          300"), "{sent}");
    assert!(page.contains("Handshakes a second over time"), "no plot");
    files.iter().for_each(|file| fs::remove_file(file).expect("just read"));
    let said = refusal(&["connect", "--url", &url, "--ramp", "1s"]);
    assert!(said.contains("leave --ramp out"), "{said}");
}

#[test]
fn a_fan_out_explains_a_shortage_of_descriptors() {
    let gateway = Gateway::dev(&[]);
    let [subscribe, publish] = gateway.urls();
    let arguments = ["fanout", "--url", &subscribe, "--publish", &publish, "--rate", "10"];
    let more = ["--subscribers", "200", "--duration", "100ms", "--warm-up", "0s"];
    let (code, report) = bench_with("ulimit -n 64", &[&arguments[..], &more].concat());
    assert_verdict(code, &report, 4);
    let connections = &report["connections"];
    let opened = connections["opened"].as_u64().expect("a count");
    assert!((10..64).contains(&opened), "{report}");
    assert_eq!(connections["failed"], 200 - opened, "{report}");
    let causes = connections["causes"].as_object().expect("causes");
    assert!(causes.keys().all(|cause| cause.contains("ulimit -Hn")), "{report}");
}

/// 1 before 3 before 4 before 2.
#[test]
fn the_gravest_exit_code_counts() {
    let gateway = Gateway::dev(&[]);
    let url = echo_url(&gateway);
    let missed = ["--duration", "200ms", "--warm-up", "0s", "--slo", "p50<0.001us"];
    let echo = |first: &str, more: &[&str]| {
        bench_with(first, &[&["echo", "--url", &url, "--quiet"][..], &missed, more].concat())
    };
    let (code, report) = echo(":", &["--rate", "0"]);
    assert_eq!((code, &report["verdict"]), (2, &"slo_missed".into()), "{report}");
    let (code, report) = echo("ulimit -n 64", &["--rate", "0", "--connections", "200"]);
    assert_eq!((code, &report["verdict"]), (4, &"connections_failed".into()), "{report}");
    // More than any machine sends: the generator is behind.
    let late = ["--rate", "100000000", "--connections", "200"];
    let (code, report) = echo("ulimit -n 64", &late);
    assert_eq!((code, &report["verdict"]), (3, &"invalid".into()), "{report}");
    assert!(report["connections"]["failed"].as_u64() > Some(0), "{report}");
    assert_eq!(report["slo"][0]["pass"], false, "{report}");
    // A fault of the tool: one of its files cannot be written.
    let nowhere = ["--hgrm", "/nowhere/run.hgrm"];
    let (code, _) = echo("ulimit -n 64", &[&late[..], &nowhere].concat());
    assert_eq!(code, 1);
}

/// The cores this process may use.
fn cores() -> Vec<usize> {
    let text = fs::read_to_string("/proc/self/status").expect("it runs");
    let list = text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let mut cores = Vec::new();
    for part in list.expect("a list").trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let core = |text: &str| text.parse::<usize>().expect("a core");
        cores.extend(core(first)..=core(last));
    }
    cores
}

/// The names of a process's threads, and the cores each may use.
fn allowed_of_threads(pid: u32) -> Vec<(String, String)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let status = |task: fs::DirEntry| fs::read_to_string(task.path().join("status")).ok();
    tasks
        .filter_map(|task| status(task.expect("it runs")))
        .map(|status| {
            let field = |name| {
                let value = status.lines().find_map(|line| line.strip_prefix(name));
                value.expect("a field").trim().to_owned()
            };
            (field("Name:"), field("Cpus_allowed_list:"))
        })
        .collect()
}

fn echo_url(gateway: &Gateway) -> String {
    format!("ws://{}/echo", gateway.clients)
}

/// What the program says when it is asked for wrongly.
fn refusal(arguments: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(arguments).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    said
}
