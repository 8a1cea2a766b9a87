//! What an outbox gives up for a newer publication when its reader does not keep up.
//!
//! Nobody calls this while a reader takes what it is sent and the limit is far, so the queue has no
//! index of what may be dropped: it is looked through, and the caller learns how much was looked
//! at.

use super::{Outbox, OutboxFull};
use crate::frame::{DropPolicy, FrameBytes};

/// What was dropped to make room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Frames of [`DropPolicy::Oldest`].
    pub oldest_count: u64,
    /// Frames of [`DropPolicy::Superseded`].
    pub superseded_count: u64,
    /// Bytes of all of them.
    pub len: usize,
    /// Waiting frames that were looked at.
    pub looked_at: usize,
    /// Where the frame that superseded others waits in their stead.
    place: Option<usize>,
}

impl Outbox {
    /// Whether [`Outbox::make_room`] is to be called before a frame of `len` bytes is added that
    /// belongs to a channel with this policy: there is no room, or something that waits may be
    /// superseded. Nothing is while the socket takes what it is sent, however much that is: a
    /// reader that keeps up misses nothing.
    pub fn is_pressed(&self, policy: DropPolicy, len: usize, limit: usize) -> bool {
        let stalled = self.is_sending() && !self.is_empty();
        policy == DropPolicy::Superseded && stalled || !self.has_room(len, limit)
    }

    /// Drops what a publication of the channel `superseding` supersedes, if there is one; then, as
    /// long as `len` more bytes do not fit under `limit`, what has waited longest of what may be
    /// dropped for want of room. There may be no room afterwards. The send in flight, frames of
    /// this connection alone and frames that are merely shared stay.
    pub fn make_room(&mut self, len: usize, limit: usize, superseding: Option<u32>) -> Dropped {
        let mut dropped = Dropped::default();
        if let Some(channel) = superseding {
            self.drop_superseded(channel, &mut dropped);
        }
        self.drop_oldest(len, limit, &mut dropped);
        dropped
    }

    /// As [`Outbox::push`], after [`Outbox::make_room`]. What superseded another waits in its
    /// stead, so that a channel which is published to more often than the reader reads keeps its
    /// turn.
    ///
    /// # Errors
    /// The limit would be passed.
    pub fn push_after(
        &mut self,
        dropped: Dropped,
        frame: FrameBytes,
        limit: usize,
    ) -> Result<(), OutboxFull> {
        let Some(place) = dropped.place.filter(|place| *place < self.count()) else {
            return self.push(frame, limit);
        };
        if !self.has_room(frame.len(), limit) {
            return Err(OutboxFull);
        }
        self.waiting_len += frame.len();
        let more = self.more.get_or_insert_default();
        if place > 0 {
            more.insert(place - 1, frame);
        } else if let Some(first) = self.first.replace(frame) {
            more.push_front(first);
        }
        Ok(())
    }

    /// Bytes waiting and in flight that are not dropped for others. Looks at all that waits.
    pub fn firm_len(&self) -> usize {
        let more = self.more.iter().flat_map(|more| more.iter());
        let droppable = self.first.iter().chain(more).filter_map(|frame| match frame {
            FrameBytes::Droppable(frame) => Some(frame.bytes.len()),
            FrameBytes::Owned(_) | FrameBytes::Shared(_) => None,
        });
        self.total_len() - droppable.sum::<usize>()
    }

    fn drop_superseded(&mut self, channel: u32, dropped: &mut Dropped) {
        // What this connection alone was told may be what its next publication rests on, such as
        // the reply to its subscription: the newer frame does not overtake it.
        let mut may_overtake = true;
        for index in (0..self.count()).rev() {
            dropped.looked_at += 1;
            match self.at(index) {
                Some(FrameBytes::Droppable(frame))
                    if frame.policy == DropPolicy::Superseded && frame.channel == channel =>
                {
                    dropped.len += self.remove(index);
                    dropped.superseded_count += 1;
                    dropped.place = match dropped.place {
                        _ if may_overtake => Some(index),
                        place => place.map(|place| place - 1),
                    };
                }
                Some(FrameBytes::Owned(_)) => may_overtake = false,
                _ => {}
            }
        }
    }

    fn drop_oldest(&mut self, len: usize, limit: usize, dropped: &mut Dropped) {
        let mut index = 0;
        while !self.has_room(len, limit)
            && let Some(frame) = self.at(index)
        {
            dropped.looked_at += 1;
            let goes =
                matches!(frame, FrameBytes::Droppable(frame) if frame.policy == DropPolicy::Oldest);
            if !goes {
                index += 1;
                continue;
            }
            dropped.len += self.remove(index);
            dropped.oldest_count += 1;
            if let Some(place) = dropped.place.as_mut().filter(|place| index < **place) {
                *place -= 1;
            }
        }
    }

