//! Sockets in slots of a ring's table: which get one, that their descriptors are given back, and
//! that an operation that is late meets no other socket.

mod live;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tidegate::frame::FrameBytes;
use tidegate::id::ConnId;
use tidegate::ring::{CloseHow, Completion, Driver, RecvOutcome, Sock, TableSizes, probe_table};

use live::{Alone, PATIENCE, TINY, await_until};

/// One end of a pair, the other, and how the kernel names the first.
fn pair() -> (OwnedFd, UnixStream, String) {
    let (ours, peer) = UnixStream::pair().expect("descriptors");
    peer.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
    let link = fs::read_link(format!("/proc/self/fd/{}", ours.as_raw_fd())).expect("it is open");
    (ours.into(), peer, link.to_string_lossy().into_owned())
}

/// Whether a descriptor of this process is that socket.
fn has_descriptor(name: &str) -> bool {
    let open = fs::read_dir("/proc/self/fd").expect("procfs");
    open.flatten()
        .any(|fd| fs::read_link(fd.path()).is_ok_and(|link| link.to_string_lossy() == name))
}

/// A driver with a table, and on it as many sockets as `held` says whether they keep descriptors.
fn with_sockets(sizes: TableSizes, held: &[bool]) -> (Alone, Vec<(Sock, UnixStream)>) {
    let mut alone = Alone::new(TINY);
    alone.driver.register_table(sizes).expect("a table");
    let sockets = (0..).zip(held).map(|(slot, held)| {
        let (ours, peer, name) = pair();
        let sock = alone.driver.insert(ConnId { slot, generation: 1 }, ours);
        assert_eq!(has_descriptor(&name), *held, "socket {slot}");
        (sock, peer)
    });
    let sockets = sockets.collect();
    (alone, sockets)
}

fn send(alone: &mut Alone, sock: Sock, bytes: &[u8]) {
    alone.driver.submit_send(sock, FrameBytes::Owned(bytes.to_vec()), 0);
    let Completion::Send { result, .. } = alone.next() else { panic!("not a send") };
    assert_eq!(result, Ok(bytes.len()));
}

#[test]
fn this_kernel_lets_go_of_closed_slots() {
    probe_table().expect("Linux 6.13 or newer");
}

/// The first keep their descriptors, the next get slots, and what finds no slot keeps its
/// descriptor too; all work alike.
#[test]
fn descriptors_come_first_then_slots_then_descriptors_again() {
    let sizes = TableSizes { slots: 2, ordinary_max: 1 };
    let (mut alone, sockets) = with_sockets(sizes, &[true, false, false, true]);
    for (index, (sock, mut peer)) in (0..).zip(sockets) {
        alone.driver.arm_recv(sock);
        peer.write_all(&[index]).expect("connected");
        let received = alone.next_recv();
        assert_eq!((received.conn.slot, &received.bytes[..]), (index.into(), &[index][..]));
        alone.release(received.lease);
        send(&mut alone, sock, &[index]);
        alone.driver.shutdown_write(sock);
        alone.driver.wait(Some(Duration::ZERO)).expect("the ring works");
        let mut got = Vec::new();
        peer.read_to_end(&mut got).expect("its end, the write side being shut down");
        assert_eq!(got, [index]);
        drop(peer);
        let end = alone.next_recv();
        assert_eq!((end.outcome, end.armed), (RecvOutcome::End, false));
        alone.driver.close(sock, CloseHow::Orderly);
    }
}

/// A place that is free again is used again, of either kind.
#[test]
fn closed_sockets_make_room() {
    let sizes = TableSizes { slots: 1, ordinary_max: 1 };
    let (mut alone, sockets) = with_sockets(sizes, &[true, false]);
    for (sock, mut peer) in sockets {
        alone.driver.close(sock, CloseHow::Orderly);
        alone.driver.wait(Some(Duration::ZERO)).expect("the ring works");
        assert_eq!(peer.read(&mut [0]).expect("its end"), 0);
    }
    // Takes the completion of the slot's close.
    assert!(alone.driver.next_completion().is_none());
    for (slot, held) in [(0, true), (1, false)] {
        let (ours, _peer, name) = pair();
        alone.driver.insert(ConnId { slot, generation: 2 }, ours);
        assert_eq!(has_descriptor(&name), held);
    }
}

/// A worker of the kernel's shuts slots down when it comes to it. The socket that was meant is
/// closed by then; whoever comes next is not shut down in its place.
#[test]
fn a_late_shutdown_meets_no_other_socket() {
    let mut alone = Alone::new(TINY);
    alone.driver.register_table(TableSizes { slots: 1, ordinary_max: 0 }).expect("a table");
    let mut slots_used = 0;
    for round in 0..2_000_u32 {
        let (ours, mut peer, name) = pair();
        let sock = alone.driver.insert(ConnId { slot: 0, generation: round }, ours);
        slots_used += u32::from(!has_descriptor(&name));
        alone.driver.wait(Some(Duration::ZERO)).expect("the ring works");
        send(&mut alone, sock, b"x");
        peer.read_exact(&mut [0]).expect("what was sent");
        alone.driver.shutdown_write(sock);
        alone.driver.close(sock, CloseHow::Orderly);
        alone.driver.wait(Some(Duration::ZERO)).expect("the ring works");
        assert!(alone.driver.next_completion().is_none());
    }
    assert!(slots_used > 1, "the slot was used once only");
    // Its last holder gone, the slot is free.
    await_until(|| {
        alone.driver.wait(Some(Duration::from_millis(1))).expect("the ring works");
        assert!(alone.driver.next_completion().is_none());
        let (ours, _peer, name) = pair();
        let sock = alone.driver.insert(ConnId { slot: 0, generation: 0 }, ours);
        alone.driver.close(sock, CloseHow::Orderly);
        !has_descriptor(&name)
    });
}
