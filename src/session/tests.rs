//! Close states and deadlines of a session.

use super::*;

fn session() -> Session {
    let times = KeepaliveTimes { ping_interval: 25_000, pong_timeout: 10_000 };
    Session::new(Keepalive::new(0, &times, 0), false)
}

#[test]
fn close_drops_what_waits_and_counts_it() {
    let mut session = session();
    session.outbox.tail_mut(Vec::new).extend_from_slice(b"waiting");
    session.outbox.note_added(7);
    assert_eq!(session.close(Some(CloseCode::SLOW), "slow", 1_000), 7);
    assert!(!session.is_open());
    assert_eq!(session.close_code(), Some(3008));
    assert_eq!(session.close(Some(CloseCode::NORMAL), "", 1_001), 0, "the first close stands");
    assert_eq!(session.close_code(), Some(3008));
    let send = session.outbox.take_send(Vec::new).expect("the Close");
    assert_eq!(send.as_slice(), b"\x88\x06\x0b\xc0slow");
}

#[test]
fn drain_queues_its_close_behind_what_waits() {
    let mut session = session();
    session.outbox.tail_mut(Vec::new).extend_from_slice(b"waiting");
    session.outbox.note_added(7);
    session.close_after_outbox(Some(CloseCode::GOING_AWAY), "", 0);
    let send = session.outbox.take_send(Vec::new).expect("all");
    assert_eq!(send.as_slice(), b"waiting\x88\x02\x03\xe9");
    session.outbox.note_sent();
    assert!(session.on_outbox_sent(2_000));
    assert_eq!(session.next_deadline(), 7_000, "five seconds for the peer's end");
    assert!(!session.is_close_overdue(6_999));
    assert!(session.is_close_overdue(7_000));
}

#[test]
fn an_open_session_has_nothing_to_shut() {
    let mut session = session();
    assert!(!session.on_outbox_sent(0));
    assert!(!session.is_close_overdue(u64::MAX));
}

#[test]
fn a_peer_that_goes_on_sending_is_reset() {
    let mut session = session();
    session.close(Some(CloseCode::TOO_BIG), "", 0);
    assert!(!session.discard(limits::CLOSE_DISCARD_MAX));
    assert!(session.discard(1));
}
