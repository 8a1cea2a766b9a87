//! H1-H10: request line, headers, origin, negotiation.

use super::{BAD, HandshakeRow, KEY, UPGRADE_REQUIRED, accepted, plus, refused, with};

pub(super) fn append(rows: &mut Vec<HandshakeRow>) {
    request_line(rows);
    host(rows);
    upgrade(rows);
    key(rows);
    version(rows);
    origin(rows);
    negotiation(rows);
}

fn request_line(rows: &mut Vec<HandshakeRow>) {
    const METHOD: &str = "405 Method Not Allowed";
    const VERSION: &str = "505 HTTP Version Not Supported";
    const ONLY_GET: &str = "only GET is answered here";
    let get = |line: &str| with("GET", &format!("{line}\r\n"));
    let good = [
        ("get_over_http_1_1", get("GET /echo HTTP/1.1")),
        ("a_later_minor_version", get("GET /echo HTTP/1.2")),
        ("absolute_form", get("GET http://gateway.example/echo HTTP/1.1")),
    ];
    rows.extend(accepted("H1", &good));
    let methods =
        [("post", get("POST /echo HTTP/1.1")), ("lower_case_get", get("get /echo HTTP/1.1"))];
    rows.extend(refused("H1", METHOD, ONLY_GET, &methods));
    // The answer to HEAD has the length of the body but not the body.
    let mut head = refused("H1", METHOD, ONLY_GET, &[("head", get("HEAD /echo HTTP/1.1"))]);
    let head_len = head[0].expect.len() - ONLY_GET.len() - 1;
    head[0].expect.truncate(head_len);
    rows.append(&mut head);
    let text = "a WebSocket needs HTTP/1.1 but the request line says HTTP/1.0; \
        behind nginx set `proxy_http_version 1.1`";
    rows.extend(refused("H1", VERSION, text, &[("http_1_0", get("GET /echo HTTP/1.0"))]));
    let text = "the request line names an HTTP version other than 1.0 and 1.1; use HTTP/1.1";
    rows.extend(refused("H1", VERSION, text, &[("http_2", get("GET /echo HTTP/2.0"))]));
    let text = "the first line is not a request line such as `GET /raw?channel=news HTTP/1.1`";
    let lines = [("no_version", get("GET /echo")), ("two_blanks", get("GET  /echo HTTP/1.1"))];
    rows.extend(refused("H1", BAD, text, &lines));
    let text = "the request target is neither a path nor a URL; percent-encode what is not ASCII \
        and leave out the fragment";
    rows.extend(refused("H1", BAD, text, &[("fragment", get("GET /echo#a HTTP/1.1"))]));
    let text = "there is nothing at this path; WebSocket clients connect to /raw?channel=NAME";
    let nowhere = [("unknown_path", get("GET /nowhere HTTP/1.1"))];
    rows.extend(refused("H1", "404 Not Found", text, &nowhere));
    let text = "the query names no channel; connect to /raw?channel=NAME";
    rows.extend(refused("H1", BAD, text, &[("no_channel", get("GET /raw HTTP/1.1"))]));
}

fn host(rows: &mut Vec<HandshakeRow>) {
    let host = |lines: &str| with("Host", lines);
    rows.extend(accepted("H2", &[("host_with_port", host("hOST: [::1]:8000\r\n"))]));
    let text = "the request has no Host header; send exactly one";
    rows.extend(refused("H2", BAD, text, &[("no_host", host(""))]));
    let text = "the request has more than one Host header; send exactly one";
    rows.extend(refused("H2", BAD, text, &[("two_hosts", host("Host: a\r\nHost: a\r\n"))]));
    let text = "the Host header is not a host name or address with an optional port";
    let malformed = [
        ("empty_host", host("Host:\r\n")),
        ("host_list", host("Host: a, b\r\n")),
        ("user_in_host", host("Host: u@a\r\n")),
    ];
    rows.extend(refused("H2", BAD, text, &malformed));
}

