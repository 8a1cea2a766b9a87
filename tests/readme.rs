//! README says what is true: the commands of the first minute, the metrics, the settings it shows,
//! the files it links to, and the Rust version.
//!
//! `UPDATE_README=1 cargo test --test readme` writes the table of metrics anew.

use std::fs;
use std::path::Path;

use tidegate::config::{self, Inputs};
use tidegate::control::metrics;

#[test]
fn the_first_commands_are_the_ones_people_paste() {
    let commands = "\
```sh
cargo run --release -- serve --dev                 # clients on 127.0.0.1:8000, admin on 127.0.0.1:8001
# any WebSocket client:  ws://127.0.0.1:8000/raw?channel=news
curl -s 127.0.0.1:8001/api/publish -H 'content-type: application/json' \
-d '{\"channel\":\"news\",\"data\":{\"n\":1}}'
# the client receives the text message {\"n\":1}
```
";
    let readme = readme();
    let first = readme.split_inclusive("```\n").next().expect("there is a block");
    assert!(first.ends_with(commands), "{first}");
}

#[test]
fn the_table_of_metrics_is_what_is_exported() {
    let readme = readme();
    let (before, rest) = readme.split_once(METRICS_BEGIN).expect("the marker is there");
    let (written, after) = rest.split_once(METRICS_END).expect("the marker is there");
    let table = format!("\n{}", metrics::table());
    if std::env::var_os("UPDATE_README").is_some() {
        let text = format!("{before}{METRICS_BEGIN}{table}{METRICS_END}{after}");
        fs::write(root().join("README.md"), text).unwrap();
        return;
    }
    assert_eq!(written, table, "run: UPDATE_README=1 cargo test --test readme");
}

#[test]
fn every_setting_shown_is_valid() {
    let readme = readme();
    let blocks: Vec<_> = readme.split("```toml\n").skip(1).collect();
    assert!(blocks.len() >= 2, "README shows settings");
    for (index, block) in blocks.iter().enumerate() {
        let (text, _) = block.split_once("```").expect("the block ends");
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("readme-{index}.toml"));
        fs::write(&file, text).unwrap();
        let inputs = Inputs { file: Some(file), ..Inputs::default() };
        if let Err(error) = config::load(&inputs) {
            panic!("{error}\n{text}");
        }
    }
}

#[test]
fn every_file_linked_to_exists() {
    let mut names = Vec::new();
    for document in DOCUMENTS {
        let text = fs::read_to_string(root().join(document)).expect("the document exists");
        names.extend(text.split("](").skip(1).filter_map(|rest| {
            let (target, _) = rest.split_once(')')?;
            (!target.contains("://")).then(|| target.to_owned())
        }));
    }
    assert!(names.len() >= 4, "README links to other documents");
    for name in names {
        assert!(root().join(&name).exists(), "{name}");
    }
}

#[test]
fn the_rust_version_is_the_declared_one() {
    let version = env!("CARGO_PKG_RUST_VERSION");
    assert!(readme().contains(&format!("Rust toolchain {version} or newer")), "{version}");
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("README exists")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

const DOCUMENTS: [&str; 6] = [
    "README.md",
    "CONTRIBUTING.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "RELIABILITY.md",
];

const METRICS_BEGIN: &str = "<!-- metrics:begin -->";
const METRICS_END: &str = "<!-- metrics:end -->";
