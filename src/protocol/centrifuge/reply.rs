//! What clients are told, as lines of JSON.
//!
//! Each function appends one line to a message, with a newline before it if it is not the first:
//! what goes out together stands in one text frame. Fields that would be empty are left out, as the
//! protocol wants it. No line holds a newline of its own.

use std::fmt;
use std::sync::Arc;

use super::code::{ErrorCode, Unsubscribed};
use crate::id::{ClientKey, SessionKey};
use crate::publication::{ClientInfo, Entry, Epoch, Position, json};
use crate::ws::{MessageKind, encode};

/// The gateway's ping, and the client's answer.
pub const PING: &[u8] = b"{}";

/// What the gateway says it is.
const VERSION: &str = concat!("tidegate ", env!("CARGO_PKG_VERSION"));

/// Methods whose success says nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// The publication was numbered.
    Publish,
    /// The subscription is over, or never was.
    Unsubscribe,
}

/// What a subscriber is told.
#[derive(Clone, Copy, Debug)]
pub struct Subscribed<'a> {
    /// Seconds until a new token is due; `None`: never.
    pub ttl: Option<u64>,
    /// Where the subscription begins, if the channel tells.
    pub position: Option<Position>,
    /// Whether the client may come back and recover.
    pub recoverable: bool,
    /// Whether it asked to recover.
    pub was_recovering: bool,
    /// Whether it did.
    pub recovered: bool,
    /// What it missed, in order.
    pub publications: &'a [Arc<Entry>],
    /// JSON from a backend.
    pub data: Option<&'a str>,
}

/// What a client is told that is welcome.
#[derive(Clone, Copy, Debug)]
pub struct Connected<'a> {
    /// Its name, and what proves it.
    pub session: SessionKey,
    /// Seconds between pings, which are to be answered; `None`: there are none it knows of.
    pub ping_s: Option<u64>,
    /// Seconds until a new token is due; `None`: never.
    pub ttl: Option<u64>,
    /// What it is subscribed to already: what [`append_sub`] has made; may be empty.
    pub subs: &'a [u8],
    /// JSON from a backend.
    pub data: Option<&'a str>,
}

/// The client is welcome.
pub fn append_connected(out: &mut Vec<u8>, id: u32, connected: &Connected<'_>) {
    let Connected { session, ping_s, ttl, subs, data } = connected;
    let client = session.client;
    begin(out, id, "connect");
    append(out, format_args!("{{\"client\":\"{client}\",\"version\":\"{VERSION}\""));
    append_ttl(out, *ttl);
    append_data(out, *data);
    if !subs.is_empty() {
        out.extend_from_slice(b",\"subs\":{");
        out.extend_from_slice(subs);
        out.push(b'}');
    }
    if let Some(ping_s) = ping_s {
        append(out, format_args!(",\"ping\":{ping_s},\"pong\":true"));
    }
    append(out, format_args!(",\"session\":\"{session}\"}}}}"));
}

/// The new token of the connection counts; the next is due in `ttl` seconds, if ever.
pub fn append_refreshed(out: &mut Vec<u8>, id: u32, client: ClientKey, ttl: Option<u64>) {
    begin(out, id, "refresh");
    append(out, format_args!("{{\"client\":\"{client}\",\"version\":\"{VERSION}\""));
    append_ttl(out, ttl);
    out.extend_from_slice(b"}}");
}

/// The new token of the subscription counts; the next is due in `ttl` seconds, if ever.
pub fn append_sub_refreshed(out: &mut Vec<u8>, id: u32, ttl: Option<u64>) {
    begin(out, id, "sub_refresh");
    let start = out.len();
    append_ttl(out, ttl);
    end(out, start);
}

/// The subscription begins.
pub fn append_subscribed(out: &mut Vec<u8>, id: u32, result: &Subscribed<'_>) {
    begin(out, id, "subscribe");
    let start = out.len();
    append_result(out, result);
    end(out, start);
}

