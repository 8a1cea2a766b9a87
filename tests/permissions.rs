//! Hazard: one protocol lets somebody do what another forbids, or what nobody meant to allow.
//!
//! One table of who asks what of which channel, with what it must lead to on each protocol. Every
//! row is tried on `/raw` and on `/connection/websocket` of a running gateway, as far as the
//! protocol has a word for it. What is expected was written by hand, from the rules.

mod gateway;
#[path = "permissions/tokens.rs"]
mod tokens;

use std::fmt::Debug;

use serde_json::json;

use gateway::centrifuge::{Refused, Session};
use gateway::client::Client;
use gateway::{Gateway, raw, tidegate};
use tokens::{Flaw, Key, SECRET, Who, connection_token, subscription_token};

/// What a client wants to do in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Subscribe,
    Publish,
    Presence,
    History,
}

/// Whether it has subscribed to the channel before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    Outside,
    Inside,
}

use Doing::{History, Presence, Publish, Subscribe};
use Key::{No, OtherChannel, OtherClient, OtherUser, Right, With};
use Stands::{Inside, Outside};
use Who::{Ann, Nobody, Owner, Token, Unnamed};

/// What a row leads to.
#[derive(Clone, Copy, Debug)]
struct Expect {
    /// Status of the upgrade, and what its text says.
    raw: (u16, &'static str),
    centrifuge: Result<(), Refused>,
}

const fn refused(raw: (u16, &'static str), centrifuge: Refused) -> Expect {
    Expect { raw, centrifuge: Err(centrifuge) }
}

/// Where there is no such thing on `/raw`.
const NOTHING: (u16, &str) = (0, "");

const Y: Expect = Expect { raw: (101, ""), centrifuge: Ok(()) };
const N: Expect = refused((403, "not permitted"), Refused::Error(103));
const NAMED: Expect = refused((403, "lets only certain users in"), Refused::Error(103));
const UNKNOWN: Expect = refused((403, "its namespace is not configured"), Refused::Error(102));
const ABSENT: Expect = refused(NOTHING, Refused::Error(108));
const EXPIRED: Expect = refused((401, "the token has expired"), Refused::Error(109));
const STRANGER: Expect = refused((403, "not permitted"), Refused::Closed(3501));

/// A connection token that does not count, for this reason.
const fn bad(why: &'static str) -> Expect {
    refused((401, why), Refused::Closed(3500))
}

/// What each value of `allow_subscribe`, `allow_publish`, `allow_presence` and `allow_history`
/// means, in a namespace that allows everything else.
const OPTIONS: [(Doing, &str, Stands, [Expect; 3]); 34] = [
    //                                Nobody Unnamed Ann
    (Subscribe, "false", Outside, /*     */ [N, N, N]),
    (Subscribe, "user", Outside, /*      */ [N, N, Y]),
    (Subscribe, "true", Outside, /*      */ [N, N, Y]),
    (Subscribe, "anyone", Outside, /*    */ [Y, Y, Y]),
    (Publish, "false", Outside, /*       */ [N, N, N]),
    (Publish, "false", Inside, /*        */ [N, N, N]),
    (Publish, "subscriber", Outside, /*  */ [N, N, N]),
    (Publish, "subscriber", Inside, /*   */ [Y, Y, Y]),
    (Publish, "user", Outside, /*        */ [N, N, Y]),
    (Publish, "user", Inside, /*         */ [N, N, Y]),
    (Publish, "true", Outside, /*        */ [N, N, Y]),
    (Publish, "true", Inside, /*         */ [N, N, Y]),
    (Publish, "anyone", Outside, /*      */ [Y, Y, Y]),
    (Publish, "anyone", Inside, /*       */ [Y, Y, Y]),
    (Presence, "false", Outside, /*      */ [N, N, N]),
    (Presence, "false", Inside, /*       */ [N, N, N]),
    (Presence, "subscriber", Outside, /* */ [N, N, N]),
    (Presence, "subscriber", Inside, /*  */ [Y, Y, Y]),
    (Presence, "user", Outside, /*       */ [N, N, Y]),
    (Presence, "user", Inside, /*        */ [N, N, Y]),
    (Presence, "true", Outside, /*       */ [N, N, Y]),
    (Presence, "true", Inside, /*        */ [N, N, Y]),
    (Presence, "anyone", Outside, /*     */ [Y, Y, Y]),
    (Presence, "anyone", Inside, /*      */ [Y, Y, Y]),
    (History, "false", Outside, /*       */ [N, N, N]),
    (History, "false", Inside, /*        */ [N, N, N]),
    (History, "subscriber", Outside, /*  */ [N, N, N]),
    (History, "subscriber", Inside, /*   */ [Y, Y, Y]),
    (History, "user", Outside, /*        */ [N, N, Y]),
    (History, "user", Inside, /*         */ [N, N, Y]),
    (History, "true", Outside, /*        */ [N, N, Y]),
    (History, "true", Inside, /*         */ [N, N, Y]),
    (History, "anyone", Outside, /*      */ [Y, Y, Y]),
    (History, "anyone", Inside, /*       */ [Y, Y, Y]),
];

/// One row: who, how connected, with which key, does what where.
type Case = (Who, Doing, &'static str, Stands, Key, Expect);

/// Names, subscription tokens and connection tokens, where `open` allows all to anyone, `bare` too
/// but has neither presence nor history, `members` allows users to subscribe and subscribers the
/// rest, and `closed` and names without a namespace allow nothing.
const CASES: &[Case] = &[
    // Namespaces that do not exist, whoever asks and whatever key there is.
    (Ann, Subscribe, "unknown:a", Outside, No, UNKNOWN),
    (Nobody, Subscribe, "unknown:a", Outside, No, UNKNOWN),
    (Ann, Publish, "unknown:a", Outside, No, UNKNOWN),
    (Ann, Presence, "unknown:a", Outside, No, UNKNOWN),
    (Ann, History, "unknown:a", Outside, No, UNKNOWN),
    (Ann, Subscribe, "Open:a", Outside, No, UNKNOWN),
    (Ann, Subscribe, ":a", Outside, No, UNKNOWN),
    (Ann, Subscribe, "$unknown:a", Outside, No, UNKNOWN),
    (Ann, Subscribe, "unknown:a", Outside, Right, UNKNOWN),
    // The first colon ends the namespace; without one there is none.
    (Nobody, Subscribe, "open:a:b", Outside, No, Y),
    (Nobody, Subscribe, "open:", Outside, No, Y),
    (Ann, Subscribe, "open", Outside, No, N),
    // What a channel does not have nobody may ask for, which is told first.
    (Nobody, Presence, "bare:a", Inside, No, ABSENT),
    (Nobody, History, "bare:a", Inside, No, ABSENT),
    (Ann, Presence, "plain", Outside, No, ABSENT),
    (Ann, History, "plain", Outside, No, ABSENT),
    // Channels of certain users. The options have to let them in, too.
    (Ann, Subscribe, "open:room#ann", Outside, No, Y),
    (Ann, Subscribe, "open:room#bob,ann", Outside, No, Y),
    (Ann, Publish, "open:room#ann", Inside, No, Y),
    (Ann, Subscribe, "open:room#bob", Outside, No, NAMED),
    (Ann, Subscribe, "open:room#an,nn,annn,ANN", Outside, No, NAMED),
    (Ann, Subscribe, "open:room#ann#bob", Outside, No, NAMED),
    (Nobody, Subscribe, "open:room#ann", Outside, No, NAMED),
    (Nobody, Subscribe, "open:room#", Outside, No, NAMED),
    (Unnamed, Subscribe, "open:room#", Outside, No, NAMED),
    (Unnamed, Subscribe, "open:room#ann", Outside, No, NAMED),
    (Ann, Subscribe, "closed:room#ann", Outside, No, N),
    (Ann, Subscribe, "room#ann", Outside, No, N),
    (Ann, Subscribe, "unknown:room#ann", Outside, No, UNKNOWN),
    // Who may publish or ask is for the options alone.
    (Ann, Publish, "open:room#bob", Outside, No, Y),
    (Ann, Presence, "open:room#bob", Outside, No, Y),
    // Private channels, of the namespace behind the sign: with a subscription token only.
    (Ann, Subscribe, "$secret", Outside, No, NAMED),
    (Ann, Subscribe, "$open:secret", Outside, No, NAMED),
    (Nobody, Subscribe, "$open:secret", Outside, No, NAMED),
    (Ann, Subscribe, "open:$a", Outside, No, Y),
    (Ann, Subscribe, "$secret", Outside, Right, Y),
    (Ann, Subscribe, "$open:secret", Outside, Right, Y),
    (Nobody, Subscribe, "$secret", Outside, Key::Unnamed, Y),
    (Unnamed, Subscribe, "$secret", Outside, Key::Unnamed, Y),
    (Ann, Publish, "$members:secret", Inside, Right, Y),
    (Ann, Presence, "$members:secret", Inside, Right, Y),
    (Ann, History, "$members:secret", Inside, Right, Y),
    (Ann, Publish, "$secret", Inside, Right, N),
    (Ann, Publish, "$members:secret", Outside, No, N),
    // A subscription token opens what options and names close, to whom it names.
    (Ann, Subscribe, "closed:a", Outside, Right, Y),
    (Ann, Subscribe, "open:room#bob", Outside, Right, Y),
    (Ann, Subscribe, "$secret", Outside, OtherChannel, bad("")),
    (Ann, Subscribe, "$secret", Outside, OtherUser, bad("")),
    (Ann, Subscribe, "$secret", Outside, OtherClient, bad("")),
    (Ann, Subscribe, "$secret", Outside, Key::Unnamed, bad("")),
    (Nobody, Subscribe, "$secret", Outside, Right, bad("")),
    (Unnamed, Subscribe, "$secret", Outside, Right, bad("")),
    (Ann, Subscribe, "$secret", Outside, With(Flaw::Expired), EXPIRED),
    (Ann, Subscribe, "$secret", Outside, With(Flaw::NotYetValid), N),
    (Ann, Subscribe, "$secret", Outside, With(Flaw::OtherSecret), N),
    (Ann, Subscribe, "$secret", Outside, With(Flaw::NoSignature), N),
    (Ann, Subscribe, "$secret", Outside, With(Flaw::OtherAudience), N),
    (Ann, Subscribe, "$secret", Outside, With(Flaw::OtherIssuer), N),
    (Ann, Subscribe, "$secret", Outside, With(Flaw::NoToken), N),
    (Ann, Subscribe, "$secret", Outside, With(Flaw::OtherKind), N),
    // One that is no good spoils even what is open.
    (Ann, Subscribe, "open:a", Outside, With(Flaw::OtherSecret), N),
    // Connection tokens.
    (Token(Flaw::Expired), Subscribe, "open:a", Outside, No, EXPIRED),
    (Token(Flaw::NotYetValid), Subscribe, "open:a", Outside, No, bad("not valid yet")),
    (Token(Flaw::OtherSecret), Subscribe, "open:a", Outside, No, bad("signature is wrong")),
    (Token(Flaw::NoSignature), Subscribe, "open:a", Outside, No, bad("algorithm is not among")),
    (Token(Flaw::OtherAudience), Subscribe, "open:a", Outside, No, bad("another audience")),
    (Token(Flaw::OtherIssuer), Subscribe, "open:a", Outside, No, bad("another issuer")),
    (Token(Flaw::NoToken), Subscribe, "open:a", Outside, No, bad("not a JSON Web Token")),
    (Token(Flaw::OtherKind), Subscribe, "open:a", Outside, No, bad("for a subscription")),
];

/// On `/raw` a connection token may bring channels along.
const BROUGHT_ALONG: &[Case] = &[
    (Owner, Subscribe, "closed:own", Outside, No, Y),
    (Owner, Publish, "closed:own", Inside, No, N),
    (Owner, Subscribe, "closed:other", Outside, No, N),
    (Owner, Subscribe, "unknown:own", Outside, No, UNKNOWN),
];

/// Where nothing is open to anyone.
const CLOSED: &[Case] = &[
    (Nobody, Subscribe, "closed:a", Outside, No, STRANGER),
    (Unnamed, Subscribe, "closed:a", Outside, No, N),
    (Ann, Subscribe, "closed:a", Outside, No, N),
    (Ann, Subscribe, "users:a", Outside, No, Y),
];

/// Where no key for tokens is configured.
const KEYLESS: &[Case] = &[
    (Nobody, Subscribe, "open:a", Outside, No, Y),
    (Ann, Subscribe, "open:a", Outside, No, bad("takes no tokens")),
    (Nobody, Subscribe, "$open:a", Outside, Right, N),
];

/// With `--dev`.
const DEV: &[Case] = &[
    (Nobody, Subscribe, "a", Outside, No, Y),
    (Nobody, Subscribe, "unknown:a", Outside, No, Y),
    (Nobody, Subscribe, "$a", Outside, No, Y),
    (Nobody, Subscribe, "a#bob", Outside, No, Y),
    (Nobody, Publish, "unknown:a", Outside, No, Y),
    (Nobody, Publish, "a", Inside, No, Y),
    (Nobody, Presence, "a", Outside, No, Y),
    (Nobody, History, "unknown:a", Outside, No, Y),
    (Ann, Subscribe, "a#bob", Outside, No, Y),
    (Token(Flaw::OtherSecret), Subscribe, "a", Outside, No, bad("signature is wrong")),
];

/// A gateway that takes tokens; `settings` begin without their `--set=`.
fn gateway(first: &[&str], settings: &[String]) -> Gateway {
    let tokens = ["token.audience=push".to_owned(), "token.issuer=me".to_owned()];
    let settings: Vec<_> =
        settings.iter().chain(&tokens).map(|setting| format!("--set={setting}")).collect();
    let settings = settings.iter().map(|one| &**one).collect::<Vec<_>>();
    let ports = ["serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"];
    let mut command = tidegate(&[&ports[..], first, &settings].concat());
    Gateway::start(command.env("TIDEGATE_TOKEN_HMAC_SECRET", SECRET))
}

/// A namespace in which anyone may do everything.
fn open(name: &str) -> Vec<String> {
    ["subscribe", "publish", "presence", "history"]
        .map(|what| format!("namespace.{name}.allow_{what}=anyone"))
        .into_iter()
        .chain(has_all(name))
        .collect()
}

fn has_all(name: &str) -> [String; 3] {
    ["presence=true", "history_size=10", "history_ttl=60s"]
        .map(|setting| format!("namespace.{name}.{setting}"))
}

fn usual() -> Gateway {
    let mut settings = open("open");
    for what in ["subscribe", "publish", "presence", "history"] {
        settings.push(format!("namespace.bare.allow_{what}=anyone"));
        let audience = if what == "subscribe" { "user" } else { "subscriber" };
        settings.push(format!("namespace.members.allow_{what}={audience}"));
    }
    settings.extend(has_all("members"));
    settings.extend(has_all("closed"));
    for (doing, option, ..) in OPTIONS {
        let name = namespace(doing, option);
        settings.extend(open(&name));
        settings.push(format!("namespace.{name}.allow_{}={option}", method(doing)));
    }
    gateway(&[], &settings)
}

fn namespace(doing: Doing, option: &str) -> String {
    format!("{}-{option}", method(doing))
}

fn method(doing: Doing) -> &'static str {
    match doing {
        Subscribe => "subscribe",
        Publish => "publish",
        Presence => "presence",
        History => "history",
    }
}

/// Tries a row on the Centrifuge protocol.
fn by_centrifuge(gateway: &Gateway, case: &Case) -> raw::Verdict {
    let expected = case.5.centrifuge;
    let token = connection_token(case.0);
    let mut session = match Session::connect(gateway.clients, token.as_deref()) {
        Ok(session) => session,
        Err(why) => return same(case, "centrifuge", Err(why), expected),
    };
    let (_, doing, channel, stands, key, _) = *case;
    let mut subscribe = json!({"channel": channel});
    if let Some(token) = subscription_token(key, channel) {
        subscribe["token"] = token.into();
    }
    let ask = match doing {
        Subscribe => subscribe.clone(),
        Publish => json!({"channel": channel, "data": 1}),
        Presence | History => json!({"channel": channel, "limit": 1}),
    };
    if stands == Inside {
        same(case, "on the way", session.ask("subscribe", &subscribe).map(drop), Ok(()))?;
    }
    if doing == Presence {
        same(case, "stats", session.ask("presence_stats", &ask).map(drop), expected)?;
    }
    same(case, "centrifuge", session.ask(method(doing), &ask).map(drop), expected)
}

/// Tries a row on `/raw`: the status and the text of a refusal. `None`: it has no word for this.
fn by_raw(gateway: &Gateway, case: &Case, in_header: bool) -> Option<(u16, String)> {
    let (who, doing, channel, stands, key, _) = *case;
    let publish = match (doing, stands, key) {
        (Subscribe, Outside, No) => "",
        (Publish, Inside, No) => "&publish=1",
        _ => return None,
    };
    let escaped = channel.replace('#', "%23");
    let mut target = format!("/raw?channel={escaped}{publish}");
    let token = connection_token(who);
    let authorization = token.as_ref().map(|token| format!("Bearer {token}"));
    let mut headers = Vec::new();
    match (&token, &authorization) {
        (_, Some(authorization)) if in_header => headers.push(("Authorization", &**authorization)),
        (Some(token), _) => target += &format!("&token={token}"),
        _ => {}
    }
    let mut client = match Client::try_connect(gateway.clients, &target, &headers) {
        Ok(client) => client,
        Err(answer) => return Some((answer.status, answer.text())),
    };
    if doing == Publish {
        // Among what other rows publish there.
        let mine = fastrand::u64(..).to_string();
        client.send_text(&mine);
        while client.text() != mine {}
    }
    Some((101, String::new()))
}

/// Tries every row on both protocols and panics with what all of them found wrong.
fn try_all(gateway: Gateway, cases: &[Case]) {
    raw::run(cases, 4, |case| {
        by_centrifuge(&gateway, case)?;
        try_raw(&gateway, case)
    });
    gateway.await_no_clients();
    gateway.stop();
}

fn try_raw(gateway: &Gateway, case: &Case) -> raw::Verdict {
    let (status, why) = case.5.raw;
    for in_header in [false, true] {
        let Some((actual, text)) = by_raw(gateway, case, in_header) else { continue };
        same(case, "raw", actual, status)?;
        if !text.contains(why) {
            return Err(format!("{case:?}: {text}"));
        }
    }
    Ok(())
}

fn same<T: PartialEq + Debug>(case: &Case, on: &str, actual: T, expected: T) -> raw::Verdict {
    if actual == expected { Ok(()) } else { Err(format!("{on}: {actual:?} for {case:?}")) }
}

#[test]
fn every_protocol_allows_and_refuses_the_same() {
    let mut cases = CASES.to_vec();
    for (doing, option, stands, expected) in OPTIONS {
        let channel: &str = format!("{}:a", namespace(doing, option)).leak();
        for (who, expect) in [Nobody, Unnamed, Ann].into_iter().zip(expected) {
            cases.push((who, doing, channel, stands, No, expect));
        }
    }
    try_all(usual(), &cases);
}

#[test]
fn a_connection_token_opens_the_channels_it_names_to_raw() {
    let gateway = usual();
    raw::run(BROUGHT_ALONG, 1, |case| try_raw(&gateway, case));
    gateway.stop();
}

#[test]
fn where_nothing_is_open_to_anyone_nobody_comes_in_without_a_token() {
    let settings = ["namespace.closed.presence=true", "namespace.users.allow_subscribe=user"];
    try_all(gateway(&[], &settings.map(str::to_owned)), CLOSED);
}

#[test]
fn without_a_key_no_token_counts() {
    let settings: Vec<_> =
        open("open").into_iter().map(|setting| format!("--set={setting}")).collect();
    let settings: Vec<_> = settings.iter().map(|one| &**one).collect();
    try_all(Gateway::serve(&settings), KEYLESS);
}

#[test]
fn with_dev_everything_is_allowed_but_a_bad_token() {
    try_all(gateway(&["--dev"], &[]), DEV);
}
