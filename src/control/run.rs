//! Carries out what calls ask for, and puts the results together as JSON text.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;

use super::answer::{Answer, ApiError, Published, Responses};
use super::call::{Batch, Publication, Task};
use super::{Control, Shared, node};
use crate::hub::{AskedEpoch, HistoryAsk, Since};
use crate::id::ChannelName;
use crate::lifecycle::Phase;
use crate::limits;
use crate::mail::{
    Answer as OwnerAnswer, Deed, Found, PublishError, PublishResult, Question, Selector, Subject,
};
use crate::protocol::channel::Format;
use crate::publication::json::append_string;

/// The text of a result.
type Outcome = Result<String, ApiError>;

/// Carries out a task; for a batch, all of its commands.
pub(super) async fn run(control: &Shared, task: Task) -> Outcome {
    match task {
        Task::Batch(batch) => run_batch(control, batch).await,
        task => run_one(control, task).await,
    }
}

/// Carries out what is no batch.
async fn run_one(control: &Control, task: Task) -> Outcome {
    check_open(control)?;
    match task {
        Task::Publish(channel, publication) => publish(control, channel, *publication).await,
        Task::Broadcast(channels, publication) => broadcast(control, &channels, *publication).await,
        Task::Steer(who, deed) => steer(control, who, deed).await,
        Task::Presence(channel) => presence(control, channel).await,
        Task::PresenceStats(channel) => presence_stats(control, channel).await,
        Task::History(channel, ask) => history(control, channel, ask).await,
        Task::HistoryRemove(channel) => history_remove(control, channel).await,
        Task::Channels(pattern) => channels(control, pattern.as_ref()).await,
        Task::Info => node::describe(control).await,
        Task::Rpc => Err(ApiError::BackendMissing),
        Task::Batch(_) => unreachable!("a batch holds none"),
    }
}

/// The API stays open until the last client is closed, so that clients which are still there
/// during a drain miss nothing.
fn check_open(control: &Control) -> Result<(), ApiError> {
    match control.lifecycle.phase() {
        Phase::Starting | Phase::Serving | Phase::Draining => Ok(()),
        Phase::Drained => Err(ApiError::Draining),
    }
}

/// Carries out the commands one after another, or each on its own; replies are in their order.
async fn run_batch(control: &Shared, batch: Batch) -> Outcome {
    let Batch { commands, parallel } = batch;
    let mut replies = Vec::with_capacity(commands.len());
    let mut tasks = JoinSet::new();
    for (index, (method, task)) in commands.into_iter().enumerate() {
        replies.push((method, None));
        match task {
            Err(error) => replies[index].1 = Some(Err(error)),
            Ok(task) if parallel => {
                let control = control.clone();
                tasks.spawn(async move { (index, run_one(&control, task).await) });
            }
            Ok(task) => replies[index].1 = Some(run_one(control, task).await),
        }
    }
    while let Some(done) = tasks.join_next().await {
        let (index, outcome) = done.expect("a panic ends the process, and nobody aborts these");
        replies[index].1 = Some(outcome);
    }
    let mut text = "[".to_owned();
    for (index, (method, outcome)) in replies.into_iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let outcome = outcome.expect("every command was carried out");
        // What one command was given leaves less for those behind it.
        let outcome =
            outcome.and_then(|result| check_len(text.len() + result.len()).map(|()| result));
        let written = match outcome {
            Ok(result) => write!(text, "{comma}{{\"{}\":{result}}}", method.name()),
            Err(error) => {
                control.counters().api_errors.add(1);
                write!(text, "{comma}{}", text_of(&Answer::<()>::Error(error.object())))
            }
        };
        written.expect("a string takes every text");
    }
    text.push(']');
    Ok(text)
}

/// Answers once the channel's owner has numbered the publication.
async fn publish(control: &Control, channel: ChannelName, publication: Publication) -> Outcome {
    let Publication { payload, options } = publication;
    let result = control.engine.publish(channel, payload, options).await;
    count_full(control, &[result]);
    Ok(text_of(&Published::from(result?)))
}

/// Each channel has its own result or error.
async fn broadcast(
    control: &Control,
    channels: &[ChannelName],
    publication: Publication,
) -> Outcome {
    let Publication { payload, options } = publication;
    let results = control.engine.publish_many(channels, &payload, &options).await;
    count_full(control, &results);
    let failed_count = results.iter().filter(|result| result.is_err()).count();
    control.counters().api_errors.add(failed_count as u64);
    let responses = results.into_iter().map(|result| match result {
        Ok(position) => Answer::Result(position.into()),
        Err(error) => Answer::Error(ApiError::from(error).object()),
    });
    Ok(text_of(&Responses { responses: responses.collect() }))
}

fn count_full(control: &Control, results: &[PublishResult]) {
    let is_full = |result: &&PublishResult| **result == Err(PublishError::MailboxFull);
    control.counters().api_mail_full.add(results.iter().filter(is_full).count() as u64);
}

/// Answers once it is done to every client that is meant.
async fn steer(control: &Control, who: Option<Arc<Selector>>, deed: Deed) -> Outcome {
    match &deed {
        Deed::Unsubscribe(channel) => {
            control.settings.channels.options(channel)?;
        }
        Deed::Subscribe(enrolment) => {
            let options = control.settings.channels.options(&enrolment.channel)?;
            if options.format == Format::Binary {
                return Err(ApiError::FeatureMissing("a channel that takes any bytes"));
            }
        }
        Deed::Disconnect { .. } | Deed::Refresh { .. } => {}
    }
    if let Some(who) = who {
        let done = control.engine.steer(&who, &deed).await;
        control.count_full(done.as_ref().err());
        done?;
    }
    Ok("{}".to_owned())
}

