//! What every connection costs before it holds anything: the sizes of what it is made of.
//!
//! A larger number here is paid a million times; change it only with a reason.

use tidegate::frame::FrameBytes;
use tidegate::hub::{Member, Subscription};
use tidegate::session::{Keepalive, Outbox, Session};
use tidegate::ws::Decoder;

#[test]
fn what_every_connection_is_made_of() {
    let sizes = [
        ("Session", size_of::<Session>(), 96),
        ("Decoder", size_of::<Decoder>(), 32),
        ("Outbox", size_of::<Outbox>(), 48),
        ("Keepalive", size_of::<Keepalive>(), 16),
        ("FrameBytes", size_of::<FrameBytes>(), 24),
        ("Option<FrameBytes>", size_of::<Option<FrameBytes>>(), 24),
        ("Subscription", size_of::<Subscription>(), 12),
        ("Member", size_of::<Member>(), 12),
    ];
    let actual = sizes.map(|(name, actual, _)| (name, actual));
    assert_eq!(actual, sizes.map(|(name, _, pinned)| (name, pinned)));
}
