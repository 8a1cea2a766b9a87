//! What a client is subscribed to from its connect command on, without asking for each.
//!
//! A connect command with such subscriptions waits at the head of the client's commands until every
//! owner has answered, and is then carried out from its text once more. Until its reply is there,
//! nothing else may reach the client: it knows nothing of its subscriptions and would pass their
//! publications over. What is for it meanwhile is held back, within the limit of its outbox.

use std::sync::Arc;

use super::super::Core;
use super::super::slots::Until;
use super::asked::{Asked, By};
use super::client::identity_of;
use super::command::{Outcome, check_name};
use super::hook::Renewal;
use super::token::Grant;
use crate::frame::FrameBytes;
use crate::hub::{AskedEpoch, Since};
use crate::id::ConnId;
use crate::limits;
use crate::protocol::centrifuge::code::{Disconnect, ErrorCode};
use crate::protocol::centrifuge::command::{Connect, Resume};
use crate::protocol::centrifuge::reply::{self, Subscribed};
use crate::protocol::channel::{Format, Permitted};
use crate::protocol::claims::{ConnectClaims, ServerSubscription};
use crate::publication::json::Object;
use crate::session::Outbox;
use crate::ws::{CloseCode, MessageKind, encode};

/// A connect command whose subscriptions are being made.
#[derive(Debug)]
pub(super) struct Connecting {
    wanted: Vec<Wanted>,
    /// How many of them were begun, in order.
    begun_count: usize,
    /// How many of those the owners have not answered.
    unanswered_count: usize,
    /// Members of the reply's `subs`, as far as there are answers.
    pub(super) subs: Vec<u8>,
    /// Why the client is not let in.
    failed: Option<ErrorCode>,
    /// What is for the client once it has the reply.
    pub(super) held: Outbox,
    /// JSON from a backend, for the reply.
    pub(super) data: Option<Arc<str>>,
}

/// One subscription to be made.
#[derive(Debug)]
pub(super) struct Wanted {
    subscription: ServerSubscription,
    /// The last publication that the client says to have seen.
    since: Option<Since>,
}

/// Why a connect command goes no further.
#[derive(Debug)]
pub(super) enum Halt {
    /// It cannot, for now.
    Later(Until),
    /// The client is not let in.
    Refused(ErrorCode),
    /// The client is to have more subscriptions than it may.
    TooMany,
}

impl Core {
    /// What a client with these claims is to be subscribed to: what they say, its personal channel,
    /// and what it had before, if it may subscribe to that by itself.
    pub(super) fn wanted(
        &self,
        conn: ConnId,
        claims: &mut ConnectClaims,
        connect: &Connect<'_>,
    ) -> Result<Vec<Wanted>, Halt> {
        let channels = &self.settings.channels;
        let mut wanted = Vec::new();
        for subscription in std::mem::take(&mut claims.subscriptions) {
            let resume = connect.subs.get(&*subscription.channel);
            wanted.push(Wanted::new(subscription, resume));
        }
        let personal = channels.personal_channel(&claims.user).map_err(|denied| {
            tracing::info!(%conn, user = ?claims.user, "refused a client whose user can have no personal channel");
            Halt::Refused(ErrorCode::of_denial(denied))
        })?;
        if let Some(name) = personal
            && wanted.iter().all(|one| *one.subscription.channel != *name)
        {
            let resume = connect.subs.get(&*name);
            wanted.push(Wanted::new(ServerSubscription::plain(name.into()), resume));
        }
        for Wanted { subscription: ServerSubscription { channel, .. }, .. } in &wanted {
            self.check_wanted(channel).map_err(|code| {
                tracing::info!(%conn, %channel, why = code.message(), "refused a client that is to be subscribed");
                Halt::Refused(code)
            })?;
        }
        let who = identity_of(&claims.user);
        for (name, resume) in &connect.subs {
            let may = self.check_wanted(name).is_ok()
                && channels.decide_subscribe(name, who) == Ok(Permitted::Yes)
                && wanted.iter().all(|one| *one.subscription.channel != **name);
            if may && wanted.len() <= limits::CHANNELS_PER_CONNECTION_MAX {
                let subscription = ServerSubscription::plain(self.channel_name(name));
                wanted.push(Wanted::new(subscription, Some(resume)));
            }
        }
        if wanted.len() > limits::CHANNELS_PER_CONNECTION_MAX {
            return Err(Halt::TooMany);
        }
        Ok(wanted)
    }

