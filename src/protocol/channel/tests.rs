//! The table of permissions, case by case.

use super::*;

use Audience::{Anyone, Nobody, Subscriber, User};
use Denied::{NameRestricted, NotAvailable, NotPermitted, UnknownNamespace};

const ANN: Identity<'static> = Identity::User("ann");
const NOBODY_KNOWN: Identity<'static> = Identity::Anonymous;

fn allow_all(audience: Audience) -> ChannelOptions {
    ChannelOptions {
        presence: true,
        history: Some(HistoryOptions { size: 1, ttl_ms: 1, meta_ttl_ms: 1 }),
        allow_subscribe: audience,
        allow_publish: audience,
        allow_presence: audience,
        allow_history: audience,
        ..ChannelOptions::default()
    }
}

#[test]
fn the_first_colon_ends_the_namespace() {
    let named = ChannelOptions { presence: true, ..ChannelOptions::default() };
    let names = Namespaces::new(ChannelOptions::default(), [("chat".into(), named)]);
    for (channel, presence) in [
        ("a", Ok(false)),
        ("chat", Ok(false)),
        ("chat:a", Ok(true)),
        ("chat:a:b", Ok(true)),
        ("chat:", Ok(true)),
        ("$a", Ok(false)),
        ("$chat:a", Ok(true)),
        ("chat:$a", Ok(true)),
    ] {
        assert_eq!(names.options(channel).map(|options| options.presence), presence, "{channel}");
    }
    for channel in ["x:a", ":a", "Chat:a", "#chat:a", ":", "$:a", "$$chat:a"] {
        assert_eq!(names.options(channel), Err(UnknownNamespace), "{channel}");
        assert_eq!(names.decide_subscribe(channel, ANN), Err(UnknownNamespace), "{channel}");
        assert_eq!(names.decide_publish(channel, ANN, true), Err(UnknownNamespace), "{channel}");
    }
}

#[test]
fn who_is_in_an_audience() {
    for (audience, who, subscribed, verdict) in [
        (Nobody, ANN, true, Err(NotPermitted)),
        (Subscriber, ANN, false, Err(NotPermitted)),
        (Subscriber, ANN, true, Ok(())),
        (Subscriber, NOBODY_KNOWN, true, Ok(())),
        (User, NOBODY_KNOWN, true, Err(NotPermitted)),
        (User, ANN, false, Ok(())),
        (Anyone, NOBODY_KNOWN, false, Ok(())),
    ] {
        let names = Namespaces::new(allow_all(audience), []);
        let case = format!("{audience:?} {who:?} {subscribed}");
        let permitted = verdict.map(|()| Permitted::Yes);
        assert_eq!(names.decide_publish("a", who, subscribed), permitted, "publish {case}");
        assert_eq!(names.decide_presence("a", who, subscribed), verdict, "presence {case}");
        assert_eq!(names.decide_history("a", who, subscribed), verdict, "history {case}");
        if audience != Subscriber {
            assert_eq!(names.decide_subscribe("a", who), permitted, "subscribe {case}");
        }
    }
}

#[test]
fn what_a_channel_does_not_have() {
    let none = ChannelOptions { presence: false, history: None, ..allow_all(Anyone) };
    let names = Namespaces::new(none, []);
    assert_eq!(names.decide_presence("a", ANN, true), Err(NotAvailable));
    assert_eq!(names.decide_history("a", ANN, true), Err(NotAvailable));
}

#[test]
fn names_that_restrict() {
    let names = Namespaces::new(allow_all(Anyone), [("n".into(), allow_all(Anyone))]);
    for (channel, who, verdict) in [
        ("a", NOBODY_KNOWN, Ok(Permitted::Yes)),
        ("a#ann", NOBODY_KNOWN, Err(NameRestricted)),
        ("a#ann", ANN, Ok(Permitted::Yes)),
        ("n:a#bob,ann", ANN, Ok(Permitted::Yes)),
        ("a#bob", ANN, Err(NameRestricted)),
        ("a#", ANN, Err(NameRestricted)),
        ("#ann", ANN, Ok(Permitted::Yes)),
        ("a#ann#bob", ANN, Err(NameRestricted)),
        ("a#an,nn", ANN, Err(NameRestricted)),
        ("$a", ANN, Err(NameRestricted)),
        ("a$", ANN, Ok(Permitted::Yes)),
    ] {
        assert_eq!(names.decide_subscribe(channel, who), verdict, "{channel} {who:?}");
    }
}

#[test]
fn a_backend_decides_instead_of_the_options_but_not_instead_of_the_name() {
    let hooks = ChannelHooks { subscribe: true, publish: true, sub_refresh: false };
    for audience in [Nobody, Anyone] {
        let names = Namespaces::new(ChannelOptions { hooks, ..allow_all(audience) }, []);
        for who in [ANN, NOBODY_KNOWN] {
            assert_eq!(names.decide_subscribe("a", who), Ok(Permitted::IfBackendSays));
            assert_eq!(names.decide_publish("a", who, false), Ok(Permitted::IfBackendSays));
        }
        assert_eq!(names.decide_subscribe("a#ann", ANN), Ok(Permitted::IfBackendSays));
        for channel in ["$a", "a#bob"] {
            assert_eq!(names.decide_subscribe(channel, ANN), Err(NameRestricted), "{channel}");
        }
    }
}

#[test]
fn with_dev_everyone_is_a_user_and_unknown_namespaces_exist() {
    let closed = ChannelOptions { allow_publish: Nobody, ..allow_all(User) };
    let names = Namespaces::new(allow_all(User), [("closed".into(), closed)]);
    assert!(!names.welcome_anonymous());
    let names = names.for_development(allow_all(User));
    assert!(names.welcome_anonymous());
    for channel in ["a", "x:a", "$a", "a#ann"] {
        assert_eq!(names.decide_subscribe(channel, NOBODY_KNOWN), Ok(Permitted::Yes), "{channel}");
        assert_eq!(
            names.decide_publish(channel, NOBODY_KNOWN, false),
            Ok(Permitted::Yes),
            "{channel}"
        );
    }
    assert_eq!(names.decide_publish("closed:a", NOBODY_KNOWN, true), Err(NotPermitted));
}

#[test]
fn anonymous_clients_are_welcome_where_something_is_open_to_anyone() {
    let open = Namespaces::new(ChannelOptions::default(), [("open".into(), allow_all(Anyone))]);
    assert!(open.welcome_anonymous());
    assert!(!Namespaces::default().welcome_anonymous());
}
