//! Hazard: names made so that an unkeyed hash puts all of them in one place.
//!
//! 200,000 of them and as many random ones go through the running gateway by its API, and some by
//! clients that subscribe to as many as they may, while another client publishes and is answered.
//! The times are printed, for whoever measures: `scripts/bench names`.

mod gateway;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use serde_json::json;
use tidegate::limits;

use gateway::centrifuge::Session;
use gateway::{Gateway, PATIENCE, raw};

const COUNT: usize = 200_000;

/// Pieces of a name, and choices for each: 4^9 names, of 144 bytes.
const PIECES: usize = 9;
const CHOICES: usize = 4;

/// The state of an fx-style hash that was in `state` behind eight more bytes.
fn mix(state: u64, word: [u8; 8]) -> u64 {
    (state.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(MULTIPLIER)
}

const MULTIPLIER: u64 = 0x517c_c1b7_2722_0a95;

/// Bytes that need no escape in JSON and mean nothing in a channel's name.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"\\:$#".contains(&byte)
}

fn random_word(random: &mut fastrand::Rng) -> [u8; 8] {
    std::array::from_fn(|_| {
        std::iter::repeat_with(|| random.u8(..)).find(|byte| is_plain(*byte)).expect("endless")
    })
}

/// Pairs of words that all lead from `state` to the same one, and that one.
fn choices(state: u64, random: &mut fastrand::Rng) -> (Vec<[u8; 16]>, u64) {
    let mut found: Vec<[u8; 16]> = Vec::new();
    let (first, second) = (random_word(random), random_word(random));
    let target = mix(mix(state, first), second);
    let xored = mix(state, first).rotate_left(5) ^ u64::from_le_bytes(second);
    while found.len() < CHOICES {
        let first = random_word(random);
        let second = (mix(state, first).rotate_left(5) ^ xored).to_le_bytes();
        if second.into_iter().all(is_plain) {
            assert_eq!(mix(mix(state, first), second), target);
            found.push([first, second].concat().try_into().expect("two words"));
        }
    }
    (found, target)
}

fn colliding(random: &mut fastrand::Rng) -> Vec<String> {
    let mut state = 0;
    let mut pieces = Vec::new();
    for _ in 0..PIECES {
        let (found, target) = choices(state, random);
        pieces.push(found);
        state = target;
    }
    let name = |number: usize| -> String {
        let choice = |(index, piece): (usize, &Vec<[u8; 16]>)| {
            piece[number / CHOICES.pow(index as u32) % CHOICES]
        };
        let bytes = pieces.iter().enumerate().flat_map(choice).collect();
        String::from_utf8(bytes).expect("plain")
    };
    let names: Vec<_> = (0..COUNT).map(name).collect();
    let hash = |name: &String| {
        let words = name.as_bytes().chunks(8).map(|word| word.try_into().expect("eight"));
        words.fold(0, mix)
    };
    assert!(names.iter().all(|name| hash(name) == state), "they collide");
    names
}

fn random_names(random: &mut fastrand::Rng) -> Vec<String> {
    let name = || (0..2 * PIECES).flat_map(|_| random_word(random)).collect();
    let bytes: Vec<Vec<u8>> = std::iter::repeat_with(name).take(COUNT).collect();
    bytes.into_iter().map(|name| String::from_utf8(name).expect("plain")).collect()
}

/// Publishes once to each of `names`, while another client publishes and is answered; then clients
/// subscribe to some of them.
fn use_all(gateway: &Gateway, names: &[String], what: &str) {
    let mut other = Session::connect(gateway.clients, None).expect("anyone may");
    other.ask("subscribe", &json!({"channel": what})).expect("anyone may");
    let begun_at = Instant::now();
    let chunks: Vec<_> = names.chunks(limits::BROADCAST_CHANNELS_MAX).collect();
    let (answered, mut count) = (AtomicUsize::new(0), 0);
    thread::scope(|scope| {
        let publishing = scope.spawn(|| {
            raw::run(&chunks, 8, |some| {
                let body = json!({"channels": some, "data": 1}).to_string();
                let answer = gateway.call("/api/broadcast", &body);
                answered.fetch_add(1, Ordering::Relaxed);
                // Each was a channel of its own.
                let firsts = answer.text().matches(r#""offset":1,"#).count();
                if (answer.status, firsts) == (200, some.len()) {
                    Ok(())
                } else {
                    Err(answer.text())
                }
            });
        });
        while !publishing.is_finished() {
            count += 1;
            other.ask("publish", &json!({"channel": what, "data": count})).expect("anyone may");
            assert_eq!(other.push()["pub"]["data"], count);
            let done = answered.load(Ordering::Relaxed);
            assert!(begun_at.elapsed() < 2 * PATIENCE, "{what}: {done},000 only, and out of time");
        }
    });
    assert!(count > 1, "another client was answered meanwhile");
    eprintln!("{COUNT} names, {what}: {:.2} s", begun_at.elapsed().as_secs_f64());
    let chunks = names.rchunks(limits::CHANNELS_PER_CONNECTION_MAX).take(16);
    let mut clients: Vec<(Session, &[String])> = chunks
        .map(|some| (Session::connect(gateway.clients, None).expect("anyone may"), some))
        .collect();
    for (client, some) in &mut clients {
        for channel in *some {
            let subscribed = client.ask("subscribe", &json!({"channel": channel}));
            assert_eq!(subscribed.expect("anyone may")["offset"], 1);
        }
        gateway.publish(&some[0], "\"again\"");
        let push = client.push();
        assert_eq!((&push["channel"], &push["pub"]["offset"]), (&json!(some[0]), &json!(2)));
    }
}

#[test]
fn names_made_to_collide_are_served_like_others() {
    let mut random = fastrand::Rng::with_seed(3);
    let gateway = Gateway::dev(&["--shards=2", "--set=limits.mailbox_len=16384"]);
    use_all(&gateway, &random_names(&mut random), "random");
    use_all(&gateway, &colliding(&mut random), "made to collide");
    gateway.await_no_clients();
    gateway.stop();
}
