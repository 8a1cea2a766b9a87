//! The gateway as a process: started on free ports, watched, talked to, stopped by a signal.
//!
//! Nothing here sleeps: what must come is waited for, at most [`PATIENCE`].
//!
//! Every test binary compiles all of it and uses a part, hence the allowance.
#![allow(dead_code, unreachable_pub)]

pub mod centrifuge;
pub mod client;
pub mod http;
pub mod log;
pub mod metrics;
pub mod raw;

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use log::Log;
use metrics::Metrics;

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Ring and mailboxes as small as they may be configured: every shortage happens.
pub const TINY: &[&str] = &[
    "--set=limits.receive_buffers=4",
    "--set=limits.sq_entries=8",
    "--set=limits.cq_entries=64",
    "--set=limits.mailbox_len=4",
];

/// A running gateway. Killed when dropped; a test that cares how it ends calls [`Gateway::stop`].
pub struct Gateway {
    child: Child,
    /// Where clients connect.
    pub clients: SocketAddr,
    /// Where API, metrics and health are.
    pub admin: SocketAddr,
    /// What it printed.
    pub out: Arc<Log>,
    /// What it logged.
    pub log: Arc<Log>,
}

/// How a gateway ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub out: Vec<String>,
    pub log: Vec<String>,
}

/// The program with `arguments`, without settings of ours from outside.
pub fn tidegate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEGATE_") {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}

impl Gateway {
    /// `serve --dev` on free ports of the loopback, with `more` arguments.
    pub fn dev(more: &[&str]) -> Self {
        Self::serve(&[&["--dev"], more].concat())
    }

    /// `serve` on free ports of the loopback, with `more` arguments. Test programs whose name ends
    /// in `_slots` have it hold clients in table slots.
    pub fn serve(more: &[&str]) -> Self {
        let ports = ["serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"];
        let in_slots = env!("CARGO_CRATE_NAME").ends_with("_slots");
        let descriptors: &[&str] = if in_slots { &["--set=server.descriptors=table"] } else { &[] };
        Self::start(&mut tidegate(&[&ports, descriptors, more].concat()))
    }

    /// A gateway that `command` starts; panics with its log if it does not serve.
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let out = Log::of(child.stdout.take().expect("piped"));
        let log = Log::of(child.stderr.take().expect("piped"));
        let last = out.wait_for("  metrics   http://");
        let clients = out.lines().iter().find_map(|line| {
            let rest = line.split_once("ws://")?.1;
            rest.split('/').next()?.parse().ok()
        });
        let admin = last.as_deref().and_then(|line| {
            line.trim().strip_prefix("metrics   http://")?.strip_suffix("/metrics")?.parse().ok()
        });
        let (Some(clients), Some(admin)) = (clients, admin) else {
            // It may be starting for ever; its end ends both logs.
            child.kill().expect("it is our child");
            let status = child.wait().expect("it is our child");
            panic!("no addresses ({status}): {:#?} {:#?}", out.to_end(), log.to_end());
        };
        Self { child, clients, admin, out, log }
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it is our child and not waited for");
    }

    /// Drains it with SIGTERM and checks that it ends well: exit code 0, no error in the log.
    pub fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        let ended = self.wait();
        assert_eq!(ended.status.code(), Some(0), "{:#?}", ended.log);
        let error = ended.log.iter().find(|line| line.contains("ERROR"));
        assert_eq!(error, None);
        ended
    }

    /// Waits until it ends by itself.
    pub fn wait(mut self) -> Ended {
        let handle = pidfd_open(self.pid(), PidfdFlags::empty()).expect("it is our child");
        let patience = Timespec::try_from(PATIENCE).expect("seconds fit");
        let ended = poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&patience));
        assert_eq!(ended, Ok(1), "it goes on: {:#?}", self.log.lines());
        let status = self.child.wait().expect("it is our child");
        Ended { status, out: self.out.to_end(), log: self.log.to_end() }
    }

    /// What `/metrics` says now.
    pub fn metrics(&self) -> Metrics {
        let answer = http::get(self.admin, "/metrics");
        assert_eq!(answer.status, 200);
        Metrics::parse(&answer.text())
    }

    /// Asks for the metrics until they are as `expected`.
    pub fn await_metrics(&self, what: &str, expected: impl Fn(&Metrics) -> bool) -> Metrics {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = self.metrics();
            if expected(&metrics) {
                return metrics;
            }
            assert!(Instant::now() < deadline, "never: {what}\n{metrics}");
        }
    }

    /// Waits until no client is left: every gauge of theirs is 0.
    pub fn await_no_clients(&self) -> Metrics {
        self.await_metrics("every gauge of clients is 0", |metrics| {
            metrics::CLIENT_GAUGES.iter().all(|name| metrics.sum(name) == 0)
        })
    }

    /// Publishes `data`, a JSON text; gives the answer's body, whose status is 200. Tries again
    /// while a mailbox is full.
    pub fn publish(&self, channel: &str, data: &str) -> String {
        let body = format!(r#"{{"channel":"{channel}","data":{data}}}"#);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.call("/api/publish", &body);
            if answer.status == 200 {
                return answer.text();
            }
            assert_eq!(answer.status, 503, "{}", answer.text());
            assert!(Instant::now() < deadline, "a mailbox stays full: {}", self.metrics());
        }
    }

    /// Calls the API.
    pub fn call(&self, path: &str, body: &str) -> http::Answer {
        let json = [("Content-Type", "application/json")];
        http::ask(self.admin, "POST", path, &json, body.as_bytes())
    }

    /// Descriptors the process holds.
    pub fn fd_count(&self) -> usize {
        let table = format!("/proc/{}/fd", self.child.id());
        fs::read_dir(table).expect("it is our child").count()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Waited for already when `wait` moved the fields' values on; both calls then do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("log of the gateway: {:#?}", self.log.to_end());
        }
    }
}
