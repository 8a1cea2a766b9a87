//! Servers for the tests that count allocations: threads of their own over plain sockets, no
//! handshake, every message answered whole.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;

use tidegate::ws::{DecodeLimits, Decoder, Event, Role, encode};

use crate::dial::Dialed;

/// How clients speak to a server here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    WebSocket,
    /// Requests to publish, one at a time.
    Http,
    /// Commands to publish, of which subscribers get pushes and a ping in one frame.
    Centrifuge,
}

/// `count` connections, both ends: the server's, the client's.
pub(crate) fn pairs(count: u32) -> (Vec<TcpStream>, Vec<Dialed>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let pair = |number| {
        let client = TcpStream::connect(address).expect("it listens");
        client.set_nodelay(true).expect("a socket");
        let (server, _) = listener.accept().expect("it connected");
        server.set_nodelay(true).expect("a socket");
        let socket = OwnedFd::from(client);
        (server, Dialed { number, socket, leftover: Vec::new() })
    };
    (0..count).map(pair).unzip()
}

/// Sends what comes on `client` to all of `listeners`, until the client ends.
pub(crate) fn serve(mut client: TcpStream, speech: Speech, mut listeners: Vec<TcpStream>) {
    thread::spawn(move || {
        let mut decoder = Decoder::new(Role::Server);
        let limits = DecodeLimits { message_size: 1 << 20, fragments: 1 };
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(len @ 1..) = client.read(&mut buffer) {
            let mut frames = Vec::new();
            match speech {
                Speech::WebSocket | Speech::Centrifuge => {
                    let mut rest = &mut buffer[..len];
                    while !rest.is_empty() {
                        let decoded = decoder.handle(rest, &limits).expect("frames");
                        if let Some(Event::Message(message)) = decoded.event {
                            if speech == Speech::Centrifuge {
                                let [reply, pushes] = carry_out(&message.payload);
                                encode::append_message(&mut frames, message.kind, &pushes);
                                let mut answer = Vec::new();
                                encode::append_message(&mut answer, message.kind, &reply);
                                let _ = client.write_all(&answer);
                            } else {
                                encode::append_message(&mut frames, message.kind, &message.payload);
                            }
                        }
                        let consumed = decoded.consumed;
                        rest = &mut rest[consumed..];
                    }
                }
                Speech::Http => {
                    // On loopback a small request comes whole.
                    let text = str::from_utf8(&buffer[..len]).expect("JSON");
                    let (_, data) = text.split_once("\"data\":").expect("a publication");
                    let data = data.strip_suffix('}').expect("the whole of it");
                    let kind = tidegate::ws::MessageKind::Text;
                    encode::append_message(&mut frames, kind, data.as_bytes());
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"result\":{}}";
                    let _ = client.write_all(answer);
                }
            }
            // A client that has gone ends the test, not the server.
            let _ = if listeners.is_empty() { client.write_all(&frames) } else { Ok(()) };
            listeners.iter_mut().for_each(|listener| drop(listener.write_all(&frames)));
        }
    });
}

/// The reply to a command to publish, and what subscribers get.
fn carry_out(command: &[u8]) -> [Vec<u8>; 2] {
    let command: serde_json::Value = serde_json::from_slice(command).expect("JSON");
    let (id, publish) = (&command["id"], &command["publish"]);
    let (channel, data) = (&publish["channel"], &publish["data"]);
    let push = format!(
        "{{\"push\":{{\"channel\":{channel},\"pub\":{{\"data\":{data},\"offset\":{id}}}}}}}"
    );
    let reply = format!("{{\"id\":{id},\"publish\":{{}}}}");
    [reply.into_bytes(), format!("{{}}\n{push}").into_bytes()]
}
