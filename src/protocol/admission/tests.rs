//! Which request gets what, and which claims.

use super::super::channel::{Audience, ChannelHooks, ChannelOptions, Denied};
use super::super::claims::Overrides;
use super::*;
use crate::ws::handshake::Status;

fn policy() -> Policy {
    Policy {
        echo: true,
        demo: true,
        compression: true,
        origins: Origins::new(&[], false),
        channels: Namespaces::new(
            open(Audience::Nobody),
            [("news".into(), open(Audience::Nobody)), ("chat".into(), open(Audience::Anyone))],
        ),
        tokens: true,
        connect_hook: false,
        forward_headers: Box::default(),
    }
}

/// Anyone may subscribe, and `publishers` publish.
fn open(publishers: Audience) -> ChannelOptions {
    ChannelOptions {
        allow_subscribe: Audience::Anyone,
        allow_publish: publishers,
        ..ChannelOptions::default()
    }
}

fn not_allowed(what: ChannelRight, channel: &str, denied: Denied) -> Refusal {
    Refusal::NotAllowed { what, channel: channel.into(), denied }
}

fn decide(line: &str, headers: &str, policy: &Policy) -> Result<Option<Entry>, Refusal> {
    let head = format!("{line} HTTP/1.1\r\nHost: h:8000\r\n{headers}\r\n");
    let request = Request::parse(head.as_bytes())?;
    Ok(match admit(&request, policy)? {
        Admitted::Page(_) => None,
        Admitted::Socket { entry, .. } => Some(entry),
        Admitted::Undecided { wish, .. } => Some(Entry::Raw(wish)),
    })
}

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

#[test]
fn paths_that_exist() {
    let all = policy();
    let none = Policy::default();
    assert_eq!(decide("GET /health", "", &none), Ok(None));
    assert_eq!(decide("GET /", "", &all), Ok(None));
    assert_eq!(decide("GET /", "", &none), Err(Refusal::PathUnknown));
    assert_eq!(decide("GET /echo", UPGRADE, &all), Ok(Some(Entry::Echo)));
    assert_eq!(decide("GET /echo", UPGRADE, &none), Err(Refusal::EchoDisabled));
    for path in ["/raw/", "/Raw", "//raw", "/%72aw", "/metrics"] {
        let refusal = decide(&format!("GET {path}"), UPGRADE, &all);
        assert_eq!(refusal, Err(Refusal::PathUnknown), "{path}");
    }
}

#[test]
fn methods_and_plain_requests() {
    let not_get = Err(HandshakeError::MethodNotGet.into());
    for line in ["HEAD /health", "POST /", "HEAD /raw?channel=chat", "OPTIONS /echo"] {
        assert_eq!(decide(line, UPGRADE, &policy()), not_get, "{line}");
    }
    let plain = Err(HandshakeError::UpgradeMissing.into());
    assert_eq!(decide("GET /raw", "", &policy()), plain);
    assert_eq!(decide("GET /echo", "Origin: http://evil\r\n", &policy()), plain);
}

#[test]
fn channels_are_granted_by_their_options() {
    let entry = decide("GET /raw?channel=news:1&channel=chat:a", UPGRADE, &policy());
    let channels = ["news:1".into(), "chat:a".into()].into();
    assert_eq!(
        entry,
        Ok(Some(Entry::Raw(RawEntry { channels, publish: false, expire_at: None, user: None })))
    );
    for (query, refusal) in [
        ("channel=a&channel=x:1", Some((ChannelRight::Subscribe, "x:1", Denied::UnknownNamespace))),
        ("channel=a%23ann", Some((ChannelRight::Subscribe, "a#ann", Denied::NameRestricted))),
        ("channel=chat:a&publish=1", None),
        // The first channel is the one that is published to.
        ("channel=chat:a&channel=news:1&publish=1", None),
        (
            "channel=news:1&channel=chat:a&publish=1",
            Some((ChannelRight::Publish, "news:1", Denied::NotPermitted)),
        ),
    ] {
        let decided = decide(&format!("GET /raw?{query}"), UPGRADE, &policy()).map(drop);
        let expect = refusal
            .map_or(Ok(()), |(what, channel, denied)| Err(not_allowed(what, channel, denied)));
        assert_eq!(decided, expect, "{query}");
    }
    assert_eq!(
        decide("GET /raw?channel=chat", UPGRADE, &Policy::default()),
        Err(not_allowed(ChannelRight::Subscribe, "chat", Denied::NotPermitted))
    );
}

