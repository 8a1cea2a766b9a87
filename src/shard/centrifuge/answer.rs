//! From owners' answers to replies.

use super::super::Core;
use crate::hub::HistoryFault;
use crate::id::ConnId;
use crate::mail::{Answer, Asker, PublishError, PublishResult};
use crate::protocol::centrifuge::code::ErrorCode;
use crate::protocol::centrifuge::reply::{self, Done};
use crate::ws::{CloseCode, MessageKind, encode};

impl Core {
    /// What became of a client's publish.
    pub(in crate::shard) fn on_published(
        &mut self,
        conn: ConnId,
        command: u32,
        result: PublishResult,
    ) {
        self.reply_with(conn, |core, out| match result {
            Ok(_) => reply::append_done(out, command, Done::Publish),
            Err(error) => {
                let code = match error {
                    PublishError::UnknownChannel => ErrorCode::UnknownChannel,
                    PublishError::NotJson => ErrorCode::BadRequest,
                    PublishError::MailboxFull
                    | PublishError::ChannelsFull
                    | PublishError::Stopping => ErrorCode::Internal,
                };
                core.refuse_command(command, code, out);
            }
        });
    }

    /// The answer to a client's question.
    pub(in crate::shard) fn on_answer(&mut self, asker: Asker, answer: &Answer) {
        let id = asker.command;
        self.reply_with(asker.conn, |core, out| match answer {
            Answer::History(Ok(page)) => {
                reply::append_history(out, id, page.position, &page.publications);
            }
            Answer::History(Err(fault)) => {
                let code = match fault {
                    HistoryFault::Unrecoverable => ErrorCode::UnrecoverablePosition,
                    HistoryFault::ChannelsFull(_) => ErrorCode::Internal,
                };
                core.refuse_command(id, code, out);
            }
            Answer::Presence(clients) => reply::append_presence(out, id, clients),
            Answer::PresenceStats(stats) => {
                reply::append_presence_stats(out, id, stats.num_clients, stats.num_users);
            }
            Answer::HistoryRemoved => unreachable!("no command of a client asks this"),
        });
    }

    /// Sends the reply to a command that an owner has answered, and goes on with commands that
    /// waited for that.
    pub(super) fn reply_with(&mut self, conn: ConnId, fill: impl FnOnce(&mut Self, &mut Vec<u8>)) {
        let Some(connection) = self.slots.get_mut(conn) else {
            return self.stats.counters.ring_stale.add(1);
        };
        let client = connection.client.as_mut().expect("only clients ask");
        client.unanswered_count -= 1;
        if !connection.session.is_open() || connection.terminating.is_some() {
            return;
        }
        let mut replies = std::mem::take(&mut self.replies);
        fill(self, &mut replies);
        self.send_replies(conn, &mut replies);
        self.replies = replies;
        self.resume_commands(conn);
    }

    /// Goes on with commands of the client that waited for an answer.
    pub(super) fn resume_commands(&mut self, conn: ConnId) {
        let Some(connection) = self.slots.get_mut(conn) else { return };
        if connection.held.as_ref().is_some_and(|held| held.commands.is_some()) {
            self.queue_resume(conn);
        }
    }

    /// Sends `replies` in one text frame and empties it. A reply is not held to the outbox limit,
    /// for the client asked for it; but while more waits for it than that, it is not read, and
    /// without room in the shard it is closed as a slow consumer.
    pub(super) fn send_replies(&mut self, conn: ConnId, replies: &mut Vec<u8>) {
        if replies.is_empty() {
            return;
        }
        let Some(connection) = self.slots.get_mut(conn) else { return replies.clear() };
        if connection.flags.connecting {
            return self.hold_back(conn, replies);
        }
        let is_idle = connection.session.outbox.is_idle();
        if !is_idle && self.outbox_len + replies.len() > self.settings.outbox_shard_bytes {
            self.stats.counters.slow_consumers_disconnected.add(1);
            self.close_dropping(conn, CloseCode::SLOW, "slow consumer");
        } else {
            self.stats.counters.messages_sent.add(1);
            self.append(conn, |out| encode::append_message(out, MessageKind::Text, replies));
            self.mark_dirty(conn);
            self.pause_if_full(conn);
        }
        replies.clear();
        replies.shrink_to(crate::limits::SEND_GATHER_MAX);
    }
}
