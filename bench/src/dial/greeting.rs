//! [`Greeting`]: from the 101 to the answers of a connection's first commands.

use tidegate::ws::{DecodeLimits, Decoded, Decoder, Event, MessageKind, Opcode, Role, encode};

use super::DialError;
use crate::centrifuge::{self, Hello, Line};

/// One connection that has said hello.
pub(super) struct Greeting {
    decoder: Decoder,
    last_id: u32,
    /// Commands that are answered.
    answered_count: u32,
    /// Frames for whoever takes the connection over.
    kept: Vec<u8>,
}

impl Greeting {
    /// After `hello`.
    pub(super) fn new(hello: &Hello) -> Self {
        Self {
            decoder: Decoder::new(Role::Client),
            last_id: hello.last_id,
            answered_count: 0,
            kept: Vec::new(),
        }
    }

    /// Takes what came. Once every command is carried out: the frames that are none of its
    /// business, whole ones and then what `bytes` end with.
    ///
    /// # Errors
    /// A command was refused, the server closed, or it does not speak the protocol.
    pub(super) fn handle(&mut self, bytes: &mut [u8]) -> Result<Option<Vec<u8>>, DialError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Decoded { consumed, event } =
                self.decoder.handle(rest, &LIMITS).map_err(|_| DialError::NotCentrifuge)?;
            match event {
                None | Some(Event::Pong(_)) => {}
                Some(Event::Ping(payload)) => {
                    encode::append_header(&mut self.kept, true, Opcode::Ping, payload.len());
                    self.kept.extend_from_slice(&payload);
                }
                Some(Event::Close(body)) => {
                    let (code, reason) = body.map_or((1005, String::new()), |(code, reason)| {
                        (code.get(), reason.to_string())
                    });
                    return Err(DialError::Ended { code, reason });
                }
                Some(Event::Message(message)) => {
                    for line in centrifuge::lines(&message.payload) {
                        match Line::read(line) {
                            Line::Done(id) if id <= self.last_id => self.answered_count += 1,
                            Line::Refused { code, message, .. } => {
                                let message = message.to_owned();
                                return Err(DialError::Command { code, message });
                            }
                            Line::Malformed | Line::Done(_) => {
                                return Err(DialError::NotCentrifuge);
                            }
                            Line::Ping
                            | Line::Publication(_)
                            | Line::Unsubscribed(_)
                            | Line::Other => {
                                encode::append_message(&mut self.kept, MessageKind::Text, line);
                            }
                        }
                    }
                }
            }
            rest = &mut rest[consumed..];
            if self.answered_count == self.last_id {
                self.kept.extend_from_slice(rest);
                return Ok(Some(std::mem::take(&mut self.kept)));
            }
        }
        Ok(None)
    }
}

/// More than any server says before it has answered.
const LIMITS: DecodeLimits = DecodeLimits { message_size: 1 << 20, fragments: u32::MAX };

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(messages: &[&str]) -> Vec<u8> {
        let mut frames = Vec::new();
        for message in messages {
            encode::append_message(&mut frames, MessageKind::Text, message.as_bytes());
        }
        frames
    }

    /// The same however the bytes are cut.
    fn handle(messages: &[&str]) -> Result<Option<Vec<u8>>, String> {
        let bytes = frames(messages);
        let hello = Hello::new(None, Some("a"));
        let whole = Greeting::new(&hello).handle(&mut bytes.clone()).map_err(|e| e.to_string());
        for cut in 0..bytes.len() {
            let mut greeting = Greeting::new(&hello);
            let (mut first, mut second) = (bytes[..cut].to_vec(), bytes[cut..].to_vec());
            let part = match greeting.handle(&mut first) {
                Ok(None) => greeting.handle(&mut second),
                Ok(Some(kept)) => Ok(Some([kept, second].concat())),
                Err(error) => Err(error),
            };
            assert_eq!(part.map_err(|e| e.to_string()), whole, "{cut}");
        }
        whole
    }

    #[test]
    fn what_follows_the_answers_is_kept() {
        let push = r#"{"push":{"channel":"a","pub":{"data":1}}}"#;
        let kept = frames(&["{}", push, push]);
        let answers = ["{}\n{\"id\":1,\"connect\":{}}", "{\"id\":2,\"subscribe\":{}}\n"];
        let with_push = format!("{}{push}", answers[1]);
        assert_eq!(handle(&[answers[0], &with_push, push]), Ok(Some(kept)));
        // Out of order, which a server may do.
        assert_eq!(
            handle(&[r#"{"id":2,"subscribe":{}}"#, r#"{"id":1,"connect":{}}"#]),
            Ok(Some(vec![]))
        );
        assert_eq!(handle(&[answers[0]]), Ok(None));
    }

    #[test]
    fn a_refusal_says_why() {
        let refused = handle(&[r#"{"id":1,"error":{"code":109,"message":"token expired"}}"#]);
        let said = refused.expect_err("refused");
        assert!(said.contains("109") && said.contains("token expired"), "{said}");
        for strange in ["hello", r#"{"id":3,"connect":{}}"#, "{\"connect\":{}}"] {
            assert!(handle(&[strange]).is_err(), "{strange}");
        }
        let mut close = Vec::new();
        encode::append_close(&mut close, tidegate::ws::CloseCode::new(3500), "invalid token");
        let ended = Greeting::new(&Hello::new(None, None)).handle(&mut close);
        let said = ended.expect_err("closed").to_string();
        assert!(said.contains("3500") && said.contains("invalid token"), "{said}");
    }
}
