//! The thread with its lanes, and a key set that a server on this machine hands out.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::thread;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

use super::*;
use crate::config::Secret;
use crate::id::{ConnId, ShardId};
use crate::mail::{
    self, Asker, AuthAsk, Request, Ruling, TokenAsk, TokenKind, TokenResult, Verdict, Wiring,
};
use crate::protocol::claims::{TokenRefused, TokenText};

/// How long anything may take before a test calls it lost.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Signs with Ed25519, under a name.
struct Issuer {
    id: &'static str,
    private: EncodingKey,
    jwk: Jwk,
}

impl Issuer {
    fn new(id: &'static str) -> Self {
        let pair = aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap();
        let private = EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref());
        let mut jwk = Jwk::from_encoding_key(&private, Algorithm::EdDSA).unwrap();
        jwk.common.key_id = Some(id.to_owned());
        Self { id, private, jwk }
    }

    fn token(&self, user: &str) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(Algorithm::EdDSA) };
        encode(&header, &json!({"sub": user, "iss": "me"}), &self.private).unwrap()
    }
}

/// What the server says to one request each; the last is said for ever.
#[derive(Clone)]
enum Say {
    Keys(Vec<Jwk>),
    Status(&'static str),
    Text(String),
    /// Nothing, until the client hangs up.
    Silence,
}

/// An HTTP server that counts what it is asked.
struct KeyServer {
    address: SocketAddr,
    asked: Arc<Mutex<usize>>,
}

impl KeyServer {
    fn start(script: impl Into<VecDeque<Say>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(0));
        let (counter, mut script) = (asked.clone(), script.into());
        thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if socket.read(&mut byte).unwrap_or(0) == 0 {
                        break;
                    }
                    head.push(byte[0]);
                }
                *counter.lock().unwrap() += 1;
                let say = script[0].clone();
                if script.len() > 1 {
                    script.pop_front();
                }
                let (status, body) = match say {
                    Say::Keys(keys) => ("200 OK", json!({"keys": keys}).to_string()),
                    Say::Status(status) => (status, String::new()),
                    Say::Text(text) => ("200 OK", text),
                    Say::Silence => {
                        thread::spawn(move || socket.read(&mut [0]));
                        continue;
                    }
                };
                let length = body.len();
                let _ = write!(
                    socket,
                    "HTTP/1.1 {status}\r\nLocation: http://{address}/elsewhere\r\n\
                     Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

/// The thread, with one shard that asks it.
pub(super) struct Running {
    pub(super) wiring: Wiring,
    pub(super) stats: Arc<AuthStats>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Running {
    fn start(settings: &Token, pace: Pace) -> Self {
        Self::start_with(Some(settings), None, pace)
    }

    pub(super) fn start_with(
        token: Option<&Token>,
        hooks: Option<&config::Hooks>,
        pace: Pace,
    ) -> Self {
        let mut wiring = mail::wire(1, 0, 64).unwrap();
        let empty = mail::wire(0, 0, 4).unwrap().auth;
        let post = std::mem::replace(&mut wiring.auth, empty);
        let stats: Arc<AuthStats> = Arc::default();
        let mut auth = Auth::new(token, hooks, post, stats.clone()).unwrap();
        auth.pace = pace;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || auth.run(stopped).unwrap());
        Self { wiring, stats, stop: Some(stop), thread: Some(thread) }
    }

    fn with_keys(server: &KeyServer) -> Self {
        let pace = Pace { interval_min: Duration::from_millis(50), interval_max: PATIENCE };
        Self::start(&with_keys_at(&format!("http://{}/keys", server.address)), pace)
    }

    pub(super) fn ask(&mut self, command: u32, token: &str) {
        let conn = ConnId { slot: 3, generation: 4 };
        let ask = TokenAsk {
            kind: TokenKind::Connection,
            token: TokenText::new(token),
            asker: Asker { shard: ShardId(0), conn, command },
            asked_at: std::time::Instant::now(),
        };
        assert!(self.wiring.posts[0].auth_out.send(AuthAsk::Token(ask)).is_ok(), "room");
    }

    /// The next verdict on a token: the command it is for, and the user.
    pub(super) fn verdict(&mut self) -> (u32, Result<String, TokenRefused>) {
        let verdict = self.next();
        let Ruling::Token(TokenResult::Connection(result)) = verdict.ruling else {
            panic!("{verdict:?}")
        };
        (verdict.asker.command, result.map(|claims| claims.user.to_string()))
    }

    /// The next verdict.
    pub(super) fn next(&mut self) -> Verdict {
        let post = &mut self.wiring.posts[0];
        let begun_at = std::time::Instant::now();
        loop {
            post.bell.clear();
            if let Some(request) = post.requests_in.iter_mut().find_map(|lane| lane.pop()) {
                let Request::Verdict(verdict) = request else { panic!("{request:?}") };
                return *verdict;
            }
            assert!(begun_at.elapsed() < PATIENCE, "no verdict");
            let fd = post.bell.fd();
            let mut fds = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
            let time = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
            if rustix::event::poll(&mut fds, Some(&time)).unwrap() > 0 {
                rustix::io::read(post.bell.fd(), &mut [0; 8]).unwrap();
            }
        }
    }

    fn judge(&mut self, token: &str) -> Result<String, TokenRefused> {
        self.ask(1, token);
        self.verdict().1
    }

    /// As `judge`, until the answer is no temporary one.
    fn judge_at_last(&mut self, token: &str) -> Result<String, TokenRefused> {
        let begun_at = std::time::Instant::now();
        loop {
            match self.judge(token) {
                Err(why) if why.is_temporary() => assert!(begun_at.elapsed() < PATIENCE),
                result => return result,
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(thread::JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))));
    }
}

pub(super) fn with_keys_at(address: &str) -> Token {
    Token {
        hmac_secret: Some(Secret::new("secret")),
        hmac_previous: None,
        public_keys: PublicKeys::Jwks(address.parse().unwrap()),
        audience: None,
        issuer: Some("me".into()),
        algorithms: vec![Algorithm::HS256, Algorithm::EdDSA],
        leeway_s: 0,
    }
}

pub(super) fn hmac_token(user: &str) -> String {
    let key = EncodingKey::from_secret(b"secret");
    encode(&Header::default(), &json!({"sub": user, "iss": "me"}), &key).unwrap()
}

#[test]
fn keys_are_fetched_once_and_used_for_all() {
    let issuer = Issuer::new("k1");
    let server = KeyServer::start([Say::Keys(vec![issuer.jwk.clone()])]);
    let mut auth = Running::with_keys(&server);
    for command in 0..60 {
        auth.ask(command, &issuer.token("ann"));
    }
    let mut verdicts: Vec<_> = (0..60).map(|_| auth.verdict()).collect();
    verdicts.sort_by_key(|(command, _)| *command);
    let expect: Vec<_> = (0..60).map(|command| (command, Ok("ann".to_owned()))).collect();
    assert_eq!(verdicts, expect);
    assert_eq!(server.asked(), 1);
    assert_eq!(auth.stats.counters.tokens_checked.get(), 60);
    assert_eq!(auth.stats.counters.tokens_refused.get(), 0);
    assert_eq!(auth.stats.check.snapshot().buckets.iter().sum::<u64>(), 60);
}

#[test]
fn a_new_key_is_found_when_a_token_names_it() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let first = Say::Keys(vec![old.jwk.clone()]);
    let server = KeyServer::start([first, Say::Keys(vec![new.jwk.clone()])]);
    let mut auth = Running::with_keys(&server);
    assert_eq!(auth.judge(&old.token("ann")), Ok("ann".into()));
    // Until the shortest interval is over, a name that is not in the set is unknown.
    let begun_at = std::time::Instant::now();
    while auth.judge(&new.token("bob")) == Err(TokenRefused::KeyUnknown) {
        assert!(begun_at.elapsed() < PATIENCE);
    }
    assert_eq!(auth.judge(&new.token("bob")), Ok("bob".into()));
    assert_eq!(server.asked(), 2);
    // A key that was withdrawn counts no more.
    assert_eq!(auth.judge_at_last(&old.token("ann")), Err(TokenRefused::KeyUnknown));
}

