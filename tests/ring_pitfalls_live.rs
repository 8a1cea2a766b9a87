//! The rows of `ring_pitfalls.rs` that the real kernel can be asked about, under the same names:
//! the real driver on the smallest rings.

mod live;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::io::Errno;
use tidegate::frame::FrameBytes;
use tidegate::id::{ConnId, ShardId};
use tidegate::ring::{
    CloseHow, Completion, Driver, Fault, RecvOutcome, RingFds, RingSizes, UringDriver,
};
use tidegate::ws::{MessageKind, encode};

use live::{Alone, PATIENCE, TINY, await_until, expect, fill, start};

fn masked(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::append_message_masked(&mut out, MessageKind::Binary, payload, [9, 8, 7, 6]);
    out
}

fn server_message(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::append_message(&mut out, MessageKind::Binary, payload);
    out
}

/// Bytes that differ from place to place.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 + n / 251) as u8).collect()
}

#[test]
fn bad_fd_from_multishot_accept() {
    let mut alone = Alone::new(TINY);
    let conn = ConnId { slot: 3, generation: 1 };
    let null = File::open("/dev/null").expect("a descriptor that is no socket");
    let sock = alone.driver.insert(conn, null.into());
    alone.driver.arm_recv(sock);
    let received = alone.next_recv();
    assert_eq!((received.conn, received.armed), (conn, false));
    assert_eq!(received.outcome, RecvOutcome::Failed(Fault::Other(Errno::NOTSOCK)));
    alone.release(received.lease);
    alone.driver.close(sock, CloseHow::Orderly);
}

/// Sixteen clients send far more than four buffers hold: shortages, and every byte comes back.
#[test]
fn buffer_ring_empty() {
    let message = pattern(5_000);
    let stream = masked(&message).repeat(20);
    let (running, mut peers) = start(TINY, 1 << 20, 16, |peer| {
        assert_eq!(fill(peer, &stream), stream.len());
    });
    for peer in &mut peers {
        expect(peer, &server_message(&message).repeat(20));
    }
    let stats = running.stop(peers);
    assert!(stats.counters.buffer_shortages.get() > 0);
    assert_eq!(stats.counters.messages_sent.get(), 16 * 20);
}

/// A buffer is used once, however little it holds.
#[test]
fn incremental_buffers() {
    let mut alone = Alone::new(TINY);
    let (sock, mut peer) = alone.connect(0, 1);
    alone.driver.arm_recv(sock);
    let mut leases = Vec::new();
    for byte in 0..4 {
        peer.write_all(&[byte]).expect("connected");
        let received = alone.next_recv();
        assert_eq!((received.outcome, &received.bytes[..]), (RecvOutcome::Data, &[byte][..]));
        leases.extend(received.lease);
    }
    let mut indexes: Vec<_> = leases.iter().map(|lease| lease.buffer_index()).collect();
    indexes.sort_unstable();
    assert_eq!(indexes, [0, 1, 2, 3]);
    peer.write_all(&[4]).expect("connected");
    let received = alone.next_recv();
    assert_eq!((received.outcome, received.armed), (RecvOutcome::NoBuffers, false));
    assert_eq!(received.lease, None);
    // With buffers back the byte is still there, and the end of the stream keeps none of them.
    leases.into_iter().for_each(|lease| alone.driver.release(lease));
    alone.driver.arm_recv(sock);
    drop(peer);
    let last = alone.next_recv();
    assert_eq!((last.outcome, &last.bytes[..]), (RecvOutcome::Data, &[4][..]));
    alone.release(last.lease);
    let end = alone.next_recv();
    assert_eq!((end.outcome, end.armed), (RecvOutcome::End, false));
    alone.release(end.lease);
    alone.driver.close(sock, CloseHow::Orderly);
}

/// Bytes and cancellation race a thousand times: no byte and no buffer is lost.
#[test]
fn cancelled_op_still_took_a_buffer() {
    let mut alone = Alone::new(TINY);
    let (sock, mut peer) = alone.connect(0, 1);
    let mut got = Vec::new();
    let sent: Vec<u8> = (0..1_000).map(|round| round as u8).collect();
    for (round, byte) in sent.iter().enumerate() {
        alone.driver.arm_recv(sock);
        // The receive reaches the kernel before the byte, with the cancellation, or in between.
        if round % 3 == 0 {
            alone.driver.wait(Some(Duration::ZERO)).expect("the ring works");
        }
        peer.write_all(&[*byte]).expect("connected");
        if round % 3 == 1 {
            alone.driver.wait(Some(Duration::ZERO)).expect("the ring works");
        }
        alone.driver.disarm_recv(sock);
        loop {
            let received = alone.next_recv();
            got.extend(received.bytes);
            alone.release(received.lease);
            if !received.armed {
                break;
            }
        }
    }
    alone.driver.arm_recv(sock);
    while got.len() < sent.len() {
        let received = alone.next_recv();
        got.extend(received.bytes);
        alone.release(received.lease);
    }
    assert_eq!(got, sent);
    // All four buffers are the kernel's again.
    let mut leases = Vec::new();
    for _ in 0..4 {
        peer.write_all(b"x").expect("connected");
        leases.extend(alone.next_recv().lease);
    }
    assert_eq!(leases.len(), 4);
}

