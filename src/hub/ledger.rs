//! What the streams of a shard hold together, which was used when, and which is due when.

use std::collections::{BTreeMap, BTreeSet};

use super::ChannelId;
use super::stream::Kept;

/// Sums and orders over all streams that keep something. Each of them is told here of every change
/// of its history and its deadlines, and is taken out before it goes.
#[derive(Debug)]
pub(super) struct Ledger {
    bytes: usize,
    bytes_max: usize,
    /// Streams with history by their last use; the key stands in [`Kept::used`].
    by_use: BTreeMap<u64, ChannelId>,
    next_use: u64,
    /// Streams by when [`super::Hub::expire`] is to look at them; the key stands in
    /// [`Kept::planned`].
    by_deadline: BTreeSet<(u64, ChannelId)>,
}

impl Ledger {
    pub(super) fn new(bytes_max: usize) -> Self {
        let (by_use, by_deadline) = (BTreeMap::new(), BTreeSet::new());
        Self { bytes: 0, bytes_max, by_use, next_use: 1, by_deadline }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    pub(super) fn subtract(&mut self, bytes: usize) {
        self.bytes = self.bytes.checked_sub(bytes).expect("what goes was counted when it came");
    }

    /// The stream that was not used for longest, if history is past its bound.
    pub(super) fn surplus(&self) -> Option<ChannelId> {
        let (_, id) = self.by_use.first_key_value()?;
        (self.bytes > self.bytes_max).then_some(*id)
    }

    /// Notes a use of a stream.
    pub(super) fn note_use(&mut self, id: ChannelId, kept: &mut Kept) {
        self.note_empty(kept);
        if !kept.history.is_empty() {
            self.by_use.insert(self.next_use, id);
            kept.used = Some(self.next_use);
            self.next_use += 1;
        }
    }

    /// Notes that a stream has no history any more.
    pub(super) fn note_empty(&mut self, kept: &mut Kept) {
        if let Some(used) = kept.used.take() {
            self.by_use.remove(&used);
        }
    }

    /// Notes when a stream is to be looked at. A plan that is early enough stands: the look then
    /// makes the next one.
    pub(super) fn plan(&mut self, id: ChannelId, kept: &mut Kept, deadline: Option<u64>) {
        let Some(deadline) = deadline else { return };
        if kept.planned.is_some_and(|planned| planned <= deadline) {
            return;
        }
        self.unplan(id, kept);
        self.by_deadline.insert((deadline, id));
        kept.planned = Some(deadline);
    }

    /// The next stream to be looked at, and when.
    pub(super) fn next_deadline(&self) -> Option<(u64, ChannelId)> {
        self.by_deadline.first().copied()
    }

    pub(super) fn unplan(&mut self, id: ChannelId, kept: &mut Kept) {
        if let Some(planned) = kept.planned.take() {
            self.by_deadline.remove(&(planned, id));
        }
    }

    /// Takes a stream out that is about to go.
    pub(super) fn remove(&mut self, id: ChannelId, kept: &mut Kept) {
        self.subtract(kept.history.bytes());
        self.note_empty(kept);
        self.unplan(id, kept);
    }
}
