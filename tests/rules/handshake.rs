//! Rules H1-H18 of the opening handshake, as bytes in and bytes out of a gateway with `--dev`.

mod bytes;
mod headers;

/// One rule, one input, and every byte of the answer.
pub struct HandshakeRow {
    /// The rule: `H1` to `H18`.
    pub rule: &'static str,
    /// What the row shows; unique.
    pub name: &'static str,
    /// What the client sends, and nothing after it.
    pub input: Vec<u8>,
    /// The HTTP answer.
    pub expect: Vec<u8>,
    /// The bytes of `input` behind the head, which belong to the frame decoder.
    pub leftover: Vec<u8>,
    /// What the path behind the upgrade answers to `leftover`.
    pub expect_frames: Vec<u8>,
    /// How it ends.
    pub end: End,
}

/// What follows the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The connection is a WebSocket.
    Open,
    /// The server ends the connection, in order (no reset).
    Closed,
    /// Nothing is answered; the server ends the connection when the handshake timeout has passed
    /// since accept. Only over TCP.
    Deadline,
}

/// The `Sec-WebSocket-Key` of all rows (the example of RFC 6455).
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The answer to an acceptable handshake with [`KEY`].
pub const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// All rows, by rule.
pub fn rows() -> Vec<HandshakeRow> {
    let mut rows = Vec::new();
    headers::append(&mut rows);
    bytes::append(&mut rows);
    rows
}

const BAD: &str = "400 Bad Request";
const UPGRADE_REQUIRED: &str = "426 Upgrade Required";

/// A GET of `/echo` with a good handshake, the line that begins with `replaced` replaced by the
/// lines `by`.
fn with(replaced: &str, by: &str) -> String {
    let lines = [
        "GET /echo HTTP/1.1",
        "Host: gateway.example",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ];
    assert!(lines.iter().any(|line| line.starts_with(replaced)), "no line begins with {replaced}");
    let line = |line: &str| match line.starts_with(replaced) {
        true => by.to_owned(),
        false => format!("{line}\r\n"),
    };
    lines.map(line).concat() + "\r\n"
}

/// A GET of `/echo` with a good handshake and the lines `more`.
fn plus(more: &str) -> String {
    with("Sec-WebSocket-Version", &format!("Sec-WebSocket-Version: 13\r\n{more}"))
}

/// Rows whose input is answered with the 101.
fn accepted(rule: &'static str, inputs: &[(&'static str, String)]) -> Vec<HandshakeRow> {
    let row = |(name, input): &(&'static str, String)| HandshakeRow {
        rule,
        name,
        input: input.clone().into_bytes(),
        expect: SWITCHING.into(),
        leftover: Vec::new(),
        expect_frames: Vec::new(),
        end: End::Open,
    };
    inputs.iter().map(row).collect()
}

/// Rows whose input is answered with `status` and `text`.
fn refused<I: Clone + Into<Vec<u8>>>(
    rule: &'static str,
    status: &str,
    text: &str,
    inputs: &[(&'static str, I)],
) -> Vec<HandshakeRow> {
    let (connection, more) = match &status[..3] {
        "405" => ("close", "Allow: GET\r\n"),
        "426" => ("Upgrade, close", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
        _ => ("close", ""),
    };
    let expect = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: {connection}\r\n{more}\r\n{text}\n",
        text.len() + 1
    );
    let row = |(name, input): &(&'static str, I)| HandshakeRow {
        rule,
        name,
        input: input.clone().into(),
        expect: expect.clone().into_bytes(),
        leftover: Vec::new(),
        expect_frames: Vec::new(),
        end: End::Closed,
    };
    inputs.iter().map(row).collect()
}
