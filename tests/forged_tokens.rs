//! Hazard: somebody makes a token, or has the gateway ask for keys where they say.
//!
//! The issuer's keys come from a server on this machine that counts what it is asked; a second one
//! stands where forged tokens say that keys are to be had.

mod gateway;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use gateway::Gateway;
use gateway::centrifuge::{Refused, Session};
use gateway::client::Client;

/// Signs with RSA, under the name `k1`.
struct Issuer {
    private: EncodingKey,
    jwk: Jwk,
    /// The public key as PEM and as DER: what an attacker has.
    public: [Vec<u8>; 2],
}

impl Issuer {
    fn new() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key");
        let private: Pkcs8V1Der<'_> = pair.as_der().expect("it can be written down");
        let private = pem("PRIVATE", private.as_ref());
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("so can its half");
        let private = EncodingKey::from_rsa_pem(private.as_bytes()).expect("a key");
        let mut jwk = Jwk::from_encoding_key(&private, Algorithm::RS256).expect("it has a half");
        jwk.common.key_id = Some("k1".to_owned());
        let public = [pem("PUBLIC", public.as_ref()).into_bytes(), public.as_ref().to_vec()];
        Self { private, jwk, public }
    }

    fn sign(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.private).expect("RSA signs any JSON")
    }
}

fn pem(kind: &str, der: &[u8]) -> String {
    let lines: Vec<_> = STANDARD.encode(der).into_bytes();
    let lines: Vec<_> = lines.chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {kind} KEY-----\n{}\n-----END {kind} KEY-----\n", lines.join("\n"))
}

/// Hands out a key set, and counts how often.
struct KeyServer {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl KeyServer {
    fn start(keys: &[Jwk]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let asked = Arc::new(AtomicUsize::new(0));
        let (count, body) = (Arc::clone(&asked), json!({"keys": keys}).to_string());
        thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.expect("descriptors");
                count.fetch_add(1, Ordering::SeqCst);
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && socket.read(&mut byte).unwrap_or(0) == 1 {
                    head.push(byte[0]);
                }
                let length = body.len();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
                // Who has hung up needs no answer.
                let _ = socket.write_all(head.as_bytes());
            }
        });
        Self { address, asked }
    }

    fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn header(algorithm: Algorithm) -> Header {
    Header { kid: Some("k1".to_owned()), ..Header::new(algorithm) }
}

fn claims(more: &Value) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let mut claims = json!({"sub": "ann", "iss": "me", "aud": "push", "exp": now + 3_600});
    let more = more.as_object().expect("an object").clone();
    claims.as_object_mut().expect("an object").extend(more);
    claims
}

/// Tokens nobody should take, with what the raw protocol says of them; `elsewhere` is where they
/// want keys to be fetched.
fn forged(issuer: &Issuer, elsewhere: &KeyServer) -> Vec<(String, &'static str)> {
    let other = Issuer::new();
    let signed = |claims| issuer.sign(&header(Algorithm::RS256), &claims);
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let all = claims(&json!({})).to_string();
    let swapped = issuer.public.iter().map(|public| {
        let key = EncodingKey::from_secret(public);
        let token = encode(&header(Algorithm::HS256), &claims(&json!({})), &key);
        (token.expect("HMAC signs any JSON"), "algorithm is not among")
    });
    let mut tokens: Vec<_> = swapped.collect();
    for algorithm in ["none", "None", "NONE", "nOnE"] {
        let head = format!(r#"{{"alg":"{algorithm}","typ":"JWT","kid":"k1"}}"#);
        tokens.push((format!("{}.{}.", part(&head), part(&all)), "algorithm is not among"));
    }
    let good = signed(claims(&json!({})));
    let (unsigned, _) = good.rsplit_once('.').expect("three parts");
    let (_, signature) = good.rsplit_once('.').expect("three parts");
    let root = part(&claims(&json!({"sub": "root"})).to_string());
    let head = good.split('.').next().expect("three parts");
    let mut theirs = header(Algorithm::RS256);
    theirs.jku = Some(elsewhere.url());
    theirs.x5u = Some(elsewhere.url());
    theirs.jwk = Some(other.jwk.clone());
    let mut unknown = theirs.clone();
    unknown.kid = Some("k2".to_owned());
    let their_issuer = claims(&json!({"iss": elsewhere.url()}));
    tokens.extend([
        (format!("{unsigned}."), "signature is wrong"),
        (format!("{head}.{root}.{signature}"), "signature is wrong"),
        // The same name of a key, from another issuer, who says so or not.
        (other.sign(&header(Algorithm::RS256), &claims(&json!({}))), "signature is wrong"),
        (other.sign(&theirs, &claims(&json!({}))), "signature is wrong"),
        (other.sign(&unknown, &their_issuer), "another issuer"),
        (signed(claims(&json!({"iss": "you"}))), "another issuer"),
        (signed(claims(&json!({"iss": null}))), "another issuer"),
        (signed(claims(&json!({"aud": "pull"}))), "another audience"),
        (signed(claims(&json!({"aud": null}))), "another audience"),
    ]);
    tokens
}

#[test]
fn a_forged_token_is_refused_and_causes_no_request() {
    let issuer = Issuer::new();
    let server = KeyServer::start(std::slice::from_ref(&issuer.jwk));
    let elsewhere = KeyServer::start(&[]);
    let gateway = Gateway::serve(&[
        "--set=channel.allow_subscribe=user",
        "--set=token.issuer=me",
        "--set=token.audience=push",
        &format!("--set=token.jwks_url={}", server.url()),
    ]);
    let good = issuer.sign(&header(Algorithm::RS256), &claims(&json!({})));
    let mut ann = Session::connect(gateway.clients, Some(&good)).expect("a good token");
    ann.ask("subscribe", &json!({"channel": "news"})).expect("ann is a user");
    assert_eq!(server.asked(), 1);
    let raw = |token: &str| {
        let target = format!("/raw?channel=news&token={token}");
        Client::try_connect(gateway.clients, &target, &[]).map(drop)
    };
    for (number, (token, why)) in forged(&issuer, &elsewhere).into_iter().enumerate() {
        let connected = Session::connect(gateway.clients, Some(&token)).map(drop);
        assert_eq!(connected, Err(Refused::Closed(3500)), "{why}: {token}");
        let answer = raw(&token).expect_err("it is refused");
        assert_eq!(answer.status, 401, "{token}");
        assert!(answer.text().contains(why), "{}: {token}", answer.text());
        gateway.publish("news", &number.to_string());
        assert_eq!(ann.push()["pub"]["data"], number, "others do not notice");
    }
    // Not forged, but over.
    let expired = issuer.sign(&header(Algorithm::RS256), &claims(&json!({"exp": 1_000_000_000})));
    let connected = Session::connect(gateway.clients, Some(&expired)).map(drop);
    assert_eq!(connected, Err(Refused::Error(109)));
    assert_eq!(raw(&expired).expect_err("it is refused").status, 401);
    assert_eq!((server.asked(), elsewhere.asked()), (1, 0));
    drop(ann);
    gateway.await_no_clients();
    gateway.stop();
}
