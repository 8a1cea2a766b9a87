//! What is kept of one client.

use std::sync::Arc;

use super::asked::Asked;
use super::connect::Connecting;
use super::token::Grant;
use crate::hub::{ChannelId, Place, Subscription};
use crate::limits;
use crate::mail::{Ruling, Visibility};
use crate::protocol::channel::Identity;
use crate::publication::ClientInfo;
use crate::session::Outbox;

/// A client of the Centrifuge protocol: who it is and what it is subscribed to.
#[derive(Debug, Default)]
pub(in crate::shard) struct Client {
    /// Who it is. `None` until its connect command.
    pub(super) info: Option<Arc<ClientInfo>>,
    /// By subscription index; free ones are used again.
    subscriptions: Vec<Slot>,
    /// Commands that owners have not answered.
    pub(super) unanswered_count: u16,
    /// Its connect command was answered with an error: whatever else it says is out of place.
    pub(super) refused: bool,
    /// What subscription tokens and backends allowed; by far most subscriptions have none.
    pub(super) grants: Vec<Grant>,
    /// What the command that is to be carried out next depends on, if `auth` was asked.
    pub(super) pending: Option<Box<Pending>>,
    /// Its connect command, while owners are asked because of it.
    pub(super) connecting: Option<Box<Connecting>>,
}

/// What the command at the head of a client's commands depends on.
#[derive(Debug)]
pub(super) enum Pending {
    /// `auth` was asked.
    Asked,
    /// This is what it says.
    Ruled(Ruling),
}

/// Who a client is to those who decide what it may do.
pub(super) fn identity(info: &ClientInfo) -> Identity<'_> {
    identity_of(&info.user)
}

/// Who a user is to those; empty: nobody in particular.
pub(super) fn identity_of(user: &str) -> Identity<'_> {
    if user.is_empty() { Identity::Anonymous } else { Identity::User(user) }
}

/// The place of one subscription.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Slot {
    /// Nobody's.
    #[default]
    Free,
    /// The owner was asked.
    Joining { channel: ChannelId, asked: Asked },
    /// Publications are delivered.
    Member {
        channel: ChannelId,
        index: u32,
        visibility: Visibility,
        /// The client did not ask for it.
        by_server: bool,
    },
}

/// Every client pays for these, and for most they are all there is. The allocator has rooms of 80
/// and of 40 bytes.
const _: () = assert!(size_of::<Client>() <= 80 && size_of::<Slot>() <= 40);

impl Client {
    /// The subscription to `channel`, with its index.
    pub(super) fn find(&self, channel: ChannelId) -> Option<(u8, Slot)> {
        (0u8..).zip(&self.subscriptions).find_map(|(index, slot)| match slot {
            Slot::Joining { channel: one, .. } | Slot::Member { channel: one, .. }
                if *one == channel =>
            {
                Some((index, *slot))
            }
            _ => None,
        })
    }

    /// The subscription at `index`; free if there is none.
    pub(super) fn slot(&self, index: u8) -> Slot {
        self.subscriptions.get(usize::from(index)).copied().unwrap_or_default()
    }

    /// Changes the subscription at `index`, which [`Client::free_index`] gave.
    pub(super) fn set_slot(&mut self, index: u8, slot: Slot) {
        let index = usize::from(index);
        if index >= self.subscriptions.len() {
            // Most clients have few subscriptions: no room for more than there are.
            self.subscriptions.reserve_exact(index + 1 - self.subscriptions.len());
            self.subscriptions.resize(index + 1, Slot::Free);
        }
        self.subscriptions[index] = slot;
        while let Some(Slot::Free) = self.subscriptions.last() {
            self.subscriptions.pop();
        }
    }

    /// A free index; `None` if the client holds as many subscriptions as it may.
    pub(super) fn free_index(&self) -> Option<u8> {
        let is_free = |index: &usize| {
            self.subscriptions.get(*index).is_none_or(|slot| matches!(slot, Slot::Free))
        };
        let index = (0..limits::CHANNELS_PER_CONNECTION_MAX).find(is_free)?;
        Some(u8::try_from(index).expect("limits say so"))
    }

    /// Takes all subscriptions away.
    pub(super) fn take_slots(&mut self) -> Vec<Slot> {
        std::mem::take(&mut self.subscriptions)
    }

    /// Notes a member's new index in its channel.
    pub(in crate::shard) fn set_member_index(&mut self, subscription_index: u8, new: u32) {
        match &mut self.subscriptions[usize::from(subscription_index)] {
            Slot::Member { index, .. } => *index = new,
            other => panic!("a member that is none: {other:?}"),
        }
    }

    /// Who it is; `None` before its connect command.
    pub(in crate::shard) fn info(&self) -> Option<&Arc<ClientInfo>> {
        self.info.as_ref()
    }

    /// Whether its connect command is still to come, or to be answered.
    pub(in crate::shard) fn awaits_connect(&self) -> bool {
        self.info.is_none() || self.connecting.is_some()
    }

    /// What is for it once its connect command is answered, while that is not.
    pub(in crate::shard) fn held_mut(&mut self) -> Option<&mut Outbox> {
        self.connecting.as_mut().map(|connecting| &mut connecting.held)
    }
}

impl Slot {
    /// A member's subscription as the hub knows it.
    pub(super) fn subscription(self) -> Option<Subscription> {
        match self {
            Slot::Member { channel, index, .. } => {
                Some(Subscription { channel, place: Place::Member(index) })
            }
            Slot::Free | Slot::Joining { .. } => None,
        }
    }
}
