//! Tokens that hold, and every way not to.

use std::sync::OnceLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;
use crate::config::{PublicKeys, Secret};
use crate::protocol::claims::Overrides;

const NOW: u64 = 1_700_000_000;

/// HS256 under `secret`, for user 42 until 2100.
const VECTOR: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
    eyJzdWIiOiI0MiIsImV4cCI6NDEwMjQ0NDgwMH0.M_VfhGMqfmyf4VDriS4dpLAF_Loc8gummQeWZ_frmiQ";

/// A key pair of each kind, made once.
struct Issuer {
    algorithms: &'static [Algorithm],
    private: EncodingKey,
    public: PublicKey,
}

fn issuers() -> &'static [Issuer] {
    static ISSUERS: OnceLock<Vec<Issuer>> = OnceLock::new();
    ISSUERS.get_or_init(|| {
        let rsa = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let rsa: aws_lc_rs::encoding::Pkcs8V1Der<'_> = rsa.as_der().unwrap();
        let ec = |algorithm| EcdsaKeyPair::generate(algorithm).unwrap().to_pkcs8v1().unwrap();
        let (p256, p384) =
            (ec(&ECDSA_P256_SHA256_FIXED_SIGNING), ec(&ECDSA_P384_SHA384_FIXED_SIGNING));
        let ed = Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap();
        [
            (
                EncodingKey::from_rsa_pem(pem("PRIVATE", rsa.as_ref()).as_bytes()).unwrap(),
                Algorithm::RS256,
            ),
            (EncodingKey::from_ec_der(p256.as_ref()), Algorithm::ES256),
            (EncodingKey::from_ec_der(p384.as_ref()), Algorithm::ES384),
            (EncodingKey::from_ed_der(ed.as_ref()), Algorithm::EdDSA),
        ]
        .map(|(private, algorithm)| {
            let jwk = Jwk::from_encoding_key(&private, algorithm).unwrap();
            let public = PublicKey::from_jwk(&jwk).unwrap();
            Issuer { algorithms: public.algorithms, private, public }
        })
        .into()
    })
}

fn pem(kind: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {kind} KEY-----\n{text}\n-----END {kind} KEY-----\n")
}

fn settings(algorithms: &[Algorithm]) -> config::Token {
    config::Token {
        hmac_secret: None,
        hmac_previous: None,
        public_keys: PublicKeys::None,
        audience: None,
        issuer: None,
        algorithms: algorithms.to_vec(),
        leeway_s: 0,
    }
}

fn with_secret() -> config::Token {
    let algorithms = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
    config::Token { hmac_secret: Some(Secret::new("secret")), ..settings(&algorithms) }
}

fn checker() -> Checker {
    Checker::new(&with_secret())
}

fn sign(claims: &Value) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(b"secret")).unwrap()
}

fn forge(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode(signature))
}

fn user(checked: Result<ConnectClaims, TokenRefused>) -> Result<String, TokenRefused> {
    checked.map(|claims| claims.user.to_string())
}

#[test]
fn the_known_vector_holds() {
    let claims = checker().connect(VECTOR, NOW).unwrap();
    assert_eq!((&*claims.user, claims.expire_at), ("42", Some(4_102_444_800)));
    assert_eq!(user(checker().connect(VECTOR, 4_102_444_800)), Err(TokenRefused::Expired));
}

#[test]
fn every_algorithm_holds_under_its_own_key_and_no_other() {
    let claims = json!({"sub": "ann", "exp": NOW + 1});
    for issuer in issuers() {
        for algorithm in issuer.algorithms {
            let mut checker = Checker::new(&settings(issuer.algorithms));
            let token = encode(&Header::new(*algorithm), &claims, &issuer.private).unwrap();
            assert_eq!(user(checker.connect(&token, NOW)), Err(TokenRefused::KeyUnknown));
            let key = |issuer: &Issuer| IssuerKey { id: None, key: issuer.public.clone() };
            checker.set_issuer_keys(vec![key(issuer)]);
            assert_eq!(user(checker.connect(&token, NOW)), Ok("ann".into()), "{algorithm:?}");
            let cut = &token[..token.rfind('.').unwrap() + 1];
            let other = forge(&json!({}), &json!({}), &[7; 256]);
            let wrong = format!("{cut}{}", other.rsplit('.').next().unwrap());
            assert_eq!(user(checker.connect(&wrong, NOW)), Err(TokenRefused::SignatureWrong));
            let others = issuers().iter().filter(|other| other.algorithms != issuer.algorithms);
            checker.set_issuer_keys(others.map(key).collect());
            assert_eq!(user(checker.connect(&token, NOW)), Err(TokenRefused::KeyUnknown));
        }
    }
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let key = EncodingKey::from_secret(b"secret");
        let token = encode(&Header::new(algorithm), &claims, &key).unwrap();
        assert_eq!(user(checker().connect(&token, NOW)), Ok("ann".into()), "{algorithm:?}");
    }
}

