//! The wire forms, byte for byte.

use std::cell::Cell;

use super::*;
use crate::id::ClientKey;

fn entry(payload: Payload) -> Entry {
    Entry { offset: 0, time_ms: 0, payload, tags: None, info: None, version: 0 }
}

fn push(channel: &str, entry: Entry) -> String {
    let epoch = Epoch::from_random(0);
    let publication = Publication::new(channel.into(), epoch, entry.into(), Instant::now());
    let frame = publication.json_frame(|| {}).clone();
    let text = match *frame {
        [0x81, 126, ref rest @ ..] => &rest[2..],
        [0x81, _, ref rest @ ..] => rest,
        _ => panic!("not one text frame: {frame:?}"),
    };
    let mut whole = Vec::new();
    encode::append_message(&mut whole, MessageKind::Text, text);
    assert_eq!(*frame, whole[..], "the header names what follows it");
    String::from_utf8(text.to_vec()).expect("text")
}

#[test]
fn what_is_empty_is_left_out_of_a_push() {
    let plain = entry(Payload::text(r#"{"n":1}"#));
    assert_eq!(
        push("news", plain.clone()),
        r#"{"push":{"channel":"news","pub":{"data":{"n":1}}}}"#
    );
    let tags = Some(Arc::new(Tags::new()));
    let numbered = Entry { offset: 18, tags, ..plain };
    let expected = r#"{"push":{"channel":"news","pub":{"data":{"n":1},"offset":18}}}"#;
    assert_eq!(push("news", numbered), expected);
}

#[test]
fn a_push_has_everything_in_the_order_of_the_protocol() {
    let info = ClientInfo {
        user: "42".into(),
        client: ClientKey::from_random(u128::MAX),
        conn_info: Some("{\n\"a\":1}".into()),
        chan_info: Some("[2]".into()),
    };
    let tags = [("k", "v"), ("q\"", "\n")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let full = Entry {
        offset: 1,
        time_ms: 1_700_000_000_000,
        payload: Payload::text("1"),
        tags: Some(Arc::new(tags.into())),
        info: Some(Arc::new(info)),
        version: 7,
    };
    let expected = concat!(
        r#"{"push":{"channel":"c\"\\","pub":{"data":1,"#,
        r#""info":{"user":"42","client":"ffffffff-ffff-4fff-bfff-ffffffffffff","#,
        r#""conn_info":{"a":1},"chan_info":[2]},"offset":1,"tags":{"k":"v","q\"":"\n"},"#,
        r#""time":1700000000000,"epoch":"aaaaaaaa","version":7}}}"#,
    );
    assert_eq!(push("c\"\\", full), expected);
}

#[test]
fn an_anonymous_client_has_no_user() {
    let client = ClientKey::from_random(0);
    let info = ClientInfo { user: "".into(), client, conn_info: None, chan_info: None };
    let mut out = Vec::new();
    info.append_json(&mut out);
    assert_eq!(out, br#"{"client":"00000000-0000-4000-8000-000000000000"}"#);
}

#[test]
fn pretty_printed_json_becomes_one_line_that_means_the_same() {
    let pretty = "{\r\n  \"text\": \"a\\nb\",\n\t\"list\": [\n1,\n2\n]\n}\n";
    let one = push("c", entry(Payload::text(pretty)));
    assert!(!one.contains(['\n', '\r']));
    let parsed: serde_json::Value = serde_json::from_str(&one).expect("still JSON");
    let expected: serde_json::Value = serde_json::from_str(pretty).expect("JSON");
    assert_eq!(parsed["push"]["pub"]["data"], expected);
}

#[test]
fn each_frame_is_built_once_and_shared() {
    let epoch = Epoch::from_random(0);
    let entry = Arc::new(entry(Payload::text("{}")));
    let publication = Publication::new("c".into(), epoch, entry, Instant::now());
    let built = Cell::new(0);
    let [first, second] = [0, 1].map(|_| publication.json_frame(|| built.set(built.get() + 1)));
    assert!(Arc::ptr_eq(first, second));
    assert_eq!(built.get(), 1);
    assert!(Arc::ptr_eq(publication.raw_frame(), publication.raw_frame()));
    assert_eq!(**publication.raw_frame(), *b"\x81\x02{}");
}

#[test]
fn each_form_is_compressed_once_by_itself() {
    let epoch = Epoch::from_random(0);
    let entry = Arc::new(entry(Payload::text("[1]")));
    let publication = Publication::new("c".into(), epoch, entry, Instant::now());
    publication.json_frame(|| {});
    let push = r#"{"push":{"channel":"c","pub":{"data":[1]}}}"#;
    for (form, message, deflated) in
        [(Form::Raw, "[1]", &b"de"[..]), (Form::Json, push, b"deflated")]
    {
        let compress = |text: &[u8]| {
            assert_eq!(text, message.as_bytes());
            deflated.to_vec()
        };
        let first = publication.compressed_frame(form, compress).expect("shorter");
        let again = publication.compressed_frame(form, |_| panic!("compressed twice"));
        assert!(Arc::ptr_eq(first, again.expect("shorter")));
        // FIN, RSV1, text; no mask.
        assert_eq!(**first, [&[0xC1, deflated.len() as u8], deflated].concat());
    }
}

#[test]
fn an_epoch_is_read_back_from_its_text() {
    let epoch = Epoch::from_random(123_456_789);
    assert_eq!(Epoch::parse(epoch.as_str()), Some(epoch));
    for other in ["", "abcdefg", "abcdefghi", "ABCDEFGH", "abcdefg1", "abcdefé"] {
        assert_eq!(Epoch::parse(other), None, "{other}");
    }
}

#[test]
fn the_size_of_an_entry_grows_with_what_it_holds() {
    let plain = entry(Payload::text("12345"));
    assert_eq!(plain.size(), entry(Payload::text("")).size() + 5);
    let tags = Tags::from([("ab".to_owned(), "cde".to_owned())]);
    let tagged = Entry { tags: Some(Arc::new(tags)), ..plain.clone() };
    assert_eq!(tagged.size(), plain.size() + 5 + 2 * size_of::<String>());
    let client = ClientKey::from_random(0);
    let conn_info = Some("{}".into());
    let info = ClientInfo { user: "u".into(), client, conn_info, chan_info: None };
    let signed = Entry { info: Some(Arc::new(info)), ..plain.clone() };
    assert_eq!(signed.size(), plain.size() + size_of::<ClientInfo>() + 3);
}