#[test]
fn the_centrifuge_protocol_is_spoken_in_json_only() {
    let offer = |names: &str| format!("{UPGRADE}Sec-WebSocket-Protocol: {names}\r\n");
    let path = "GET /connection/websocket";
    for (line, headers, frame_pings) in [
        (path.to_owned(), UPGRADE.to_owned(), Some(false)),
        (path.to_owned(), offer("centrifuge-json"), Some(false)),
        (path.to_owned(), offer("centrifuge-protobuf, centrifuge-json"), Some(false)),
        (path.to_owned(), offer("something-else"), Some(false)),
        (path.to_owned(), offer("centrifuge-protobuf"), None),
        (format!("{path}?format=protobuf"), UPGRADE.to_owned(), None),
        (format!("{path}?cf_protocol=protobuf"), UPGRADE.to_owned(), None),
        (format!("{path}?x=1&format=json"), UPGRADE.to_owned(), Some(false)),
        (format!("{path}?cf_ws_frame_ping_pong=true"), UPGRADE.to_owned(), Some(true)),
        (format!("{path}?cf_ws_frame_ping_pong=1"), UPGRADE.to_owned(), Some(false)),
    ] {
        let decided = decide(&line, &headers, &policy());
        let none = ForwardedHeaders::default;
        let expect =
            frame_pings.map(|frame_pings| Some(Entry::Centrifuge { headers: none(), frame_pings }));
        assert_eq!(decided, expect.ok_or(Refusal::ProtobufUnknown), "{line} {headers}");
    }
    assert_eq!(Refusal::ProtobufUnknown.status(), Status::BadRequest);
}

#[test]
fn compression_is_agreed_on_if_it_is_switched_on_as_the_path_allows() {
    let agreed = |path: &str, offer: &str, policy: &Policy| {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: h\r\n{UPGRADE}Sec-WebSocket-Extensions: {offer}\r\n\r\n"
        );
        let request = Request::parse(head.as_bytes()).expect("a request");
        match admit(&request, policy).expect("acceptable") {
            Admitted::Socket { upgrade, .. } => upgrade.deflate(),
            Admitted::Undecided { .. } | Admitted::Page(_) => panic!("a page"),
        }
    };
    let narrow = "permessage-deflate; server_max_window_bits=9";
    let off = Policy { compression: false, ..policy() };
    let centrifuge = "/connection/websocket";
    for (path, offer) in [
        ("/echo", narrow),
        ("/raw?channel=chat:a", "permessage-deflate"),
        (centrifuge, "permessage-deflate; client_max_window_bits"),
    ] {
        assert_eq!(agreed(path, offer, &off), None);
        assert!(agreed(path, offer, &policy()).is_some());
    }
    for path in ["/raw?channel=chat:a", centrifuge] {
        assert_eq!(agreed(path, narrow, &policy()), None);
        let shared = agreed(path, "permessage-deflate", &policy()).expect("agreed");
        assert!(shared.server_no_context_takeover && shared.client_no_context_takeover);
    }
    let echo = agreed("/echo", narrow, &policy()).expect("agreed");
    assert!(!echo.server_no_context_takeover && echo.server_window_bits == 9);
}

#[test]
fn origin_comes_before_the_query() {
    let foreign = format!("{UPGRADE}Origin: https://evil.example\r\n");
    let refusal = decide("GET /raw", &foreign, &policy()).expect_err("a foreign page");
    let expect =
        Refusal::OriginNotAllowed { origin: "https://evil.example".into(), host: "h:8000".into() };
    assert_eq!(refusal, expect);
    assert_eq!(refusal.status(), Status::Forbidden);
    assert!(refusal.to_string().contains("origins = [\"https://evil.example\"]"));
    let own = format!("{UPGRADE}Origin: http://h:8000\r\n");
    assert_eq!(decide("GET /raw", &own, &policy()), Err(Refusal::ChannelMissing));
}

