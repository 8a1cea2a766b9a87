//! What a handshake hands to the connection it made.

use crate::limits;
use crate::ws::{DeflateParams, Role};

/// What a handshake agreed on, and what it left over.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnParts {
    /// Which end this is.
    pub role: Role,
    /// Bytes received behind the handshake: the first frames, or a part of them.
    pub leftover: Vec<u8>,
    /// The subprotocol that was agreed on.
    pub subprotocol: Option<String>,
    /// What was agreed on about compression; `None`: there is none.
    pub deflate: Option<DeflateParams>,
    /// Bytes of the buffer the socket is read into. Every connection holds one while it waits, for
    /// the kernel writes to it.
    pub read_buffer_size: usize,
    /// Bytes of payload in a fragment of a [`MessageWriter`](super::MessageWriter).
    pub write_buffer_size: usize,
}

impl ConnParts {
    /// Nothing left over, nothing agreed on, and buffers of the default sizes.
    pub fn new(role: Role) -> Self {
        Self {
            role,
            leftover: Vec::new(),
            subprotocol: None,
            deflate: None,
            read_buffer_size: limits::CONN_READ_BUFFER_DEFAULT,
            write_buffer_size: limits::CONN_WRITE_BUFFER_DEFAULT,
        }
    }
}
