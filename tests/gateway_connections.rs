//! How connections begin, live and end, against the running gateway: places, pings, Close codes,
//! resets, and that nothing is left of any of them.

mod gateway;

use std::thread;

use gateway::client::{Client, Incoming};
use gateway::metrics::Metrics;
use gateway::{Gateway, TINY};
use rustix::process::Signal;
use tidegate::ws::Opcode;

#[test]
fn without_a_free_place_the_answer_is_503_with_retry_after() {
    let gateway = Gateway::dev(&["--set=limits.connections=2"]);
    let (one, two) = (
        Client::connect(gateway.clients, "/echo"),
        Client::connect(gateway.clients, "/raw?channel=a"),
    );
    let refused =
        Client::try_connect(gateway.clients, "/echo", &[]).err().expect("there is no place");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    assert!(refused.text().contains("full"), "{}", refused.text());
    assert_eq!(gateway.metrics().sum("tidegate_connections_refused_full_total"), 1);
    one.close(1000);
    gateway.await_metrics("a place is free", |metrics| {
        metrics.sum("tidegate_connections_reserved") == 1
    });
    Client::connect(gateway.clients, "/echo").close(1000);
    two.close(1000);
    gateway.await_no_clients();
    gateway.stop();
}

#[test]
fn a_client_that_answers_pings_stays_and_one_that_does_not_is_closed_with_3012() {
    let times = ["--set=limits.ping_interval=200ms", "--set=limits.pong_timeout=200ms"];
    let gateway = Gateway::dev(&times);
    let mut silent = Client::connect(gateway.clients, "/raw?channel=a");
    let mut alive = Client::connect(gateway.clients, "/raw?channel=a");
    let answering = thread::spawn(move || {
        for _ in 0..5 {
            let Incoming::Ping(payload) = alive.next() else { panic!("nothing but pings is sent") };
            alive.send(Opcode::Pong, &payload);
        }
        alive
    });
    assert_eq!(silent.next(), Incoming::Ping(Vec::new()));
    assert_eq!(silent.closed(), (3012, "no pong".to_owned()));
    drop(silent);
    let alive = answering.join().expect("five pings and no close");
    let metrics =
        gateway.await_metrics("one is left", |metrics| metrics.sum("tidegate_connections") == 1);
    assert_eq!(metrics.sum("tidegate_pong_timeouts_total"), 1);
    assert!(metrics.sum("tidegate_pings_sent_total") >= 6);
    assert_eq!(metrics.sum_with("tidegate_connections_closed_total", "code=\"3012\""), 1);
    drop(alive);
    gateway.await_no_clients();
    gateway.stop();
}

#[test]
fn a_client_that_ignores_our_close_is_reset() {
    let times = ["--set=limits.ping_interval=50ms", "--set=limits.pong_timeout=50ms"];
    let gateway = Gateway::dev(&times);
    let mut deaf = Client::connect(gateway.clients, "/echo");
    gateway
        .await_metrics("it is closed", |metrics| metrics.sum("tidegate_pong_timeouts_total") == 1);
    // It neither reads nor closes: five seconds later nothing is left of it all the same.
    gateway.await_no_clients();
    assert_eq!(deaf.next(), Incoming::Ping(Vec::new()));
    assert_eq!(deaf.closed(), (3012, "no pong".to_owned()));
    gateway.stop();
}

#[test]
fn the_peers_code_is_echoed_and_counted() {
    let gateway = Gateway::dev(&[]);
    for code in [1000, 1001, 3000, 4999] {
        for target in ["/echo", "/raw?channel=a"] {
            Client::connect(gateway.clients, target).close(code);
        }
    }
    let mut without_code = Client::connect(gateway.clients, "/echo");
    without_code.send(Opcode::Close, b"");
    assert_eq!(without_code.next(), Incoming::Close(None));
    assert_eq!(without_code.next(), Incoming::End);
    drop(without_code);
    // What was sent before is answered before.
    let mut hasty = Client::connect(gateway.clients, "/echo");
    hasty.send_raw(b"\x81\x82\0\0\0\0hi\x88\x82\0\0\0\0\x03\xE8");
    assert_eq!(hasty.next(), Incoming::Text("hi".to_owned()));
    assert_eq!(hasty.closed().0, 1000);
    drop(hasty);
    // An end without a Close is an end too.
    let mut silent = Client::connect(gateway.clients, "/raw?channel=a");
    silent.finish_sending();
    assert_eq!(silent.next(), Incoming::End);
    drop(silent);
    let metrics = gateway.await_no_clients();
    let closed = |code: &str| {
        metrics.sum_with("tidegate_connections_closed_total", &format!("code=\"{code}\""))
    };
    assert_eq!(["1000", "1001", "other", "none"].map(closed), [3, 2, 5, 1]);
    gateway.stop();
}

#[test]
fn every_way_to_leave_leaves_nothing() {
    every_way_to_leave(&[], 1_000);
}

