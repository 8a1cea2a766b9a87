//! What calls may say, at the bounds of each rule.

use std::fmt;

use super::*;
use crate::control::answer::{At, ChannelFault};
use crate::id::{ClientKey, SessionKey};
use crate::protocol::claims::Overrides;

fn publish(body: &str) -> Result<(ChannelName, Payload), ApiError> {
    let (channel, publication) = publish_with(body, 64)?;
    assert_eq!(publication.options, PublishOptions::default());
    Ok((channel, publication.payload))
}

fn publish_with(body: &str, size_max: usize) -> Result<(ChannelName, Publication), ApiError> {
    match read(Method::Publish, body.as_bytes(), size_max)? {
        Task::Publish(channel, publication) => Ok((channel, *publication)),
        other => panic!("{other:?}"),
    }
}

fn broadcast(body: &str) -> Result<(Vec<ChannelName>, Payload), ApiError> {
    match read(Method::Broadcast, body.as_bytes(), 64)? {
        Task::Broadcast(channels, publication) => Ok((channels, publication.payload)),
        other => panic!("{other:?}"),
    }
}

fn bad<T: fmt::Debug>(result: Result<T, ApiError>) -> BadRequest {
    match result {
        Err(ApiError::BadRequest(bad)) => bad,
        other => panic!("{other:?}"),
    }
}

#[test]
fn data_is_the_json_text_as_received() {
    for json in [
        "null",
        "false",
        "0",
        "-0.0e+7",
        "1e999",
        "123456789012345678901234567890",
        r#"" \ud800 \u0000 ü""#,
        "{ \"a\" :\t1,\n \"a\": 2 }",
        "[]",
    ] {
        let body = format!("{{\"data\": {json} ,\"channel\":\"a\"}}");
        let (channel, payload) = publish(&body).expect(json);
        assert_eq!((&*channel, payload), ("a", Payload::text(json)));
    }
}