#[test]
fn forged_names_cause_one_request_an_interval_and_forged_issuers_none() {
    let issuer = Issuer::new("k1");
    let server = KeyServer::start([Say::Keys(vec![issuer.jwk.clone()])]);
    let pace = Pace { interval_min: PATIENCE, interval_max: 2 * PATIENCE };
    let mut auth = Running::start(&with_keys_at(&format!("http://{}/keys", server.address)), pace);
    assert_eq!(auth.judge(&issuer.token("ann")), Ok("ann".into()));
    let elsewhere = KeyServer::start([Say::Keys(vec![issuer.jwk.clone()])]);
    let url = format!("http://{}/keys", elsewhere.address);
    for number in 0..200 {
        let header = Header {
            kid: Some(format!("forged-{number}")),
            jku: Some(url.clone()),
            x5u: Some(url.clone()),
            ..Header::new(Algorithm::EdDSA)
        };
        let iss = if number % 2 == 0 { "me" } else { &url };
        let token = encode(&header, &json!({"sub": "root", "iss": iss}), &issuer.private).unwrap();
        let refused =
            if number % 2 == 0 { TokenRefused::KeyUnknown } else { TokenRefused::IssuerWrong };
        assert_eq!(auth.judge(&token), Err(refused));
    }
    assert_eq!((server.asked(), elsewhere.asked()), (1, 0));
    assert_eq!(auth.stats.counters.tokens_refused.get(), 200);
}

