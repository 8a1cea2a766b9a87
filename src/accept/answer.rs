//! From a request head to what the acceptor does about it, without any IO.

use std::net::SocketAddr;

use crate::lifecycle::Phase;
use crate::protocol::admission::{Admitted, Entry, Page, Policy, RawEntry, Refusal, Who, admit};
use crate::ws::DeflateParams;
use crate::ws::handshake::{HandshakeError, Request};

use super::page;

/// What a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A WebSocket, if there is room for it.
    Upgrade {
        /// What it is for.
        entry: Entry,
        /// What the 101 says about compression.
        deflate: Option<DeflateParams>,
        /// The 101, to be sent by the shard.
        response: Vec<u8>,
    },
    /// As [`Answer::Upgrade`], once others have said who asks and what that allows.
    Undecided(Undecided),
    /// A page; the connection ends after it.
    Page {
        /// The whole answer.
        response: Vec<u8>,
    },
    /// An HTTP error; the connection ends after it.
    Refused {
        /// Why.
        refusal: Refusal,
        /// The whole answer.
        response: Vec<u8>,
    },
}

/// A correct upgrade to `/raw` about which others decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecided {
    /// What was asked for.
    pub wish: RawEntry,
    /// Who asks.
    pub who: Who,
    /// What the 101 says about compression.
    pub deflate: Option<DeflateParams>,
    /// The 101, to be sent by the shard.
    pub response: Vec<u8>,
}

/// What answers depend on besides the request and the phase.
#[derive(Clone, Debug)]
pub struct Site {
    /// What is allowed.
    pub policy: Policy,
    /// Where the HTTP API listens; the demo page tells.
    pub admin: SocketAddr,
    /// Whether the HTTP API asks for a key; for the demo page's curl line.
    pub keyed: bool,
}

impl Answer {
    /// Decides about `request` in `phase`.
    pub fn to_request(request: &Request<'_>, site: &Site, phase: Phase) -> Self {
        let head_only = request.method == "HEAD";
        let admitted = match admit(request, &site.policy) {
            // What is wrong stays wrong while the process drains: that answer comes first.
            Ok(_) if phase >= Phase::Draining => Err(Refusal::Draining),
            decided => decided,
        };
        match admitted {
            Ok(Admitted::Page(page)) => {
                let reply = match page {
                    Page::Health => page::health(),
                    Page::Demo => page::demo(site.admin, site.keyed),
                };
                let mut response = Vec::new();
                reply.append(&mut response, head_only);
                Self::Page { response }
            }
            Ok(Admitted::Socket { upgrade, entry }) => {
                let mut response = Vec::new();
                upgrade.append_response(&mut response);
                Self::Upgrade { entry, deflate: upgrade.deflate(), response }
            }
            Ok(Admitted::Undecided { upgrade, wish, who }) => {
                let mut response = Vec::new();
                upgrade.append_response(&mut response);
                Self::Undecided(Undecided { wish, who, deflate: upgrade.deflate(), response })
            }
            Err(refusal) => Self::refusal(refusal, head_only),
        }
    }

    /// The answer to a head that is no request.
    pub fn to_fault(error: HandshakeError) -> Self {
        Self::refusal(error.into(), false)
    }

    /// The answer that says `refusal`.
    pub fn refusal(refusal: Refusal, head_only: bool) -> Self {
        let mut response = Vec::new();
        refusal.append_reply(&mut response, head_only);
        Self::Refused { refusal, response }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(head: &str, phase: Phase) -> Answer {
        let policy = Policy { echo: true, demo: true, ..Policy::default() };
        let site = Site { policy, admin: ([127, 0, 0, 1], 8001).into(), keyed: false };
        match Request::parse(head.as_bytes()) {
            Ok(request) => Answer::to_request(&request, &site, phase),
            Err(error) => Answer::to_fault(error),
        }
    }

    fn refused(answer: Answer) -> (Refusal, String) {
        match answer {
            Answer::Refused { refusal, response } => {
                (refusal, String::from_utf8(response).expect("text"))
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn draining_refuses_health_pages_and_sockets() {
        let socket = "GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        assert!(matches!(answer(socket, Phase::Serving), Answer::Upgrade { .. }));
        let page = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";
        assert!(matches!(answer(page, Phase::Serving), Answer::Page { .. }));
        for head in [socket, page, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
            for phase in [Phase::Draining, Phase::Drained] {
                let (refusal, response) = refused(answer(head, phase));
                assert_eq!(refusal, Refusal::Draining);
                assert!(response.contains("\r\nRetry-After: "), "{response}");
            }
        }
        let (refusal, _) = refused(answer("GET /x HTTP/1.1\r\nHost: a\r\n\r\n", Phase::Draining));
        assert_eq!(refusal, Refusal::PathUnknown);
    }

    #[test]
    fn answers_to_head_have_no_body() {
        let (_, response) =
            refused(answer("HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n", Phase::Serving));
        assert!(response.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"));
        assert!(response.ends_with("\r\n\r\n"), "{response}");
    }
}
