//! `[hooks.notices]`.

use std::time::Duration;

use super::super::{Notices, Warning};
use super::{TempFile, from_file, from_flags, inputs_of, on_two_cores};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const URL: (&str, &str) = ("hooks.notices.url", "http://127.0.0.1:9/told");

fn notices(flags: &[(&str, &str)]) -> Result<Option<Notices>, String> {
    from_flags(flags).map(|config| config.notices)
}

fn with_url_and(flags: &[(&str, &str)]) -> Result<Notices, String> {
    let set = [&[URL, ("hooks.notices.secret", SECRET)], flags].concat();
    notices(&set).map(|notices| notices.expect("a url is set"))
}

#[test]
fn without_a_url_nobody_is_told() {
    assert!(notices(&[]).unwrap().is_none());
    let alone = notices(&[("hooks.notices.secret", SECRET)]).unwrap_err();
    assert!(alone.contains("without hooks.notices.url"), "{alone}");
}

#[test]
fn the_table_stands_in_a_table() {
    let file = format!(
        "[hooks.notices]\nurl = \"https://app.example/told\"\nsecret = \"{SECRET}\"\n\
         events = [\"vacated\"]\nbatch_size = 5\nvacated_delay = \"500ms\"\n"
    );
    let read = from_file(&file).unwrap().config.notices.expect("a url is set");
    assert_eq!((&*read.url.to_string(), read.batch_size), ("https://app.example/told", 5));
    assert_eq!((read.disconnect, read.unsubscribe, read.vacated), (false, false, true));
    assert_eq!(read.vacated_delay, Duration::from_millis(500));
    // What is not set has its default.
    assert_eq!(read.batch_delay, Duration::from_millis(100));
    assert_eq!(read.timeout, Duration::from_secs(5));
    let text = format!("{read:?}");
    assert!(!text.contains(SECRET), "{text}");
    for (table, named) in [
        ("[hooks.notices]\nurk = \"\"", "FILE:2: unknown key \"hooks.notices.urk\"; did you mean"),
        ("[hooks]\nnotices = 5", "FILE:2: unknown key \"hooks.notices\""),
        ("[hooks.notice]\nurl = \"\"", "FILE:1: unknown key \"hooks.notice\""),
    ] {
        let error = from_file(table).unwrap_err();
        assert!(error.starts_with(named), "{error}");
    }
}

#[test]
fn all_is_told_unless_something_is_named() {
    let all = with_url_and(&[]).unwrap();
    assert!(all.disconnect && all.unsubscribe && all.vacated);
    let one = with_url_and(&[("hooks.notices.events", "unsubscribe")]).unwrap();
    assert!(!one.disconnect && one.unsubscribe && !one.vacated);
}

#[test]
fn the_secret_is_long_and_may_lie_in_a_file() {
    let file = TempFile::new(&format!("{SECRET}\n"), 0o600);
    let path = file.0.to_str().unwrap();
    let read = notices(&[URL, ("hooks.notices.secret_file", path)]).unwrap();
    assert_eq!(read.expect("a url is set").secret.expose(), SECRET.as_bytes());
    let error = notices(&[URL]).unwrap_err();
    assert!(error.contains("without a secret"), "{error}");
    let error = notices(&[URL, ("hooks.notices.secret", "guessme")]).unwrap_err();
    assert!(error.contains("has 7 bytes") && !error.contains("guessme"), "{error}");
    let both = [URL, ("hooks.notices.secret", SECRET), ("hooks.notices.secret_file", path)];
    let error = notices(&both).unwrap_err();
    assert!(error.contains("are both set"), "{error}");
}

#[test]
fn values_that_make_no_sense_are_refused() {
    for (key, value, expect) in [
        ("hooks.notices.url", "app.example", "is no address"),
        ("hooks.notices.url", "ftp://app.example/", "is no address"),
        ("hooks.notices.events", "connect", "disconnect, unsubscribe, vacated"),
        ("hooks.notices.events", "", "is empty"),
        ("hooks.notices.timeout", "0", "a duration from 10ms to 1m"),
        ("hooks.notices.batch_size", "0", "a whole number from 1 to 1000"),
        ("hooks.notices.batch_delay", "2h", "a duration from 0s to 1h"),
        ("hooks.notices.vacated_delay", "-1", "a duration from 0s to 1h"),
    ] {
        let error = with_url_and(&[(key, value)]).unwrap_err();
        assert!(error.contains(expect), "{key}={value}: {error}");
    }
}

#[test]
fn a_way_that_others_may_listen_on_is_worth_a_warning() {
    let warned = |url: &str| {
        let flags = [("hooks.notices.url", url)];
        let secret = [("TIDEGATE_HOOKS_NOTICES_SECRET", SECRET)];
        on_two_cores(&inputs_of(&flags, &secret)).unwrap().warnings
    };
    assert_eq!(warned("http://app.example/"), [Warning::NoticesUnencrypted]);
    assert_eq!(warned("https://app.example/"), []);
    assert_eq!(warned("http://127.0.0.1:9/"), []);
}
