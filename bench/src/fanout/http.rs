//! Publishing over HTTP/1.1: requests that differ in their payload only, and the answers of a
//! connection that is kept open.

use crate::target::Target;

/// A request to publish to one channel, whose payload is written in place.
#[derive(Clone, Debug)]
pub(super) struct Request {
    bytes: Vec<u8>,
    payload_at: usize,
    payload_len: usize,
}

impl Request {
    /// To publish payloads of `payload_len` bytes to `channel`.
    pub(super) fn new(
        target: &Target,
        api_key: Option<&str>,
        channel: &str,
        payload_len: usize,
    ) -> Self {
        let channel = serde_json::to_string(channel).expect("a string");
        let before = format!("{{\"channel\":{channel},\"data\":");
        let body_len = before.len() + payload_len + 1;
        let Target { path, host, .. } = target;
        let key = api_key.map(|key| format!("X-API-Key: {key}\r\n")).unwrap_or_default();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             {key}Content-Length: {body_len}\r\n\r\n{before}"
        );
        let mut bytes = head.into_bytes();
        let payload_at = bytes.len();
        bytes.resize(payload_at + payload_len, 0);
        bytes.push(b'}');
        Self { bytes, payload_at, payload_len }
    }

    /// Appends the request with `payload`.
    pub(super) fn append(&self, payload: &[u8], out: &mut Vec<u8>) {
        assert_eq!(payload.len(), self.payload_len, "payloads have one size");
        let at = out.len() + self.payload_at;
        out.extend_from_slice(&self.bytes);
        out[at..at + self.payload_len].copy_from_slice(payload);
    }
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is published.
    Published,
    /// It is not, and why.
    Refused(String),
}

/// The bytes of answers on one connection.
#[derive(Debug, Default)]
pub(super) struct Answers {
    received: Vec<u8>,
}

/// The answer is not HTTP/1.1 with a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an answer is no HTTP/1.1 with a Content-Length")]
pub(super) struct NotHttp;

impl Answers {
    /// Takes what came; the answer once all of it is there. One request is out at a time, so more
    /// than one answer is a fault.
    pub(super) fn handle(&mut self, bytes: &[u8]) -> Result<Option<Answer>, NotHttp> {
        self.received.extend_from_slice(bytes);
        let Some(head_len) = self.received.windows(4).position(|four| four == b"\r\n\r\n") else {
            return if self.received.len() > HEAD_MAX { Err(NotHttp) } else { Ok(None) };
        };
        let head = str::from_utf8(&self.received[..head_len]).map_err(|_| NotHttp)?;
        let body_at = head_len + 4;
        let (status, body_len) = read_head(head).ok_or(NotHttp)?;
        if body_len > BODY_MAX {
            return Err(NotHttp);
        }
        match self.received.len().cmp(&(body_at + body_len)) {
            std::cmp::Ordering::Less => return Ok(None),
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Greater => return Err(NotHttp),
        }
        let body = &self.received[body_at..];
        // An API in the manner of Centrifugo answers 200 to what it understood and refused.
        let answer = if (200..300).contains(&status) && !body.starts_with(b"{\"error\"") {
            Answer::Published
        } else {
            let body = String::from_utf8_lossy(&body[..body.len().min(200)]);
            Answer::Refused(format!("HTTP {status}: {body}"))
        };
        self.received.clear();
        Ok(Some(answer))
    }
}

/// Status, and length of the body.
fn read_head(head: &str) -> Option<(u16, usize)> {
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let mut body_len = (status == 204).then_some(0);
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            body_len = Some(value.trim().parse().ok()?);
        }
    }
    Some((status, body_len?))
}

/// Longest head of an answer.
const HEAD_MAX: usize = 16 * 1024;

/// Longest body of an answer.
const BODY_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_carries_its_payload() {
        let target: Target = "ws://127.0.0.1:8001/api/publish".parse().expect("a URL");
        let request = Request::new(&target, Some("k"), "a\"b", 4);
        let mut out = b"before".to_vec();
        request.append(b"\"xy\"", &mut out);
        let text = String::from_utf8(out).expect("text");
        assert_eq!(
            text,
            "beforePOST /api/publish HTTP/1.1\r\nHost: 127.0.0.1:8001\r\n\
             Content-Type: application/json\r\nX-API-Key: k\r\nContent-Length: 30\r\n\r\n\
             {\"channel\":\"a\\\"b\",\"data\":\"xy\"}"
        );
    }

    #[test]
    fn answers_are_read_however_they_are_cut() {
        let published = "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"result\":{}}";
        let refused = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"error\":{}}";
        let full = "HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nfull";
        let empty = "HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n";
        for cut in 0..published.len() {
            let mut answers = Answers::default();
            for (text, answer) in [
                (published, Answer::Published),
                (refused, Answer::Refused("HTTP 200: {\"error\":{}}".to_owned())),
                (full, Answer::Refused("HTTP 503: full".to_owned())),
                (empty, Answer::Published),
            ] {
                let (first, second) = text.as_bytes().split_at(cut.min(text.len() - 1));
                assert_eq!(answers.handle(first), Ok(None), "{text} {cut}");
                assert_eq!(answers.handle(second), Ok(Some(answer)), "{text} {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_said() {
        for wrong in [
            "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP",
            "SSH-2.0\r\n\r\n",
        ] {
            assert_eq!(Answers::default().handle(wrong.as_bytes()), Err(NotHttp), "{wrong}");
        }
        let endless = vec![b'x'; HEAD_MAX + 1];
        assert_eq!(Answers::default().handle(&endless), Err(NotHttp));
    }
}
