//! What a backend's answer says.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::super::claims::{Claim, date, json, overrides, read as read_claim, subscriptions, user};
use crate::limits;
use crate::protocol::claims::{ConnectClaims, SubscriptionClaims, TokenRefused};
use crate::protocol::hook::{HookCall, HookOutcome, HookRefused, HookReply, Refreshed, Topic};
use crate::publication::json::Object;
use crate::ws::CloseCode;

/// Why a backend's word is not to be had. Texts repeat nothing of an answer: it may hold secrets.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// Too many questions wait for a place in flight.
    #[error(
        "more than {} questions wait for it; raise hooks.concurrency if it can take more",
        limits::HOOK_WAITING_MAX
    )]
    Overload,
    /// Nothing came in time.
    #[error("no answer within {0:?} (hooks.timeout)")]
    TimedOut(Duration),
    /// No connection, or it broke.
    #[error("{0}")]
    Connection(String),
    /// Another status than 200; redirects are not followed.
    #[error("it answered {0}, not 200")]
    Status(StatusCode),
    /// Longer than [`limits::HOOK_ANSWER_MAX`].
    #[error("the answer is longer than {} bytes", limits::HOOK_ANSWER_MAX)]
    TooLong,
    /// No JSON, or of another form.
    #[error("the answer is not understood: {0}")]
    Malformed(String),
    /// Neither of the three things an answer may have.
    #[error("the answer has none of result, error and disconnect")]
    Nothing,
    /// A field that is not what it must be.
    #[error("the answer's {0:?} is missing or not what it must be")]
    Field(&'static str),
}

impl Fault {
    /// Where its name stands in `stats::HOOK_FAILURE_LABELS`.
    pub(super) fn label_index(&self) -> usize {
        match self {
            Self::Overload => 0,
            Self::TimedOut(_) => 1,
            Self::Connection(_) => 2,
            Self::Status(_) => 3,
            Self::TooLong => 4,
            Self::Malformed(_) | Self::Nothing | Self::Field(_) => 5,
        }
    }
}

/// What helpers of tokens find wrong is a field here.
impl From<TokenRefused> for Fault {
    fn from(refused: TokenRefused) -> Self {
        match refused {
            TokenRefused::ClaimMalformed(field) => Self::Field(field),
            other => Self::Malformed(other.to_string()),
        }
    }
}

/// An answer, of which one thing counts: a disconnect before an error before a result.
#[derive(Deserialize)]
struct Wire {
    result: Option<Box<RawValue>>,
    error: Option<Object<ErrorWire>>,
    disconnect: Option<Object<DisconnectWire>>,
}

#[derive(Deserialize)]
struct ErrorWire {
    code: u32,
    #[serde(default)]
    message: String,
    #[serde(default)]
    temporary: bool,
}

#[derive(Deserialize)]
struct DisconnectWire {
    code: u16,
    #[serde(default)]
    reason: String,
}

/// What a result may say, whatever was asked.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ResultWire {
    user: Claim,
    expire_at: Claim,
    info: Claim,
    b64info: Claim,
    data: Claim,
    b64data: Claim,
    channels: Claim,
    subs: Claim,
    meta: Claim,
    #[serde(rename = "override")]
    overrides: Claim,
    skip_history: Claim,
    expired: Claim,
}

/// Reads the answer to `call`, which came at `now`, in seconds since 1970.
///
/// # Errors
/// It is not understood.
pub(super) fn read(call: &HookCall, bytes: &[u8], now: u64) -> Result<HookOutcome, Fault> {
    let Object(wire): Object<Wire> = parse(bytes)?;
    if let Some(Object(DisconnectWire { code, reason })) = wire.disconnect {
        let is_free = (3_000..=4_999).contains(&code);
        let code = CloseCode::new(code).filter(|_| is_free).ok_or(Fault::Field("code"))?;
        return Ok(Err(HookRefused::Disconnect { code, reason: reason.into() }));
    }
    if let Some(Object(ErrorWire { code, message, temporary })) = wire.error {
        if code == 0 {
            return Err(Fault::Field("code"));
        }
        return Ok(Err(HookRefused::Error { code, message: message.into(), temporary }));
    }
    let result = wire.result.ok_or(Fault::Nothing)?;
    let Object(result): Object<ResultWire> = parse(result.get().as_bytes())?;
    let reply = match &call.topic {
        Topic::Connect(_) => result.connect()?,
        Topic::Subscribe { channel, .. } => HookReply::Subscribe(SubscriptionClaims {
            user: call.user.clone(),
            channel: channel.clone(),
            client: None,
            expire_at: result.end()?,
            info: result.info()?,
            overrides: overrides(&result.overrides)?,
            data: result.data()?,
        }),
        Topic::Publish { .. } => HookReply::Publish {
            data: result.data()?,
            skip_history: switch("skip_history", &result.skip_history)?,
        },
        Topic::Rpc { .. } => HookReply::Rpc { data: result.data()? },
        Topic::Refresh | Topic::SubRefresh { .. } => result.refreshed(now)?,
    };
    let end = match &reply {
        HookReply::Connect(claims) => claims.expire_at,
        HookReply::Subscribe(claims) => claims.expire_at,
        _ => None,
    };
    Ok(if end.is_some_and(|end| end <= now) { Err(expired()) } else { Ok(reply) })
}

impl ResultWire {
    fn connect(&self) -> Result<HookReply, Fault> {
        Ok(HookReply::Connect(ConnectClaims {
            user: user("user", &self.user)?,
            expire_at: self.end()?,
            info: self.info()?,
            subscriptions: subscriptions(&self.subs, &self.channels)?,
            meta: json("meta", &self.meta, "meta", &None)?,
            data: self.data()?,
        }))
    }

    fn refreshed(&self, now: u64) -> Result<HookReply, Fault> {
        let expire_at = self.end()?;
        let is_over = expire_at.is_some_and(|end| end <= now);
        let expired = is_over || switch("expired", &self.expired)?;
        Ok(HookReply::Refresh(Refreshed { expired, expire_at, info: self.info()? }))
    }

    /// When what is granted ends; 0 is never.
    fn end(&self) -> Result<Option<u64>, Fault> {
        Ok(date("expire_at", &self.expire_at)?.filter(|end| *end != 0))
    }

    fn info(&self) -> Result<Option<Arc<str>>, Fault> {
        Ok(json("info", &self.info, "b64info", &self.b64info)?)
    }

    fn data(&self) -> Result<Option<Arc<str>>, Fault> {
        Ok(json("data", &self.data, "b64data", &self.b64data)?)
    }
}

/// What a client is told to whom something was granted that is over already.
fn expired() -> HookRefused {
    HookRefused::Error { code: 110, message: "expired".into(), temporary: false }
}

fn switch(name: &'static str, claim: &Claim) -> Result<bool, Fault> {
    Ok(read_claim(name, claim)?.unwrap_or_default())
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let what = if error.is_data() { "of another form" } else { "no JSON" };
        Fault::Malformed(format!("{what}, line {line} column {column}"))
    })
}
