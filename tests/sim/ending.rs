//! The second phase: nothing goes wrong any more, and what is owed must come.

use std::collections::BTreeSet;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tidegate::mail::{Answer, Question, Request};

use super::client::{Client, Kind, Leave};
use super::faults::Fault;
use super::wire;
use super::world::World;

/// Rounds within which everything that is owed must have come.
const ROUNDS_MAX: usize = 4_000;

/// Close codes of a gateway that stops.
const STOPPING: [u16; 2] = [1001, 3001];

/// Close codes of clients that did not read, or answer, before the gateway stopped.
const LATE: [u16; 2] = [3008, 3012];

impl World {
    /// Everything goes on until nothing is left to do. The clock stands still: what only a timer
    /// would bring was forgotten.
    pub(crate) fn settle(&self) {
        for _ in 0..ROUNDS_MAX {
            let mut is_busy = self.carry_wakes(true);
            is_busy |= self.attend_all();
            let mut order: Vec<usize> = (0..self.shards.len()).collect();
            self.env.shuffle(&mut order);
            for index in order {
                // Several turns in a row leave their mail to one turn of another.
                if is_busy && self.env.one_in(3) {
                    continue;
                }
                while self.shards[index].borrow_mut().driver_mut().progress() {
                    is_busy = true;
                }
                is_busy |= self.turn(index);
            }
            self.take_answers();
            self.bury();
            if !is_busy && !self.publish_planned() {
                return;
            }
        }
        panic!("no end after {ROUNDS_MAX} rounds: somebody spins");
    }

    fn attend_all(&self) -> bool {
        let mut is_busy = false;
        let mut clients = self.clients.borrow_mut();
        let mut oracle = self.oracle.borrow_mut();
        for client in clients.iter_mut() {
            client.behave();
            is_busy |= client.attend(&mut self.scene(&mut oracle));
        }
        is_busy
    }

    /// The whole second phase.
    pub(crate) fn end(&self) {
        self.env.trace(|| "the second phase".into());
        self.env.faults.stop();
        self.settle();
        self.assert_nothing_owed();
        self.come_back();
        for _ in 0..4 {
            (0..self.channels.len()).for_each(|channel| self.plan_publish(channel));
            self.publish_planned();
            self.settle();
            self.assert_nothing_owed();
        }
        self.assert_presence();
        if self.env.one_in(3) {
            self.drain()
        } else {
            self.leave_all()
        }
        self.assert_empty();
    }

    /// Clients come back, and everybody says something.
    fn come_back(&self) {
        for _ in 0..3 {
            self.connect(self.returning());
        }
        self.settle();
        let mut clients = self.clients.borrow_mut();
        let mut oracle = self.oracle.borrow_mut();
        for client in clients.iter_mut().filter(|client| client.is_in_use()) {
            let mut scene = self.scene(&mut oracle);
            if let Kind::Centrifuge(centrifuge) = &mut client.kind {
                let channel = scene.env.below(scene.channels.len());
                if centrifuge.is_connected() && !centrifuge.is_wanted(channel) {
                    let text = centrifuge.subscribe(&scene, channel);
                    client.link.send_up(&wire::client_text(&text, [9; 4]));
                }
            }
            client.talk(&mut scene);
        }
        drop((clients, oracle));
        self.settle();
    }

    /// Whether everybody who is still there has what it is owed.
    fn assert_nothing_owed(&self) {
        assert_eq!(self.pending_count(), 0, "the backend waits for an answer");
        let oracle = self.oracle.borrow();
        for client in self.clients.borrow().iter() {
            assert!(!client.has_left && client.closed.is_none(), "{client} does not end");
            assert!(client.is_in_use(), "{client} was never sent its 101");
            for run in client.runs.values() {
                oracle.assert_all_received(&client.to_string(), run);
            }
            match &client.kind {
                Kind::Echo { awaited } => assert!(awaited.is_empty(), "{client} lacks echoes"),
                Kind::Raw { channels } => {
                    oracle.assert_own_received(client.number, &client.runs[&channels[0]]);
                }
                Kind::Centrifuge(centrifuge) => {
                    let unanswered = &centrifuge.unanswered;
                    assert!(unanswered.is_empty(), "{client} lacks answers: {unanswered:?}");
                    for channel in 0..self.channels.len() {
                        let (wanted, is_on) =
                            (centrifuge.is_wanted(channel), client.runs.contains_key(&channel));
                        assert_eq!(wanted, is_on, "{client} and channel {channel}");
                    }
                }
            }
        }
    }