/// One member of [`Connected::subs`].
pub fn append_sub(subs: &mut Vec<u8>, channel: &str, how: &Subscribed<'_>) {
    if !subs.is_empty() {
        subs.push(b',');
    }
    json::append_string(subs, channel);
    subs.push(b':');
    let start = subs.len();
    append_result(subs, how);
    end_object(subs, start);
}

/// What a subscriber is told, with a comma before each field.
fn append_result(out: &mut Vec<u8>, result: &Subscribed<'_>) {
    append_ttl(out, result.ttl);
    for (key, value) in [
        ("recoverable", result.recoverable),
        ("recovered", result.recovered),
        ("was_recovering", result.was_recovering),
        ("positioned", result.position.is_some()),
    ] {
        if value {
            append(out, format_args!(",\"{key}\":true"));
        }
    }
    if let Some(Position { offset, epoch }) = result.position {
        append(out, format_args!(",\"epoch\":\"{epoch}\""));
        if offset > 0 {
            append(out, format_args!(",\"offset\":{offset}"));
        }
        if !result.publications.is_empty() {
            out.extend_from_slice(b",\"publications\":");
            append_publications(out, result.publications, result.position);
        }
    }
    append_data(out, result.data);
}

/// A backend has subscribed the client. Publications follow, each on its own.
pub fn append_enrolled(out: &mut Vec<u8>, channel: &str, how: &Subscribed<'_>) {
    begin_push(out, channel, "subscribe");
    let start = out.len();
    for (key, value) in [("recoverable", how.recoverable), ("positioned", how.position.is_some())] {
        if value {
            append(out, format_args!(",\"{key}\":true"));
        }
    }
    if let Some(Position { offset, epoch }) = how.position {
        append(out, format_args!(",\"epoch\":\"{epoch}\",\"offset\":{offset}"));
    }
    append_data(out, how.data);
    end(out, start);
    out.push(b'}');
}

/// A publication that one client is given on its own.
pub fn append_published(out: &mut Vec<u8>, channel: &str, entry: &Entry, epoch: Epoch) {
    begin_push(out, channel, "pub");
    entry.append_json(out, epoch);
    out.extend_from_slice(b"}}");
}

/// A backend has set the time of the connection anew; a new token is due in `ttl` seconds.
pub fn append_renewed(out: &mut Vec<u8>, ttl: Option<u64>) {
    if !out.is_empty() {
        out.push(b'\n');
    }
    out.extend_from_slice(b"{\"push\":{\"refresh\":");
    let start = out.len();
    append_ttl(out, ttl);
    end(out, start);
    out.push(b'}');
}

/// The subscription is over, though the client did not ask for that.
pub fn append_unsubscribed(out: &mut Vec<u8>, channel: &str, why: Unsubscribed) {
    begin_push(out, channel, "unsubscribe");
    let (number, reason) = (why.number(), why.reason());
    append(out, format_args!("{{\"code\":{number},\"reason\":\"{reason}\"}}}}}}"));
}

/// It is done, and there is nothing more to say.
pub fn append_done(out: &mut Vec<u8>, id: u32, what: Done) {
    let method = match what {
        Done::Publish => "publish",
        Done::Unsubscribe => "unsubscribe",
    };
    begin(out, id, method);
    out.extend_from_slice(b"{}}");
}

/// It is not done.
pub fn append_error(out: &mut Vec<u8>, id: u32, code: ErrorCode) {
    begin(out, id, "error");
    let (number, message) = (code.number(), code.message());
    append(out, format_args!("{{\"code\":{number},\"message\":\"{message}\""));
    out.extend_from_slice(if code.is_temporary() { b",\"temporary\":true}}" } else { b"}}" });
}

/// A backend says why it is not done.
pub fn append_backend_error(
    out: &mut Vec<u8>,
    id: u32,
    code: u32,
    message: &str,
    is_temporary: bool,
) {
    begin(out, id, "error");
    append(out, format_args!("{{\"code\":{code},\"message\":"));
    json::append_string(out, message);
    out.extend_from_slice(if is_temporary { b",\"temporary\":true}}" } else { b"}}" });
}

