//! Messages of the Centrifuge protocol.

use serde_json::Value;

use crate::limits;
use crate::protocol::centrifuge::command::{self, Method};
use crate::publication::json;

/// A text message: commands are found one after another, each is the same when it stands alone or
/// on a line of its own, and data that is passed on is JSON on one line, not deeper than allowed.
pub fn centrifuge_commands(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if command::check(text).is_err() {
        return;
    }
    let (texts, shown) = read(text);
    assert!(texts.iter().map(|text| text.len()).sum::<usize>() <= text.len());
    for (text, shown) in texts.iter().zip(&shown) {
        assert_eq!(read(text).1, std::slice::from_ref(shown), "alone: {text}");
    }
    assert_eq!(read(&texts.join("\n")).1, shown, "on lines of their own");
}

/// The texts of the commands up to the end or the first fault, and what they say.
fn read(text: &str) -> (Vec<&str>, Vec<String>) {
    let (mut texts, mut shown) = (Vec::new(), Vec::new());
    let mut rest = text;
    while let Ok(Some((command, len))) = command::next(rest) {
        assert!(len > 0, "every command takes something");
        if let Method::Publish(publish) = &command.method
            && let Some(data) = publish.data
        {
            check_data(data.get());
        }
        shown.push(format!("{command:?}"));
        let (taken, left) = rest.split_at(len);
        texts.push(taken.trim_ascii_start());
        rest = left;
    }
    (texts, shown)
}

/// A publication's data on its way to others.
fn check_data(data: &str) {
    assert!(!json::is_deeper_than(limits::JSON_DEPTH_MAX + 2, data.as_bytes()));
    let mut line = Vec::new();
    json::append_one_line(&mut line, data.as_bytes());
    assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
    let parsed = |json: &[u8]| serde_json::from_slice::<Value>(json).ok();
    assert_eq!(parsed(&line), parsed(data.as_bytes()), "{data}");
}
