//! Mail in and out: requests, deliveries, interest, publishes on their way to their owner.

use std::sync::Arc;

use super::fan_out::FanOut;
use super::{Core, bit};
use crate::hub::InterestMail;
use crate::id::ShardId;
use crate::limits;
use crate::mail::{AskReply, Delivery, Publish, Reply, Request};
use crate::publication::Publication;
use crate::ring::Driver;
use crate::ws::{CloseCode, encode};

impl Core {
    /// Takes requests, lane by lane, at most `limits::WORK_PER_TURN`. The head of a lane that needs
    /// room where there is none stays; what is behind it waits.
    pub(super) fn take_requests(&mut self, driver: &mut impl Driver) {
        let mut budget = limits::WORK_PER_TURN;
        self.requests_left = false;
        let lane_count = self.post.requests_in.len();
        // Another lane comes first each turn: one that is always full must not use the budget of
        // those behind it for ever.
        self.first_request_lane = (self.first_request_lane + 1) % lane_count;
        for step in 0..lane_count {
            let lane = (self.first_request_lane + step) % lane_count;
            self.blocked_lanes[lane] = false;
            let mut taken = false;
            while let Some(head) = self.post.requests_in[lane].peek() {
                if budget == 0 {
                    self.requests_left = true;
                    break;
                }
                if !self.can_do(head) {
                    self.blocked_lanes[lane] = true;
                    break;
                }
                let request = self.post.requests_in[lane].pop().expect("just looked at");
                budget = budget.saturating_sub(cost(&request));
                taken = true;
                self.stats.counters.mail_received.add(1);
                self.handle_request(driver, request);
            }
            if taken && let Some(from) = self.post.requests_in[lane].take_starved() {
                self.rung |= bit(from);
            }
        }
    }

    /// Whether a request can be done now. Control gets its refusal at once instead of waiting.
    fn can_do(&self, request: &Request) -> bool {
        match request {
            Request::Publish(publish) => match publish.reply {
                Reply::Control(_) => true,
                // Either everyone interested gets it, or the client alone gets the reason.
                Reply::ClientOnFailure { shard, .. } => {
                    self.has_room_for(&publish.channel) && self.can_deliver(shard, 1)
                }
                Reply::Client(asker) => self.has_room_for_both(&publish.channel, asker.shard),
            },
            Request::Interest { from, .. } => self.can_deliver(*from, 1),
            Request::Join(join) => self.can_let_in(join),
            Request::Leave(leave) => self.has_room_for_notice(&leave.channel, leave.visibility),
            Request::Ask(ask) => match &ask.reply {
                AskReply::Client(asker) => self.can_deliver(asker.shard, 1),
                AskReply::Control(_) => true,
            },
            Request::Connect(_)
            | Request::Survey(_)
            | Request::Steer(_)
            | Request::Disinterest { .. }
            | Request::Verdict(_)
            | Request::Drain { .. }
            | Request::Stop => true,
        }
    }

    fn handle_request(&mut self, driver: &mut impl Driver, request: Request) {
        match request {
            Request::Connect(handoff) => self.connect(driver, *handoff),
            Request::Publish(publish) => {
                if let Err(publish) = self.number(publish) {
                    self.answer_full(*publish);
                }
            }
            Request::Interest { from, channel } => self.answer_interest(from, channel),
            Request::Disinterest { from, channel } => self.end_interest(from, channel),
            Request::Join(join) => self.let_in(*join),
            Request::Leave(leave) => self.let_out(&leave),
            Request::Ask(ask) => self.answer(*ask),
            Request::Steer(steer) => self.take_errand(*steer),
            Request::Survey(survey) => self.answer_survey(*survey),
            Request::Verdict(verdict) => self.on_verdict(*verdict),
            Request::Drain { window } => self.begin_drain(window),
            Request::Stop => self.stopping = true,
        }
    }

    /// Sends a publish to the channel's owner, or numbers it here. Without room it comes back and
    /// this shard will be woken when there is some.
    pub(super) fn send_publish(&mut self, publish: Box<Publish>) -> Result<(), Box<Publish>> {
        let owner = self.owners.owner(&publish.channel);
        if owner == self.id {
            return self.number(publish);
        }
        if !self.can_request(owner) {
            return Err(publish);
        }
        self.request(owner, Request::Publish(publish));
        Ok(())
    }

