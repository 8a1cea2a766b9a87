//! One client from `accept` to hand-off or refusal.

use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::time::Instant;

use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::TcpStream;

use super::answer::Answer;
use super::deadline::Deadline;
use super::{LogGate, Shared, peer};
use crate::limits;
use crate::mail::{Handoff, Request as Mail};
use crate::protocol::admission::{Entry, Refusal};
use crate::ring::fd;
use crate::ws::handshake::{HandshakeError, HeadReader, Request};

/// For the line that says that there is no room.
static FULL_LOG: LogGate = LogGate::new();

/// Serves one client to the end of its handshake.
pub(super) async fn handshake(shared: &Shared, socket: TcpStream, tcp_peer: SocketAddr) {
    let accepted_at = Instant::now();
    // A listener for both families sees IPv4 peers in IPv6 clothes.
    let tcp_peer = tcp_peer.ip().to_canonical();
    let deadline = Deadline::new(shared.config.handshake_timeout, shared.cut.clone());
    let mut client = Client { shared, socket, deadline };
    let counters = &shared.stats.counters;
    let (received, end) = client.read_head().await;
    let (peer, head_len, answer) = match end {
        HeadEnd::Complete { head_len } => {
            let (peer, answer) = decide(shared, &received[..head_len], tcp_peer);
            (peer, head_len, answer)
        }
        HeadEnd::Broken(error) => (tcp_peer, 0, Answer::to_fault(error)),
        HeadEnd::Aborted => return counters.handshakes_aborted.add(1),
        HeadEnd::TimedOut => return counters.handshakes_timed_out.add(1),
    };
    let response = match answer {
        Answer::Upgrade { entry, response } => {
            let granted = Granted { peer, entry, response, leftover: &received[head_len..] };
            match client.hand_over(granted) {
                Ok(()) => {
                    counters.handshakes_done.add(1);
                    return shared.stats.handshake.record(accepted_at.elapsed());
                }
                Err(NotHandedOver::PeerGone) => return counters.handshakes_aborted.add(1),
                Err(NotHandedOver::Refused(refusal)) => {
                    note_refusal(shared, &refusal, peer);
                    let mut response = Vec::new();
                    refusal.append_reply(&mut response, false);
                    response
                }
            }
        }
        Answer::Page { response } => {
            counters.pages_served.add(1);
            response
        }
        Answer::Refused { refusal, response } => {
            note_refusal(shared, &refusal, peer);
            response
        }
    };
    client.finish(response, received).await;
}

/// Who asks, and what the answer is.
fn decide(shared: &Shared, head: &[u8], tcp_peer: IpAddr) -> (IpAddr, Answer) {
    match Request::parse(head) {
        Ok(request) => (
            peer::address(&request, tcp_peer, &shared.config.trusted_proxies),
            Answer::to_request(&request, &shared.config.site, shared.lifecycle.phase()),
        ),
        Err(error) => (tcp_peer, Answer::to_fault(error)),
    }
}

/// Counts a refusal and says in the log why. What comes from the peer is escaped there.
fn note_refusal(shared: &Shared, refusal: &Refusal, peer: IpAddr) {
    let counters = &shared.stats.counters;
    counters.handshakes_refused.add(1);
    match refusal {
        Refusal::OriginNotAllowed { origin, host } => {
            counters.origins_refused.add(1);
            tracing::warn!(
                ?origin,
                ?host,
                %peer,
                "refused a connection from a page of another origin; to accept it, set \
                 origins = [{origin:?}] under [server]"
            );
        }
        Refusal::Full | Refusal::Overloaded => {
            counters.connections_refused_full.add(1);
            if FULL_LOG.open() {
                tracing::warn!(cause = %refusal, %peer, "refused a connection");
            }
        }
        Refusal::Draining => counters.connections_refused_full.add(1),
        refusal => {
            let status = refusal.status().code();
            tracing::debug!(status, cause = %refusal, %peer, "refused a request");
        }
    }
}

/// An upgrade that admission has granted.
struct Granted<'a> {
    peer: IpAddr,
    entry: Entry,
    response: Vec<u8>,
    leftover: &'a [u8],
}

