//! How much memory this process may use.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes this process may use: the machine's memory, or less where a control group says so, as it
/// does in a container. `u64::MAX` if the kernel tells neither.
pub(super) fn allowed() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    smallest_limit(Path::new("/sys/fs/cgroup"), &groups).min(machine.unwrap_or(u64::MAX))
}

/// `MemTotal` of `/proc/meminfo`.
fn total(text: &str) -> Option<u64> {
    let kib: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?
        .trim()
        .strip_suffix("kB")?
        .trim()
        .parse()
        .ok()?;
    kib.checked_mul(1024)
}

/// The smallest limit of the control groups in `groups`, the text of `/proc/self/cgroup`, and of
/// those above them. `root` is where they are mounted. Within a container the path may name groups
/// that only its host sees; then the group that is mounted is its own.
fn smallest_limit(root: &Path, groups: &str) -> u64 {
    groups
        .lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            let path = path.trim_start_matches('/');
            if controllers.is_empty() {
                Some(smallest_above(root, path, "memory.max"))
            } else if controllers.split(',').any(|one| one == "memory") {
                Some(smallest_above(&root.join("memory"), path, "memory.limit_in_bytes"))
            } else {
                None
            }
        })
        .min()
        .unwrap_or(u64::MAX)
}

/// The smallest number in the files of this name from `root` down to `path`. A group without a
/// limit says `max`, or has no file.
fn smallest_above(root: &Path, path: &str, file: &str) -> u64 {
    let mut folder = PathBuf::from(root);
    let mut smallest = u64::MAX;
    for part in std::iter::once("").chain(path.split('/')) {
        folder.push(part);
        let limit = fs::read_to_string(folder.join(file)).ok();
        let limit = limit.and_then(|text| text.trim().parse().ok());
        smallest = smallest.min(limit.unwrap_or(u64::MAX));
    }
    smallest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_machine_has_what_it_says() {
        assert_eq!(total("MemTotal:       24601234 kB\nMemFree: 1 kB\n"), Some(24_601_234 << 10));
        assert_eq!(total("MemFree: 1 kB\n"), None);
        assert!((1 << 20..u64::MAX).contains(&allowed()));
    }

    #[test]
    fn the_smallest_limit_above_counts_in_both_hierarchies() {
        let root = std::env::temp_dir().join(format!("tidegate-groups-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("a/memory.max", "1000\n");
        write("a/b/memory.max", "max\n");
        write("c/memory.max", "max\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        write("memory/x/y/memory.limit_in_bytes", "500\n");
        for (groups, limit) in [
            ("0::/a/b\n", 1000),
            ("0::/a\n", 1000),
            ("0::/c\n", u64::MAX),
            ("0::/\n", u64::MAX),
            ("", u64::MAX),
            ("nonsense", u64::MAX),
            ("4:cpu,memory:/x/y\n0::/a\n", 500),
            ("4:memory:/x/y/z\n", 500),
            ("4:memory:/x\n1:cpu:/x/y\n", 9_223_372_036_854_771_712),
            // A path of the host's: what is mounted is this container's own group.
            ("4:memory:/docker/123\n", 9_223_372_036_854_771_712),
        ] {
            assert_eq!(smallest_limit(&root, groups), limit, "{groups:?}");
        }
        fs::remove_dir_all(&root).unwrap();
    }
}
