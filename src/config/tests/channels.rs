//! `[channel]` and `[namespace.NAME]`.

use super::{from_file, from_flags};
use crate::protocol::channel::{
    Audience, ChannelHooks, ChannelOptions, Denied, Format, HistoryOptions, Identity, Namespaces,
    Permitted, Recovery, SlowConsumer,
};

fn channels(text: &str) -> Namespaces {
    from_file(text).map(|loaded| loaded.config.channels).expect(text)
}

#[test]
fn every_key_means_something() {
    let channels = channels(
        "[channel]\npresence = true\njoin_leave = true\nhistory_size = 10\nhistory_ttl = \"5m\"\n\
         history_meta_ttl = \"1h\"\nrecovery = \"cache\"\npositioning = true\n\
         allow_subscribe = \"anyone\"\nallow_publish = \"subscriber\"\nallow_presence = true\n\
         allow_history = \"user\"\npublication_format = \"binary\"\n",
    );
    let history = HistoryOptions { size: 10, ttl_ms: 300_000, meta_ttl_ms: 3_600_000 };
    let expect = ChannelOptions {
        presence: true,
        join_leave: true,
        history: Some(history),
        recovery: Recovery::Cache,
        positioning: true,
        allow_subscribe: Audience::Anyone,
        allow_publish: Audience::Subscriber,
        allow_presence: Audience::User,
        allow_history: Audience::User,
        format: Format::Binary,
        hooks: ChannelHooks::default(),
        slow_consumer: SlowConsumer::Disconnect,
    };
    assert_eq!(**channels.options("a").unwrap(), expect);
    assert_eq!(channels.options("a:b"), Err(Denied::UnknownNamespace));
}

#[test]
fn a_namespace_has_defaults_of_its_own() {
    let text = "[channel]\npresence = true\n[namespace.chat]\nallow_publish = true\n\
                [namespace.\"a.b\"]\n[namespace]\nc.positioning = true\n";
    let channels = channels(text);
    let chat = channels.options("chat:x").unwrap();
    assert!(!chat.presence);
    assert_eq!(chat.allow_publish, Audience::User);
    assert_eq!(**channels.options("a.b:x").unwrap(), ChannelOptions::default());
    assert!(channels.options("c:x").unwrap().positioning);

    let flags = [("namespace.a.b.presence", "true"), ("namespace.c.recovery", "false")];
    let channels = from_flags(&flags).unwrap().channels;
    assert!(channels.options("a.b:x").unwrap().presence);
    assert!(channels.options("c:x").is_ok());
}

#[test]
fn recovery_takes_words_and_truths() {
    for (typed, recovery) in [
        ("true", Recovery::Forced),
        ("stream", Recovery::Forced),
        ("allow", Recovery::Allowed),
        ("cache", Recovery::Cache),
        ("false", Recovery::Off),
    ] {
        let flags = [
            ("channel.history_size", "1"),
            ("channel.history_ttl", "1s"),
            ("channel.recovery", typed),
        ];
        let channels = from_flags(&flags).unwrap().channels;
        assert_eq!(channels.options("a").unwrap().recovery, recovery, "{typed}");
    }
}

#[test]
fn a_slow_consumer_misses_publications_only_where_nobody_counts_on_all_of_them() {
    let kept = "history_size = 1\nhistory_ttl = 1\n";
    for (typed, expect) in [
        ("slow_consumer = \"disconnect\"\nrecovery = true\n", SlowConsumer::Disconnect),
        ("slow_consumer = \"drop_oldest\"\n", SlowConsumer::DropOldest),
        ("slow_consumer = \"newest\"\nrecovery = \"cache\"\n", SlowConsumer::Newest),
    ] {
        let channels = channels(&format!("[channel]\n{kept}{typed}"));
        assert_eq!(channels.options("a").unwrap().slow_consumer, expect, "{typed}");
    }
    for (typed, expect) in [
        ("recovery = true\n", "(namespace.x.slow_consumer: FILE:4; namespace.x.recovery: FILE:5)"),
        ("recovery = \"allow\"\n", "recovery to \"cache\" or false and positioning = false, or"),
        ("positioning = true\n", "slow_consumer: FILE:4; namespace.x.positioning: FILE:5)"),
    ] {
        for policy in ["drop_oldest", "newest"] {
            let text = format!("[namespace.x]\n{kept}slow_consumer = \"{policy}\"\n{typed}");
            let error = from_file(&text).unwrap_err();
            assert!(error.contains(expect), "{error}");
        }
    }
}

