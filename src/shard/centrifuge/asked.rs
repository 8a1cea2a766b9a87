//! What a subscription is to be: the channel's options, what differs from them, and who asked.

use crate::hub::{AskedEpoch, Recover, Since};
use crate::mail::Visibility;
use crate::protocol::centrifuge::command::{FLAG_REJECT_UNRECOVERED, Subscribe};
use crate::protocol::channel::{ChannelOptions, Recovery};
use crate::protocol::claims::Overrides;

/// A subscription that its owner was asked for, as far as what follows depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// Who asked.
    pub(super) by: By,
    /// The offset behind which it wants to go on; `None`: it does not recover.
    pub(super) recover_from: Option<u64>,
    /// Rather an error than a subscription that missed something.
    pub(super) reject_unrecovered: bool,
    /// Whether the position is told.
    pub(super) positioned: bool,
    /// Whether it may come back and recover.
    pub(super) recoverable: bool,
    /// Whether only the newest publication is of interest.
    pub(super) newest_only: bool,
    /// Whether it is told who comes and goes.
    pub(super) wants_notices: bool,
    /// Who learns of it.
    pub(super) visibility: Visibility,
    /// Whether a backend wanted it to end before it had begun.
    pub(super) revoked: bool,
}

/// Who asked for a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The client, by the command of this number.
    Command(u32),
    /// A backend, by this errand.
    Errand(u32),
    /// Whoever said who the client is, or the operator: it begins with the connection.
    Connect,
}

impl Asked {
    /// What the client asked for by command `id`.
    pub(super) fn by_client(
        id: u32,
        ask: &Subscribe<'_>,
        options: &ChannelOptions,
        overrides: &Overrides,
    ) -> Self {
        let recovery = match (overrides.force_recovery, options.recovery) {
            (Some(true), Recovery::Off | Recovery::Allowed) if options.history.is_some() => {
                Recovery::Forced
            }
            (Some(false), Recovery::Forced) => Recovery::Allowed,
            (_, recovery) => recovery,
        };
        let recoverable = match recovery {
            Recovery::Off => false,
            Recovery::Allowed => ask.recoverable || ask.recover,
            Recovery::Forced | Recovery::Cache => true,
        };
        let asked = Self::new(By::Command(id), recoverable, options, overrides);
        Self {
            recover_from: (recoverable && ask.recover).then_some(ask.offset),
            reject_unrecovered: ask.flag & FLAG_REJECT_UNRECOVERED != 0,
            wants_notices: asked.wants_notices || (asked.visibility.join_leave && ask.join_leave),
            ..asked
        }
    }

    /// What the client did not ask for itself.
    pub(super) fn by_server(
        by: By,
        since: Option<Since>,
        options: &ChannelOptions,
        overrides: &Overrides,
    ) -> Self {
        let as_configured = matches!(options.recovery, Recovery::Forced | Recovery::Cache);
        let recoverable =
            options.history.is_some() && overrides.force_recovery.unwrap_or(as_configured);
        // A backend knows what it asks for; a client may ask for what was never its to recover.
        let since = since.filter(|_| recoverable || by != By::Connect);
        let asked = Self::new(by, recoverable, options, overrides);
        Self { recover_from: since.map(|since| since.offset), ..asked }
    }

    fn new(by: By, recoverable: bool, options: &ChannelOptions, overrides: &Overrides) -> Self {
        Self {
            by,
            recover_from: None,
            reject_unrecovered: false,
            positioned: recoverable || overrides.force_positioning.unwrap_or(options.positioning),
            recoverable,
            newest_only: options.recovery == Recovery::Cache,
            wants_notices: overrides.force_push_join_leave.unwrap_or(false),
            visibility: Visibility {
                presence: overrides.presence.unwrap_or(options.presence),
                join_leave: overrides.join_leave.unwrap_or(options.join_leave),
            },
            revoked: false,
        }
    }

    /// What the owner is to give it first; `since` is the last that the client says to have seen.
    pub(super) fn recover(&self, since: Option<Since>) -> Recover {
        let nothing = Since { offset: 0, epoch: AskedEpoch::Any };
        match (self.newest_only, self.recover_from) {
            (true, _) => Recover::Cache(since.unwrap_or(nothing)),
            (false, Some(_)) => Recover::Stream(since.unwrap_or(nothing)),
            (false, None) => Recover::No,
        }
    }
}

impl By {
    /// Whether the client did not ask for it itself.
    pub(super) fn is_server(self) -> bool {
        !matches!(self, Self::Command(_))
    }
}
