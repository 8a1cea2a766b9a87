//! Calls that do something to clients: who is meant, and what is done.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::check::named;
use super::shape::{self, Truth};
use super::{Raw, Task};
use crate::control::answer::{ApiError, BadRequest};
use crate::hub::{AskedEpoch, Since};
use crate::id::{ClientKey, SessionKey};
use crate::limits;
use crate::mail::{Deed, Enrolment, Selector};
use crate::protocol::centrifuge::code::Disconnect;
use crate::protocol::claims::Overrides;
use crate::publication::json::{Object, append_one_line, is_deeper_than};
use crate::ws::CloseCode;

/// Subscribes those who are meant.
pub(super) fn subscribe(shape: shape::Subscribe<'_>) -> Result<Task, ApiError> {
    let channel = named(shape.channel)?;
    let who = meant(shape.user, shape.client, shape.session, Vec::new())?;
    let Object(overrides) = shape.overrides.unwrap_or(Object(shape::Overrides::default()));
    let truth = |truth: Option<Object<Truth>>| truth.map(|Object(truth)| truth.value);
    let enrolment = Enrolment {
        channel,
        info: json(shape.info, shape.b64info.as_deref(), "info", "b64info")?,
        data: json(shape.data, shape.b64data.as_deref(), "data", "b64data")?,
        expire_at: shape.expire_at.filter(|at| *at > 0),
        since: shape.recover_since.map(|Object(since)| Since {
            offset: since.offset.unwrap_or(0),
            epoch: AskedEpoch::from_text(since.epoch.as_deref().unwrap_or("")),
        }),
        overrides: Overrides {
            presence: truth(overrides.presence),
            join_leave: truth(overrides.join_leave),
            force_recovery: truth(overrides.force_recovery),
            force_positioning: truth(overrides.force_positioning),
            force_push_join_leave: truth(overrides.force_push_join_leave),
        },
    };
    Ok(Task::Steer(who, Deed::Subscribe(Arc::new(enrolment))))
}

/// Ends a subscription of those who are meant.
pub(super) fn unsubscribe(shape: shape::Unsubscribe) -> Result<Task, ApiError> {
    let channel = named(shape.channel)?;
    let who = meant(shape.user, shape.client, shape.session, Vec::new())?;
    Ok(Task::Steer(who, Deed::Unsubscribe(channel)))
}

/// Ends the connections of those who are meant.
pub(super) fn disconnect(shape: shape::Disconnect) -> Result<Task, ApiError> {
    let spared = shape.whitelist.unwrap_or_default();
    if spared.len() > limits::WHITELIST_MAX {
        return Err(BadRequest::WhitelistTooLong.into());
    }
    let spared = spared.iter().filter_map(|client| ClientKey::parse(client)).collect();
    let who = meant(shape.user, shape.client, shape.session, spared)?;
    let Object(close) = shape.disconnect.unwrap_or(Object(shape::Close::default()));
    let default = Disconnect::ForceDisconnect;
    let (code, reason) = match close.code.unwrap_or(0) {
        0 => (default.code(), default.reason()),
        code @ 3000..=4999 => {
            let code = u16::try_from(code).ok().and_then(CloseCode::new);
            (code.expect("these may be sent"), "")
        }
        code => return Err(BadRequest::CloseCode(code).into()),
    };
    let reason = close.reason.filter(|given| !given.is_empty()).unwrap_or(reason.to_owned());
    let (len, max) = (reason.len(), limits::DISCONNECT_REASON_MAX);
    if len > max {
        return Err(BadRequest::TextTooLong { field: "disconnect.reason", len, max }.into());
    }
    Ok(Task::Steer(who, Deed::Disconnect { code, reason: reason.into() }))
}

/// Sets the time of those who are meant anew, or ends their connections.
pub(super) fn refresh(shape: shape::Refresh<'_>) -> Result<Task, ApiError> {
    let who = meant(shape.user, shape.client, shape.session, Vec::new())?;
    let info = json(shape.info, None, "info", "b64info")?;
    let expire_at = shape.expire_at.filter(|at| *at > 0);
    let why = Disconnect::ConnectionExpired;
    let deed = match shape.expired {
        Some(true) => Deed::Disconnect { code: why.code(), reason: why.reason().into() },
        _ => Deed::Refresh { expire_at, info },
    };
    Ok(Task::Steer(who, deed))
}

/// Who is meant; `None`: nobody can be.
fn meant(
    user: Option<String>,
    client: Option<String>,
    session: Option<String>,
    spared: Vec<ClientKey>,
) -> Result<Option<Arc<Selector>>, BadRequest> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (user, client, session) = (given(user), given(client), given(session));
    if user.is_none() && client.is_none() && session.is_none() {
        return Err(BadRequest::NobodyMeant);
    }
    let user = user.map(Arc::from);
    let client = client.map(|client| ClientKey::parse(&client));
    let session = session.map(|session| SessionKey::parse(&session));
    let (client, session) = match (client, session) {
        // What is no id of a client is nobody's.
        (Some(None), _) | (_, Some(None)) => return Ok(None),
        (client, session) => (client.flatten(), session.flatten()),
    };
    Ok(Some(Arc::new(Selector { user, client, session, spared })))
}

/// JSON for clients, as it is or in base64, in one line.
fn json(
    plain: Option<Raw<'_>>,
    base64: Option<&str>,
    field: &'static str,
    b64field: &'static str,
) -> Result<Option<Arc<str>>, BadRequest> {
    let bytes = match (plain, base64) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err(BadRequest::Twice(field, b64field)),
        (Some(json), None) => json.get().as_bytes().to_vec(),
        (None, Some(base64)) => {
            let bytes = STANDARD.decode(base64).ok();
            let is_json =
                |bytes: &Vec<u8>| serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
            bytes.filter(is_json).ok_or(BadRequest::NotJson(b64field))?
        }
    };
    let (len, max) = (bytes.len(), limits::ENROLMENT_JSON_MAX);
    if len > max {
        return Err(BadRequest::TextTooLong { field, len, max });
    }
    if is_deeper_than(limits::JSON_DEPTH_MAX, &bytes) {
        return Err(BadRequest::DataTooDeep);
    }
    let mut line = Vec::with_capacity(len);
    append_one_line(&mut line, &bytes);
    let line = String::from_utf8(line).expect("JSON that was read is UTF-8");
    Ok(Some(line.into()))
}
