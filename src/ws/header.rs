//! stub
/// RFC 6455 section 5.2
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// 0
    Continuation,
    /// 1
    Text,
    /// 2
    Binary,
    /// 8
    Close,
    /// 9
    Ping,
    /// 10
    Pong,
}
