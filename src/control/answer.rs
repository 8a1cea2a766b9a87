//! Every answer of the HTTP API that is not a result: its status, its code, its text.
//!
//! All of them carry the same object, `{"error":{"code","message"}}`, with the codes Centrifugo's
//! clients know. What was readable but cannot be done as asked is status 200 with code 107, as
//! there; what never got that far has an HTTP status of its own, and 503 says that trying again
//! may help.

use std::fmt;

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::hub::HistoryFault;
use crate::limits;
use crate::mail::{PublishError, Unanswered};
use crate::protocol::channel::Denied;
use crate::publication::Position;

/// The media type of every answer of the API.
pub(super) const JSON: &str = "application/json";

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// A key is configured and the request has none, or another one.
    #[error(
        "the API key is missing or wrong; send it as X-API-Key, as Authorization: apikey KEY, or \
         as ?api_key=KEY"
    )]
    KeyWrong,
    /// No key is configured and the request was not made to a loopback host.
    #[error(
        "without an API key only requests to a loopback host are served, such as 127.0.0.1 or \
         localhost; set an API key to use another name"
    )]
    HostForeign,
    /// No key is configured and a web page of another origin made the request.
    #[error("without an API key no web page of another origin may use this port")]
    OriginForeign,
    /// Not JSON by its header.
    #[error("the API takes content-type: application/json only")]
    ContentTypeWrong,
    /// The body is longer than `limits::API_BODY_MAX`.
    #[error("the request body is larger than {} bytes", limits::API_BODY_MAX)]
    BodyTooLarge,
    /// The body was not complete after `limits::API_BODY_TIMEOUT_S`.
    #[error("the request body was not complete after {} seconds", limits::API_BODY_TIMEOUT_S)]
    BodyLate,
    /// The body ended early or its chunks are malformed.
    #[error("the request body could not be read")]
    BodyBroken,
    /// The body is not the JSON object expected.
    #[error("{0}")]
    Unreadable(String),
    /// The object is readable; what it asks for is not acceptable.
    #[error(transparent)]
    BadRequest(#[from] BadRequest),
    /// The publication was not numbered.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A shard did not answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    /// No options are configured for the channel's namespace.
    #[error("the channel's namespace is not configured")]
    ChannelUnknown,
    /// The channel does not have this.
    #[error("the channel has no {0}; switch it on in the configuration of its namespace")]
    FeatureOff(&'static str),
    /// A part of Centrifugo's API that is not there, or not for this channel.
    #[error("{0} is not available")]
    FeatureMissing(&'static str),
    /// `since` names another life of the stream.
    #[error("the stream's epoch is another one than since names")]
    Unrecoverable,
    /// The owner cannot take one more channel.
    #[error("the table of channels is full")]
    ChannelsFull,
    /// More than `limits::API_ANSWER_MAX` bytes.
    #[error(
        "the answer would be larger than {} bytes; ask for a part: history by limit and since, \
         channels by pattern",
        limits::API_ANSWER_MAX
    )]
    AnswerTooLarge,
    /// `rpc`.
    #[error("there is no backend that answers rpc")]
    BackendMissing,
    /// `/health` before the client listener is open.
    #[error("the gateway is starting")]
    Starting,
    /// `/health` during a drain; publishing after the last client was closed.
    #[error("the gateway is draining")]
    Draining,
    /// Nothing is there.
    #[error("no such path or method of the API; GET /api/openapi.json says what there is")]
    PathUnknown,
    /// The path takes another method.
    #[error("this path does not take {asked}; the header allow names what it takes")]
    MethodWrong {
        /// What the request line said.
        asked: Method,
    },
}