    /// Whether any client could be subscribed to this channel.
    fn check_wanted(&self, channel: &str) -> Result<(), ErrorCode> {
        check_name(channel)?;
        let options = self.settings.channels.options(channel).map_err(ErrorCode::of_denial)?;
        // What is no JSON could not be sent to this client.
        if options.format == Format::Binary { Err(ErrorCode::NotAvailable) } else { Ok(()) }
    }

    /// Notes what a client is to be subscribed to before its connect command is answered.
    pub(super) fn begin_connecting(
        &mut self,
        conn: ConnId,
        wanted: Vec<Wanted>,
        data: Option<Arc<str>>,
    ) {
        let connection = self.slots.get_mut(conn).expect("its command is carried out");
        connection.flags.connecting = true;
        let client = connection.client.as_mut().expect("only clients connect");
        client.connecting = Some(Box::new(Connecting {
            wanted,
            begun_count: 0,
            unanswered_count: 0,
            subs: Vec::new(),
            failed: None,
            held: Outbox::default(),
            data,
        }));
    }

    /// Goes on with the subscriptions of a connect command. Once all are made, or there are none:
    /// what the reply says of them, and what is to follow it.
    pub(super) fn go_on_connecting(&mut self, conn: ConnId) -> Result<Box<Connecting>, Halt> {
        loop {
            let connecting = self.connecting_mut(conn);
            if let Some(code) = connecting.failed {
                return Err(Halt::Refused(code));
            }
            if connecting.begun_count < connecting.wanted.len() {
                self.begin_wanted(conn)?;
            } else if connecting.unanswered_count > 0 {
                return Err(Halt::Later(Until::Answer));
            } else {
                break;
            }
        }
        let connection = self.slots.get_mut(conn).expect("its command is carried out");
        connection.flags.connecting = false;
        let client = connection.client.as_mut().expect("just found");
        Ok(client.connecting.take().expect("just found"))
    }

    /// Begins the next subscription of a connect command.
    fn begin_wanted(&mut self, conn: ConnId) -> Result<(), Halt> {
        let (subscription, since) = {
            let wanted = self.connecting_mut(conn).next_wanted();
            (wanted.subscription.clone(), wanted.since)
        };
        let ServerSubscription { channel, info, data, overrides } = subscription;
        let asked = Asked::by_server(By::Connect, since, &self.options_of(&channel), &overrides);
        let found = self.hub.find(&channel);
        let client = self.client_mut(conn).expect("its command is carried out");
        if found.is_some_and(|channel| client.find(channel).is_some()) {
            // A backend was faster, and tells the client.
            self.connecting_mut(conn).begun_count += 1;
            return Ok(());
        }
        let index = client.free_index().ok_or(Halt::TooMany)?;
        let owner = self.owners.owner(&channel);
        if !self.can_join(owner, &channel, asked.visibility) {
            return Err(Halt::Later(Until::Room(owner)));
        }
        let ticket = self.hub.begin_join(&channel);
        let ticket = ticket.map_err(|_| Halt::Refused(ErrorCode::Internal))?;
        let connecting = self.connecting_mut(conn);
        connecting.begun_count += 1;
        connecting.unanswered_count += 1;
        let info = self.channel_info(conn, info.as_ref());
        let (expires_at, renewal) = (None, Renewal::Client);
        self.note_grant(conn, Grant { index, expires_at, renewal, info, data });
        self.ask_to_join(conn, index, (ticket, channel), asked, since);
        Ok(())
    }

    fn connecting_mut(&mut self, conn: ConnId) -> &mut Connecting {
        let client = self.client_mut(conn).expect("its command is carried out");
        client.connecting.as_mut().expect("its subscriptions are being made")
    }

    /// The owner let the client in to one of the channels of its connect command.
    pub(super) fn note_wanted(&mut self, conn: ConnId, channel: &str, subscribed: &Subscribed<'_>) {
        reply::append_sub(&mut self.connecting_mut(conn).subs, channel, subscribed);
        self.settle_wanted(conn, None);
    }