async fn presence(control: &Control, channel: ChannelName) -> Outcome {
    check_presence(control, &channel)?;
    let OwnerAnswer::Presence(clients) = control.ask(channel, Question::Presence).await? else {
        unreachable!("the owner answers what it is asked");
    };
    let mut text = b"{\"presence\":{".to_vec();
    for (index, info) in clients.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        append_string(&mut text, &info.client.to_string());
        text.push(b':');
        info.append_json(&mut text);
        check_len(text.len())?;
    }
    text.extend_from_slice(b"}}");
    Ok(finished(text))
}

async fn presence_stats(control: &Control, channel: ChannelName) -> Outcome {
    check_presence(control, &channel)?;
    match control.ask(channel, Question::PresenceStats).await? {
        OwnerAnswer::PresenceStats(stats) => {
            let (num_clients, num_users) = (stats.num_clients, stats.num_users);
            Ok(json!({ "num_clients": num_clients, "num_users": num_users }).to_string())
        }
        _ => unreachable!("the owner answers what it is asked"),
    }
}

/// Asks page by page, so that no shard is held up by a long history. Entries that expire meanwhile
/// are not in the answer.
async fn history(control: &Control, channel: ChannelName, mut ask: HistoryAsk) -> Outcome {
    check_history(control, &channel)?;
    let mut left = ask.limit;
    let mut text = b"{\"publications\":[".to_vec();
    let mut newest = None;
    loop {
        ask.limit = left.min(limits::HISTORY_PAGE_MAX);
        let answer = control.ask(channel.clone(), Question::History(ask)).await?;
        let OwnerAnswer::History(page) = answer else {
            unreachable!("the owner answers what it is asked");
        };
        let page = page?;
        let position = *newest.get_or_insert(page.position);
        for entry in &page.publications {
            if text.last() != Some(&b'[') {
                text.push(b',');
            }
            entry.append_json(&mut text, position.epoch);
            check_len(text.len())?;
        }
        left -= page.publications.len();
        let last = page.publications.last().filter(|_| page.publications.len() == ask.limit);
        let Some(last) = last.filter(|_| left > 0) else { break };
        let epoch = AskedEpoch::Known(position.epoch);
        ask.since = Some(Since { offset: last.offset, epoch });
    }
    let position = newest.expect("one page was asked for at least");
    let (offset, epoch) = (position.offset, position.epoch);
    text.extend_from_slice(format!("],\"offset\":{offset},\"epoch\":\"{epoch}\"}}").as_bytes());
    Ok(finished(text))
}

async fn history_remove(control: &Control, channel: ChannelName) -> Outcome {
    check_history(control, &channel)?;
    control.ask(channel, Question::HistoryRemove).await?;
    Ok("{}".to_owned())
}

/// Asks every shard piece by piece; a channel's subscribers on all of them are added up.
async fn channels(control: &Control, pattern: Option<&globset::GlobMatcher>) -> Outcome {
    let mut counts = std::collections::BTreeMap::<ChannelName, usize>::new();
    let mut len = 0;
    for shard in control.engine.shards() {
        let mut cursor = Some(0);
        while let Some(from) = cursor {
            let surveyed = control.survey(shard, Subject::Channels, from).await?;
            let Found::Channels(found) = surveyed.found else {
                unreachable!("the shard answers what it is asked");
            };
            for (name, count) in found {
                let candidate = globset::Candidate::from_bytes(name.as_bytes());
                if pattern.is_some_and(|pattern| !pattern.is_match_candidate(&candidate)) {
                    continue;
                }
                len += name.len() + CHANNEL_ROOM;
                check_len(len)?;
                *counts.entry(name).or_default() += count;
            }
            cursor = surveyed.next;
        }
    }
    let mut text = b"{\"channels\":{".to_vec();
    for (index, (name, count)) in counts.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        append_string(&mut text, name);
        text.extend_from_slice(format!(":{{\"num_clients\":{count}}}").as_bytes());
    }
    text.extend_from_slice(b"}}");
    Ok(finished(text))
}

fn check_presence(control: &Control, channel: &str) -> Result<(), ApiError> {
    let options = control.settings.channels.options(channel)?;
    if options.presence { Ok(()) } else { Err(ApiError::FeatureOff("presence")) }
}

fn check_history(control: &Control, channel: &str) -> Result<(), ApiError> {
    let options = control.settings.channels.options(channel)?;
    if options.history.is_some() { Ok(()) } else { Err(ApiError::FeatureOff("history")) }
}

/// Whether an answer may be so long.
fn check_len(len: usize) -> Result<(), ApiError> {
    if len <= limits::API_ANSWER_MAX { Ok(()) } else { Err(ApiError::AnswerTooLarge) }
}

fn text_of(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("these types have string keys and no floats")
}

fn finished(text: Vec<u8>) -> String {
    String::from_utf8(text).expect("it was put together from texts")
}

/// What a channel takes in an answer beside its name, about.
const CHANNEL_ROOM: usize = 32;
