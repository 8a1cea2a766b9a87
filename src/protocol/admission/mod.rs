//! Which paths, channels and permissions are acceptable before the 101.
//!
//! Pure: a request and a [`Policy`] come in, what the connection may do or a [`Refusal`] comes
//! out. It owns the paths, the queries and the rule on origins, and asks [`super::channel`] about
//! channels; it knows no socket, no clock, and not where the policy's values were typed.

mod origin;
mod query;
mod refusal;

use std::sync::Arc;

use super::channel::{Identity, Namespaces};
use super::claims::{ConnectClaims, ServerSubscription, TokenText};
use crate::id::ChannelName;
use crate::ws::handshake::{DeflatePolicy, HandshakeError, Request, Upgrade};

pub use origin::Origins;
pub use refusal::{ChannelRight, Refusal};

/// What the operator allows, as far as it is decided before the 101.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Whether `/echo` exists.
    pub echo: bool,
    /// Whether the demo page exists, at `/`.
    pub demo: bool,
    /// Whether connections are compressed that offer it (RFC 7692).
    pub compression: bool,
    /// From which web pages connections are accepted.
    pub origins: Origins,
    /// Who may do what in which channel.
    pub channels: Namespaces,
}

/// What a request is granted.
#[derive(Clone, Debug)]
pub enum Admitted<'a> {
    /// A plain page, after which the connection ends.
    Page(Page),
    /// A WebSocket, once there is room for it.
    Socket {
        /// The handshake, whose 101 is still to be sent.
        upgrade: Upgrade<'a>,
        /// What it is for.
        entry: Entry,
    },
    /// As [`Admitted::Socket`] on `/raw`, once the token is checked and [`admit_user`] has decided.
    ShowsToken {
        /// The handshake, whose 101 is still to be sent.
        upgrade: Upgrade<'a>,
        /// What was asked for and is not granted yet.
        wish: RawEntry,
        /// Who says to be asking.
        token: TokenText,
    },
}

/// A plain page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// `/health`: whether new connections are welcome.
    Health,
    /// `/`, with `--dev`: the demo.
    Demo,
}

/// What an admitted connection is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// `/echo`: every message comes back.
    Echo,
    /// `/raw`: publications of `channels` arrive as messages.
    Raw(RawEntry),
    /// `/connection/websocket`: the Centrifuge protocol in JSON.
    Centrifuge {
        /// Whether it is pinged with control frames, as other connections are.
        frame_pings: bool,
    },
}

/// What `/raw` was asked for and granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawEntry {
    /// At least one, at most `limits::CHANNELS_PER_CONNECTION_MAX`, without duplicates, in the
    /// order asked.
    pub channels: Box<[ChannelName]>,
    /// Whether messages of the client are published to the first channel.
    pub publish: bool,
    /// When the connection ends with its token, in seconds since 1970. `None`: never.
    pub expire_at: Option<u64>,
    /// Who its token says it is; `None`: it showed none.
    pub user: Option<Arc<str>>,
}

/// The subprotocol that is confirmed when offered to the Centrifuge protocol; it need not be.
const CENTRIFUGE_JSON: &str = "centrifuge-json";

/// The subprotocol of the same protocol in Protobuf, which is not spoken here.
const CENTRIFUGE_PROTOBUF: &[u8] = b"centrifuge-protobuf";

