//! One test per known way in which io_uring bites, named for it, against the real shard over a
//! scripted kernel. `tests/ring_pitfalls_live.rs` asks the real kernel where it can be asked.

mod scripted;
mod sources;

use rustix::io::Errno;
use tidegate::frame::FrameBytes;
use tidegate::id::{ConnId, ShardId};
use tidegate::mail::Permits;
use tidegate::ring::{CloseHow, Fault, RecvOutcome};
use tidegate::stats::ShardCounters;

use scripted::{Call, Habit, Options, POISON, World, masked, server_message};

const INVALID: Fault = Fault::Other(Errno::INVAL);

/// How often the receive of `conn` was armed in `calls`.
fn arms_of(calls: &[Call], conn: ConnId) -> usize {
    calls.iter().filter(|call| **call == Call::ArmRecv(conn)).count()
}

/// F_MORE missing is the only thing that says a receive ended: armed again once, whatever else the
/// completion says, and not at all while it is there or after a fatal error.
#[test]
fn multishot_ends_silently() {
    let mut world = World::new(Options::default());
    let conn = world.connect_echo();
    for (outcome, bytes, armed, arms) in [
        (RecvOutcome::Data, Some(masked("still armed")), true, 0),
        (RecvOutcome::Data, Some(masked("ended with data")), false, 1),
        (RecvOutcome::Ended, None, false, 1),
        (RecvOutcome::Cancelled, None, false, 1),
    ] {
        world.kernel().take_calls();
        world.kernel().finish_recv(conn, outcome, bytes.as_deref(), armed);
        world.settle();
        assert_eq!(arms_of(world.kernel().calls(), conn), arms, "{outcome:?}, armed: {armed}");
        assert!(world.kernel().is_armed(conn));
    }
    let echoes = [server_message("still armed"), server_message("ended with data")].concat();
    assert_eq!(world.received(conn), echoes);
    assert_eq!(world.stats.counters.recv_rearmed.get(), 2, "ended with data, and without");

    world.kernel().take_calls();
    world.kernel().finish_recv(conn, RecvOutcome::Failed(INVALID), None, false);
    world.settle();
    assert_eq!(arms_of(world.kernel().calls(), conn), 0, "a fatal error is not tried again");
    assert_eq!(world.kernel().peer(conn).closed, Some(CloseHow::Orderly));
    world.assert_empty();
}

/// We accept one connection an operation. A descriptor that is no socket ends its own connection
/// and nothing else.
#[test]
fn bad_fd_from_multishot_accept() {
    assert!(!sources::mention(&["AcceptMulti", "accept_multi"]));
    let mut world = World::new(Options::default());
    let good = world.connect_echo();
    let bad = world.connect_echo();
    let no_socket = RecvOutcome::Failed(Fault::Other(Errno::NOTSOCK));
    world.kernel().finish_recv(bad, no_socket, None, false);
    world.settle();
    assert_eq!(world.kernel().peer(bad).closed, Some(CloseHow::Orderly));
    assert_eq!(world.permits.on_shard(ShardId(0)), 1);
    world.kernel().recv(good, &masked("x"));
    world.settle();
    assert_eq!(world.received(good), server_message("x"));
}