/// What is not acceptable in a call that could be read. Nothing was published.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadRequest {
    /// A field that must be there and say something.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Neither user nor client nor session.
    #[error("user, client and session are all missing; give one of them or more")]
    NobodyMeant,
    /// More client ids than a disconnect may spare.
    #[error("whitelist holds more than {} clients", limits::WHITELIST_MAX)]
    WhitelistTooLong,
    /// A code that no Close frame of ours may carry.
    #[error("disconnect.code is {0}; it must be 3000 to 4999, or 0 for the usual one")]
    CloseCode(u32),
    /// Two fields for the same.
    #[error("{0} and {1} are both there; give one of them")]
    Twice(&'static str, &'static str),
    /// Base64 of something else.
    #[error("{0} is not JSON in base64, which is all that clients of the JSON protocol take")]
    NotJson(&'static str),
    /// More commands than a batch may hold.
    #[error("commands holds more than {} commands", limits::BATCH_COMMANDS_MAX)]
    CommandsTooMany,
    /// `limit` is below -1.
    #[error("limit is negative; only -1, for everything, may be")]
    LimitNegative,
    /// `pattern` is longer than a name.
    #[error("pattern has {len} bytes, which is more than {}", limits::CHANNEL_PATTERN_MAX)]
    PatternTooLong {
        /// Bytes of the pattern.
        len: usize,
    },
    /// `pattern` makes no sense.
    #[error("pattern cannot be understood: {0}")]
    PatternMalformed(String),
    /// More tags than a publication may have.
    #[error("tags holds more than {} tags", limits::TAGS_MAX)]
    TagsTooMany,
    /// A tag's name or value is longer than `limits::TAG_SIZE_MAX`.
    #[error("tags holds a name or value of more than {} bytes", limits::TAG_SIZE_MAX)]
    TagTooLong,
    /// A text that has a limit.
    #[error("{field} has {len} bytes, which is more than {max}")]
    TextTooLong {
        /// Its field.
        field: &'static str,
        /// Its bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// `channels` is `[]`.
    #[error("channels is empty")]
    ChannelsEmpty,
    /// More channels than one broadcast may name.
    #[error("channels names more than {} channels", limits::BROADCAST_CHANNELS_MAX)]
    ChannelsTooMany,
    /// A name that no channel can have.
    #[error("{at} {fault}")]
    Channel {
        /// Where in the call.
        at: At,
        /// What is wrong.
        fault: ChannelFault,
    },
    /// Neither `data` nor `b64data`.
    #[error("data is missing; give either data (JSON) or b64data (base64)")]
    DataMissing,
    /// Both `data` and `b64data`.
    #[error("data and b64data are both there; give one of them")]
    DataTwice,
    /// `data` nests deeper than `limits::JSON_DEPTH_MAX`.
    #[error("data nests deeper than {} levels", limits::JSON_DEPTH_MAX)]
    DataTooDeep,
    /// `b64data` is not standard base64.
    #[error("b64data is not base64 with padding (RFC 4648 section 4): {0}")]
    NotBase64(base64::DecodeError),
    /// More bytes than `limits.publication_size`.
    #[error(
        "the publication has {len} bytes, which is more than limits.publication_size ({size_max})"
    )]
    PublicationTooLarge {
        /// Bytes of the payload.
        len: usize,
        /// The limit.
        size_max: usize,
    },
}

/// Which channel of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// The one of a publish.
    Channel,
    /// This one of a broadcast.
    Channels(usize),
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Channel => f.write_str("channel"),
            At::Channels(index) => write!(f, "channels[{index}]"),
        }
    }
}

/// What is wrong with a channel's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChannelFault {
    /// No bytes.
    #[error("is empty")]
    Empty,
    /// More than `limits::CHANNEL_NAME_MAX` bytes.
    #[error("has {len} bytes, which is more than {}", limits::CHANNEL_NAME_MAX)]
    TooLong {
        /// Bytes of the name.
        len: usize,
    },
    /// A control character: it would garble logs and terminals.
    #[error("holds the control character U+{:04X}", u32::from(*.0))]
    ControlCharacter(char),
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            ApiError::KeyWrong => StatusCode::UNAUTHORIZED,
            ApiError::HostForeign | ApiError::OriginForeign => StatusCode::FORBIDDEN,
            ApiError::ContentTypeWrong => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ApiError::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ApiError::BodyLate => StatusCode::REQUEST_TIMEOUT,
            ApiError::BodyBroken | ApiError::Unreadable(_) => StatusCode::BAD_REQUEST,
            ApiError::BadRequest(_)
            | ApiError::Publish(PublishError::UnknownChannel | PublishError::NotJson)
            | ApiError::ChannelUnknown
            | ApiError::FeatureOff(_)
            | ApiError::FeatureMissing(_)
            | ApiError::Unrecoverable
            | ApiError::AnswerTooLarge
            | ApiError::BackendMissing => StatusCode::OK,
            ApiError::Publish(_)
            | ApiError::Unanswered(_)
            | ApiError::ChannelsFull
            | ApiError::Starting
            | ApiError::Draining => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::PathUnknown => StatusCode::NOT_FOUND,
            ApiError::MethodWrong { .. } => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    fn code(&self) -> u16 {
        match self {
            ApiError::Publish(PublishError::UnknownChannel) | ApiError::ChannelUnknown => {
                CODE_UNKNOWN_CHANNEL
            }
            ApiError::Publish(PublishError::NotJson) => CODE_BAD_REQUEST,
            ApiError::Publish(_)
            | ApiError::Unanswered(_)
            | ApiError::ChannelsFull
            | ApiError::Starting
            | ApiError::Draining => CODE_INTERNAL,
            ApiError::FeatureOff(_) | ApiError::FeatureMissing(_) => CODE_NOT_AVAILABLE,
            ApiError::Unrecoverable => CODE_UNRECOVERABLE,
            ApiError::KeyWrong => CODE_UNAUTHORIZED,
            ApiError::HostForeign | ApiError::OriginForeign => CODE_PERMISSION_DENIED,
            ApiError::PathUnknown | ApiError::MethodWrong { .. } | ApiError::BackendMissing => {
                CODE_METHOD_NOT_FOUND
            }
            ApiError::ContentTypeWrong
            | ApiError::BodyTooLarge
            | ApiError::BodyLate
            | ApiError::BodyBroken
            | ApiError::Unreadable(_)
            | ApiError::AnswerTooLarge
            | ApiError::BadRequest(_) => CODE_BAD_REQUEST,
        }
    }

    /// The object `{"code","message"}`.
    pub(super) fn object(&self) -> ErrorObject {
        ErrorObject { code: self.code(), message: self.to_string() }
    }
}