/// Decides what `request` gets. The order of the questions: does the path exist, is this a correct
/// handshake, may this page connect, is the query well formed, are the channels allowed. So a
/// foreign web page learns nothing about channels.
///
/// # Errors
/// The first question whose answer is no. Never one of the refusals for want of room.
pub fn admit<'a>(request: &Request<'a>, policy: &Policy) -> Result<Admitted<'a>, Refusal> {
    match request.path {
        "/health" => admit_page(request, Page::Health),
        "/" if policy.demo => admit_page(request, Page::Demo),
        "/echo" if policy.echo => {
            let upgrade = admit_upgrade(request, policy, &[], &DeflatePolicy::ANY)?;
            Ok(Admitted::Socket { upgrade, entry: Entry::Echo })
        }
        "/echo" => Err(Refusal::EchoDisabled),
        "/raw" => {
            // One compressed copy of a publication serves all its subscribers.
            let upgrade = admit_upgrade(request, policy, &[], &DeflatePolicy::SHARED)?;
            let wish = query::parse(request.query)?;
            if let Some(token) = token(request)? {
                return Ok(Admitted::ShowsToken { upgrade, wish, token });
            }
            admit_channels(&wish, policy, Identity::Anonymous, &[])?;
            Ok(Admitted::Socket { upgrade, entry: Entry::Raw(wish) })
        }
        "/connection/websocket" => {
            let subprotocols = &[CENTRIFUGE_JSON];
            let upgrade = admit_upgrade(request, policy, subprotocols, &DeflatePolicy::SHARED)?;
            if upgrade.subprotocol.is_none() && wants_protobuf(request) {
                return Err(Refusal::ProtobufUnknown);
            }
            let frame_pings = query::asks_for_frame_pings(request.query);
            Ok(Admitted::Socket { upgrade, entry: Entry::Centrifuge { frame_pings } })
        }
        _ => Err(Refusal::PathUnknown),
    }
}

/// Whether the client would go on in Protobuf, by what it offers or by its query.
fn wants_protobuf(request: &Request<'_>) -> bool {
    request.elements("sec-websocket-protocol").any(|offered| offered == CENTRIFUGE_PROTOBUF)
        || query::asks_for_protobuf(request.query)
}

fn admit_page<'a>(request: &Request<'a>, page: Page) -> Result<Admitted<'a>, Refusal> {
    match request.method {
        "GET" => Ok(Admitted::Page(page)),
        _ => Err(HandshakeError::MethodNotGet.into()),
    }
}

fn admit_upgrade<'a>(
    request: &Request<'a>,
    policy: &Policy,
    subprotocols: &[&'a str],
    deflate: &DeflatePolicy,
) -> Result<Upgrade<'a>, Refusal> {
    let mut upgrade = request.upgrade(subprotocols)?;
    if policy.compression {
        upgrade.agree_deflate(deflate);
    }
    match request.origin()? {
        // Browsers always send it; what is no browser is not driven by a foreign page.
        None => Ok(upgrade),
        Some(origin) if policy.origins.allow(origin, request.host) => Ok(upgrade),
        Some(origin) => Err(Refusal::OriginNotAllowed {
            origin: String::from_utf8_lossy(origin).into(),
            host: request.host.into(),
        }),
    }
}

/// Decides what the user of a checked token gets of `wish`. What the token subscribes it to is
/// granted without a look at the channel's options.
///
/// # Errors
/// The first thing that is not allowed.
pub fn admit_user(
    wish: RawEntry,
    claims: &ConnectClaims,
    policy: &Policy,
) -> Result<Entry, Refusal> {
    let who = match &*claims.user {
        "" => Identity::Anonymous,
        user => Identity::User(user),
    };
    admit_channels(&wish, policy, who, &claims.subscriptions)?;
    let user = Some(claims.user.clone());
    Ok(Entry::Raw(RawEntry { expire_at: claims.expire_at, user, ..wish }))
}

/// The token of a request, from its header or, for browsers, which cannot set one, its query.
fn token(request: &Request<'_>) -> Result<Option<TokenText>, Refusal> {
    let in_query = query::token(request.query)?;
    let mut in_header = None;
    for value in request.values("authorization") {
        let value = str::from_utf8(value).unwrap_or_default();
        // Other schemes are for whoever stands before this gateway.
        let Some((scheme, token)) = value.split_once(' ') else { continue };
        if !scheme.eq_ignore_ascii_case("bearer") {
            continue;
        }
        if in_header.replace(TokenText::new(token.trim())).is_some() {
            return Err(Refusal::TokenTwice);
        }
    }
    match (in_header, in_query) {
        (Some(_), Some(_)) => Err(Refusal::TokenTwice),
        (in_header, in_query) => Ok(in_header.or(in_query)),
    }
}

