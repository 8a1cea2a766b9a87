//! Publications to all their subscribers on this shard.
//!
//! Publications of one channel that wait together are delivered as one run of bytes: each
//! subscriber is looked at once for all of them, and all share the joined bytes.

use std::sync::Arc;

use super::Core;
use super::owner::drop_policy_of;
use super::slots::Connection;
use crate::frame::{DropPolicy, FrameBytes};
use crate::hub::{ChannelId, Member};
use crate::id::ConnId;
use crate::limits::OUTBOX_LOOKS_PER_DELIVERY as LOOKS_PER_DELIVERY;
use crate::mail::Notice;
use crate::protocol::Protocol;
use crate::publication::{Form, Publication};
use crate::session::{Dropped, Outbox};
use crate::stats::{ShardCounters, ShardStats};
use crate::ws::CloseCode;

/// Publications or a notice that are being delivered. The shard counts its subscribers' references
/// with plain integers; the shared value is touched once for each wire form.
#[derive(Debug)]
pub(super) struct FanOut {
    channel: ChannelId,
    /// `None`: a notice, whose one form is there.
    publications: Option<Joined>,
    /// Whether and when something may be dropped for it. Notices are never dropped themselves.
    drop_policy: Option<DropPolicy>,
    /// By [`Form`].
    forms: [Forms; 2],
}

/// Publications of one channel, in order.
#[derive(Debug)]
struct Joined {
    first: Arc<Publication>,
    /// Mostly there is none.
    following: Vec<Arc<Publication>>,
}

/// The frames of one wire form, each from the first subscriber on that needs it.
#[derive(Debug, Default)]
struct Forms {
    plain: Option<FrameBytes>,
    /// For those who agreed on compression; the plain frame if compression is of no use.
    compressed: Option<FrameBytes>,
}

impl FanOut {
    fn new(channel: ChannelId, drop_policy: Option<DropPolicy>) -> Self {
        Self { channel, publications: None, drop_policy, forms: Default::default() }
    }

    /// Bytes of the forms that were used so far.
    pub(super) fn frame_len(&self) -> usize {
        self.forms.iter().flat_map(|form| &form.plain).map(FrameBytes::len).sum()
    }
}

impl Joined {
    fn count(&self) -> usize {
        1 + self.following.len()
    }

    fn iter(&self) -> impl Iterator<Item = &Publication> {
        std::iter::once(&self.first).chain(&self.following).map(Arc::as_ref)
    }

    /// Their frames as one run of bytes; those of a single one as they are.
    fn frame<'a>(
        &'a self,
        mut frame_of: impl FnMut(&'a Publication) -> &'a Arc<[u8]>,
    ) -> Arc<[u8]> {
        if self.following.is_empty() {
            return frame_of(&self.first).clone();
        }
        let mut frames = Vec::with_capacity(self.iter().map(Publication::frame_size).sum());
        self.iter().for_each(|one| frames.extend_from_slice(frame_of(one)));
        frames.into()
    }
}

impl Core {
    /// Begins to deliver a publication, with those that wait behind it in `lane` and can be
    /// delivered as one with it.
    pub(super) fn begin_fan_out(&mut self, first: Arc<Publication>, lane: usize) {
        debug_assert!(self.fan_out.is_none(), "one fan-out at a time");
        let Some(channel) = self.hub.begin_fan_out(&first.channel) else {
            self.stats.counters.deliveries_undeliverable.add(1);
            return;
        };
        let fan_out = FanOut::new(channel, first.drop_policy);
        let following = self.take_following(&first, lane);
        self.fan_out = Some(FanOut { publications: Some(Joined { first, following }), ..fan_out });
    }

    /// As [`Core::begin_fan_out`], for those who want to know who comes and goes.
    pub(super) fn begin_notice(&mut self, notice: &Notice) {
        debug_assert!(self.fan_out.is_none(), "one fan-out at a time");
        let Some(channel) = self.hub.begin_notice(&notice.channel) else { return };
        self.taken_len += notice.frame.len();
        let frame = FrameBytes::shared(notice.frame.clone(), channel.number(), None);
        let drop_policy = drop_policy_of(&self.options_of(&notice.channel));
        let mut fan_out = FanOut::new(channel, drop_policy);
        fan_out.forms[Form::Json as usize].plain = Some(frame);
        self.fan_out = Some(fan_out);
    }

    /// Goes on with the fan-out until everyone has it or the budget is used up. True: there is
    /// budget left.
    pub(super) fn fan_out(&mut self, budget: &mut usize) -> bool {
        let Some(mut fan_out) = self.fan_out.take() else { return *budget > 0 };
        while *budget > 0 {
            let Some(member) = self.hub.next_owed(fan_out.channel) else {
                let publications = fan_out.publications.iter().flat_map(Joined::iter);
                self.fan_outs_done.extend(publications.map(|one| one.accepted_at));
                return true;
            };
            let cost = self.deliver(member, &mut fan_out);
            *budget = budget.saturating_sub(cost);
        }
        self.fan_out = Some(fan_out);
        false
    }

