//! Why an upgrade is refused: a closed list, each with its status and its text.

use super::{Reply, Status, VERSION};
use crate::limits;

/// A request that is no acceptable opening handshake. Always the peer's fault (or that of a proxy
/// in front of it) and final for the connection: the answer is [`HandshakeError::append_reply`],
/// then the end.
///
/// The text of a variant says what was wrong, where, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The first byte cannot begin a request line (RFC 9112 section 2.2).
    #[error(
        "the first byte is no letter of a request line such as `GET / HTTP/1.1`; \
         if this was meant to be TLS: this port speaks plain HTTP, use ws:// instead of wss://"
    )]
    NoRequestLine,
    /// A CR without a LF behind it (RFC 9112 section 2.2).
    #[error("byte {at} of the request is a CR without a LF behind it; end every line with CR LF")]
    BareCarriageReturn {
        /// Its offset.
        at: usize,
    },
    /// A LF without a CR before it.
    #[error("byte {at} of the request is a LF without a CR before it; end every line with CR LF")]
    BareLineFeed {
        /// Its offset.
        at: usize,
    },
    /// A NUL or another control byte.
    #[error("byte {at} of the request is a control byte; percent-encode it or leave it out")]
    ControlByte {
        /// Its offset.
        at: usize,
    },
    /// A header line that begins with a blank, obsolete folding included (RFC 9112 section 5.2).
    #[error("the header line at byte {at} begins with a blank; put each header on one line")]
    FoldedHeader {
        /// Its offset.
        at: usize,
    },
    /// The request line is longer than [`limits::HEAD_LINE_MAX`].
    #[error(
        "the request line is longer than {} bytes; ask for less in one URL",
        limits::HEAD_LINE_MAX
    )]
    RequestLineTooLong,
    /// A header line is longer than [`limits::HEAD_LINE_MAX`].
    #[error(
        "a header line is longer than {} bytes; send less in it, cookies above all",
        limits::HEAD_LINE_MAX
    )]
    HeaderLineTooLong,
    /// The head is longer than [`limits::HEAD_SIZE_MAX`].
    #[error(
        "the request head is longer than {} bytes; send fewer or shorter headers",
        limits::HEAD_SIZE_MAX
    )]
    HeadTooLarge,
    /// More headers than [`limits::HEAD_HEADERS_MAX`].
    #[error("the request has more than {} header lines; send fewer", limits::HEAD_HEADERS_MAX)]
    TooManyHeaders,
    /// The first line is not `METHOD TARGET HTTP/D.D`.
    #[error("the first line is not a request line such as `GET /raw?channel=news HTTP/1.1`")]
    RequestLineMalformed,
    /// The target is neither a path nor a URL, or holds bytes that must be percent-encoded.
    #[error(
        "the request target is neither a path nor a URL; percent-encode what is not ASCII and \
         leave out the fragment"
    )]
    TargetMalformed,
    /// Not a version of HTTP/1.
    #[error("the request line names an HTTP version other than 1.0 and 1.1; use HTTP/1.1")]
    HttpVersionUnsupported,
    /// A line that is not `Name: value` (RFC 9112 section 5).
    #[error("a header line is not `Name: value` with a plain name and no blank before the colon")]
    HeaderMalformed,
    /// No `Host` header (RFC 9112 section 3.2).
    #[error("the request has no Host header; send exactly one")]
    HostMissing,
    /// More than one `Host` header.
    #[error("the request has more than one Host header; send exactly one")]
    HostRepeated,
    /// A `Host` that is not a host with an optional port.
    #[error("the Host header is not a host name or address with an optional port")]
    HostMalformed,
    /// `Transfer-Encoding` in a request that can have no body.
    #[error("the request has a Transfer-Encoding header; no request here has a body, leave it out")]
    TransferEncoding,
    /// `Content-Length` above 0.
    #[error(
        "the request announces a body with Content-Length; no request here has one, leave it out"
    )]
    BodyAnnounced,
    /// Several `Content-Length` headers, or one that is not a number (RFC 9112 section 6.3).
    #[error("Content-Length is repeated or not a number; leave it out")]
    ContentLengthMalformed,
    /// A method other than GET.
    #[error("only GET is answered here")]
    MethodNotGet,
    /// An upgrade over HTTP/1.0.
    #[error(
        "a WebSocket needs HTTP/1.1 but the request line says HTTP/1.0; \
         behind nginx set `proxy_http_version 1.1`"
    )]
    HttpTooOld,
    /// No `websocket` in `Upgrade`: not an opening handshake at all.
    #[error(
        "this path speaks WebSocket: connect with a WebSocket client (ws://); behind a proxy, \
         have it pass on the headers Upgrade and Connection"
    )]
    UpgradeMissing,
    /// No `upgrade` in `Connection`.
    #[error(
        "the Connection header does not list `Upgrade`; behind nginx set \
         `proxy_set_header Connection \"upgrade\"`"
    )]
    ConnectionMissing,
    /// No `Sec-WebSocket-Version: 13`.
    #[error("Sec-WebSocket-Version is not {VERSION}; only RFC 6455 is spoken here")]
    VersionUnsupported,
    /// More than one `Sec-WebSocket-Version`.
    #[error("Sec-WebSocket-Version is sent more than once; send it once, with {VERSION}")]
    VersionRepeated,
    /// No `Sec-WebSocket-Key`.
    #[error("Sec-WebSocket-Key is missing; send 16 random bytes in base64")]
    KeyMissing,
    /// More than one `Sec-WebSocket-Key`.
    #[error("Sec-WebSocket-Key is sent more than once; send it once")]
    KeyRepeated,
    /// A key that is not the base64 of 16 bytes.
    #[error("Sec-WebSocket-Key is not 16 bytes in base64 (24 characters, the last two `==`)")]
    KeyMalformed,
    /// More than one `Origin`.
    #[error("Origin is sent more than once; send it once or not at all")]
    OriginRepeated,
    /// `Sec-WebSocket-Protocol` is not a list of tokens.
    #[error("Sec-WebSocket-Protocol is not a comma-separated list of plain names")]
    SubprotocolMalformed,
    /// `Sec-WebSocket-Extensions` breaks the grammar of RFC 6455 section 9.1.
    #[error("Sec-WebSocket-Extensions is not a list of the form `name; parameter=value, name`")]
    ExtensionMalformed,
}