#[test]
fn a_token_stands_in_the_header_or_in_the_query() {
    let shown = |line: &str, headers: &str| {
        let head = format!("{line} HTTP/1.1\r\nHost: h:8000\r\n{UPGRADE}{headers}\r\n");
        let request = Request::parse(head.as_bytes()).expect("a request");
        match admit(&request, &policy()) {
            Ok(Admitted::Undecided { who: Who::Token(token), .. }) => {
                Ok(Some(token.expose().to_owned()))
            }
            Ok(_) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    };
    let plain = "GET /raw?channel=chat:a";
    let with_query = "GET /raw?channel=chat:a&token=a%2Bb";
    for (line, headers, token) in [
        (plain, "", Ok(None)),
        (plain, "Authorization: Bearer a.b\r\n", Ok(Some("a.b"))),
        (plain, "authorization: bearer  a.b \r\n", Ok(Some("a.b"))),
        (plain, "Authorization: Basic YTpi\r\n", Ok(None)),
        (plain, "Authorization: Bearer\r\n", Ok(None)),
        (with_query, "", Ok(Some("a+b"))),
        (with_query, "Authorization: Basic YTpi\r\n", Ok(Some("a+b"))),
        (with_query, "Authorization: Bearer a\r\n", Err(Refusal::TokenTwice)),
        ("GET /raw?channel=chat:a&token=a&token=b", "", Err(Refusal::TokenTwice)),
        ("GET /raw?channel=chat:a&token=", "", Ok(None)),
    ] {
        let token = token.map(|token| token.map(str::to_owned));
        assert_eq!(shown(line, headers), token, "{line} {headers}");
    }
}

#[test]
fn a_user_gets_what_users_may_and_what_the_token_names() {
    let users = ChannelOptions {
        allow_subscribe: Audience::User,
        allow_publish: Audience::User,
        ..ChannelOptions::default()
    };
    let closed = ChannelOptions::default();
    let named = [("users".into(), users), ("closed".into(), closed)];
    let policy = Policy { channels: Namespaces::new(closed, named), ..policy() };
    let claims = |user: &str, channels: &[&str]| ConnectClaims {
        user: user.into(),
        expire_at: Some(9),
        subscriptions: channels
            .iter()
            .map(|channel| ServerSubscription {
                channel: (*channel).into(),
                info: None,
                data: None,
                overrides: Overrides::default(),
            })
            .collect(),
        ..ConnectClaims::default()
    };
    let denied = Some(Denied::NotPermitted);
    for (channel, claims, denied) in [
        ("users:a", claims("ann", &[]), None),
        ("users:a", claims("", &[]), denied),
        ("closed:a", claims("ann", &[]), denied),
        ("closed:a", claims("ann", &["closed:a"]), None),
        ("closed:a", claims("ann", &["closed:b"]), denied),
        ("users:a#ann", claims("ann", &[]), None),
        ("users:a#ann", claims("bob", &[]), Some(Denied::NameRestricted)),
        ("unknown:a", claims("ann", &["unknown:a"]), Some(Denied::UnknownNamespace)),
    ] {
        let wish = RawEntry {
            channels: [channel.into()].into(),
            publish: false,
            expire_at: None,
            user: None,
        };
        let user = Some(claims.user.clone());
        let entry = RawEntry { expire_at: Some(9), user, ..wish.clone() };
        let expect = denied.map_or(Ok(Granted { entry, asked: Vec::new() }), |denied| {
            Err(not_allowed(ChannelRight::Subscribe, channel, denied))
        });
        assert_eq!(admit_user(wish, &claims, &policy), expect, "{channel} {claims:?}");
    }
}

/// The channels of the query, and who is said to ask.
fn undecided(line: &str, headers: &str, policy: &Policy) -> Result<Option<Who>, Refusal> {
    let head = format!("{line} HTTP/1.1\r\nHost: h:8000\r\n{UPGRADE}{headers}\r\n");
    let request = Request::parse(head.as_bytes()).expect("a request");
    admit(&request, policy).map(|admitted| match admitted {
        Admitted::Undecided { who, .. } => Some(who),
        Admitted::Socket { .. } => None,
        Admitted::Page(_) => panic!("a page"),
    })
}

#[test]
fn a_backend_says_who_asks_without_a_token_or_where_nobody_checks_tokens() {
    let plain = "GET /raw?channel=chat:a";
    let bearer = "Authorization: Bearer t\r\nCookie: a=1\r\ncookie: b=2\r\nX-Other: x\r\n";
    let forward_headers = ["x-real-ip".into(), "cookie".into()].into();
    let policy = Policy { connect_hook: true, forward_headers, ..policy() };
    let newcomer = |token: Option<&str>, cookies: &[&str]| {
        let token = token.map(TokenText::new);
        let headers = cookies.iter().map(|cookie| (1, Box::from(cookie.as_bytes()))).collect();
        Ok(Some(Who::Newcomer { token, headers: ForwardedHeaders(headers) }))
    };
    assert_eq!(undecided(plain, "", &policy), newcomer(None, &[]));
    let token = Ok(Some(Who::Token(TokenText::new("t"))));
    assert_eq!(undecided(plain, bearer, &policy), token);
    let alone = Policy { tokens: false, ..policy.clone() };
    assert_eq!(undecided(plain, bearer, &alone), newcomer(Some("t"), &["a=1", "b=2"]));
    let without = Policy { connect_hook: false, ..alone };
    assert_eq!(undecided(plain, bearer, &without), token);
    let who = newcomer(Some("t"), &["a=1", "b=2"]).expect("admitted").expect("undecided");
    assert!(!format!("{who:?}").contains("a=1"));
}

#[test]
fn a_backend_is_asked_about_channels_of_those_who_may_ask() {
    let hooks = ChannelHooks { subscribe: true, ..ChannelHooks::default() };
    let hooked = ChannelOptions { hooks, ..ChannelOptions::default() };
    let hooks = ChannelHooks { publish: true, ..ChannelHooks::default() };
    let loud = ChannelOptions { hooks, ..open(Audience::Anyone) };
    let channels = |named: &[(&str, ChannelOptions)]| {
        let named = named.iter().map(|(name, options)| (Box::from(*name), *options));
        Namespaces::new(ChannelOptions::default(), named.collect::<Vec<_>>())
    };
    let closed = Policy { channels: channels(&[("h", hooked)]), ..policy() };
    let denied = not_allowed(ChannelRight::Subscribe, "h:a", Denied::NotPermitted);
    assert_eq!(undecided("GET /raw?channel=h:a", "", &closed), Err(denied));
    let all = channels(&[("h", hooked), ("loud", loud), ("chat", open(Audience::Anyone))]);
    let policy = Policy { channels: all, ..policy() };
    let anonymous = Ok(Some(Who::Anonymous));
    assert_eq!(undecided("GET /raw?channel=chat:a&channel=h:a", "", &policy), anonymous);
    assert_eq!(undecided("GET /raw?channel=chat:a", "", &policy), Ok(None));
    let refusal = Refusal::PublishAsksBackend { channel: "loud:a".into() };
    assert_eq!(refusal.status(), Status::Forbidden);
    assert_eq!(undecided("GET /raw?channel=loud:a&publish=1", "", &policy), Err(refusal));

    let wish = RawEntry {
        channels: ["chat:a".into(), "h:a".into(), "h:b".into()].into(),
        publish: false,
        expire_at: None,
        user: None,
    };
    let named = |channel: &str| ServerSubscription {
        channel: channel.into(),
        info: None,
        data: None,
        overrides: Overrides::default(),
    };
    let subscriptions = [named("h:b")].into();
    let claims = ConnectClaims { user: "ann".into(), subscriptions, ..ConnectClaims::default() };
    let granted = admit_user(wish, &claims, &policy).expect("admitted");
    assert_eq!(granted.asked, ["h:a".into()]);
}
