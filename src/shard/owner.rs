//! What a shard does as the owner of a channel: number, let in, let out, answer.
//!
//! Everything here needs room in the lanes it answers through, which is looked at before: what is
//! begun is finished in one step.

use std::sync::Arc;

use super::Core;
use crate::frame::DropPolicy;
use crate::hub::{Fate, JoinAsk, Published, StreamOptions};
use crate::id::ShardId;
use crate::mail::{
    Answer, Ask, AskReply, Delivery, Join, Joined, Leave, Notice, Publish, PublishError, Question,
    Reply, Visibility,
};
use crate::protocol::centrifuge::reply::{self, Change};
use crate::protocol::channel::{ChannelOptions, Format, SlowConsumer};
use crate::publication::{ClientInfo, Draft, Publication};

impl Core {
    /// Registers a shard's interest and answers; everything numbered from here on follows the
    /// answer in the same lane.
    pub(super) fn answer_interest(&mut self, from: ShardId, channel: Arc<str>) {
        let position = self.hub.on_interest(&channel, from, self.time.ms).ok();
        self.deliver_to(from, Delivery::Registered { channel, position });
    }

    /// Forgets a shard's interest.
    pub(super) fn end_interest(&mut self, from: ShardId, channel: Arc<str>) {
        if self.hub.on_disinterest(&channel, from, self.time.ms) {
            self.note_vacated(channel);
        }
    }

    /// Gives the publication its offset and sends it to every shard that listens. Comes back,
    /// unnumbered, when one of them has no room.
    pub(super) fn number(&mut self, publish: Box<Publish>) -> Result<(), Box<Publish>> {
        let has_room = match &publish.reply {
            Reply::Client(asker) => self.has_room_for_both(&publish.channel, asker.shard),
            Reply::Control(_) | Reply::ClientOnFailure { .. } => {
                self.has_room_for(&publish.channel)
            }
        };
        if !has_room {
            return Err(publish);
        }
        let Publish { channel, payload, options: asked, info, accepted_at, reply } = *publish;
        let mut drop_policy = None;
        let result = match self.settings.channels.options(&channel) {
            Err(_) => Err(PublishError::UnknownChannel),
            Ok(options) if options.format == Format::Json && !payload.is_json() => {
                Err(PublishError::NotJson)
            }
            Ok(options) => {
                drop_policy = drop_policy_of(options);
                let options = stream_options(options);
                let draft = Draft { payload, info, time_ms: self.time.unix_ms, options: asked };
                let published = self.hub.publish(&channel, draft, &options, self.time.ms);
                published.map_err(|_| PublishError::ChannelsFull)
            }
        };
        let result = result.map(|Published { position, interest, fate }| {
            if let Fate::Accepted(entry) = fate {
                self.stats.counters.publications.add(1);
                if let Some(entry) = entry.filter(|_| !interest.is_empty()) {
                    self.stats.counters.frames_encoded.add(1);
                    let epoch = position.epoch;
                    let publication = Publication::new(channel, epoch, entry, accepted_at);
                    let publication = Arc::new(publication.with_drop_policy(drop_policy));
                    for shard in interest.iter() {
                        self.deliver_to(shard, Delivery::Publication(publication.clone()));
                    }
                }
            }
            position
        });
        match (reply, result) {
            (Reply::Control(reply), result) => {
                // Nobody waits any more when the HTTP client is gone.
                let _ = reply.send(result);
            }
            (Reply::Client(asker), result) => {
                let (conn, command) = (asker.conn, asker.command);
                self.deliver_to(asker.shard, Delivery::Published { conn, command, result });
            }
            (Reply::ClientOnFailure { shard, conn }, Err(error)) => {
                self.deliver_to(shard, Delivery::PublishFailed { conn, error });
            }
            (Reply::ClientOnFailure { .. }, Ok(_)) => {}
        }
        Ok(())
    }

    /// Refuses what [`Core::number`] gave back.
    pub(super) fn answer_full(&mut self, publish: Publish) {
        self.stats.counters.mail_full.add(1);
        match publish.reply {
            Reply::Control(reply) => {
                // Nobody waits any more when the HTTP client is gone.
                let _ = reply.send(Err(PublishError::MailboxFull));
            }
            Reply::ClientOnFailure { .. } | Reply::Client(_) => {
                unreachable!("its room was looked at before")
            }
        }
    }

