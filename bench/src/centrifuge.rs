//! The Centrifuge client protocol, version 2, in JSON: the commands a client sends, and what the
//! lines of a server say.
//!
//! A text frame holds one or more objects with a newline between them. Reading a line allocates
//! nothing: what is handed out lies in the line.

use serde::Deserialize;
use serde_json::value::RawValue;

/// The answer to a server's ping, and the ping.
pub(crate) const PONG: &[u8] = b"{}";

/// What a connection sends as soon as it is upgraded, in one frame as the SDKs do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    commands: String,
    /// Commands have the numbers from 1 to this one.
    pub(crate) last_id: u32,
}

impl Hello {
    /// To connect, with a token if there is one, and to subscribe to a channel, if to any.
    pub(crate) fn new(token: Option<&str>, channel: Option<&str>) -> Self {
        let text = |text| serde_json::to_string(text).expect("a string");
        let token = token.map(|token| format!("\"token\":{},", text(token))).unwrap_or_default();
        let mut commands =
            format!("{{\"id\":1,\"connect\":{{{token}\"name\":\"tidegate-bench\"}}}}");
        if let Some(channel) = channel {
            let subscribe =
                format!("\n{{\"id\":2,\"subscribe\":{{\"channel\":{}}}}}", text(channel));
            commands.push_str(&subscribe);
        }
        Self { commands, last_id: 1 + u32::from(channel.is_some()) }
    }

    /// The message.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.commands.as_bytes()
    }
}

/// Appends the command to publish `data` to `channel`, whose name needs no escapes.
pub(crate) fn append_publish(out: &mut Vec<u8>, id: u32, channel: &str, data: &[u8]) {
    use std::io::Write;
    write!(out, "{{\"id\":{id},\"publish\":{{\"channel\":\"{channel}\",\"data\":")
        .expect("memory takes all");
    out.extend_from_slice(data);
    out.extend_from_slice(b"}}");
}

/// The objects of a message.
pub(crate) fn lines(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    message.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line<'l> {
    /// The server wants [`PONG`].
    Ping,
    /// The command of that number is carried out.
    Done(u32),
    /// It is not, and why; `message` is a JSON string.
    Refused { id: u32, code: u32, message: &'l str },
    /// Somebody published this.
    Publication(&'l [u8]),
    /// The server ended the subscription.
    Unsubscribed(u16),
    /// Any other push.
    Other,
    /// It is no object, or none of the protocol.
    Malformed,
}

impl<'l> Line<'l> {
    /// Reads one line.
    pub(crate) fn read(line: &'l [u8]) -> Self {
        if line == PONG {
            return Self::Ping;
        }
        let Ok(object) = serde_json::from_slice::<Object<'l>>(line) else { return Self::Malformed };
        match object {
            Object { push: Some(push), .. } => match push {
                Push { publication: Some(publication), .. } => {
                    Self::Publication(publication.data.map_or(b"", |data| data.get().as_bytes()))
                }
                Push { unsubscribe: Some(Code { code }), .. } => Self::Unsubscribed(code),
                Push { .. } => Self::Other,
            },
            Object { id: 0, .. } => Self::Malformed,
            Object { id, error: Some(Fault { code, message }), .. } => {
                Self::Refused { id, code, message: message.map_or("\"\"", RawValue::get) }
            }
            Object { id, .. } => Self::Done(id),
        }
    }
}

/// One object of a server. What is zero or empty is left out.
#[derive(Deserialize)]
struct Object<'l> {
    #[serde(default)]
    id: u32,
    #[serde(borrow)]
    error: Option<Fault<'l>>,
    #[serde(borrow)]
    push: Option<Push<'l>>,
}

#[derive(Deserialize)]
struct Fault<'l> {
    #[serde(default)]
    code: u32,
    #[serde(borrow)]
    message: Option<&'l RawValue>,
}

#[derive(Deserialize)]
struct Push<'l> {
    #[serde(borrow, rename = "pub")]
    publication: Option<Publication<'l>>,
    unsubscribe: Option<Code>,
}

#[derive(Deserialize)]
struct Publication<'l> {
    #[serde(borrow)]
    data: Option<&'l RawValue>,
}

#[derive(Deserialize)]
struct Code {
    #[serde(default)]
    code: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        for (line, meant) in [
            ("{}", Line::Ping),
            (r#"{"id":1,"connect":{"client":"x","ping":25,"pong":true}}"#, Line::Done(1)),
            (
                r#"{"id":2,"error":{"code":103,"message":"permission denied"}}"#,
                Line::Refused { id: 2, code: 103, message: "\"permission denied\"" },
            ),
            (
                r#"{"push":{"channel":"a","pub":{"data":{"n":"}"},"offset":3}}}"#,
                Line::Publication(br#"{"n":"}"}"#),
            ),
            (
                r#"{"push":{"pub":{"offset":3,"data":"x"},"channel":"a"}}"#,
                Line::Publication(b"\"x\""),
            ),
            (r#"{"push":{"channel":"a","pub":{}}}"#, Line::Publication(b"")),
            (
                r#"{"push":{"channel":"a","unsubscribe":{"code":2500,"reason":"x"}}}"#,
                Line::Unsubscribed(2500),
            ),
            (r#"{"push":{"channel":"a","join":{"info":{}}}}"#, Line::Other),
            (r#"{"connect":{}}"#, Line::Malformed),
            ("[]", Line::Malformed),
            ("\"x\"", Line::Malformed),
            (r#"{"push":{"channel":"#, Line::Malformed),
            ("\u{7f}", Line::Malformed),
        ] {
            assert_eq!(Line::read(line.as_bytes()), meant, "{line}");
        }
        let message = b"{}\n{\"id\":1}\n";
        assert_eq!(lines(message).map(Line::read).collect::<Vec<_>>(), [Line::Ping, Line::Done(1)]);
    }

    #[test]
    fn commands_are_json() {
        let hello = Hello::new(Some("a\"b"), Some("news"));
        assert_eq!(hello.last_id, 2);
        let commands: Vec<serde_json::Value> = lines(hello.as_bytes())
            .map(|line| serde_json::from_slice(line).expect("JSON"))
            .collect();
        assert_eq!(commands[0]["connect"]["token"], "a\"b");
        assert_eq!(commands[1]["subscribe"]["channel"], "news");
        let alone = Hello::new(None, None);
        assert_eq!(alone.last_id, 1);
        assert_eq!(alone.as_bytes(), br#"{"id":1,"connect":{"name":"tidegate-bench"}}"#);
        let mut publish = Vec::new();
        append_publish(&mut publish, 7, "news", b"\"x\"");
        assert_eq!(publish, br#"{"id":7,"publish":{"channel":"news","data":"x"}}"#);
    }
}
