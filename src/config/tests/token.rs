//! `[token]`.

use jsonwebtoken::Algorithm;

use super::super::token_fault::TokenWarning;
use super::super::{PublicKeys, Secret, Token, Warning};
use super::{TempFile, from_file, from_flags};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Public keys, made for these tests and used nowhere.
const P256: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEAY7xm5UwfBpq5++8okW6uhmtDLu/\n\
    ni41E1rUWKnpXJ3VeyhN7wM2RpbGMXRhmHGOKPyzVayGBRA/SB6fQOBsQQ==\n-----END PUBLIC KEY-----\n";
const P384: &str = "-----BEGIN PUBLIC KEY-----\nMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEICknH9jV0iJ2SQ6MUZ2l+N58xSKjm0cj\n\
    BCF4/943+WN55jIwdYf6oO6sV2nC8OQbReY1hxWXyWt8cGpFo7FhaUuZjFG/Mix3\n\
    LWpThuYvB8uMUZt5NYXdVw0zoN/S+2jH\n-----END PUBLIC KEY-----\n";
const ED25519: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAJOC0TgE+/r/1OZISno8VK5M44N5GE4KQTRqyclLmEpA=\n-----END PUBLIC KEY-----\n";
const RSA: &str = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAzCrMY56EjHwU6XP5/Gio\n\
    srYgxHtGXss6IobISZybC5NiLhxmVr3roaTk0T1k1jNI//SGmDkPHSwBpnaSS2kK\n\
    O4xlHTm9EHBluzqo11xq5rpIHZfkV6ZGRmPU1yKhCIV0RGBMeQHL36ncLIIWTAql\n\
    STG8Qtu8iuGI1VjlOS07UgMsvDx2slDS1ioIiuTVhWR6KNdCt76AMNLnsa1xF7Nj\n\
    nJ8OdogTMNKqa+Nuya8zxEYsn2M3DaGexhivXHEsgCSBuZYqXZrb97qZAeV1DDet\n\
    W9BtutX84RilDm8uAAmhLNSWLbRJK0jhBlWaEsp98jded57mcT29iuX3dOjq+/0y\n\
    2wIDAQAB\n-----END PUBLIC KEY-----\n";
const ED25519_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\n-----END PRIVATE KEY-----\n";
const X25519: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEAZCB8Hkr3Us9102no+uTA2IJEiU3yqeRCksLDw7uGsw4=\n-----END PUBLIC KEY-----\n";

fn token(flags: &[(&str, &str)]) -> Result<Option<Token>, String> {
    from_flags(flags).map(|config| config.token)
}

fn secret(secret: &Secret) -> &str {
    str::from_utf8(secret.expose()).unwrap()
}

#[test]
fn without_a_key_there_are_no_tokens() {
    assert!(token(&[]).unwrap().is_none());
    for key in ["token.audience", "token.issuer", "token.algorithms"] {
        let error = token(&[(key, "HS256")]).unwrap_err();
        assert!(error.contains(&format!("{key} is set, but no key")), "{error}");
    }
}

#[test]
fn a_secret_allows_hmac_and_nothing_else() {
    let token = token(&[("token.hmac_secret", SECRET), ("token.audience", "push")]).unwrap();
    let token = token.unwrap();
    assert_eq!(secret(token.hmac_secret.as_ref().unwrap()), SECRET);
    assert_eq!(token.algorithms, [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512]);
    assert_eq!((token.audience.as_deref(), token.issuer, token.leeway_s), (Some("push"), None, 0));
    assert!(!format!("{:?}", token.hmac_secret).contains(SECRET));
}

#[test]
fn secrets_come_from_files_too_and_never_show() {
    let file = TempFile::new(&format!("{SECRET}\n"), 0o600);
    let path = file.0.to_str().unwrap();
    let read = token(&[("token.hmac_secret_file", path)]).unwrap().unwrap();
    assert_eq!(secret(read.hmac_secret.as_ref().unwrap()), SECRET);
    let twice = [("token.hmac_secret_file", path), ("token.hmac_secret", SECRET)];
    let error = token(&twice).unwrap_err();
    assert!(error.contains("both set") && !error.contains(SECRET), "{error}");
    let empty = TempFile::new(" \n", 0o600);
    let error = token(&[("token.hmac_secret_file", empty.0.to_str().unwrap())]).unwrap_err();
    assert!(error.contains("is empty"), "{error}");
    assert!(token(&[("token.hmac_secret_file", "/nowhere/at/all")]).is_err());
    let error = from_file("[token]\nhmac_secret = 123456789\n").unwrap_err();
    assert!(!error.contains("123456789"), "{error}");
    let error = token(&[("token.hmac_secret", &"x".repeat(1_025))]).unwrap_err();
    assert!(!error.contains("xx"), "{error}");
}

#[test]
fn what_is_probably_not_meant() {
    let warnings = |text: &str| from_file(text).unwrap().warnings;
    let short = |size| TokenWarning::SecretShort { key: "token.hmac_secret", size };
    let found = warnings("[token]\nhmac_secret = \"short\"\n");
    assert!(found.contains(&Warning::Token(short(5))), "{found:?}");
    let found = warnings(&format!("[token]\nhmac_secret = \"{SECRET}\"\n"));
    let is_short = |one: &Warning| matches!(one, Warning::Token(TokenWarning::SecretShort { .. }));
    assert!(!found.iter().any(is_short), "{found:?}");
    let found = warnings("[token]\njwks_url = \"http://issuer.example/keys\"\n");
    assert_eq!(found, [Warning::Token(TokenWarning::JwksUnencrypted)]);
    for url in ["https://issuer.example/keys", "http://127.0.0.1:1/", "http://[::1]/"] {
        assert_eq!(warnings(&format!("[token]\njwks_url = \"{url}\"\n")), [], "{url}");
    }
}

