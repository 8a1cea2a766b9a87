//! In steady state the generator allocates nothing per message.

use super::*;
use crate::counting::allocations;
use crate::schedule::Schedule;
use crate::session::Protocol;
use crate::steady_server::{self, Speech};

/// Allocations of the generator's thread while 2,000 messages come back, after 1,000 others.
fn allocations_under(load: Load) -> usize {
    let (servers, dialed) = steady_server::pairs(CONNECTIONS);
    servers.into_iter().for_each(|server| steady_server::serve(server, Speech::WebSocket, vec![]));
    let window = Window { start_ns: 0, end_ns: u64::MAX };
    let mut meter = Meter::whole(window);
    let mut generator =
        Generator::new(dialed.len(), None, 64, Protocol::Raw, false).expect("a ring");
    dialed.into_iter().for_each(|dialed| generator.take(dialed));
    generator.start = Instant::now();
    generator.traffic.begin(load, window);
    for index in 0..CONNECTIONS {
        generator.traffic.pump(index, &mut generator.driver);
    }
    let mut until = |delivered: u64| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while generator.traffic.tally.delivered < delivered {
            assert!(Instant::now() < deadline, "{:?}", generator.traffic.tally);
            generator.step(&mut meter).expect("the ring works");
        }
    };
    until(1_000);
    allocations(|| until(3_000))
}

#[test]
fn a_message_allocates_nothing() {
    assert!(allocations_under(Load::Closed) <= GROWTHS_MAX);
    let schedule = Schedule::new(20_000, 0, 1, CONNECTIONS);
    assert!(allocations_under(Load::Open(schedule)) <= GROWTHS_MAX);
}

const CONNECTIONS: u32 = 10;

/// Of 2,000 messages. A queue grows when a turn takes more than any before, as after a wait for a
/// core; it doubles, so that this happens a few times at most.
const GROWTHS_MAX: usize = 5;
