//! Who may use the port: key, Host, Origin, content type, path and method.

use super::*;

const BODY: &str = r#"{"channel":"a","data":1}"#;

/// A publish with exactly these header lines besides the length.
fn publish(gateway: &Gateway, line: &str, headers: &[&str]) -> Answer {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let len = BODY.len();
    gateway.send(format!(
        "{line} HTTP/1.1\r\nConnection: close\r\nContent-Length: {len}\r\n{headers}\r\n{BODY}"
    ))
}

#[test]
fn with_a_key_only_the_key_counts() {
    let gateway = Gateway::start(Options { key: Some("open sesame"), ..Options::default() });
    let call = |header: &str| {
        let mut headers = vec!["Host: push.example", "Content-Type: application/json"];
        headers.extend((!header.is_empty()).then_some(header));
        publish(&gateway, "POST /api/publish", &headers)
    };
    for header in [
        "X-API-Key: open sesame",
        "x-api-key: open sesame",
        "Authorization: apikey open sesame",
        "authorization: ApiKey open sesame",
        "Origin: https://evil.example\r\nX-API-Key: open sesame",
        "X-API-Key: wrong\r\nAuthorization: apikey open sesame",
    ] {
        assert!(call(header).offset() > 0, "{header}");
        gateway.next_published();
    }
    for header in [
        "",
        "X-API-Key:",
        "X-API-Key: open sesam",
        "X-API-Key: open sesame!",
        "X-API-Key: OPEN SESAME",
        "Authorization: open sesame",
        "Authorization: apikey",
        "Authorization: apikey ",
        "Authorization: Bearer open sesame",
        "Cookie: api_key=open sesame",
    ] {
        let answer = call(header);
        answer.error(401, 101);
        assert_eq!(answer.header("www-authenticate"), Some("apikey"));
        assert!(!answer.head.to_lowercase().contains("access-control"), "{answer:?}");
    }
    let headers = ["Host: a", "Content-Type: application/json"];
    for (query, status) in [
        ("api_key=open%20sesame", 404),
        ("a=b&api_key=open%20sesame&c", 404),
        ("api_key=open+sesame", 401),
        ("api_key=", 401),
        ("apikey=open%20sesame", 401),
        ("a=api_key=open%20sesame", 401),
    ] {
        let answer = publish(&gateway, &format!("POST /api/nothing?{query}"), &headers);
        assert_eq!(answer.status, status, "{query}: {answer:?}");
    }
    publish(&gateway, "POST /api/nothing", &headers).error(401, 101);
    let headers = ["Host: a", "X-API-Key: open sesame"];
    publish(&gateway, "POST /api/publish", &headers).error(415, 107);
    gateway.assert_nothing_published();
    assert_eq!(gateway.stats.control.counters.api_refused.get(), 16);
    // No such method, asked for with the key.
    assert_eq!(gateway.stats.control.counters.api_errors.get(), 2);
    for path in ["/health", "/metrics", "/"] {
        let answer =
            gateway.send(format!("GET {path} HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n"));
        assert_eq!(answer.status, 200, "{path}");
    }
}

#[test]
fn without_a_key_only_loopback_hosts_are_served() {
    let gateway = Gateway::start(Options::default());
    let hosts = [
        (200, "Host: localhost"),
        (200, "Host: LOCALHOST:8001"),
        (200, "Host: 127.0.0.1:9"),
        (200, "Host: [::1]:8001"),
        (403, "Host: push.example"),
        (403, "Host: 0.0.0.0:8001"),
        (403, "Host: localhost.push.example"),
        (403, "Host: user@localhost"),
        (403, "Host:"),
        (403, "X: no host"),
        (403, "Host: localhost\r\nHost: push.example"),
    ];
    for (status, host) in hosts {
        let answer =
            publish(&gateway, "POST /api/publish", &[host, "Content-Type: application/json"]);
        assert_eq!(answer.status, status, "{host}: {answer:?}");
        if status == 403 {
            assert!(answer.error(403, 103).contains("loopback"));
        }
        for path in ["/metrics", "/health", "/"] {
            let answer = publish(&gateway, &format!("GET {path}"), &[host]);
            assert_eq!(answer.status, status, "{path} with {host}");
        }
    }
    let headers = ["Host: localhost", "Content-Type: application/json"];
    publish(&gateway, "POST http://push.example/api/publish", &headers).error(403, 103);
}

