//! Mistakes that a test can plant in the code to see whether the simulator finds them.
//!
//! Each has its one place, where the code does the wrong thing if `is_planted`. Without debug
//! assertions that is a constant `false`, and nothing of this is in the program. A leaf.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A receive that the kernel ended is not armed again.
    NoRearm,
    /// A receive is armed again though its more-flag was set.
    RearmTwice,
    /// A send begins while another of the same connection is in flight.
    TwoSends,
    /// A short send is taken for a whole one.
    ShortSendTakenAsWhole,
    /// What names an earlier connection of a slot is taken for the present one's.
    NoGenerationCheck,
    /// A socket, and the bytes in flight to it, are let go before the send's completion.
    NoJoin,
    /// A shard stops listening to a channel one subscriber too early.
    ReferenceCountOffByOne,
    /// A shard falls asleep without a last look at its mail.
    LostWakeUp,
    /// A client is told that it is subscribed before the channel's owner knows.
    EarlyAnswer,
    /// A recovery begins one publication too late.
    RecoveryOffByOne,
}

impl Bug {
    /// Every mistake.
    pub const ALL: [Self; 10] = [
        Self::NoRearm,
        Self::RearmTwice,
        Self::TwoSends,
        Self::ShortSendTakenAsWhole,
        Self::NoGenerationCheck,
        Self::NoJoin,
        Self::ReferenceCountOffByOne,
        Self::LostWakeUp,
        Self::EarlyAnswer,
        Self::RecoveryOffByOne,
    ];
}

#[cfg(debug_assertions)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a mistake in what the calling thread does from now on; `None` takes it out again.
#[cfg(debug_assertions)]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether the code is to make this mistake.
#[cfg(debug_assertions)]
pub(crate) fn is_planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether the code is to make this mistake: never.
#[cfg(not(debug_assertions))]
pub(crate) const fn is_planted(_: Bug) -> bool {
    false
}