/// Out of buffers is flow control: the connection is parked and armed again once, after the
/// buffers are back, and no more of them a turn than there are buffers.
#[test]
fn buffer_ring_empty() {
    let mut world = World::new(Options { buffers: 4, ..Options::default() });
    let conns: Vec<_> = (0..10).map(|_| world.connect_echo()).collect();
    world.kernel().take_calls();
    for conn in &conns[..4] {
        world.kernel().recv(*conn, &masked("took a buffer"));
    }
    for conn in &conns {
        world.kernel().finish_recv(*conn, RecvOutcome::NoBuffers, None, false);
    }
    world.settle();
    let calls = world.kernel().take_calls();
    let last_release = calls.iter().rposition(|call| matches!(call, Call::Release(_)));
    let first_arm = calls.iter().position(|call| matches!(call, Call::ArmRecv(_)));
    assert!(last_release.expect("four were lent") < first_arm.expect("all are armed again"));
    for turn in calls.split(|call| matches!(call, Call::Wait(_))) {
        let arms = turn.iter().filter(|call| matches!(call, Call::ArmRecv(_))).count();
        assert!(arms <= 4, "{arms} receives armed in one turn for 4 buffers");
    }
    for conn in &conns {
        assert_eq!(arms_of(&calls, *conn), 1);
    }
    let turns = calls.iter().filter(|call| matches!(call, Call::Wait(_))).count();
    assert!(turns <= 6, "{turns} turns for 10 receives: the shard spins");
    assert_eq!(world.stats.counters.buffer_shortages.get(), 10);
    for conn in &conns[..4] {
        assert_eq!(world.received(*conn), server_message("took a buffer"));
    }
}

/// We do not ask for incremental buffers: every completion gives its whole buffer up, also at the
/// end of the stream, and the shard gives every one back.
#[test]
fn incremental_buffers() {
    assert!(!sources::mention(&["IOU_PBUF_RING_INC", "buffer_more"]));
    let flags = sources::last_argument("src/ring/buffers.rs", "register_buf_ring_with_flags");
    assert_eq!(flags, ["0"]);
    let mut world = World::new(Options { buffers: 2, ..Options::default() });
    let conn = world.connect_echo();
    for byte in masked("one byte a buffer") {
        world.kernel().recv(conn, &[byte]);
        world.settle();
        assert_eq!(world.kernel().free_buffers(), 2);
    }
    // An end that still took a buffer.
    world.kernel().finish_recv(conn, RecvOutcome::End, Some(b""), false);
    world.settle();
    assert_eq!(world.received(conn), server_message("one byte a buffer"));
    world.assert_empty();
}

/// A receive that was asked to end may have taken a buffer first. The buffer comes back, and its
/// bytes are neither lost nor handled out of turn.
#[test]
fn cancelled_op_still_took_a_buffer() {
    let mut world = World::new(Options { outbox_bytes: 64, ..Options::default() });
    let conn = world.connect_echo();
    world.kernel().sends = Habit::Held;
    world.kernel().cancels = Habit::Held;
    let first = "a message that fills the outbox of sixty-four bytes to its very brim, and more";
    world.kernel().recv(conn, &masked(first));
    world.settle();
    assert_eq!(world.kernel().asked_to_cancel(conn), (true, false), "paused: not read");
    // Bytes that arrived before the cancellation did.
    world.kernel().recv(conn, &masked("second"));
    world.kernel().finish_recv(conn, RecvOutcome::Data, Some(&masked("third")), false);
    world.settle();
    assert!(!world.kernel().is_armed(conn), "still paused");
    world.kernel().sends = Habit::AtOnce;
    world.kernel().finish_send_whole(conn);
    world.settle();
    let echoes = [first, "second", "third"].map(server_message).concat();
    assert_eq!(world.received(conn), echoes);
    assert!(world.kernel().is_armed(conn));

    // On the way out: the cancelled receive took a buffer and filled nothing.
    world.kernel().sends = Habit::Held;
    world.kernel().recv(conn, &masked("x"));
    world.settle();
    world.kernel().fail_send(conn, Fault::PeerGone(Errno::PIPE));
    world.settle();
    assert_eq!(world.kernel().asked_to_cancel(conn), (true, false));
    world.kernel().finish_recv(conn, RecvOutcome::Cancelled, Some(b""), false);
    world.settle();
    assert_eq!(world.kernel().peer(conn).closed, Some(CloseHow::Orderly));
    world.assert_empty();
}

