//! The gateway as a process on free ports, killed when the test is over.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use super::PROGRAM;

/// A running gateway.
pub struct Gateway {
    child: Child,
    /// Held open: a gateway that cannot print ends.
    _out: BufReader<ChildStdout>,
    /// Where clients connect: host and port.
    pub clients: String,
    /// Where its API is: host and port.
    pub admin: String,
}

impl Gateway {
    /// `serve --dev` with one shard and `more` arguments.
    pub fn dev(more: &[&str]) -> Self {
        Self::behind(&[], more)
    }

    /// The same behind a command that ends in an exec.
    pub fn behind(wrapper: &[&str], more: &[&str]) -> Self {
        let ports = ["--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--shards=1"];
        let mut words = wrapper.iter().map(OsStr::new).chain([program().as_os_str()]);
        let mut command = Command::new(words.next().expect("at least the program"));
        command.args(words).args(["serve", "--dev"]).args(ports).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the gateway starts");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let (mut clients, mut admin) = (None, None);
        for line in out.by_ref().lines() {
            let line = line.expect("text");
            if let Some((_, rest)) = line.split_once("ws://") {
                clients = clients.or_else(|| Some(rest.split('/').next()?.to_owned()));
            }
            if let Some(rest) = line.trim().strip_prefix("metrics   http://") {
                admin = rest.strip_suffix("/metrics").map(str::to_owned);
                break;
            }
        }
        let (clients, admin) = clients.zip(admin).expect("it says where it serves");
        Self { child, _out: out, clients, admin }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A fan-out over HTTP through its channel `bench`.
    pub fn urls(&self) -> [String; 2] {
        let Self { clients, admin, .. } = self;
        [format!("ws://{clients}/raw?channel=bench"), format!("http://{admin}/api/publish")]
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The gateway's program: that of `TIDEGATE_BIN`, else built beside the load generator. A test of
/// one package alone would not build the other's.
fn program() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        if let Some(path) = std::env::var_os("TIDEGATE_BIN") {
            return path.into();
        }
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--locked", "--workspace", "--bin", "tidegate"]);
        build.args(["--manifest-path", manifest]);
        let directory = Path::new(PROGRAM).parent().expect("a program lies in a directory");
        if directory.ends_with("release") {
            build.arg("--release");
        }
        let status = build.status().expect("cargo starts");
        assert!(status.success(), "the gateway does not build");
        directory.join("tidegate")
    })
}