    /// One of the channels of a connect command has its answer.
    pub(super) fn settle_wanted(&mut self, conn: ConnId, failed: Option<ErrorCode>) {
        let connecting = self.connecting_mut(conn);
        connecting.unanswered_count -= 1;
        connecting.failed = connecting.failed.or(failed);
        let is_begun = connecting.begun_count == connecting.wanted.len();
        if connecting.failed.is_some() || (is_begun && connecting.unanswered_count == 0) {
            self.resume_commands(conn);
        }
    }

    /// Ends a connect command that went no further.
    pub(super) fn halt_connect(
        &mut self,
        conn: ConnId,
        id: u32,
        halt: Halt,
        out: &mut Vec<u8>,
    ) -> Outcome {
        match halt {
            Halt::Later(until) => Outcome::Later(until),
            Halt::TooMany => Outcome::Disconnect(Disconnect::ChannelLimit),
            Halt::Refused(code) => {
                self.leave_all(conn, code.message());
                self.set_expiry(conn, None);
                self.client_mut(conn).expect("its command is carried out").info = None;
                self.refuse_connect(conn, id, code, out)
            }
        }
    }

    /// Answers a connect command with an error: whatever else the client says is out of place.
    pub(super) fn refuse_connect(
        &mut self,
        conn: ConnId,
        id: u32,
        code: ErrorCode,
        out: &mut Vec<u8>,
    ) -> Outcome {
        self.client_mut(conn).expect("its command is carried out").refused = true;
        self.refuse_command(id, code, out);
        Outcome::Refused
    }

    /// Lets go of what was held back for a client that ends, or is not let in.
    pub(super) fn drop_connecting(&mut self, conn: ConnId) {
        let Some(connection) = self.slots.get_mut(conn) else { return };
        connection.flags.connecting = false;
        let Some(client) = &mut connection.client else { return };
        let Some(connecting) = client.connecting.take() else { return };
        self.note_dropped(connecting.held);
    }

    /// Keeps a message for a client whose connect command is not answered, and empties it.
    pub(super) fn hold_back(&mut self, conn: ConnId, message: &mut Vec<u8>) {
        let limit = self.settings.outbox_bytes;
        let mut frame = Vec::new();
        encode::append_message(&mut frame, MessageKind::Text, message);
        message.clear();
        let len = frame.len();
        let shard_full = self.outbox_len + len > self.settings.outbox_shard_bytes;
        let held = self.client_mut(conn).and_then(|client| client.held_mut());
        let held = held.expect("owners are asked because of its connect command");
        if shard_full || held.push(FrameBytes::Owned(frame), limit).is_err() {
            self.stats.counters.slow_consumers_disconnected.add(1);
            return self.close_dropping(conn, CloseCode::SLOW, "slow consumer");
        }
        self.outbox_len += len;
        self.stats.counters.messages_sent.add(1);
    }

    /// Sends what was held back until the reply to its connect command, which `replies` holds.
    pub(super) fn release(&mut self, conn: ConnId, held: Outbox, replies: &mut Vec<u8>) {
        if held.is_empty() {
            return;
        }
        self.send_replies(conn, replies);
        let connection = self.slots.get_mut(conn).expect("its command is carried out");
        if connection.session.is_open() {
            connection.session.outbox.append(held);
            self.mark_dirty(conn);
            self.pause_if_full(conn);
        } else {
            // The reply alone was too much.
            self.note_dropped(held);
        }
    }

    fn note_dropped(&mut self, mut held: Outbox) {
        let dropped = held.drop_waiting();
        self.outbox_len -= dropped;
        self.stats.counters.outbox_dropped_bytes.add(dropped as u64);
    }
}

impl Connecting {
    fn next_wanted(&mut self) -> &mut Wanted {
        &mut self.wanted[self.begun_count]
    }
}

impl Wanted {
    fn new(subscription: ServerSubscription, resume: Option<&Object<Resume<'_>>>) -> Self {
        let resume = resume.map(|Object(resume)| resume).filter(|resume| resume.recover);
        let since = resume.map(|resume| Since {
            offset: resume.offset,
            epoch: AskedEpoch::from_text(&resume.epoch),
        });
        Self { subscription, since }
    }
}
