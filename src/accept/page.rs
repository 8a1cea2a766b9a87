//! The plain pages beside the sockets: health and demo.

use std::net::SocketAddr;

use crate::ws::handshake::{Reply, Status};

/// The demo page: one file, no other resources.
const DEMO: &str = include_str!("demo.html");

/// Where the page names the admin address, for its curl line.
const DEMO_ADMIN: &str = "__ADMIN__";

/// Where the page learns whether the API asks for a key.
const DEMO_KEYED: &str = "__KEYED__";

/// What the demo page may do: run its own script and style, and open sockets; nothing is loaded
/// from anywhere, and no other page may frame it.
const DEMO_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; \
    style-src 'unsafe-inline'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// The answer to `/health` while new connections are welcome; while they are not, the refusal
/// `Draining` answers.
pub(super) fn health() -> Reply<'static> {
    Reply::text(Status::Ok, &[("Cache-Control", "no-store")], "ok")
}

/// The demo page; `admin` is where the HTTP API listens, `keyed` whether it asks for a key.
pub(super) fn demo(admin: SocketAddr, keyed: bool) -> Reply<'static> {
    let page = DEMO.replace(DEMO_ADMIN, &admin.to_string());
    let page = page.replace(DEMO_KEYED, if keyed { "yes" } else { "no" });
    Reply {
        status: Status::Ok,
        content_type: "text/html; charset=utf-8",
        headers: &[
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", DEMO_POLICY),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
        ],
        body: page.into_bytes().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_page_is_self_contained() {
        let page = demo("127.0.0.1:8001".parse().expect("an address"), true);
        let page = str::from_utf8(&page.body).expect("UTF-8");
        assert!(page.contains("data-admin=\"127.0.0.1:8001\"") && !page.contains(DEMO_ADMIN));
        assert!(page.contains("data-keyed=\"yes\"") && !page.contains(DEMO_KEYED));
        for id in ["status", "messages", "text", "send", "channel"] {
            assert_eq!(page.matches(&format!("id=\"{id}\"")).count(), 1, "#{id}");
        }
        for foreign in ["src=", "<link", "@import", "url(", "innerHTML", "http://", "https://"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(page.contains("name=\"viewport\""));
    }
}
