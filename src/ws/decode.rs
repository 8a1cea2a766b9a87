//! stub
use super::{CloseCode, MessageKind, ProtocolError, Role};
use std::borrow::Cow;
/// Limits of one kind of connection, shared by all its decoders.
#[derive(Clone, Copy, Debug)]
pub struct DecodeLimits {
    /// Largest message in bytes, all fragments together, inclusive.
    pub message_size: usize,
    /// Most fragments of one message.
    pub fragments: u32,
}
/// One complete data message. Owned when it was gathered from pieces, else lying in the input.
#[derive(Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Text or binary.
    pub kind: MessageKind,
    /// Unmasked, and valid UTF-8 if `kind` is text.
    pub payload: Cow<'a, [u8]>,
}
/// What the peer said.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole data message.
    Message(Message<'a>),
    /// A Ping: a Pong with the same payload is owed.
    Ping(Cow<'a, [u8]>),
    /// A Pong.
    Pong(Cow<'a, [u8]>),
    /// A Close; code and reason, `None` for an empty body. A Close is owed if none was sent.
    Close(Option<(CloseCode, Cow<'a, str>)>),
}
/// How much of the input was used and what it completed.
#[derive(Debug)]
pub struct Decoded<'a> {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// The event those bytes completed; `None`: all input was consumed and more is needed.
    pub event: Option<Event<'a>>,
}
/// Frames to messages, for one direction of one connection. At most 64 bytes; owns heap only while a
/// frame or message is incomplete.
#[derive(Debug)]
pub struct Decoder {
    _role: Role,
}
impl Decoder {
    /// stub
    pub fn new(role: Role) -> Self {
        Self { _role: role }
    }
    /// Takes bytes until one event is complete or the input ends.
    pub fn handle<'a>(
        &mut self,
        _input: &'a mut [u8],
        _limits: &DecodeLimits,
    ) -> Result<Decoded<'a>, ProtocolError> {
        todo!()
    }
}
