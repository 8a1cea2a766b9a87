//! What a channel offers, and who may do what there: one table for every protocol.
//!
//! Pure: a name and who asks come in, options or a verdict come out. Where the options were typed
//! and what carries a verdict out is not known here.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

/// Who may do something in a channel, from few to many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Audience {
    /// No client.
    #[default]
    Nobody,
    /// Who is subscribed to the channel.
    Subscriber,
    /// Who is known: every authenticated client.
    User,
    /// Every client.
    Anyone,
}

/// What positions and history are used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing.
    #[default]
    Off,
    /// Subscribers that ask for it get what they missed while they were away.
    Allowed,
    /// Every subscriber gets what it missed while it was away.
    Forced,
    /// Every subscriber gets the newest publication.
    Cache,
}

/// What a channel keeps of its publications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryOptions {
    /// Publications kept.
    pub size: u32,
    /// How long each is kept, in milliseconds.
    pub ttl_ms: u64,
    /// How long the stream's position is kept behind that, in milliseconds.
    pub meta_ttl_ms: u64,
}

/// What publications hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// JSON; anything else is refused.
    #[default]
    Json,
    /// Any bytes. Clients of the Centrifuge protocol in JSON cannot subscribe.
    Binary,
}

/// What becomes of a subscriber that does not keep up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlowConsumer {
    /// It is disconnected, and may come back.
    #[default]
    Disconnect,
    /// It misses the publications that have waited for it longest.
    DropOldest,
    /// Of what waits for it, it gets the newest publication of each channel.
    Newest,
}

/// Everything an operator says about a group of channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelOptions {
    /// Whether the gateway knows who is subscribed.
    pub presence: bool,
    /// Whether subscribers that ask for it are told who comes and goes.
    pub join_leave: bool,
    /// What is kept of publications; `None`: nothing.
    pub history: Option<HistoryOptions>,
    /// What history is used for at a subscription.
    pub recovery: Recovery,
    /// Whether every subscriber is told its position and of gaps.
    pub positioning: bool,
    /// Who may subscribe. [`Audience::Subscriber`] would be nobody.
    pub allow_subscribe: Audience,
    /// Who may publish.
    pub allow_publish: Audience,
    /// Who may ask who is there, if `presence`.
    pub allow_presence: Audience,
    /// Who may ask for earlier publications, if there is history.
    pub allow_history: Audience,
    /// What publications hold.
    pub format: Format,
    /// What a backend decides instead.
    pub hooks: ChannelHooks,
    /// What becomes of a subscriber that does not keep up.
    pub slow_consumer: SlowConsumer,
}

/// What a backend is asked about a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelHooks {
    /// Who may subscribe, instead of [`ChannelOptions::allow_subscribe`].
    pub subscribe: bool,
    /// Who may publish, instead of [`ChannelOptions::allow_publish`].
    pub publish: bool,
    /// Whether a subscription that the subscribe hook allowed goes on when its time is over.
    pub sub_refresh: bool,
}

/// What the options say to a client that may do something, or may have it done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permitted {
    /// It may.
    Yes,
    /// If a backend says so.
    IfBackendSays,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity<'a> {
    /// A client that has not said who it is.
    Anonymous,
    /// The user of this id.
    User(&'a str),
}

/// Why a client may not do something. In the order in which they are found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No options are configured for the channel's namespace.
    #[error("its namespace is not configured")]
    UnknownNamespace,
    /// The channel does not have the feature.
    #[error("the channel does not have this")]
    NotAvailable,
    /// The name says for whom the channel is, and the client is not among them.
    #[error("its name lets only certain users in")]
    NameRestricted,
    /// The client is not among those who may.
    #[error("not permitted")]
    NotPermitted,
}

/// The options of every channel.
#[derive(Clone, Debug, Default)]
pub struct Namespaces {
    plain: Arc<ChannelOptions>,
    named: HashMap<Box<str>, Arc<ChannelOptions>, RandomState>,
    /// What names in unknown namespaces get; `None`: they do not exist.
    unknown: Option<Arc<ChannelOptions>>,
    /// Every client counts as a user, and names restrict nobody.
    everyone_is_user: bool,
    /// Somewhere anyone may subscribe or publish.
    is_open_somewhere: bool,
    /// What stands before the user in the name of a personal channel; `None`: there are none.
    personal: Option<Box<str>>,
}

impl Namespaces {
    /// `plain` for names without a namespace, `named` for the others.
    pub fn new(
        plain: ChannelOptions,
        named: impl IntoIterator<Item = (Box<str>, ChannelOptions)>,
    ) -> Self {
        let named: HashMap<_, _, _> =
            named.into_iter().map(|(name, options)| (name, Arc::new(options))).collect();
        let is_open = |options: &ChannelOptions| {
            [options.allow_subscribe, options.allow_publish].contains(&Audience::Anyone)
        };
        let is_open_somewhere = is_open(&plain) || named.values().any(|options| is_open(options));
        Self { plain: Arc::new(plain), named, is_open_somewhere, ..Self::default() }
    }

