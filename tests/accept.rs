//! One acceptor over real TCP, with a fake shard behind it.
#![allow(clippy::unwrap_used)]

mod acceptor;
mod rules;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use acceptor::{PATIENCE, Settings, handshake, read_to_end, start};
use rules::handshake::{End, SWITCHING, rows};
use rustix::net::{SendFlags, send, sockopt};
use tidegate::lifecycle::Phase;
use tidegate::protocol::admission::{Entry, RawEntry};

#[test]
fn an_upgrade_is_handed_over_with_the_bytes_behind_its_head() {
    let mut running = start(Settings::default());
    let mut client = running.connect();
    let request = handshake("/raw?channel=a&channel=b&publish=1", "");
    client.write_all(&[request.as_bytes(), b"\x81\x82\0\0\0\0hi"].concat()).unwrap();

    let handoff = running.handed_over();
    let channels = ["a".into(), "b".into()].into();
    assert_eq!(
        handoff.entry,
        Entry::Raw(RawEntry { channels, publish: true, expire_at: None, user: None })
    );
    assert_eq!(handoff.leftover, b"\x81\x82\0\0\0\0hi");
    assert_eq!(String::from_utf8_lossy(&handoff.response), SWITCHING);
    assert_eq!(handoff.peer.to_string(), "127.0.0.1");
    assert_eq!(running.permits.total(), 1);
    assert!(sockopt::tcp_nodelay(&handoff.socket).unwrap());
    assert_eq!(sockopt::tcp_user_timeout(&handoff.socket).unwrap(), 35_000);

    // Nothing has been sent yet, and what the shard sends arrives.
    client.set_nonblocking(true).unwrap();
    let nothing = client.read(&mut [0; 1]).expect_err("no 101 from the acceptor");
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    client.set_nonblocking(false).unwrap();
    send(&handoff.socket, &handoff.response, SendFlags::empty()).unwrap();
    // The shard's descriptor is the last one: the acceptor's own is closed.
    running.stop();
    drop(handoff);
    assert_eq!(read_to_end(&mut client), SWITCHING);
    assert_eq!(running.permits.total(), 0);

    let counters = &running.stats.counters;
    assert_eq!((counters.accepted.get(), counters.handshakes_done.get()), (1, 1));
    assert_eq!((counters.handshakes_open.get(), counters.handshakes_refused.get()), (0, 0));
    // Accept, the head in one read, and the accept that waits for the next client.
    assert_eq!(counters.ring_operations.get(), 3);
    assert_eq!(running.stats.handshake.snapshot().buckets.iter().sum::<u64>(), 1);
}

#[test]
fn every_rule_whole_and_byte_by_byte() {
    let mut running = start(Settings::default());
    for row in rows().iter().filter(|row| row.end != End::Deadline) {
        for step in [row.input.len(), 1] {
            // Long rows sent byte by byte take a while and show no more than the module's test.
            if step == 1 && row.input.len() > 1_000 {
                continue;
            }
            let mut client = running.connect();
            client.set_nodelay(true).unwrap();
            for piece in row.input.chunks(step) {
                client.write_all(piece).unwrap();
            }
            let answer = match row.end {
                End::Closed => read_to_end(&mut client),
                End::Open => {
                    let handoff = running.handed_over();
                    // What has not arrived with the head arrives at the shard.
                    assert!(row.leftover.starts_with(&handoff.leftover), "{}", row.name);
                    String::from_utf8(handoff.response).unwrap()
                }
                End::Deadline => unreachable!("filtered"),
            };
            assert_eq!(answer, String::from_utf8_lossy(&row.expect), "{} {}", row.rule, row.name);
        }
    }
}

#[test]
fn the_deadline_counts_from_accept_and_no_byte_moves_it() {
    let handshake_timeout = Duration::from_millis(300);
    let mut running = start(Settings { handshake_timeout, ..Settings::default() });
    let started = Instant::now();
    let mut silent = running.connect();
    let mut dripping = running.connect();
    // Reads that time out every 20 ms pace the drip; only the end of the connection stops it.
    dripping.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let endless =
        std::iter::once(&b"GET / HTTP/1.1\r\nA: "[..]).chain(std::iter::repeat(&b"a"[..]));
    for piece in endless {
        let ended = dripping.write_all(piece).is_err()
            || match dripping.read(&mut [0; 1]) {
                Ok(0) => true,
                Ok(_) => panic!("an answer to half a request"),
                Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
            };
        if ended {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "dripping holds the connection open");
    }
    assert_eq!(read_to_end(&mut silent), "");
    assert!(started.elapsed() >= handshake_timeout);
    running.stop();
    assert_eq!(running.stats.counters.handshakes_timed_out.get(), 2);
    assert_eq!(running.stats.counters.handshakes_open.get(), 0);
}

