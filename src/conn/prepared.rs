//! A message for many connections.

use std::sync::{Arc, Mutex};

use super::Error;
use super::pool::POOL;
use crate::ws::{MessageKind, utf8};

/// A message that is sent to many connections. Its text is checked once, and it is compressed at
/// most once for each window and level in use, when the first connection wants that. Cheap to
/// clone, and connections of other threads may send it too.
///
/// Each send copies the bytes into the connection's queue and writes the frame's header, a client
/// with a mask of its own; nothing else is left to do.
#[derive(Clone, Debug)]
pub struct PreparedMessage {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    kind: MessageKind,
    payload: Vec<u8>,
    deflated: Mutex<Vec<Deflated>>,
}

/// One compressed form.
#[derive(Debug)]
struct Deflated {
    window_bits: u8,
    level: u8,
    bytes: Arc<[u8]>,
}

impl PreparedMessage {
    /// A message to be sent.
    ///
    /// # Errors
    /// [`Error::TextNotUtf8`].
    pub fn new(kind: MessageKind, payload: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let payload = payload.into();
        if kind == MessageKind::Text && utf8::check(&payload) != Ok(0) {
            return Err(Error::TextNotUtf8);
        }
        let shared = Shared { kind, payload, deflated: Mutex::new(Vec::new()) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Text or binary.
    pub fn kind(&self) -> MessageKind {
        self.shared.kind
    }

    /// What it says.
    pub fn payload(&self) -> &[u8] {
        &self.shared.payload
    }

    /// How many times it was compressed so far: once for each window and level in use.
    pub fn deflated_count(&self) -> usize {
        self.shared.deflated.lock().expect("zlib does not panic").len()
    }

    /// The compressed form, by itself, for a window and a level.
    pub(super) fn deflated(&self, window_bits: u8, level: u8) -> Arc<[u8]> {
        let mut forms = self.shared.deflated.lock().expect("zlib does not panic");
        let is_wanted = |form: &&Deflated| form.window_bits == window_bits && form.level == level;
        if let Some(form) = forms.iter().find(is_wanted) {
            return Arc::clone(&form.bytes);
        }
        let mut out = Vec::new();
        POOL.with_borrow_mut(|pool| {
            let mut deflater = pool.take_deflater(window_bits, level);
            deflater.deflate_message(&self.shared.payload, &mut out);
            pool.put_deflater(deflater);
        });
        let bytes: Arc<[u8]> = out.into();
        forms.push(Deflated { window_bits, level, bytes: Arc::clone(&bytes) });
        bytes
    }
}
