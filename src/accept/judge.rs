//! What others decide before the 101: who asks, by token or backend, and what backends allow.

use super::Shared;
use super::answer::{Answer, Undecided};
use crate::id::{ChannelName, ClientKey};
use crate::mail::AuthDesk;
use crate::protocol::admission::{Entry, RawEntry, Refusal, Who, admit_user};
use crate::protocol::claims::{ConnectClaims, TokenRefused};
use crate::protocol::hook::{Dialect, HookCall, HookReply, Newcomer, Topic};

/// Has an answer settled that others decide. Takes as long as fetching an issuer's keys may, and
/// two answers of backends.
pub(super) async fn settle(shared: &Shared, answer: Answer) -> Answer {
    let Answer::Undecided(undecided) = answer else { return answer };
    let Undecided { wish, who, deflate, response } = undecided;
    match decide(shared, wish, who).await {
        Ok(entry) => Answer::Upgrade { entry: Entry::Raw(entry), deflate, response },
        Err(refusal) => Answer::refusal(refusal, false),
    }
}

async fn decide(shared: &Shared, wish: RawEntry, who: Who) -> Result<RawEntry, Refusal> {
    let Some(desk) = &shared.auth else {
        return Err(TokenRefused::NotConfigured.into());
    };
    // The raw protocol has no name for a client; backends tell their questions apart by it.
    let client = ClientKey::from_random(fastrand::u128(..));
    let claims = match who {
        Who::Anonymous => ConnectClaims::default(),
        Who::Token(token) => desk.check(token).await?,
        Who::Newcomer { token, headers } => {
            let channels = wish.channels.clone();
            let newcomer = Newcomer { token, headers, channels, ..Newcomer::default() };
            let topic = Topic::Connect(Box::new(newcomer));
            let claims = ConnectClaims::default();
            match desk.ask(call(client, &claims, topic)).await? {
                HookReply::Connect(claims) => claims,
                _ => unreachable!("the answer is to this question"),
            }
        }
    };
    let granted = admit_user(wish, &claims, &shared.config.site.policy)?;
    let mut entry = granted.entry;
    let end = ask_about(desk, client, &claims, granted.asked).await?;
    entry.expire_at = entry.expire_at.into_iter().chain(end).min();
    Ok(entry)
}

/// Asks about all channels at once. When the first subscription ends, if any does: this protocol
/// cannot end one alone.
async fn ask_about(
    desk: &AuthDesk,
    client: ClientKey,
    claims: &ConnectClaims,
    channels: Vec<ChannelName>,
) -> Result<Option<u64>, Refusal> {
    let topics = channels.into_iter().map(|channel| {
        let (token, data) = (None, None);
        Topic::Subscribe { channel, token, data }
    });
    let answers: Vec<_> = topics.map(|topic| desk.ask(call(client, claims, topic))).collect();
    let mut end: Option<u64> = None;
    for answer in answers {
        match answer.await? {
            HookReply::Subscribe(granted) => end = end.into_iter().chain(granted.expire_at).min(),
            _ => unreachable!("the answer is to this question"),
        }
    }
    Ok(end)
}

fn call(client: ClientKey, claims: &ConnectClaims, topic: Topic) -> HookCall {
    let (user, meta) = (claims.user.clone(), claims.meta.clone());
    HookCall { client, user, dialect: Dialect::Raw, meta, topic }
}
