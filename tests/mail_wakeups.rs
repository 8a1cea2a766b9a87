//! No wake-up is lost: two shards on real rings pass 100,000 publications through lanes of four.
//!
//! The publications come in bursts of random size. Between two bursts everything is received, so
//! both shards fall asleep thousands of times with their lanes empty; within a burst lanes, own
//! queue and parked publishes are full. Nothing else wakes a shard: no timer is due while the test
//! runs. A lost wake-up is a read that never ends.

mod loopback;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::num::NonZeroU16;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use loopback::{ANSWER, PATIENCE, SIZES, connection, raw, settings};
use tidegate::id::{Owners, ShardId};
use tidegate::mail::{Permits, Post, Publish, PublishError, Reply, Request, Sender, wire};
use tidegate::publication::{Payload, PublishOptions};
use tidegate::ring::{RingFds, UringDriver};
use tidegate::shard::{Shard, SystemClock};
use tidegate::stats::ShardStats;
use tokio::sync::oneshot;

const LANE_LEN: usize = 4;
const PUBLICATIONS: usize = 100_000;
const BURST_MAX: usize = 24;

/// A publication's payload: who published and which of theirs it is.
const PAYLOAD_LEN: usize = 9;
const FRAME_LEN: usize = 2 + PAYLOAD_LEN;

/// One shard's thread, from its ring to the word to stop.
fn start_shard(
    post: Post,
    owners: Owners,
    permits: Permits,
    stats: Arc<ShardStats>,
    ready: mpsc::Sender<(usize, RawFd)>,
    all_ended: Arc<Barrier>,
) -> (mpsc::Sender<RingFds>, JoinHandle<()>) {
    let (start, peers) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let index = post.shard.index();
        let mut driver = UringDriver::new(SIZES, post.bell.fd().as_raw_fd()).expect("a ring");
        ready.send((index, driver.ring_fd())).expect("the test waits");
        driver.set_peers(peers.recv().expect("the test sends them"));
        let settings = settings(LANE_LEN);
        let mut shard = Shard::new(driver, SystemClock, post, owners, permits, stats, settings);
        shard.run().expect("the ring works");
        // Another shard may still wake this one.
        all_ended.wait();
    });
    (start, thread)
}

/// Two shards and what a test needs to talk to them.
struct Pair {
    owners: Owners,
    permits: Permits,
    stats: Vec<Arc<ShardStats>>,
    acceptor: Vec<Sender<Request>>,
    control: Vec<Sender<Request>>,
    gateway: Vec<Sender<Request>>,
    threads: Vec<JoinHandle<()>>,
    listener: TcpListener,
}

impl Pair {
    fn start(acceptor_count: usize) -> Self {
        let mut wiring = wire(2, acceptor_count, LANE_LEN).expect("descriptors");
        let owners = Owners::new(NonZeroU16::new(2).expect("two"));
        let permits = Permits::new(2, 100);
        let stats: Vec<Arc<ShardStats>> = vec![Arc::default(), Arc::default()];
        let all_ended = Arc::new(Barrier::new(2));
        let (ready, reports) = mpsc::channel();
        let (mut starts, mut threads) = (Vec::new(), Vec::new());
        for (post, stats) in wiring.posts.into_iter().zip(&stats) {
            let (start, thread) = start_shard(
                post,
                owners.clone(),
                permits.clone(),
                Arc::clone(stats),
                ready.clone(),
                Arc::clone(&all_ended),
            );
            starts.push(start);
            threads.push(thread);
        }
        let mut rings = [0; 2];
        for _ in 0..2 {
            let (index, ring) = reports.recv_timeout(PATIENCE).expect("both have a ring");
            rings[index] = ring;
        }
        for start in starts {
            start.send(RingFds::from(rings)).expect("it waits");
        }
        Self {
            owners,
            permits,
            stats,
            acceptor: wiring.acceptors.swap_remove(0),
            control: wiring.control,
            gateway: wiring.gateway,
            threads,
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"),
        }
    }

    /// A channel that `owner` owns.
    fn channel_of(&self, owner: ShardId) -> String {
        let names = (0..).map(|number| format!("channel {number}"));
        names.into_iter().find(|name| self.owners.owner(name) == owner).expect("endless")
    }

