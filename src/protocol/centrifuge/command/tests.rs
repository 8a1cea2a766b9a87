//! Every command, every form of nonsense, and data kept as it was written.

use super::*;

/// Every command of one message, in words, or what is wrong with it.
fn read(text: &str) -> Result<Vec<String>, Malformed> {
    check(text)?;
    let mut rest = text;
    let mut commands = Vec::new();
    while let Some((command, consumed)) = next(rest)? {
        commands.push(words(&command));
        rest = &rest[consumed..];
    }
    Ok(commands)
}

fn words(Command { id, method }: &Command<'_>) -> String {
    let what = match method {
        Method::Connect(c) => {
            let subs = c.subs.iter().map(|(channel, Object(resume))| {
                let Resume { recover, epoch, offset } = resume;
                format!(" {:?} recover={recover} {offset}@{}", &**channel, &**epoch)
            });
            format!("connect {} {}{}", &*c.name, &*c.version, subs.collect::<String>())
        }
        Method::Subscribe(s) => format!(
            "subscribe {} recover={} {}@{} positioned={} recoverable={} join_leave={} flag={} \
             delta={} type={} filter={}",
            &*s.channel,
            s.recover,
            s.offset,
            &*s.epoch,
            s.positioned,
            s.recoverable,
            s.join_leave,
            s.flag,
            &*s.delta,
            s.kind,
            s.tags_filter.is_some(),
        ),
        Method::Unsubscribe(c) => format!("unsubscribe {}", &*c.channel),
        Method::Publish(p) => format!("publish {} {:?}", &*p.channel, p.data.map(RawValue::get)),
        Method::Presence(c) => format!("presence {}", &*c.channel),
        Method::PresenceStats(c) => format!("presence_stats {}", &*c.channel),
        Method::History(h) => {
            let since = h.since.as_ref().map(|Object(since)| (since.offset, &*since.epoch));
            format!("history {} {} {since:?} {}", &*h.channel, h.limit, h.reverse)
        }
        Method::Send => "send".to_owned(),
        Method::Rpc(rpc) => format!("rpc {}", &*rpc.method),
        Method::Refresh(ask) => format!("refresh {}", &*ask.token),
        Method::SubRefresh(c) => format!("sub_refresh {}", &*c.channel),
        Method::Pong => "pong".to_owned(),
    };
    format!("{id} {}", what.trim_end())
}

