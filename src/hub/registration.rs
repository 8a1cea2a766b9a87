//! What the owner of a channel knows of this shard's interest in it.

use crate::planted::{Bug, is_planted};

/// Interest told and answered. The owner's answers come in the order asked, so counting those
/// still owed tells an answer to an older question from the one that matters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Registration {
    /// The owner's last word from us was "interested".
    told: bool,
    /// Answers on their way.
    answers_owed: u32,
    /// True while the channel waits in the hub's list of channels to look at.
    pub(super) queued: bool,
}

/// What to tell the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tell {
    Nothing,
    Interest,
    Disinterest,
}

impl Registration {
    /// What the owner must be told, `wanted` being whether anyone here listens.
    pub(super) fn tell(&self, wanted: bool) -> Tell {
        match (wanted, self.told) {
            (true, false) => Tell::Interest,
            (false, true) => Tell::Disinterest,
            _ => Tell::Nothing,
        }
    }

    /// Notes that the owner was told.
    pub(super) fn note_told(&mut self, told: Tell) {
        match told {
            Tell::Nothing => {}
            Tell::Interest => {
                self.told = true;
                self.answers_owed += 1;
            }
            Tell::Disinterest => self.told = false,
        }
    }

    /// Notes an answer. True if it answers the question that stands.
    pub(super) fn note_answer(&mut self) -> bool {
        self.answers_owed = self.answers_owed.checked_sub(1).expect("one answer per question");
        self.answers_owed == 0 && self.told
    }

    /// Notes that a join is sent. True if the owner learns of this shard's interest from it, so
    /// that its answer counts as one to [`Tell::Interest`].
    pub(super) fn note_join(&mut self) -> bool {
        let asks = !self.told;
        if asks {
            self.note_told(Tell::Interest);
        }
        asks
    }

    /// Notes that the owner let a join in: it knows of us, even if it refused another before.
    pub(super) fn note_joined(&mut self) {
        self.told = true;
    }

    /// Notes that the owner refused: it knows nothing of us.
    pub(super) fn note_refused(&mut self) {
        self.told = false;
    }

    /// Whether publications reach this shard without a gap from now on.
    pub(super) fn is_live(&self) -> bool {
        self.told && (self.answers_owed == 0 || is_planted(Bug::EarlyAnswer))
    }

    /// Whether the owner knows nothing of us and no answer is on its way.
    pub(super) fn is_over(&self) -> bool {
        !self.told && self.answers_owed == 0
    }
}
