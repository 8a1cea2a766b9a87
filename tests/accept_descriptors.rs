//! An acceptor without a free descriptor. Alone in its process: the limit is the process's.
#![allow(clippy::unwrap_used)]

mod acceptor;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use acceptor::{PATIENCE, Settings, read_to_end, start};
use rustix::net::{AddressFamily, SocketType, connect, socket};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How long the shortage is watched.
const WATCHED: Duration = Duration::from_millis(700);

#[test]
fn without_descriptors_accepting_pauses_and_then_goes_on() {
    let mut running = start(Settings::default());
    let lowered = Rlimit { current: Some(256), maximum: getrlimit(Resource::Nofile).maximum };
    setrlimit(Resource::Nofile, lowered).unwrap();

    // The clients' own descriptors are taken before the rest is hoarded.
    let sockets: Vec<_> =
        (0..4).map(|_| socket(AddressFamily::INET, SocketType::STREAM, None).unwrap()).collect();
    let mut hoard: Vec<OwnedFd> = Vec::new();
    let mut served = Vec::new();
    let mut waiting = None;
    for socket in sockets {
        while let Ok(copy) = running.listener.try_clone() {
            hoard.push(copy.into());
        }
        let started = Instant::now();
        connect(&socket, &running.address).unwrap();
        let mut client = TcpStream::from(socket);
        client.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        client.set_read_timeout(Some(WATCHED)).unwrap();
        match client.read(&mut [0; 1]) {
            // The kernel had a descriptor in hand for the accept in flight while the rest was
            // hoarded. The client keeps it as long as it stays.
            Ok(len) => {
                assert_eq!(len, 1, "an end instead of an answer");
                served.push(client);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                waiting = Some((client, started.elapsed()));
                break;
            }
        }
    }
    let (mut client, watched) = waiting.expect("answers without descriptors");
    let pauses = running.stats.counters.accept_pauses.get();
    assert_eq!(running.stats.counters.accepted.get(), u64::try_from(served.len()).unwrap());
    // Pauses of 100, 200, 400 and then at most 1,000 ms: more of them would be a spin.
    let at_most = 4 + u64::try_from(watched.as_millis() / 400).unwrap();
    assert!((1..=at_most).contains(&pauses), "{pauses} pauses in {watched:?}");

    drop((hoard, served));
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(read_to_end(&mut client).starts_with("HTTP/1.1 200 OK"));
    running.stop();
}
