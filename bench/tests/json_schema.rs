//! The JSON of each command is what the tables of `bench/README.md` say, field by field and both
//! ways: no field is missing there, and none is told of that does not exist.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

use common::bench;
use common::gateway::Gateway;
use serde_json::Value;

#[test]
fn runs_are_as_documented() {
    let documented = documented("run");
    let gateway = Gateway::dev(&[]);
    let [subscribe, publish] = gateway.urls();
    let echo = format!("ws://{}/echo", gateway.clients);
    let pid = gateway.pid().to_string();
    let server = ["--server-pid", &pid, "--slo", "p99<10s", "--quiet"];
    let mut seen = BTreeSet::new();
    for (arguments, absent) in [
        (
            &["echo", "--url", &echo, "--rate", "100", "--duration", "1100ms", "--warm-up", "0s"][..],
            &["fanout"][..],
        ),
        (&["idle", "--url", &echo, "--hold", "100ms"], &["fanout"]),
        (&["connect", "--url", &echo, "--connections", "20", "--rate", "1000"], &["fanout"]),
        (
            &[
                "fanout",
                "--url",
                &subscribe,
                "--publish",
                &publish,
                "--rate",
                "20",
                "--duration",
                "500ms",
                "--warm-up",
                "0s",
                "--churn",
                "5",
                "--slow-readers",
                "1",
            ],
            &[],
        ),
    ] {
        let (_, report) = bench(&[arguments, &server].concat());
        seen.extend(check(&documented, &report, absent));
    }
    report_unseen(&documented, &seen);
}

#[test]
fn plans_are_as_documented() {
    // The head is the same as that of a run.
    let mut table = documented("plan");
    let head = |path: &String| path.starts_with("tool.") || path.starts_with("environment.");
    table.extend(documented("run").into_iter().filter(head));
    let gateway = Gateway::dev(&[]);
    let [url, publish] = gateway.urls();
    let pid = gateway.pid().to_string();
    let short =
        ["--window=100ms", "--warm-up=0s", "--hold=100ms", "--idle=100", "--handshakes=100"];
    let target = ["--target-connections=1000", "--target-deliveries=1000", "--connections=2,4,6,8"];
    let arguments = ["plan", "--quiet", "--url", &url, "--publish", &publish, "--server-pid", &pid];
    let more = ["--max-rate=200"];
    let (_, report) = bench(&[&arguments[..], &short, &target, &more].concat());
    // What is fitted depends on what a busy machine let pass, so not all of it must be there.
    check(&table, &report, &[]);
}

#[test]
fn limits_are_as_documented() {
    // The head is the same as that of a run.
    let mut table = documented("limit");
    let head = |path: &String| path.starts_with("tool.") || path.starts_with("environment.");
    table.extend(documented("run").into_iter().filter(head));
    let mut seen = BTreeSet::new();
    let short = ["limit", "--connections", "2", "--sockets", "2", "--duration", "100ms"];
    let (code, report) = bench(&[&short[..], &["--rounds", "1", "--rate", "200"]].concat());
    assert_eq!((code, &report["verdict"]), (0, &"pass".into()), "{report}");
    seen.extend(check(&table, &report, &["against", "generator"]));
    let (code, report) = bench(&[&short[..], &["--rounds", "1", "--generator"]].concat());
    assert_eq!((code, &report["verdict"]), (0, &"pass".into()), "{report}");
    seen.extend(check(&table, &report, &["against", "figures"]));

    // A process that does little, named as the server's, undercuts any limit.
    let gateway = Gateway::dev(&[]);
    let url = format!("ws://{}/echo", gateway.clients);
    let mut idler = Command::new("sh")
        .args(["-c", "while sleep 0.01; do :; done"])
        .stdin(Stdio::null())
        .spawn()
        .expect("a shell");
    let pid = idler.id().to_string();
    let against = ["--rounds", "1", "--against", &url, "--server-pid", &pid];
    let (code, report) = bench(&[&short[..], &against].concat());
    idler.kill().and_then(|()| idler.wait()).expect("a child of ours");
    assert_eq!((code, &report["verdict"]), (3, &"invalid".into()), "{report}");
    assert_eq!(report["against"]["limit_is_wrong"], true, "{report}");
    let why = report["why"].as_str().expect("a reason");
    assert!(why.contains("the limit is wrong"), "{why}");
    seen.extend(check(&table, &report, &["figures", "generator"]));

    let [url, publish] = gateway.urls();
    let pid = gateway.pid().to_string();
    let fan_out = ["--rounds=1", "--rate=200", "--server-pid", &pid, "--publish", &publish];
    let (_, report) = bench(&[&short[..], &fan_out, &["--against", &url]].concat());
    seen.extend(check(&table, &report, &["figures", "generator"]));
    let centrifuge = format!("ws://{}/connection/websocket", gateway.clients);
    let ways = ["--against", &centrifuge, "--protocol=centrifuge", "--baseline", &url];
    let (_, report) = bench(&[&short[..], &fan_out, &ways].concat());
    seen.extend(check(&table, &report, &["figures", "generator"]));
    report_unseen(&table, &seen);
}

