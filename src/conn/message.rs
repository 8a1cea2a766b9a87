//! A message that was received, and the memory it lies in.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use crate::limits;
use crate::ws::MessageKind;

/// A whole message.
#[derive(Debug)]
pub struct Message {
    /// Text or binary.
    pub kind: MessageKind,
    /// What it says; valid UTF-8 if `kind` is text.
    pub payload: Payload,
}

impl Message {
    /// The text of a text message; `None` for a binary one. Looks at every byte once.
    pub fn as_text(&self) -> Option<&str> {
        match self.kind {
            MessageKind::Text => std::str::from_utf8(&self.payload).ok(),
            MessageKind::Binary => None,
        }
    }
}

/// The bytes of a message. Dropped, they give their memory back to the connection they came from,
/// so that a program which drops each message before it reads the next makes it allocate nothing.
pub struct Payload {
    bytes: Vec<u8>,
    spare: Spare,
}

impl Payload {
    /// Bytes that came from the connection with `spare`.
    pub(super) fn new(bytes: Vec<u8>, spare: Spare) -> Self {
        Self { bytes, spare }
    }

    /// The bytes as a vector of the caller's. Copies nothing.
    pub fn into_vec(mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.fmt(f)
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.spare.give(std::mem::take(&mut self.bytes));
    }
}

/// Room for the next message of one connection: one vector, shared by the connection and the
/// messages it gave out.
#[derive(Clone, Default)]
pub(super) struct Spare(Rc<Cell<Vec<u8>>>);

impl Spare {
    /// An empty vector.
    pub(super) fn take(&self) -> Vec<u8> {
        self.0.take()
    }

    /// Keeps the larger one of what is here and `bytes`, if that is not too large to keep.
    fn give(&self, mut bytes: Vec<u8>) {
        let kept = self.0.take();
        let is_wanted =
            bytes.capacity() > kept.capacity() && bytes.capacity() <= limits::CONN_BUFFER_KEPT_MAX;
        if is_wanted {
            bytes.clear();
            self.0.set(bytes);
        } else {
            self.0.set(kept);
        }
    }
}
