//! Who is in a channel, by connection.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::PresenceStats;
use crate::id::ClientKey;
use crate::publication::ClientInfo;

#[derive(Debug, Default)]
pub(super) struct Presence {
    clients: HashMap<ClientKey, Arc<ClientInfo>, RandomState>,
    /// Connections of each user: counted here so that a question does not walk all clients.
    users: HashMap<Arc<str>, usize, RandomState>,
}

impl Presence {
    /// Adds a client or replaces what is known of it.
    pub(super) fn insert(&mut self, info: Arc<ClientInfo>) {
        self.remove(info.client);
        *self.users.entry(info.user.clone()).or_default() += 1;
        self.clients.insert(info.client, info);
    }

    pub(super) fn remove(&mut self, client: ClientKey) -> Option<Arc<ClientInfo>> {
        let info = self.clients.remove(&client)?;
        let count = self.users.get_mut(&info.user).expect("every client's user is counted");
        *count -= 1;
        if *count == 0 {
            self.users.remove(&info.user);
        }
        Some(info)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<ClientInfo>> {
        self.clients.values()
    }

    pub(super) fn stats(&self) -> PresenceStats {
        PresenceStats { num_clients: self.clients.len(), num_users: self.users.len() }
    }
}
