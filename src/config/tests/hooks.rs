//! `[hooks]`, and the keys of channels that ask.

use std::time::Duration;

use super::super::Hooks;
use super::{from_file, from_flags};
use crate::limits;
use crate::protocol::channel::ChannelHooks;
use crate::protocol::hook::Hook;

fn hooks(text: &str) -> Option<Hooks> {
    from_file(text).map(|loaded| loaded.config.hooks).expect(text)
}

#[test]
fn without_an_address_there_are_no_hooks() {
    assert!(hooks("").is_none());
    assert!(hooks("[hooks]\ntimeout = \"2s\"\n").is_none());
}

#[test]
fn every_key_means_something() {
    let hooks = hooks(
        "[hooks]\nconnect = \"https://a.example/c\"\nrpc = \"http://127.0.0.1:9/r?x=1\"\n\
         timeout = \"250ms\"\nconcurrency = 7\nheaders = [\"X-Key:  s: 1 \", \"a: b\"]\n\
         forward_headers = [\"Cookie\", \"x-real-ip\"]\n",
    );
    let hooks = hooks.unwrap();
    for hook in Hook::ALL {
        let expect = matches!(hook, Hook::Connect | Hook::Rpc);
        assert_eq!(hooks.set().has(hook), expect, "{}", hook.name());
    }
    assert_eq!(hooks.strictest_address(), "https://a.example/c");
    assert_eq!((hooks.timeout, hooks.concurrency), (Duration::from_millis(250), 7));
    assert_eq!(
        (hooks.headers[0].0.as_str(), hooks.headers[0].1.as_bytes()),
        ("x-key", &b"s: 1"[..])
    );
    assert!(!format!("{hooks:?}").contains("s: 1"));
    assert_eq!(hooks.forward_headers, ["cookie", "x-real-ip"]);
    let plain = from_flags(&[("hooks.rpc", "http://h/")]).unwrap().hooks.unwrap();
    assert_eq!(plain.strictest_address(), "http://h/");
    let defaults = (Duration::from_secs(limits::HOOK_TIMEOUT_DEFAULT_S), 256);
    assert_eq!((plain.timeout, plain.concurrency), defaults);
}

#[test]
fn what_cannot_be_used_is_refused_with_what_to_do() {
    for (flag, expect) in [
        (("hooks.connect", "backend/c"), "hooks.connect is no address; write it as"),
        (("hooks.rpc", "ftp://a/b"), "hooks.rpc is no address"),
        (("hooks.timeout", "0"), "hooks.timeout is \"0\"; allowed: a duration from 10ms to 1m"),
        (("hooks.concurrency", "0"), "hooks.concurrency is \"0\""),
        (("hooks.headers", "secret-value"), "entry 1 of hooks.headers is no header"),
        (("hooks.headers", "Host: a"), "hooks.headers has host"),
        (("hooks.forward_headers", "a,b c"), "entry 2 of hooks.forward_headers"),
        (("hooks.forward_headers", "Sec-WebSocket-Key"), "has sec-websocket-key"),
    ] {
        let error = from_flags(&[flag]).unwrap_err();
        assert!(error.starts_with("--set: ") && error.contains(expect), "{error}");
        assert!(!error.contains("secret-value"), "{error}");
    }
    let error = from_file("[hooks]\nheaders = 3.5\n").unwrap_err();
    assert!(error.contains("hooks.headers is [secret]"), "{error}");
}

#[test]
fn channels_ask_only_somebody_who_is_there() {
    let text = "[hooks]\nsubscribe = \"http://h/s\"\nsub_refresh = \"http://h/r\"\n\
        [channel]\nhook_subscribe = true\n[namespace.chat]\nhook_subscribe = true\n\
        hook_sub_refresh = true\n";
    let channels = from_file(text).unwrap().config.channels;
    let expect = ChannelHooks { subscribe: true, publish: false, sub_refresh: false };
    assert_eq!(channels.options("a").unwrap().hooks, expect);
    let expect = ChannelHooks { sub_refresh: true, ..expect };
    assert_eq!(channels.options("chat:a").unwrap().hooks, expect);
    for (text, expect) in [
        (
            "[channel]\nhook_publish = true\n",
            "channel.hook_publish needs somebody to ask: set publish under [hooks]",
        ),
        (
            "[namespace.chat]\nhook_subscribe = true\n",
            "namespace.chat.hook_subscribe needs somebody to ask",
        ),
        (
            "[hooks]\nsub_refresh = \"http://h/\"\n[channel]\nhook_sub_refresh = true\n",
            "set hook_subscribe = true too",
        ),
    ] {
        let error = from_file(text).unwrap_err();
        assert!(error.contains(expect), "{error}");
    }
}
