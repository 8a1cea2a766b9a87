//! From bytes to deeds: decode, ask the protocol, carry out.

use std::borrow::Cow;

use super::Core;
use super::slots::{Held, Until};
use crate::frame::FrameBytes;
use crate::id::ConnId;
use crate::limits;
use crate::mail::{Publish, Reply};
use crate::protocol::Reaction;
use crate::protocol::channel::Format;
use crate::publication::{Payload, PublishOptions};
use crate::ring::CloseHow;
use crate::ws::{Decoded, Event, Message, MessageKind, Opcode, encode};

impl Core {
    /// Decodes `input` and carries out what it says, until it ends or the connection pauses; then
    /// the rest waits in the backlog.
    pub(super) fn feed(&mut self, conn: ConnId, mut input: &mut [u8]) {
        while !input.is_empty() {
            let Some(connection) = self.slots.get_mut(conn) else { return };
            if connection.terminating.is_some() {
                return;
            }
            if !connection.session.is_open() {
                if connection.session.discard(input.len()) {
                    self.doom(conn, CloseHow::Reset);
                }
                return;
            }
            if connection.flags.paused {
                let held = connection.held.get_or_insert_with(Box::<Held>::default);
                held.backlog.extend_from_slice(input);
                return;
            }
            let decode_limits = connection.protocol.decode_limits(&self.settings.protocol);
            match connection.session.handle(input, decode_limits) {
                Ok(Decoded { consumed, event }) => {
                    if let Some(event) = event {
                        self.on_event(conn, event);
                    }
                    input = &mut input[consumed..];
                }
                Err(error) => {
                    self.close(conn, Some(error.close_code()), &error.to_string());
                    return;
                }
            }
        }
    }

    /// Decodes the backlog of a connection that is read again.
    pub(super) fn resume(&mut self, conn: ConnId) {
        let Some(connection) = self.slots.get_mut(conn) else { return };
        connection.flags.resume_queued = false;
        connection.flags.paused = false;
        if !connection.awaits_connect()
            && let Some(keepalive) = connection.session.keepalive_mut()
        {
            keepalive.put_off(self.time.ms, &self.settings.keepalive);
        }
        if let Some(held) = connection.held.take() {
            debug_assert!(held.publish.is_none(), "resumed with a publish parked");
            let Held { mut backlog, commands, .. } = *held;
            if let Some(commands) = commands {
                self.run_commands(conn, commands.text.into(), commands.start);
            }
            self.feed(conn, &mut backlog);
        }
        let Some(connection) = self.slots.get_mut(conn) else { return };
        if connection.flags.peer_ended && connection.session.is_open() {
            self.on_peer_end(conn);
        }
    }

    fn on_event(&mut self, conn: ConnId, event: Event<'_>) {
        match event {
            Event::Message(message) => self.on_message(conn, message),
            Event::Ping(payload) => {
                self.append(conn, |out| encode::append_pong(out, &payload));
                self.mark_dirty(conn);
                self.pause_if_full(conn);
            }
            Event::Pong(_) => {
                let now = self.time.ms;
                let Some(connection) = self.slots.get_mut(conn) else { return };
                // Nor does it stand for a command that is still owed.
                if connection.protocol.has_frame_pings()
                    && !connection.awaits_connect()
                    && let Some(keepalive) = connection.session.keepalive_mut()
                {
                    keepalive.handle_pong(now, &self.settings.keepalive);
                    self.set_timer(conn);
                }
            }
            Event::Close(body) => {
                // The answer carries the peer's code (RFC 6455 section 5.5.1).
                self.close(conn, body.map(|(code, _)| code), "");
            }
        }
    }

    fn on_message(&mut self, conn: ConnId, message: Message<'_>) {
        self.stats.counters.messages_received.add(1);
        if message.compressed { self.inflate(conn, &message) } else { self.react(conn, message) }
    }

    /// Carries out what a message leads to. It is not compressed, or not read.
    pub(super) fn react(&mut self, conn: ConnId, message: Message<'_>) {
        let Some(connection) = self.slots.get_mut(conn) else { return };
        match connection.protocol.react(message, &self.settings.protocol) {
            Reaction::Reply(message) => {
                if connection.flags.compressed {
                    self.reply_compressed(conn, message);
                } else {
                    self.reply(conn, message);
                }
                self.pause_if_full(conn);
            }
            Reaction::Publish(payload) => self.publish_from(conn, payload),
            Reaction::Commands(text) => self.run_commands(conn, text, 0),
            Reaction::Close(code, reason) => self.close(conn, Some(code), reason),
        }
    }