#[test]
fn a_key_server_that_fails_fails_its_tokens_alone() {
    let issuer = Issuer::new("k1");
    let long = " ".repeat(limits::JWKS_SIZE_MAX + 1);
    let server = KeyServer::start([
        Say::Status("500 No"),
        // A redirect is not followed, though keys were to be had there.
        Say::Status("302 Found"),
        Say::Text("<html>".into()),
        Say::Text(long),
        Say::Keys(vec![]),
        Say::Keys(vec![issuer.jwk.clone()]),
    ]);
    let mut auth = Running::with_keys(&server);
    assert_eq!(auth.judge(&issuer.token("ann")), Err(TokenRefused::KeysUnavailable));
    assert_eq!(auth.judge(&hmac_token("bob")), Ok("bob".into()));
    assert_eq!(auth.judge_at_last(&issuer.token("ann")), Ok("ann".into()));
    assert_eq!((server.asked(), auth.stats.counters.key_fetches_failed.get()), (6, 5));
}

#[test]
fn a_key_server_that_says_nothing_holds_up_nobody_else() {
    let issuer = Issuer::new("k1");
    let server = KeyServer::start([Say::Silence]);
    let mut auth = Running::with_keys(&server);
    auth.ask(1, &issuer.token("ann"));
    auth.ask(2, &hmac_token("bob"));
    assert_eq!(auth.verdict(), (2, Ok("bob".into())));
    assert_eq!(auth.verdict(), (1, Err(TokenRefused::KeysUnavailable)));
}

#[test]
fn requests_are_answered_too() {
    let mut settings = with_keys_at("http://127.0.0.1:1/");
    settings.public_keys = PublicKeys::None;
    settings.algorithms = vec![Algorithm::HS256];
    let auth = Running::start(&settings, Pace::default());
    let desk = auth.wiring.auth_desk.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let claims = runtime.block_on(desk.check(TokenText::new(&hmac_token("ann")))).unwrap();
    assert_eq!(&*claims.user, "ann");
    let refused = runtime.block_on(desk.check(TokenText::new("x")));
    assert_eq!(refused, Err(TokenRefused::Malformed));
    drop(auth);
    let refused = runtime.block_on(desk.check(TokenText::new("x")));
    assert_eq!(refused, Err(TokenRefused::Overloaded));
}

#[test]
fn a_token_made_here_is_good_here() {
    let wish = |channel| sign::Wish {
        user: "ann",
        expire_at: Some(2_000),
        issued_at: 1_000,
        channel,
        info: Some(serde_json::from_str(r#"{"a":1}"#).unwrap()),
    };
    let mut settings = with_keys_at("http://127.0.0.1:1/");
    settings.audience = Some("push".into());
    let checker = Checker::new(&settings);
    let token = sign::sign(Some(&settings), &wish(None)).unwrap();
    let claims = checker.connect(&token, 1_500).unwrap();
    assert_eq!((&*claims.user, claims.expire_at), ("ann", Some(2_000)));
    assert_eq!(claims.info.as_deref(), Some(r#"{"a":1}"#));
    assert_eq!(checker.connect(&token, 2_000), Err(TokenRefused::Expired));
    let token = sign::sign(Some(&settings), &wish(Some("$a"))).unwrap();
    assert_eq!(&*checker.subscription(&token, 1_500).unwrap().channel, "$a");
    assert_eq!(sign::sign(None, &wish(None)), Err(sign::CannotSign::NoKey));
    settings.hmac_secret = None;
    let refused = sign::sign(Some(&settings), &wish(None));
    assert_eq!(refused, Err(sign::CannotSign::PublicKeysOnly));
}