/// More completions at once than the queue holds: counted, the multishots that ended are armed
/// again, and every byte comes back.
#[test]
fn cq_overflow() {
    let sizes = RingSizes { recv_buffers: 512, recv_buffer_size: 64, ..TINY };
    let message = pattern(700);
    let stream = masked(&message).repeat(4);
    let (running, mut peers) = start(sizes, 1 << 20, 100, |peer| {
        assert_eq!(fill(peer, &stream), stream.len());
    });
    for peer in &mut peers {
        expect(peer, &server_message(&message).repeat(4));
    }
    // They are still read.
    for peer in &mut peers {
        peer.write_all(&masked(b"again")).expect("connected");
        expect(peer, &server_message(b"again"));
    }
    let stats = running.stop(peers);
    assert!(stats.counters.ring_overflows.get() > 0, "the queue did not overflow");
    assert!(stats.counters.recv_rearmed.get() > 0, "no multishot ended");
    assert_eq!(stats.counters.ring_stale.get(), 0);
}

/// A reader that stops and goes on gets its echoes in order, whatever was gathered meanwhile.
#[test]
fn ordering_of_sends() {
    let payloads: Vec<_> = (0..3_000_usize).map(|n| pattern(n * 7 % 900 + n % 3)).collect();
    let (running, mut peers) = start(TINY, 16 * 1024, 1, |_| {});
    let stream: Vec<_> = payloads.iter().flat_map(|payload| masked(payload)).collect();
    let mut peer = peers.remove(0);
    let paused = || running.stats.counters.reads_paused.get() > 0;
    let mut written = 0;
    await_until(|| {
        written += fill(&mut peer, &stream[written..]);
        paused()
    });
    let mut writer = peer.try_clone().expect("a descriptor");
    let writing =
        std::thread::spawn(move || writer.write_all(&stream[written..]).expect("connected"));
    for payload in &payloads {
        expect(&mut peer, &server_message(payload));
    }
    writing.join().expect("all was written");
    running.stop(vec![peer]);
}

/// A send that is cut says how far it came, and goes on from there.
#[test]
fn short_sends() {
    let mut alone = Alone::new(TINY);
    let (sock, mut peer) = alone.connect(0, 1);
    let sent = pattern(4 << 20);
    alone.driver.submit_send(sock, FrameBytes::Owned(sent.clone()), 0);
    alone.driver.wait(Some(Duration::ZERO)).expect("the ring works");
    alone.driver.cancel_send(sock);
    let Completion::Send { bytes, result: Ok(taken), .. } = alone.next() else {
        panic!("a cut send says how much was taken");
    };
    assert!(0 < taken && taken < sent.len(), "{taken}");
    alone.driver.submit_send(sock, bytes, taken);
    let expected = sent.clone();
    let reading = std::thread::spawn(move || expect(&mut peer, &expected));
    let Completion::Send { result, .. } = alone.next() else { panic!("not a send") };
    assert_eq!(result, Ok(sent.len() - taken));
    reading.join().expect("every byte once, in order");
}

/// After the last completions a close reaches the peer with the next turn: with all that was taken
/// and an orderly end, or as a reset.
#[test]
fn close_does_not_stop_ops() {
    for how in [CloseHow::Orderly, CloseHow::Reset] {
        let mut alone = Alone::new(TINY);
        let (sock, mut peer) = alone.connect_tcp(0, 1);
        alone.driver.arm_recv(sock);
        let sent = pattern(32 << 20);
        alone.driver.submit_send(sock, FrameBytes::Owned(sent.clone()), 0);
        alone.driver.wait(Some(Duration::ZERO)).expect("the ring works");
        alone.driver.cancel_send(sock);
        alone.driver.disarm_recv(sock);
        let (mut received, mut taken) = (false, None);
        while !received || taken.is_none() {
            match alone.next() {
                Completion::Recv { outcome, armed, lease, .. } => {
                    assert_eq!((outcome, armed), (RecvOutcome::Cancelled, false));
                    alone.release(lease);
                    received = true;
                }
                Completion::Send { result, .. } => taken = Some(result.unwrap_or(0)),
                Completion::Woken => {}
            }
        }
        let taken = taken.expect("the send ended");
        assert!(taken < sent.len(), "the socket took everything at once");
        alone.driver.close(sock, how);
        alone.driver.wait(Some(Duration::ZERO)).expect("the ring works");
        let mut got = Vec::new();
        let end = peer.read_to_end(&mut got);
        match how {
            CloseHow::Orderly => assert!(end.is_ok() && got == sent[..taken]),
            CloseHow::Reset => {
                let error = end.expect_err("no orderly end");
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            }
        }
    }
}

