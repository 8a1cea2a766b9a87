//! A client's commands, one after another.

use std::borrow::Cow;
use std::sync::Arc;

use super::super::Core;
use super::super::slots::{Commands, Held, Until};
use super::client::identity;
use super::connect::Connecting;
use super::hook::Allowed;
use crate::hub::{AskedEpoch, HistoryAsk, Since};
use crate::id::{ChannelName, ConnId};
use crate::limits;
use crate::mail::{Ask, AskReply, Asker, Publish, Question, Reply, Request};
use crate::protocol::centrifuge::code::{Disconnect, ErrorCode};
use crate::protocol::centrifuge::command::{self, Command, Connect, History, Method};
use crate::protocol::centrifuge::reply::{self, Connected};
use crate::protocol::channel::Permitted;
use crate::publication::json::Object;
use crate::publication::{ClientInfo, Payload, PublishOptions};
use crate::session::Keepalive;
use crate::ws::CloseCode;

/// What became of a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was answered, or begun.
    Begun,
    /// It could not be begun yet, and neither can what follows.
    Later(Until),
    /// It was answered with an error that leaves the connection useless: what follows in the same
    /// message was sent in the hope of another answer, and is passed over.
    Refused,
    /// It broke the protocol.
    Disconnect(Disconnect),
    /// A backend wants the connection closed so.
    Dismissed(CloseCode, Arc<str>),
}

impl Core {
    /// Carries out the commands of one message from `start` on, as far as they can be begun; the
    /// rest waits. Replies that are there at once leave together in one frame.
    pub(in crate::shard) fn run_commands(
        &mut self,
        conn: ConnId,
        text: Cow<'_, str>,
        mut start: usize,
    ) {
        let mut replies = std::mem::take(&mut self.replies);
        let mut end = None;
        loop {
            let outcome = match command::next(&text[start..]) {
                Ok(None) => break,
                Err(_) => Outcome::Disconnect(Disconnect::BadRequest),
                Ok(Some((command, consumed))) => {
                    let outcome = self.run_command(conn, command, &mut replies);
                    if matches!(outcome, Outcome::Begun | Outcome::Refused) {
                        self.stats.counters.commands.add(1);
                        start += consumed;
                    }
                    outcome
                }
            };
            match outcome {
                Outcome::Begun => {}
                Outcome::Refused => break,
                Outcome::Later(until) => {
                    let text = text.into_owned();
                    self.put_off_commands(conn, Commands { text, start, until });
                    break;
                }
                Outcome::Disconnect(why) => {
                    end = Some((why.code(), why.reason().into()));
                    break;
                }
                Outcome::Dismissed(code, reason) => {
                    end = Some((code, reason));
                    break;
                }
            }
        }
        self.send_replies(conn, &mut replies);
        self.replies = replies;
        if let Some((code, reason)) = end {
            self.close(conn, Some(code), &reason);
        }
    }

    fn run_command(
        &mut self,
        conn: ConnId,
        Command { id, method }: Command<'_>,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let client = self.client_mut(conn).expect("commands come from clients");
        let is_first = client.awaits_connect();
        if client.unanswered_count >= limits::COMMANDS_UNANSWERED_MAX {
            return Outcome::Later(Until::Answer);
        }
        if client.refused {
            return Outcome::Disconnect(Disconnect::BadRequest);
        }
        match method {
            Method::Connect(connect) if is_first => self.on_connect(conn, id, &connect, out),
            Method::Connect(_) => Outcome::Disconnect(Disconnect::BadRequest),
            _ if is_first => Outcome::Disconnect(Disconnect::BadRequest),
            Method::Subscribe(ask) => self.on_subscribe(conn, id, &ask, out),
            Method::Unsubscribe(ask) => self.on_unsubscribe(conn, id, &ask.channel, out),
            Method::Publish(publish) => self.on_publish(conn, id, &publish, out),
            Method::Presence(ask) => self.on_ask(conn, id, &ask.channel, Question::Presence, out),
            Method::PresenceStats(ask) => {
                self.on_ask(conn, id, &ask.channel, Question::PresenceStats, out)
            }
            Method::History(ask) => {
                self.on_ask(conn, id, &ask.channel, Question::History(history(&ask)), out)
            }
            Method::Send => Outcome::Disconnect(Disconnect::NotAvailable),
            Method::Rpc(rpc) => self.on_rpc(conn, id, &rpc, out),
            Method::Refresh(refresh) => self.on_refresh(conn, id, &refresh.token, out),
            Method::SubRefresh(ask) => self.on_sub_refresh(conn, id, &ask, out),
            Method::Pong => self.on_command_pong(conn),
        }
    }