fn upgrade(rows: &mut Vec<HandshakeRow>) {
    let upgrade = |lines: &str| with("Upgrade", lines);
    let good = [
        ("any_case", upgrade("upgrade: WebSocket\r\n")),
        ("in_a_list", upgrade("Upgrade: h2c, websocket\r\n")),
        ("on_a_second_line", upgrade("Upgrade: h2c\r\nUpgrade: websocket\r\n")),
    ];
    rows.extend(accepted("H3", &good));
    let text = "this path speaks WebSocket: connect with a WebSocket client (ws://); behind a \
        proxy, have it pass on the headers Upgrade and Connection";
    let missing = [
        ("missing", upgrade("")),
        ("other", upgrade("Upgrade: h2c\r\n")),
        ("longer_word", upgrade("Upgrade: websockets\r\n")),
        ("plain_get", "GET /raw?channel=a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
    ];
    rows.extend(refused("H3", UPGRADE_REQUIRED, text, &missing));

    let connection = |lines: &str| with("Connection", lines);
    let good = [
        ("as_firefox_sends_it", connection("Connection: keep-alive, Upgrade\r\n")),
        ("any_case", connection("connection: UPGRADE\r\n")),
        ("empty_elements", connection("Connection: ,, upgrade ,\r\n")),
        ("several_lines", connection("Connection: keep-alive\r\nConnection:\tupgrade\r\n")),
    ];
    rows.extend(accepted("H4", &good));
    let text = "the Connection header does not list `Upgrade`; behind nginx set \
        `proxy_set_header Connection \"upgrade\"`";
    let missing = [
        ("missing", connection("")),
        ("other", connection("Connection: keep-alive\r\n")),
        ("no_list", connection("Connection: keep-alive Upgrade\r\n")),
    ];
    rows.extend(refused("H4", BAD, text, &missing));
}

fn key(rows: &mut Vec<HandshakeRow>) {
    let key = |values: &[&str]| {
        let line = |value: &&str| format!("Sec-WebSocket-Key: {value}\r\n");
        with("Sec-WebSocket-Key", &values.iter().map(line).collect::<String>())
    };
    let blanks = format!(" \t{KEY}  ");
    rows.extend(accepted("H5", &[("blanks_around_the_key", key(&[&blanks]))]));
    let text = "Sec-WebSocket-Key is missing; send 16 random bytes in base64";
    rows.extend(refused("H5", BAD, text, &[("missing", key(&[]))]));
    let text = "Sec-WebSocket-Key is sent more than once; send it once";
    rows.extend(refused("H5", BAD, text, &[("twice", key(&[KEY, KEY]))]));
    let text = "Sec-WebSocket-Key is not 16 bytes in base64 (24 characters, the last two `==`)";
    let malformed = [
        ("empty", key(&[""])),
        ("15_bytes", key(&["AAAAAAAAAAAAAAAAAAAA"])),
        ("17_bytes", key(&["AAAAAAAAAAAAAAAAAAAAAAA="])),
        ("18_bytes", key(&["AAAAAAAAAAAAAAAAAAAAAAAA"])),
        ("no_padding", key(&["AAAAAAAAAAAAAAAAAAAAAA"])),
        ("no_base64", key(&["!AAAAAAAAAAAAAAAAAAAAA=="])),
        ("stray_bits", key(&["AAAAAAAAAAAAAAAAAAAAAB=="])),
    ];
    rows.extend(refused("H5", BAD, text, &malformed));
}

fn version(rows: &mut Vec<HandshakeRow>) {
    let version = |values: &[&str]| {
        let line = |value: &&str| format!("Sec-WebSocket-Version: {value}\r\n");
        with("Sec-WebSocket-Version", &values.iter().map(line).collect::<String>())
    };
    let text = "Sec-WebSocket-Version is not 13; only RFC 6455 is spoken here";
    let others = [
        ("missing", version(&[])),
        ("version_7", version(&["7"])),
        ("version_8", version(&["8"])),
        ("version_14", version(&["14"])),
        ("leading_zero", version(&["013"])),
        ("a_list", version(&["13, 8"])),
    ];
    rows.extend(refused("H6", UPGRADE_REQUIRED, text, &others));
    let text = "Sec-WebSocket-Version is sent more than once; send it once, with 13";
    rows.extend(refused("H6", BAD, text, &[("twice", version(&["13", "13"]))]));
}

fn origin(rows: &mut Vec<HandshakeRow>) {
    let origin = |value: &str| plus(&format!("Origin: {value}\r\n"));
    let good = [
        ("no_origin", plus("")),
        ("own_host", origin("http://gateway.example")),
        ("own_host_behind_tls", origin("https://Gateway.example:443")),
        ("loopback_with_dev", origin("http://localhost:5173")),
        ("null_with_dev", origin("null")),
    ];
    rows.extend(accepted("H7", &good));
    for (name, value, quoted) in [
        ("foreign", "https://evil.example", "\"https://evil.example\""),
        ("longer_host", "http://gateway.example.evil", "\"http://gateway.example.evil\""),
        ("other_port", "http://gateway.example:81", "\"http://gateway.example:81\""),
        ("empty", "", "\"\""),
        ("escaped", "http://\u{e4}\"", "\"http://\u{e4}\\\"\""),
    ] {
        let text = format!(
            "pages of {quoted} may not connect to \"gateway.example\"; the operator allows it \
             under [server] with origins = [{quoted}]"
        );
        rows.extend(refused("H7", "403 Forbidden", &text, &[(name, origin(value))]));
    }
    let text = "Origin is sent more than once; send it once or not at all";
    let twice = plus("Origin: http://gateway.example\r\nOrigin: http://gateway.example\r\n");
    rows.extend(refused("H7", BAD, text, &[("twice", twice)]));
}

fn negotiation(rows: &mut Vec<HandshakeRow>) {
    let protocol = |value: &str| plus(&format!("Sec-WebSocket-Protocol: {value}\r\n"));
    let unknown =
        [("offered_but_not_ours", protocol("chat, superchat")), ("empty_list", protocol(""))];
    rows.extend(accepted("H8", &unknown));
    let text = "Sec-WebSocket-Protocol is not a comma-separated list of plain names";
    let malformed = [("blank_in_a_name", protocol("chat room")), ("quoted", protocol("\"chat\""))];
    rows.extend(refused("H8", BAD, text, &malformed));

    let extension = |value: &str| plus(&format!("Sec-WebSocket-Extensions: {value}\r\n"));
    let offer = "permessage-deflate; client_max_window_bits, x; a=\"1\"; b";
    let unconfirmed =
        [("offered_but_not_confirmed", extension(offer)), ("empty_list", extension(" ,"))];
    rows.extend(accepted("H9", &unconfirmed));
    let text = "Sec-WebSocket-Extensions is not a list of the form `name; parameter=value, name`";
    let malformed = [
        ("no_parameter", extension("permessage-deflate;")),
        ("no_value", extension("a;b=")),
        ("open_quote", extension("a;b=\"1")),
        ("two_words", extension("a b")),
    ];
    rows.extend(refused("H9", BAD, text, &malformed));
    rows.extend(accepted("H10", &[("nothing_but_the_101", plus(""))]));
}
