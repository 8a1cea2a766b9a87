//! SECURITY.md promises nothing that no test holds: every test it names exists.

use std::fs;
use std::path::Path;

#[test]
fn every_test_that_holds_a_promise_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("SECURITY.md")).expect("the document exists");
    let mut sources = String::new();
    collect(&root.join("src"), &mut sources);
    collect(&root.join("tests"), &mut sources);
    let rows = document.lines().filter(|line| line.starts_with("| "));
    let promises: Vec<_> = rows.filter(|row| !row.starts_with("| promise |")).collect();
    assert!(promises.len() >= 15, "the tables are where they were: {}", promises.len());
    for promise in promises {
        let (_, held_by) = promise.trim_end_matches(" |").rsplit_once(" | ").expect("two columns");
        for name in held_by.split(", ") {
            let name = name.trim_matches('`');
            let is_defined = ["fn", "def"].iter().any(|word| {
                let definition = format!("{word} {name}(");
                sources.contains(&definition)
            });
            assert!(is_defined, "no test is called {name:?}, in: {promise}");
        }
    }
}

/// Appends the sources below a directory, in Rust and in Python.
fn collect(directory: &Path, sources: &mut String) {
    for entry in fs::read_dir(directory).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "py") {
            sources.push_str(&fs::read_to_string(&path).expect("sources are text"));
        }
    }
}
