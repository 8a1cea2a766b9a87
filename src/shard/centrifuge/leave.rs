//! Owners that keep account of who is subscribed are told of those who are no more.
//!
//! There is not always room to tell at once, and there may be many to tell of: they wait here, by
//! owner, in order.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::Core;
use crate::hub::ChannelId;
use crate::id::{ConnId, ShardId};
use crate::limits;
use crate::mail::{Leave, Request, Visibility};
use crate::publication::ClientInfo;

/// What owners are still to be told. Each entry was a subscription, so it takes no more memory than
/// those did.
#[derive(Debug)]
pub(in crate::shard) struct Leaves {
    by_owner: Vec<VecDeque<Leave>>,
    /// The owner that is told first next time.
    first: usize,
    /// True when the last time ended because its work was enough for one turn.
    cut: bool,
}

impl Leaves {
    /// Nothing to tell any of `shard_count` owners.
    pub(in crate::shard) fn new(shard_count: usize) -> Self {
        let by_owner = (0..shard_count).map(|_| VecDeque::new()).collect();
        Self { by_owner, first: 0, cut: false }
    }

    /// Whether something waits to be told to `owner`.
    pub(super) fn is_waiting(&self, owner: ShardId) -> bool {
        !self.by_owner[owner.index()].is_empty()
    }

    /// Whether the next turn goes on with what this one left.
    pub(in crate::shard) fn is_cut(&self) -> bool {
        self.cut
    }
}

impl Core {
    /// Has the owner told that the client is not subscribed any more, if it wants to know.
    pub(super) fn mail_leave(
        &mut self,
        conn: ConnId,
        index: u8,
        channel: ChannelId,
        visibility: Visibility,
    ) {
        if visibility != Visibility::default() {
            let channel = self.hub.name(channel).clone();
            let owner = self.owners.owner(&channel);
            let info = self.info_of(conn);
            let client = self.client_mut(conn).expect("its subscription is ended");
            let grant = client.find_grant(index);
            let info = grant.and_then(|grant| grant.info.clone()).unwrap_or(info);
            let leave = Leave { channel, info, visibility };
            self.leaves.by_owner[owner.index()].push_back(leave);
        }
    }

    /// Tells owners, as far as there is room, at most `limits::WORK_PER_TURN` things.
    pub(in crate::shard) fn mail_leaves(&mut self) {
        let mut budget = limits::WORK_PER_TURN;
        let owner_count = self.leaves.by_owner.len();
        self.leaves.first = (self.leaves.first + 1) % owner_count;
        for step in 0..owner_count {
            let index = (self.leaves.first + step) % owner_count;
            let owner = ShardId(u16::try_from(index).expect("shards are u16"));
            while budget > 0 && self.can_mail_leave(owner) {
                let leave = self.leaves.by_owner[index].pop_front().expect("just looked at");
                budget -= 1;
                if owner == self.id {
                    self.let_out(&leave);
                } else {
                    self.request(owner, Request::Leave(Box::new(leave)));
                }
            }
        }
        self.leaves.cut = budget == 0;
    }

    /// Whether the owner knows of all who left, or is told now. What it is asked after a leave must
    /// not overtake it.
    pub(super) fn has_told_leaves(&mut self, owner: ShardId) -> bool {
        if self.leaves.is_waiting(owner) {
            self.mail_leaves();
        }
        !self.leaves.is_waiting(owner)
    }

    fn can_mail_leave(&self, owner: ShardId) -> bool {
        let Some(leave) = self.leaves.by_owner[owner.index()].front() else { return false };
        if owner == self.id {
            self.has_room_for_notice(&leave.channel, leave.visibility)
        } else {
            self.can_request(owner)
        }
    }

    /// Who a connected client is.
    pub(super) fn info_of(&mut self, conn: ConnId) -> Arc<ClientInfo> {
        let client = self.client_mut(conn).expect("its subscription is begun or ended");
        client.info.clone().expect("only connected clients subscribe")
    }
}
