//! A client's handshake through `tidegate::conn::Dialer`, against servers that write bytes and
//! against `Upgrader`.

mod pair;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pair::run;
use rustix::net::{AddressFamily, SocketType};
use tidegate::conn::{CookieJar, DialError, Dialer, Proxy, Response, Upgrader, UrlError};
use tidegate::ws::MessageKind;
use tidegate::ws::handshake::{DeflateOffer, DeflatePolicy, Request, ResponseError};

const PATIENCE: Duration = Duration::from_secs(20);

/// A dialer that nothing in the environment can send elsewhere.
fn dialer() -> Dialer {
    Dialer::new().proxy(Proxy::direct())
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// The next client and the request it sends.
fn accept(listener: &TcpListener) -> (TcpStream, String) {
    let (client, _) = listener.accept().expect("a client");
    client.set_read_timeout(Some(PATIENCE)).expect("an open socket");
    accept_on(client)
}

/// The next request on a connection that has begun.
fn accept_on(mut client: TcpStream) -> (TcpStream, String) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("a request");
        request.push(byte[0]);
    }
    (client, String::from_utf8(request).expect("text"))
}

/// The 101 to `request`, from a server that speaks no subprotocol; `more` header lines at its end.
fn switching(request: &str, more: &str) -> String {
    let mut answer = Vec::new();
    let request = Request::parse(request.as_bytes()).expect("a request");
    request.upgrade(&[]).expect("an upgrade").append_response(&mut answer);
    let head = String::from_utf8(answer).expect("text");
    format!("{}{more}\r\n", &head[..head.len() - 2])
}

/// A server for one client: answers its request with what `answer` makes of it and ends the
/// connection. Gives the request.
fn serve<A: Into<Vec<u8>>>(
    answer: impl FnOnce(&str) -> A + Send + 'static,
) -> (JoinHandle<String>, SocketAddr) {
    let (listener, address) = listen();
    let server = std::thread::spawn(move || {
        let (mut client, request) = accept(&listener);
        client.write_all(&answer(&request).into()).expect("a client");
        request
    });
    (server, address)
}

/// Dials a server that answers with `answer`, which must be refused.
fn refused(answer: &'static str) -> DialError {
    let (server, address) = serve(|_| answer.to_owned());
    let mut error = None;
    run(async {
        error = dialer().dial(&format!("ws://{address}/"), &[]).await.err();
    });
    server.join().expect("no panic");
    error.expect("a refusal")
}

#[test]
fn the_two_ends_of_the_library_agree() {
    run(async {
        let listener =
            tokio_uring::net::TcpListener::bind("127.0.0.1:0".parse().expect("an address"));
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("bound");
        let server = tokio_uring::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a client");
            let upgrader = Upgrader::new().subprotocols(["v1", "v2"]);
            let mut handshake = upgrader.accept(stream).await.expect("a request");
            let request = handshake.request();
            assert_eq!((request.path, request.query), ("/room", Some("name=%C3%A4")));
            assert_eq!(request.host, format!("localhost:{}", address.port()));
            assert_eq!(request.origin(), Ok(Some(request_origin(address).as_bytes())));
            handshake.add_header("X-Seen", "yes").expect("a header");
            let mut conn = handshake.upgrade().await.expect("a connection");
            let message = conn.read_message().await.expect("a message");
            conn.write_message(message.kind, &message.payload).await.expect("a reader");
            conn
        });
        // A name, so that it is resolved; and one that may have an address nobody listens on.
        let url = format!("ws://localhost:{}/room?name=\u{e4}", address.port());
        let dialer = dialer().subprotocols(["v3", "v2"]);
        let origin = request_origin(address);
        let (mut conn, response) =
            dialer.dial(&url, &[("Origin", &origin)]).await.expect("a connection");
        assert_eq!((response.status, response.reason.as_str()), (101, "Switching Protocols"));
        assert_eq!(response.header("x-seen"), Some("yes"));
        assert_eq!(conn.subprotocol(), Some("v2"));
        conn.write_message(MessageKind::Text, b"hello").await.expect("a reader");
        assert_eq!(conn.read_message().await.expect("an echo").as_text(), Some("hello"));
        assert_eq!(server.await.expect("no panic").subprotocol(), Some("v2"));
    });
}