fn admit_channels(
    entry: &RawEntry,
    policy: &Policy,
    who: Identity<'_>,
    subscriptions: &[ServerSubscription],
) -> Result<(), Refusal> {
    for channel in &entry.channels {
        let decided = if subscriptions.iter().any(|one| one.channel == *channel) {
            policy.channels.options(channel).map(drop)
        } else {
            policy.channels.decide_subscribe(channel, who)
        };
        decided.map_err(|denied| Refusal::NotAllowed {
            what: ChannelRight::Subscribe,
            channel: channel.clone(),
            denied,
        })?;
    }
    if entry.publish {
        let channel = entry.channels.first().expect("an entry has a channel");
        let decided = policy.channels.decide_publish(channel, who, true);
        decided.map_err(|denied| Refusal::NotAllowed {
            what: ChannelRight::Publish,
            channel: channel.clone(),
            denied,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::channel::{Audience, ChannelOptions, Denied};
    use super::super::claims::Overrides;
    use super::*;
    use crate::ws::handshake::Status;

    fn policy() -> Policy {
        Policy {
            echo: true,
            demo: true,
            compression: true,
            origins: Origins::new(&[], false),
            channels: Namespaces::new(
                open(Audience::Nobody),
                [("news".into(), open(Audience::Nobody)), ("chat".into(), open(Audience::Anyone))],
            ),
        }
    }

    /// Anyone may subscribe, and `publishers` publish.
    fn open(publishers: Audience) -> ChannelOptions {
        ChannelOptions {
            allow_subscribe: Audience::Anyone,
            allow_publish: publishers,
            ..ChannelOptions::default()
        }
    }

    fn not_allowed(what: ChannelRight, channel: &str, denied: Denied) -> Refusal {
        Refusal::NotAllowed { what, channel: channel.into(), denied }
    }

    fn decide(line: &str, headers: &str, policy: &Policy) -> Result<Option<Entry>, Refusal> {
        let head = format!("{line} HTTP/1.1\r\nHost: h:8000\r\n{headers}\r\n");
        let request = Request::parse(head.as_bytes())?;
        Ok(match admit(&request, policy)? {
            Admitted::Page(_) => None,
            Admitted::Socket { entry, .. } => Some(entry),
            Admitted::ShowsToken { wish, .. } => Some(Entry::Raw(wish)),
        })
    }

    const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

    #[test]
    fn paths_that_exist() {
        let all = policy();
        let none = Policy::default();
        assert_eq!(decide("GET /health", "", &none), Ok(None));
        assert_eq!(decide("GET /", "", &all), Ok(None));
        assert_eq!(decide("GET /", "", &none), Err(Refusal::PathUnknown));
        assert_eq!(decide("GET /echo", UPGRADE, &all), Ok(Some(Entry::Echo)));
        assert_eq!(decide("GET /echo", UPGRADE, &none), Err(Refusal::EchoDisabled));
        for path in ["/raw/", "/Raw", "//raw", "/%72aw", "/metrics"] {
            let refusal = decide(&format!("GET {path}"), UPGRADE, &all);
            assert_eq!(refusal, Err(Refusal::PathUnknown), "{path}");
        }
    }

    #[test]
    fn methods_and_plain_requests() {
        let not_get = Err(HandshakeError::MethodNotGet.into());
        for line in ["HEAD /health", "POST /", "HEAD /raw?channel=chat", "OPTIONS /echo"] {
            assert_eq!(decide(line, UPGRADE, &policy()), not_get, "{line}");
        }
        let plain = Err(HandshakeError::UpgradeMissing.into());
        assert_eq!(decide("GET /raw", "", &policy()), plain);
        assert_eq!(decide("GET /echo", "Origin: http://evil\r\n", &policy()), plain);
    }

    #[test]
    fn channels_are_granted_by_their_options() {
        let entry = decide("GET /raw?channel=news:1&channel=chat:a", UPGRADE, &policy());
        let channels = ["news:1".into(), "chat:a".into()].into();
        assert_eq!(entry, Ok(Some(Entry::Raw(RawEntry { channels, ..RawEntry::default() }))));
        for (query, refusal) in [
            (
                "channel=a&channel=x:1",
                Some((ChannelRight::Subscribe, "x:1", Denied::UnknownNamespace)),
            ),
            ("channel=a%23ann", Some((ChannelRight::Subscribe, "a#ann", Denied::NameRestricted))),
            ("channel=chat:a&publish=1", None),
            // The first channel is the one that is published to.
            ("channel=chat:a&channel=news:1&publish=1", None),
            (
                "channel=news:1&channel=chat:a&publish=1",
                Some((ChannelRight::Publish, "news:1", Denied::NotPermitted)),
            ),
        ] {
            let decided = decide(&format!("GET /raw?{query}"), UPGRADE, &policy()).map(drop);
            let expect = refusal
                .map_or(Ok(()), |(what, channel, denied)| Err(not_allowed(what, channel, denied)));
            assert_eq!(decided, expect, "{query}");
        }
        assert_eq!(
            decide("GET /raw?channel=chat", UPGRADE, &Policy::default()),
            Err(not_allowed(ChannelRight::Subscribe, "chat", Denied::NotPermitted))
        );
    }

    #[test]
    fn the_centrifuge_protocol_is_spoken_in_json_only() {
        let offer = |names: &str| format!("{UPGRADE}Sec-WebSocket-Protocol: {names}\r\n");
        let path = "GET /connection/websocket";
        for (line, headers, frame_pings) in [
            (path.to_owned(), UPGRADE.to_owned(), Some(false)),
            (path.to_owned(), offer("centrifuge-json"), Some(false)),
            (path.to_owned(), offer("centrifuge-protobuf, centrifuge-json"), Some(false)),
            (path.to_owned(), offer("something-else"), Some(false)),
            (path.to_owned(), offer("centrifuge-protobuf"), None),
            (format!("{path}?format=protobuf"), UPGRADE.to_owned(), None),
            (format!("{path}?cf_protocol=protobuf"), UPGRADE.to_owned(), None),
            (format!("{path}?x=1&format=json"), UPGRADE.to_owned(), Some(false)),
            (format!("{path}?cf_ws_frame_ping_pong=true"), UPGRADE.to_owned(), Some(true)),
            (format!("{path}?cf_ws_frame_ping_pong=1"), UPGRADE.to_owned(), Some(false)),
        ] {
            let decided = decide(&line, &headers, &policy());
            let expect = frame_pings.map(|frame_pings| Some(Entry::Centrifuge { frame_pings }));
            assert_eq!(decided, expect.ok_or(Refusal::ProtobufUnknown), "{line} {headers}");
        }
        assert_eq!(Refusal::ProtobufUnknown.status(), Status::BadRequest);
    }

    #[test]
    fn compression_is_agreed_on_if_it_is_switched_on_as_the_path_allows() {
        let agreed = |path: &str, offer: &str, policy: &Policy| {
            let head = format!(
                "GET {path} HTTP/1.1\r\nHost: h\r\n{UPGRADE}Sec-WebSocket-Extensions: {offer}\r\n\r\n"
            );
            let request = Request::parse(head.as_bytes()).expect("a request");
            match admit(&request, policy).expect("acceptable") {
                Admitted::Socket { upgrade, .. } => upgrade.deflate(),
                Admitted::ShowsToken { .. } | Admitted::Page(_) => panic!("a page"),
            }
        };
        let narrow = "permessage-deflate; server_max_window_bits=9";
        let off = Policy { compression: false, ..policy() };
        let centrifuge = "/connection/websocket";
        for (path, offer) in [
            ("/echo", narrow),
            ("/raw?channel=chat:a", "permessage-deflate"),
            (centrifuge, "permessage-deflate; client_max_window_bits"),
        ] {
            assert_eq!(agreed(path, offer, &off), None);
            assert!(agreed(path, offer, &policy()).is_some());
        }
        for path in ["/raw?channel=chat:a", centrifuge] {
            assert_eq!(agreed(path, narrow, &policy()), None);
            let shared = agreed(path, "permessage-deflate", &policy()).expect("agreed");
            assert!(shared.server_no_context_takeover && shared.client_no_context_takeover);
        }
        let echo = agreed("/echo", narrow, &policy()).expect("agreed");
        assert!(!echo.server_no_context_takeover && echo.server_window_bits == 9);
    }

    #[test]
    fn origin_comes_before_the_query() {
        let foreign = format!("{UPGRADE}Origin: https://evil.example\r\n");
        let refusal = decide("GET /raw", &foreign, &policy()).expect_err("a foreign page");
        let expect = Refusal::OriginNotAllowed {
            origin: "https://evil.example".into(),
            host: "h:8000".into(),
        };
        assert_eq!(refusal, expect);
        assert_eq!(refusal.status(), Status::Forbidden);
        assert!(refusal.to_string().contains("origins = [\"https://evil.example\"]"));
        let own = format!("{UPGRADE}Origin: http://h:8000\r\n");
        assert_eq!(decide("GET /raw", &own, &policy()), Err(Refusal::ChannelMissing));
    }

    #[test]
    fn a_token_stands_in_the_header_or_in_the_query() {
        let shown = |line: &str, headers: &str| {
            let head = format!("{line} HTTP/1.1\r\nHost: h:8000\r\n{UPGRADE}{headers}\r\n");
            let request = Request::parse(head.as_bytes()).expect("a request");
            match admit(&request, &policy()) {
                Ok(Admitted::ShowsToken { token, .. }) => Ok(Some(token.expose().to_owned())),
                Ok(_) => Ok(None),
                Err(refusal) => Err(refusal),
            }
        };
        let plain = "GET /raw?channel=chat:a";
        let with_query = "GET /raw?channel=chat:a&token=a%2Bb";
        for (line, headers, token) in [
            (plain, "", Ok(None)),
            (plain, "Authorization: Bearer a.b\r\n", Ok(Some("a.b"))),
            (plain, "authorization: bearer  a.b \r\n", Ok(Some("a.b"))),
            (plain, "Authorization: Basic YTpi\r\n", Ok(None)),
            (plain, "Authorization: Bearer\r\n", Ok(None)),
            (with_query, "", Ok(Some("a+b"))),
            (with_query, "Authorization: Basic YTpi\r\n", Ok(Some("a+b"))),
            (with_query, "Authorization: Bearer a\r\n", Err(Refusal::TokenTwice)),
            ("GET /raw?channel=chat:a&token=a&token=b", "", Err(Refusal::TokenTwice)),
            ("GET /raw?channel=chat:a&token=", "", Ok(None)),
        ] {
            let token = token.map(|token| token.map(str::to_owned));
            assert_eq!(shown(line, headers), token, "{line} {headers}");
        }
    }

    #[test]
    fn a_user_gets_what_users_may_and_what_the_token_names() {
        let users = ChannelOptions {
            allow_subscribe: Audience::User,
            allow_publish: Audience::User,
            ..ChannelOptions::default()
        };
        let closed = ChannelOptions::default();
        let named = [("users".into(), users), ("closed".into(), closed)];
        let policy = Policy { channels: Namespaces::new(closed, named), ..policy() };
        let claims = |user: &str, channels: &[&str]| ConnectClaims {
            user: user.into(),
            expire_at: Some(9),
            subscriptions: channels
                .iter()
                .map(|channel| ServerSubscription {
                    channel: (*channel).into(),
                    info: None,
                    data: None,
                    overrides: Overrides::default(),
                })
                .collect(),
            ..ConnectClaims::default()
        };
        let denied = Some(Denied::NotPermitted);
        for (channel, claims, denied) in [
            ("users:a", claims("ann", &[]), None),
            ("users:a", claims("", &[]), denied),
            ("closed:a", claims("ann", &[]), denied),
            ("closed:a", claims("ann", &["closed:a"]), None),
            ("closed:a", claims("ann", &["closed:b"]), denied),
            ("users:a#ann", claims("ann", &[]), None),
            ("users:a#ann", claims("bob", &[]), Some(Denied::NameRestricted)),
            ("unknown:a", claims("ann", &["unknown:a"]), Some(Denied::UnknownNamespace)),
        ] {
            let wish = RawEntry { channels: [channel.into()].into(), ..RawEntry::default() };
            let user = Some(claims.user.clone());
            let entry = Entry::Raw(RawEntry { expire_at: Some(9), user, ..wish.clone() });
            let expect = denied.map_or(Ok(entry), |denied| {
                Err(not_allowed(ChannelRight::Subscribe, channel, denied))
            });
            assert_eq!(admit_user(wish, &claims, &policy), expect, "{channel} {claims:?}");
        }
    }
}