    pub(super) fn reply(&mut self, conn: ConnId, message: Message<'_>) {
        self.stats.counters.messages_sent.add(1);
        match message.payload {
            // A large message that was gathered is sent from where it lies.
            Cow::Owned(payload) if payload.len() > limits::SEND_GATHER_MAX => {
                let opcode = match message.kind {
                    MessageKind::Text => Opcode::Text,
                    MessageKind::Binary => Opcode::Binary,
                };
                self.append(conn, |out| encode::append_header(out, true, opcode, payload.len()));
                let Some(connection) = self.slots.get_mut(conn) else { return };
                self.outbox_len += payload.len();
                let pushed = connection.session.outbox.push(FrameBytes::Owned(payload), usize::MAX);
                pushed.expect("no limit was given: reading pauses instead");
            }
            payload => {
                self.append(conn, |out| encode::append_message(out, message.kind, &payload));
            }
        }
        self.mark_dirty(conn);
    }

    /// Stops reading a peer that does not read: its outbox is at its limit.
    pub(super) fn pause_if_full(&mut self, conn: ConnId) {
        let limit = self.settings.outbox_bytes;
        let Some(connection) = self.slots.get_mut(conn) else { return };
        if connection.session.outbox.total_len() >= limit && !connection.flags.paused {
            connection.flags.paused = true;
            self.stats.counters.reads_paused.add(1);
        }
    }

    /// Reads a peer again whose outbox has emptied to half, unless its publish is still parked.
    /// What may be dropped does not count: that of a slow reader may be full for ever.
    pub(super) fn resume_if_drained(&mut self, conn: ConnId) {
        let low = self.settings.outbox_bytes / 2;
        let Some(connection) = self.slots.get_mut(conn) else { return };
        let outbox = &connection.session.outbox;
        if connection.flags.paused
            && connection.session.is_open()
            && !connection.held.as_deref().is_some_and(Held::is_parked)
            && (outbox.total_len() <= low || outbox.firm_len() <= low)
        {
            self.queue_resume(conn);
        }
    }

    /// Publishes for a client of the raw protocol. Without room on the way the client is not read
    /// until there is.
    fn publish_from(&mut self, conn: ConnId, payload: Payload) {
        let Some(connection) = self.slots.get_mut(conn) else { return };
        let Some(first) = connection.subscriptions.first() else { return };
        let channel = self.hub.name(first.channel).clone();
        if self.options_of(&channel).format == Format::Json && !payload.is_json() {
            self.refuse_publication(conn, &channel);
            return;
        }
        let publish = Box::new(Publish {
            channel,
            payload,
            options: PublishOptions::default(),
            info: None,
            accepted_at: self.time.now,
            reply: Reply::ClientOnFailure { shard: self.id, conn },
        });
        if let Err(publish) = self.send_publish(publish) {
            self.stats.counters.mail_full.add(1);
            self.stats.counters.reads_paused.add(1);
            let connection = self.slots.get_mut(conn).expect("still there");
            connection.flags.paused = true;
            connection.held.get_or_insert_with(Box::<Held>::default).publish = Some(publish);
            self.parked.push_back(conn);
        }
    }

    /// Counts a message that is no JSON where JSON is wanted, and says so in the log, now and then:
    /// the raw protocol has no words for it, and nobody is disconnected.
    fn refuse_publication(&mut self, conn: ConnId, channel: &str) {
        self.stats.counters.publications_refused.add(1);
        if self.time.ms >= self.next_refusal_log {
            self.next_refusal_log = self.time.ms + limits::REFUSAL_LOG_INTERVAL_MS;
            let peer = self.slots.get_mut(conn).map(|connection| connection.peer);
            tracing::warn!(
                %conn, ?peer, ?channel,
                "a message that is no JSON was not published; to allow any bytes, set \
                 publication_format = \"binary\" for the channel"
            );
        }
    }

    /// Tries parked publishes and commands again, in order, each until it finds no room.
    pub(super) fn retry_parked(&mut self) {
        for _ in 0..self.parked.len() {
            let conn = self.parked.pop_front().expect("counted");
            let held = self.slots.get_mut(conn).and_then(|c| c.held.as_mut());
            let Some(held) = held else { continue };
            if let Some(until) = held.commands.as_ref().map(|commands| commands.until) {
                match until {
                    Until::Room(owner) if owner != self.id && !self.can_request(owner) => {
                        self.parked.push_back(conn);
                    }
                    Until::Room(_) => self.queue_resume(conn),
                    Until::Answer => {}
                }
                continue;
            }
            let Some(publish) = held.publish.take() else { continue };
            match self.send_publish(publish) {
                Ok(()) => self.resume_if_drained(conn),
                Err(publish) => {
                    let held = self.slots.get_mut(conn).and_then(|c| c.held.as_mut());
                    held.expect("just taken from").publish = Some(publish);
                    self.parked.push_back(conn);
                }
            }
        }
    }
}