/// Pairings of an offer and a policy. What both agree on is what both do, or an echo of a large
/// message would not be the message.
#[test]
fn the_two_ends_agree_on_compression_or_on_none() {
    let small = DeflateOffer { server_window_bits: 9, ..DeflateOffer::ANY };
    let small_policy = DeflatePolicy { client_window_bits_max: 9, ..DeflatePolicy::ANY };
    for (offer, policy, line) in [
        (None, None, None),
        (Some(DeflateOffer::ANY), None, None),
        (None, Some(DeflatePolicy::ANY), None),
        (Some(DeflateOffer::ANY), Some(DeflatePolicy::ANY), Some("permessage-deflate")),
        (Some(small), Some(DeflatePolicy::SHARED), None),
        (
            Some(small),
            Some(small_policy),
            Some("permessage-deflate; server_max_window_bits=9; client_max_window_bits=9"),
        ),
        (
            Some(DeflateOffer::ANY),
            Some(DeflatePolicy::SHARED),
            Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        ),
    ] {
        run(async {
            let (listener, address) = listen();
            let listener = tokio_uring::net::TcpListener::from_std(listener);
            let server = tokio_uring::spawn(async move {
                let (stream, _) = listener.accept().await.expect("a client");
                let upgrader = Upgrader::new().compression(policy);
                let mut conn = upgrader.upgrade(stream).await.expect("a connection");
                while let Ok(message) = conn.read_message().await {
                    conn.write_message(message.kind, &message.payload).await.expect("a reader");
                }
            });
            let dialer = dialer().compression(offer);
            let dialed = dialer.dial(&format!("ws://{address}/"), &[]).await;
            let (mut conn, response) = dialed.expect("a connection");
            assert_eq!(response.header("sec-websocket-extensions"), line);
            let text = "the tide comes in, the tide goes out; ".repeat(3_000);
            for _ in 0..3 {
                conn.write_message(MessageKind::Text, text.as_bytes()).await.expect("a reader");
                assert_eq!(conn.read_message().await.expect("an echo").as_text(), Some(&*text));
            }
            drop(conn);
            server.await.expect("no panic");
        });
    }
}

/// A server that answers an offer with what was not in it is of no use.
#[test]
fn compression_that_was_not_offered_is_refused() {
    for (offer, answer, expect) in [
        (None, "permessage-deflate", ResponseError::ExtensionNotOffered),
        (
            Some(DeflateOffer { client_window_bits: None, ..DeflateOffer::ANY }),
            "permessage-deflate; client_max_window_bits=9",
            ResponseError::DeflateNotOffered,
        ),
    ] {
        let more = format!("Sec-WebSocket-Extensions: {answer}\r\n");
        let (server, address) = serve(move |request| switching(request, &more));
        run(async {
            let dialer = dialer().compression(offer);
            let error = dialer.dial(&format!("ws://{address}/"), &[]).await.err();
            let refused = matches!(
                &error, Some(DialError::BadHandshake { error, .. }) if *error == expect
            );
            assert!(refused, "{error:?}");
        });
        server.join().expect("no panic");
    }
}

fn request_origin(address: SocketAddr) -> String {
    format!("http://localhost:{}", address.port())
}

#[test]
fn the_request_says_what_was_asked_for() {
    let (server, address) = serve(|request| switching(request, ""));
    run(async {
        let headers = [("Origin", "https://a"), ("X", "1"), ("x", "2")];
        let url = format!("ws://me:s%20cret@{address}?q=1");
        dialer().dial(&url, &headers).await.expect("a connection");
    });
    let request = server.join().expect("no panic");
    let key = request.split("Sec-WebSocket-Key: ").nth(1).expect("a key");
    let key = &key[..24];
    assert_eq!(
        request,
        format!(
            "GET /?q=1 HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\
             Origin: https://a\r\nX: 1\r\nx: 2\r\nAuthorization: Basic bWU6cyBjcmV0\r\n\r\n"
        )
    );
}