    /// Queues the form that this subscriber understands, built if it is the first to need it, or
    /// closes it as too slow. A notice is only for those who want to know. Returns what that costs
    /// of a turn's budget.
    fn deliver(&mut self, member: Member, fan_out: &mut FanOut) -> usize {
        let conn = member.conn;
        let connection = self.slots.get_mut(conn).expect("members are open connections");
        let FanOut { channel, publications, drop_policy, forms } = fan_out;
        let publications = publications.as_ref();
        let counters = &self.stats.counters;
        let share = |frame| FrameBytes::shared(frame, channel.number(), *drop_policy);
        let Some(form) = form_for(connection, member, publications.is_some()) else { return 1 };
        let plain_of = |publication| plain_frame(publication, form, counters);
        let Forms { plain, compressed } = &mut forms[form as usize];
        let mut frame = match publications {
            None => plain.as_ref().expect("a notice has its form from the start"),
            Some(joined) => plain.get_or_insert_with(|| {
                let frame = joined.frame(plain_of);
                self.taken_len += frame.len();
                share(frame)
            }),
        };
        let held = match connection.flags.connecting {
            true => connection.client.as_mut().and_then(|client| client.held_mut()),
            false => None,
        };
        let outbox = held.unwrap_or(&mut connection.session.outbox);
        // What is left to the shard bounds this connection too.
        let shard_room = self.settings.outbox_shard_bytes.saturating_sub(self.outbox_len);
        let limit = self.settings.outbox_bytes.min(outbox.total_len().saturating_add(shard_room));
        let pressed = drop_policy.filter(|policy| outbox.is_pressed(*policy, frame.len(), limit));
        let dropped = pressed.map(|_| make_room(outbox, frame, limit, &self.stats));
        self.outbox_len -= dropped.map_or(0, |dropped| dropped.len);
        // Whoever has no room for the plain frame is too slow either way: nothing is compressed for
        // a delivery that is dropped.
        if let Some(joined) = publications
            && connection.flags.compressed
            && outbox.has_room(frame.len(), limit)
        {
            frame = compressed.get_or_insert_with(|| {
                let (settings, stats) = (&self.settings, &self.stats);
                share(joined.frame(|one| {
                    let plain = plain_of(one);
                    let made = self.compression.compress_once(one, form, plain, settings, stats);
                    made.unwrap_or(plain)
                }))
            });
        }
        let cost = 1 + dropped.map_or(0, |dropped| dropped.looked_at) / LOOKS_PER_DELIVERY;
        let pushed = match dropped {
            None => outbox.push(frame.clone(), limit),
            Some(dropped) => outbox.push_after(dropped, frame.clone(), limit),
        };
        if pushed.is_err() {
            self.close_slow(conn);
            return cost;
        }
        self.outbox_len += frame.len();
        let count = publications.map_or(1, Joined::count) as u64;
        counters.deliveries.add(count);
        counters.messages_sent.add(count);
        if !connection.flags.dirty {
            connection.flags.dirty = true;
            self.dirty.push(conn);
        }
        cost
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

/// The form a member understands; `None`: a notice that it does not want.
fn form_for(connection: &Connection, member: Member, is_publication: bool) -> Option<Form> {
    match connection.protocol {
        Protocol::Echo | Protocol::Raw { .. } => is_publication.then_some(Form::Raw),
        Protocol::Centrifuge { .. } => {
            (is_publication || member.wants_notices).then_some(Form::Json)
        }
    }
}

/// A publication in the form that subscribers of one protocol get, built if it is the first to be.
fn plain_frame<'a>(
    publication: &'a Publication,
    form: Form,
    counters: &ShardCounters,
) -> &'a Arc<[u8]> {
    match form {
        Form::Raw => publication.raw_frame(),
        Form::Json => publication.json_frame(|| counters.frames_encoded.add(1)),
    }
}

/// Drops and counts what a slow reader is to miss for `frame`.
#[cold]
fn make_room(outbox: &mut Outbox, frame: &FrameBytes, limit: usize, stats: &ShardStats) -> Dropped {
    let superseding = match frame {
        FrameBytes::Droppable(frame) if frame.policy == DropPolicy::Superseded => {
            Some(frame.channel)
        }
        _ => None,
    };
    let dropped = outbox.make_room(frame.len(), limit, superseding);
    stats.counters.publications_dropped_oldest.add(dropped.oldest_count);
    stats.counters.publications_superseded.add(dropped.superseded_count);
    stats.counters.outbox_dropped_bytes.add(dropped.len as u64);
    dropped
}
