//! A client of the Centrifuge protocol in JSON that has one command under way at a time.

use std::collections::VecDeque;
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::client::{Client, Incoming};

/// One client, and what it was told that nobody has looked at.
pub struct Session {
    client: Client,
    lines: VecDeque<Value>,
    last_id: u32,
}

/// Why a command got no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// An error in the reply; the connection goes on.
    Error(u16),
    /// The end of the connection, with this code.
    Closed(u16),
}

impl Session {
    /// An upgraded connection that has said nothing.
    pub fn open(address: SocketAddr) -> Self {
        let client = Client::connect(address, "/connection/websocket");
        Self { client, lines: VecDeque::new(), last_id: 0 }
    }

    /// A connected client, with a token or without.
    pub fn connect(address: SocketAddr, token: Option<&str>) -> Result<Self, Refused> {
        let mut session = Self::open(address);
        let connect = token.map_or_else(|| json!({}), |token| json!({"token": token}));
        session.ask("connect", &connect)?;
        Ok(session)
    }

    /// What a command leads to. Pushes that come before its reply are kept for
    /// [`Session::push`].
    pub fn ask(&mut self, method: &str, body: &Value) -> Result<Value, Refused> {
        self.last_id += 1;
        let id = self.last_id;
        self.client.send_text(&json!({"id": id, method: body}).to_string());
        let mut pushes = VecDeque::new();
        let reply = loop {
            let mut line = self.line()?;
            if line["id"] == id {
                break match line["error"]["code"].as_u64() {
                    Some(code) => Err(Refused::Error(u16::try_from(code).expect("a code"))),
                    None => Ok(line[method].take()),
                };
            }
            assert!(line.get("push").is_some(), "an answer to no question: {line}");
            pushes.push_back(line);
        };
        pushes.append(&mut self.lines);
        self.lines = pushes;
        reply
    }

    /// The next push.
    pub fn push(&mut self) -> Value {
        let mut line = self.line().expect("the connection goes on");
        assert!(line.get("push").is_some(), "no push: {line}");
        line["push"].take()
    }

    /// The next push of those that came before the reply to the last command.
    pub fn earlier_push(&mut self) -> Option<Value> {
        let at = self.lines.iter().position(|line| line.get("push").is_some())?;
        Some(self.lines.remove(at).expect("just found")["push"].take())
    }

    /// The code of the Close that comes next, pushes before it apart.
    pub fn closed(&mut self) -> u16 {
        loop {
            match self.line() {
                Ok(line) => assert!(line.get("push").is_some(), "no close: {line}"),
                Err(Refused::Closed(code)) => return code,
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    /// The connection below.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// The next line; pings are answered.
    fn line(&mut self) -> Result<Value, Refused> {
        loop {
            let Some(line) = self.lines.pop_front() else {
                self.receive()?;
                continue;
            };
            if line != json!({}) {
                return Ok(line);
            }
            self.client.send_text("{}");
        }
    }

    fn receive(&mut self) -> Result<(), Refused> {
        match self.client.next() {
            Incoming::Text(text) => {
                let read = |line| serde_json::from_str::<Value>(line).expect("a line is JSON");
                self.lines.extend(text.lines().map(read));
                Ok(())
            }
            Incoming::Close(Some((code, _))) => Err(Refused::Closed(code)),
            other => panic!("neither text nor a close with a code: {other:?}"),
        }
    }
}
