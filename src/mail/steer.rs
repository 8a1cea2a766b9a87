//! What control has done to connected clients, wherever they are.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Unanswered;
use crate::hub::Since;
use crate::id::{ChannelName, ClientKey, SessionKey};
use crate::protocol::claims::Overrides;
use crate::ws::CloseCode;

/// A deed done to every client of a shard that is meant.
#[derive(Debug)]
pub struct Steer {
    /// Who is meant.
    pub who: Arc<Selector>,
    /// What is done.
    pub deed: Deed,
    /// Told once it is done to all of them. A dropped receiver is ignored.
    pub reply: SteerReply,
}

/// The way back to control.
pub type SteerReply = oneshot::Sender<Result<(), Unanswered>>;

/// Which clients of the Centrifuge protocol are meant; one of the first three fields at least says
/// so, and all must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Clients of this user.
    pub user: Option<Arc<str>>,
    /// This client.
    pub client: Option<ClientKey>,
    /// The client that was told this.
    pub session: Option<SessionKey>,
    /// These clients are not meant.
    pub spared: Vec<ClientKey>,
}

/// What is done to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Its connection is closed.
    Disconnect {
        /// The code of the Close frame.
        code: CloseCode,
        /// Its reason.
        reason: Arc<str>,
    },
    /// Its subscription to the channel ends, if it has one.
    Unsubscribe(ChannelName),
    /// The time of its connection is set anew, and what others see of it.
    Refresh {
        /// When its time is over, in seconds since 1970; `None`: as before.
        expire_at: Option<u64>,
        /// JSON text, without line ends: what presence and notices of later subscriptions say of
        /// it; `None`: as before.
        info: Option<Arc<str>>,
    },
    /// It is subscribed, if it is not.
    Subscribe(Arc<Enrolment>),
}

/// A subscription that a backend makes for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// To what.
    pub channel: ChannelName,
    /// JSON text: what presence and notices say of the client in this channel.
    pub info: Option<Arc<str>>,
    /// JSON text for the client, without line ends.
    pub data: Option<Arc<str>>,
    /// When the subscription ends, in seconds since 1970; `None`: with the connection. Nobody is
    /// subscribed for a time that is over.
    pub expire_at: Option<u64>,
    /// What came after this is wanted too.
    pub since: Option<Since>,
    /// What differs from the channel's options.
    pub overrides: Overrides,
}
