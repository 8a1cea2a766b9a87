//! In steady state neither publishing nor receiving allocates anything per message.

use std::os::fd::OwnedFd;

use super::super::closed_loop::ClosedLoop;
use super::super::http::{Answers, Request};
use super::super::plan::{Plan, tests::args};
use super::super::publisher::{Link, Publisher};
use super::*;
use crate::counting::allocations;
use crate::session::Protocol;
use crate::steady_server::{self, Speech};

/// Allocations of the station's thread while 20 subscribers receive 100 publications each, after
/// 20 others.
fn allocations_at(rate: &str, speech: Speech) -> usize {
    let mut args = args(&["--rate", rate, "--subscribers=20", "--publishers=1", "--duration=30s"]);
    if speech != Speech::Http {
        args.publish = "ws://127.0.0.1:1/".parse().expect("a URL");
    }
    if speech == Speech::Centrifuge {
        args.connect.session.protocol = Protocol::Centrifuge;
    }
    let plan = Plan::new(&args).expect("a plan");
    let closed = matches!(plan.pace, Pace::Closed).then(|| ClosedLoop::new(&plan).expect("room"));
    let target = &plan.channels[0].publish;
    let requests = [Request::new(target, None, "bench", plan.payload.len())];
    let link = match speech {
        Speech::WebSocket | Speech::Centrifuge => Link::web_socket(&plan),
        Speech::Http => Link::Http(Answers::default()),
    };
    let (mut servers, mut dialed) = steady_server::pairs(21);
    let socket: OwnedFd = dialed.pop().expect("21 of them").socket;
    let publisher = servers.pop().expect("21 of them");
    steady_server::serve(publisher, speech, servers);
    let publishers = vec![Publisher::new(&plan, 0, link)];
    let cast = Cast::new(&plan, closed.as_ref(), &requests, 0..20, publishers);
    let published = OnceLock::new();
    let sockets = vec![PublisherSocket { number: 0, socket, leftover: vec![] }];
    let mut station = Station::new(cast, &[], None, None, sockets, &published).expect("a ring");
    dialed.into_iter().for_each(|dialed| station.take(dialed));
    station.start = Instant::now();
    let mut meter = Meter::whole(plan.window);
    let mut until = |received: u64| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while station.received() < received {
            assert!(Instant::now() < deadline, "{:?}", station.cast.seen.tally);
            station.step(&mut meter).expect("the ring works");
        }
    };
    until(20 * 20);
    let count = allocations(|| until(20 * 120));
    assert_eq!(station.cast.seen.tally.unknown, 0);
    count
}

/// Of 2,000 receipts and 100 publications. A queue grows when a turn takes more than any before,
/// as after a wait for a core; it doubles, so that this happens a few times at most.
const GROWTHS_MAX: usize = 5;

#[test]
fn a_publication_and_its_receipts_allocate_nothing() {
    for speech in [Speech::WebSocket, Speech::Http, Speech::Centrifuge] {
        // Slow enough that no backlog is cut within a message, which its decoder would gather.
        for rate in ["0", "200"] {
            let count = allocations_at(rate, speech);
            assert!(count <= GROWTHS_MAX, "{speech:?} at {rate}: {count}");
        }
    }
}
