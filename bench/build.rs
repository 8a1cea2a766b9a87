//! Tells the program its commit. Without git, or outside the repository, there is none.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // A copy unpacked inside of another repository must not name that one's commit.
    if git(&["rev-parse", "--show-prefix"]).as_deref() != Some("bench/") {
        return;
    }
    // The log of HEAD grows with each commit and checkout, in a linked worktree too.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo:rerun-if-changed={log}");
    }
    if let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) {
        println!("cargo:rustc-env=TIDEGATE_BENCH_COMMIT={commit}");
    }
}

/// The first line `git` prints, if it succeeds. Runs in the package's directory, as cargo does.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned()).filter(|text| !text.is_empty())
}