    /// Frames that wait.
    fn count(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.as_ref().map_or(0, |more| more.len())
    }

    fn at(&self, index: usize) -> Option<&FrameBytes> {
        match index {
            0 => self.first.as_ref(),
            _ => self.more.as_ref()?.get(index - 1),
        }
    }

    /// Takes out a frame that waits; gives its bytes.
    fn remove(&mut self, index: usize) -> usize {
        let removed = match index {
            0 => {
                let next = self.pop_more();
                std::mem::replace(&mut self.first, next)
            }
            _ => self.more.as_mut().and_then(|more| more.remove(index - 1)),
        };
        let len = removed.expect("a frame that waits").len();
        self.waiting_len -= len;
        len
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    const OLDEST: Option<DropPolicy> = Some(DropPolicy::Oldest);
    const NEWEST: Option<DropPolicy> = Some(DropPolicy::Superseded);

    fn frame(channel: u32, policy: Option<DropPolicy>, fill: u8, len: usize) -> FrameBytes {
        FrameBytes::shared(Arc::from(vec![fill; len]), channel, policy)
    }

    /// Adds a frame as the fan-out does.
    fn add(outbox: &mut Outbox, frame: FrameBytes, limit: usize) -> Result<Dropped, OutboxFull> {
        let mut dropped = Dropped::default();
        if let FrameBytes::Droppable(newer) = &frame
            && outbox.is_pressed(newer.policy, frame.len(), limit)
        {
            let superseding = newer.policy == DropPolicy::Superseded;
            let superseding = superseding.then_some(newer.channel);
            dropped = outbox.make_room(frame.len(), limit, superseding);
        }
        outbox.push_after(dropped, frame, limit).map(|()| dropped)
    }

    fn say(outbox: &mut Outbox, bytes: &[u8]) {
        outbox.tail_mut(Vec::new).extend_from_slice(bytes);
        outbox.note_added(bytes.len());
    }

    /// An outbox whose reader has stalled.
    fn stalled() -> Outbox {
        let mut outbox = Outbox::default();
        outbox.push(frame(0, None, 0, 1), 1).expect("empty");
        outbox.take_send(Vec::new).expect("one waits");
        outbox
    }

    /// All that waits, in the order in which it will be sent.
    fn waiting(outbox: &mut Outbox) -> Vec<u8> {
        outbox.note_sent();
        let mut bytes = Vec::new();
        while let Some(send) = outbox.take_send(Vec::new) {
            bytes.extend_from_slice(send.as_slice());
            outbox.note_sent();
        }
        bytes
    }

    #[test]
    fn the_oldest_go_until_there_is_room_and_no_further() {
        let mut outbox = stalled();
        for fill in 1..=4 {
            let dropped = add(&mut outbox, frame(7, OLDEST, fill, 2), 9).expect("room");
            assert_eq!(dropped, Dropped::default());
        }
        let dropped = add(&mut outbox, frame(8, OLDEST, 5, 3), 9).expect("room was made");
        assert_eq!((dropped.oldest_count, dropped.len, dropped.looked_at), (2, 4, 2));
        assert_eq!(outbox.total_len(), 8);
        assert_eq!(waiting(&mut outbox), [3, 3, 4, 4, 5, 5, 5]);
    }

    #[test]
    fn what_may_not_be_dropped_stays() {
        let mut outbox = stalled();
        add(&mut outbox, frame(1, NEWEST, 1, 1), 6).expect("room");
        say(&mut outbox, &[2]);
        add(&mut outbox, frame(2, None, 3, 1), 6).expect("room");
        add(&mut outbox, frame(3, OLDEST, 4, 1), 6).expect("room");
        add(&mut outbox, frame(3, OLDEST, 5, 1), 6).expect("room");
        let dropped = add(&mut outbox, frame(3, OLDEST, 6, 2), 6).expect("room was made");
        assert_eq!((dropped.oldest_count, dropped.superseded_count), (2, 0));
        // The one in flight, the newest of another channel, what was said, what is shared.
        assert_eq!(outbox.firm_len(), 3);
        assert_eq!(add(&mut outbox, frame(3, OLDEST, 7, 3), 6), Err(OutboxFull));
        assert_eq!(waiting(&mut outbox), [1, 2, 3]);
    }

    #[test]
    fn a_newer_one_takes_the_place_of_the_one_that_waits() {
        let mut outbox = stalled();
        for (channel, fill) in [(1, 1), (2, 2), (3, 3), (1, 4), (1, 5), (3, 6)] {
            add(&mut outbox, frame(channel, NEWEST, fill, 1), 9).expect("room");
        }
        assert_eq!(waiting(&mut outbox), [5, 2, 6]);
    }

    #[test]
    fn nothing_is_superseded_while_the_socket_takes_all_and_there_is_room() {
        let mut outbox = Outbox::default();
        for fill in 1..=3 {
            add(&mut outbox, frame(1, NEWEST, fill, 2), 6).expect("room");
        }
        // Without room all that wait are, and the newer one has their first place.
        add(&mut outbox, frame(2, NEWEST, 4, 2), 8).expect("room");
        let dropped = add(&mut outbox, frame(1, NEWEST, 5, 2), 8).expect("room was made");
        assert_eq!((dropped.superseded_count, dropped.len), (3, 6));
        assert_eq!(waiting(&mut outbox), [5, 5, 4, 4]);
    }

    #[test]
    fn a_newer_one_does_not_overtake_what_was_said_to_its_reader() {
        let mut outbox = stalled();
        add(&mut outbox, frame(1, NEWEST, 1, 1), 9).expect("room");
        add(&mut outbox, frame(2, NEWEST, 2, 1), 9).expect("room");
        say(&mut outbox, &[3]);
        add(&mut outbox, frame(1, NEWEST, 4, 1), 9).expect("room");
        add(&mut outbox, frame(4, NEWEST, 5, 1), 9).expect("room");
        assert_eq!(outbox.count(), 4);
        add(&mut outbox, frame(1, NEWEST, 6, 1), 9).expect("room");
        assert_eq!(waiting(&mut outbox), [2, 3, 6, 5]);
    }

    #[test]
    fn room_for_a_newer_one_is_taken_from_others_that_may_be_dropped_for_it() {
        let mut outbox = stalled();
        add(&mut outbox, frame(1, OLDEST, 1, 1), 5).expect("room");
        add(&mut outbox, frame(2, NEWEST, 2, 1), 5).expect("room");
        add(&mut outbox, frame(1, OLDEST, 3, 1), 5).expect("room");
        let dropped = add(&mut outbox, frame(2, NEWEST, 4, 2), 4).expect("room was made");
        assert_eq!((dropped.superseded_count, dropped.oldest_count), (1, 1));
        assert_eq!(waiting(&mut outbox), [4, 4, 3]);
    }

    proptest! {
        /// Whatever comes and is sent: every channel's order is kept, what is firm arrives, and so
        /// does the newest of each channel that keeps only that; what is counted adds up.
        #[test]
        fn what_arrives_is_in_order_and_only_what_may_be_dropped_is_missing(
            steps in prop::collection::vec((0..6u32, 1..30usize, any::<bool>()), 1..300)
        ) {
            let policies = [None, OLDEST, NEWEST, OLDEST, NEWEST];
            let mut outbox = Outbox::default();
            let mut sent: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
            let (mut arrived, mut dropped_len) = (Vec::new(), 0);
            let mut total = 0;
            let mut number = 0u8;
            for (channel, len, sends) in steps {
                // The first byte says whose it is, the second its number, the third its length.
                number = number.wrapping_add(1);
                let mut bytes = vec![0; len + 3];
                bytes[..3].copy_from_slice(&[channel as u8, number, len as u8]);
                match policies.get(channel as usize) {
                    None => say(&mut outbox, &bytes),
                    Some(policy) => {
                        let limit = if policy.is_some() { 300 } else { usize::MAX };
                        let frame = FrameBytes::shared(bytes.clone().into(), channel, *policy);
                        let before = outbox.total_len();
                        match add(&mut outbox, frame, limit) {
                            Ok(dropped) => {
                                dropped_len += dropped.len;
                                prop_assert!(dropped.len <= before);
                            }
                            Err(OutboxFull) => {
                                prop_assert!(policy.is_some());
                                // The reader would be closed.
                                return Ok(());
                            }
                        }
                    }
                }
                total += bytes.len();
                sent.entry(channel).or_default().push(number);
                if sends {
                    outbox.note_sent();
                    if let Some(send) = outbox.take_send(Vec::new) {
                        arrived.extend_from_slice(send.as_slice());
                    }
                }
            }
            arrived.extend(waiting(&mut outbox));
            prop_assert_eq!(arrived.len() + dropped_len, total);
            let mut got: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
            let mut rest = &arrived[..];
            while let [channel, number, len, ..] = *rest {
                got.entry(u32::from(channel)).or_default().push(number);
                rest = &rest[usize::from(len) + 3..];
            }
            for (channel, all) in &sent {
                let got = got.remove(channel).unwrap_or_default();
                match policies.get(*channel as usize).copied().flatten() {
                    None => prop_assert_eq!(&got, all),
                    Some(policy) => {
                        let mut from = all.iter();
                        prop_assert!(got.iter().all(|number| from.any(|one| one == number)));
                        if policy == DropPolicy::Superseded {
                            prop_assert_eq!(got.last(), all.last());
                        }
                    }
                }
            }
        }
    }
}