#[test]
fn b64data_is_binary_and_strict() {
    let b64 = |text: &str| publish(&format!(r#"{{"channel":"a","b64data":"{text}"}}"#));
    assert_eq!(b64("/wA=").expect("canonical").1, Payload::binary(&[255, 0]));
    assert_eq!(b64("").expect("no bytes").1, Payload::binary(&[]));
    for text in ["/wA", "_wA=", "/wB=", "/w A=", "/wA=\\n", "=", "ü"] {
        let fault = bad(b64(text));
        assert!(matches!(fault, BadRequest::NotBase64(_)), "{text}: {fault:?}");
        assert!(fault.to_string().starts_with("b64data"), "{fault}");
    }
}

#[test]
fn exactly_one_payload() {
    assert_eq!(bad(publish(r#"{"channel":"a"}"#)), BadRequest::DataMissing);
    let both = r#"{"channel":"a","data":null,"b64data":""}"#;
    assert_eq!(bad(publish(both)), BadRequest::DataTwice);
}

#[test]
fn publication_size_is_inclusive() {
    let data = |len: usize| publish(&format!(r#"{{"channel":"a","data":"{}"}}"#, "x".repeat(len)));
    data(62).expect("64 bytes with the quotes");
    let fault = BadRequest::PublicationTooLarge { len: 65, size_max: 64 };
    assert_eq!(bad(data(63)), fault);
    assert!(fault.to_string().contains("publication_size (64)"));
}

#[test]
fn channel_names_have_bounds() {
    let name = |name: &str| publish(&format!(r#"{{"channel":"{name}","data":1}}"#));
    name(&"é".repeat(127)).expect("254 bytes");
    name(&"x".repeat(255)).expect("255 bytes");
    let at = At::Channel;
    let faults = [
        ("", ChannelFault::Empty),
        (&*"é".repeat(128), ChannelFault::TooLong { len: 256 }),
        (r"a\u0000", ChannelFault::ControlCharacter('\0')),
        (r"a\u007f", ChannelFault::ControlCharacter('\u{7f}')),
        (r"\u001b[2J", ChannelFault::ControlCharacter('\u{1b}')),
        (r"a\u0085", ChannelFault::ControlCharacter('\u{85}')),
    ];
    for (text, fault) in faults {
        assert_eq!(bad(name(text)), BadRequest::Channel { at, fault });
    }
    assert_eq!(bad(publish(r#"{"data":1}"#)), BadRequest::Missing("channel"));
}

#[test]
fn broadcast_channels_have_bounds() {
    let list = |count: usize| {
        let names = vec![r#""a""#; count].join(",");
        broadcast(&format!(r#"{{"channels":[{names}],"data":1}}"#))
    };
    assert_eq!(list(limits::BROADCAST_CHANNELS_MAX).expect("the most").0.len(), 1_000);
    for count in [1_001, 1_002, 5_000] {
        assert_eq!(bad(list(count)), BadRequest::ChannelsTooMany);
    }
    assert_eq!(bad(list(0)), BadRequest::ChannelsEmpty);
    let fault = bad(broadcast(r#"{"channels":["a",""],"data":1}"#));
    assert_eq!(fault.to_string(), "channels[1] is empty");
}

#[test]
fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
    let nest = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let data = |data: &str| {
        let body = format!(r#"{{"channel":"a","data":{data}}}"#);
        publish_with(&body, 1 << 20)
    };
    data(&nest(limits::JSON_DEPTH_MAX)).expect("the most");
    assert_eq!(bad(data(&nest(limits::JSON_DEPTH_MAX + 1))), BadRequest::DataTooDeep);
    assert_eq!(bad(data(&nest(300_000))), BadRequest::DataTooDeep);
    data(&format!(r#""\"{}\\""#, "[{".repeat(200))).expect("one string");
    data(&format!("[{}[]]", "[],".repeat(200))).expect("wide, not deep");
}

#[test]
fn unreadable_bodies_say_where_and_what() {
    for (body, place, fault) in [
        ("", "line 1 column 0", "EOF"),
        ("{\n \"channel\": ]", "line 2 column 13", "channel: expected value"),
        (r#"["a",1]"#, "line 1 column", "expected an object"),
        ("5", "line 1 column 1", "expected an object"),
        (r#"{"channel":5,"data":1}"#, "line 1 column 12", "channel: invalid type: integer"),
        (r#"{"channel":"a","chanel":"a"}"#, "line 1 column 23", "unknown field `chanel`"),
        (r#"{"channel":"a","channel":"b"}"#, "line 1 column 24", "duplicate field `channel`"),
        (r#"{"channel":"a","data":1} x"#, "line 1 column 26", "trailing characters"),
        (r#"{"channel":"a","data":01}"#, "line 1 column 24", "invalid number"),
        (r#"{"channel":"\ud800","data":1}"#, "line 1 column 19", "channel:"),
        ("\u{feff}{}", "line 1 column 1", "expected value"),
    ] {
        match publish(body) {
            Err(ApiError::Unreadable(text)) => {
                assert!(text.contains(place) && text.contains(fault), "{body}: {text}");
                assert_eq!(text.matches("column").count(), 1, "{text}");
            }
            other => panic!("{body}: {other:?}"),
        }
    }
    let ApiError::Unreadable(text) = broadcast(r#"{"channels":["a",7]}"#).expect_err("a number")
    else {
        panic!("readable");
    };
    assert!(text.contains("channels[1]: invalid type") && text.contains("column 18"), "{text}");
}

#[test]
fn what_a_fault_quotes_is_bounded() {
    let body = format!(r#"{{"{}":1}}"#, "é".repeat(100_000));
    let ApiError::Unreadable(text) = publish(&body).expect_err("no such field") else {
        panic!("readable");
    };
    let length = text.chars().count();
    assert!(length < 2 * limits::API_FAULT_TEXT_MAX, "{length} characters");
}

#[test]
fn null_is_not_there() {
    assert_eq!(bad(publish(r#"{"channel":null,"data":1}"#)), BadRequest::Missing("channel"));
    let body = r#"{"channel":"a","data":null,"b64data":null,"tags":null,"version":null}"#;
    assert_eq!(publish(body).expect("data is JSON").1, Payload::text("null"));
}

#[test]
fn publish_options_have_bounds() {
    let options = |fields: &str| {
        let body = format!(r#"{{"channel":"a","data":1,{fields}}}"#);
        publish_with(&body, 64).map(|(_, publication)| publication.options)
    };
    let all = options(
        r#""tags":{"a":"b"},"skip_history":true,"idempotency_key":"k","delta":true,
        "version":18446744073709551615,"version_epoch":"e""#,
    );
    let expected = PublishOptions {
        tags: Some(std::sync::Arc::new([("a".to_owned(), "b".to_owned())].into())),
        idempotency_key: Some("k".into()),
        version: u64::MAX,
        version_epoch: Some("e".into()),
        skip_history: true,
    };
    assert_eq!(all.expect("all of them"), expected);
    let empty = r#""tags":{},"idempotency_key":"","version":0,"version_epoch":"","delta":false"#;
    assert_eq!(options(empty).expect("none of them"), PublishOptions::default());
    let long = "x".repeat(256);
    let many: Vec<_> = (0..=limits::TAGS_MAX).map(|n| format!(r#""{n}":"""#)).collect();
    for (fields, fault) in [
        (format!(r#""tags":{{"{long}":""}}"#), "tags holds a name or value of more than 255 bytes"),
        (format!(r#""tags":{{"a":"{long}"}}"#), "tags holds a name or value"),
        (format!(r#""tags":{{{}}}"#, many.join(",")), "more than 64 tags"),
        (format!(r#""idempotency_key":"{long}""#), "idempotency_key has 256 bytes"),
        (format!(r#""version_epoch":"{long}""#), "version_epoch has 256 bytes"),
    ] {
        assert!(bad(options(&fields)).to_string().contains(fault), "{fields}");
    }
    for fields in
        [r#""version":-1"#, r#""version":1.5"#, r#""tags":{"a":1}"#, r#""skip_history":1"#]
    {
        assert!(matches!(options(fields), Err(ApiError::Unreadable(_))), "{fields}");
    }
}

#[test]
fn history_is_asked_within_bounds() {
    let ask = |fields: &str| {
        let body = format!(r#"{{"channel":"a"{fields}}}"#);
        match read(Method::History, body.as_bytes(), 64)? {
            Task::History(_, ask) => Ok((ask.limit, ask.since, ask.reverse)),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ask("").expect("the position alone"), (0, None, false));
    assert_eq!(ask(r#","limit":-1,"reverse":true"#).expect("all"), (usize::MAX, None, true));
    let since = ask(r#","since":{"offset":3,"epoch":"abcdefgh"}"#).expect("a position").1;
    assert_eq!(since.map(|since| since.offset), Some(3));
    assert_eq!(bad(ask(r#","limit":-2"#)), BadRequest::LimitNegative);
    assert!(matches!(ask(r#","since":[3]"#), Err(ApiError::Unreadable(_))));
}

#[test]
fn clients_are_meant_by_user_client_and_session() {
    let who = |fields: &str| {
        let body = format!(r#"{{"channel":"a"{fields}}}"#);
        match read(Method::Unsubscribe, body.as_bytes(), 64)? {
            Task::Steer(who, Deed::Unsubscribe(_)) => Ok(who),
            other => panic!("{other:?}"),
        }
    };
    let client = ClientKey::from_random(1);
    let session = SessionKey { client, secret: 7 };
    let all = format!(r#","user":"ann","client":"{client}","session":"{session}""#);
    let all = who(&all).expect("all of them").expect("somebody");
    let expected = Selector {
        user: Some("ann".into()),
        client: Some(client),
        session: Some(session),
        spared: Vec::new(),
    };
    assert_eq!(*all, expected);
    let one = who(&format!(r#","session":"{session}""#)).expect("one of them").expect("somebody");
    assert_eq!((one.client, one.session), (None, Some(session)));
    // Nobody has an id like these.
    for nobody in [r#""client":"x""#, r#""session":"x""#, r#""user":"ann","session":"x""#] {
        assert_eq!(who(&format!(",{nobody}")).expect("readable"), None, "{nobody}");
    }
    for nothing in ["", r#","user":"","client":null,"session":"""#] {
        assert_eq!(bad(who(nothing)), BadRequest::NobodyMeant, "{nothing}");
    }
}

#[test]
fn overrides_are_taken_one_by_one() {
    let overrides = |fields: &str| {
        let body = format!(r#"{{"channel":"a","user":"ann","override":{fields}}}"#);
        match read(Method::Subscribe, body.as_bytes(), 64).expect("readable") {
            Task::Steer(_, Deed::Subscribe(enrolment)) => enrolment.overrides,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(overrides("null"), Overrides::default());
    let names =
        ["presence", "join_leave", "force_recovery", "force_positioning", "force_push_join_leave"];
    for name in names {
        let one = overrides(&format!(r#"{{"{name}":{{"value":true}}}}"#));
        let values = [
            one.presence,
            one.join_leave,
            one.force_recovery,
            one.force_positioning,
            one.force_push_join_leave,
        ];
        for (other, value) in names.into_iter().zip(values) {
            assert_eq!(value, (other == name).then_some(true), "{name}: {one:?}");
        }
    }
}

#[test]
fn patterns_are_globs() {
    let matches = |pattern: &str, name: &str| {
        let body = serde_json::json!({ "pattern": pattern }).to_string();
        match read(Method::Channels, body.as_bytes(), 64) {
            Ok(Task::Channels(glob)) => glob.is_none_or(|glob| glob.is_match(name)),
            other => panic!("{other:?}"),
        }
    };
    for (pattern, name) in [
        ("", "a"),
        ("*", "a/b:c"),
        ("a*", "a"),
        ("a?c", "abc"),
        ("{a,b}:*", "b:1"),
        ("[a-c]1", "b1"),
        ("[!a]1", "b1"),
        (r"\*", "*"),
        ("**", "a:b"),
        ("chat:*:in", "chat:1/2:in"),
    ] {
        assert!(matches(pattern, name), "{pattern} {name}");
    }
    for (pattern, name) in [("a", "ab"), ("a?", "a"), ("[!a]1", "a1"), ("b*", "ab"), (r"\*", "a")] {
        assert!(!matches(pattern, name), "{pattern} {name}");
    }
    let fault = |pattern: &str| {
        let body = serde_json::json!({ "pattern": pattern }).to_string();
        bad(read(Method::Channels, body.as_bytes(), 64))
    };
    assert!(matches!(fault("[a"), BadRequest::PatternMalformed(_)));
    assert_eq!(fault(&"x".repeat(256)), BadRequest::PatternTooLong { len: 256 });
}

#[test]
fn batches_are_read_whole() {
    let batch = |body: &str| match read(Method::Batch, body.as_bytes(), 64)? {
        Task::Batch(batch) => Ok(batch),
        other => panic!("{other:?}"),
    };
    let body = r#"{"parallel":true,"commands":[{"publish":{"channel":"a","data":1}},{"info":{}},
        {"history":{"channel":""}}]}"#;
    let Batch { commands, parallel } = batch(body).expect("three commands");
    assert!(parallel && commands[0].1.is_ok() && commands[1].1.is_ok());
    assert!(matches!(commands[2], (Method::History, Err(ApiError::BadRequest(_)))));
    for (body, fault) in [
        (r#"{"commands":[{"publish":{"chanel":"a"}}]}"#, "in commands[0]: cannot read"),
        (r#"{"commands":[{"info":{}},{"nothing":{}}]}"#, "commands[1]: there is no method"),
        (r#"{"commands":[{"batch":{"commands":[]}}]}"#, "no method \"batch\" in a batch"),
        (r#"{"commands":[{}]}"#, "commands[0]: invalid length 0"),
        (r#"{"commands":[{"info":{},"rpc":{}}]}"#, "commands[0]: invalid length 2"),
        (r#"{"commands":{}}"#, "commands: invalid type"),
    ] {
        let Err(ApiError::Unreadable(text)) = batch(body) else { panic!("{body}") };
        assert!(text.contains(fault), "{text}");
    }
    assert_eq!(bad(batch("{}")), BadRequest::Missing("commands"));
    let most = vec![r#"{"info":{}}"#; limits::BATCH_COMMANDS_MAX + 1].join(",");
    assert_eq!(bad(batch(&format!(r#"{{"commands":[{most}]}}"#))), BadRequest::CommandsTooMany);
}
