//! Close codes and the body of a Close frame (RFC 6455 sections 5.5.1 and 7.4).

#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::ProtocolError;
use crate::limits::CONTROL_PAYLOAD_MAX;

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

/// A Close frame's code and reason.
pub type CloseBody<'a> = (CloseCode, Cow<'a, str>);

/// Reads the unmasked body of a Close frame; `None` if it is empty. Copies nothing.
///
/// # Errors
/// The peer's fault: a body of one byte, a code that may not be sent, a reason that is not UTF-8.
pub fn parse_body(body: Cow<'_, [u8]>) -> Result<Option<CloseBody<'_>>, ProtocolError> {
    let code = match *body {
        [] => return Ok(None),
        [_] => return Err(ProtocolError::CloseCodeCut),
        [high, low, ..] => u16::from_be_bytes([high, low]),
    };
    let code = CloseCode::new(code).ok_or(ProtocolError::CloseCodeReserved)?;
    let reason = match body {
        Cow::Borrowed(body) => std::str::from_utf8(&body[CODE_LEN..]).ok().map(Cow::Borrowed),
        Cow::Owned(mut body) => {
            body.drain(..CODE_LEN);
            String::from_utf8(body).ok().map(Cow::Owned)
        }
    };
    let reason = reason.ok_or(ProtocolError::CloseReasonNotUtf8)?;
    Ok(Some((code, reason)))
}

/// As much of `reason` as fits behind a code, cut where a character ends.
pub(super) fn cut_reason(reason: &str) -> &str {
    let mut end = reason.len().min(REASON_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

/// Bytes of the code in a Close body.
pub(super) const CODE_LEN: usize = 2;

/// Bytes of a reason: what a control frame holds behind the code.
const REASON_MAX: usize = CONTROL_PAYLOAD_MAX - CODE_LEN;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_may_stand_in_a_frame() {
        for code in 0..=u16::MAX {
            let sendable = (1000..=1003).contains(&code)
                || (1007..=1014).contains(&code)
                || (3000..=4999).contains(&code);
            let body = code.to_be_bytes();
            let parsed = parse_body(Cow::Borrowed(&body));
            if sendable {
                let code = CloseCode::new(code).expect("the code is sendable");
                assert_eq!(parsed, Ok(Some((code, Cow::Borrowed("")))));
            } else {
                assert_eq!(parsed, Err(ProtocolError::CloseCodeReserved), "{code}");
            }
        }
    }

    #[test]
    fn body_is_empty_or_has_a_code() {
        assert_eq!(parse_body(Cow::Borrowed(&[])), Ok(None));
        let fault = parse_body(Cow::Borrowed(&[3]));
        assert_eq!(fault, Err(ProtocolError::CloseCodeCut));
    }

    #[test]
    fn reason_is_utf8_borrowed_or_owned() {
        let body = [&[3, 232], "tschüß".as_bytes()].concat();
        let expected = Ok(Some((CloseCode::NORMAL, Cow::Borrowed("tschüß"))));
        assert_eq!(parse_body(Cow::Borrowed(&body)), expected);
        assert_eq!(parse_body(Cow::Owned(body.clone())), expected);
        let cut = &body[..body.len() - 1];
        let fault = Err(ProtocolError::CloseReasonNotUtf8);
        assert_eq!(parse_body(Cow::Borrowed(cut)), fault);
        assert_eq!(parse_body(Cow::Owned(cut.to_vec())), fault);
    }

    #[test]
    fn reason_is_cut_between_characters() {
        assert_eq!(cut_reason("").len(), 0);
        assert_eq!(cut_reason(&"x".repeat(123)).len(), 123);
        assert_eq!(cut_reason(&"x".repeat(124)).len(), 123);
        assert_eq!(cut_reason(&format!("{}€", "x".repeat(120))).len(), 123);
        assert_eq!(cut_reason(&format!("{}€", "x".repeat(121))).len(), 121);
        assert_eq!(cut_reason(&format!("{}😀", "x".repeat(122))).len(), 122);
    }
}
