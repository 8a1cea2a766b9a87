//! What a fan-out comes to: every publication that was acknowledged is expected at every subscriber
//! of its channel, and is delivered, dropped by a policy the server stated, undelivered because the
//! server cut off who did not read, or lost.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::plan::Plan;
use super::publisher::{Fate, Publications};
use super::receipts::Receipts;
use super::subscriber::{End, Life};
use crate::tally::{Tally, histogram};

/// The books of a whole run.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) publications: PublicationCounts,
    /// From the first to the last receipt of a publication, in nanoseconds.
    pub(super) spread: Histogram<u64>,
    /// From when a publication was due to its last receipt, in nanoseconds.
    pub(super) last: Histogram<u64>,
    /// Connections the server closed by a stated policy, by code.
    pub(super) closed_by_policy: BTreeMap<u16, u64>,
    /// The same of subscribers that stopped reading.
    pub(super) slow: SlowCounts,
}

/// Measured publications.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PublicationCounts {
    pub(super) due: u64,
    pub(super) sent: u64,
    /// Acknowledged, or without an answer but seen at a subscriber.
    pub(super) published: u64,
    pub(super) refused: u64,
    /// Sent, not answered, and seen nowhere.
    pub(super) in_doubt: u64,
}

/// Subscribers that stopped reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SlowCounts {
    pub(super) closed_by_policy: u64,
    /// Cut off without a Close they could have read.
    pub(super) cut: u64,
    pub(super) kept: u64,
}

impl Account {
    /// Adds the ledger to `tally`.
    pub(super) fn settle(
        plan: &Plan,
        publications: &Publications,
        receipts: &Receipts,
        lives: &[Life],
        tally: &mut Tally,
    ) -> Self {
        let mut account = Self {
            publications: PublicationCounts::default(),
            spread: histogram(),
            last: histogram(),
            closed_by_policy: BTreeMap::new(),
            slow: SlowCounts::default(),
        };
        let published = account.count_publications(plan, publications, receipts);
        for life in lives {
            account.count_life(life, &published, tally);
        }
        tally.sent = account.publications.sent;
        account
    }

    /// Measured publications of each channel that were published.
    fn count_publications(
        &mut self,
        plan: &Plan,
        publications: &Publications,
        receipts: &Receipts,
    ) -> Vec<u64> {
        let mut by_channel = vec![0; plan.channels.len()];
        let counts = &mut self.publications;
        for publication in 0..plan.publication_count {
            let Some(due_ns) = publications.due_ns(plan, publication) else { continue };
            if !plan.window.holds(due_ns) {
                continue;
            }
            counts.due += 1;
            let fate = publications.fates.get(publication as usize).copied().unwrap_or_default();
            counts.sent += u64::from(fate != Fate::Unsent);
            // What somebody received was published, whatever was answered.
            let seen = receipts.received(publication) > 0;
            match fate {
                Fate::Acknowledged => {}
                _ if seen => {}
                Fate::Refused => counts.refused += 1,
                Fate::InDoubt => counts.in_doubt += 1,
                Fate::Unsent => {}
            }
            if fate == Fate::Acknowledged || seen {
                counts.published += 1;
                by_channel[usize::from(plan.channel(publication))] += 1;
            }
            if let Some((first_ns, last_ns)) = receipts.first_and_last_ns(publication) {
                self.spread.saturating_record(last_ns - first_ns);
                self.last.saturating_record(last_ns.saturating_sub(due_ns));
            }
        }
        by_channel
    }

    fn count_life(&mut self, life: &Life, published: &[u64], tally: &mut Tally) {
        let delivered = u64::from(life.delivered);
        let missing = if life.whole {
            published[usize::from(life.channel)].saturating_sub(delivered)
        } else {
            u64::from(life.gaps)
        };
        tally.due += delivered + missing;
        tally.delivered += delivered;
        match life.end {
            End::Policy(code) => {
                *self.closed_by_policy.entry(code).or_default() += 1;
                tally.dropped_by_policy += missing;
                self.slow.closed_by_policy += u64::from(life.slow);
            }
            End::Cut if life.slow => {
                tally.undelivered_at_forced_close += missing;
                self.slow.cut += 1;
            }
            // The rest shows as lost.
            End::Held | End::Churned | End::Closed | End::Cut => {
                self.slow.kept += u64::from(life.slow);
            }
        }
    }
}