/// Holds `report` against the table; `absent` are parts that this command does not have. Returns
/// what was there.
fn check(table: &BTreeSet<String>, report: &Value, absent: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeMap::new();
    flatten(report, String::new(), table, &mut found);
    let mut faults = Vec::new();
    for (path, is_empty) in &found {
        let holds_more = table.iter().any(|known| is_below(known, path));
        let is_known = table.contains(path) || *is_empty && holds_more;
        if !is_known {
            faults.push(format!("{path} is not documented"));
        }
    }
    for known in table {
        let is_absent = absent.iter().any(|part| is_below(known, part));
        let in_nothing = found.iter().any(|(path, is_empty)| *is_empty && is_below(known, path));
        if !found.contains_key(known) && !is_absent && !in_nothing {
            faults.push(format!("{known} is documented and does not exist"));
        }
    }
    assert!(faults.is_empty(), "{}\n{report:#}", faults.join("\n"));
    found.into_keys().collect()
}

/// Every field was there at least once, unless its name is a text that only a fault brings.
fn report_unseen(table: &BTreeSet<String>, seen: &BTreeSet<String>) {
    let unseen: Vec<_> = table.difference(seen).filter(|path| !path.ends_with(".*")).collect();
    assert!(unseen.is_empty(), "no command wrote {unseen:?}");
}

/// The paths of all values, and whether there is nothing in them: `null`, `[]`, `{}`.
fn flatten(
    value: &Value,
    path: String,
    table: &BTreeSet<String>,
    found: &mut BTreeMap<String, bool>,
) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let any = format!("{path}.*");
            for (name, value) in fields {
                let inner = match (table.contains(&any), path.is_empty()) {
                    (true, _) => any.clone(),
                    (false, true) => name.clone(),
                    (false, false) => format!("{path}.{name}"),
                };
                flatten(value, inner, table, found);
            }
        }
        Value::Array(values) if values.iter().any(Value::is_object) => {
            for value in values {
                flatten(value, format!("{path}[]"), table, found);
            }
        }
        Value::Object(_) | Value::Null => drop(found.entry(path).or_insert(true)),
        Value::Array(values) => drop(found.insert(path, values.is_empty())),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => drop(found.insert(path, false)),
    }
}

/// Whether `path` is of something inside `part`.
fn is_below(path: &str, part: &str) -> bool {
    path.strip_prefix(part).is_some_and(|rest| rest.starts_with('.') || rest.starts_with("[]"))
}

/// The fields of a table of `bench/README.md`.
fn documented(table: &str) -> BTreeSet<String> {
    let text = include_str!("../README.md");
    let (begin, end) =
        (format!("<!-- json:{table}:begin -->"), format!("<!-- json:{table}:end -->"));
    let (_, rest) = text.split_once(&begin).expect("the table begins");
    let (rows, _) = rest.split_once(&end).expect("the table ends");
    let mut paths = BTreeSet::new();
    for row in rows.lines().filter(|row| row.starts_with("| `")) {
        let cell = row.split('|').nth(1).expect("a first cell");
        for pattern in cell.split('`').skip(1).step_by(2) {
            for path in expand(pattern) {
                assert!(paths.insert(path.clone()), "{path} is documented twice");
            }
        }
    }
    assert!(!paths.is_empty());
    paths
}

/// The paths that `a.{b,c}.d` stands for.
fn expand(pattern: &str) -> Vec<String> {
    let Some((head, rest)) = pattern.split_once('{') else { return vec![pattern.to_owned()] };
    let (names, tail) = rest.split_once('}').expect("a closing brace");
    let tails = expand(tail);
    names
        .split(',')
        .flat_map(|name| tails.iter().map(move |tail| format!("{head}{name}{tail}")))
        .collect()
}
