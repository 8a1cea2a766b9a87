//! One client from `accept` to hand-off or refusal.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use tokio_uring::net::TcpStream;

use super::answer::Answer;
use super::{LogGate, Shared, judge, peer};
use crate::conn::exchange::{Exchange, HeadEnd};
use crate::mail::{Handoff, Request as Mail};
use crate::protocol::admission::{Entry, Refusal};
use crate::ring::fd;
use crate::ws::DeflateParams;
use crate::ws::handshake::Request;

/// For the line that says that there is no room.
static FULL_LOG: LogGate = LogGate::new();

/// Serves one client to the end of its handshake.
pub(super) async fn handshake(shared: &Shared, socket: TcpStream, tcp_peer: SocketAddr) {
    let accepted_at = Instant::now();
    // A listener for both families sees IPv4 peers in IPv6 clothes.
    let tcp_peer = tcp_peer.ip().to_canonical();
    let mut client = Client { shared, exchange: shared.upgrader.begin(socket) };
    let counters = &shared.stats.counters;
    let (received, end) = client.exchange.read_head().await;
    counters.ring_operations.add(client.exchange.operation_count());
    let (peer, head_len, answer) = match end {
        HeadEnd::Complete { head_len } => {
            let (peer, answer) = decide(shared, &received[..head_len], tcp_peer);
            (peer, head_len, judge::settle(shared, answer).await)
        }
        HeadEnd::Broken(error) => (tcp_peer, 0, Answer::to_fault(error)),
        HeadEnd::Aborted => return counters.handshakes_aborted.add(1),
        HeadEnd::TimedOut => return counters.handshakes_timed_out.add(1),
    };
    let response = match answer {
        Answer::Upgrade { entry, deflate, response } => {
            let granted =
                Granted { peer, entry, deflate, response, leftover: &received[head_len..] };
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
        Answer::Undecided(_) => unreachable!("it was settled"),
        Answer::Page { response } => {
            counters.pages_served.add(1);
            response
        }
        Answer::Refused { refusal, response } => {
            note_refusal(shared, &refusal, peer);
            response
        }
    };
    let before = client.exchange.operation_count();
    client.exchange.finish(response, received).await;
    counters.ring_operations.add(client.exchange.operation_count() - before);
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
    deflate: Option<DeflateParams>,
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

/// A client's socket while it is the acceptor's.
struct Client<'a> {
    shared: &'a Shared,
    exchange: Exchange,
}

impl Client<'_> {
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
        let socket = self.exchange.stream();
        fd::set_client_options(socket, self.shared.config.user_timeout)
            .map_err(|_| NotHandedOver::PeerGone)?;
        let socket = fd::duplicate(socket).map_err(|_| refused(Refusal::Full))?;
        let Granted { peer, entry, deflate, response, leftover } = granted;
        // Copied, usually nothing: the room of the head is not worth keeping for it.
        let leftover = leftover.to_vec();
        let handoff = Handoff { socket, response, leftover, peer, entry, deflate, permit };
        lane.push(Mail::Connect(Box::new(handoff))).expect("room was seen by the only producer");
        lane.bell().ring();
        Ok(())
    }
}
