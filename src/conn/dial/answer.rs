//! Sending a request and reading what is answered.

use super::{DialError, Response};
use crate::conn::exchange::{Exchange, HeadEnd};
use crate::limits;
use crate::ws::handshake::ResponseError;

/// Sends a request.
pub(super) async fn send(exchange: &mut Exchange, request: Vec<u8>) -> Result<(), DialError> {
    let sent = exchange.send(request).await;
    if exchange.has_timed_out() {
        return Err(DialError::TimedOut);
    }
    sent.map_err(|_| DialError::Lost)
}

/// Reads the head of an answer; gives all that was received, what follows the head included, and
/// the length of the head.
pub(super) async fn read_response(
    exchange: &mut Exchange,
) -> Result<(Response, Vec<u8>, usize), DialError> {
    let malformed = DialError::BadHandshake { error: ResponseError::Malformed, response: None };
    match exchange.read_head().await {
        (received, HeadEnd::Complete { head_len }) => {
            match Response::parse(&received[..head_len]) {
                Some(response) => Ok((response, received, head_len)),
                None => Err(malformed),
            }
        }
        (_, HeadEnd::Broken(_)) => Err(malformed),
        (_, HeadEnd::Aborted) => Err(DialError::Lost),
        (_, HeadEnd::TimedOut) => Err(DialError::TimedOut),
    }
}

/// Reads the beginning of the body of `response`, which begins behind `head_len` bytes of
/// `received`. Whatever ends it, time included, is the end: that there is a refusal is known.
pub(super) async fn read_body(
    exchange: &mut Exchange,
    response: &mut Response,
    mut received: Vec<u8>,
    head_len: usize,
) {
    let framing = response.framing();
    loop {
        let (body, complete) = framing.decode(&received[head_len..]);
        response.body = body;
        if complete || received.len() - head_len >= BODY_RECEIVED_MAX {
            return;
        }
        received.reserve(limits::REFUSAL_BODY_MAX);
        let (result, buffer) = exchange.read(received).await;
        received = buffer;
        if exchange.has_timed_out() || !matches!(result, Ok(1..)) {
            return;
        }
    }
}

/// Bytes received of a body whose chunks may be as small as one byte, or hold extensions.
const BODY_RECEIVED_MAX: usize = 8 * limits::REFUSAL_BODY_MAX;
