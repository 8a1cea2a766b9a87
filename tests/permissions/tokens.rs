//! Tokens of the rows: good ones, and each way not to be one.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

/// How it connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Without a token.
    Nobody,
    /// With a good token that names no user.
    Unnamed,
    /// With a good token of user ann.
    Ann,
    /// As ann, by a token that subscribes to `closed:own` and `unknown:own`.
    Owner,
    /// With something that is no good token of ann.
    Token(Flaw),
}

/// The subscription token it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    No,
    /// For the channel and ann.
    Right,
    /// For the channel and a client without a name.
    Unnamed,
    OtherChannel,
    OtherUser,
    OtherClient,
    With(Flaw),
}

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Expired,
    NotYetValid,
    OtherSecret,
    NoSignature,
    OtherAudience,
    OtherIssuer,
    NoToken,
    /// It is of the other kind: for a subscription, not a connection, or the other way round.
    OtherKind,
}

/// What they are signed with.
pub(crate) const SECRET: &str = "2b7e151628aed2a6abf7158809cf4f3c";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn sign(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::default(), claims, &key).expect("HMAC signs any JSON")
}

fn good(claims: &Value) -> Value {
    let mut all = json!({"sub": "ann", "aud": "push", "iss": "me", "exp": now() + 3_600});
    let claims = claims.as_object().expect("claims are an object").clone();
    all.as_object_mut().expect("so are these").extend(claims);
    all
}

/// A token that would be good with these claims, if it were not for its flaw.
fn flawed(flaw: Flaw, claims: &Value) -> String {
    match flaw {
        Flaw::Expired => sign(&with(good(claims), "exp", json!(now() - 10))),
        Flaw::NotYetValid => sign(&with(good(claims), "nbf", json!(now() + 3_000))),
        Flaw::OtherAudience => sign(&with(good(claims), "aud", json!(["pull", "pushed"]))),
        Flaw::OtherIssuer => sign(&with(good(claims), "iss", json!("you"))),
        Flaw::OtherSecret => {
            let key = EncodingKey::from_secret(b"another secret");
            encode(&Header::default(), &good(claims), &key).expect("HMAC signs any JSON")
        }
        Flaw::NoSignature => {
            let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
            format!(
                "{}.{}.",
                part(r#"{"alg":"none","typ":"JWT"}"#),
                part(&good(claims).to_string())
            )
        }
        Flaw::NoToken => "nonsense".to_owned(),
        Flaw::OtherKind => match claims.get("channel") {
            Some(_) => sign(&good(&json!({}))),
            None => sign(&good(&json!({"channel": "open:a"}))),
        },
    }
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

/// What a client connects with.
pub(crate) fn connection_token(who: Who) -> Option<String> {
    match who {
        Who::Nobody => None,
        Who::Unnamed => Some(sign(&good(&json!({"sub": ""})))),
        Who::Ann => Some(sign(&good(&json!({})))),
        Who::Owner => Some(sign(&good(&json!({"channels": ["closed:own", "unknown:own"]})))),
        Who::Token(flaw) => Some(flawed(flaw, &json!({}))),
    }
}

/// What it subscribes to `channel` with.
pub(crate) fn subscription_token(key: Key, channel: &str) -> Option<String> {
    let right = json!({"channel": channel});
    match key {
        Key::No => None,
        Key::Right => Some(sign(&good(&right))),
        Key::Unnamed => Some(sign(&good(&with(right, "sub", json!(""))))),
        Key::OtherChannel => Some(sign(&good(&json!({"channel": format!("{channel}2")})))),
        Key::OtherUser => Some(sign(&good(&with(right, "sub", json!("bob"))))),
        Key::OtherClient => Some(sign(&good(&with(right, "client", json!("another"))))),
        Key::With(flaw) => Some(flawed(flaw, &right)),
    }
}
