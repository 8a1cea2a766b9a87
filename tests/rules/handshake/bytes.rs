//! H11-H18: bodies, bytes no head may contain, bytes behind the head, limits, the deadline.

use super::{BAD, End, HandshakeRow, UPGRADE_REQUIRED, accepted, plus, refused, with};

pub(super) fn append(rows: &mut Vec<HandshakeRow>) {
    bodies(rows);
    syntax(rows);
    behind_the_head(rows);
    limits(rows);
    deadline(rows);
}

fn bodies(rows: &mut Vec<HandshakeRow>) {
    rows.extend(accepted("H11", &[("content_length_0", plus("Content-Length: 0\r\n"))]));
    let text = "the request announces a body with Content-Length; no request here has one, leave \
        it out";
    let body = plus("Content-Length: 5\r\n") + "hello";
    rows.extend(refused("H11", BAD, text, &[("body", body)]));
    let text =
        "the request has a Transfer-Encoding header; no request here has a body, leave it out";
    let encoded = [
        ("chunked", plus("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n"),
        ("chunked_and_length", plus("Content-Length: 0\r\nTransfer-Encoding: identity\r\n")),
    ];
    rows.extend(refused("H11", BAD, text, &encoded));
    let text = "Content-Length is repeated or not a number; leave it out";
    let lengths = [
        ("two_equal", plus("Content-Length: 0\r\nContent-Length: 0\r\n")),
        ("two_others", plus("Content-Length: 0\r\nContent-Length: 5\r\n")),
        ("a_list", plus("Content-Length: 0, 0\r\n")),
        ("signed", plus("Content-Length: +0\r\n")),
        ("no_number", plus("Content-Length: x\r\n")),
    ];
    rows.extend(refused("H13", BAD, text, &lengths));
}

fn syntax(rows: &mut Vec<HandshakeRow>) {
    let text = "the first byte is no letter of a request line such as `GET / HTTP/1.1`; if this \
        was meant to be TLS: this port speaks plain HTTP, use ws:// instead of wss://";
    let first: [(&'static str, &[u8]); 3] = [
        ("empty_line_first", b"\r\nGET /echo HTTP/1.1\r\n\r\n"),
        ("nul_first", b"\0GET /echo HTTP/1.1\r\n\r\n"),
        ("tls_hello", b"\x16\x03\x01\x02\0\x01\0\x01\xfc"),
    ];
    rows.extend(refused("H12", BAD, text, &first));
    const CR: &str = "a CR without a LF behind it; end every line with CR LF";
    const LF: &str = "a LF without a CR before it; end every line with CR LF";
    const CONTROL: &str = "a control byte; percent-encode it or leave it out";
    for (name, input, at, what) in [
        ("bare_cr", "GET /echo HTTP/1.1\rHost: a\r\n\r\n", 18, CR),
        ("bare_cr_in_value", "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", 20, CR),
        ("bare_lf", "GET /echo HTTP/1.1\nHost: a\n\n", 18, LF),
        ("nul_in_target", "GET /\0 HTTP/1.1\r\n\r\n", 5, CONTROL),
        ("nul_in_value", "GET / HTTP/1.1\r\nA: \0\r\n\r\n", 19, CONTROL),
        ("escape", "GET / HTTP/1.1\r\nA: \x1b[2J\r\n\r\n", 19, CONTROL),
    ] {
        let text = format!("byte {at} of the request is {what}");
        rows.extend(refused("H12", BAD, &text, &[(name, input)]));
    }
    for (name, input, at) in [
        ("folded", "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 22),
        ("blank_first", "GET / HTTP/1.1\r\n A: b\r\n\r\n", 16),
    ] {
        let text = format!(
            "the header line at byte {at} begins with a blank; put each header on one line"
        );
        rows.extend(refused("H12", BAD, &text, &[(name, input)]));
    }
    let text = "a header line is not `Name: value` with a plain name and no blank before the colon";
    let lines = [("blank_before_colon", plus("A : b\r\n")), ("no_colon", plus("A\r\n"))];
    rows.extend(refused("H12", BAD, text, &lines));
}

fn behind_the_head(rows: &mut Vec<HandshakeRow>) {
    // A masked text "hi" (mask 0) and what /echo makes of it.
    let frame = b"\x81\x82\0\0\0\0hi";
    // What follows a refusal or a page is never answered: neither frame nor second request.
    let second = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n";
    let input = with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 12\r\n").into_bytes();
    let text = "Sec-WebSocket-Version is not 13; only RFC 6455 is spoken here";
    let input = [&input[..], second, frame].concat();
    rows.extend(refused("H14", UPGRADE_REQUIRED, text, &[("a_second_request", input)]));
    let mut page = accepted("H14", &[("a_page_ends_it_too", String::new())]);
    page[0].input = [&b"GET /health HTTP/1.0\r\n\r\n"[..], second].concat();
    page[0].expect = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\
        Content-Length: 3\r\nConnection: close\r\nCache-Control: no-store\r\n\r\nok\n"
        .to_vec();
    page[0].end = End::Closed;
    rows.append(&mut page);

    for (name, leftover, answer) in [
        ("a_frame_behind_the_head", &frame[..], &b"\x81\x02hi"[..]),
        ("half_a_frame", &frame[..3], b""),
    ] {
        let mut row = accepted("H15", &[(name, plus(""))]);
        row[0].input.extend_from_slice(leftover);
        row[0].leftover = leftover.to_vec();
        row[0].expect_frames = answer.to_vec();
        rows.append(&mut row);
    }
    let lines = "A:b\r\nB:\r\nCookie: a=b; c=d\r\nX-Text: \u{e4}\t!\r\n";
    rows.extend(accepted("H16", &[("every_kind_of_line", plus(lines))]));
}

fn limits(rows: &mut Vec<HandshakeRow>) {
    const TOO_LARGE: &str = "431 Request Header Fields Too Large";
    let get = |len: usize| {
        let padding = "x".repeat(len - "GET /echo? HTTP/1.1".len());
        with("GET", &format!("GET /echo?{padding} HTTP/1.1\r\n"))
    };
    let header = |len: usize| plus(&format!("A: {}\r\n", "x".repeat(len - 3)));
    let count = |count: usize| plus(&"A: b\r\n".repeat(count - 5));
    // Two long lines and a third that fills the head.
    let head = |len: usize| {
        let long = format!("A: {}\r\n", "x".repeat(7_000)).repeat(2);
        let rest = len - plus(&long).len() - "B: \r\n".len();
        plus(&format!("{long}B: {}\r\n", "x".repeat(rest)))
    };
    assert_eq!(head(16_384).len(), 16_384);
    let fit = [
        ("request_line_of_8192", get(8_192)),
        ("header_line_of_8192", header(8_192)),
        ("head_of_16384", head(16_384)),
        ("100_headers", count(100)),
    ];
    rows.extend(accepted("H17", &fit));
    let text = "the request line is longer than 8192 bytes; ask for less in one URL";
    let long = [("request_line_of_8193", get(8_193))];
    rows.extend(refused("H17", "414 URI Too Long", text, &long));
    let text = "a header line is longer than 8192 bytes; send less in it, cookies above all";
    rows.extend(refused("H17", TOO_LARGE, text, &[("header_line_of_8193", header(8_193))]));
    let text = "the request head is longer than 16384 bytes; send fewer or shorter headers";
    rows.extend(refused("H17", TOO_LARGE, text, &[("head_of_16385", head(16_385))]));
    let text = "the request has more than 100 header lines; send fewer";
    rows.extend(refused("H17", TOO_LARGE, text, &[("101_headers", count(101))]));
}

fn deadline(rows: &mut Vec<HandshakeRow>) {
    let half = plus("").trim_end().to_owned();
    for input in [("nothing_is_sent", String::new()), ("half_a_head", half)] {
        let mut row = accepted("H18", &[input]);
        row[0].expect = Vec::new();
        row[0].end = End::Deadline;
        rows.append(&mut row);
    }
}
