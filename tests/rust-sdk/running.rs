//! The gateway as a process, its API, and a proxy that kills connections.

use std::future::Future;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};

/// Longest that a test waits for all it waits for.
const PATIENCE: Duration = Duration::from_secs(40);

const SECRET: &str = "2b7e151628aed2a6abf7158809cf4f3c";

pub type TestEnd = Result<(), String>;

pub async fn in_time<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, test).await.expect("it hangs")
}

fn program() -> Command {
    let path = std::env::var_os("TIDEGATE_BIN").expect("TIDEGATE_BIN names the program");
    let mut command = Command::new(path);
    command.env_remove("TIDEGATE_BIN").env("TIDEGATE_TOKEN_HMAC_SECRET", SECRET);
    command
}

/// What `tidegate token` prints.
pub fn token(arguments: &[&str]) -> String {
    let output = program().arg("token").args(arguments).output().expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// A running gateway, killed when dropped.
pub struct Gateway {
    child: Child,
    pub clients: String,
    admin: String,
}

impl Gateway {
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = program();
        command.args(["serve", "--admin=127.0.0.1:0"]).args(arguments).stdout(Stdio::piped());
        if !arguments.iter().any(|argument| argument.starts_with("--listen")) {
            command.arg("--listen=127.0.0.1:0");
        }
        let mut child = command.stderr(Stdio::null()).spawn().expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (mut clients, mut admin) = (None, None);
        while admin.is_none() {
            let line = lines.next().expect("it serves").expect("text");
            let host = |rest: &str| rest.split('/').next().expect("always one").to_owned();
            if let Some((_, rest)) = line.split_once("ws://") {
                clients.get_or_insert(host(rest));
            } else if let Some(rest) = line.trim().strip_prefix("metrics   http://") {
                admin = Some(host(rest));
            }
        }
        // What it prints later must go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        let (clients, admin) = (clients.expect("before the other"), admin.expect("just read"));
        Self { child, clients, admin }
    }

    pub fn url(&self) -> String {
        format!("ws://{}/connection/websocket", self.clients)
    }

    /// Ends it with SIGTERM; it must end well.
    pub fn stop(mut self) -> TestEnd {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").arg(pid).status().expect("there is a kill");
        assert!(sent.success());
        let status = self.child.wait().expect("it is our child");
        if status.success() { Ok(()) } else { Err(status.to_string()) }
    }

    pub async fn publish(&self, channel: &str, data: &Value) {
        self.api("publish", &json!({"channel": channel, "data": data})).await;
    }

    /// The ids of the clients in a channel.
    pub async fn presence(&self, channel: &str) -> Vec<String> {
        let result = self.api("presence", &json!({"channel": channel})).await;
        result["presence"].as_object().expect("a map").keys().cloned().collect()
    }

    /// The result of a call.
    pub async fn api(&self, method: &str, body: &Value) -> Value {
        let answer = self.ask(&format!("POST /api/{method}"), &body.to_string()).await;
        let mut answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert!(answer.get("result").is_some(), "{method}: {answer}");
        answer["result"].take()
    }

    /// The sum of a counter over all shards.
    pub async fn metric(&self, name: &str) -> u64 {
        let text = self.ask("GET /metrics", "").await;
        let of_name = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        let value = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
        of_name.map(|line| value(line).expect("a number") as u64).sum()
    }

    async fn ask(&self, line: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.admin).await.expect("the port is open");
        let (host, length) = (&self.admin, body.len());
        let head = format!(
            "{line} HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        stream.write_all((head + body).as_bytes()).await.expect("it is read");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an end in order");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(" 200 "), "{answer}");
        body.to_owned()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // After `stop` both do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Passes connections on until it kills them.
pub struct Proxy {
    address: String,
    server: String,
    listener: Mutex<Option<TcpListener>>,
    killed: watch::Sender<bool>,
}

impl Proxy {
    pub async fn to(server: &str) -> &'static Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let proxy = Self {
            address,
            server: server.to_owned(),
            listener: Mutex::new(Some(listener)),
            killed: watch::channel(false).0,
        };
        let proxy: &'static Self = Box::leak(Box::new(proxy));
        proxy.resume().await;
        proxy
    }

    pub fn url(&self) -> String {
        format!("ws://{}/connection/websocket", self.address)
    }

    /// Resets every connection, and accepts none until told to.
    pub async fn kill(&'static self) {
        self.killed.send_replace(true);
        // The accepting task gives it back.
        while self.listener.lock().await.is_none() {
            tokio::task::yield_now().await;
        }
    }

    /// Accepts connections, those that came meanwhile first.
    pub async fn resume(&'static self) {
        self.killed.send_replace(false);
        let listener = self.listener.lock().await.take().expect("it was killed");
        let mut killed = self.killed.subscribe();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = killed.wait_for(|killed| *killed) => break,
                    accepted = listener.accept() => {
                        let (client, _) = accepted.expect("descriptors");
                        tokio::spawn(self.pass(client));
                    }
                }
            }
            *self.listener.lock().await = Some(listener);
        });
    }

    async fn pass(&'static self, mut client: TcpStream) {
        let mut killed = self.killed.subscribe();
        let mut server = TcpStream::connect(&self.server).await.expect("the gateway is there");
        tokio::select! {
            _ = killed.wait_for(|killed| *killed) => {
                for socket in [&client, &server] {
                    socket.set_zero_linger().expect("a TCP socket");
                }
            }
            // Either end may go first.
            _ = copy_bidirectional(&mut client, &mut server) => {}
        }
    }
}
