//! Close codes and the body of a Close frame (RFC 6455 sections 5.5.1 and 7.4).

/// A close code that may stand in a Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the endpoint goes away.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data this endpoint does not take.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1007: text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// 1008: the peer broke a policy, such as the limit on fragments.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message above the limit.
    pub const TOO_BIG: Self = Self(1009);
    /// 1011: this endpoint failed.
    pub const INTERNAL: Self = Self(1011);
    /// 1013: try again later.
    pub const TRY_AGAIN: Self = Self(1013);
    /// 3008: the peer does not read fast enough (Centrifugo's code).
    pub const SLOW: Self = Self(3008);
    /// 3012: no pong came in time (Centrifugo's code).
    pub const NO_PONG: Self = Self(3012);

    /// The code, if it may be sent in a Close frame: 1000-1003, 1007-1014, 3000-4999.
    pub fn new(code: u16) -> Option<Self> {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Self(code))
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}