/// An overflow ends the multishots and loses no byte: all are armed again, it is counted, nothing
/// is fatal.
#[test]
fn cq_overflow() {
    let mut world = World::new(Options { buffers: 4, ..Options::default() });
    let conns: Vec<_> = (0..8).map(|_| world.connect_echo()).collect();
    world.kernel().take_calls();
    let mut with_data = 0;
    world.kernel().overflow(|_| {
        with_data += 1;
        if with_data <= 4 {
            (RecvOutcome::Data, masked("made it"))
        } else {
            (RecvOutcome::Ended, Vec::new())
        }
    });
    world.settle();
    assert_eq!(world.stats.counters.ring_overflows.get(), 1);
    assert_eq!(world.stats.counters.recv_rearmed.get(), 8);
    for (index, conn) in conns.iter().enumerate() {
        assert_eq!(arms_of(world.kernel().calls(), *conn), 1);
        world.kernel().recv(*conn, &masked("later"));
        world.settle();
        let first = if index < 4 { server_message("made it") } else { Vec::new() };
        assert_eq!(world.received(*conn), [first, server_message("later")].concat());
    }
}

/// One send in flight on a socket, and what gathers behind it leaves in order and together. The
/// driver refuses a second one.
#[test]
fn ordering_of_sends() {
    let mut world = World::new(Options::default());
    let conn = world.connect_echo();
    world.kernel().sends = Habit::Held;
    world.kernel().take_calls();
    let texts: Vec<_> = (0..50).map(|n| format!("message {n}")).collect();
    for text in &texts {
        world.kernel().recv(conn, &masked(text));
        world.settle();
    }
    world.kernel().finish_send_whole(conn);
    world.settle();
    world.kernel().finish_send_whole(conn);
    world.settle();
    let sends: Vec<_> = { world.kernel().take_calls().into_iter() }
        .filter(|call| matches!(call, Call::SubmitSend(..)))
        .collect();
    let first = server_message(&texts[0]).len();
    let rest: usize = texts[1..].iter().map(|text| server_message(text).len()).sum();
    assert_eq!(sends, [Call::SubmitSend(conn, 0, first), Call::SubmitSend(conn, 0, rest)]);
    let all: Vec<_> = texts.iter().flat_map(|text| server_message(text)).collect();
    assert_eq!(world.received(conn), all);
}

/// A short send goes on at its offset, of the connection's own bytes and of frames it shares.
#[test]
fn short_sends() {
    let mut world = World::new(Options::default());
    let echo = world.connect_echo();
    let subscribers = [world.connect_raw(&["news"]), world.connect_raw(&["news"])];
    world.kernel().sends = Habit::Held;
    world.kernel().recv(echo, &masked("taken a byte at a time"));
    let mut result = world.publish("news", "shared by two");
    world.settle();
    result.try_recv().expect("numbered").expect("accepted");
    let mut shorts = 0;
    for conn in [echo, subscribers[0], subscribers[1]] {
        while let Some(rest) = world.kernel().sending(conn) {
            world.kernel().take_calls();
            // A byte, then two, one, two, …
            let taken = rest.min(1 + shorts % 2);
            world.kernel().finish_send(conn, taken);
            world.settle();
            if taken < rest {
                shorts += 1;
                let calls = world.kernel().calls().iter();
                let sent = calls.filter(|call| matches!(call, Call::SubmitSend(..))).count();
                assert_eq!(sent, 1, "one resumption");
                assert_eq!(world.kernel().sending(conn), Some(rest - taken));
            }
        }
    }
    assert_eq!(world.received(echo), server_message("taken a byte at a time"));
    for conn in subscribers {
        assert_eq!(world.received(conn), server_message("shared by two"));
    }
    assert_eq!(world.stats.counters.short_sends.get(), shorts as u64);
    assert_eq!(world.stats.counters.outbox_bytes.get(), 0);
}

