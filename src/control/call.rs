//! What an API call says: from body bytes to a checked [`Task`], all or nothing.
//!
//! Two steps, because they answer differently. [`read`] takes the JSON: not an object, a wrong
//! type, an unknown field or one named twice is unreadable and named with its line and column. An
//! unknown field is refused rather than ignored, since a misspelt `b64data` or `idempotency_key`
//! would look like success. Then values are checked. A field that is null is one that is not there,
//! `data` apart.

pub(super) mod check;
mod shape;
mod steer;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{ApiError, BadRequest};
use super::method::Method;
use crate::hub::HistoryAsk;
use crate::id::ChannelName;
use crate::limits;
use crate::mail::{Deed, Selector};
use crate::publication::json::Object;
use crate::publication::{Payload, PublishOptions};
use shape::Shape;

/// What is to be done, checked.
#[derive(Debug)]
pub(super) enum Task {
    /// Publish to one channel.
    Publish(ChannelName, Box<Publication>),
    /// Publish to several.
    Broadcast(Vec<ChannelName>, Box<Publication>),
    /// Do something to clients, if any can be meant.
    Steer(Option<Arc<Selector>>, Deed),
    /// Say who is in a channel.
    Presence(ChannelName),
    /// Say how many are in a channel.
    PresenceStats(ChannelName),
    /// Say what was published.
    History(ChannelName, HistoryAsk),
    /// Forget what was published.
    HistoryRemove(ChannelName),
    /// Say which channels have subscribers.
    Channels(Option<globset::GlobMatcher>),
    /// Describe this process.
    Info,
    /// Ask the backend, if there is one.
    Rpc,
    /// Do all of these.
    Batch(Batch),
}

/// What is published, and how.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Publication {
    pub(super) payload: Payload,
    pub(super) options: PublishOptions,
}

/// The commands of a batch.
#[derive(Debug)]
pub(super) struct Batch {
    /// Each with what is wrong with it, if anything is.
    pub(super) commands: Vec<(Method, Result<Task, ApiError>)>,
    /// Whether they need not wait for each other.
    pub(super) parallel: bool,
}

/// Reads the body of a call of `method`.
///
/// # Errors
/// [`ApiError::Unreadable`], saying where and what was expected; [`ApiError::BadRequest`], the
/// first value that is not acceptable.
pub(super) fn read(method: Method, body: &[u8], size_max: usize) -> Result<Task, ApiError> {
    let task = match method {
        Method::Publish => check::publish(object(body)?, size_max),
        Method::Broadcast => check::broadcast(object(body)?, size_max),
        Method::Subscribe => return steer::subscribe(object(body)?),
        Method::Unsubscribe => return steer::unsubscribe(object(body)?),
        Method::Disconnect => return steer::disconnect(object(body)?),
        Method::Refresh => return steer::refresh(object(body)?),
        Method::Presence => check::channel_ask(object(body)?).map(Task::Presence),
        Method::PresenceStats => check::channel_ask(object(body)?).map(Task::PresenceStats),
        Method::History => check::history(object(body)?),
        Method::HistoryRemove => check::channel_ask(object(body)?).map(Task::HistoryRemove),
        Method::Channels => check::channels(object(body)?),
        Method::Info => object(body).map(|shape::Nothing {}| Ok(Task::Info))?,
        Method::Rpc => check::rpc(object(body)?),
        Method::Batch => return batch(object(body)?, size_max),
    };
    Ok(task?)
}

/// One unreadable command refuses the whole batch; one that asks for what is not acceptable is
/// answered on its own.
fn batch(shape: shape::Batch<'_>, size_max: usize) -> Result<Task, ApiError> {
    let commands = shape.commands.ok_or(BadRequest::Missing("commands"))?;
    if commands.len() > limits::BATCH_COMMANDS_MAX {
        return Err(BadRequest::CommandsTooMany.into());
    }
    let commands = commands.iter().enumerate().map(|(index, command)| {
        let (method, body) = &command.0;
        let in_batch = |fault| ApiError::Unreadable(format!("in commands[{index}]: {fault}"));
        let task = match Method::from_name(method).filter(|method| *method != Method::Batch) {
            None => {
                return Err(in_batch(
                    format_args!("there is no method {method:?} in a batch").to_string(),
                ));
            }
            Some(method) => (method, read(method, body.get().as_bytes(), size_max)),
        };
        match task {
            (_, Err(ApiError::Unreadable(fault))) => Err(in_batch(fault)),
            task => Ok(task),
        }
    });
    let commands = commands.collect::<Result<_, _>>()?;
    Ok(Task::Batch(Batch { commands, parallel: shape.parallel.unwrap_or(false) }))
}

/// Reads an object.
fn object<'a, T: Shape + Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize::<_, Object<T>>(&mut reader);
    let Object(object) = read.map_err(|error| {
        let path = error.path().to_string();
        unreadable::<T>(&path, error.inner())
    })?;
    reader.end().map_err(|error| unreadable::<T>("", &error))?;
    Ok(object)
}

/// Says what was not understood, where, and what was expected, in bounded length: the parser may
/// quote the input.
fn unreadable<T: Shape>(path: &str, error: &serde_json::Error) -> ApiError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let place = format!(" at line {line} column {column}");
    let fault = text.strip_suffix(&place).unwrap_or(&text);
    // A fault that names its field needs no path to it, and without a field there is none.
    let names_field = fault.contains(" field `") || matches!(path, "" | "." | "?");
    let fault = if names_field { fault.to_owned() } else { format!("{path}: {fault}") };
    let quoted: String = fault.chars().take(limits::API_FAULT_TEXT_MAX).collect();
    let ellipsis = if quoted.len() < fault.len() { "…" } else { "" };
    ApiError::Unreadable(format!(
        "cannot read the body at line {line} column {column}: {quoted}{ellipsis}; expected a JSON \
         object with {}",
        T::EXPECTED,
    ))
}

/// JSON as it was received.
type Raw<'a> = &'a RawValue;