impl HandshakeError {
    /// The status of the answer.
    pub fn status(self) -> Status {
        match self {
            Self::NoRequestLine
            | Self::BareCarriageReturn { .. }
            | Self::BareLineFeed { .. }
            | Self::ControlByte { .. }
            | Self::FoldedHeader { .. }
            | Self::RequestLineMalformed
            | Self::TargetMalformed
            | Self::HeaderMalformed
            | Self::HostMissing
            | Self::HostRepeated
            | Self::HostMalformed
            | Self::TransferEncoding
            | Self::BodyAnnounced
            | Self::ContentLengthMalformed
            | Self::ConnectionMissing
            | Self::VersionRepeated
            | Self::KeyMissing
            | Self::KeyRepeated
            | Self::KeyMalformed
            | Self::OriginRepeated
            | Self::SubprotocolMalformed
            | Self::ExtensionMalformed => Status::BadRequest,
            Self::MethodNotGet => Status::MethodNotAllowed,
            Self::RequestLineTooLong => Status::UriTooLong,
            Self::UpgradeMissing | Self::VersionUnsupported => Status::UpgradeRequired,
            Self::HeaderLineTooLong | Self::HeadTooLarge | Self::TooManyHeaders => {
                Status::HeadersTooLarge
            }
            Self::HttpVersionUnsupported | Self::HttpTooOld => Status::VersionNotSupported,
        }
    }

    /// The headers the status calls for (RFC 9110 sections 15.5.6 and 15.5.22, RFC 6455 section
    /// 4.4).
    pub fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self.status() {
            Status::MethodNotAllowed => &[("Allow", "GET")],
            Status::UpgradeRequired => {
                &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION)]
            }
            _ => &[],
        }
    }

    /// Appends the answer to `out`. `head_only`: the request was a HEAD, whose answer has no body
    /// (RFC 9110 section 9.3.2).
    pub fn append_reply(self, out: &mut Vec<u8>, head_only: bool) {
        Reply::text(self.status(), self.headers(), &self.to_string()).append(out, head_only);
    }
}