/// What a backend says to a call: JSON.
pub fn append_called(out: &mut Vec<u8>, id: u32, data: Option<&str>) {
    begin(out, id, "rpc");
    let start = out.len();
    append_data(out, data);
    end(out, start);
}

/// Who is in a channel.
pub fn append_presence(out: &mut Vec<u8>, id: u32, clients: &[Arc<ClientInfo>]) {
    begin(out, id, "presence");
    out.extend_from_slice(b"{\"presence\":{");
    for (index, info) in clients.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        append(out, format_args!("{comma}\"{}\":", info.client));
        info.append_json(out);
    }
    out.extend_from_slice(b"}}}");
}

/// How many are in a channel.
pub fn append_presence_stats(out: &mut Vec<u8>, id: u32, clients: usize, users: usize) {
    begin(out, id, "presence_stats");
    append(out, format_args!("{{\"num_clients\":{clients},\"num_users\":{users}}}}}"));
}

/// Earlier publications of a channel, and its newest position.
pub fn append_history(out: &mut Vec<u8>, id: u32, position: Position, publications: &[Arc<Entry>]) {
    begin(out, id, "history");
    out.extend_from_slice(b"{\"publications\":");
    append_publications(out, publications, Some(position));
    let Position { offset, epoch } = position;
    append(out, format_args!(",\"epoch\":\"{epoch}\",\"offset\":{offset}}}}}"));
}

/// Somebody came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Subscribed.
    Join,
    /// Is not subscribed any more.
    Leave,
}

/// The push that says who came or went, in a text frame of its own that subscribers share.
pub fn change_frame(channel: &str, change: Change, info: &ClientInfo) -> Arc<[u8]> {
    let mut push = b"{\"push\":{\"channel\":".to_vec();
    json::append_string(&mut push, channel);
    push.extend_from_slice(match change {
        Change::Join => b",\"join\":{\"info\":",
        Change::Leave => b",\"leave\":{\"info\":",
    });
    info.append_json(&mut push);
    push.extend_from_slice(b"}}}");
    encode::shared_message(MessageKind::Text, &push)
}

fn append_publications(out: &mut Vec<u8>, entries: &[Arc<Entry>], position: Option<Position>) {
    out.push(b'[');
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let position = position.expect("publications have positions");
        entry.append_json(out, position.epoch);
    }
    out.push(b']');
}

/// Begins a line: the reply's number and the key of its result, whose value is to follow.
fn begin(out: &mut Vec<u8>, id: u32, key: &str) {
    if !out.is_empty() {
        out.push(b'\n');
    }
    append(out, format_args!("{{\"id\":{id},\"{key}\":"));
}

/// Begins a line: a push about a channel, and the key of what it says.
fn begin_push(out: &mut Vec<u8>, channel: &str, key: &str) {
    if !out.is_empty() {
        out.push(b'\n');
    }
    out.extend_from_slice(b"{\"push\":{\"channel\":");
    json::append_string(out, channel);
    append(out, format_args!(",\"{key}\":"));
}

/// Ends a result that was written with a comma before each field, from `start` on.
fn end(out: &mut Vec<u8>, start: usize) {
    end_object(out, start);
    out.push(b'}');
}

/// As [`end`], with nothing around the object.
fn end_object(out: &mut Vec<u8>, start: usize) {
    match out.get_mut(start) {
        Some(comma) => *comma = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
}

/// Says when a new token is due, with a comma before it.
fn append_ttl(out: &mut Vec<u8>, ttl: Option<u64>) {
    if let Some(ttl) = ttl {
        append(out, format_args!(",\"expires\":true,\"ttl\":{ttl}"));
    }
}

/// JSON from a backend, with a comma before it.
fn append_data(out: &mut Vec<u8>, data: Option<&str>) {
    if let Some(data) = data {
        out.extend_from_slice(b",\"data\":");
        json::append_one_line(out, data.as_bytes());
    }
}

fn append(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    json::append_display(out, text);
}

#[cfg(test)]
mod tests;