#[test]
fn what_comes_behind_the_101_is_read_first() {
    let frame = b"\x81\x05first";
    let (server, address) = serve(|request| [switching(request, "").as_bytes(), frame].concat());
    run(async {
        let url = format!("ws://{address}/");
        let (mut conn, _) = dialer().dial(&url, &[]).await.expect("a connection");
        assert_eq!(conn.read_message().await.expect("a message").as_text(), Some("first"));
    });
    server.join().expect("no panic");
}

#[test]
fn a_refusal_comes_with_the_beginning_of_its_body() {
    let long: &'static str = "x".repeat(2_000).leak();
    for (answer, status, body) in [
        ("HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nwhy?ignored", 403, "why?"),
        ("HTTP/1.0 404 Not Found\r\nServer: old\r\n\r\nuntil the end", 404, "until the end"),
        (
            "HTTP/1.1 503 \r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbus\r\n1\r\ny\r\n0\r\n\r\n",
            503,
            "busy",
        ),
        (format!("HTTP/1.1 500 Oh\r\n\r\n{long}").leak(), 500, &long[..1_024]),
        ("HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n", 304, ""),
    ] {
        let DialError::BadHandshake { error, response } = refused(answer) else {
            panic!("another error");
        };
        assert_eq!(error, ResponseError::Status(status));
        let response = response.expect("it is HTTP");
        assert_eq!((response.status, str::from_utf8(&response.body)), (status, Ok(body)));
    }
}

#[test]
fn answers_that_are_no_upgrade() {
    let key_of_another = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    for (answer, expect, is_http) in [
        (key_of_another, ResponseError::AcceptMismatch, true),
        ("HTTP/1.1 101 Yes\r\n\r\n", ResponseError::UpgradeMissing, true),
        ("SSH-2.0-OpenSSH\r\n\r\n", ResponseError::Malformed, false),
        ("\0", ResponseError::Malformed, false),
    ] {
        let DialError::BadHandshake { error, response } = refused(answer) else {
            panic!("another error");
        };
        assert_eq!((error, response.is_some()), (expect, is_http), "{answer}");
    }
    assert!(matches!(refused(""), DialError::Lost));
    assert!(matches!(refused("HTTP/1.1 101 Switching"), DialError::Lost));
}

#[test]
fn what_cannot_be_asked_is_refused_before_anything_is_sent() {
    run(async {
        for (url, expect) in [
            ("http://127.0.0.1", UrlError::SchemeUnknown),
            ("ws://127.0.0.1/#top", UrlError::FragmentPresent),
            ("ws://", UrlError::HostMalformed),
        ] {
            let error = dialer().dial(url, &[]).await.expect_err("no URL");
            assert!(matches!(error, DialError::Url(error) if error == expect), "{error}");
        }
        let tls = dialer().dial("wss://127.0.0.1/", &[]).await.expect_err("no TLS");
        assert!(matches!(tls, DialError::TlsUnsupported) && tls.to_string().contains("use ws://"));
        for headers in [[("Upgrade", "h2c")], [("X", "a\r\nb")], [("Host", "a b")]] {
            let error = dialer().dial("ws://127.0.0.1:1/", &headers).await.err();
            let is_own = matches!(error, Some(DialError::HeaderReserved { .. }));
            assert!(is_own || matches!(error, Some(DialError::Request(_))), "{error:?}");
        }
    });
}

#[test]
fn names_and_ports_that_nobody_has() {
    let (listener, address) = listen();
    drop(listener);
    run(async {
        let error = dialer().dial(&format!("ws://{address}/"), &[]).await.err();
        let Some(DialError::Connect { address: tried, error }) = error else {
            panic!("another error: {error:?}");
        };
        assert_eq!(tried, address.to_string());
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        // Too long for a label, so nobody needs to be asked.
        let name = "a".repeat(64);
        let error = dialer().dial(&format!("ws://{name}.invalid/"), &[]).await.err();
        assert!(matches!(error, Some(DialError::Resolve { .. })), "{error:?}");
    });
}