/// The socket is let go after the last completion of both operations, in whatever order they come,
/// and its slot is not taken before.
#[test]
fn close_does_not_stop_ops() {
    for send_first in [true, false] {
        let mut world = World::new(Options::default());
        let conn = world.connect_echo();
        world.kernel().sends = Habit::Held;
        world.kernel().cancels = Habit::Held;
        world.kernel().recv(conn, &masked("in flight"));
        world.settle();
        // A 1002 and no end of the peer: the deadline decides.
        world.kernel().recv(conn, &[0xFF, 0xFF]);
        world.settle();
        world.pass(std::time::Duration::from_secs(6));
        world.settle();
        assert_eq!(world.kernel().asked_to_cancel(conn), (true, true));
        for step in [send_first, !send_first] {
            assert_eq!(world.kernel().peer(conn).closed, None, "an operation is alive");
            assert_ne!(world.connect_held().slot, conn.slot, "the slot is still in use");
            if step {
                world.kernel().fail_send(conn, Fault::Cancelled);
            } else {
                world.kernel().finish_recv(conn, RecvOutcome::Cancelled, None, false);
            }
            world.settle();
        }
        assert_eq!(world.kernel().peer(conn).closed, Some(CloseHow::Reset));
        let next = world.connect_held();
        assert_eq!((next.slot, next.generation), (conn.slot, conn.generation + 1));
    }
}

/// The kernel owns a send's bytes until its last completion, even when the connection is dead and
/// every other trace of the publication is gone; nothing poisoned ever reaches a peer.
#[test]
fn buffer_freed_too_early() {
    let mut world = World::new(Options::default());
    let dying = world.connect_raw(&["news"]);
    let echo = world.connect_echo();
    world.kernel().sends = Habit::Held;
    world.kernel().cancels = Habit::Held;
    let _result = world.publish("news", "shared");
    world.kernel().recv(echo, &masked("own"));
    world.settle();
    let gone = RecvOutcome::Failed(Fault::PeerGone(Errno::CONNRESET));
    world.kernel().finish_recv(dying, gone, None, false);
    world.kernel().finish_recv(echo, gone, None, false);
    world.settle();
    for conn in [dying, echo] {
        assert_eq!(world.kernel().asked_to_cancel(conn), (false, true));
        assert_eq!(world.kernel().peer(conn).closed, None);
    }
    // The driver compares the bytes with what was submitted when it gives them back.
    world.kernel().finish_send_whole(dying);
    world.kernel().finish_send(echo, 1);
    world.settle();
    assert_eq!(world.received(dying), server_message("shared"));
    world.assert_empty();

    // Vectors are used again: nothing of their last content leaves.
    world.kernel().sends = Habit::AtOnce;
    world.kernel().cancels = Habit::AtOnce;
    let conn = world.connect_echo();
    for n in 0..20 {
        world.kernel().recv(conn, &masked(&"x".repeat(n * 16)));
        world.settle();
    }
    assert!(world.kernel().peers().iter().all(|peer| !peer.wire.contains(&POISON)));
}

/// A completion of an older generation touches nobody: counted, its buffer released.
#[test]
fn late_cqe_hits_a_reused_slot() {
    let mut world = World::new(Options { buffers: 2, ..Options::default() });
    let old = world.connect_echo();
    world.kernel().recv_end(old);
    world.settle();
    let new = world.connect_echo();
    assert_eq!(new.slot, old.slot);
    world.kernel().take_calls();
    world.kernel().finish_stale_recv(old, RecvOutcome::Data, Some(&masked("for the old one")));
    world.kernel().finish_stale_recv(old, RecvOutcome::End, None);
    world.kernel().finish_stale_recv(old, RecvOutcome::Failed(INVALID), Some(b""));
    world.kernel().finish_stale_send(old, FrameBytes::Owned(b"old bytes".to_vec()));
    // A slot that was never taken.
    let nobody = ConnId { slot: 70_000, generation: 1 };
    world.settle();
    world.kernel().finish_stale_recv(nobody, RecvOutcome::Cancelled, Some(b""));
    world.settle();
    assert_eq!(world.stats.counters.ring_stale.get(), 5);
    assert_eq!(world.kernel().free_buffers(), 2);
    let calls = world.kernel().take_calls();
    assert!(calls.iter().all(|call| matches!(call, Call::Wait(_) | Call::Release(_))), "{calls:?}");
    world.kernel().recv(new, &masked("for the new one"));
    world.settle();
    assert_eq!(world.received(new), server_message("for the new one"));
}

