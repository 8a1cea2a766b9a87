//! What waits to be sent to one connection.

mod dropping;

use std::collections::VecDeque;

pub use dropping::Dropped;

use crate::frame::FrameBytes;
use crate::limits;
use crate::planted::{Bug, is_planted};

/// Frames in order, with the bytes they hold.
///
/// One waiting item lies inline, so a connection that keeps up never allocates here (publications
/// of a channel that wait together come as one item); the queue behind it is freed when it empties.
/// Frames of one connection alone (echoes, pongs, Close) are appended to one growing item, so many
/// small ones leave in one send.
#[derive(Debug, Default)]
pub struct Outbox {
    first: Option<FrameBytes>,
    /// What waits behind the first. Boxed, for by far most outboxes hold nothing.
    #[expect(clippy::box_collection)]
    more: Option<Box<VecDeque<FrameBytes>>>,
    /// Bytes waiting here, the send in flight not counted.
    waiting_len: usize,
    /// Bytes of the send in flight, 0 when there is none.
    in_flight_len: usize,
}

/// The outbox cannot take the frame: it is not empty and would pass its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxFull;

impl Outbox {
    /// Adds a shared frame.
    ///
    /// # Errors
    /// The limit would be passed. One frame always fits into an empty outbox.
    pub fn push(&mut self, frame: FrameBytes, limit: usize) -> Result<(), OutboxFull> {
        let len = frame.len();
        if !self.has_room(len, limit) {
            return Err(OutboxFull);
        }
        self.waiting_len += len;
        self.push_back(frame);
        Ok(())
    }

    /// Whether `len` more bytes fit under `limit`, or the outbox is empty.
    pub fn has_room(&self, len: usize, limit: usize) -> bool {
        self.is_idle() || self.total_len().saturating_add(len) <= limit
    }

    /// The owned bytes at the end of the queue, for frames of this connection alone. Report what
    /// was appended with [`Outbox::note_added`]. Control frames are exempt from the limit: they
    /// are few (one per frame received, and reading stops while the outbox is full). `spare`
    /// provides an empty vector when a new item is begun.
    pub fn tail_mut(&mut self, spare: impl FnOnce() -> Vec<u8>) -> &mut Vec<u8> {
        let appendable = |item: &FrameBytes| matches!(item, FrameBytes::Owned(bytes) if bytes.len() < limits::SEND_GATHER_MAX);
        let last_of_more = self.more.as_ref().and_then(|more| more.back());
        let last_fits = match (last_of_more, &self.first) {
            (Some(last), _) => appendable(last),
            (None, Some(first)) => appendable(first),
            (None, None) => false,
        };
        if !last_fits {
            self.push_back(FrameBytes::Owned(spare()));
        }
        let last_of_more = self.more.as_mut().and_then(|more| more.back_mut());
        match last_of_more.or(self.first.as_mut()) {
            Some(FrameBytes::Owned(bytes)) => bytes,
            _ => unreachable!("an owned item was just made sure of"),
        }
    }

    /// Adds everything that waits in `other`, whatever the limit: it was minded there.
    pub fn append(&mut self, other: Outbox) {
        debug_assert!(!other.is_sending(), "what is in flight stays where it is");
        self.waiting_len += other.waiting_len;
        let more = other.more.into_iter().flat_map(|more| *more);
        other.first.into_iter().chain(more).for_each(|item| self.push_back(item));
    }

    /// Counts bytes appended through [`Outbox::tail_mut`].
    pub fn note_added(&mut self, len: usize) {
        self.waiting_len += len;
    }

    /// Takes what the next send carries: the first item, or as many small ones as fit into one
    /// gathered buffer of `limits::SEND_GATHER_MAX` bytes. `None` while a send is in flight or
    /// nothing waits. `spare` provides an empty vector to gather into.
    pub fn take_send(&mut self, spare: impl FnOnce() -> Vec<u8>) -> Option<FrameBytes> {
        if self.in_flight_len > 0 && !is_planted(Bug::TwoSends) {
            return None;
        }
        let first = self.pop()?;
        let next_len = self.first.as_ref().map(FrameBytes::len);
        let gathers = next_len.is_some_and(|next| first.len() + next <= limits::SEND_GATHER_MAX);
        let send = if gathers { self.gather(first, spare()) } else { first };
        self.in_flight_len = send.len();
        debug_assert!(self.in_flight_len > 0, "an empty item in the outbox");
        Some(send)
    }

    /// Notes that the send in flight was taken by the kernel to its last byte.
    pub fn note_sent(&mut self) {
        self.in_flight_len = 0;
        if self.more.as_ref().is_some_and(|more| more.is_empty()) {
            self.more = None;
        }
    }

    /// Drops everything that waits, the send in flight apart. Returns the bytes dropped.
    pub fn drop_waiting(&mut self) -> usize {
        self.first = None;
        self.more = None;
        std::mem::take(&mut self.waiting_len)
    }

    /// Bytes waiting and in flight.
    pub fn total_len(&self) -> usize {
        self.waiting_len + self.in_flight_len
    }

