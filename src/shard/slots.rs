//! The connections of one shard, in slots that never move.

use std::mem::offset_of;
use std::net::IpAddr;

use super::centrifuge::Client;
use super::timers::Tick;
use crate::chunks::{CHUNK_LEN, Chunks};
use crate::hub::Subscription;
use crate::id::{ConnId, GENERATION_BITS, ShardId};
use crate::limits;
use crate::mail::Publish;
use crate::planted::{Bug, is_planted};
use crate::protocol::Protocol;
use crate::ring::{CloseHow, Sock};
use crate::session::{Millis, Outbox, Session};

/// Everything a shard keeps of one connection.
///
/// In the order of the declaration, which is that of use: a connection lies at the end of an
/// [`Entry`], so sending touches the entry's first line of the cache, delivering and receiving the
/// second too, and the third is for what is rare.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Connection {
    pub(super) sock: Sock,
    /// Bytes of the send in flight that earlier, short sends took already.
    pub(super) sent_len: u32,
    pub(super) session: Session,
    pub(super) flags: Flags,
    pub(super) protocol: Protocol,
    /// How the socket will be closed. `Some` from `terminate` on.
    pub(super) terminating: Option<CloseHow>,
    /// Subscriptions the owners have not answered; nothing is sent, the 101 neither, until 0.
    pub(super) unregistered_count: u8,
    /// What is known of a client of the Centrifuge protocol, and of no other; its subscriptions are
    /// there.
    pub(super) client: Option<Box<Client>>,
    /// Empty once it closes: nothing is delivered to it any more.
    pub(super) subscriptions: Box<[Subscription]>,
    /// What waits while the connection is not read. Boxed: rare.
    pub(super) held: Option<Box<Held>>,
    /// The tick of its timer, or `NO_TICK`.
    pub(super) timer: Tick,
    pub(super) peer: IpAddr,
}

/// A larger number is paid by a million connections, whatever they speak.
const _: () = assert!(size_of::<Entry>() == 3 * CACHE_LINE);

/// The outbox, which comes first in a session, ends the first line; what is rare begins the third.
const _: () = {
    let start = offset_of!(Entry, connection);
    assert!(start + offset_of!(Connection, session) + size_of::<Outbox>() == CACHE_LINE);
    assert!(start + offset_of!(Connection, client) == 2 * CACHE_LINE);
};

/// What waits while a connection is not read.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Bytes received and not decoded: leftover of the handshake, or received before the receive
    /// was disarmed. Bounded by what the kernel had completed by then.
    pub(super) backlog: Vec<u8>,
    /// The publish that found no room.
    pub(super) publish: Option<Box<Publish>>,
    /// The commands that could not be carried out yet, in order.
    pub(super) commands: Option<Commands>,
}

impl Held {
    /// Whether something waits that room for replies alone does not move.
    pub(super) fn is_parked(&self) -> bool {
        self.publish.is_some() || self.commands.is_some()
    }
}

impl Connection {
    /// When it is to be looked at again, the end of its token apart.
    pub(super) fn next_deadline(&self) -> Millis {
        let deadline = self.session.next_deadline();
        match &self.client {
            _ if !self.session.is_open() => deadline,
            Some(client) => deadline.min(client.next_expiry()),
            None => deadline,
        }
    }

    /// Whether it is a client of the Centrifuge protocol that has not connected yet.
    pub(super) fn awaits_connect(&self) -> bool {
        self.client.as_ref().is_some_and(|client| client.awaits_connect())
    }
}

/// Commands of a client that wait, with what they wait for.
#[derive(Debug)]
pub(super) struct Commands {
    /// The whole message.
    pub(super) text: String,
    /// Where in it the first that waits begins.
    pub(super) start: usize,
    pub(super) until: Until,
}

/// What a command waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Room in the lane to this owner, or in the lanes from it to whoever listens.
    Room(ShardId),
    /// The answer to an earlier command.
    Answer,
}

