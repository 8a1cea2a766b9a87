//! `/raw`: each publication is one message; with `publish=1` each message is one publication.

use super::Reaction;
use crate::publication::Payload;
use crate::ws::{CloseCode, Message};

pub(super) fn react(message: Message<'_>, publish: bool, size_max: usize) -> Reaction<'_> {
    if !publish {
        return Reaction::Close(CloseCode::POLICY, "to publish, connect with publish=1");
    }
    if message.payload.len() > size_max {
        return Reaction::Close(CloseCode::TOO_BIG, "message above limits.publication_size");
    }
    Reaction::Publish(Payload::new(message.kind, &message.payload))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::ws::MessageKind;

    fn message(payload: &[u8]) -> Message<'_> {
        Message { kind: MessageKind::Binary, compressed: false, payload: Cow::Borrowed(payload) }
    }

    #[test]
    fn publishing_needs_the_parameter() {
        assert!(matches!(react(message(b"x"), false, 10), Reaction::Close(CloseCode::POLICY, _)));
    }

    #[test]
    fn the_publication_limit_is_inclusive() {
        assert!(matches!(react(message(&[0; 10]), true, 10), Reaction::Publish(_)));
        assert!(matches!(
            react(message(&[0; 11]), true, 10),
            Reaction::Close(CloseCode::TOO_BIG, _)
        ));
    }
}
