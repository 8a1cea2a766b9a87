//! RFC 6455 and 7692, sans-IO, both roles: handshake, frames, messages, compression, close.
//!
//! Bytes come in, values go out. Nothing here knows a socket, a clock or a thread. Too few bytes is
//! `None`, a peer's fault is a closed enum with its close code or HTTP status.

pub mod close;
pub mod decode;
pub mod deflate;
pub mod encode;
pub mod error;
mod frames;
pub mod handshake;
pub mod header;
pub mod mask;
pub mod pieces;
pub mod utf8;

pub use close::CloseCode;
pub use decode::{DecodeLimits, Decoded, Decoder, Event, Message};
pub use deflate::{DeflateParams, DeflatePool, DeflateSide, Deflater, Inflater, inflate_message};
pub use error::ProtocolError;
pub use header::Opcode;
pub use pieces::PieceDecoder;

/// Which end of the connection this is: a server expects masked frames and sends unmasked ones, a
/// client the reverse (RFC 6455 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads masked frames, writes unmasked ones.
    Server,
    /// Reads unmasked frames, writes masked ones.
    Client,
}

/// What a data message holds (RFC 6455 section 5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
}
