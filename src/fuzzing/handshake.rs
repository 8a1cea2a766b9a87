//! Request heads and the list of extensions in them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::cuttings;
use crate::limits;
use crate::ws::DeflateParams;
use crate::ws::handshake::{
    ClientRequest, DeflateOffer, DeflatePolicy, Extension, HandshakeError, HeadReader, Request,
};

/// A request head: how it is cut changes nothing, no limit is passed, a client that asks the same
/// way is understood the same way and takes the answer, and a refusal is HTTP.
pub fn http_head(data: &[u8]) {
    let cuttings = cuttings(data);
    let end = head_end(data, &cuttings[0]);
    for cuts in &cuttings[1..] {
        assert_eq!(head_end(data, cuts), end, "cut at {cuts:?}");
    }
    let head = match end {
        Ok(None) => {
            assert!(data.len() <= limits::HEAD_SIZE_MAX);
            return;
        }
        Ok(Some(len)) => &data[..len],
        Err(fault) => return check_refusal(fault),
    };
    assert!(head.len() <= limits::HEAD_SIZE_MAX && head.ends_with(b"\r\n\r\n"));
    assert!(head.split(|byte| *byte == b'\n').all(|line| line.len() <= limits::HEAD_LINE_MAX + 1));
    let request = match Request::parse(head) {
        Ok(request) => request,
        Err(fault) => return check_refusal(fault),
    };
    assert!(request.path.starts_with('/') && !request.path.contains('?'));
    let target_and_host = [request.path, request.query.unwrap_or_default(), request.host];
    let clean = |text: &str| text.bytes().all(|byte| byte > b' ' && byte != 0x7F);
    assert!(target_and_host.into_iter().all(clean), "{request:?}");
    match request.upgrade(&OURS) {
        Ok(_) => check_same_again(&request),
        Err(fault) => check_refusal(fault),
    }
}

/// The value of `Sec-WebSocket-Extensions`: read, written and read again it is the same, and what a
/// server agrees to is within its policy and its client takes it.
pub fn extension_header(data: &[u8]) {
    let head = [HEAD_BEGIN, data, b"\r\n\r\n"].concat();
    if HeadReader::new().handle(&head) != Ok(Some(head.len())) {
        return;
    }
    let Ok(request) = Request::parse(&head) else { return };
    let Ok(mut upgrade) = request.upgrade(&[]) else { return };
    let written = write_list(&upgrade.extensions);
    let again = [HEAD_BEGIN, written.as_bytes(), b"\r\n\r\n"].concat();
    if HeadReader::new().handle(&again) == Ok(Some(again.len())) {
        let again = Request::parse(&again).expect("only a value differs");
        let again = again.upgrade(&[]).expect("what was understood was written");
        assert_eq!(again.extensions, upgrade.extensions);
    }
    for policy in [DeflatePolicy::ANY, DeflatePolicy::SHARED, NARROW] {
        let agreed = upgrade.agree_deflate(&policy);
        let mut answer = Vec::new();
        upgrade.append_response(&mut answer);
        let client = ClientRequest { extensions: &written, ..CLIENT };
        let seen = client.check(&answer).expect("a client takes the answer to its offer");
        let seen = DeflateOffer::ANY.check(&seen.extensions);
        assert_eq!(seen, Ok(agreed), "client and server agree on {written}");
        if let Some(params) = agreed {
            check_policy(params, &policy);
        }
    }
}

fn head_end(data: &[u8], cuts: &[usize]) -> Result<Option<usize>, HandshakeError> {
    let mut reader = HeadReader::new();
    for &end in cuts.iter().chain([&data.len()]) {
        if let Some(len) = reader.handle(&data[..end])? {
            return Ok(Some(len));
        }
    }
    Ok(None)
}

/// Every refusal is a whole answer of HTTP that says nothing the peer has sent.
fn check_refusal(fault: HandshakeError) {
    let mut reply = Vec::new();
    fault.append_reply(&mut reply, true);
    assert_eq!(HeadReader::new().handle(&reply), Ok(Some(reply.len())), "{fault}");
    assert!(fault.status().code() >= 400);
}

/// What was read of a good request is asked once more by our own client.
fn check_same_again(request: &Request<'_>) {
    let key = request.values("sec-websocket-key").next().expect("it was checked");
    let key: Vec<u8> = STANDARD.decode(key).expect("it was checked");
    let target = match request.query {
        Some(query) => format!("{}?{query}", request.path),
        None => request.path.to_owned(),
    };
    let subprotocols: Vec<_> = request.subprotocols().collect();
    let client = ClientRequest {
        host: request.host,
        target: &target,
        key: key.try_into().expect("16 bytes"),
        subprotocols: &subprotocols,
        ..CLIENT
    };
    let mut head = Vec::new();
    client.append(&mut head).expect("what was read can be written");
    if HeadReader::new().handle(&head) != Ok(Some(head.len())) {
        // Lines are as long as they may be, and ours are a little longer.
        return;
    }
    let again = Request::parse(&head).expect("it was written by our client");
    assert_eq!((again.path, again.query), (request.path, request.query));
    assert_eq!(again.host, request.host);
    assert!(again.subprotocols().eq(subprotocols.iter().copied()));
    let upgrade = again.upgrade(&OURS).expect("it was written by our client");
    let mut answer = Vec::new();
    upgrade.append_response(&mut answer);
    let agreed = client.check(&answer).expect("our client takes our answer");
    assert_eq!(agreed.subprotocol, upgrade.subprotocol);
}

fn write_list(extensions: &[Extension<'_>]) -> String {
    let written = extensions.iter().map(|extension| {
        let parameters = extension.parameters.iter().map(|(name, value)| match value {
            Some(value) => format!(" ; {name}=\"{value}\""),
            None => format!(";{name}"),
        });
        extension.name.to_owned() + &parameters.collect::<String>()
    });
    written.collect::<Vec<_>>().join(" ,")
}

fn check_policy(params: DeflateParams, policy: &DeflatePolicy) {
    let server_bits = policy.server_window_bits_min..=policy.server_window_bits_max;
    assert!(server_bits.contains(&params.server_window_bits), "{params:?}");
    // A client that does not offer to be told uses the largest.
    assert!((9..=15).contains(&params.client_window_bits), "{params:?}");
    assert!(params.server_no_context_takeover || !policy.server_no_context_takeover);
    assert!(params.client_no_context_takeover || !policy.client_no_context_takeover);
}

const OURS: [&str; 2] = ["chat", "v1.news"];

const NARROW: DeflatePolicy = DeflatePolicy {
    server_window_bits_max: 12,
    server_window_bits_min: 10,
    client_window_bits_max: 11,
    ..DeflatePolicy::ANY
};

const CLIENT: ClientRequest<'_> = ClientRequest {
    host: "a",
    target: "/",
    key: [0; 16],
    subprotocols: &[],
    extensions: "",
    headers: &[],
};

const HEAD_BEGIN: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Extensions: ";
