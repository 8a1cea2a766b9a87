//! The connected clients of a shard by client id and by user, for those who ask by name.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::id::{ClientKey, ConnId};
use crate::publication::ClientInfo;

/// Who is connected. Clients that have not said who they are stand there by client id alone: an
/// empty user names nobody.
#[derive(Debug, Default)]
pub(super) struct Roll {
    clients: HashMap<ClientKey, ConnId, RandomState>,
    users: HashMap<Arc<str>, Conns, RandomState>,
}

/// The connections of one user: one, mostly.
#[derive(Debug)]
enum Conns {
    One(ConnId),
    // Boxed, for there is one of these for every user.
    #[expect(clippy::box_collection)]
    Many(Box<HashSet<ConnId, RandomState>>),
}

impl Roll {
    /// A client has connected.
    pub(super) fn add(&mut self, info: &ClientInfo, conn: ConnId) {
        self.clients.insert(info.client, conn);
        if info.user.is_empty() {
            return;
        }
        match self.users.get_mut(&info.user) {
            None => {
                self.users.insert(info.user.clone(), Conns::One(conn));
            }
            Some(Conns::Many(conns)) => {
                conns.insert(conn);
            }
            Some(one @ Conns::One(_)) => {
                let Conns::One(first) = *one else { unreachable!("just matched") };
                *one = Conns::Many(Box::new([first, conn].into_iter().collect()));
            }
        }
    }

    /// A client is gone. False: it was told before.
    pub(super) fn remove(&mut self, info: &ClientInfo, conn: ConnId) -> bool {
        if self.clients.remove(&info.client).is_none() {
            return false;
        }
        let is_last = match self.users.get_mut(&info.user) {
            Some(Conns::Many(conns)) => {
                conns.remove(&conn);
                conns.is_empty()
            }
            Some(Conns::One(one)) => *one == conn,
            None => false,
        };
        if is_last {
            self.users.remove(&info.user);
        }
        true
    }

    /// The client of this id.
    pub(super) fn client(&self, client: ClientKey) -> Option<ConnId> {
        self.clients.get(&client).copied()
    }

    /// The clients of a user.
    pub(super) fn user(&self, user: &str) -> Vec<ConnId> {
        match self.users.get(user) {
            None => Vec::new(),
            Some(Conns::One(conn)) => vec![*conn],
            Some(Conns::Many(conns)) => conns.iter().copied().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_as_many_connections_as_they_like() {
        let mut roll = Roll::default();
        let client = |user: &str, n: u32| {
            let client = ClientKey::from_random(n.into());
            let info = ClientInfo { user: user.into(), client, conn_info: None, chan_info: None };
            (info, ConnId { slot: n, generation: 1 })
        };
        let clients: Vec<_> = [("ann", 1), ("ann", 2), ("ann", 3), ("bob", 4), ("", 5)]
            .map(|(u, n)| client(u, n))
            .into();
        for (info, conn) in &clients {
            roll.add(info, *conn);
        }
        let slots = |roll: &Roll, user: &str| {
            let mut slots: Vec<_> = roll.user(user).iter().map(|conn| conn.slot).collect();
            slots.sort_unstable();
            slots
        };
        assert_eq!(slots(&roll, "ann"), [1, 2, 3]);
        assert_eq!(slots(&roll, "bob"), [4]);
        assert!(slots(&roll, "").is_empty());
        for (info, conn) in &clients {
            assert_eq!(roll.client(info.client), Some(*conn));
            assert!(roll.remove(info, *conn));
            // The second time changes nothing.
            assert!(!roll.remove(info, *conn));
            assert_eq!(roll.client(info.client), None);
        }
        assert!(roll.clients.is_empty() && roll.users.is_empty());
    }
}
