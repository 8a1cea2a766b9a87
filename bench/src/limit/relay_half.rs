//! Server half of a paced fan-out: what a publisher sends goes to all subscribers, by one operation
//! of a ring each. The least framing, and nothing else a server does: no session, no limits.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use tidegate::frame::FrameBytes;
use tidegate::ring::{Completion, Driver, Lease, RecvOutcome};

use super::LimitError;
use super::framing::{Framing, Unfit};
use super::half::{RingHalf, Shared};
use super::wire;

/// Sends what comes on `publisher` to all of `subscribers`, until it is told to stop or all have
/// ended. Call on a thread of its own.
pub(super) fn run(
    publisher: OwnedFd,
    mut subscribers: Vec<OwnedFd>,
    shared: &Shared,
) -> Result<(), LimitError> {
    let peers: Vec<Peer> = subscribers.iter().map(|_| Peer::default()).collect();
    let open_count = peers.len() + 1;
    subscribers.push(publisher);
    let bell = Arc::clone(&shared.server_bell);
    let half = RingHalf::new(wire::SIZES, bell, subscribers)?;
    let mut relay = Relay {
        half,
        peers,
        publications: VecDeque::new(),
        first: 0,
        answer: Vec::new(),
        messages: 0,
        open_count,
    };
    relay.half.arm_all();
    while !shared.is_stopping() && relay.open_count > 0 {
        relay.half.wait(&shared.server, relay.messages)?;
        while let Some(completion) = relay.half.next() {
            relay.reap(completion)?;
        }
    }
    Ok(relay.half.close()?)
}

struct Relay {
    half: RingHalf,
    /// The publisher's place is behind them.
    peers: Vec<Peer>,
    /// Those that some subscriber was not sent yet; usually none or one.
    publications: VecDeque<Publication>,
    /// The number of the first of them.
    first: u64,
    /// Memory for a frame on its way to being shared.
    answer: Vec<u8>,
    /// Publications times subscribers that the kernel took.
    messages: u64,
    open_count: usize,
}

/// What is kept of one subscriber.
#[derive(Debug, Default)]
struct Peer {
    /// The number of the publication it is sent next.
    next: u64,
    sending: bool,
    /// It sent a Close: ours is the last that it gets.
    closing: bool,
}

struct Publication {
    frame: Rc<Arc<[u8]>>,
    /// Subscribers it is not sent to yet.
    left: usize,
}

impl Relay {
    fn reap(&mut self, completion: Completion) -> Result<(), LimitError> {
        match completion {
            Completion::Recv { conn, outcome, lease, armed } => {
                let index = conn.slot as usize;
                if let Some(lease) = lease {
                    self.take(index, lease).map_err(|Unfit| LimitError::Unfit)?;
                }
                if matches!(outcome, RecvOutcome::End | RecvOutcome::Failed(_)) {
                    self.open_count -= 1;
                } else if !armed {
                    self.half.arm(index);
                }
            }
            Completion::Send { conn, bytes, result } => {
                // A short or failed send means that the peer has gone: nothing follows.
                if result.is_ok_and(|taken| taken == bytes.len()) {
                    self.sent(conn.slot as usize, &bytes);
                }
            }
            Completion::Woken => {}
        }
        Ok(())
    }

    fn take(&mut self, index: usize, lease: Lease) -> Result<(), Unfit> {
        let input = self.half.driver.buffer(&lease);
        let is_close = Framing::WebSocket.is_close(input);
        self.answer.clear();
        let answered = Framing::WebSocket.answer(input, &mut self.answer);
        self.half.driver.release(lease);
        answered?;
        if index == self.peers.len() {
            if !is_close {
                self.publish();
            }
        } else if is_close {
            // Alone: nothing is published any more when subscribers leave.
            let peer = &mut self.peers[index];
            peer.closing = true;
            if !peer.sending {
                peer.sending = true;
                self.half.send(index, FrameBytes::Owned(self.answer.clone()));
            }
        }
        Ok(())
    }

    /// Sends what came to everyone who has what came before.
    fn publish(&mut self) {
        let frame: Rc<Arc<[u8]>> = Rc::new(Arc::from(&self.answer[..]));
        let number = self.first + self.publications.len() as u64;
        self.publications
            .push_back(Publication { frame: Rc::clone(&frame), left: self.peers.len() });
        for (index, peer) in self.peers.iter_mut().enumerate() {
            if !peer.sending && !peer.closing && peer.next == number {
                peer.sending = true;
                self.half.send(index, FrameBytes::Shared(Rc::clone(&frame)));
            }
        }
    }

    fn sent(&mut self, index: usize, bytes: &FrameBytes) {
        let peer = &mut self.peers[index];
        peer.sending = false;
        if let FrameBytes::Owned(_) = bytes {
            return self.half.shutdown_write(index);
        }
        self.messages += 1;
        self.publications[(peer.next - self.first) as usize].left -= 1;
        peer.next += 1;
        let next = self.publications.get((peer.next - self.first) as usize);
        if let Some(publication) = next
            && !peer.closing
        {
            peer.sending = true;
            self.half.send(index, FrameBytes::Shared(Rc::clone(&publication.frame)));
        }
        while self.publications.front().is_some_and(|publication| publication.left == 0) {
            self.publications.pop_front();
            self.first += 1;
        }
    }
}