#[test]
fn forged_tokens_are_refused() {
    let claims = json!({"sub": "ann", "exp": NOW + 60});
    let header = |alg: &str| json!({"alg": alg, "typ": "JWT"});
    let good = sign(&claims);
    let parts: Vec<&str> = good.split('.').collect();
    let other_secret = EncodingKey::from_secret(b"Secret");
    let critical = json!({"alg": "HS256", "crit": ["exp"], "exp": 1});
    for (token, refused) in [
        (String::new(), TokenRefused::Malformed),
        ("a.b.c".into(), TokenRefused::Malformed),
        (good.replace('.', ""), TokenRefused::Malformed),
        (format!("{good}.x"), TokenRefused::Malformed),
        (forge(&json!([]), &claims, b""), TokenRefused::Malformed),
        (forge(&json!({}), &claims, b""), TokenRefused::Malformed),
        (forge(&header("none"), &claims, b""), TokenRefused::AlgorithmNotAllowed),
        (forge(&header("None"), &claims, b""), TokenRefused::AlgorithmNotAllowed),
        (forge(&header("PS256"), &claims, b""), TokenRefused::AlgorithmNotAllowed),
        (forge(&header("RS256"), &claims, b""), TokenRefused::AlgorithmNotAllowed),
        (forge(&header("HS256"), &claims, b""), TokenRefused::SignatureWrong),
        (forge(&critical, &claims, b""), TokenRefused::ExtensionUnknown),
        (format!("{}.{}.", parts[0], parts[1]), TokenRefused::SignatureWrong),
        (encode(&Header::default(), &claims, &other_secret).unwrap(), TokenRefused::SignatureWrong),
        ("a".repeat(limits::TOKEN_SIZE_MAX + 1), TokenRefused::TooLong),
    ] {
        assert_eq!(user(checker().connect(&token, NOW)), Err(refused), "{token:.80}");
    }
    // Other claims under the signature of a good token.
    let payload = forge(&json!({"sub": "root"}), &json!({}), b"");
    let swapped = format!("{}.{}.{}", parts[0], payload.split('.').next().unwrap(), parts[2]);
    assert_eq!(user(checker().connect(&swapped, NOW)), Err(TokenRefused::SignatureWrong));
}

#[test]
fn a_public_key_is_no_secret() {
    // The classic: the verifier's own public key, as it is published, used as HMAC secret.
    let rsa = &issuers()[0];
    let mut both = with_secret();
    both.algorithms.extend(rsa.algorithms);
    both.public_keys = PublicKeys::File(rsa.public.clone());
    for settings in [both, settings(rsa.algorithms)] {
        let has_secret = settings.hmac_secret.is_some();
        let checker = Checker::new(&settings);
        let jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, .. } = rsa.public.key.kind()
        else {
            panic!("read from a set")
        };
        let claims = json!({"sub": "root", "exp": NOW + 60});
        let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(n)).unwrap();
        let refused = if has_secret {
            TokenRefused::SignatureWrong
        } else {
            TokenRefused::AlgorithmNotAllowed
        };
        assert_eq!(user(checker.connect(&token, NOW)), Err(refused));
    }
}

#[test]
fn keys_are_looked_up_by_name_and_only_within_their_issuer() {
    let rsa = &issuers()[0];
    let rules = config::Token { issuer: Some("https://a".into()), ..settings(rsa.algorithms) };
    let mut checker = Checker::new(&rules);
    checker.set_issuer_keys(vec![IssuerKey { id: Some("k1".into()), key: rsa.public.clone() }]);
    let token = |issuer: &str, kid: Option<&str>| {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::RS256) };
        encode(&header, &json!({"sub": "ann", "iss": issuer}), &rsa.private).unwrap()
    };
    assert_eq!(user(checker.connect(&token("https://a", Some("k1")), NOW)), Ok("ann".into()));
    assert_eq!(user(checker.connect(&token("https://a", None), NOW)), Ok("ann".into()));
    for (issuer, kid, refused) in [
        ("https://a", "k2", TokenRefused::KeyUnknown),
        // The name of a good key does not help another issuer, nor does an unknown one.
        ("https://b", "k1", TokenRefused::IssuerWrong),
        ("https://b", "k2", TokenRefused::IssuerWrong),
    ] {
        let checked = user(checker.connect(&token(issuer, Some(kid)), NOW));
        assert_eq!(checked, Err(refused), "{issuer} {kid}");
    }
}

