//! What shards do for their clients, and with what owners tell them.

use super::*;

impl World {
    pub(super) fn subscribe(&mut self, shard: usize, channel: usize) {
        let (name, slot) = (self.names[channel].clone(), self.new_slot());
        let local = &mut self.locals[shard];
        let subscription = local.hub.subscribe(&name, member(slot)).expect("room");
        let state = match subscription.place {
            Place::Waiting => State::Waiting(subscription),
            Place::Member(_) => State::Member { subscription, next: local.delivered[channel] + 1 },
            Place::Refused => panic!("nobody was asked yet"),
        };
        local.subscribers.insert(slot, Subscriber { channel, state });
        self.count("subscribe");
    }

    pub(super) fn begin_join(&mut self, shard: usize, channel: usize) {
        let (name, slot) = (self.names[channel].clone(), self.new_slot());
        let ticket = self.locals[shard].hub.begin_join(&name).expect("room");
        let behind = self.random.u64(..8);
        let since = self.random.bool().then(|| self.streams[channel].offset.saturating_sub(behind));
        let request = Request::Join { channel, slot, ticket, since };
        self.requests[shard][self.owners[channel]].push_back(request);
        let state = State::Joining { abandoned: false };
        self.locals[shard].subscribers.insert(slot, Subscriber { channel, state });
        self.count("join");
    }

    pub(super) fn unsubscribe(&mut self, shard: usize) {
        let local = &mut self.locals[shard];
        if local.subscribers.is_empty() {
            return;
        }
        let nth = self.random.usize(..local.subscribers.len());
        let slot = *local.subscribers.keys().nth(nth).expect("in range");
        let subscriber = local.subscribers.get_mut(&slot).expect("just found");
        let subscription = match &mut subscriber.state {
            State::Joining { abandoned } => return *abandoned = true,
            State::Waiting(subscription) | State::Member { subscription, .. } => *subscription,
        };
        let channel = subscriber.channel;
        local.subscribers.remove(&slot);
        if let Some((_, _, owed)) = &mut local.fan_out {
            owed.remove(&slot);
        }
        for (moved, index) in
            local.hub.unsubscribe(subscription, member(slot)).into_iter().flatten()
        {
            let moved = local.subscribers.get_mut(&moved.conn.slot).expect("members are known");
            assert_eq!(moved.channel, channel);
            let State::Member { subscription, .. } = &mut moved.state else {
                panic!("only members move")
            };
            subscription.place = Place::Member(index);
        }
        self.count("unsubscribe");
    }

    pub(super) fn mail_interest(&mut self, shard: usize) {
        let room = self.random.u8(..);
        let told = self.locals[shard].hub.poll_mail(|owner| room & (1 << owner.0) != 0);
        let Some((owner, mail)) = told else { return };
        let (name, is_interest) = match mail {
            InterestMail::Interest(name) => (name, true),
            InterestMail::Disinterest(name) => (name, false),
        };
        let channel = self.names.iter().position(|known| *known == name).expect("one of ours");
        assert_eq!(owner.index(), self.owners[channel]);
        self.requests[shard][owner.index()].push_back(match is_interest {
            true => Request::Interest { channel },
            false => Request::Disinterest { channel },
        });
    }

    /// A shard takes the next delivery of some owner, once the one before is given to everybody.
    pub(super) fn take_delivery(&mut self, shard: usize) {
        if !self.fan_out(shard, usize::MAX) {
            return;
        }
        let owner = self.random.usize(..SHARDS);
        match self.deliveries[owner][shard].pop_front() {
            None => {}
            Some(Delivery::Publication { channel, offset }) => {
                self.begin_fan_out(shard, channel, offset);
            }
            Some(Delivery::Registered { channel, accepted }) => {
                let (mut admitted, mut refused) = (vec![], vec![]);
                self.locals[shard].hub.on_registered(
                    &self.names[channel],
                    accepted.is_some(),
                    |member, index| admitted.push((member.conn.slot, index)),
                    |member| refused.push(member.conn.slot),
                );
                self.settle(shard, channel, accepted, &admitted, &refused);
            }
            Some(Delivery::Joined { channel, slot, ticket, answer }) => {
                self.on_joined(shard, channel, slot, ticket, answer);
            }
        }
    }

