//! This process, as the API describes it.

use std::collections::HashSet;
use std::time::Instant;

use serde_json::json;

use super::Control;
use super::answer::ApiError;
use super::process::Process;
use crate::id::ClientKey;
use crate::mail::{Found, Subject};
use crate::stats::{Gauge, ShardCounters};

/// What does not change while the process runs.
#[derive(Debug)]
pub struct Node {
    uid: ClientKey,
    name: String,
    started_at: Instant,
}

impl Node {
    /// A new process on this machine.
    pub fn new() -> Self {
        let uname = rustix::system::uname();
        Self {
            uid: ClientKey::from_random(fastrand::u128(..)),
            name: uname.nodename().to_string_lossy().into_owned(),
            started_at: Instant::now(),
        }
    }
}

impl Default for Node {
    fn default() -> Self {
        Self::new()
    }
}

/// The result of `info`. Users are counted by asking every shard piece by piece, for one may be
/// connected to several.
pub(super) async fn describe(control: &Control) -> Result<String, ApiError> {
    let mut users = HashSet::new();
    for shard in control.engine.shards() {
        let mut cursor = Some(0);
        while let Some(from) = cursor {
            let surveyed = control.survey(shard, Subject::Users, from).await?;
            let Found::Users(found) = surveyed.found else {
                unreachable!("the shard answers what it is asked");
            };
            users.extend(found);
            cursor = surveyed.next;
        }
    }
    let shards = &control.stats.shards;
    let total = |gauge: fn(&ShardCounters) -> &Gauge| -> u64 {
        shards.iter().map(|shard| gauge(&shard.counters).get()).sum()
    };
    let mut node = json!({
        "uid": control.node.uid.to_string(),
        "name": control.node.name,
        "version": env!("CARGO_PKG_VERSION"),
        "num_clients": total(|counters| &counters.connections),
        "num_users": users.len(),
        "num_subs": total(|counters| &counters.subscriptions),
        "num_channels": total(|counters| &counters.channels_heard),
        "uptime": control.node.started_at.elapsed().as_secs(),
    });
    if let Some(process) = Process::read() {
        node["process"] = json!({ "rss": process.resident_bytes });
    }
    Ok(json!({ "nodes": [node] }).to_string())
}