#[test]
fn the_previous_secret_counts_until_its_end() {
    let previous = Some((Secret::new("secret"), NOW + 10));
    let rotated = config::Token {
        hmac_secret: Some(Secret::new("new")),
        hmac_previous: previous,
        ..with_secret()
    };
    let checker = Checker::new(&rotated);
    assert_eq!(user(checker.connect(VECTOR, NOW + 9)), Ok("42".into()));
    assert_eq!(user(checker.connect(VECTOR, NOW + 10)), Err(TokenRefused::SignatureWrong));
}

#[test]
fn times_have_no_leeway_unless_it_is_configured() {
    let lenient = Checker::new(&config::Token { leeway_s: 5, ..with_secret() });
    for (claims, strict, with_leeway) in [
        (json!({"sub": "a"}), Ok(()), Ok(())),
        (json!({"exp": NOW + 1}), Ok(()), Ok(())),
        (json!({"exp": NOW}), Err(TokenRefused::Expired), Ok(())),
        (json!({"exp": NOW - 5}), Err(TokenRefused::Expired), Err(TokenRefused::Expired)),
        (json!({"exp": -1}), Err(TokenRefused::Expired), Err(TokenRefused::Expired)),
        (json!({"exp": NOW as f64 + 1.5}), Ok(()), Ok(())),
        (json!({"exp": 1e300}), Ok(()), Ok(())),
        (json!({"nbf": NOW}), Ok(()), Ok(())),
        (json!({"nbf": NOW + 1}), Err(TokenRefused::NotYetValid), Ok(())),
        (
            json!({"exp": "never"}),
            Err(TokenRefused::ClaimMalformed("exp")),
            Err(TokenRefused::ClaimMalformed("exp")),
        ),
    ] {
        let token = sign(&claims);
        assert_eq!(checker().connect(&token, NOW).map(drop), strict, "{claims}");
        assert_eq!(lenient.connect(&token, NOW).map(drop), with_leeway, "{claims}");
    }
}

#[test]
fn audience_and_issuer_are_demanded_once_configured() {
    let audience = Checker::new(&config::Token { audience: Some("push".into()), ..with_secret() });
    let wrong = Err(TokenRefused::AudienceWrong);
    for (aud, expect) in [
        (json!("push"), Ok(())),
        (json!(["web", "push"]), Ok(())),
        (json!("Push"), wrong),
        (json!(["web"]), wrong),
        (json!([]), wrong),
        (Value::Null, wrong),
        (json!(7), Err(TokenRefused::ClaimMalformed("aud"))),
    ] {
        let token = sign(&json!({"aud": aud}));
        assert_eq!(audience.connect(&token, NOW).map(drop), expect, "{aud}");
        if aud.as_u64().is_none() {
            assert_eq!(checker().connect(&token, NOW).map(drop), Ok(()), "{aud}");
        }
    }
    let issuer = Checker::new(&config::Token { issuer: Some("me".into()), ..with_secret() });
    for (iss, expect) in [
        (json!("me"), Ok(())),
        (json!("you"), Err(TokenRefused::IssuerWrong)),
        (Value::Null, Err(TokenRefused::IssuerWrong)),
        (json!(["me"]), Err(TokenRefused::ClaimMalformed("iss"))),
    ] {
        assert_eq!(issuer.connect(&sign(&json!({"iss": iss})), NOW).map(drop), expect, "{iss}");
    }
}