#[test]
fn a_refused_peer_that_goes_on_sending_still_reads_why() {
    let running = start(Settings::default());
    let mut client = running.connect();
    client.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    client.write_all(&[b'x'; 100_000]).unwrap();
    assert!(read_to_end(&mut client).starts_with("HTTP/1.1 405 "));
}

#[test]
fn a_peer_that_leaves_is_counted_and_forgotten() {
    let mut running = start(Settings::default());
    let mut client = running.connect();
    client.write_all(b"GET / HT").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut client), "");
    running.stop();
    assert_eq!(running.stats.counters.handshakes_aborted.get(), 1);
}

#[test]
fn want_of_places_and_of_room_in_the_lane_is_503() {
    let mut running = start(Settings { places: 2, lane_len: 1, ..Settings::default() });
    let request = handshake("/echo", "");
    let mut first = running.connect();
    first.write_all(request.as_bytes()).unwrap();
    // The first answer shows that the first mail is in the lane: one acceptor, in order.
    let health = running.ask(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(health.starts_with("HTTP/1.1 200 OK\r\n"), "{health}");
    let overloaded = running.ask(request.as_bytes());
    assert!(overloaded.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{overloaded}");
    assert!(overloaded.contains("\r\nRetry-After: 5\r\n") && overloaded.contains("overloaded"));
    assert_eq!(running.permits.total(), 1);

    let held = running.handed_over();
    let _second = running.connect().write_all(request.as_bytes());
    let also_held = running.handed_over();
    let full = running.ask(request.as_bytes());
    assert!(full.starts_with("HTTP/1.1 503 ") && full.contains("full"), "{full}");
    drop((held, also_held));
    running.stop();
    assert_eq!(running.stats.counters.connections_refused_full.get(), 2);
    assert_eq!(running.stats.counters.handshakes_refused.get(), 2);
    assert_eq!(running.stats.counters.pages_served.get(), 1);
}

#[test]
fn draining_accepts_and_answers_503() {
    let running = start(Settings::default());
    running.lifecycle.advance(Phase::Draining);
    for request in [handshake("/echo", ""), "GET /health HTTP/1.1\r\nHost: a\r\n\r\n".into()] {
        let answer = running.ask(request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("\r\nRetry-After: 5\r\n"), "{answer}");
    }
}

#[test]
fn a_trusted_proxy_names_the_peer() {
    let mut running = start(Settings { trusted_proxies: &["127.0.0.0/8"], ..Settings::default() });
    let mut client = running.connect();
    let request = handshake("/echo", "X-Forwarded-For: 192.0.2.7, 127.0.0.9\r\n");
    client.write_all(request.as_bytes()).unwrap();
    assert_eq!(running.handed_over().peer.to_string(), "192.0.2.7");
}

#[test]
fn stop_ends_idle_acceptors_and_one_with_silent_clients() {
    let mut idle = start(Settings { acceptors: 3, ..Settings::default() });
    idle.stop();
    assert!(TcpStream::connect(idle.address).is_err(), "the listening socket still listens");

    let mut busy = start(Settings::default());
    let mut silent = busy.connect();
    silent.write_all(b"GET").unwrap();
    // An answered client after it shows that it has been accepted.
    busy.ask(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
    let started = Instant::now();
    busy.stop();
    assert!(started.elapsed() < PATIENCE, "the handshake timeout was waited for");
    assert_eq!(read_to_end(&mut silent), "");
}

#[test]
fn the_demo_page_is_served() {
    let running = start(Settings::default());
    let page = running.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"));
    assert!(page.contains("\r\nContent-Security-Policy: default-src 'none'; "));
    assert!(page.ends_with("</html>\n"));
}
