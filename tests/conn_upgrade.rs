//! A server's handshake through `tidegate::conn::Upgrader`, against clients that write bytes.

mod pair;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::JoinHandle;
use std::time::Duration;

use pair::{run, sockets};
use tidegate::conn::{AnswerError, UpgradeError, UpgradeRefusal, Upgrader};
use tidegate::ws::MessageKind;
use tidegate::ws::handshake::{DeflatePolicy, HandshakeError, Reply, Status};

/// A good handshake for `target`, `more` header lines behind it.
fn request(target: &str, more: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: server.example\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}

/// The lines every 101 to [`request`] begins with.
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

/// A client that sends `input` and reads until the connection ends in order, and the server's end.
fn ask(input: &[u8]) -> (JoinHandle<String>, tokio_uring::net::TcpStream) {
    let (mut near, far) = sockets();
    near.set_read_timeout(Some(Duration::from_secs(20))).expect("an open socket");
    let input = input.to_vec();
    let client = std::thread::spawn(move || {
        near.write_all(&input).expect("a server");
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).expect("an end in order");
        String::from_utf8(answer).expect("text")
    });
    (client, tokio_uring::net::TcpStream::from_std(far))
}

/// What `upgrader` answers to `input`, and why there is no connection.
fn refused(upgrader: Upgrader, input: &str) -> (String, UpgradeError) {
    let (client, stream) = ask(input.as_bytes());
    let mut error = None;
    run(async {
        error = Some(upgrader.upgrade(stream).await.expect_err("a refusal"));
    });
    (client.join().expect("no panic"), error.expect("it ran"))
}

/// The head `upgrader` answers to `input` with, the connection made.
fn upgraded(upgrader: Upgrader, input: &str) -> String {
    let (client, stream) = ask(input.as_bytes());
    run(async {
        drop(upgrader.upgrade(stream).await.expect("a connection"));
    });
    client.join().expect("no panic")
}

#[test]
fn what_comes_behind_the_head_is_read_first() {
    let (mut near, far) = sockets();
    let frame = b"\x81\x85\0\0\0\0first";
    near.write_all(&[request("/", "").as_bytes(), frame].concat()).expect("a server");
    run(async {
        let stream = tokio_uring::net::TcpStream::from_std(far);
        let mut conn = Upgrader::new().upgrade(stream).await.expect("a connection");
        assert_eq!(conn.subprotocol(), None);
        let message = conn.read_message().await.expect("a message");
        assert_eq!(message.as_text(), Some("first"));
        conn.write_message(MessageKind::Text, b"second").await.expect("a reader");
    });
    let mut answer = Vec::new();
    near.read_to_end(&mut answer).expect("an end in order");
    assert_eq!(answer, [SWITCHING.as_bytes(), b"\r\n\x81\x06second"].concat());
}

#[test]
fn the_first_offered_subprotocol_that_is_ours_is_confirmed() {
    let upgrader = Upgrader::new().subprotocols(["b", "c"]);
    let offer = request("/", "Sec-WebSocket-Protocol: a, c, b\r\n");
    let answer = upgraded(upgrader.clone(), &offer);
    assert_eq!(answer, format!("{SWITCHING}Sec-WebSocket-Protocol: c\r\n\r\n"));
    let answer = upgraded(upgrader, &request("/", "Sec-WebSocket-Protocol: a\r\n"));
    assert_eq!(answer, format!("{SWITCHING}\r\n"));
}

#[test]
fn an_application_looks_at_the_request_before_it_answers() {
    let more = "Cookie: who=me\r\nSec-WebSocket-Protocol: v1, v2\r\n";
    let (client, stream) = ask(request("/room?name=a", more).as_bytes());
    run(async {
        let mut handshake = Upgrader::new().accept(stream).await.expect("a request");
        let request = handshake.request();
        assert!(request.is_websocket_upgrade());
        assert_eq!((request.path, request.query), ("/room", Some("name=a")));
        assert_eq!(request.values("cookie").collect::<Vec<_>>(), [b"who=me"]);
        assert_eq!(request.subprotocols().collect::<Vec<_>>(), ["v1", "v2"]);

        let unoffered = handshake.choose_subprotocol("v3");
        assert_eq!(unoffered, Err(AnswerError::SubprotocolNotOffered));
        handshake.choose_subprotocol("v2").expect("it is offered");
        let split = handshake.add_header("X", "a\r\nY: b");
        assert_eq!(split, Err(AnswerError::HeaderMalformed));
        let own = handshake.add_header("sec-websocket-extensions", "x");
        assert_eq!(own, Err(AnswerError::HeaderReserved));
        handshake.add_header("Set-Cookie", "seen=1").expect("a header");
        handshake.add_header("Set-Cookie", "room=a").expect("a header");
        let conn = handshake.upgrade().await.expect("a connection");
        assert_eq!(conn.subprotocol(), Some("v2"));
    });
    let lines = "Sec-WebSocket-Protocol: v2\r\nSet-Cookie: seen=1\r\nSet-Cookie: room=a\r\n\r\n";
    assert_eq!(client.join().expect("no panic"), format!("{SWITCHING}{lines}"));
}