#[test]
fn connect_claims_say_what_was_written() {
    let claims = checker().connect(
        &sign(&json!({
            "sub": "ann", "exp": NOW + 60, "iat": NOW, "jti": "x",
            "info": {"name": "Ann"}, "meta": {"tier": 3}, "channels": ["a", "b", "a"],
            "subs": {"b": {"info": {"x": 1}, "b64data": "eyJ5IjoyfQ==", "override": {
                "presence": {"value": false}, "force_recovery": {"value": true}}}},
        })),
        NOW,
    );
    let claims = claims.unwrap();
    assert_eq!(claims.info.as_deref(), Some(r#"{"name":"Ann"}"#));
    assert_eq!(claims.meta.as_deref(), Some(r#"{"tier":3}"#));
    let [b, a] = &*claims.subscriptions else { panic!("{:?}", claims.subscriptions) };
    assert_eq!((&*a.channel, &*b.channel), ("a", "b"));
    assert_eq!(b.info.as_deref(), Some(r#"{"x":1}"#));
    assert_eq!(b.data.as_deref(), Some(r#"{"y":2}"#));
    let expect =
        Overrides { presence: Some(false), force_recovery: Some(true), ..Overrides::default() };
    assert_eq!((b.overrides, a.overrides), (expect, Overrides::default()));
}

#[test]
fn a_connection_may_outlive_its_token_or_end_before() {
    for (claims, expire_at) in [
        (json!({"exp": NOW + 9}), Ok(Some(NOW + 9))),
        (json!({"exp": NOW + 9, "expire_at": NOW + 99}), Ok(Some(NOW + 99))),
        (json!({"exp": NOW + 9, "expire_at": NOW + 1}), Ok(Some(NOW + 1))),
        (json!({"exp": NOW + 9, "expire_at": 0}), Ok(None)),
        (json!({"expire_at": NOW}), Err(TokenRefused::Expired)),
        (json!({}), Ok(None)),
    ] {
        let checked = checker().connect(&sign(&claims), NOW).map(|claims| claims.expire_at);
        assert_eq!(checked, expire_at, "{claims}");
    }
}

#[test]
fn claims_of_another_form_are_named() {
    let long = "a".repeat(limits::USER_ID_MAX + 1);
    let deep = "[".repeat(129) + &"]".repeat(129);
    for (claims, name) in [
        (json!({"sub": 42}), "sub"),
        (json!({"sub": long}), "sub"),
        (json!({"channels": "a"}), "channels"),
        (json!({"channels": [""]}), "channels"),
        (json!({"subs": ["a"]}), "subs"),
        (json!({"subs": {"a": {"override": {"presence": true}}}}), "subs"),
        (json!({"b64info": "%"}), "b64info"),
        (json!({"b64info": "bm8ganNvbg=="}), "b64info"),
        (json!({"b64info": URL_SAFE_NO_PAD.encode(deep)}), "b64info"),
        (json!({"expire_at": true}), "expire_at"),
    ] {
        let checked = checker().connect(&sign(&claims), NOW);
        assert_eq!(checked, Err(TokenRefused::ClaimMalformed(name)), "{claims}");
    }
}

#[test]
fn of_too_many_subscriptions_one_too_many_is_told() {
    let most = limits::CHANNELS_PER_CONNECTION_MAX;
    for (channel_count, sub_count, told) in [
        (most, 0, most),
        (most - 1, 1, most),
        (most + 1, 0, most + 1),
        (2 * most, 3, most + 1),
        (1, 2 * most, most + 1),
    ] {
        let channels: Vec<String> = (0..channel_count).map(|n| n.to_string()).collect();
        let subs: serde_json::Map<_, _> =
            (0..sub_count).map(|n| (format!("s{n}"), json!({}))).collect();
        let token = sign(&json!({"channels": channels, "subs": subs}));
        let claims = checker().connect(&token, NOW).expect("a good token");
        assert_eq!(claims.subscriptions.len(), told, "{channel_count} and {sub_count}");
    }
}

#[test]
fn subscription_claims_name_a_channel() {
    let token = sign(&json!({
        "sub": "ann", "channel": "$news", "client": "c1", "exp": NOW + 5, "info": [1],
        "override": {"join_leave": {"value": true}},
    }));
    let claims = checker().subscription(&token, NOW).unwrap();
    assert_eq!(claims.check("$news", "ann", "c1"), Ok(()));
    assert_eq!(claims.check("$new", "ann", "c1"), Err(TokenRefused::WrongChannel));
    assert_eq!((claims.info.as_deref(), claims.expire_at), (Some("[1]"), Some(NOW + 5)));
    assert_eq!(claims.overrides.join_leave, Some(true));
    // And is no connection token, as a connection token is no subscription token.
    assert_eq!(user(checker().connect(&token, NOW)), Err(TokenRefused::ForSubscription));
    let missing = checker().subscription(&sign(&json!({"sub": "ann"})), NOW);
    assert_eq!(missing, Err(TokenRefused::ClaimMalformed("channel")));
}
