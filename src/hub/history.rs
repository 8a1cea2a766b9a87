//! The publications a stream keeps.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::publication::Entry;

/// Entries in order, without a gap; the last one is the stream's newest. Each has the moment from
/// which it is given out no more; those never decrease from front to back.
#[derive(Debug, Default)]
pub(super) struct History {
    entries: VecDeque<(u64, Arc<Entry>)>,
    bytes: usize,
}

impl History {
    /// Adds the newest entry, to be given out before `expires`. Returns its bytes.
    pub(super) fn push(&mut self, entry: Arc<Entry>, expires: u64) -> usize {
        let last = self.entries.back();
        debug_assert!(last.is_none_or(|(_, last)| last.offset + 1 == entry.offset), "no gap");
        let expires = last.map_or(expires, |(last, _)| expires.max(*last));
        let size = entry.size();
        self.bytes += size;
        self.entries.push_back((expires, entry));
        size
    }

    /// Drops the oldest entry. Returns its bytes.
    pub(super) fn pop(&mut self) -> Option<usize> {
        let (_, entry) = self.entries.pop_front()?;
        let size = entry.size();
        self.bytes -= size;
        if self.entries.len() * 4 < self.entries.capacity() {
            self.entries.shrink_to(self.entries.len() * 2);
        }
        Some(size)
    }

    /// Entries held, expired ones that are still there included.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The sum of the entries' sizes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the oldest entry expires.
    pub(super) fn next_expiry(&self) -> Option<u64> {
        self.entries.front().map(|(expires, _)| *expires)
    }

    /// What is given out at `now`, oldest first.
    pub(super) fn live(&self, now: u64) -> impl DoubleEndedIterator<Item = &Arc<Entry>> {
        let start = self.entries.partition_point(|(expires, _)| *expires <= now);
        self.entries.range(start..).map(|(_, entry)| entry)
    }

    /// Of those the ones behind `offset`, oldest first.
    pub(super) fn after(&self, offset: u64, now: u64) -> impl Iterator<Item = &Arc<Entry>> {
        let start = self
            .entries
            .partition_point(|(expires, entry)| *expires <= now || entry.offset <= offset);
        self.entries.range(start..).map(|(_, entry)| entry)
    }

    /// Of those the ones before `offset`, newest first.
    pub(super) fn before(&self, offset: u64, now: u64) -> impl Iterator<Item = &Arc<Entry>> {
        let start = self.entries.partition_point(|(expires, _)| *expires <= now);
        let end = self.entries.partition_point(|(_, entry)| entry.offset < offset);
        self.entries.range(start.min(end)..end).rev().map(|(_, entry)| entry)
    }
}
