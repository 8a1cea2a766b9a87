//! A blocking WebSocket client on `tidegate::ws`.
//!
//! It answers nothing by itself: a test says what its client does.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use tidegate::ws::handshake::{ClientRequest, HeadReader};
use tidegate::ws::{CloseCode, DecodeLimits, Decoder, Event, MessageKind, Opcode, Role, encode};

use super::PATIENCE;
use super::http::Answer;

/// What the server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    /// The server finished sending, in order.
    End,
}

/// The receiving half, and the whole.
pub struct Client {
    stream: TcpStream,
    decoder: Decoder,
    input: Box<[u8]>,
    /// What of `input` was received and not decoded.
    unread: std::ops::Range<usize>,
    writer: Writer,
}

/// The sending half; may live on another thread.
pub struct Writer {
    stream: TcpStream,
    frame: Vec<u8>,
}

impl Client {
    /// An upgraded connection.
    pub fn connect(address: SocketAddr, target: &str) -> Self {
        Self::try_connect(address, target, &[]).unwrap_or_else(|answer| {
            panic!("{target}: {} {}", answer.status, answer.text());
        })
    }

    /// An upgraded connection, or the answer that refused it.
    pub fn try_connect(
        address: SocketAddr,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Answer> {
        let host = address.to_string();
        let request = ClientRequest {
            host: &host,
            target,
            key: std::array::from_fn(|_| fastrand::u8(..)),
            subprotocols: &[],
            extensions: "",
            headers,
        };
        let mut bytes = Vec::new();
        request.append(&mut bytes).expect("the test gives a good request");
        let stream = TcpStream::connect(address).expect("the port is open");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
        (&stream).write_all(&bytes).expect("it is read");
        Self::upgraded(stream, &request)
    }

    fn upgraded(stream: TcpStream, request: &ClientRequest<'_>) -> Result<Self, Answer> {
        let mut input = vec![0; 64 * 1024].into_boxed_slice();
        let mut filled = 0;
        let mut head = HeadReader::new();
        let head_len = loop {
            let len = (&stream).read(&mut input[filled..]).expect("an answer");
            assert!(len > 0, "the connection ended without an answer");
            filled += len;
            match head.handle(&input[..filled]) {
                Ok(Some(head_len)) => break head_len,
                Ok(None) => {}
                // What the reader of requests makes of a status line is not its business here.
                Err(fault) => panic!("{fault}"),
            }
        };
        if request.check(&input[..head_len]).is_err() {
            let mut answer = input[..filled].to_vec();
            (&stream).read_to_end(&mut answer).expect("an end in order");
            return Err(Answer::parse(&answer));
        }
        let writer = Writer { stream: stream.try_clone().expect("descriptors"), frame: Vec::new() };
        let decoder = Decoder::new(Role::Client);
        Ok(Self { stream, decoder, input, unread: head_len..filled, writer })
    }

    /// The next thing the server sent; panics if nothing comes or the connection is reset.
    pub fn next(&mut self) -> Incoming {
        self.try_next().expect("something comes in time, and no reset")
    }

    /// The next thing the server sent.
    pub fn try_next(&mut self) -> io::Result<Incoming> {
        loop {
            if self.unread.is_empty() {
                let len = self.stream.read(&mut self.input)?;
                if len == 0 {
                    return Ok(Incoming::End);
                }
                self.unread = 0..len;
            }
            let input = &mut self.input[self.unread.clone()];
            let decoded = self.decoder.handle(input, &LIMITS).expect("the server keeps the rules");
            self.unread.start += decoded.consumed;
            if let Some(event) = decoded.event {
                return Ok(event.into());
            }
        }
    }

    /// The next text message; pings on the way are answered.
    pub fn text(&mut self) -> String {
        match self.next() {
            Incoming::Text(text) => text,
            Incoming::Ping(payload) => {
                self.send(Opcode::Pong, &payload);
                self.text()
            }
            other => panic!("no text: {}", brief(&other)),
        }
    }

    /// The next binary message.
    pub fn binary(&mut self) -> Vec<u8> {
        match self.next() {
            Incoming::Binary(bytes) => bytes,
            other => panic!("no binary: {}", brief(&other)),
        }
    }

    /// The code and reason of the Close that comes next, and then the end.
    pub fn closed(&mut self) -> (u16, String) {
        let close = match self.next() {
            Incoming::Close(Some(close)) => close,
            other => panic!("no close: {}", brief(&other)),
        };
        assert_eq!(self.next(), Incoming::End, "something after the Close");
        close
    }

    /// Shows that the connection is open and everything before was answered.
    pub fn ping(&mut self, payload: &[u8]) {
        self.send(Opcode::Ping, payload);
        assert_eq!(self.next(), Incoming::Pong(payload.to_vec()));
    }

    /// Closes with `code` and waits for answer and end.
    pub fn close(mut self, code: u16) {
        self.send_close(code, "");
        assert_eq!(self.closed().0, code);
        // A writer elsewhere does not hold it open.
        self.finish_sending();
    }

    /// Sends one frame.
    pub fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        self.writer.send(opcode, payload);
    }

    /// Sends a text message.
    pub fn send_text(&mut self, text: &str) {
        self.writer.send(Opcode::Text, text.as_bytes());
    }

    /// Sends a Close.
    pub fn send_close(&mut self, code: u16, reason: &str) {
        let mut frame = Vec::new();
        let code = CloseCode::new(code).expect("a code that may be sent");
        encode::append_close_masked(&mut frame, Some(code), reason, [1, 2, 3, 4]);
        self.send_raw(&frame);
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("it is read");
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Tells the server that nothing more will be sent.
    pub fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).expect("connected");
    }

    /// A second sending half, for another thread.
    pub fn writer(&self) -> Writer {
        Writer { stream: self.stream.try_clone().expect("descriptors"), frame: Vec::new() }
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        let now = Some(std::time::Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(&self.stream, now).expect("a TCP socket");
    }
}

impl Writer {
    /// Sends one frame.
    pub fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        self.try_send(opcode, payload).expect("it is read");
    }

    /// Sends one frame.
    pub fn try_send(&mut self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        self.frame.clear();
        let key = fastrand::u32(..).to_be_bytes();
        encode::append_masked(&mut self.frame, true, opcode, payload, key);
        self.stream.write_all(&self.frame)
    }
}

impl From<Event<'_>> for Incoming {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message(message) => match message.kind {
                MessageKind::Text => {
                    let text = String::from_utf8(message.payload.into_owned());
                    Self::Text(text.expect("the decoder has checked it"))
                }
                MessageKind::Binary => Self::Binary(message.payload.into_owned()),
            },
            Event::Ping(payload) => Self::Ping(payload.into_owned()),
            Event::Pong(payload) => Self::Pong(payload.into_owned()),
            Event::Close(body) => {
                Self::Close(body.map(|(code, reason)| (code.get(), reason.into_owned())))
            }
        }
    }
}

/// For messages of tests: long payloads cut.
fn brief(incoming: &Incoming) -> String {
    format!("{incoming:?}").chars().take(200).collect()
}

const LIMITS: DecodeLimits = DecodeLimits { message_size: 1 << 28, fragments: 1 << 20 };