#[test]
fn every_way_to_leave_leaves_nothing_with_the_smallest_rings() {
    every_way_to_leave(TINY, 200);
}

fn every_way_to_leave(settings: &[&str], cycles: usize) {
    let gateway = Gateway::dev(settings);
    // Once each before counting: what is made at the first use stays.
    WAYS.iter().for_each(|leave| leave(&gateway));
    let idle = |metrics: &Metrics| metrics.sum("process_open_fds");
    let start = idle(&gateway.await_no_clients());
    for cycle in 0..cycles {
        WAYS[cycle % WAYS.len()](&gateway);
    }
    gateway.await_no_clients();
    gateway.await_metrics("as many descriptors as before", |metrics| idle(metrics) <= start);
    // The gateway is as it was: it serves, and publishing builds a frame for whoever listens.
    let mut client = Client::connect(gateway.clients, "/raw?channel=c");
    gateway.publish("c", "1");
    assert_eq!(client.text(), "1");
    client.close(1000);
    gateway.await_no_clients();
    gateway.stop();
}

/// Ways to leave, polite and not.
const WAYS: [fn(&Gateway); 9] = [
    |gateway| Client::connect(gateway.clients, "/echo").close(1000),
    |gateway| Client::connect(gateway.clients, "/raw?channel=a&channel=b").close(1001),
    // No Close.
    |gateway| drop(Client::connect(gateway.clients, "/raw?channel=a&publish=1")),
    // A reset between messages, inside a header, inside a frame, inside a message.
    |gateway| Client::connect(gateway.clients, "/raw?channel=a").reset(),
    |gateway| {
        let mut client = Client::connect(gateway.clients, "/echo");
        client.send_raw(&[0x82, 0xFE, 0x10]);
        client.reset();
    },
    |gateway| {
        let mut client = Client::connect(gateway.clients, "/echo");
        client.send_raw(&[&[0x82, 0xFE, 0xFF, 0xFF, 1, 2, 3, 4][..], &[7; 40_000]].concat());
        client.reset();
    },
    |gateway| {
        let mut client = Client::connect(gateway.clients, "/raw?channel=a&publish=1");
        client.send_raw(&[0x01, 0x81, 0, 0, 0, 0, b'x', 0x89, 0x80, 0, 0]);
        client.reset();
    },
    // Closed with echoes unread: a reset while a send is in flight.
    |gateway| {
        let mut client = Client::connect(gateway.clients, "/echo");
        client.send(Opcode::Binary, &[1; 300_000]);
        client.send(Opcode::Binary, &[2; 300_000]);
    },
    // Closed with publications on their way.
    |gateway| {
        let mut client = Client::connect(gateway.clients, "/raw?channel=p&publish=1");
        (0..20).for_each(|_| client.send(Opcode::Text, &[b'x'; 5_000]));
    },
];

#[test]
fn a_storm_of_clients_fills_the_smallest_rings_and_all_are_served() {
    let gateway = Gateway::dev(TINY);
    let mut clients: Vec<Client> =
        (0..300).map(|_| Client::connect(gateway.clients, "/raw?channel=a")).collect();
    // All at once in the kernel before the shard looks: every client sends before one is read.
    for round in 0..20 {
        for client in &mut clients {
            client.send(Opcode::Ping, &[round]);
        }
        for client in &mut clients {
            assert_eq!(client.next(), Incoming::Pong(vec![round]));
        }
        gateway.publish("a", &round.to_string());
        for client in &mut clients {
            assert_eq!(client.text(), round.to_string());
        }
    }
    let metrics = gateway.metrics();
    assert!(metrics.sum("tidegate_buffer_shortages_total") > 0, "{metrics}");
    drop(clients);
    gateway.await_no_clients();
    gateway.stop();
}

#[test]
fn a_burst_that_overflows_the_completion_queue_loses_nothing() {
    // One receive in the kernel fills buffer after buffer: far more completions than the queue
    // holds, while the process stands still.
    let rings = [
        "--set=limits.sq_entries=8",
        "--set=limits.cq_entries=64",
        "--set=limits.mailbox_len=4",
        "--set=limits.receive_buffers=512",
        "--set=limits.receive_buffer_size=256",
    ];
    let gateway = Gateway::dev(&rings);
    let mut clients: Vec<Client> =
        (0..40).map(|_| Client::connect(gateway.clients, "/echo")).collect();
    let message = |round: u8, index: usize| vec![round ^ index as u8; 12_000 + index];
    for round in 0..10 {
        gateway.signal(Signal::STOP);
        for (index, client) in clients.iter_mut().enumerate() {
            client.send(Opcode::Binary, &message(round, index));
        }
        gateway.signal(Signal::CONT);
        for (index, client) in clients.iter_mut().enumerate() {
            assert!(client.binary() == message(round, index), "round {round}, client {index}");
        }
    }
    let metrics = gateway.metrics();
    assert!(metrics.sum("tidegate_ring_overflows_total") > 0, "{metrics}");
    drop(clients);
    gateway.await_no_clients();
    gateway.stop();
}
