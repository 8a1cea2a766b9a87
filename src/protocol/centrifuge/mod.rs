//! The Centrifuge client protocol, version 2, in JSON.
//!
//! Pure: text comes in and commands go out ([`command`]); results go in and lines of text come out
//! ([`reply`]); [`code`] has the numbers both sides agree on. What a command does is for the shard
//! to carry out, and who may do what for [`super::channel`] to say.

pub mod code;
pub mod command;
pub mod reply;

use std::borrow::Cow;

use super::Reaction;
use crate::ws::{Message, MessageKind};
use code::Disconnect;

/// What a message leads to: its commands, or the end.
pub(super) fn react(message: Message<'_>) -> Reaction<'_> {
    let text = match (message.kind, message.payload) {
        (MessageKind::Binary, _) => None,
        (MessageKind::Text, Cow::Borrowed(bytes)) => str::from_utf8(bytes).ok().map(Cow::Borrowed),
        (MessageKind::Text, Cow::Owned(bytes)) => String::from_utf8(bytes).ok().map(Cow::Owned),
    };
    match text {
        Some(text) if command::check(&text).is_ok() => Reaction::Commands(text),
        _ => Reaction::Close(Disconnect::BadRequest.code(), Disconnect::BadRequest.reason()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_with_something_in_it_holds_commands() {
        let react = |kind, payload: &'static [u8]| {
            super::react(Message { kind, payload: Cow::Borrowed(payload), compressed: false })
        };
        assert!(matches!(react(MessageKind::Text, b"{}"), Reaction::Commands(_)));
        for (kind, payload) in [
            (MessageKind::Binary, b"{}" as &[u8]),
            (MessageKind::Text, b""),
            (MessageKind::Text, b"\n"),
        ] {
            let Reaction::Close(code, _) = react(kind, payload) else { panic!("{payload:?}") };
            assert_eq!(code.get(), 3501);
        }
    }
}
