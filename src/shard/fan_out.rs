//! One publication to all its subscribers on this shard.

use std::rc::Rc;
use std::sync::Arc;

use super::Core;
use crate::frame::FrameBytes;
use crate::hub::{ChannelId, Member};
use crate::id::ConnId;
use crate::mail::Notice;
use crate::publication::Publication;
use crate::ws::CloseCode;

/// A publication or a notice that is being delivered. The shard counts its subscribers' references
/// with plain integers; the shared value is touched once for each wire form.
#[derive(Debug)]
pub(super) struct FanOut {
    channel: ChannelId,
    /// `None`: a notice, whose one form is there.
    publication: Option<Arc<Publication>>,
    raw: Option<Rc<Arc<[u8]>>>,
    /// For those who agreed on compression, from the first of them on; the plain frame if
    /// compression is of no use.
    compressed: Option<Rc<Arc<[u8]>>>,
    json: Option<Rc<Arc<[u8]>>>,
}

impl FanOut {
    /// Bytes of the forms that were used so far.
    pub(super) fn frame_len(&self) -> usize {
        [&self.raw, &self.json].into_iter().flatten().map(|frame| frame.len()).sum()
    }
}

impl Core {
    pub(super) fn begin_fan_out(&mut self, publication: Arc<Publication>) {
        debug_assert!(self.fan_out.is_none(), "one fan-out at a time");
        let Some(channel) = self.hub.begin_fan_out(&publication.channel) else {
            self.stats.counters.deliveries_undeliverable.add(1);
            return;
        };
        let publication = Some(publication);
        self.fan_out =
            Some(FanOut { channel, publication, raw: None, compressed: None, json: None });
    }

    /// As [`Core::begin_fan_out`], for those who want to know who comes and goes.
    pub(super) fn begin_notice(&mut self, notice: &Notice) {
        debug_assert!(self.fan_out.is_none(), "one fan-out at a time");
        let Some(channel) = self.hub.begin_fan_out(&notice.channel) else { return };
        self.taken_len += notice.frame.len();
        let json = Some(Rc::new(notice.frame.clone()));
        self.fan_out =
            Some(FanOut { channel, publication: None, raw: None, compressed: None, json });
    }

    /// Goes on with the fan-out until everyone has it or the budget is used up. True: there is
    /// budget left.
    pub(super) fn fan_out(&mut self, budget: &mut usize) -> bool {
        let Some(mut fan_out) = self.fan_out.take() else { return *budget > 0 };
        while *budget > 0 {
            let Some(member) = self.hub.next_owed(fan_out.channel) else {
                let accepted_at = fan_out.publication.map(|publication| publication.accepted_at);
                self.fan_outs_done.extend(accepted_at);
                return true;
            };
            *budget -= 1;
            self.deliver(member, &mut fan_out);
        }
        self.fan_out = Some(fan_out);
        false
    }

    /// Queues the form that this subscriber understands, built if it is the first to need it, or
    /// closes it as too slow. A notice is only for those who want to know.
    fn deliver(&mut self, member: Member, fan_out: &mut FanOut) {
        let conn = member.conn;
        let limit = self.settings.outbox_bytes;
        let shard_limit = self.settings.outbox_shard_bytes;
        let connection = self.slots.get_mut(conn).expect("members are open connections");
        let FanOut { publication, raw, compressed, json, .. } = fan_out;
        let counters = &self.stats.counters;
        let taken_len = &mut self.taken_len;
        let mut share = |frame: &Arc<[u8]>| {
            *taken_len += frame.len();
            Rc::new(frame.clone())
        };
        let mut frame = match (&connection.client, &*publication) {
            (None, Some(publication)) => raw.get_or_insert_with(|| share(publication.raw_frame())),
            (Some(_), Some(publication)) => json.get_or_insert_with(|| {
                share(publication.json_frame(|| counters.frames_encoded.add(1)))
            }),
            (Some(client), None) if client.wants_notices(member.subscription_index) => {
                json.as_mut().expect("a notice has its form from the start")
            }
            (_, None) => return,
        };
        let is_client = connection.client.is_some();
        let held = match &mut connection.client {
            Some(client) if connection.flags.connecting => client.held_mut(),
            _ => None,
        };
        let outbox = held.unwrap_or(&mut connection.session.outbox);
        // Whoever has no room for the plain frame is too slow either way: nothing is compressed for
        // a delivery that is dropped.
        let shard_full = self.outbox_len + frame.len() > shard_limit && !outbox.is_idle();
        if let Some(publication) = publication
            && connection.flags.compressed
            && !is_client
            && !shard_full
            && outbox.has_room(frame.len(), limit)
        {
            frame = compressed.get_or_insert_with(|| {
                self.compression.compress_once(publication, &self.settings, &self.stats)
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
