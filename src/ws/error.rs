//! stub
use super::CloseCode;
/// stub
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// stub
    #[error("stub")]
    Stub,
}
impl ProtocolError {
    /// The code of the Close frame that answers this fault.
    pub fn close_code(self) -> CloseCode {
        CloseCode::PROTOCOL_ERROR
    }
}