    /// Whether nothing waits; a send may be in flight.
    pub fn is_empty(&self) -> bool {
        self.waiting_len == 0
    }

    /// Whether nothing waits and no send is in flight.
    pub fn is_idle(&self) -> bool {
        self.total_len() == 0
    }

    /// Whether a send is in flight.
    pub fn is_sending(&self) -> bool {
        self.in_flight_len > 0
    }

    fn push_back(&mut self, item: FrameBytes) {
        if self.first.is_none() {
            debug_assert!(self.more.as_ref().is_none_or(|more| more.is_empty()));
            self.first = Some(item);
        } else {
            let room = || Box::new(VecDeque::with_capacity(limits::OUTBOX_QUEUE_ROOM));
            self.more.get_or_insert_with(room).push_back(item);
        }
    }

    fn pop(&mut self) -> Option<FrameBytes> {
        let item = self.first.take()?;
        self.first = self.pop_more();
        self.waiting_len -= item.len();
        Some(item)
    }

    fn pop_more(&mut self) -> Option<FrameBytes> {
        self.more.as_mut()?.pop_front()
    }

    fn gather(&mut self, first: FrameBytes, spare: Vec<u8>) -> FrameBytes {
        let mut bytes = match first {
            FrameBytes::Owned(bytes) => bytes,
            FrameBytes::Shared(_) | FrameBytes::Droppable(_) => {
                let mut bytes = spare;
                debug_assert!(bytes.is_empty());
                bytes.extend_from_slice(first.as_slice());
                bytes
            }
        };
        while let Some(next) = &self.first
            && bytes.len() + next.len() <= limits::SEND_GATHER_MAX
        {
            bytes.extend_from_slice(next.as_slice());
            self.pop();
        }
        FrameBytes::Owned(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;

    use super::*;

    fn shared(len: usize, fill: u8) -> FrameBytes {
        FrameBytes::Shared(Rc::new(Arc::from(vec![fill; len])))
    }

    #[test]
    fn one_frame_always_fits_an_empty_outbox() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push(shared(100, 1), 10), Ok(()));
        assert_eq!(outbox.push(shared(1, 2), 10), Err(OutboxFull));
        let send = outbox.take_send(Vec::new).expect("one waits");
        assert_eq!(send.len(), 100);
        // Still in flight: counts against the limit.
        assert_eq!(outbox.push(shared(1, 2), 10), Err(OutboxFull));
        outbox.note_sent();
        assert_eq!(outbox.push(shared(1, 2), 10), Ok(()));
    }

    #[test]
    fn what_waits_together_leaves_together_in_order() {
        let mut outbox = Outbox::default();
        outbox.push(shared(3, 1), 1000).expect("room");
        outbox.push(shared(2, 2), 1000).expect("room");
        outbox.tail_mut(Vec::new).extend_from_slice(&[3, 3]);
        outbox.note_added(2);
        outbox.push(shared(1, 4), 1000).expect("room");
        assert_eq!(outbox.total_len(), 8);
        let send = outbox.take_send(Vec::new).expect("four wait");
        assert_eq!(send.as_slice(), [1, 1, 1, 2, 2, 3, 3, 4]);
        assert!(outbox.take_send(Vec::new).is_none(), "one send in flight");
        outbox.note_sent();
        assert!(outbox.is_idle());
    }

    #[test]
    fn what_waited_elsewhere_is_added_in_order() {
        for before in [0, 1, 2] {
            let mut outbox = Outbox::default();
            let mut other = Outbox::default();
            for fill in 0..before {
                outbox.push(shared(1, fill), 100).expect("room");
            }
            other.push(shared(1, 7), 100).expect("room");
            other.tail_mut(Vec::new).push(8);
            other.note_added(1);
            outbox.append(other);
            assert_eq!(outbox.total_len(), usize::from(before) + 2);
            let send = outbox.take_send(Vec::new).expect("some wait");
            assert_eq!(send.as_slice(), [&[0, 1][..usize::from(before)], &[7, 8]].concat());
            assert!(outbox.is_empty());
        }
    }

    #[test]
    fn large_frames_are_not_copied() {
        let mut outbox = Outbox::default();
        let limit = 10 * limits::SEND_GATHER_MAX;
        outbox.push(shared(limits::SEND_GATHER_MAX, 1), limit).expect("room");
        outbox.push(shared(1, 2), limit).expect("room");
        let send = outbox.take_send(Vec::new).expect("two wait");
        assert!(matches!(send, FrameBytes::Shared(_)));
        outbox.note_sent();
        assert_eq!(outbox.take_send(Vec::new).expect("one waits").len(), 1);
    }

    #[test]
    fn dropping_keeps_the_send_in_flight() {
        let mut outbox = Outbox::default();
        outbox.push(shared(5, 1), 100).expect("room");
        outbox.take_send(Vec::new).expect("one waits");
        outbox.push(shared(6, 1), 100).expect("room");
        assert_eq!(outbox.drop_waiting(), 6);
        assert_eq!(outbox.total_len(), 5);
        assert!(outbox.is_sending() && outbox.is_empty());
    }
}
