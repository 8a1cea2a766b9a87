//! The configuration file.

use crate::config::load_text;

/// The text of a file: settings hold or are refused in one line that says where, and written in
/// another layout they mean the same.
pub fn configuration(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    // What other files say is not for random names to find out.
    if text.contains("_file") || text.contains('\\') {
        return;
    }
    let shown = |text: &str| match load_text(text) {
        Ok(loaded) => Ok(sorted(&format!("{:?}", loaded.config))),
        Err(error) => Err(error.to_string()),
    };
    let loaded = shown(text);
    if let Err(error) = &loaded {
        assert!(error.contains("FILE"), "{error}");
        assert!(!error.contains(|c: char| c.is_control()), "{error:?}");
    }
    assert_eq!(shown(text), loaded, "the same text twice");
    let Ok(table) = text.parse::<toml::Table>() else { return assert!(loaded.is_err()) };
    let written = toml::to_string(&table).expect("what was read can be written");
    match (shown(&written), loaded) {
        (Ok(again), Ok(loaded)) => assert_eq!(again, loaded, "{written}"),
        (Err(_), Err(_)) => {}
        (again, loaded) => panic!("{loaded:?}, but written again {again:?}: {written}"),
    }
}

/// The words of a text in an order of their own: tables have none.
fn sorted(text: &str) -> Vec<String> {
    let words = text.split(|c: char| ",{}".contains(c)).map(|word| word.trim().to_owned());
    let mut words: Vec<_> = words.collect();
    words.sort_unstable();
    words
}