#[test]
fn what_does_not_hold_together_names_both_keys() {
    for (text, expect) in [
        (
            "[channel]\nrecovery = true\nhistory_size = 3\n",
            "(channel.recovery: FILE:2; channel.history_size: FILE:3)",
        ),
        ("[namespace.x]\nrecovery = \"allow\"\n", "(namespace.x.recovery: FILE:2; "),
        (
            "[client]\npersonal_channel = true\npersonal_namespace = \"user\"\n",
            "(client.personal_namespace: FILE:3; client.personal_channel: FILE:2)",
        ),
        (
            "[client]\npersonal_channel = true\n[channel]\npublication_format = \"binary\"\n",
            "(client.personal_namespace: default; client.personal_channel: FILE:2)",
        ),
        (
            "[channel]\nhistory_size = 1\nhistory_ttl = 20\nhistory_meta_ttl = 10\n",
            "raise history_meta_ttl from 10s to at least 20s",
        ),
    ] {
        let error = from_file(text).unwrap_err();
        assert!(error.contains(expect), "{error}");
    }
}

#[test]
fn mistakes_are_named() {
    for (text, expect) in [
        (
            "[channel]\nallow_subscribe = \"subscriber\"\n",
            "FILE:2: channel.allow_subscribe is \"subscriber\"; allowed: false, true, user, anyone",
        ),
        (
            "[namespace.chat]\npresence = 1\n",
            "FILE:2: namespace.chat.presence is 1; allowed: true or false",
        ),
        (
            "[namespace.chat]\npresense = true\n",
            "FILE:2: unknown key \"namespace.chat.presense\"; did you mean channel.presence?",
        ),
        (
            "[namespace.\"a:b\"]\npresence = true\n",
            "FILE:1: \"a:b\" is no name of a namespace; allowed: 1 to 64 bytes without a colon, \
             and no $ in front, which stands for private channels",
        ),
        (
            "[namespace.\"$a\"]\npresence = true\n",
            "FILE:1: \"$a\" is no name of a namespace; allowed: 1 to 64 bytes without a colon, \
             and no $ in front, which stands for private channels",
        ),
        ("[namespace]\nchat = 1\n", "FILE:2: namespace.chat is 1; allowed: a table"),
        (
            "[raw]\nallow_subscribe = [\"news\"]\n",
            "FILE:2: unknown key \"raw.allow_subscribe\"; did you mean channel.allow_subscribe?",
        ),
    ] {
        let error = from_file(text).unwrap_err();
        assert!(error.starts_with(expect), "{error}");
    }
}

#[test]
fn dev_opens_everything_that_is_not_closed() {
    let channels = channels("[server]\ndev = true\n[namespace.chat]\nallow_publish = false\n");
    for channel in ["news", "unknown:x", "chat:x"] {
        assert_eq!(
            channels.decide_subscribe(channel, Identity::Anonymous),
            Ok(Permitted::Yes),
            "{channel}"
        );
    }
    for channel in ["news", "unknown:x"] {
        let options = channels.options(channel).unwrap();
        assert!(options.presence && options.join_leave);
        assert_eq!(options.recovery, Recovery::Forced);
        let history = options.history.expect("history");
        assert_eq!((history.size, history.ttl_ms), (100, 300_000));
    }
    let denied = Err(Denied::NotPermitted);
    assert_eq!(channels.decide_publish("chat:x", Identity::Anonymous, true), denied);
    assert!(!channels.options("chat:x").unwrap().presence);
}

#[test]
fn users_have_channels_of_their_own_where_that_is_typed() {
    for (text, expect) in [
        ("", None),
        ("[client]\npersonal_namespace = \"user\"\n", None),
        ("[client]\npersonal_channel = true\n", Some("#ann")),
        (
            "[client]\npersonal_channel = true\npersonal_namespace = \"user\"\n[namespace.user]\n",
            Some("user:#ann"),
        ),
        (
            "[client]\npersonal_channel = true\npersonal_namespace = \"x\"\n[server]\ndev = true\n",
            Some("x:#ann"),
        ),
    ] {
        let channels = channels(text);
        assert_eq!(channels.personal_channel("ann").unwrap().as_deref(), expect, "{text}");
        assert_eq!(channels.personal_channel(""), Ok(None));
    }
}