/// Why a granted upgrade came to nothing.
enum NotHandedOver {
    /// There is no room.
    Refused(Refusal),
    /// The connection was lost meanwhile.
    PeerGone,
}

/// How reading a head ended.
enum HeadEnd {
    /// It is there.
    Complete { head_len: usize },
    /// It breaks a rule.
    Broken(HandshakeError),
    /// The peer closed or reset the connection before.
    Aborted,
    /// Time was up before.
    TimedOut,
}

/// A client's socket while it is the acceptor's.
struct Client<'a> {
    shared: &'a Shared,
    socket: TcpStream,
    deadline: Deadline,
}

impl Client<'_> {
    /// Reads until the head is complete; gives all that was received, what follows the head
    /// included.
    async fn read_head(&mut self) -> (Vec<u8>, HeadEnd) {
        let mut reader = HeadReader::new();
        let mut received = Vec::with_capacity(limits::HEAD_BUFFER_SIZE);
        loop {
            if received.len() == received.capacity() {
                // The reader refuses a head above its limit, so this ends there.
                received.reserve_exact(received.len());
            }
            let (result, buffer) = self.read(received).await;
            received = buffer;
            match result {
                _ if self.deadline.has_passed() => return (received, HeadEnd::TimedOut),
                Ok(0) | Err(_) => return (received, HeadEnd::Aborted),
                Ok(_) => {}
            }
            match reader.handle(&received) {
                Ok(Some(head_len)) => return (received, HeadEnd::Complete { head_len }),
                Ok(None) => {}
                Err(error) => return (received, HeadEnd::Broken(error)),
            }
        }
    }

    /// Mails the socket to the least loaded shard and wakes it. From here to the end there is no
    /// await, so room that is seen is still there. The runtime's own descriptor for the socket is
    /// closed with `self`; the shard's duplicate keeps the connection.
    fn hand_over(&self, granted: Granted<'_>) -> Result<(), NotHandedOver> {
        let refused = NotHandedOver::Refused;
        let permit = self.shared.permits.take().ok_or(refused(Refusal::Full))?;
        let mut shards = self.shared.shards.borrow_mut();
        let lane = &mut shards[permit.shard().index()];
        if lane.room() == 0 {
            return Err(refused(Refusal::Overloaded));
        }
        fd::set_client_options(&self.socket, self.shared.config.user_timeout)
            .map_err(|_| NotHandedOver::PeerGone)?;
        let socket = fd::duplicate(&self.socket).map_err(|_| refused(Refusal::Full))?;
        let Granted { peer, entry, response, leftover } = granted;
        // Copied, usually nothing: the room of the head is not worth keeping for it.
        let leftover = leftover.to_vec();
        let handoff = Handoff { socket, response, leftover, peer, entry, permit };
        lane.push(Mail::Connect(Box::new(handoff))).expect("room was seen by the only producer");
        lane.bell().ring();
        Ok(())
    }

    /// Sends the last words, then reads and discards until the peer closes too, so that no reset
    /// overtakes them. `buffer` is only room to read into.
    async fn finish(mut self, response: Vec<u8>, mut buffer: Vec<u8>) {
        self.shared.count_operation();
        let writing = self.socket.write_all(response);
        let (written, _) = self.deadline.bound(&self.socket, writing).await;
        if written.is_err() || self.socket.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let mut discarded = 0;
        while discarded < limits::REFUSED_DISCARD_MAX {
            buffer.clear();
            let (result, filled) = self.read(buffer).await;
            buffer = filled;
            match result {
                Ok(0) | Err(_) => return,
                Ok(len) => discarded += len,
            }
        }
    }

    /// Reads into the free room of `buffer`, behind what it holds.
    async fn read(&mut self, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        debug_assert!(
            buffer.len() < buffer.capacity(),
            "a read of no room would look like the end"
        );
        self.shared.count_operation();
        let held = buffer.len();
        let reading = self.socket.read(buffer.slice(held..));
        let (result, slice) = self.deadline.bound(&self.socket, reading).await;
        (result, slice.into_inner())
    }
}
