//! The members of one channel on one shard, in an order that survives a fan-out in pieces.
//!
//! A fan-out may stop after a bounded piece of work and go on next turn, while members come and go.
//! The list is kept in two parts: members below the cursor are still owed the current publication,
//! members at or above it are not (they got it, or joined after it). Every change keeps the parts.

use crate::id::ConnId;

/// A connection in a channel, with the index of the channel among the connection's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The connection.
    pub conn: ConnId,
    /// Which of its subscriptions this is.
    pub subscription_index: u8,
    /// Whether it is told who comes and goes.
    pub wants_notices: bool,
}

impl Member {
    /// One that is not told who comes and goes.
    pub fn new(conn: ConnId, subscription_index: u8) -> Self {
        Self { conn, subscription_index, wants_notices: false }
    }
}

const _: () = assert!(crate::limits::CHANNELS_PER_CONNECTION_MAX <= u8::MAX as usize);

/// Members that a removal moved, with their new index; at most two.
pub type Moves = [Option<(Member, u32)>; 2];

#[derive(Debug, Default)]
pub(super) struct Members {
    list: Vec<Member>,
    /// Members below it are owed the publication that is being fanned out; 0 when none is.
    cursor: usize,
    /// Members that want notices. Where there are none, nobody is looked at for a notice.
    wanting_notices_count: usize,
}

impl Members {
    /// Adds a member that is not owed the current publication. Returns its index.
    pub(super) fn add(&mut self, member: Member) -> u32 {
        self.list.push(member);
        self.wanting_notices_count += usize::from(member.wants_notices);
        u32::try_from(self.list.len() - 1).expect("a shard has fewer connections")
    }

    /// Removes the member at `index`; says who moved where.
    pub(super) fn remove(&mut self, index: u32) -> Moves {
        let mut moves = [None, None];
        let mut hole = index as usize;
        self.wanting_notices_count -= usize::from(self.list[hole].wants_notices);
        if hole < self.cursor {
            // Fill the hole from the owed part, then close the gap at the border.
            self.cursor -= 1;
            if hole != self.cursor {
                self.list[hole] = self.list[self.cursor];
                moves[0] = Some((self.list[hole], hole as u32));
                hole = self.cursor;
            }
        }
        let last = self.list.len() - 1;
        if hole != last {
            self.list[hole] = self.list[last];
            moves[1] = Some((self.list[hole], hole as u32));
        }
        self.list.pop();
        if self.list.len() * 4 < self.list.capacity() {
            self.list.shrink_to(self.list.len() * 2);
        }
        moves
    }

    /// Starts a fan-out: everyone here now is owed it.
    pub(super) fn begin_fan_out(&mut self) {
        debug_assert_eq!(self.cursor, 0, "one fan-out at a time");
        self.cursor = self.list.len();
    }

    /// The next member that is owed the publication.
    pub(super) fn next_owed(&mut self) -> Option<Member> {
        self.cursor = self.cursor.checked_sub(1)?;
        Some(self.list[self.cursor])
    }

    /// Whether anybody wants notices.
    pub(super) fn wants_notices(&self) -> bool {
        self.wanting_notices_count > 0
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn member(slot: u32) -> Member {
        let member = Member::new(ConnId { slot, generation: 0 }, 0);
        Member { wants_notices: slot.is_multiple_of(3), ..member }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Join,
        Leave(prop::sample::Index),
        Begin,
        Deliver(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Join),
            2 => any::<prop::sample::Index>().prop_map(Step::Leave),
            1 => Just(Step::Begin),
            3 => (1..4u8).prop_map(Step::Deliver),
        ]
    }

    proptest! {
        /// Whoever was there when a fan-out began and stays gets it once; nobody else gets it.
        #[test]
        fn a_fan_out_in_pieces_reaches_everyone_once(steps in prop::collection::vec(step(), 1..200)) {
            let mut members = Members::default();
            let mut places: BTreeMap<u32, u32> = BTreeMap::new();
            let mut owed: BTreeSet<u32> = BTreeSet::new();
            let mut next_slot = 0;
            for step in steps {
                match step {
                    Step::Join => {
                        places.insert(next_slot, members.add(member(next_slot)));
                        next_slot += 1;
                    }
                    Step::Leave(which) if !places.is_empty() => {
                        let slot = *places.keys().nth(which.index(places.len())).expect("in range");
                        let index = places.remove(&slot).expect("just found");
                        for (moved, index) in members.remove(index).into_iter().flatten() {
                            places.insert(moved.conn.slot, index);
                        }
                        owed.remove(&slot);
                    }
                    Step::Begin if members.cursor == 0 => {
                        prop_assert!(owed.is_empty());
                        members.begin_fan_out();
                        owed = places.keys().copied().collect();
                    }
                    Step::Deliver(count) => {
                        for _ in 0..count {
                            let Some(got) = members.next_owed() else { break };
                            prop_assert!(owed.remove(&got.conn.slot), "twice or never owed");
                        }
                    }
                    _ => {}
                }
                for (slot, index) in &places {
                    prop_assert_eq!(members.list[*index as usize].conn.slot, *slot);
                }
                prop_assert_eq!(members.cursor, owed.len());
                let is_wanting = |slot: &u32| slot.is_multiple_of(3);
                prop_assert_eq!(members.wants_notices(), places.keys().any(is_wanting));
            }
        }
    }
}
