//! Which paths, channels and permissions are acceptable before the 101.
//!
//! Pure: a request and a [`Policy`] come in, what the connection may do or a [`Refusal`] comes
//! out. It owns the paths, the queries and the rule on origins, and asks [`super::channel`] about
//! channels; it knows no socket, no clock, and not where the policy's values were typed.

mod origin;
mod query;
mod refusal;

use std::sync::Arc;

use super::channel::{Denied, Identity, Namespaces, Permitted};
use super::claims::{ConnectClaims, ServerSubscription, TokenText};
use super::hook::ForwardedHeaders;
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
    /// Whether somebody checks tokens.
    pub tokens: bool,
    /// Whether a backend says who clients are that show no token, or all of them without `tokens`.
    pub connect_hook: bool,
    /// Headers of requests that it gets to see, in lower case.
    pub forward_headers: Box<[Box<str>]>,
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
    /// As [`Admitted::Socket`] on `/raw`, once it is known who asks, [`admit_user`] has decided and
    /// a backend was asked what that leaves to it.
    Undecided {
        /// The handshake, whose 101 is still to be sent.
        upgrade: Upgrade<'a>,
        /// What was asked for and is not granted yet.
        wish: RawEntry,
        /// Who asks.
        who: Who,
    },
}

/// Who asks for a connection, as far as the request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Nobody in particular.
    Anonymous,
    /// Who this token names, if it holds.
    Token(TokenText),
    /// Who a backend says.
    Newcomer {
        /// The token it may want to look at.
        token: Option<TokenText>,
        /// What it gets to see of the request.
        headers: ForwardedHeaders,
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
        /// What the backend that is asked at its connect command gets to see of the request.
        headers: ForwardedHeaders,
        /// Whether it is pinged with control frames, as other connections are.
        frame_pings: bool,
    },
}

/// What `/raw` was asked for and granted.
#[derive(Clone, Debug, PartialEq, Eq)]
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
            let who = match token(request)? {
                token if policy.connect_hook && (token.is_none() || !policy.tokens) => {
                    Who::Newcomer { token, headers: forwarded(request, policy) }
                }
                Some(token) => Who::Token(token),
                None => {
                    let asked = admit_channels(&wish, policy, Identity::Anonymous, &[])?;
                    match asked.first() {
                        None => {
                            let entry = Entry::Raw(wish);
                            return Ok(Admitted::Socket { upgrade, entry });
                        }
                        // Who may not connect with the other protocol may not have asked here.
                        Some(channel) if !policy.channels.welcome_anonymous() => {
                            let what = ChannelRight::Subscribe;
                            let (channel, denied) = (channel.clone(), Denied::NotPermitted);
                            return Err(Refusal::NotAllowed { what, channel, denied });
                        }
                        Some(_) => Who::Anonymous,
                    }
                }
            };
            Ok(Admitted::Undecided { upgrade, wish, who })
        }
        "/connection/websocket" => {
            let subprotocols = &[CENTRIFUGE_JSON];
            let upgrade = admit_upgrade(request, policy, subprotocols, &DeflatePolicy::SHARED)?;
            if upgrade.subprotocol.is_none() && wants_protobuf(request) {
                return Err(Refusal::ProtobufUnknown);
            }
            let frame_pings = query::asks_for_frame_pings(request.query);
            let headers = match policy.connect_hook {
                true => forwarded(request, policy),
                false => ForwardedHeaders::default(),
            };
            let entry = Entry::Centrifuge { headers, frame_pings };
            Ok(Admitted::Socket { upgrade, entry })
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

/// What is granted, but for the channels whose backend says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// What was asked for.
    pub entry: RawEntry,
    /// Channels of it that a backend is to be asked about.
    pub asked: Vec<ChannelName>,
}

/// Decides what the client of whom `claims` speak gets of `wish`. What they subscribe it to is
/// granted without a look at the channel's options.
///
/// # Errors
/// The first thing that is not allowed.
pub fn admit_user(
    wish: RawEntry,
    claims: &ConnectClaims,
    policy: &Policy,
) -> Result<Granted, Refusal> {
    let who = match &*claims.user {
        "" => Identity::Anonymous,
        user => Identity::User(user),
    };
    let asked = admit_channels(&wish, policy, who, &claims.subscriptions)?;
    let (expire_at, user) = (claims.expire_at, Some(claims.user.clone()));
    Ok(Granted { entry: RawEntry { expire_at, user, ..wish }, asked })
}

/// What a backend gets to see of the request, in the order of the policy.
fn forwarded(request: &Request<'_>, policy: &Policy) -> ForwardedHeaders {
    let values = (0..)
        .zip(&policy.forward_headers)
        .flat_map(|(index, name)| request.values(name).map(move |value| (index, Box::from(value))));
    ForwardedHeaders(values.collect())
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

/// Decides about each channel; those that a backend is to be asked about.
fn admit_channels(
    entry: &RawEntry,
    policy: &Policy,
    who: Identity<'_>,
    subscriptions: &[ServerSubscription],
) -> Result<Vec<ChannelName>, Refusal> {
    let not_allowed = |what, channel: &ChannelName, denied| Refusal::NotAllowed {
        what,
        channel: channel.clone(),
        denied,
    };
    let mut asked = Vec::new();
    for channel in &entry.channels {
        let decided = if subscriptions.iter().any(|one| one.channel == *channel) {
            policy.channels.options(channel).map(|_| Permitted::Yes)
        } else {
            policy.channels.decide_subscribe(channel, who)
        };
        match decided {
            Ok(Permitted::Yes) => {}
            Ok(Permitted::IfBackendSays) => asked.push(channel.clone()),
            Err(denied) => return Err(not_allowed(ChannelRight::Subscribe, channel, denied)),
        }
    }
    if entry.publish {
        let channel = entry.channels.first().expect("an entry has a channel");
        match policy.channels.decide_publish(channel, who, true) {
            Ok(Permitted::Yes) => {}
            Ok(Permitted::IfBackendSays) => {
                return Err(Refusal::PublishAsksBackend { channel: channel.clone() });
            }
            Err(denied) => return Err(not_allowed(ChannelRight::Publish, channel, denied)),
        }
    }
    Ok(asked)
}

#[cfg(test)]
mod tests;
