//! JSON pieces, appended; for messages that are put together from ready texts.

use std::fmt;

/// Appends `text` as a JSON string, quotes included.
pub fn append_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a vector takes every text");
}

/// Appends JSON without its line ends. In valid JSON they stand between tokens only, for a string
/// has them escaped; so what it means stays the same.
pub fn append_one_line(out: &mut Vec<u8>, json: &[u8]) {
    if json.contains(&b'\n') || json.contains(&b'\r') {
        out.extend(json.iter().filter(|byte| !matches!(byte, b'\n' | b'\r')));
    } else {
        out.extend_from_slice(json);
    }
}

/// Whether arrays and objects nest deeper than `levels`. Means something for well-formed JSON, and
/// for any other bytes bounds what a reader that calls itself would do with them.
pub fn is_deeper_than(levels: usize, json: &[u8]) -> bool {
    let (mut depth, mut in_string) = (0usize, false);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => {
                bytes.next();
            }
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > levels {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Appends `,"key":number`, or nothing for 0.
pub(super) fn append_number(out: &mut Vec<u8>, key: &str, number: u64) {
    if number != 0 {
        append_display(out, format_args!(",\"{key}\":{number}"));
    }
}

/// Appends formatted text, which the caller knows to be JSON.
pub fn append_display(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    struct Bytes<'a>(&'a mut Vec<u8>);
    impl fmt::Write for Bytes<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
    fmt::write(&mut Bytes(out), text).expect("a vector takes every text");
}
