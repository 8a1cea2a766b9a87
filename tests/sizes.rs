//! The sizes of what there is once a connection, and of what is moved once a delivery: a million
//! connections pay for the one, a million deliveries a second for the other.
//!
//! Change a number only with a reason. What the crate keeps to itself has its assertion beside it:
//! `shard/slots.rs`, `shard/centrifuge/client.rs`, `ring/uring.rs`.

use tidegate::frame::FrameBytes;
use tidegate::hub::{Member, Subscription};
use tidegate::id::ConnId;
use tidegate::mail::{Delivery, Request};
use tidegate::ring::Completion;
use tidegate::session::{Keepalive, Outbox, Session};
use tidegate::ws::Decoder;

/// Rows of [`check`]: the name, its size, and what it is held to.
macro_rules! sizes {
    ($($of:ty: $pinned:literal),* $(,)?) => {
        [$((stringify!($of), size_of::<$of>(), $pinned)),*]
    };
}

/// In the slot of every connection, whatever it speaks.
#[test]
fn what_every_connection_is_made_of() {
    check(&sizes! { Session: 96, Decoder: 32, Outbox: 48, Keepalive: 16 });
}

/// `Subscription` lies beside the connection, `Member` in its channel: a fan-out walks over them,
/// five to a cache line. A `ConnId` is in most lists of a shard.
#[test]
fn what_every_subscription_and_every_list_is_made_of() {
    check(&sizes! { Subscription: 12, Member: 12, ConnId: 8 });
}

/// A frame lies in its outbox, then in flight, and comes back with its completion. There is no room
/// for `Option` to take.
#[test]
fn what_every_delivery_moves() {
    check(&sizes! { FrameBytes: 24, Option<FrameBytes>: 24, Completion: 48 });
}

/// Every lane has room for a thousand of them from the start, and there is a lane from each thread
/// to each shard; what is larger is boxed.
#[test]
fn what_lies_in_the_lanes_between_threads() {
    check(&sizes! { Delivery: 48, Request: 24 });
}

fn check(sizes: &[(&str, usize, usize)]) {
    let actual: Vec<_> = sizes.iter().map(|(name, actual, _)| (*name, *actual)).collect();
    let pinned: Vec<_> = sizes.iter().map(|(name, _, pinned)| (*name, *pinned)).collect();
    assert_eq!(actual, pinned);
}