impl ApiError {
    /// The answer in the mode its client asked for: in transport mode the status says what the code
    /// does.
    pub(super) fn into_response_in(self, mode: ErrorMode) -> Response {
        let status = match (self.status(), mode) {
            (StatusCode::OK, ErrorMode::Transport) => match self.code() {
                CODE_UNKNOWN_CHANNEL | CODE_METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
                CODE_UNRECOVERABLE => StatusCode::RANGE_NOT_SATISFIABLE,
                _ => StatusCode::BAD_REQUEST,
            },
            (status, _) => status,
        };
        let mut response = json(status, &Answer::<()>::Error(self.object()));
        response.extensions_mut().insert(Failed);
        let headers = response.headers_mut();
        match self {
            ApiError::KeyWrong => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("apikey"));
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.into_response_in(ErrorMode::Body)
    }
}

impl From<HistoryFault> for ApiError {
    fn from(fault: HistoryFault) -> Self {
        match fault {
            HistoryFault::Unrecoverable => Self::Unrecoverable,
            HistoryFault::ChannelsFull(_) => Self::ChannelsFull,
        }
    }
}

impl From<Denied> for ApiError {
    /// The API may do everything a channel offers, so all that is denied is an unknown namespace.
    fn from(_: Denied) -> Self {
        Self::ChannelUnknown
    }
}

/// How errors that are answers to a call are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorMode {
    /// In the body of an answer with status 200.
    Body,
    /// By the status too.
    Transport,
}

/// Marks an answer that is an error whatever its status, for the counter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed;

/// What the API answers, in each response of a broadcast too.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Answer<T> {
    /// It is done.
    Result(T),
    /// It is not.
    Error(ErrorObject),
}

/// Code and text of an error.
#[derive(Debug, Serialize)]
pub(super) struct ErrorObject {
    code: u16,
    message: String,
}

/// Where a publication stands.
#[derive(Debug, Serialize)]
pub(super) struct Published {
    offset: u64,
    epoch: String,
}

impl From<Position> for Published {
    fn from(position: Position) -> Self {
        Self { offset: position.offset, epoch: position.epoch.to_string() }
    }
}

/// The result of a broadcast.
#[derive(Debug, Serialize)]
pub(super) struct Responses {
    /// One per channel, in the order asked.
    pub(super) responses: Vec<Answer<Published>>,
}

/// `body` as JSON.
pub(super) fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    let text = serde_json::to_string(body).expect("these types have string keys and no floats");
    (status, [(header::CONTENT_TYPE, JSON)], text).into_response()
}

/// Centrifugo's codes: internal, unauthorized, unknown channel, permission denied, method not
/// found, bad request, not available, unrecoverable position.
const CODE_INTERNAL: u16 = 100;
const CODE_UNAUTHORIZED: u16 = 101;
const CODE_UNKNOWN_CHANNEL: u16 = 102;
const CODE_PERMISSION_DENIED: u16 = 103;
const CODE_METHOD_NOT_FOUND: u16 = 104;
const CODE_BAD_REQUEST: u16 = 107;
const CODE_NOT_AVAILABLE: u16 = 108;
const CODE_UNRECOVERABLE: u16 = 112;