    /// Whether channels know who is subscribed, and their subscribers do.
    fn assert_presence(&self) {
        let present = self.channels.iter().enumerate().filter(|(_, channel)| channel.has_presence);
        for (index, channel) in present {
            let question = self.engine.ask(channel.name.as_str().into(), Question::Presence);
            let mut question = std::pin::pin!(question);
            self.settle();
            let mut context = Context::from_waker(Waker::noop());
            let Poll::Ready(Ok(Answer::Presence(told))) = question.as_mut().poll(&mut context)
            else {
                panic!("no answer");
            };
            let told: BTreeSet<String> = told.iter().map(|info| info.client.to_string()).collect();
            let clients = self.clients.borrow();
            let members = clients.iter().filter(|client| client.runs.contains_key(&index));
            let (mut names, mut runs) = (BTreeSet::new(), Vec::new());
            for client in members {
                if let Kind::Centrifuge(centrifuge) = &client.kind {
                    names.insert(centrifuge.name.clone().expect("it is connected"));
                    runs.push(&client.runs[&index]);
                }
            }
            assert_eq!(told, names, "who is in channel {index}");
            for (name, is_here) in runs.iter().flat_map(|run| &run.present) {
                assert_eq!(names.contains(name), *is_here, "what is told of {name}");
            }
        }
    }

    /// Everybody leaves, each in its way.
    fn leave_all(&self) {
        for client in self.clients.borrow_mut().iter_mut() {
            let how = *self.env.pick(&[Leave::Close, Leave::Close, Leave::End, Leave::Reset]);
            client.leave(&self.env, how);
        }
        self.settle();
        self.bury();
        let left: Vec<_> = self.clients.borrow().iter().map(Client::to_string).collect();
        assert!(left.is_empty(), "the connections of {left:?} do not end");
    }

    /// The gateway stops: everybody gets a Close, and what it was owed before that.
    fn drain(&self) {
        self.env.faults.note(Fault::Drain);
        for channel in 0..self.channels.len() {
            self.publish(channel);
        }
        let window = Duration::from_millis(500);
        self.tell_all(|| Request::Drain { window });
        let mut ended = Vec::new();
        for _ in 0..80 {
            self.settle_drained(&mut ended);
            self.env.pass(Duration::from_millis(10));
        }
        assert!(self.clients.borrow().is_empty(), "not everybody was sent away");
        let is_due = |code: &u16| STOPPING.contains(code) || LATE.contains(code);
        assert!(ended.iter().all(is_due), "{ended:?}");
        // One more turn, and the shard's thread would leave its loop.
        self.tell_all(|| Request::Stop);
        self.carry_wakes(true);
        (0..self.shards.len()).for_each(|index| assert!(self.turn(index), "it was woken"));
    }

    fn settle_drained(&self, ended: &mut Vec<u16>) {
        for _ in 0..4 {
            self.carry_wakes(true);
            self.attend_all();
            for (index, shard) in self.shards.iter().enumerate() {
                while shard.borrow_mut().driver_mut().progress() {}
                self.turn(index);
            }
            self.take_answers();
            let clients = self.clients.borrow();
            let gone = clients.iter().filter(|client| client.is_gone);
            ended.extend(gone.map(|client| client.closed.expect("a drain says Close")));
            let oracle = self.oracle.borrow();
            let is_late = |client: &Client| client.closed.is_some_and(|code| LATE.contains(&code));
            for client in clients.iter().filter(|one| one.is_gone && !is_late(one)) {
                client.runs.values().for_each(|run| {
                    oracle.assert_all_received(&client.to_string(), run);
                });
            }
            drop((clients, oracle));
            self.bury();
        }
    }

    /// Whether nothing is left of anybody.
    fn assert_empty(&self) {
        assert_eq!(self.permits.total(), 0, "permits");
        let mut opened = 0;
        for (index, stats) in self.stats.iter().enumerate() {
            let counters = &stats.counters;
            for (name, gauge) in [
                ("connections", &counters.connections),
                ("subscriptions", &counters.subscriptions),
                ("outbox bytes", &counters.outbox_bytes),
                ("channels heard", &counters.channels_heard),
            ] {
                assert_eq!(gauge.get(), 0, "{name} of shard {index}");
            }
            opened += counters.connections_opened.get();
            self.shards[index].borrow_mut().driver_mut().assert_idle();
        }
        let closes = self.stats.iter().flat_map(|stats| stats.closes.values());
        assert_eq!(closes.map(|(_, count)| count).sum::<u64>(), opened, "every end is counted");
        assert!(self.env.sockets.borrow().is_empty(), "descriptors");
    }
}