#[test]
fn time_is_up_for_a_server_that_says_nothing_or_never_ends() {
    for answer in ["", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"] {
        let (listener, address) = listen();
        let server = std::thread::spawn(move || {
            let (mut client, _) = accept(&listener);
            client.write_all(answer.as_bytes()).expect("a client");
            client.read(&mut [0]).expect("an end in order")
        });
        run(async {
            let dialer = dialer().handshake_timeout(Duration::from_millis(50));
            let error = dialer.dial(&format!("ws://{address}/"), &[]).await.err();
            assert!(matches!(error, Some(DialError::TimedOut)), "{error:?}");
        });
        assert_eq!(server.join().expect("no panic"), 0);
    }
}

/// A listener whose queue is full: the kernel leaves further connections unanswered. Neither the
/// call nor the end of the runtime may wait for the kernel to give up, which takes it two minutes.
#[test]
fn time_is_up_for_an_address_that_does_not_answer() {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None);
    let listener = TcpListener::from(socket.expect("a descriptor"));
    rustix::net::bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    rustix::net::listen(&listener, 0).expect("a bound socket");
    let address = listener.local_addr().expect("bound");
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(100));
    let queued: Vec<_> = std::iter::repeat_with(connect).map_while(Result::ok).take(9).collect();
    assert!(queued.len() < 9, "the queue has no end");
    let started = Instant::now();
    run(async {
        let dialer = dialer().handshake_timeout(Duration::from_millis(50));
        let error = dialer.dial(&format!("ws://{address}/"), &[]).await.err();
        assert!(matches!(error, Some(DialError::TimedOut)), "{error:?}");
    });
    assert!(started.elapsed() < PATIENCE, "the end of the runtime waited");
}

/// The future is dropped while the server thinks. The server must see the end while the runtime
/// goes on.
#[test]
fn dialing_that_is_given_up_leaves_nothing_open() {
    let (listener, address) = listen();
    run(async {
        let (asked, mut was_asked) = tokio::sync::oneshot::channel();
        let server = tokio::task::spawn_blocking(move || {
            let (mut client, _) = accept(&listener);
            asked.send(()).expect("somebody waits");
            client.read(&mut [0]).expect("an end in order")
        });
        let (dialer, url) = (dialer(), format!("ws://{address}/"));
        tokio::select! {
            _ = dialer.dial(&url, &[]) => panic!("nothing was answered"),
            _ = &mut was_asked => {}
        }
        assert_eq!(server.await.expect("no panic"), 0);
    });
}

#[test]
fn streams_may_come_from_elsewhere() {
    let (server, address) = serve(|request| switching(request, ""));
    run(async {
        let dialer = dialer().net_dial(move |asked| async move {
            assert_eq!(asked, "nowhere.example:80");
            tokio_uring::net::TcpStream::connect(address).await
        });
        dialer.dial("ws://nowhere.example", &[]).await.expect("a connection");
        let broken = dialer.net_dial(|_| async { Err(std::io::Error::other("no way")) });
        let error = broken.dial("ws://nowhere.example", &[]).await.expect_err("no way");
        assert_eq!(error.to_string(), "cannot connect to nowhere.example:80: no way");
    });
    assert!(server.join().expect("no panic").contains("\r\nHost: nowhere.example\r\n"));
}

/// A proxy for one client: answers its `CONNECT` with `answer` and is then the server itself.
fn proxy(answer: &'static str) -> (JoinHandle<String>, SocketAddr) {
    let (listener, address) = listen();
    let thread = std::thread::spawn(move || {
        let (mut client, connect) = accept(&listener);
        client.write_all(answer.as_bytes()).expect("a client");
        if answer.starts_with("HTTP/1.1 2") && answer.ends_with("\r\n\r\n") {
            let (mut client, request) = accept_on(client);
            client.write_all(switching(&request, "").as_bytes()).expect("a client");
            return connect + &request;
        }
        connect
    });
    (thread, address)
}

