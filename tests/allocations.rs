//! In steady state a shard allocates for a publication and for nothing else, however many get it:
//! counted on the shards' threads of a whole gateway, by the sockets its clients use.

#[path = "allocations/counting.rs"]
mod counting;
mod gateway;
#[path = "allocations/inside.rs"]
mod inside;

use std::sync::{LazyLock, Mutex, MutexGuard};

use counting::{Counting, allocations_of_shards};
use gateway::centrifuge::Session;
use gateway::client::Client;
use gateway::http;
use inside::Inside;
use serde_json::json;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The gateway, for one test at a time: shards' threads count for whoever asks.
fn gateway() -> MutexGuard<'static, Inside> {
    static GATEWAY: LazyLock<Mutex<Inside>> = LazyLock::new(|| Mutex::new(Inside::start()));
    // A test that failed left nothing behind but closed connections.
    GATEWAY.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// What shards allocate in `count` rounds, after as many that are not counted.
fn of_rounds(count: usize, mut round: impl FnMut()) -> usize {
    (0..count).for_each(|_| round());
    allocations_of_shards(|| (0..count).for_each(|_| round()))
}

#[test]
fn an_echo_allocates_nothing() {
    let gateway = gateway();
    let mut clients: Vec<_> = (0..10).map(|_| Client::connect(gateway.clients, "/echo")).collect();
    let text = "x".repeat(64);
    let count = of_rounds(1_000, || {
        // All at once, so that turns have several of them.
        clients.iter_mut().for_each(|client| client.send_text(&text));
        clients.iter_mut().for_each(|client| assert_eq!(client.text(), text));
    });
    assert!(count <= GROWTHS_MAX, "{count} in 10,000 messages");
}

#[test]
fn a_pong_allocates_nothing() {
    let gateway = gateway();
    let mut client = Client::connect(gateway.clients, "/echo");
    assert_eq!(of_rounds(1_000, || client.ping(b"are you there")), 0);
}

/// A subscriber, by what it speaks.
trait Subscriber {
    fn subscribe(gateway: &Inside) -> Self;
    /// Takes the next publication.
    fn receive(&mut self);
}

impl Subscriber for Client {
    fn subscribe(gateway: &Inside) -> Self {
        Self::connect(gateway.clients, "/raw?channel=news")
    }

    fn receive(&mut self) {
        assert_eq!(self.text(), PAYLOAD);
    }
}

impl Subscriber for Session {
    fn subscribe(gateway: &Inside) -> Self {
        let mut session = Self::connect(gateway.clients, None).expect("everybody may");
        session.ask("subscribe", &json!({"channel": "news"})).expect("everybody may");
        session
    }

    fn receive(&mut self) {
        assert_eq!(self.push()["pub"]["data"].to_string(), PAYLOAD);
    }
}

/// What shards allocate while each of `subscriber_count` gets 100 publications.
fn of_publications<S: Subscriber>(subscriber_count: usize) -> usize {
    let gateway = gateway();
    let mut subscribers: Vec<_> = (0..subscriber_count).map(|_| S::subscribe(&gateway)).collect();
    let body = format!(r#"{{"channel":"news","data":{PAYLOAD}}}"#);
    let headers = [("Content-Type", "application/json")];
    of_rounds(100, || {
        let answer = http::ask(gateway.admin, "POST", "/api/publish", &headers, body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
        subscribers.iter_mut().for_each(Subscriber::receive);
    })
}

#[test]
fn a_publication_allocates_the_same_whatever_the_number_of_subscribers() {
    for count in [100, 400] {
        let counted = [
            (PER_RAW_PUBLICATION, of_publications::<Client>(count)),
            (PER_JSON_PUBLICATION, of_publications::<Session>(count)),
        ];
        for (each, allocations) in counted {
            let owed = 100 * each;
            // Something may still grow, such as a connection's list of commands. Were it to happen
            // with every delivery, it would a hundred times as often.
            let is_met = (owed..=owed + count).contains(&allocations);
            assert!(is_met, "{allocations} with {count} subscribers, {owed} are owed");
        }
    }
}

const PAYLOAD: &str = r#""xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx""#;

/// The entry and the publication, each with its count, and the count of each of two shards. The
/// bytes are those the publisher's message was read into.
const PER_RAW_PUBLICATION: usize = 4;

/// And the Centrifuge protocol's frame, while it is made and as it is shared.
const PER_JSON_PUBLICATION: usize = PER_RAW_PUBLICATION + 2;

/// Of 10,000 messages. A list or a pool of buffers grows when a turn takes more connections than
/// any before; each shard has five of them.
const GROWTHS_MAX: usize = 14;
