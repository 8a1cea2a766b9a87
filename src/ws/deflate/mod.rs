//! Compression of messages, permessage-deflate (RFC 7692 section 7.2), both roles.
//!
//! Owns the two states of zlib and what of a message they are in. Knows no frames: bytes of a
//! message come in, bytes come out, in pieces of any size. What was agreed on comes from
//! `handshake`; which messages are compressed, `decode` and `encode` mark with RSV1.
//!
//! A state costs what its window costs and more: about 300 KiB to compress, 40 KiB to inflate.
//! Without context takeover nothing of it outlives a message, so [`DeflatePool`] lends one state of
//! a thread to each message in turn and an idle connection holds none.

#![forbid(unsafe_code)]

mod deflater;
mod inflater;
mod params;
mod pool;

pub use deflater::Deflater;
pub use inflater::{Inflater, inflate_message};
pub use params::{DeflateParams, DeflateSide, WINDOW_BITS_MAX, WINDOW_BITS_MIN};
pub use pool::DeflatePool;

/// What a sync flush ends with and no message carries (RFC 7692 section 7.2.1): the length fields
/// of an empty stored block.
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// Bytes on the wire that a message of `size` bytes takes at most when a sane compressor makes
/// nothing of it: Huffman codes of nine bits for each byte, and the heads of blocks.
pub(super) fn wire_size_max(size: usize) -> usize {
    size.saturating_add(size / 8).saturating_add(size / 64).saturating_add(64)
}

#[cfg(test)]
mod tests;