#[test]
fn a_proxy_is_asked_for_a_tunnel_and_resolves_the_name() {
    let (thread, address) = proxy("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n");
    run(async {
        let proxy = Proxy::http(&format!("http://me:p%3Aw@{address}")).expect("a URL");
        let dialer = Dialer::new().proxy(proxy);
        let (conn, _) = dialer.dial("ws://nowhere.example/x", &[]).await.expect("a connection");
        assert_eq!(conn.subprotocol(), None);
    });
    let seen = thread.join().expect("no panic");
    assert!(
        seen.starts_with(
            "CONNECT nowhere.example:80 HTTP/1.1\r\nHost: nowhere.example:80\r\n\
             Proxy-Authorization: Basic bWU6cDp3\r\n\r\n\
             GET /x HTTP/1.1\r\nHost: nowhere.example\r\n"
        ),
        "{seen}"
    );
    assert!(!seen.contains("\r\nAuthorization"), "the proxy's password is not the server's");
}

#[test]
fn a_proxy_that_refuses_says_why() {
    let dial = |answer: &'static str| {
        let (thread, address) = proxy(answer);
        let mut error = None;
        run(async {
            let proxy = Proxy::http(&format!("http://{address}")).expect("a URL");
            error = Dialer::new().proxy(proxy).dial("ws://nowhere.example", &[]).await.err();
        });
        thread.join().expect("no panic");
        error.expect("no connection")
    };
    let error = dial("HTTP/1.1 407 Who are you\r\nContent-Length: 3\r\n\r\nyou");
    let DialError::ProxyRefused { response } = &error else { panic!("another error: {error}") };
    assert_eq!((response.status, response.body.as_slice()), (407, &b"you"[..]));
    assert!(error.to_string().ends_with("407 Who are you"), "{error}");
    assert!(matches!(dial("SSH-2.0\r\n\r\n"), DialError::ProxyMalformed));
    assert!(matches!(dial("HTTP/1.1 200 OK\r\n\r\nx"), DialError::ProxyMalformed));
    assert!(matches!(dial(""), DialError::Lost));
    assert_eq!(Proxy::http("socks5://a").err(), Some(UrlError::SchemeUnknown));
}

/// Remembers pairs of name and value for one server.
#[derive(Default)]
struct Jar(Mutex<Vec<(String, String)>>);

impl CookieJar for Jar {
    fn cookies(&self, url: &str) -> Option<String> {
        let kept = self.0.lock().expect("no panic");
        let own = kept.iter().filter(|(from, _)| from == url).map(|(_, pair)| pair.as_str());
        Some(own.collect::<Vec<_>>().join("; ")).filter(|cookies| !cookies.is_empty())
    }

    fn set_cookies(&self, url: &str, values: &mut dyn Iterator<Item = &str>) {
        let pairs = values.map(|value| value.split(';').next().expect("a piece").to_owned());
        self.0.lock().expect("no panic").extend(pairs.map(|pair| (url.to_owned(), pair)));
    }
}

#[test]
fn cookies_of_one_answer_come_with_the_next_request() {
    let (listener, address) = listen();
    let server = std::thread::spawn(move || {
        let refusal = "HTTP/1.1 401 Who\r\nSet-Cookie: a=1; Path=/\r\nContent-Length: 0\r\n\r\n";
        let (mut client, first) = accept(&listener);
        client.write_all(refusal.as_bytes()).expect("a client");
        let (mut client, second) = accept(&listener);
        let more = "Set-Cookie: b=2\r\nSet-Cookie: \u{e4}=3\r\n";
        client.write_all(switching(&second, more).as_bytes()).expect("a client");
        [first, second]
    });
    let jar = Arc::new(Jar::default());
    run(async {
        let dialer = dialer().cookie_jar(Arc::clone(&jar) as Arc<dyn CookieJar>);
        let url = format!("ws://me@{address}/x");
        let error = dialer.dial(&url, &[]).await.err();
        assert!(matches!(error, Some(DialError::BadHandshake { .. })), "{error:?}");
        let (_, response): (_, Response) = dialer.dial(&url, &[]).await.expect("a connection");
        assert_eq!(response.values("set-cookie").count(), 2);
    });
    let [first, second] = server.join().expect("no panic");
    assert!(!first.contains("Cookie"), "{first}");
    assert!(second.contains("\r\nCookie: a=1\r\n"), "{second}");
    let url = format!("http://{address}/x");
    assert_eq!(jar.cookies(&url).as_deref(), Some("a=1; b=2; \u{e4}=3"));
}