/// The bytes of a send come back with its completion, where they were and as they were.
#[test]
fn buffer_freed_too_early() {
    let mut alone = Alone::new(TINY);
    let (sock, peer) = alone.connect(0, 1);
    let sent = pattern(4 << 20);
    let bytes = FrameBytes::Owned(sent.clone());
    let address = bytes.as_slice().as_ptr();
    alone.driver.submit_send(sock, bytes, 0);
    alone.driver.wait(Some(Duration::ZERO)).expect("the ring works");
    // The peer is gone in the middle of it.
    drop(peer);
    let Completion::Send { bytes, result, .. } = alone.next() else { panic!("not a send") };
    assert!(matches!(result, Err(Fault::PeerGone(_))) || result.is_ok_and(|n| n < sent.len()));
    assert!(std::ptr::eq(address, bytes.as_slice().as_ptr()));
    assert!(bytes.as_slice() == sent);
    // A driver that goes away with operations in flight takes nothing from under the kernel.
    let (other, _peer) = alone.connect(1, 1);
    alone.driver.submit_send(other, FrameBytes::Owned(sent), 0);
    alone.driver.arm_recv(other);
    alone.driver.wait(Some(Duration::ZERO)).expect("the ring works");
    drop(alone);
}

/// A slot that is used again gets completions of its own generation only.
#[test]
fn late_cqe_hits_a_reused_slot() {
    let mut alone = Alone::new(TINY);
    for generation in 1..100 {
        let (sock, mut peer) = alone.connect(5, generation);
        alone.driver.arm_recv(sock);
        peer.write_all(&[generation as u8]).expect("connected");
        alone.driver.disarm_recv(sock);
        loop {
            let received = alone.next_recv();
            assert_eq!(received.conn, ConnId { slot: 5, generation });
            assert!(received.bytes.iter().all(|byte| *byte == generation as u8));
            alone.release(received.lease);
            if !received.armed {
                break;
            }
        }
        alone.driver.close(sock, CloseHow::Orderly);
    }
}

/// A wait that times out takes nothing from the receives that are armed.
#[test]
fn link_timeout_eats_data() {
    let mut alone = Alone::new(TINY);
    let (sock, mut peer) = alone.connect(0, 1);
    alone.driver.arm_recv(sock);
    for round in 0..200_u8 {
        alone.driver.wait(Some(Duration::from_micros(50))).expect("time is up");
        peer.write_all(&[round]).expect("connected");
        let received = alone.next_recv();
        assert_eq!((received.bytes, received.armed), (vec![round], true));
        alone.release(received.lease);
    }
}

/// A wake-up that cannot arrive is not tried for ever.
#[test]
fn a_wake_up_that_is_refused_for_good_does_not_spin() {
    let mut alone = Alone::new(TINY);
    let no_ring = File::open("/dev/null").expect("a descriptor that is no ring");
    alone.driver.set_peers(RingFds::from([no_ring.as_raw_fd()]));
    alone.driver.wake(ShardId(0));
    for _ in 0..10 {
        alone.driver.wait(Some(Duration::from_millis(1))).expect("the ring works");
        assert!(alone.driver.next_completion().is_none());
    }
    // The message and the read of the bell.
    assert_eq!(alone.driver.counts().submissions, 2);
}

/// Two rings: the one that sleeps for ever wakes up.
#[test]
fn a_wake_up_reaches_a_ring_that_waits() {
    let (send, take) = std::sync::mpsc::channel();
    let sleeping = std::thread::spawn(move || {
        let bell = tidegate::mail::Bell::new().expect("a descriptor");
        let mut driver = UringDriver::new(TINY, bell.fd().as_raw_fd()).expect("a ring");
        send.send(driver.ring_fd()).expect("the test listens");
        driver.wait(None).expect("the ring works");
        assert!(matches!(driver.next_completion(), Some(Completion::Woken)));
        // The other ring's thread may still be in its call.
        send.send(-1).expect("the test listens");
    });
    let mut alone = Alone::new(TINY);
    let ring = take.recv_timeout(PATIENCE).expect("the other ring was built");
    alone.driver.set_peers(RingFds::from([ring]));
    alone.driver.wake(ShardId(0));
    alone.driver.wait(Some(Duration::ZERO)).expect("the ring works");
    take.recv_timeout(PATIENCE).expect("it woke up");
    sleeping.join().expect("woken by the message");
}

/// The peer of a socket that was reset sees the end even when it never read.
#[test]
fn a_stopped_reader_is_let_go() {
    let (running, mut peers) = start(TINY, 16 * 1024, 1, |_| {});
    let mut peer: UnixStream = peers.remove(0);
    let stream = masked(&pattern(60_000)).repeat(50);
    fill(&mut peer, &stream);
    peer.write_all(&[]).expect("connected");
    let stats = running.stop(vec![peer]);
    assert_eq!(stats.counters.outbox_bytes.get(), 0);
}