/// Truths about a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    /// A receive is armed in the driver: from `arm_recv` to the completion that ends it.
    pub(super) recv_armed: bool,
    /// The armed receive was asked to end.
    pub(super) recv_disarming: bool,
    /// The connection is in the list of those whose receive must be armed.
    pub(super) recv_queued: bool,
    /// It is not decoded: its outbox is full or its publish is parked.
    pub(super) paused: bool,
    /// It is in the flush list of this turn.
    pub(super) dirty: bool,
    /// The peer finished sending.
    pub(super) peer_ended: bool,
    /// It is in the list of connections to decode again.
    pub(super) resume_queued: bool,
    /// Its 101 was handed to the driver.
    pub(super) answered: bool,
    /// Owners are asked because of its connect command: what is for it is held back.
    pub(super) connecting: bool,
    /// permessage-deflate was agreed on.
    pub(super) compressed: bool,
    /// Its operations were asked to end: `terminate` came to it.
    pub(super) ending: bool,
}

/// Three lines of the cache, none of them shared with a neighbour.
#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Entry {
    generation: u32,
    connection: Option<Connection>,
}

/// Bytes that come into a core's cache together, on every machine this runs on.
const CACHE_LINE: usize = 64;

/// The table. A slot's generation grows each time it is taken.
#[derive(Debug, Default)]
pub(super) struct Slots {
    entries: Chunks<Entry>,
    free: Vec<u32>,
    len: usize,
}

impl Slots {
    /// Takes a free slot; the connection follows with [`Slots::fill`].
    pub(super) fn reserve(&mut self) -> ConnId {
        let slot = self.free.pop().unwrap_or_else(|| self.grow());
        let entry = self.entry_mut(slot).expect("free slots exist");
        debug_assert!(entry.connection.is_none());
        entry.generation = (entry.generation + 1) & ((1 << GENERATION_BITS) - 1);
        ConnId { slot, generation: entry.generation }
    }

    /// Puts the connection into its reserved slot.
    pub(super) fn fill(&mut self, conn: ConnId, connection: Connection) {
        let entry = self.entry_mut(conn.slot).expect("reserved slots exist");
        assert!(entry.generation == conn.generation && entry.connection.is_none());
        entry.connection = Some(connection);
        self.len += 1;
    }

    /// Empties the slot.
    pub(super) fn remove(&mut self, conn: ConnId) -> Connection {
        let entry = self.entry_mut(conn.slot).expect("removed slots exist");
        assert_eq!(entry.generation, conn.generation, "removed by a stale id");
        let connection = entry.connection.take().expect("removed once");
        self.free.push(conn.slot);
        self.len -= 1;
        connection
    }

    /// The connection, unless the id is stale.
    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Connection> {
        let entry = self.entry_mut(conn.slot)?;
        if entry.generation != conn.generation && !is_planted(Bug::NoGenerationCheck) {
            return None;
        }
        entry.connection.as_mut()
    }

    /// Whose the slot is now.
    pub(super) fn occupant(&mut self, slot: u32) -> Option<(ConnId, &mut Connection)> {
        let entry = self.entry_mut(slot)?;
        let connection = entry.connection.as_mut()?;
        Some((ConnId { slot, generation: entry.generation }, connection))
    }

    /// Open slots.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The next connection at or after slot `from`.
    pub(super) fn next_from(&mut self, from: u32) -> Option<ConnId> {
        let capacity = self.entries.len() as u32;
        (from..capacity).find_map(|slot| Some(self.occupant(slot)?.0))
    }

    /// Visits the connections in slots from `cursor` on, over at most `budget` slots. Returns where
    /// to go on; `None` at the end.
    pub(super) fn visit(
        &mut self,
        cursor: usize,
        budget: usize,
        mut visit: impl FnMut(&Connection),
    ) -> Option<usize> {
        let capacity = self.entries.len();
        let end = cursor.saturating_add(budget).min(capacity);
        for slot in cursor..end {
            let slot = u32::try_from(slot).expect("permits bound the connections");
            let entry = self.entry_mut(slot).expect("below the capacity");
            entry.connection.as_ref().into_iter().for_each(&mut visit);
        }
        (end < capacity).then_some(end)
    }

    fn grow(&mut self) -> u32 {
        let start = self.entries.len() as u32;
        assert!(start < limits::CONNECTIONS_PER_SHARD_MAX, "permits bound the connections");
        self.entries.grow();
        self.free.extend((start + 1..start + CHUNK_LEN as u32).rev());
        start
    }

    fn entry_mut(&mut self, slot: u32) -> Option<&mut Entry> {
        self.entries.get_mut(slot as usize)
    }
}
