//! What a peer can do wrong with frames, and the close code that answers it.
//!
//! Closed and without strings: each variant names the broken rule. Faults of the handshake are
//! elsewhere, and a normal close is an event, not an error.

#![forbid(unsafe_code)]

use super::CloseCode;

/// A rule of RFC 6455, or a limit of ours, that the peer's frames broke. The connection does not
/// survive it: a Close with [`close_code`](Self::close_code) is owed and nothing after it counts.
///
/// The text of each variant fits a Close frame as its reason: ASCII, and at most 123 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ProtocolError {
    /// RSV1, RSV2 or RSV3 is set and no extension gives it a meaning there (section 5.2, RFC 7692
    /// section 6).
    #[error("reserved bit set")]
    ReservedBitSet,
    /// The opcode is one of 3-7 or 11-15 (section 5.2).
    #[error("reserved opcode")]
    ReservedOpcode,
    /// A Close, Ping or Pong without FIN (section 5.5).
    #[error("control frame fragmented")]
    ControlFragmented,
    /// A Close, Ping or Pong with more than 125 bytes (section 5.5).
    #[error("control frame over 125 bytes")]
    ControlTooLong,
    /// A client's frame without a mask (section 5.1).
    #[error("client frame not masked")]
    FrameNotMasked,
    /// A server's frame with a mask (section 5.1).
    #[error("server frame masked")]
    FrameMasked,
    /// The length has a shorter form (section 5.2).
    #[error("length not in its shortest form")]
    LengthNotMinimal,
    /// The top bit of a 64-bit length is set (section 5.2).
    #[error("top bit of the length set")]
    LengthTopBitSet,
    /// A continuation while no message is open (section 5.4).
    #[error("continuation without a start")]
    ContinuationWithoutStart,
    /// A text or binary frame while a message is open (section 5.4).
    #[error("new message inside a fragmented one")]
    StartWithinMessage,
    /// A Close body of one byte, which is half a code (section 5.5.1).
    #[error("close body of one byte")]
    CloseCodeCut,
    /// A close code that may not stand in a frame (section 7.4).
    #[error("reserved close code")]
    CloseCodeReserved,
    /// A close reason that is not UTF-8 (section 5.5.1).
    #[error("close reason is not UTF-8")]
    CloseReasonNotUtf8,
    /// A text message that is not UTF-8 (section 8.1).
    #[error("text is not UTF-8")]
    TextNotUtf8,
    /// The declared lengths of a message's frames sum up to more than the limit, or a compressed
    /// one inflates to more (section 10.4).
    #[error("message over the size limit")]
    MessageTooBig,
    /// A compressed message that is not what a compressor makes, or not all of it (RFC 7692 section
    /// 7.2.2).
    #[error("compressed message is corrupt")]
    DeflateCorrupt,
    /// A message in more fragments than the limit (section 10.4).
    #[error("too many fragments")]
    TooManyFragments,
}

impl ProtocolError {
    /// The code of the Close frame that answers this fault (RFC 6455 section 7.4.1).
    pub fn close_code(self) -> CloseCode {
        match self {
            ProtocolError::ReservedBitSet
            | ProtocolError::ReservedOpcode
            | ProtocolError::ControlFragmented
            | ProtocolError::ControlTooLong
            | ProtocolError::FrameNotMasked
            | ProtocolError::FrameMasked
            | ProtocolError::LengthNotMinimal
            | ProtocolError::LengthTopBitSet
            | ProtocolError::ContinuationWithoutStart
            | ProtocolError::StartWithinMessage
            | ProtocolError::CloseCodeCut
            | ProtocolError::CloseCodeReserved => CloseCode::PROTOCOL_ERROR,
            ProtocolError::CloseReasonNotUtf8
            | ProtocolError::TextNotUtf8
            | ProtocolError::DeflateCorrupt => CloseCode::INVALID_DATA,
            ProtocolError::MessageTooBig => CloseCode::TOO_BIG,
            ProtocolError::TooManyFragments => CloseCode::POLICY,
        }
    }
}
