//! What a checked token says, and why a token is refused.
//!
//! Pure values: they travel from `auth`, where signatures are checked, to whoever asked.

use std::fmt;
use std::sync::Arc;

use crate::id::ChannelName;

/// A token as it was sent. Shows in no log: whoever has it is who it names.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText(Box<str>);

impl TokenText {
    /// Keeps `token`.
    pub fn new(token: &str) -> Self {
        Self(token.into())
    }

    /// The text, for whoever checks it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[token]")
    }
}

/// What a connection token says, or a backend instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectClaims {
    /// Who the client is; empty for an anonymous one.
    pub user: Arc<str>,
    /// When the connection must have been refreshed, in seconds since 1970. `None`: never.
    pub expire_at: Option<u64>,
    /// JSON that others see beside the user.
    pub info: Option<Arc<str>>,
    /// What the client is subscribed to at once, without duplicates. More than
    /// `limits::CHANNELS_PER_CONNECTION_MAX` are too many: such a client is disconnected.
    pub subscriptions: Box<[ServerSubscription]>,
    /// JSON for backends alone.
    pub meta: Option<Arc<str>>,
    /// JSON for the client, in the reply to its connect command.
    pub data: Option<Arc<str>>,
}

/// A subscription that a connection token brings along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSubscription {
    /// To what.
    pub channel: ChannelName,
    /// JSON that others in the channel see.
    pub info: Option<Arc<str>>,
    /// JSON for the client.
    pub data: Option<Arc<str>>,
    /// What differs from the channel's options.
    pub overrides: Overrides,
}

impl ServerSubscription {
    /// One as its channel has it.
    pub fn plain(channel: ChannelName) -> Self {
        Self { channel, info: None, data: None, overrides: Overrides::default() }
    }
}

/// What a subscription token says, or a backend instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionClaims {
    /// Who may subscribe; empty for an anonymous client.
    pub user: Arc<str>,
    /// To what.
    pub channel: ChannelName,
    /// From which connection alone, if it says so.
    pub client: Option<Box<str>>,
    /// When the subscription must have been refreshed, in seconds since 1970. `None`: never.
    pub expire_at: Option<u64>,
    /// JSON that others in the channel see.
    pub info: Option<Arc<str>>,
    /// What differs from the channel's options.
    pub overrides: Overrides,
    /// JSON for the client, in the reply to its subscribe command.
    pub data: Option<Arc<str>>,
}

impl SubscriptionClaims {
    /// Whether they are for this subscription.
    ///
    /// # Errors
    /// [`TokenRefused::WrongChannel`], [`TokenRefused::WrongUser`], [`TokenRefused::WrongClient`].
    pub fn check(&self, channel: &str, user: &str, client: &str) -> Result<(), TokenRefused> {
        if *self.channel != *channel {
            return Err(TokenRefused::WrongChannel);
        }
        if *self.user != *user {
            return Err(TokenRefused::WrongUser);
        }
        match &self.client {
            Some(only) if **only != *client => Err(TokenRefused::WrongClient),
            _ => Ok(()),
        }
    }
}

/// What a token changes of a channel's options for one subscription; `None` leaves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Whether the client is seen in presence.
    pub presence: Option<bool>,
    /// Whether others are told when it comes and goes.
    pub join_leave: Option<bool>,
    /// Whether it recovers without asking to.
    pub force_recovery: Option<bool>,
    /// Whether it is told its position without asking to.
    pub force_positioning: Option<bool>,
    /// Whether it is told who comes and goes without asking to.
    pub force_push_join_leave: Option<bool>,
}

/// Why a token is refused. Texts are for logs and for clients of the raw protocol; none repeats
/// what the token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// Its time is over: a new one helps.
    #[error("the token has expired; get a new one")]
    Expired,
    /// No key is configured to check it with.
    #[error("this gateway takes no tokens; the operator gives it a key under [token]")]
    NotConfigured,
    /// Longer than `limits::TOKEN_SIZE_MAX`.
    #[error("the token is longer than {} bytes", crate::limits::TOKEN_SIZE_MAX)]
    TooLong,
    /// Not three parts of base64 with JSON in the first two.
    #[error("this is not a JSON Web Token")]
    Malformed,
    /// Signed with an algorithm that is not among the configured ones; `none` never is.
    #[error("the token's algorithm is not among those the operator allows")]
    AlgorithmNotAllowed,
    /// It demands something of its reader that this one does not know (`crit`).
    #[error("the token's header demands an extension that is not known here")]
    ExtensionUnknown,
    /// No key of its name and kind is configured, or in the issuer's set.
    #[error("no key that is known here could have signed the token")]
    KeyUnknown,
    /// The signature is not of the key.
    #[error("the token's signature is wrong")]
    SignatureWrong,
    /// Its time has not come.
    #[error("the token is not valid yet; compare the clocks of its issuer and this gateway")]
    NotYetValid,
    /// For another audience than the configured one, or for none.
    #[error("the token is for another audience")]
    AudienceWrong,
    /// Of another issuer than the configured one, or of none.
    #[error("the token is of another issuer")]
    IssuerWrong,
    /// A claim is missing, or of another form or size than it must be.
    #[error("the token's claim {0:?} is missing or not what it must be")]
    ClaimMalformed(&'static str),
    /// A subscription token, shown for a connection: it was made for less.
    #[error("the token is for a subscription; get one for the connection")]
    ForSubscription,
    /// A subscription token for another channel.
    #[error("the token is for another channel")]
    WrongChannel,
    /// A token of another user than the connection's.
    #[error("the token is for another user")]
    WrongUser,
    /// A subscription token for another connection.
    #[error("the token is for another connection")]
    WrongClient,
    /// The issuer's keys could not be fetched: the same token may be good later.
    #[error("the keys to check the token with are not at hand; try again later")]
    KeysUnavailable,
    /// Too many tokens wait to be checked: the same token may be good later.
    #[error("too many tokens wait to be checked; try again later")]
    Overloaded,
}

impl TokenRefused {
    /// Whether the same token may be good later.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::KeysUnavailable | Self::Overloaded)
    }

    /// Whether it is a good token, but of something else than it was shown for.
    pub fn is_for_another(self) -> bool {
        matches!(self, Self::WrongChannel | Self::WrongUser | Self::WrongClient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_token_is_for_one_channel_one_user_and_maybe_one_client() {
        let claims = |client: Option<&str>| SubscriptionClaims {
            user: "ann".into(),
            channel: "$news".into(),
            client: client.map(Into::into),
            expire_at: None,
            info: None,
            overrides: Overrides::default(),
            data: None,
        };
        assert_eq!(claims(None).check("$news", "ann", "c1"), Ok(()));
        assert_eq!(claims(Some("c1")).check("$news", "ann", "c1"), Ok(()));
        for (channel, user, client, refused) in [
            ("$new", "ann", "c1", TokenRefused::WrongChannel),
            ("$news", "bob", "c1", TokenRefused::WrongUser),
            ("$news", "", "c1", TokenRefused::WrongUser),
            ("$news", "ann", "c2", TokenRefused::WrongClient),
        ] {
            assert_eq!(claims(Some("c1")).check(channel, user, client), Err(refused));
            assert!(refused.is_for_another() && !refused.is_temporary());
        }
    }
}
