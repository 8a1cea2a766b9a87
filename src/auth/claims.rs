//! The claims of a token, as its issuer wrote them, and what they come to.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::limits;
use crate::protocol::claims::{
    ConnectClaims, Overrides, ServerSubscription, SubscriptionClaims, TokenRefused,
};

/// Every claim that means something here, unread, so that a fault can name its claim. `iat` and
/// `jti` are for others.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Claims {
    pub(super) sub: Claim,
    pub(super) exp: Claim,
    pub(super) nbf: Claim,
    pub(super) aud: Claim,
    pub(super) iss: Claim,
    info: Claim,
    b64info: Claim,
    channels: Claim,
    subs: Claim,
    meta: Claim,
    expire_at: Claim,
    channel: Claim,
    client: Claim,
    #[serde(rename = "override")]
    overrides: Claim,
}

/// A claim as JSON, if it is there; `null` is not.
pub(super) type Claim = Option<Box<RawValue>>;

/// One entry of `subs`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sub {
    info: Claim,
    b64info: Claim,
    data: Claim,
    b64data: Claim,
    #[serde(rename = "override")]
    overrides: Option<OverrideClaim>,
}

/// `override`: each is an object with `value`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct OverrideClaim {
    presence: Option<Switch>,
    join_leave: Option<Switch>,
    force_recovery: Option<Switch>,
    force_positioning: Option<Switch>,
    force_push_join_leave: Option<Switch>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Switch {
    value: bool,
}

impl Claims {
    /// What it says about a connection at `now`.
    pub(super) fn into_connect(self, now: u64) -> Result<ConnectClaims, TokenRefused> {
        if self.text("channel", &self.channel)?.is_some_and(|name| !name.is_empty()) {
            return Err(TokenRefused::ForSubscription);
        }
        Ok(ConnectClaims {
            user: user("sub", &self.sub)?,
            expire_at: self.end(now)?,
            info: json("info", &self.info, "b64info", &self.b64info)?,
            subscriptions: subscriptions(&self.subs, &self.channels)?,
            meta: json("meta", &self.meta, "meta", &None)?,
            data: None,
        })
    }

    /// What it says about a subscription at `now`.
    pub(super) fn into_subscription(self, now: u64) -> Result<SubscriptionClaims, TokenRefused> {
        let channel = self.text("channel", &self.channel)?;
        let channel = channel.filter(|name| !name.is_empty());
        Ok(SubscriptionClaims {
            user: user("sub", &self.sub)?,
            channel: channel.ok_or(TokenRefused::ClaimMalformed("channel"))?.into(),
            client: self.text("client", &self.client)?.filter(|client| !client.is_empty()),
            expire_at: self.end(now)?,
            info: json("info", &self.info, "b64info", &self.b64info)?,
            overrides: overrides(&self.overrides)?,
            data: None,
        })
    }

    /// A claim that is a text.
    pub(super) fn text(
        &self,
        name: &'static str,
        claim: &Claim,
    ) -> Result<Option<Box<str>>, TokenRefused> {
        read(name, claim)
    }

    /// The audiences: one text, or a list of them.
    pub(super) fn audience(&self) -> Result<Vec<Box<str>>, TokenRefused> {
        if self.aud.as_ref().is_some_and(|aud| aud.get().starts_with('[')) {
            return Ok(read("aud", &self.aud)?.unwrap_or_default());
        }
        Ok(self.text("aud", &self.aud)?.into_iter().collect())
    }

    /// When what it allows ends: `expire_at`, where 0 is never, else with the token.
    fn end(&self, now: u64) -> Result<Option<u64>, TokenRefused> {
        let end = match date("expire_at", &self.expire_at)? {
            Some(0) => None,
            Some(end) => Some(end),
            None => date("exp", &self.exp)?,
        };
        // `exp` has been looked at with its leeway; that one second is left keeps clients from
        // being told a time of nothing.
        match (end, self.expire_at.is_some()) {
            (Some(end), true) if end <= now => Err(TokenRefused::Expired),
            (end, _) => Ok(end.map(|end| end.max(now + 1))),
        }
    }
}

impl From<OverrideClaim> for Overrides {
    fn from(claim: OverrideClaim) -> Self {
        let value = |switch: Option<Switch>| switch.map(|switch| switch.value);
        Self {
            presence: value(claim.presence),
            join_leave: value(claim.join_leave),
            force_recovery: value(claim.force_recovery),
            force_positioning: value(claim.force_positioning),
            force_push_join_leave: value(claim.force_push_join_leave),
        }
    }
}

