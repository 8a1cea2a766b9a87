//! Log lines on standard error: one event is one line, whatever a peer put into its fields.

use std::fmt::Write as _;
use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

use crate::config::{Log, LogFormat};

/// Starts logging. Called once; a second call changes nothing.
pub(super) fn init(log: &Log) {
    let subscriber = subscriber(log, io::stderr);
    // Only a second call fails, and then the first one's choice stays.
    let _ = tracing::dispatcher::set_global_default(subscriber);
}

fn subscriber<W, F>(log: &Log, open: F) -> tracing::Dispatch
where
    W: Write + 'static,
    F: Fn() -> W + Send + Sync + 'static,
{
    let format = log.format;
    let builder = tracing_subscriber::fmt()
        .with_max_level(log.level)
        .with_ansi(false)
        .with_writer(Lines { format, open });
    match format {
        LogFormat::Text => builder.finish().into(),
        LogFormat::Json => builder.json().flatten_event(true).finish().into(),
    }
}

/// Gives each event a writer of its own.
struct Lines<F> {
    format: LogFormat,
    open: F,
}

impl<'a, W: Write, F: Fn() -> W> MakeWriter<'a> for Lines<F> {
    type Writer = Line<W>;

    fn make_writer(&'a self) -> Line<W> {
        Line { format: self.format, out: (self.open)() }
    }
}

/// Writes one event as one line. The formatter escapes what it prints with `Debug`, but a field
/// printed with `Display` would bring line ends and terminal commands into the log; so what came
/// through is escaped here. The formatter hands over an event as a whole, with its line end.
struct Line<W> {
    format: LogFormat,
    out: W,
}

impl<W: Write> Write for Line<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let body = text.strip_suffix('\n').unwrap_or(&text);
        if body.contains(is_unsafe) {
            self.out.write_all(escape(body, self.format).as_bytes())?;
        } else {
            self.out.write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Whether `c` ends a line, commands a terminal, or changes the order in which others are shown.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `body` with unsafe characters written out, and a line end. In JSON they can only stand inside of
/// strings, where the escape means the same character.
fn escape(body: &str, format: LogFormat) -> String {
    let mut escaped = String::with_capacity(body.len() + 64);
    for c in body.chars() {
        if !is_unsafe(c) {
            escaped.push(c);
        } else if format == LogFormat::Json {
            write!(escaped, "\\u{:04x}", u32::from(c)).expect("a string takes all that is written");
        } else {
            escaped.extend(c.escape_default());
        }
    }
    escaped.push('\n');
    escaped
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, log: impl FnOnce()) -> String {
        let captured = Captured::default();
        let out = captured.clone();
        let log_settings = Log { format, level: tracing::Level::INFO };
        let subscriber = subscriber(&log_settings, move || out.clone());
        tracing::dispatcher::with_default(&subscriber, log);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    /// All that ends lines, and the beginnings of terminal commands in 7 and 8 bits.
    const HOSTILE: &str = "a\nb\r\nc\x1b[31md\u{9b}31me\u{85}f\u{2028}g\u{202e}h\x07\x7f\0i";

    /// What of it, line ends apart, must not come through.
    const UNSAFE: &[char] =
        &['\r', '\x1b', '\u{9b}', '\u{85}', '\u{2028}', '\u{202e}', '\x07', '\x7f', '\0'];

    fn log_hostile() {
        tracing::info!(shown = %HOSTILE, debugged = ?HOSTILE, plain = HOSTILE, "message {HOSTILE}");
        tracing::info!("second");
        tracing::debug!("below the level");
    }

    #[test]
    fn one_event_is_one_line_of_text() {
        let text = logged(LogFormat::Text, log_hostile);
        assert_eq!(text.matches('\n').count(), 2, "{text}");
        assert!(!text.contains(UNSAFE), "{text:?}");
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("a\\nb\\r\\nc\\x1b[31md"), "{text}");
        assert!(text.contains("INFO") && text.contains("shown=") && text.ends_with("second\n"));
    }

    #[test]
    fn one_event_is_one_object_of_json() {
        let text = logged(LogFormat::Json, log_hostile);
        assert_eq!(text.matches('\n').count(), 2, "{text}");
        assert!(!text.contains(UNSAFE), "{text:?}");
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["shown"], HOSTILE);
        assert_eq!(first["plain"], HOSTILE);
        assert_eq!(first["message"], format!("message {HOSTILE}"));
        assert_eq!(first["level"], "INFO");
    }

    #[test]
    fn what_is_harmless_is_left_alone() {
        let text = logged(LogFormat::Text, || tracing::info!(channel = "news:über", "grüße"));
        assert!(text.contains("grüße") && text.contains("channel=\"news:über\""), "{text}");
    }
}