    /// With `--dev`: unknown namespaces get `unknown`, every client counts as a user, and names
    /// restrict nobody.
    pub fn for_development(self, unknown: ChannelOptions) -> Self {
        Self { unknown: Some(Arc::new(unknown)), everyone_is_user: true, ..self }
    }

    /// Every user has a channel that it is subscribed to from its connect on: `#USER`, or
    /// `NAMESPACE:#USER`.
    pub fn with_personal_channels(self, namespace: Option<&str>) -> Self {
        let before = namespace.map_or_else(|| "#".into(), |namespace| format!("{namespace}:#"));
        Self { personal: Some(before.into()), ..self }
    }

    /// The channel of this user alone, if users have one.
    ///
    /// # Errors
    /// [`Denied::NameRestricted`]: by its name the channel would be of others, too.
    pub fn personal_channel(&self, user: &str) -> Result<Option<String>, Denied> {
        let Some(before) = self.personal.as_ref().filter(|_| !user.is_empty()) else {
            return Ok(None);
        };
        if user.contains(['#', ',']) {
            return Err(Denied::NameRestricted);
        }
        Ok(Some(format!("{before}{user}")))
    }

    /// The options of `channel`, those of its namespace.
    ///
    /// # Errors
    /// [`Denied::UnknownNamespace`].
    pub fn options(&self, channel: &str) -> Result<&Arc<ChannelOptions>, Denied> {
        match namespace(channel) {
            None => Ok(&self.plain),
            Some(namespace) => {
                let named = self.named.get(namespace).or(self.unknown.as_ref());
                named.ok_or(Denied::UnknownNamespace)
            }
        }
    }

    /// Whether a client that does not say who it is can do anything here at all.
    pub fn welcome_anonymous(&self) -> bool {
        self.everyone_is_user || self.is_open_somewhere
    }

    /// Whether `who` may subscribe to `channel`.
    ///
    /// # Errors
    /// Why not. Names that begin with `$` are private; those that end with `#A,B` are for the users
    /// A and B. No backend is asked about these.
    pub fn decide_subscribe(&self, channel: &str, who: Identity<'_>) -> Result<Permitted, Denied> {
        let options = self.options(channel)?;
        if !self.everyone_is_user && !is_name_open_to(channel, who) {
            return Err(Denied::NameRestricted);
        }
        if options.hooks.subscribe {
            return Ok(Permitted::IfBackendSays);
        }
        self.decide(options.allow_subscribe, who, false).map(|()| Permitted::Yes)
    }

    /// Whether `who` may publish to `channel`, to which it is `subscribed` or not.
    ///
    /// # Errors
    /// Why not.
    pub fn decide_publish(
        &self,
        channel: &str,
        who: Identity<'_>,
        subscribed: bool,
    ) -> Result<Permitted, Denied> {
        let options = self.options(channel)?;
        if options.hooks.publish {
            return Ok(Permitted::IfBackendSays);
        }
        self.decide(options.allow_publish, who, subscribed).map(|()| Permitted::Yes)
    }

    /// Whether `who` may ask who is in `channel`.
    ///
    /// # Errors
    /// Why not.
    pub fn decide_presence(
        &self,
        channel: &str,
        who: Identity<'_>,
        subscribed: bool,
    ) -> Result<(), Denied> {
        let options = self.options(channel)?;
        if !options.presence {
            return Err(Denied::NotAvailable);
        }
        self.decide(options.allow_presence, who, subscribed)
    }

    /// Whether `who` may ask for the history of `channel`.
    ///
    /// # Errors
    /// Why not.
    pub fn decide_history(
        &self,
        channel: &str,
        who: Identity<'_>,
        subscribed: bool,
    ) -> Result<(), Denied> {
        let options = self.options(channel)?;
        if options.history.is_none() {
            return Err(Denied::NotAvailable);
        }
        self.decide(options.allow_history, who, subscribed)
    }

    fn decide(
        &self,
        audience: Audience,
        who: Identity<'_>,
        subscribed: bool,
    ) -> Result<(), Denied> {
        let is_user = self.everyone_is_user || who != Identity::Anonymous;
        let allowed = match audience {
            Audience::Nobody => false,
            Audience::Subscriber => subscribed,
            Audience::User => is_user,
            Audience::Anyone => true,
        };
        if allowed { Ok(()) } else { Err(Denied::NotPermitted) }
    }
}

/// The namespace of `channel`, if it has one: what is before its first colon. The sign of a private
/// channel stands before both, so that private channels may have a namespace's options, too.
pub fn namespace(channel: &str) -> Option<&str> {
    let name = channel.strip_prefix(PRIVATE).unwrap_or(channel);
    name.split_once(':').map(|(namespace, _)| namespace)
}

/// What the names of private channels begin with.
pub const PRIVATE: char = '$';

/// Whether the name itself lets `who` in.
fn is_name_open_to(channel: &str, who: Identity<'_>) -> bool {
    if channel.starts_with(PRIVATE) {
        return false;
    }
    match (channel.rsplit_once('#'), who) {
        (None, _) => true,
        (Some((_, users)), Identity::User(user)) => users.split(',').any(|one| one == user),
        (Some(_), Identity::Anonymous) => false,
    }
}

#[cfg(test)]
mod tests;
