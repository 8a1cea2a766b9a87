//! What comes back with a completion: operation, slot and generation in 64 bits.

use crate::id::{ConnId, GENERATION_BITS};

/// The operation a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Op {
    Recv = 1,
    Send = 2,
    /// A cancellation's own completion; says nothing that the cancelled operation does not say.
    Cancel = 3,
    /// The read of the shard's eventfd.
    Bell = 4,
    /// A message from another shard's ring.
    Woken = 5,
    /// A failed message to another shard's ring; the slot names the shard.
    Wake = 6,
    /// An operation that holds a slot of the ring's table, whose number stands for the slot.
    Slot = 7,
    /// A socket option set before a close; says nothing.
    Reset = 8,
}

const OP_SHIFT: u32 = 56;
const GENERATION_SHIFT: u32 = 32;

const _: () = assert!(GENERATION_SHIFT + GENERATION_BITS <= OP_SHIFT);

/// Packs an operation on a connection.
pub(super) fn pack(op: Op, conn: ConnId) -> u64 {
    debug_assert!(conn.generation < 1 << GENERATION_BITS);
    (u64::from(op as u8) << OP_SHIFT)
        | (u64::from(conn.generation) << GENERATION_SHIFT)
        | u64::from(conn.slot)
}

/// Packs an operation that belongs to no connection.
pub(super) fn pack_plain(op: Op, number: u32) -> u64 {
    pack(op, ConnId { slot: number, generation: 0 })
}

/// Takes a token apart. `None`: not one of ours.
pub(super) fn unpack(token: u64) -> Option<(Op, ConnId)> {
    let op = match (token >> OP_SHIFT) as u8 {
        1 => Op::Recv,
        2 => Op::Send,
        3 => Op::Cancel,
        4 => Op::Bell,
        5 => Op::Woken,
        6 => Op::Wake,
        7 => Op::Slot,
        8 => Op::Reset,
        _ => return None,
    };
    let slot = (token & u64::from(u32::MAX)) as u32;
    let generation = ((token >> GENERATION_SHIFT) as u32) & ((1 << GENERATION_BITS) - 1);
    Some((op, ConnId { slot, generation }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_at_their_bounds() {
        use Op::*;
        for op in [Recv, Send, Cancel, Bell, Woken, Wake, Slot, Reset] {
            for slot in [0, 1, u32::MAX] {
                for generation in [0, 1, (1 << GENERATION_BITS) - 1] {
                    let conn = ConnId { slot, generation };
                    assert_eq!(unpack(pack(op, conn)), Some((op, conn)));
                }
            }
        }
        assert_eq!(unpack(0), None);
        assert_eq!(unpack(u64::MAX), None);
    }
}