/// Who it is about; empty for an anonymous client.
pub(super) fn user(name: &'static str, claim: &Claim) -> Result<Arc<str>, TokenRefused> {
    let user: Box<str> = read(name, claim)?.unwrap_or_default();
    if user.len() > limits::USER_ID_MAX {
        return Err(TokenRefused::ClaimMalformed(name));
    }
    Ok(user.into())
}

/// A claim that is a time, in seconds since 1970 (RFC 7519: NumericDate); fractions are cut, and
/// what is before 1970 is 0.
pub(super) fn date(name: &'static str, claim: &Claim) -> Result<Option<u64>, TokenRefused> {
    let number: Option<serde_json::Number> = read(name, claim)?;
    let Some(number) = number else { return Ok(None) };
    // A cast of a float stops at the bounds, which are as good as any time beyond them.
    let seconds = number.as_u64().or_else(|| number.as_f64().map(|float| float as u64));
    seconds.map(Some).ok_or(TokenRefused::ClaimMalformed(name))
}

/// What differs from a channel's options.
pub(super) fn overrides(claim: &Claim) -> Result<Overrides, TokenRefused> {
    Ok(read::<OverrideClaim>("override", claim)?.unwrap_or_default().into())
}

/// What `subs` says, then those of `channels` that are not among them; one more than a client may
/// have says that there are too many.
pub(super) fn subscriptions(
    subs: &Claim,
    channels: &Claim,
) -> Result<Box<[ServerSubscription]>, TokenRefused> {
    let subs: BTreeMap<String, Sub> = read("subs", subs)?.unwrap_or_default();
    let channels: Vec<String> = read("channels", channels)?.unwrap_or_default();
    let mut all = Vec::new();
    for (channel, sub) in subs.iter().take(limits::CHANNELS_PER_CONNECTION_MAX + 1) {
        all.push(ServerSubscription {
            channel: channel_name("subs", channel)?,
            info: json("subs", &sub.info, "subs", &sub.b64info)?,
            data: json("subs", &sub.data, "subs", &sub.b64data)?,
            overrides: sub.overrides.unwrap_or_default().into(),
        });
    }
    for channel in &channels {
        if all.len() > limits::CHANNELS_PER_CONNECTION_MAX {
            break;
        }
        let channel = channel_name("channels", channel)?;
        if all.iter().all(|one| one.channel != channel) {
            all.push(ServerSubscription::plain(channel));
        }
    }
    Ok(all.into())
}

fn channel_name(claim: &'static str, name: &str) -> Result<Arc<str>, TokenRefused> {
    if name.is_empty() || name.len() > limits::CHANNEL_NAME_MAX {
        return Err(TokenRefused::ClaimMalformed(claim));
    }
    Ok(name.into())
}

pub(super) fn read<T: DeserializeOwned>(
    name: &'static str,
    claim: &Claim,
) -> Result<Option<T>, TokenRefused> {
    let Some(claim) = claim else { return Ok(None) };
    serde_json::from_str(claim.get()).map_err(|_| TokenRefused::ClaimMalformed(name))
}

/// A claim that is any JSON, or the base64 of it under another name.
pub(super) fn json(
    name: &'static str,
    claim: &Claim,
    b64_name: &'static str,
    b64: &Claim,
) -> Result<Option<Arc<str>>, TokenRefused> {
    let text: Arc<str> = match (claim, read::<String>(b64_name, b64)?) {
        (Some(claim), _) => claim.get().into(),
        (None, Some(b64)) if !b64.is_empty() => {
            let fault = TokenRefused::ClaimMalformed(b64_name);
            let bytes = STANDARD.decode(&b64).or_else(|_| URL_SAFE_NO_PAD.decode(&b64));
            let text = String::from_utf8(bytes.map_err(|_| fault)?);
            text.map_err(|_| fault)?.into()
        }
        (None, _) => return Ok(None),
    };
    // Others get to see it: it must be JSON, and not nested deeper than what reads it, which is as
    // deep as a publication may be.
    match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(_) => Ok(Some(text)),
        Err(_) if claim.is_some() => Err(TokenRefused::ClaimMalformed(name)),
        Err(_) => Err(TokenRefused::ClaimMalformed(b64_name)),
    }
}