    /// Lets a client in: its shard listens from now on, and is told where it begins.
    pub(super) fn let_in(&mut self, join: Join) {
        let Join { channel, subscriber, ticket, recover, info, visibility } = join;
        let options = self.options_of(&channel);
        let ask = JoinAsk { recover, presence: visibility.presence.then(|| info.clone()) };
        let (stream, now) = (stream_options(&options), self.time.ms);
        let result = self.hub.join(&channel, subscriber.shard, ask, &stream, now);
        let notice = (visibility.join_leave && result.is_ok())
            .then(|| self.send_notice(&channel, Change::Join, &info, Some(subscriber.shard)));
        let joined = Joined { subscriber, ticket, result, notice };
        self.deliver_to(subscriber.shard, Delivery::Joined(Box::new(joined)));
    }

    /// Forgets a client that was let in.
    pub(super) fn let_out(&mut self, leave: &Leave) {
        if leave.visibility.presence {
            self.hub.leave(&leave.channel, leave.info.client, self.time.ms);
        }
        if leave.visibility.join_leave {
            self.send_notice(&leave.channel, Change::Leave, &leave.info, None);
        }
    }

    /// Answers a question about a channel.
    pub(super) fn answer(&mut self, ask: Ask) {
        let Ask { channel, question, reply } = ask;
        let answer = match question {
            Question::History(ask) => {
                let options = stream_options(&self.options_of(&channel));
                Answer::History(self.hub.history(&channel, ask, &options, self.time.ms))
            }
            Question::Presence => Answer::Presence(self.hub.presence(&channel)),
            Question::PresenceStats => Answer::PresenceStats(self.hub.presence_stats(&channel)),
            Question::HistoryRemove => {
                self.hub.history_remove(&channel);
                Answer::HistoryRemoved
            }
        };
        match reply {
            AskReply::Client(asker) => {
                let answer = Box::new(answer);
                self.deliver_to(asker.shard, Delivery::Answer { asker, answer });
            }
            AskReply::Control(reply) => {
                // Nobody waits any more when the HTTP client is gone.
                let _ = reply.send(answer);
            }
        }
    }

    /// Whether there is room for the answer to a join, and for the news of it.
    pub(super) fn can_let_in(&self, join: &Join) -> bool {
        self.has_room_for_notice(&join.channel, join.visibility)
            && self.can_deliver(join.subscriber.shard, 1)
    }

    /// Whether every shard that listens has room for the news of who comes and goes, if it is told.
    pub(super) fn has_room_for_notice(&self, channel: &str, visibility: Visibility) -> bool {
        !visibility.join_leave || self.has_room_for(channel)
    }

    /// Whether every shard that listens to `channel` has room for one more publication; asks to be
    /// woken by those that have not.
    pub(super) fn has_room_for(&self, channel: &str) -> bool {
        self.hub.interest(channel).iter().all(|shard| self.can_deliver(shard, 1))
    }

    /// As [`Core::has_room_for`], and for an answer to `asker` too.
    pub(super) fn has_room_for_both(&self, channel: &str, asker: ShardId) -> bool {
        let interest = self.hub.interest(channel);
        interest.iter().all(|shard| self.can_deliver(shard, 1 + usize::from(shard == asker)))
            && self.can_deliver(asker, 1)
    }

    /// Tells every shard that listens who came or went, all but `but`. Gives the notice.
    fn send_notice(
        &mut self,
        channel: &Arc<str>,
        change: Change,
        info: &ClientInfo,
        but: Option<ShardId>,
    ) -> Arc<Notice> {
        self.stats.counters.frames_encoded.add(1);
        let frame = reply::change_frame(channel, change, info);
        let notice = Arc::new(Notice { channel: channel.clone(), frame });
        for shard in self.hub.interest(channel).iter().filter(|shard| Some(*shard) != but) {
            self.deliver_to(shard, Delivery::Notice(notice.clone()));
        }
        notice
    }

    /// The options of a channel that some shard has found before: all have the same table.
    pub(super) fn options_of(&self, channel: &str) -> ChannelOptions {
        **self.settings.channels.options(channel).expect("every shard has the same namespaces")
    }
}

/// Whether and when readers that do not keep up may miss publications of a channel.
pub(super) fn drop_policy_of(options: &ChannelOptions) -> Option<DropPolicy> {
    match options.slow_consumer {
        SlowConsumer::Disconnect => None,
        SlowConsumer::DropOldest => Some(DropPolicy::Oldest),
        SlowConsumer::Newest => Some(DropPolicy::Superseded),
    }
}

/// What the stream of a channel with these options keeps.
fn stream_options(options: &ChannelOptions) -> StreamOptions {
    options.history.map_or_else(StreamOptions::default, |history| StreamOptions {
        history_size: history.size as usize,
        history_ttl_ms: history.ttl_ms,
        history_meta_ttl_ms: history.meta_ttl_ms,
    })
}
