//! What a fan-out adds to the report.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::Serialize;

use super::account::Account;
use super::args::FanoutArgs;
use super::cast::Seen;
use super::churn::ChurnCounts;
use super::plan::Plan;
use super::publisher::Publications;
use crate::report::Latency;

/// The part of the report that only a fan-out has. The field names are those of the JSON form.
#[derive(Debug, Serialize)]
pub(crate) struct FanoutReport {
    channels: u16,
    publishers: u16,
    publications: PublicationReport,
    /// Messages a second that came to subscribers while it was measured.
    pub(crate) deliveries_per_s: f64,
    /// Bytes of frames, headers included, that came to subscribers while it was measured.
    bytes_per_delivery: Option<f64>,
    /// From the first to the last receipt of each publication.
    spread_us: Option<Latency>,
    /// From due to the last receipt of each publication.
    last_us: Option<Latency>,
    /// From due to acknowledged.
    publish_us: Option<Latency>,
    closed_by_policy: BTreeMap<u16, u64>,
    slow_readers: SlowReport,
    churn: ChurnReport,
    foreign_messages: u64,
}

#[derive(Debug, Serialize)]
struct PublicationReport {
    due: u64,
    sent: u64,
    acknowledged: u64,
    refused: u64,
    in_doubt: u64,
    refusals: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
struct SlowReport {
    asked: u32,
    closed_by_policy: u64,
    cut: u64,
    kept: u64,
}

#[derive(Debug, Serialize)]
struct ChurnReport {
    asked_per_s: u64,
    closed: u64,
    reopened: u64,
}

impl FanoutReport {
    pub(super) fn new(
        args: &FanoutArgs,
        plan: &Plan,
        account: &Account,
        publications: &Publications,
        seen: &Seen,
        churned: ChurnCounts,
    ) -> Self {
        let counts = &account.publications;
        Self {
            channels: args.channels,
            publishers: plan.publisher_count,
            publications: PublicationReport {
                due: counts.due,
                sent: counts.sent,
                acknowledged: counts.published,
                refused: counts.refused,
                in_doubt: counts.in_doubt,
                refusals: publications.refusals.clone(),
            },
            deliveries_per_s: seen.tally.received_in_window as f64 / args.duration.as_secs_f64(),
            bytes_per_delivery: seen.tally.bytes_per_delivery(),
            spread_us: Latency::of(&account.spread),
            last_us: Latency::of(&account.last),
            publish_us: Latency::of(&seen.publish),
            closed_by_policy: account.closed_by_policy.clone(),
            slow_readers: SlowReport {
                asked: args.slow_readers,
                closed_by_policy: account.slow.closed_by_policy,
                cut: account.slow.cut,
                kept: account.slow.kept,
            },
            churn: ChurnReport {
                asked_per_s: args.churn,
                closed: churned.closed,
                reopened: churned.reopened,
            },
            foreign_messages: seen.foreign,
        }
    }

    /// Publications that were acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.publications.acknowledged
    }

    /// Publications that were due and are not known to be published.
    pub(crate) fn unpublished(&self) -> u64 {
        self.publications.due - self.publications.acknowledged
    }

    /// Its lines of the table for people.
    pub(crate) fn write_text(&self, out: &mut String) -> fmt::Result {
        let PublicationReport { due, sent, acknowledged, refused, in_doubt, refusals } =
            &self.publications;
        writeln!(
            out,
            "publications due {due}, sent {sent}, acknowledged {acknowledged}, refused {refused}, \
             in doubt {in_doubt}"
        )?;
        for (cause, count) in refusals {
            writeln!(out, "             {count}: {cause}")?;
        }
        write!(out, "deliveries   {:.0} a second", self.deliveries_per_s)?;
        match self.bytes_per_delivery {
            Some(bytes) => writeln!(out, ", {bytes:.1} bytes each on the wire")?,
            None => writeln!(out)?,
        }
        let titled = [
            ("first-last", &self.spread_us),
            ("due-last", &self.last_us),
            ("publish", &self.publish_us),
        ];
        for (title, times) in titled {
            if let Some(times) = times {
                times.write_text(title, out)?;
            }
        }
        for (code, count) in &self.closed_by_policy {
            writeln!(out, "closed       {count} with {code} by policy")?;
        }
        let SlowReport { asked, closed_by_policy, cut, kept } = self.slow_readers;
        if asked > 0 {
            writeln!(
                out,
                "slow readers {asked}: closed by policy {closed_by_policy}, cut off {cut}, kept {kept}"
            )?;
        }
        let ChurnReport { asked_per_s, closed, reopened } = self.churn;
        if asked_per_s > 0 {
            writeln!(out, "churn        closed {closed}, opened again {reopened}")?;
        }
        Ok(())
    }
}