    pub(super) fn on_joined(
        &mut self,
        shard: usize,
        channel: usize,
        slot: u32,
        ticket: JoinTicket,
        answer: Option<Joined>,
    ) {
        let position = answer.as_ref().map(|joined| joined.position);
        let (mut admitted, mut refused) = (vec![], vec![]);
        let local = &mut self.locals[shard];
        let subscriber = local.subscribers.remove(&slot).expect("kept until the answer comes");
        let State::Joining { abandoned } = subscriber.state else { panic!("one answer a join") };
        match position {
            Some(position) if !abandoned => {
                let place = local.hub.finish_join(ticket, member(slot), |member, index| {
                    admitted.push((member.conn.slot, index));
                });
                let subscription = Subscription { channel: ticket.channel, place };
                let state = State::Member { subscription, next: position.offset + 1 };
                local.subscribers.insert(slot, Subscriber { channel, state });
            }
            _ => local.hub.abandon_join(
                ticket,
                position.is_some(),
                |member, index| admitted.push((member.conn.slot, index)),
                |member| refused.push(member.conn.slot),
            ),
        }
        self.settle(shard, channel, position, &admitted, &refused);
    }

    /// An answer of the owner let these in and refused those.
    pub(super) fn settle(
        &mut self,
        shard: usize,
        channel: usize,
        position: Option<Position>,
        admitted: &[(u32, u32)],
        refused: &[u32],
    ) {
        assert!(position.is_some() || admitted.is_empty(), "a refusal lets nobody in");
        let Local { subscribers, delivered, .. } = &mut self.locals[shard];
        if let Some(position) = position {
            assert!(delivered[channel] <= position.offset, "the lane keeps the order");
            delivered[channel] = position.offset;
        }
        for (slot, index) in admitted {
            let subscriber = subscribers.get_mut(slot).expect("only those who wait are let in");
            let State::Waiting(mut subscription) = subscriber.state else {
                panic!("only those who wait are let in")
            };
            assert_eq!(subscriber.channel, channel);
            subscription.place = Place::Member(*index);
            let next = position.expect("just checked").offset + 1;
            subscriber.state = State::Member { subscription, next };
        }
        for slot in refused {
            let gone = subscribers.remove(slot).expect("only those who wait are refused");
            assert!(matches!(gone.state, State::Waiting(_)) && position.is_none());
        }
    }

    pub(super) fn begin_fan_out(&mut self, shard: usize, channel: usize, offset: u64) {
        let local = &mut self.locals[shard];
        assert!(local.delivered[channel] < offset, "the lane keeps the order");
        local.delivered[channel] = offset;
        let members = local.subscribers.iter().filter(|(_, subscriber)| {
            subscriber.channel == channel && matches!(subscriber.state, State::Member { .. })
        });
        let owed: BTreeSet<_> = members.map(|(slot, _)| *slot).collect();
        match local.hub.begin_fan_out(&self.names[channel]) {
            None => assert!(owed.is_empty(), "somebody listens"),
            Some(id) => local.fan_out = Some((id, offset, owed)),
        }
    }

    /// Gives the publication that was taken last to at most so many; true once all have it.
    pub(super) fn fan_out(&mut self, shard: usize, count: usize) -> bool {
        let local = &mut self.locals[shard];
        let Some((id, offset, owed)) = &mut local.fan_out else { return true };
        for _ in 0..count {
            let Some(member) = local.hub.next_owed(*id) else {
                assert!(owed.is_empty(), "everybody gets it");
                local.fan_out = None;
                return true;
            };
            let slot = member.conn.slot;
            assert!(owed.remove(&slot), "{slot} was not owed it");
            let subscriber = local.subscribers.get_mut(&slot).expect("members are known");
            let State::Member { next, .. } = &mut subscriber.state else { panic!("a member") };
            assert_eq!(*next, *offset, "nothing is missing, double or out of order");
            *next += 1;
        }
        false
    }

    pub(super) fn new_slot(&mut self) -> u32 {
        self.next_slot += 1;
        self.next_slot
    }
}