/// No operation is linked to another and none has a timeout: deadlines live in the shard's timer
/// wheel, and bytes that arrive together with a deadline are looked at first.
#[test]
fn link_timeout_eats_data() {
    let operations = ["AsyncCancel", "MsgRingData", "Read", "RecvMulti", "Send"];
    // What a socket in a table slot has no system call for.
    let of_slots = ["Close", "SetSockOpt", "Shutdown"];
    let mut all = [&operations[..], &of_slots].concat();
    all.sort_unstable();
    assert_eq!(sources::ring_operations(), all);
    assert!(!sources::mention(&["IO_LINK", "IO_HARDLINK", "LinkTimeout"]));
    let mut world = World::new(Options::default());
    let conn = world.connect_echo();
    world.pass(std::time::Duration::from_secs(26));
    world.settle();
    assert_eq!(world.received(conn), [0x89, 0], "a ping");
    world.pass(std::time::Duration::from_secs(11));
    let pong = [0x8A, 0x80, 1, 2, 3, 4];
    world.kernel().recv(conn, &[&pong[..], &masked("late but here")].concat());
    world.settle();
    let expected = [vec![0x89, 0], server_message("late but here")].concat();
    assert_eq!(world.received(conn), expected);
    assert_eq!(world.stats.counters.pong_timeouts.get(), 0);
}

/// One listener, shared by duplicates: closing one of them resets nobody who waits in the queue.
#[test]
fn so_reuseport_close() {
    assert!(!sources::mention(&["REUSEPORT", "reuseport", "reuse_port"]));
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let duplicates = [listener.try_clone().expect("a duplicate"), listener];
    let clients: Vec<_> = (0..8).map(|_| TcpStream::connect(address).expect("queued")).collect();
    let [first, second] = duplicates;
    drop(first);
    for mut client in clients {
        let (mut accepted, _) = second.accept().expect("still queued");
        accepted.write_all(b"1").expect("connected");
        drop(accepted);
        let mut got = Vec::new();
        client.read_to_end(&mut got).expect("no reset");
        assert_eq!(got, b"1");
    }
}

/// Hand-off goes by least connections, those that closed included, and every shard's load is
/// exported.
#[test]
fn skew() {
    let permits = Permits::new(4, 1_000);
    let mut held: Vec<_> = (0..400).map(|_| permits.take().expect("room")).collect();
    held.retain(|permit| permit.shard() == ShardId(0) || permit.shard() == ShardId(2));
    held.extend((0..200).map(|_| permits.take().expect("room")));
    for shard in (0..4).map(ShardId) {
        assert_eq!(permits.on_shard(shard), 100);
    }
    // A shard gives the place back when the connection is closed, not before and not twice.
    let mut world = World::new(Options { shards: 2, ..Options::default() });
    let conns = [world.connect_echo(), world.connect_echo()];
    assert_eq!(world.permits.on_shard(ShardId(0)), 2);
    world.kernel().recv_end(conns[0]);
    world.settle();
    assert_eq!(world.permits.on_shard(ShardId(0)), 1);
    let exported: Vec<_> = ShardCounters::descriptors().iter().map(|metric| metric.name).collect();
    for name in ["connections", "deliveries_total"] {
        assert!(exported.contains(&name), "{name} has no metric");
    }
    assert!(world.stats.loop_lag.snapshot().buckets.iter().sum::<u64>() > 0);
}