#[test]
fn every_command_of_the_protocol() {
    let plain = "recover=false 0@ positioned=false recoverable=false join_leave=false flag=0 \
                 delta= type=0 filter=false";
    for (text, expect) in [
        (r#"{"id":1,"connect":{}}"#, "1 connect".to_owned()),
        (
            r#"{"connect":{"token":"t","data":{"a":1},"subs":{"a":{"recover":true}},"name":"js","version":"5","headers":{"a":"b"},"flag":3},"id":1}"#,
            "1 connect js 5 \"a\" recover=true 0@".to_owned(),
        ),
        (
            r#"{"id":1,"connect":{"subs":{"b":{"recover":null,"offset":7,"epoch":"e","flag":1},"a\n":{}}}}"#,
            "1 connect   \"a\\n\" recover=false 0@ \"b\" recover=false 7@e".to_owned(),
        ),
        (r#"{"id":1,"connect":{"subs":null}}"#, "1 connect".to_owned()),
        (r#"{"id":2,"subscribe":{"channel":"news"}}"#, format!("2 subscribe news {plain}")),
        (
            r#"{"id":4294967295,"subscribe":{"channel":"a","token":"","recover":true,"epoch":"xyz","offset":18446744073709551615,"data":[1],"positioned":true,"recoverable":true,"join_leave":true,"flag":3,"delta":"fossil","type":1,"tf":{"op":""}}}"#,
            "4294967295 subscribe a recover=true 18446744073709551615@xyz positioned=true \
             recoverable=true join_leave=true flag=3 delta=fossil type=1 filter=true"
                .to_owned(),
        ),
        (r#"{"id":3,"unsubscribe":{"channel":"a"}}"#, "3 unsubscribe a".to_owned()),
        (r#"{"id":3,"presence":{"channel":"a"}}"#, "3 presence a".to_owned()),
        (r#"{"id":3,"presence_stats":{"channel":"a"}}"#, "3 presence_stats a".to_owned()),
        (r#"{"id":3,"history":{"channel":"a"}}"#, "3 history a 0 None false".to_owned()),
        (
            r#"{"id":3,"history":{"channel":"a","limit":-1,"since":{"offset":4,"epoch":"e"},"reverse":true}}"#,
            r#"3 history a -1 Some((4, "e")) true"#.to_owned(),
        ),
        (r#"{"send":{"data":{"a":1}}}"#, "0 send".to_owned()),
        (r#"{"id":9,"send":{}}"#, "9 send".to_owned()),
        (r#"{"id":4,"rpc":{"method":"m","data":{}}}"#, "4 rpc m".to_owned()),
        (r#"{"id":4,"refresh":{"token":"t"}}"#, "4 refresh t".to_owned()),
        (r#"{"id":4,"sub_refresh":{"channel":"a","token":"t"}}"#, "4 sub_refresh a".to_owned()),
        ("{}", "0 pong".to_owned()),
        (r#"{"id":0}"#, "0 pong".to_owned()),
    ] {
        assert_eq!(read(text), Ok(vec![expect]), "{text}");
    }
}

#[test]
fn empty_fields_may_be_null_and_unknown_ones_are_ignored() {
    for text in [
        r#"{"id":1,"subscribe":{"channel":"a","recover":null,"epoch":null,"offset":null,"tf":null,"delta":null},"connect":null}"#,
        r#"{"id":1,"future":{"x":[1,{"y":null}]},"subscribe":{"channel":"a","phase":2,"cursor":"c"}}"#,
    ] {
        let read = read(text).expect(text);
        assert!(read[0].starts_with("1 subscribe a recover=false 0@"), "{read:?}");
    }
    // The first method in the protocol's order is taken.
    let both = r#"{"id":1,"publish":{"channel":"b"},"subscribe":{"channel":"a"}}"#;
    assert!(read(both).expect(both)[0].starts_with("1 subscribe a"));
}

#[test]
fn data_stays_as_it_was_written() {
    for data in [
        "null",
        "0",
        "-1.50e+3",
        r#""\u00e4\n""#,
        "[ ]",
        "{\n  \"a\" : [1,\r\n\t2]\n}",
        "\"\u{7f}\"",
    ] {
        let text = format!(r#"{{"id":1,"publish":{{"data":{data},"channel":"c"}}}}"#);
        assert_eq!(read(&text), Ok(vec![format!("1 publish c {:?}", Some(data))]), "{text}");
    }
    let none = r#"{"id":1,"publish":{"channel":"c"}}"#;
    assert_eq!(read(none), Ok(vec!["1 publish c None".to_owned()]));
}

#[test]
fn names_with_escapes_are_what_they_stand_for() {
    let text = r#"{"id":1,"unsubscribe":{"channel":"\u00e4\"\\ \ud83d\ude00"}}"#;
    assert_eq!(read(text), Ok(vec!["1 unsubscribe \u{e4}\"\\ \u{1f600}".to_owned()]));
}

#[test]
fn commands_of_one_message() {
    let expect = Ok(vec!["1 connect".to_owned(), "2 rpc".to_owned(), "0 pong".to_owned()]);
    for text in [
        "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"rpc\":{}}\n{}",
        "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"rpc\":{}}\n{}\n",
        "\n\r\n {\"id\":1,\"connect\":{}}\r\n\n{\"id\":2,\"rpc\":{}} {}\t\n",
        "{\n  \"id\": 1,\n  \"connect\": {\n  }\n}\n{\"id\":2,\"rpc\":{}}\n{\n}",
    ] {
        assert_eq!(read(text), expect, "{text:?}");
    }
}

#[test]
fn what_is_no_command() {
    for text in [
        "x",
        "1",
        "null",
        "\"a\"",
        "[]",
        "[{}]",
        "{",
        "{\"id\":1",
        "{\"id\":-1,\"rpc\":{}}",
        "{\"id\":1.5,\"rpc\":{}}",
        "{\"id\":\"1\",\"rpc\":{}}",
        "{\"id\":4294967296,\"rpc\":{}}",
        "{\"id\":99999999999999999999,\"rpc\":{}}",
        "{\"id\":1,\"id\":1,\"rpc\":{}}",
        "{\"id\":1,\"rpc\":1}",
        "{\"id\":1,\"connect\":[]}",
        "{\"id\":1,\"subscribe\":{\"channel\":1}}",
        "{\"id\":1,\"subscribe\":{\"channel\":\"a\",\"offset\":-1}}",
        "{\"id\":1,\"subscribe\":{\"channel\":\"a\",\"recover\":1}}",
        "{\"id\":1,\"subscribe\":{\"channel\":\"\\ud800\"}}",
        "{\"id\":1,\"publish\":{\"channel\":\"a\",\"data\":}}",
        "{\"id\":1,\"publish\":{\"channel\":\"a\",\"data\":\"a\nb\"}}",
        "{\"id\":1,\"publish\":{\"channel\":\"a\",\"data\":nul}}",
        "{\"id\":1,\"history\":{\"channel\":\"a\",\"since\":3}}",
        "{}x",
        "{},{}",
    ] {
        assert_eq!(read(text), Err(Malformed::NotACommand), "{text}");
    }
    for text in ["", "\n", " \r\n\t"] {
        assert_eq!(read(text), Err(Malformed::Empty), "{text:?}");
    }
    for text in [
        r#"{"id":1}"#,
        r#"{"id":1,"unknown":{}}"#,
        r#"{"connect":{}}"#,
        r#"{"id":0,"publish":{"channel":"a","data":1}}"#,
        r#"{"id":1,"ping":{}}"#,
    ] {
        assert_eq!(read(text), Err(Malformed::Incomplete), "{text}");
    }
}

#[test]
fn nesting_is_bounded_and_braces_in_strings_do_not_nest() {
    let nested = |depth: usize| {
        let data = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"id":1,"publish":{{"channel":"c","data":{data}}}}}"#)
    };
    let most = limits::JSON_DEPTH_MAX;
    assert!(read(&nested(most)).is_ok());
    assert_eq!(read(&nested(most + 1)), Err(Malformed::TooDeep));
    assert_eq!(read(&"[".repeat(60_000)), Err(Malformed::TooDeep));
    let braces = "[{\\\"\\\\".repeat(1_000);
    let text = format!(r#"{{"id":1,"publish":{{"channel":"c","data":"{braces}"}}}}"#);
    assert!(read(&text).is_ok());
    // Depth is a matter of one command, not of how many there are.
    assert!(read(&"{}".repeat(1_000)).is_ok());
}

#[test]
fn any_cut_of_a_message_is_malformed_or_fewer_commands() {
    let text = concat!(
        "{\"id\":1,\"connect\":{\"name\":\"\\u00e4\"}}\n",
        "{\"id\":2,\"subscribe\":{\"channel\":\"a\",\"offset\":12}}\n",
        "{\"id\":3,\"publish\":{\"channel\":\"a\",\"data\":{\"x\":[1,2]}}}"
    );
    let whole = read(text).expect("well formed");
    for end in 0..text.len() {
        if let Ok(commands) = read(&text[..end]) {
            assert!(whole.starts_with(&commands), "{end}: {commands:?}");
            assert!(commands.len() < whole.len());
        }
    }
}