#[test]
fn an_application_answers_in_plain_http_and_the_peer_reads_it_whatever_it_sends() {
    for (method, body) in [("GET", "who are you?\n"), ("HEAD", "")] {
        let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
        let (client, stream) = ask(&[head.as_bytes(), &[b'x'; 100_000]].concat());
        run(async {
            let handshake = Upgrader::new().accept(stream).await.expect("a request");
            assert!(!handshake.request().is_websocket_upgrade());
            let headers = [("WWW-Authenticate", "Basic")];
            handshake.respond(&Reply::text(Status::Unauthorized, &headers, "who are you?")).await;
        });
        let answer = client.join().expect("no panic");
        assert_eq!(
            answer,
            format!(
                "HTTP/1.1 401 Unauthorized\r\nContent-Type: text/plain; charset=utf-8\r\n\
                 Content-Length: 13\r\nConnection: close\r\nWWW-Authenticate: Basic\r\n\r\n{body}"
            )
        );
    }
}

#[test]
fn pages_of_other_hosts_are_refused_unless_the_application_says_otherwise() {
    let own = request("/", "Origin: https://server.example\r\n");
    assert!(upgraded(Upgrader::new(), &own).starts_with(SWITCHING));
    let foreign = request("/", "Origin: https://evil.example\r\n");
    let (answer, error) = refused(Upgrader::new(), &foreign);
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    assert!(answer.ends_with("\"https://evil.example\" may not connect to \"server.example\"\n"));
    let refusal = UpgradeRefusal::OriginNotAllowed {
        origin: "https://evil.example".into(),
        host: "server.example".into(),
    };
    assert_eq!(error, UpgradeError::Refused(refusal));

    let any = Upgrader::new().check_origin(|_| true);
    assert!(upgraded(any, &foreign).starts_with(SWITCHING));
    let none = Upgrader::new().check_origin(|request| request.path != "/");
    assert!(refused(none, &own).0.starts_with("HTTP/1.1 403 "));
}

#[test]
fn what_is_no_handshake_is_told_why() {
    let plain = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
    for (input, error, status) in [
        (plain, HandshakeError::UpgradeMissing, "426 Upgrade Required"),
        ("GET / HTTP/1.1\r\n\r\n".into(), HandshakeError::HostMissing, "400 Bad Request"),
        ("\x16\x03\x01".into(), HandshakeError::NoRequestLine, "400 Bad Request"),
        (
            request("/", "").replace("Version: 13", "Version: 8"),
            HandshakeError::VersionUnsupported,
            "426 Upgrade Required",
        ),
    ] {
        let (answer, got) = refused(Upgrader::new(), &input);
        assert_eq!(got, UpgradeError::Refused(error.into()), "{input}");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{error}\n")), "{answer}");
    }
}

#[test]
fn an_application_words_refusals_itself() {
    let upgrader = Upgrader::new().error_reply(|request, refusal| {
        let path = request.map_or("nowhere", |request| request.path);
        let mut reply = refusal.reply();
        reply.body = format!("{path}: sorry").into_bytes().into();
        reply
    });
    let (answer, _) = refused(upgrader.clone(), "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 426 ") && answer.ends_with("\r\n\r\n/x: sorry"));
    assert!(answer.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{answer}");
    let (answer, _) = refused(upgrader, "\n");
    assert!(answer.ends_with("\r\n\r\nnowhere: sorry"), "{answer}");
}

#[test]
fn time_counts_from_the_stream_and_no_byte_moves_it() {
    let upgrader = Upgrader::new().handshake_timeout(Duration::from_millis(50));
    for input in ["", "GET / HTTP/1.1\r\nHost: a\r\n"] {
        let (answer, error) = refused(upgrader.clone(), input);
        assert_eq!((answer.as_str(), error), ("", UpgradeError::TimedOut));
    }
}

#[test]
fn a_peer_that_leaves_in_the_middle_is_gone() {
    for input in ["", "GET / HT"] {
        let (mut near, far) = sockets();
        near.write_all(input.as_bytes()).expect("a server");
        drop(near);
        run(async {
            let stream = tokio_uring::net::TcpStream::from_std(far);
            let error = Upgrader::new().upgrade(stream).await.err();
            assert_eq!(error, Some(UpgradeError::PeerGone));
        });
    }
}

#[test]
fn settings_may_be_shared_by_threads() {
    fn is_shared<T: Clone + Send + Sync>() {}
    is_shared::<Upgrader>();
    is_shared::<tidegate::conn::Dialer>();
}

#[test]
#[should_panic = "fits"]
fn a_window_that_nobody_has_is_refused_when_it_is_set() {
    let policy = DeflatePolicy { server_window_bits_max: 16, ..DeflatePolicy::ANY };
    let _ = Upgrader::new().compression(Some(policy));
}

/// The future of a handshake whose peer is silent is dropped in the middle of its read. The peer
/// must see the end while the runtime goes on.
#[test]
fn a_handshake_that_is_given_up_ends_the_connection() {
    let (near, far) = sockets();
    near.set_read_timeout(Some(Duration::from_secs(20))).expect("an open socket");
    run(async {
        let upgrader = Upgrader::new();
        let stream = tokio_uring::net::TcpStream::from_std(far);
        tokio::select! {
            biased;
            _ = upgrader.upgrade(stream) => panic!("nothing was sent"),
            () = tokio::task::yield_now() => {}
        }
        let read_end = move || (&near as &TcpStream).read(&mut [0; 1]).expect("an end in order");
        let end = tokio::task::spawn_blocking(read_end).await;
        assert_eq!(end.expect("no panic"), 0);
    });
}
