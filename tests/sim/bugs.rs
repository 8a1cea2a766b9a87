//! Whether the simulator can see: each planted bug must be found.

use std::panic::{self, AssertUnwindSafe};

use tidegate::planted::{Bug, plant};

use super::seeds;

/// Seeds within which each must be found.
const SEEDS: u64 = 1_000;

/// The first seed that fails with the bug in the code, and what it says.
fn find(bug: Bug) -> Option<(u64, String)> {
    (0..SEEDS).find_map(|seed| {
        plant(Some(bug));
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| seeds::run(seed)));
        plant(None);
        let panic = outcome.err()?;
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Some((seed, text.and_then(|text| text.lines().next()).unwrap_or("it panics").to_owned()))
    })
}

#[test]
#[expect(clippy::print_stdout, reason = "how many seeds it takes is what a run is for")]
fn planted_bugs_are_seen() {
    seeds::name_failing_seeds();
    let found = seeds::quietly(|| Bug::ALL.map(|bug| (bug, find(bug))));
    for (bug, found) in &found {
        let name = format!("{bug:?}");
        match found {
            Some((seed, text)) => println!("{name:<24} seed {seed:>4}: {text:.80}"),
            None => println!("{name:<24} not found in {SEEDS} seeds"),
        }
    }
    let most = found.iter().filter_map(|(_, found)| found.as_ref()).map(|(seed, _)| seed + 1).max();
    let count = found.iter().filter(|(_, found)| found.is_some()).count();
    println!("bugs: {count} of {} found, each within {} seeds", found.len(), most.unwrap_or(0));
    assert_eq!(count, found.len(), "the simulator is blind to some");
}