    /// A client of whichever shard has fewer.
    fn connect(&mut self, channels: &[&str]) -> (ShardId, TcpStream) {
        let (mut client, handoff) = connection(&self.listener, &self.permits, raw(channels, true));
        client.set_nonblocking(false).expect("a socket");
        client.set_read_timeout(Some(PATIENCE)).expect("not zero");
        let shard = handoff.permit.shard();
        let lane = &mut self.acceptor[shard.index()];
        let pushed = lane.push(Request::Connect(Box::new(handoff)));
        assert!(pushed.is_ok(), "the lane has room");
        lane.bell().ring();
        let mut answer = [0; ANSWER.len()];
        client.read_exact(&mut answer).expect("the 101");
        (shard, client)
    }

    /// Publishes as control does, on a lane that nobody uses just now, again while a mailbox is
    /// full.
    fn publish(&mut self, lane: Lane, channel: &str, payload: &[u8]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (reply, mut outcome) = oneshot::channel();
            let publish = Publish {
                channel: channel.into(),
                payload: Payload::binary(payload),
                options: PublishOptions::default(),
                info: None,
                accepted_at: Instant::now(),
                reply: Reply::Control(reply),
            };
            let lanes = match lane {
                Lane::First => &mut self.acceptor,
                Lane::Control => &mut self.control,
            };
            let lane = &mut lanes[self.owners.owner(channel).index()];
            let pushed = lane.push(Request::Publish(Box::new(publish)));
            assert!(pushed.is_ok(), "one is in flight");
            lane.bell().ring();
            let result = loop {
                match outcome.try_recv() {
                    Ok(result) => break result,
                    Err(error) => assert_eq!(error, oneshot::error::TryRecvError::Empty),
                }
                assert!(Instant::now() < deadline, "no answer: a lost wake-up");
                std::thread::yield_now();
            };
            match result {
                Ok(_) => return,
                Err(error) => assert_eq!(error, PublishError::MailboxFull),
            }
        }
    }

    fn stop(mut self) {
        for lane in &mut self.gateway {
            assert!(lane.push(Request::Stop).is_ok(), "the lane is the gateway's own");
            lane.bell().ring();
        }
        self.threads.drain(..).for_each(|thread| thread.join().expect("no panic"));
    }
}

/// Into which lane a publish goes.
#[derive(Clone, Copy)]
enum Lane {
    /// The first acceptor's: looked at before the others'.
    First,
    /// Control's, where publishes come from.
    Control,
}

/// What a subscriber must receive: of each publisher all, in order.
#[derive(Default)]
struct Model {
    sent: [u64; PUBLISHERS],
}

/// The publishing clients, two on each shard, and control once for each channel.
const PUBLISHERS: usize = 6;
const CONTROL: usize = 4;

impl Model {
    fn next_payload(&mut self, publisher: usize) -> [u8; PAYLOAD_LEN] {
        self.sent[publisher] += 1;
        let mut payload = [publisher as u8; PAYLOAD_LEN];
        payload[1..].copy_from_slice(&self.sent[publisher].to_be_bytes());
        payload
    }
}

/// A client and what it has received.
struct Subscriber {
    client: TcpStream,
    received: [u64; PUBLISHERS],
}

impl Subscriber {
    /// Reads so many frames and checks that none is missing, twice or out of order. `log` takes
    /// the payloads.
    fn read(&mut self, count: usize, label: &str, log: &mut Vec<u8>) {
        let mut frames = vec![0; count * FRAME_LEN];
        let read = self.client.read_exact(&mut frames);
        read.unwrap_or_else(|error| panic!("{label}: {error}: a lost wake-up or publication"));
        for frame in frames.chunks(FRAME_LEN) {
            assert_eq!(frame[..2], [0x82, PAYLOAD_LEN as u8], "{label}");
            let publisher = usize::from(frame[2]);
            self.received[publisher] += 1;
            let number = u64::from_be_bytes(frame[3..].try_into().expect("eight bytes"));
            assert_eq!(number, self.received[publisher], "{label}: publisher {publisher}");
            log.extend_from_slice(&frame[2..]);
        }
    }
}