#[test]
fn without_a_key_no_foreign_origin_is_served() {
    let gateway = Gateway::start(Options::default());
    let origins = [
        (200, "Origin: http://localhost:8001"),
        (200, "Origin: https://LOCALHOST:8001"),
        (403, "Origin: http://localhost"),
        (403, "Origin: http://localhost:3000"),
        (403, "Origin: http://127.0.0.1:8001"),
        (403, "Origin: https://evil.example"),
        (403, "Origin: null"),
        (403, "Origin:"),
        (403, "Origin: http://localhost:8001.evil.example"),
        (403, "Origin: http://localhost:8001\r\nOrigin: https://evil.example"),
    ];
    for (status, origin) in origins {
        let headers = ["Host: localhost:8001", "Content-Type: application/json", origin];
        let answer = publish(&gateway, "POST /api/publish", &headers);
        assert_eq!(answer.status, status, "{origin}: {answer:?}");
        assert!(!answer.head.to_lowercase().contains("access-control"), "{answer:?}");
        if status == 403 {
            answer.error(403, 103);
        }
        let answer = publish(&gateway, "GET /metrics", &["Host: localhost:8001", origin]);
        assert_eq!(answer.status, status, "/metrics with {origin}");
    }
    let preflight = [
        "Host: localhost:8001",
        "Origin: https://evil.example",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: content-type",
    ];
    let answer = publish(&gateway, "OPTIONS /api/publish", &preflight);
    assert_eq!(answer.status, 403);
    assert!(!answer.head.to_lowercase().contains("access-control"), "{answer:?}");
}

#[test]
fn the_api_takes_json_only() {
    let gateway = Gateway::start(Options::default());
    let types = [
        (200, "Content-Type: application/json"),
        (200, "content-type: Application/JSON; charset=utf-8"),
        (415, "Content-Type: text/plain"),
        (415, "Content-Type: application/x-www-form-urlencoded"),
        (415, "Content-Type: multipart/form-data; boundary=application/json"),
        (415, "Content-Type: application/jsonp"),
        (415, "Content-Type: text/plain\r\nContent-Type: application/json"),
        (415, "Content-Type:"),
        (415, "X: no type"),
    ];
    for (status, header) in types {
        for path in ["/api/publish", "/api/broadcast"] {
            let line = format!("POST {path}");
            let answer = publish(&gateway, &line, &["Host: localhost", header]);
            // The body is one for a publish, so a broadcast that got that far is a 400.
            let passed = if path == "/api/publish" { 200 } else { 400 };
            let expected = if status == 200 { passed } else { status };
            assert_eq!(answer.status, expected, "{header}: {answer:?}");
            if status == 415 {
                assert!(answer.error(415, 107).contains("application/json"));
            }
        }
    }
}

#[test]
fn other_paths_and_methods_are_404_and_405() {
    let gateway = Gateway::start(Options::default());
    for line in ["GET /nothing", "POST /api/", "POST /api/connections", "POST /api/publish/"] {
        let answer = gateway.request(line, "Content-Type: application/json\r\n", "{}");
        assert!(answer.error(404, 104).contains("/api/openapi.json"), "{line}");
    }
    for (line, allow) in [
        ("GET /api/publish", "POST"),
        ("PUT /api/broadcast", "POST"),
        ("DELETE /metrics", "GET,HEAD"),
        ("POST /health", "GET,HEAD"),
    ] {
        let answer = gateway.request(line, "", "");
        answer.error(405, 104);
        assert_eq!(answer.header("allow"), Some(allow), "{line}");
    }
    let answer = gateway.request("HEAD /health", "", "");
    assert_eq!((answer.status, &*answer.body), (200, ""));
    let answer = gateway.get("/");
    assert_eq!(answer.status, 200);
    for path in ["/api/METHOD", "/api/openapi.json", "/metrics", "/health"] {
        assert!(answer.body.contains(path), "{answer:?}");
    }
}

#[test]
fn an_oversized_head_is_431() {
    let gateway = Gateway::start(Options::default());
    let header = format!("X-Long: {}\r\n", "x".repeat(limits::HEAD_SIZE_MAX));
    assert_eq!(gateway.request("GET /health", &header, "").status, 431);
}
