//! What goes wrong, how often, and how often it did.

use std::cell::Cell;

macro_rules! faults {
    ($($name:ident = $text:literal,)*) => {
        /// Something that goes wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Fault {
            $(#[doc = $text] $name,)*
        }

        /// What each is called in the summary.
        pub(crate) const NAMES: &[&str] = &[$($text,)*];
    };
}

faults! {
    ShortSend = "short sends",
    FullWindow = "sends stuck at a full window",
    NoBuffers = "receives without a buffer",
    MoreOff = "data that ends a multishot",
    Ended = "multishots ended",
    Overflow = "completion queue overflows",
    CancelledRecv = "receives cancelled",
    LateCancel = "data behind a cancellation",
    CancelledSend = "sends cancelled",
    SendFailed = "sends out of memory",
    LateCompletion = "completions held back",
    Reordered = "completions reordered",
    StaleRecv = "stale receives",
    StaleSend = "stale sends",
    Reset = "resets by the peer",
    CutShort = "ends by the peer without a Close",
    LateWake = "wake-ups reordered",
    Spurious = "wake-ups for nothing",
    MidTurn = "turns interrupted",
    Stall = "shards stalled",
    ClockJump = "clock jumps",
    WallBack = "time of day set back",
    FullMailbox = "full mailboxes",
    MutePeer = "peers that answer no ping",
    Drain = "drains",
}

/// How many kinds there are.
pub(crate) const KINDS: usize = NAMES.len();

/// How often each fault strikes in one seed, and how often it did.
pub(crate) struct Faults {
    is_on: Cell<bool>,
    /// In 256 times.
    odds: [u8; KINDS],
    counts: [Cell<u64>; KINDS],
}

impl Faults {
    /// Each seed has some kinds often, some now and then, and some not at all: what one kind does
    /// would else be hidden behind the others.
    pub(crate) fn draw(dice: &mut fastrand::Rng) -> Self {
        let odds = std::array::from_fn(|_| match dice.u8(..4) {
            0 => 0,
            1 => 100,
            _ => dice.u8(4..40),
        });
        Self { is_on: Cell::new(true), odds, counts: std::array::from_fn(|_| Cell::new(0)) }
    }

    /// From now on everything works.
    pub(crate) fn stop(&self) {
        self.is_on.set(false);
    }

    pub(crate) fn are_on(&self) -> bool {
        self.is_on.get()
    }

    pub(crate) fn strikes(&self, fault: Fault, dice: &mut fastrand::Rng) -> bool {
        let strikes = self.is_on.get() && dice.u8(..) < self.odds[fault as usize];
        if strikes {
            self.note(fault);
        }
        strikes
    }

    /// Notes a fault that came about by itself.
    pub(crate) fn note(&self, fault: Fault) {
        let count = &self.counts[fault as usize];
        count.set(count.get() + 1);
    }

    pub(crate) fn counts(&self) -> [u64; KINDS] {
        std::array::from_fn(|kind| self.counts[kind].get())
    }
}
