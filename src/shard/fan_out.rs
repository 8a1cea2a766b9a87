//! One publication to all its subscribers on this shard.

use std::rc::Rc;
use std::sync::Arc;

use super::Core;
use crate::frame::FrameBytes;
use crate::hub::ChannelId;
use crate::id::ConnId;
use crate::publication::Publication;
use crate::ws::CloseCode;

/// A publication that is being delivered. The shard counts its subscribers' references with plain
/// integers; the shared value is touched once.
#[derive(Debug)]
pub(super) struct FanOut {
    channel: ChannelId,
    frame: Rc<Arc<[u8]>>,
    /// For those who agreed on compression, from the first of them on; the plain frame if
    /// compression is of no use.
    compressed: Option<Rc<Arc<[u8]>>>,
    publication: Arc<Publication>,
}

impl FanOut {
    /// Bytes each subscriber is given.
    pub(super) fn frame_len(&self) -> usize {
        self.frame.len()
    }
}

impl Core {
    pub(super) fn begin_fan_out(&mut self, publication: Arc<Publication>) {
        debug_assert!(self.fan_out.is_none(), "one fan-out at a time");
        let Some(channel) = self.hub.begin_fan_out(&publication.channel) else {
            self.stats.counters.deliveries_undeliverable.add(1);
            return;
        };
        let frame = Rc::new(publication.raw_frame().clone());
        self.fan_out = Some(FanOut { channel, frame, compressed: None, publication });
    }

    /// Goes on with the fan-out until everyone has it or the budget is used up. True: there is
    /// budget left.
    pub(super) fn fan_out(&mut self, budget: &mut usize) -> bool {
        let Some(mut fan_out) = self.fan_out.take() else { return *budget > 0 };
        while *budget > 0 {
            let Some(member) = self.hub.next_owed(fan_out.channel) else {
                self.fan_outs_done.push(fan_out.publication.accepted_at);
                return true;
            };
            *budget -= 1;
            self.deliver(member.conn, &mut fan_out);
        }
        self.fan_out = Some(fan_out);
        false
    }

    /// Queues one frame for one subscriber, or closes it as too slow.
    fn deliver(&mut self, conn: ConnId, fan_out: &mut FanOut) {
        let limit = self.settings.outbox_bytes;
        let shard_limit = self.settings.outbox_shard_bytes;
        let connection = self.slots.get_mut(conn).expect("members are open connections");
        let outbox = &mut connection.session.outbox;
        let mut frame = &fan_out.frame;
        // Whoever has no room for the plain frame is too slow either way: nothing is compressed for
        // a delivery that is dropped.
        let shard_full = self.outbox_len + frame.len() > shard_limit && !outbox.is_idle();
        if connection.flags.compressed && !shard_full && outbox.has_room(frame.len(), limit) {
            frame = fan_out.compressed.get_or_insert_with(|| {
                self.compression.compress_once(&fan_out.publication, &self.settings, &self.stats)
            });
        }
        if shard_full || outbox.push(FrameBytes::Shared(frame.clone()), limit).is_err() {
            self.close_slow(conn);
            return;
        }
        self.outbox_len += frame.len();
        self.stats.counters.deliveries.add(1);
        self.stats.counters.messages_sent.add(1);
        if !connection.flags.dirty {
            connection.flags.dirty = true;
            self.dirty.push(conn);
        }
    }

    fn close_slow(&mut self, conn: ConnId) {
        let connection = self.slots.get_mut(conn).expect("members are open connections");
        tracing::info!(
            %conn,
            peer = %connection.peer,
            queued_bytes = connection.session.outbox.total_len(),
            "a slow consumer is closed with 3008; its queued publications are dropped"
        );
        self.stats.counters.slow_consumers_disconnected.add(1);
        self.close_dropping(conn, CloseCode::SLOW, "slow consumer");
    }
}
