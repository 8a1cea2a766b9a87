//! Clients of the Centrifuge protocol: from their commands to deeds, from answers to replies.
//!
//! A command that only this shard has to do with is answered at once; one that a channel's owner
//! decides is mailed there, and its reply follows when the owner's answer comes. Commands of one
//! client are begun in order. One that cannot be begun yet, for want of room on the way or because
//! an earlier one must be answered first, waits with all that follow; the client is not read
//! meanwhile.

mod answer;
mod asked;
mod client;
mod command;
mod connect;
mod errand;
mod hook;
mod leave;
mod session;
mod subscribe;
mod token;

pub(super) use client::Client;
pub(super) use errand::Errands;
pub(super) use hook::{Expiry, Renewal};
pub(super) use leave::Leaves;
pub(super) use session::Sessions;
