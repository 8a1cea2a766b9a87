//! What calls may say, at the bounds of each rule.

use super::*;

fn publish(body: &str) -> Result<(ChannelName, Payload), ApiError> {
    Ok(Call::<Channel>::read(body.as_bytes())?.publish(64)?)
}

fn broadcast(body: &str) -> Result<(Vec<ChannelName>, Payload), ApiError> {
    Ok(Call::<Channels>::read(body.as_bytes())?.broadcast(64)?)
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
    assert_eq!(bad(publish(r#"{"data":1}"#)), BadRequest::TargetMissing("channel"));
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
        Call::<Channel>::read(body.as_bytes()).expect("readable").publish(1 << 20)
    };
    data(&nest(limits::JSON_DEPTH_MAX)).expect("the most");
    assert_eq!(data(&nest(limits::JSON_DEPTH_MAX + 1)), Err(BadRequest::DataTooDeep));
    assert_eq!(data(&nest(300_000)), Err(BadRequest::DataTooDeep));
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
        (r#"{"channel":null,"data":1}"#, "line 1 column 15", "expected a string"),
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
    assert!(text.contains("channels: invalid type") && text.contains("column 18"), "{text}");
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