    /// Whether `shard` has room for `count` deliveries; if not, this one is woken when it has.
    pub(super) fn can_deliver(&self, shard: ShardId, count: usize) -> bool {
        match &self.post.deliveries_out[shard.index()] {
            Some(sender) => sender.has_room_or_ask(count),
            None => self.has_local_room_or_ask(count),
        }
    }

    /// Whether `shard` has room for a request of this one, which is woken when it has. A shard
    /// carries its own requests out at once, if it can.
    pub(super) fn can_request(&self, shard: ShardId) -> bool {
        let sender = &self.post.requests_out[shard.index()];
        sender.as_ref().is_none_or(|sender| sender.has_room_or_ask(1))
    }

    /// Puts a request in the lane of another shard. Its room was looked at.
    pub(super) fn request(&mut self, shard: ShardId, request: Request) {
        let sender = self.post.requests_out[shard.index()].as_mut().expect("another shard");
        let pushed = sender.push(request);
        assert!(pushed.is_ok(), "room was looked at before");
        self.rung |= bit(shard);
    }

    /// Whether this shard's own queue has room; if not, the next turn looks again.
    fn has_local_room_or_ask(&self, count: usize) -> bool {
        let has_room = self.local.len() + count <= self.settings.mailbox_len;
        if !has_room {
            self.local_starved.set(true);
        }
        has_room
    }

    /// Puts a delivery in a shard's lane, or in this shard's own queue. Its room was looked at.
    pub(super) fn deliver_to(&mut self, shard: ShardId, delivery: Delivery) {
        match &mut self.post.deliveries_out[shard.index()] {
            Some(sender) => {
                let pushed = sender.push(delivery);
                assert!(pushed.is_ok(), "room was looked at before");
                self.rung |= bit(shard);
            }
            None => self.local.push_back(delivery),
        }
    }

    /// Tells owners what this shard listens to, as far as there is room.
    pub(super) fn mail_interest(&mut self) {
        loop {
            let requests_out = &self.post.requests_out;
            let local_room = self.local.len() < self.settings.mailbox_len;
            let local_starved = &self.local_starved;
            let told = self.hub.poll_mail(|owner| match &requests_out[owner.index()] {
                Some(sender) => sender.has_room_or_ask(1),
                None => {
                    local_starved.set(local_starved.get() || !local_room);
                    local_room
                }
            });
            let Some((owner, mail)) = told else { return };
            let from = self.id;
            match (&mut self.post.requests_out[owner.index()], mail) {
                (Some(sender), mail) => {
                    let request = match mail {
                        InterestMail::Interest(channel) => Request::Interest { from, channel },
                        InterestMail::Disinterest(channel) => {
                            Request::Disinterest { from, channel }
                        }
                    };
                    let pushed = sender.push(request);
                    assert!(pushed.is_ok(), "room was just looked at");
                    self.rung |= bit(owner);
                }
                (None, InterestMail::Interest(channel)) => self.answer_interest(from, channel),
                (None, InterestMail::Disinterest(channel)) => {
                    self.end_interest(from, channel);
                }
            }
        }
    }

    /// Takes deliveries and fans publications out, at most `limits::WORK_PER_TURN` of both
    /// together, and no more bytes than any outbox holds. The lanes take turns; a fan-out that was
    /// cut goes on first, so the order within each lane holds.
    pub(super) fn take_deliveries(&mut self) {
        let mut budget = limits::WORK_PER_TURN;
        self.taken_len = self.fan_out.as_ref().map_or(0, FanOut::frame_len);
        let taken_max = self.fan_out_bytes_per_turn();
        while self.fan_out(&mut budget) && self.taken_len <= taken_max {
            let Some((lane, delivery)) = self.next_delivery() else { return };
            budget = budget.saturating_sub(1);
            match delivery {
                Delivery::Publication(publication) => self.begin_fan_out(publication, lane),
                Delivery::Notice(notice) => self.begin_notice(&notice),
                Delivery::Registered { channel, position } => {
                    self.on_registered(&channel, position.is_some());
                }
                Delivery::PublishFailed { conn, error } => {
                    self.close(conn, Some(CloseCode::TRY_AGAIN), &error.to_string());
                }
                Delivery::Published { conn, command, result } => {
                    self.on_published(conn, command, result);
                }
                Delivery::Joined(joined) => self.on_let_in(*joined),
                Delivery::Answer { asker, answer } => self.on_answer(asker, &answer),
            }
        }
    }

