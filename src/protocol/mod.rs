//! What messages mean, and what is acceptable before the 101.
//!
//! A protocol turns a client's message into a [`Reaction`]; the shard carries it out. Nothing here
//! does IO, knows a shard or looks at a clock.

pub mod admission;
pub mod centrifuge;
pub mod channel;
pub mod claims;
mod echo;
pub mod hook;
mod raw;

use std::borrow::Cow;

use crate::publication::Payload;
use crate::ws::{CloseCode, DecodeLimits, Message};

/// What an open connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Every message comes back.
    Echo,
    /// Publications arrive as messages; messages are published if `publish`.
    Raw {
        /// Whether the client asked for `publish=1` and was allowed to.
        publish: bool,
    },
    /// The Centrifuge protocol in JSON.
    Centrifuge {
        /// Whether pings are control frames; else they are messages, and so are the answers.
        frame_pings: bool,
    },
}

/// What a client's message leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Reaction<'a> {
    /// The message goes back to its sender.
    Reply(Message<'a>),
    /// The payload is published to the connection's first channel.
    Publish(Payload),
    /// The commands in this text are carried out.
    Commands(Cow<'a, str>),
    /// The connection is closed with this code and reason.
    Close(CloseCode, &'static str),
}

/// The limits messages are held to, by protocol.
#[derive(Clone, Copy, Debug)]
pub struct ProtocolLimits {
    /// Messages on `/echo`.
    pub echo: DecodeLimits,
    /// Messages on `/raw` and of the Centrifuge protocol.
    pub client: DecodeLimits,
    /// Payload bytes of a publication.
    pub publication_size: usize,
}

impl Protocol {
    /// What `message` leads to.
    pub fn react<'a>(self, message: Message<'a>, limits: &ProtocolLimits) -> Reaction<'a> {
        match self {
            Protocol::Echo => echo::react(message),
            Protocol::Raw { publish } => raw::react(message, publish, limits.publication_size),
            Protocol::Centrifuge { .. } => centrifuge::react(message),
        }
    }

    /// Bytes a compressed message is inflated to at most, inclusive; `None`: what a message says
    /// makes no difference, so it need not be inflated.
    pub fn inflate_limit(self, limits: &ProtocolLimits) -> Option<usize> {
        match self {
            Protocol::Echo => Some(limits.echo.message_size),
            Protocol::Raw { publish: true } => {
                Some(limits.client.message_size.min(limits.publication_size))
            }
            Protocol::Raw { publish: false } => None,
            Protocol::Centrifuge { .. } => Some(limits.client.message_size),
        }
    }

    /// Whether pings, and the pongs that answer them, are control frames (RFC 6455 section 5.5.2).
    pub fn has_frame_pings(self) -> bool {
        !matches!(self, Protocol::Centrifuge { frame_pings: false })
    }

    /// The limits its decoder works with.
    pub fn decode_limits(self, limits: &ProtocolLimits) -> &DecodeLimits {
        match self {
            Protocol::Echo => &limits.echo,
            Protocol::Raw { .. } | Protocol::Centrifuge { .. } => &limits.client,
        }
    }
}