#[test]
fn a_hundred_thousand_publications_through_lanes_of_four() {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut pair = Pair::start(1);
    let channels = [0, 1].map(|owner| pair.channel_of(ShardId(owner)));
    // Publisher n is on shard n % 2 and publishes to its own shard's channel (0, 1) or to the
    // other's (2, 3). All subscribe to what they publish to, so each channel has two on either.
    let target = |publisher: usize| if publisher < 2 { publisher } else { 3 - publisher };
    let mut subscribers: Vec<Subscriber> = (0..4)
        .map(|publisher| {
            let (shard, client) = pair.connect(&[&channels[target(publisher)]]);
            assert_eq!(shard.index(), publisher % 2);
            Subscriber { client, received: [0; PUBLISHERS] }
        })
        .collect();
    let mut model = Model::default();
    let mut published = 0;
    while published < PUBLICATIONS {
        // To each channel, this burst.
        let mut counts = [0; 2];
        let burst = random.usize(1..=BURST_MAX);
        for _ in 0..burst {
            let publisher = random.usize(..4);
            let payload = model.next_payload(publisher);
            // Masked with 0.
            let frame = [&[0x82, 0x80 | PAYLOAD_LEN as u8, 0, 0, 0, 0], &payload[..]].concat();
            subscribers[publisher].client.write_all(&frame).expect("room");
            counts[target(publisher)] += 1;
        }
        if random.u8(..4) == 0 {
            let channel = random.usize(..2);
            let payload = model.next_payload(CONTROL + channel);
            pair.publish(Lane::Control, &channels[channel], &payload);
            counts[channel] += 1;
            published += 1;
        }
        published += burst;
        for (channel, count) in counts.into_iter().enumerate() {
            let mut logs = [Vec::new(), Vec::new()];
            let listening = (0..4).filter(|publisher| target(*publisher) == channel);
            for (publisher, log) in listening.zip(&mut logs) {
                let label = format!("seed {seed}, after {published}, client {publisher}");
                subscribers[publisher].read(count, &label, log);
            }
            assert!(logs[0] == logs[1], "seed {seed}: two orders on one channel");
        }
    }
    drop(subscribers);
    let stats = pair.stats.clone();
    pair.stop();
    for stats in stats {
        let counters = &stats.counters;
        assert!(counters.wakes_sent.get() > 1_000, "it slept: {}", counters.wakes_sent.get());
        assert!(counters.mail_full.get() > 0, "its lanes were full");
    }
}

#[test]
fn mail_that_comes_while_a_shard_falls_asleep_wakes_it() {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut pair = Pair::start(MANY_LANES);
    let channel = pair.channel_of(ShardId(0));
    for _ in 0..PUBLICATIONS {
        pair.publish(Lane::First, &channel, b"");
        // The answer comes in the middle of a turn; somewhere behind it the shard looks a last time
        // and sleeps. The next mail aims at any moment of that.
        let aim = Instant::now() + random.u32(..=1_000) * ASLEEP_AFTER / 1_000;
        while Instant::now() < aim {
            std::hint::spin_loop();
        }
    }
    assert_eq!(pair.stats[0].counters.publications.get(), PUBLICATIONS as u64);
    pair.stop();
}

#[test]
fn a_shard_that_stops_wakes_whom_it_has_sent_mail() {
    let mut pair = Pair::start(1);
    let channel = pair.channel_of(ShardId(0));
    let (first, _own) = pair.connect(&["elsewhere"]);
    let (second, mut client) = pair.connect(&[&channel]);
    assert_eq!((first, second), (ShardId(0), ShardId(1)));
    // The owner finds publish and stop in one turn, its last.
    let (reply, _outcome) = oneshot::channel();
    let publish = Publish {
        channel: channel.into(),
        payload: Payload::binary(b"last"),
        options: PublishOptions::default(),
        info: None,
        accepted_at: Instant::now(),
        reply: Reply::Control(reply),
    };
    assert!(pair.control[0].push(Request::Publish(Box::new(publish))).is_ok());
    assert!(pair.gateway[0].push(Request::Stop).is_ok());
    pair.gateway[0].bell().ring();
    let mut frame = [0; 6];
    client.read_exact(&mut frame).expect("the subscriber's shard was woken");
    assert_eq!(&frame, b"\x82\x04last");
    pair.stop();
}

/// Acceptors. A shard that has looked at the first one's lane looks at the others' for about a
/// microsecond: time for mail to come into the first that it does not see.
const MANY_LANES: usize = 500;

/// After this a shard without work has fallen asleep, unless the machine is busy.
const ASLEEP_AFTER: Duration = Duration::from_micros(20);
