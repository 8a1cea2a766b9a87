//! In steady state only a publish allocates: a real shard on a real ring and its clients share this
//! thread, and what the shard allocates is counted.

#[path = "allocations/counting.rs"]
mod counting;
mod loopback;

use std::io::Write;
use std::net::TcpStream;

use counting::{Counting, allocations};
use loopback::{Alone, raw};
use tidegate::protocol::admission::Entry;
use tidegate::publication::Payload;
use tidegate::ws::{MessageKind, Opcode, encode};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What the shard allocates until `client` can read `expected`.
fn allocations_until(alone: &mut Alone, client: &mut TcpStream, expected: &[u8]) -> usize {
    let mut buffer = vec![0; expected.len()];
    let count = allocations(|| alone.read_exact(client, &mut buffer));
    assert!(buffer == expected, "another answer");
    count
}

#[test]
fn an_echo_allocates_nothing() {
    let mut alone = Alone::new();
    let mut clients: Vec<_> = (0..10).map(|_| alone.connect(Entry::Echo)).collect();
    let payload = [b'x'; 64];
    let (mut request, mut answer) = (Vec::new(), Vec::new());
    encode::append_masked(&mut request, true, Opcode::Text, &payload, [1, 2, 3, 4]);
    encode::append_message(&mut answer, MessageKind::Text, &payload);
    let mut round = |alone: &mut Alone| -> usize {
        // All at once, so that turns have several of them.
        clients.iter_mut().for_each(|client| client.write_all(&request).expect("room"));
        clients.iter_mut().map(|client| allocations_until(alone, client, &answer)).sum()
    };
    for _ in 0..10 {
        round(&mut alone);
    }
    let counts: Vec<usize> = (0..1_000).map(|_| round(&mut alone)).collect();
    let some = counts.iter().filter(|count| **count > 0).count();
    assert_eq!(counts.iter().sum::<usize>(), 0, "in {some} of {} rounds", counts.len());
    assert_eq!(alone.stats.counters.messages_sent.get(), 10_100);
}

#[test]
fn a_pong_allocates_nothing() {
    let mut alone = Alone::new();
    let mut client = alone.connect(Entry::Echo);
    let (mut ping, mut pong) = (Vec::new(), Vec::new());
    encode::append_masked(&mut ping, true, Opcode::Ping, b"are you there", [1, 2, 3, 4]);
    encode::append_pong(&mut pong, b"are you there");
    let mut round = |alone: &mut Alone| {
        client.write_all(&ping).expect("room");
        allocations_until(alone, &mut client, &pong)
    };
    for _ in 0..10 {
        round(&mut alone);
    }
    assert_eq!((0..1_000).map(|_| round(&mut alone)).sum::<usize>(), 0);
}

/// Allocations of `together` publications at once to `subscriber_count` subscribers, after a while.
fn of_publications(together: usize, subscriber_count: usize) -> Vec<usize> {
    let mut alone = Alone::new();
    let mut clients: Vec<_> =
        (0..subscriber_count).map(|_| alone.connect(raw(&["news"], false))).collect();
    let payload = Payload::text(&"x".repeat(64));
    let mut frame = Vec::new();
    for _ in 0..together {
        encode::append_message(&mut frame, payload.kind(), payload.bytes());
    }
    let mut round = |alone: &mut Alone| -> usize {
        (0..together).for_each(|_| alone.publish("news", payload.clone()));
        clients.iter_mut().map(|client| allocations_until(alone, client, &frame)).sum()
    };
    for _ in 0..10 {
        round(&mut alone);
    }
    (0..200).map(|_| round(&mut alone)).collect()
}

#[test]
fn a_publication_allocates_the_same_whatever_the_number_of_subscribers() {
    let one = of_publications(1, 1);
    let hundred = of_publications(1, 100);
    assert!(
        one.iter().chain(&hundred).all(|count| *count == PER_PUBLICATION),
        "{one:?} {hundred:?}"
    );
}

/// Those that wait together are delivered as one: no subscriber's outbox takes memory for a queue.
#[test]
fn publications_that_come_together_allocate_the_same_whatever_the_number_of_subscribers() {
    let one = of_publications(10, 1);
    let hundred = of_publications(10, 100);
    let most = 10 * PER_PUBLICATION;
    assert!(one.iter().chain(&hundred).all(|count| *count == one[0]), "{one:?} {hundred:?}");
    assert!(one[0] <= most, "{} allocations, more than one by one: {most}", one[0]);
}

/// The entry and the publication, each with its count, and the count of this shard. The bytes are
/// those the publisher's message was read into.
const PER_PUBLICATION: usize = 3;