    /// The first command: the client is let in, and pings begin.
    fn on_connect(
        &mut self,
        conn: ConnId,
        id: u32,
        connect: &Connect<'_>,
        out: &mut Vec<u8>,
    ) -> Outcome {
        if self.client_mut(conn).is_some_and(|client| client.connecting.is_none()) {
            let mut accepted = match self.judge_connect(conn, id, connect, out) {
                Ok(accepted) => accepted,
                Err(outcome) => return outcome,
            };
            let wanted = match self.wanted(conn, &mut accepted.claims, connect) {
                Ok(wanted) => wanted,
                Err(halt) => return self.halt_connect(conn, id, halt, out),
            };
            let data = accepted.claims.data.take();
            self.take_claims(conn, accepted);
            self.headers.remove(&conn);
            let info = self.info_of(conn);
            self.roll.add(&info, conn);
            self.begin_connecting(conn, wanted, data);
        }
        let Connecting { subs, held, data, .. } = match self.go_on_connecting(conn) {
            Ok(made) => *made,
            Err(halt) => return self.halt_connect(conn, id, halt, out),
        };
        let key = self.info_of(conn).client;
        let session = self.sessions.of(key);
        let times = &self.settings.keepalive;
        let keepalive = Keepalive::new(self.time.ms, times, self.random.u64(..));
        tracing::debug!(%conn, client = %key, name = &*connect.name, version = &*connect.version, "connected");
        let ttl = self.connection_ttl(conn);
        let connection = self.slots.get_mut(conn).expect("its command is carried out");
        // Pings in control frames are no business of the SDK.
        let as_messages = !connection.protocol.has_frame_pings();
        let ping_s = as_messages.then(|| times.ping_interval.div_ceil(1000));
        let data = data.as_deref();
        reply::append_connected(out, id, &Connected { session, ping_s, ttl, subs: &subs, data });
        if let Some(awaited) = connection.session.keepalive_mut() {
            *awaited = keepalive;
        }
        self.set_timer(conn);
        self.release(conn, held, out);
        Outcome::Begun
    }

    fn on_command_pong(&mut self, conn: ConnId) -> Outcome {
        let now = self.time.ms;
        let connection = self.slots.get_mut(conn).expect("its command is carried out");
        let frame_pings = connection.protocol.has_frame_pings();
        let keepalive = connection.session.keepalive_mut();
        let Some(keepalive) = keepalive.filter(|one| !frame_pings && one.is_pong_awaited()) else {
            return Outcome::Disconnect(Disconnect::BadRequest);
        };
        keepalive.handle_pong(now, &self.settings.keepalive);
        self.set_timer(conn);
        Outcome::Begun
    }

