//! What the two ends agreed on about compression (RFC 7692 section 7.1).

use crate::ws::Role;

/// Smallest window an LZ77 compressor of zlib can use without a header of its own: asked for 8 it
/// uses 9, which a peer with a window of 8 cannot read.
pub const WINDOW_BITS_MIN: u8 = 9;

/// Largest window, and the one where none was named.
pub const WINDOW_BITS_MAX: u8 = 15;

/// The parameters of permessage-deflate on one connection, both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateParams {
    /// The server compresses within a window of 2 to this power, 9 to 15; as a client 8 may be
    /// agreed to as well.
    pub server_window_bits: u8,
    /// The client compresses within a window of 2 to this power, 9 to 15.
    pub client_window_bits: u8,
    /// Each message of the server is compressed by itself.
    pub server_no_context_takeover: bool,
    /// Each message of the client is compressed by itself.
    pub client_no_context_takeover: bool,
}

/// The parameters of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateSide {
    /// The window is 2 to this power.
    pub window_bits: u8,
    /// Whether a message may refer to those before it.
    pub context_takeover: bool,
}

impl DeflateParams {
    /// How `role` compresses what it sends.
    pub fn outgoing(&self, role: Role) -> DeflateSide {
        match role {
            Role::Server => DeflateSide {
                window_bits: self.server_window_bits,
                context_takeover: !self.server_no_context_takeover,
            },
            Role::Client => DeflateSide {
                window_bits: self.client_window_bits,
                context_takeover: !self.client_no_context_takeover,
            },
        }
    }

    /// How the peer of `role` compresses what `role` receives.
    pub fn incoming(&self, role: Role) -> DeflateSide {
        match role {
            Role::Server => self.outgoing(Role::Client),
            Role::Client => self.outgoing(Role::Server),
        }
    }
}