#[test]
fn the_previous_secret_has_an_end() {
    let with = |until: &str| {
        token(&[
            ("token.hmac_secret", SECRET),
            ("token.hmac_previous", "before"),
            ("token.hmac_previous_until", until),
        ])
    };
    for (until, seconds) in [
        ("1893456000", 1_893_456_000),
        ("2030-01-01T00:00:00Z", 1_893_456_000),
        ("2030-01-01T01:30:00+01:30", 1_893_456_000),
        ("2028-02-29T23:59:59Z", 1_835_481_599),
        ("2000-03-01T00:00:00Z", 951_868_800),
        ("1970-01-01T00:00:00Z", 0),
    ] {
        let previous = with(until).unwrap().unwrap().hmac_previous.unwrap();
        assert_eq!((secret(&previous.0), previous.1), ("before", seconds), "{until}");
    }
    for until in ["soon", "2030-01-01", "2030-01-01T00:00:00", "1960-01-01T00:00:00Z"] {
        let error = with(until).unwrap_err();
        assert!(error.contains("hmac_previous_until is no moment"), "{error}");
    }
    let bare = "[token]\nhmac_secret = \"a\"\nhmac_previous = \"b\"\n\
                hmac_previous_until = 2030-01-01T00:00:00Z\n";
    let previous = from_file(bare).unwrap().config.token.unwrap().hmac_previous.unwrap();
    assert_eq!(previous.1, 1_893_456_000);
    for (flags, expect) in [
        (&[("token.hmac_previous", "b")][..], "hmac_previous is set without hmac_previous_until"),
        (
            &[("token.hmac_secret", "a"), ("token.hmac_previous", "b")],
            "without hmac_previous_until",
        ),
        (&[("token.hmac_previous_until", "1")], "without hmac_previous;"),
        (
            &[("token.hmac_previous", "b"), ("token.hmac_previous_until", "1")],
            "without hmac_secret",
        ),
    ] {
        let error = token(flags).unwrap_err();
        assert!(error.contains(expect), "{error}");
    }
}

#[test]
fn a_public_key_says_what_it_checks() {
    for (pem, algorithms) in [
        (RSA, &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512][..]),
        (P256, &[Algorithm::ES256]),
        (P384, &[Algorithm::ES384]),
        (ED25519, &[Algorithm::EdDSA]),
    ] {
        let file = TempFile::new(pem, 0o600);
        let token = token(&[("token.public_key_file", file.0.to_str().unwrap())]);
        let token = token.unwrap().unwrap();
        assert_eq!(token.algorithms, algorithms);
        let PublicKeys::File(key) = token.public_keys else { panic!("a file") };
        assert_eq!(key.algorithms, algorithms);
    }
    for (text, expect) in [
        ("nonsense", "it is no PEM file"),
        (ED25519_PRIVATE, "it is a private key"),
        (&format!("{P256}{P384}"), "more than one key"),
        (X25519, "its kind is not known"),
    ] {
        let file = TempFile::new(text, 0o600);
        let error = token(&[("token.public_key_file", file.0.to_str().unwrap())]).unwrap_err();
        assert!(error.contains(expect), "{error}");
    }
}

#[test]
fn keys_and_algorithms_match() {
    let file = TempFile::new(P256, 0o600);
    let path = file.0.to_str().unwrap();
    let key = ("token.public_key_file", path);
    let jwks = ("token.jwks_url", "https://issuer.example/keys");
    let hmac = ("token.hmac_secret", SECRET);
    let listed = token(&[hmac, jwks, ("token.algorithms", "HS256,RS256,HS256")]).unwrap().unwrap();
    assert_eq!(listed.algorithms, [Algorithm::HS256, Algorithm::RS256]);
    for (flags, expect) in [
        (&[hmac, ("token.algorithms", "none")][..], "algorithms has \"none\"; allowed: HS256, "),
        (&[hmac, ("token.algorithms", "PS256")], "algorithms has \"PS256\""),
        (&[hmac, ("token.algorithms", "HS256,RS256")], "has RS256, but no key checks it; set pub"),
        (
            &[jwks, ("token.algorithms", "HS256")],
            "has HS256, but no key checks it; set hmac_secret",
        ),
        (&[key, ("token.algorithms", "RS256")], "the key in public_key_file is of another kind"),
        (
            &[hmac, key, ("token.algorithms", "ES256")],
            "hmac_secret is set, but algorithms has none",
        ),
        (&[hmac, key, ("token.algorithms", "HS256")], "public_key_file is set, but algorithms has"),
        (&[key, jwks], "public_key_file and jwks_url are both set"),
        (&[("token.jwks_url", "issuer.example")], "jwks_url is no address"),
        (&[("token.jwks_url", "ftp://issuer.example/")], "jwks_url is no address"),
        (&[hmac, ("token.leeway", "6m")], "token.leeway is \"6m\"; allowed: a duration from 0s to"),
    ] {
        let error = token(flags).unwrap_err();
        assert!(error.contains(expect), "{error}");
    }
}