    fn on_publish(
        &mut self,
        conn: ConnId,
        id: u32,
        publish: &command::Publish<'_>,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let Some(data) = publish.data else {
            return self.refuse_command(id, ErrorCode::BadRequest, out);
        };
        if data.get().len() > self.settings.protocol.publication_size {
            return self.refuse_command(id, ErrorCode::BadRequest, out);
        }
        if publish.kind != 0 {
            return self.refuse_command(id, ErrorCode::NotAvailable, out);
        }
        let channel = &*publish.channel;
        let subscribed = self.is_subscribed(conn, channel);
        let info = self.info_in(conn, channel);
        let verdict = check_name(channel).and_then(|()| {
            let who = identity(&info);
            let decided = self.settings.channels.decide_publish(channel, who, subscribed);
            decided.map_err(ErrorCode::of_denial)
        });
        let mut allowed = Allowed { data: None, skip_history: false };
        match verdict {
            Err(code) => return self.refuse_command(id, code, out),
            Ok(Permitted::Yes) => {}
            Ok(Permitted::IfBackendSays) => {
                match self.consult_publish(conn, id, channel, data.get(), out) {
                    Ok(said) => allowed = said,
                    Err(outcome) => return outcome,
                }
            }
        }
        let asker = Asker { shard: self.id, conn, command: id };
        let publish = Box::new(Publish {
            channel: self.channel_name(channel),
            payload: Payload::text(allowed.data.as_deref().unwrap_or(data.get())),
            options: PublishOptions {
                skip_history: allowed.skip_history,
                ..PublishOptions::default()
            },
            info: Some(info),
            accepted_at: self.time.now,
            reply: Reply::Client(asker),
        });
        match self.send_publish(publish) {
            Ok(()) => self.note_asked(conn),
            Err(publish) => {
                self.stats.counters.mail_full.add(1);
                Outcome::Later(Until::Room(self.owners.owner(&publish.channel)))
            }
        }
    }

    fn on_ask(
        &mut self,
        conn: ConnId,
        id: u32,
        channel: &str,
        question: Question,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let subscribed = self.is_subscribed(conn, channel);
        let info = self.info_of(conn);
        let (channels, who) = (&self.settings.channels, identity(&info));
        let decided = match question {
            Question::History(_) => channels.decide_history(channel, who, subscribed),
            Question::HistoryRemove => unreachable!("no command of a client asks this"),
            Question::Presence | Question::PresenceStats => {
                channels.decide_presence(channel, who, subscribed)
            }
        };
        let verdict = check_name(channel).and(decided.map_err(ErrorCode::of_denial));
        if let Err(code) = verdict {
            return self.refuse_command(id, code, out);
        }
        let asker = Asker { shard: self.id, conn, command: id };
        let ask =
            Ask { channel: self.channel_name(channel), question, reply: AskReply::Client(asker) };
        let owner = self.owners.owner(&ask.channel);
        let counts_clients = matches!(ask.question, Question::Presence | Question::PresenceStats);
        if counts_clients && !self.has_told_leaves(owner) {
            return Outcome::Later(Until::Room(owner));
        }
        if owner != self.id {
            if !self.can_request(owner) {
                return Outcome::Later(Until::Room(owner));
            }
            self.request(owner, Request::Ask(Box::new(ask)));
        } else {
            if !self.can_deliver(owner, 1) {
                return Outcome::Later(Until::Room(owner));
            }
            self.answer(ask);
        }
        self.note_asked(conn)
    }

    /// Notes that an owner will answer.
    pub(super) fn note_asked(&mut self, conn: ConnId) -> Outcome {
        self.client_mut(conn).expect("its command is carried out").unanswered_count += 1;
        Outcome::Begun
    }

    /// Answers a command with an error.
    pub(super) fn refuse_command(
        &mut self,
        id: u32,
        code: ErrorCode,
        out: &mut Vec<u8>,
    ) -> Outcome {
        self.stats.counters.command_errors.add(1);
        reply::append_error(out, id, code);
        Outcome::Begun
    }

    /// Keeps commands for later and stops reading the client.
    fn put_off_commands(&mut self, conn: ConnId, commands: Commands) {
        self.stats.counters.reads_paused.add(1);
        let connection = self.slots.get_mut(conn).expect("its command is carried out");
        connection.flags.paused = true;
        let held = connection.held.get_or_insert_with(Box::<Held>::default);
        debug_assert!(held.commands.is_none(), "commands are carried out in order");
        let waits_for_room = matches!(commands.until, Until::Room(_));
        held.commands = Some(commands);
        if waits_for_room {
            self.parked.push_back(conn);
        }
    }

    /// Whether the client is subscribed to `channel`, and not only about to be.
    fn is_subscribed(&mut self, conn: ConnId, channel: &str) -> bool {
        let found = self.hub.find(channel);
        let client = self.client_mut(conn);
        let slot = client.zip(found).and_then(|(client, channel)| client.find(channel));
        slot.is_some_and(|(_, slot)| slot.subscription().is_some())
    }

    /// The name, shared with the hub if it knows the channel.
    pub(super) fn channel_name(&self, name: &str) -> ChannelName {
        self.hub.find(name).map_or_else(|| name.into(), |id| self.hub.name(id).clone())
    }

    /// Who a connected client is in `channel`: its subscription token may have said more.
    fn info_in(&mut self, conn: ConnId, channel: &str) -> Arc<ClientInfo> {
        let connection_info = self.info_of(conn);
        let found = self.hub.find(channel);
        let client = self.client_mut(conn).expect("its command is carried out");
        let index = found.and_then(|channel| client.find(channel)).map(|(index, _)| index);
        let grant = index.and_then(|index| client.find_grant(index));
        grant.and_then(|grant| grant.info.clone()).unwrap_or(connection_info)
    }

    /// What is known of the client; `None` if the connection is gone.
    pub(in crate::shard) fn client_mut(&mut self, conn: ConnId) -> Option<&mut super::Client> {
        self.slots.get_mut(conn)?.client.as_deref_mut()
    }
}

/// Whether a channel may have this name.
pub(super) fn check_name(name: &str) -> Result<(), ErrorCode> {
    if name.is_empty() || name.len() > limits::CHANNEL_NAME_MAX {
        return Err(ErrorCode::BadRequest);
    }
    Ok(())
}

/// What the owner is asked for; a client gets no more than a page.
fn history(ask: &History<'_>) -> HistoryAsk {
    let limit = usize::try_from(ask.limit).unwrap_or(limits::HISTORY_PAGE_MAX);
    let since = ask.since.as_ref().map(|Object(since)| Since {
        offset: since.offset,
        epoch: AskedEpoch::from_text(&since.epoch),
    });
    HistoryAsk { limit: limit.min(limits::HISTORY_PAGE_MAX), since, reverse: ask.reverse }
}
