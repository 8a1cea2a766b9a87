//! The HTTP/1.1 upgrade, sans-IO, both roles (RFC 6455 sections 4.1 and 4.2, RFC 9112), and what
//! is agreed on with it about compression (RFC 7692 section 7.1).
//!
//! Bytes come in, a checked request or response comes out; nothing here knows a socket, a clock or
//! a path. A server goes three steps: [`HeadReader`] finds the end of the head while bytes arrive
//! and looks at each byte once; [`Request::parse`] reads the head and refuses what no path could
//! accept; [`Request::upgrade`] checks the rest for a path that speaks WebSocket. Whatever is
//! refused is a [`HandshakeError`] that knows its status and its text.
//!
//! A client writes [`ClientRequest::append`], finds the end of the answer with the same
//! [`HeadReader`], and calls [`ClientRequest::check`].

mod authority;
mod client;
mod deflate;
mod error;
mod extension;
mod head;
mod reply;
mod request;
mod upgrade;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

pub use authority::Authority;
pub use client::{Agreed, ClientRequest, ClientRequestError, ResponseError};
pub use deflate::{DeflateOffer, DeflatePolicy};
pub use error::HandshakeError;
pub use extension::Extension;
pub use head::HeadReader;
pub use reply::{Reply, Status};
pub use request::Request;
pub use upgrade::Upgrade;

/// The protocol version of RFC 6455, the only one spoken here.
pub const VERSION: &str = "13";

/// Length of a `Sec-WebSocket-Key` in base64 (16 bytes).
const KEY_LEN: usize = 24;

/// Length of a `Sec-WebSocket-Accept` in base64 (20 bytes).
const ACCEPT_LEN: usize = 28;

/// What RFC 6455 section 1.3 appends to the key before hashing.
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The `Sec-WebSocket-Accept` that proves a server has read `key` (RFC 6455 section 4.2.2).
fn accept_of(key: &[u8]) -> [u8; ACCEPT_LEN] {
    let digest = Sha1::new().chain_update(key).chain_update(KEY_SUFFIX).finalize();
    let mut accept = [0; ACCEPT_LEN];
    let len = STANDARD.encode_slice(digest, &mut accept);
    assert_eq!(len, Ok(ACCEPT_LEN), "20 bytes are 28 in base64");
    accept
}

/// Whether `key` is the base64 form of exactly 16 bytes.
fn is_key(key: &[u8]) -> bool {
    // Three bytes of room for what a decoder may touch of a last group.
    let mut bytes = [0; KEY_LEN];
    key.len() == KEY_LEN && STANDARD.decode_slice(key, &mut bytes) == Ok(16)
}

/// Whether `byte` may stand in a token (RFC 9110 section 5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether `text` is a token.
fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_is_the_one_of_the_rfc() {
        assert_eq!(&accept_of(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn key_is_base64_of_16_bytes_and_nothing_else() {
        assert!(is_key(b"AAAAAAAAAAAAAAAAAAAAAA=="));
        for bad in [
            &b""[..],
            b"AAAA",
            b"AAAAAAAAAAAAAAAAAAAAAAA=",
            b"AAAAAAAAAAAAAAAAAAAAAAAA",
            b"AAAAAAAAAAAAAAAAAAAAAA",
            b"AAAAAAAAAAAAAAAAAAAAA===",
            b"AAAAAAAAAAA-AAAAAAAAAA==",
            b"AAAAAAAAAAAAAAAAAAAAAB==",
        ] {
            assert!(!is_key(bad), "{:?}", String::from_utf8_lossy(bad));
        }
    }
}