    /// After so many bytes one more publication still fits into an outbox that was empty.
    fn fan_out_bytes_per_turn(&self) -> usize {
        let largest = self.settings.protocol.publication_size + encode::HEADER_MAX;
        let spared = self.settings.outbox_bytes.saturating_sub(largest);
        limits::FAN_OUT_BYTES_PER_TURN.min(spared)
    }

    /// Takes what waits next, with the lane it came by.
    fn next_delivery(&mut self) -> Option<(usize, Delivery)> {
        let lane_count = self.post.deliveries_in.len();
        for step in 0..lane_count {
            let lane = (self.next_lane + step) % lane_count;
            if let Some(delivery) = self.pop_delivery(lane) {
                self.next_lane = (lane + 1) % lane_count;
                return Some((lane, delivery));
            }
        }
        None
    }

    fn pop_delivery(&mut self, lane: usize) -> Option<Delivery> {
        let Some(receiver) = &mut self.post.deliveries_in[lane] else {
            return self.local.pop_front();
        };
        let delivery = receiver.pop()?;
        self.stats.counters.mail_received.add(1);
        let is_publication = matches!(delivery, Delivery::Publication(_));
        self.stats.counters.mail_delivered.add(u64::from(is_publication));
        if let Some(from) = receiver.take_starved() {
            self.rung |= bit(from);
        }
        Some(delivery)
    }

    /// Takes the publications that wait in `lane` right behind `first` and can be delivered with it
    /// as one: those of its channel, as long as all together are no more than a turn may take.
    /// What a slow reader may miss is delivered by itself.
    pub(super) fn take_following(
        &mut self,
        first: &Publication,
        lane: usize,
    ) -> Vec<Arc<Publication>> {
        let mut following = Vec::new();
        let mut left = self.fan_out_bytes_per_turn().saturating_sub(self.taken_len);
        left = left.saturating_sub(first.frame_size());
        let is_joinable =
            |next: &Publication| next.channel == first.channel && next.drop_policy.is_none();
        while first.drop_policy.is_none()
            && let Some(Delivery::Publication(next)) = self.peek_delivery(lane)
            && is_joinable(next)
            && let Some(rest) = left.checked_sub(next.frame_size())
            && let Some(Delivery::Publication(next)) = self.pop_delivery(lane)
        {
            left = rest;
            following.push(next);
        }
        following
    }

    fn peek_delivery(&self, lane: usize) -> Option<&Delivery> {
        match &self.post.deliveries_in[lane] {
            Some(receiver) => receiver.peek(),
            None => self.local.front(),
        }
    }

    /// Whether any lane holds mail that can be taken now.
    pub(super) fn has_mail(&self) -> bool {
        let requests = self.post.requests_in.iter().zip(&self.blocked_lanes);
        self.has_deliveries()
            || requests.into_iter().any(|(lane, blocked)| {
                // A blocked head is looked at again: room may have come since, unannounced.
                lane.peek().is_some_and(|head| !blocked || self.can_do(head))
            })
    }

    /// Whether a delivery waits or a fan-out was cut.
    pub(super) fn has_deliveries(&self) -> bool {
        self.fan_out.is_some()
            || !self.local.is_empty()
            || self.post.deliveries_in.iter().flatten().any(|lane| !lane.is_empty())
    }
}

/// What a request takes of a turn's work.
fn cost(request: &Request) -> usize {
    match request {
        // It looks at so many things.
        Request::Survey(_) => limits::SURVEY_PIECE,
        _ => 1,
    }
}
