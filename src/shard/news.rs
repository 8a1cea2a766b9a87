//! What a backend is told: which clients are gone, which subscriptions are over, and which channels
//! this shard owns have no subscriber left on any shard.
//!
//! Nothing of it exists unless a backend is to be told. A channel without subscribers is told after
//! a while, if it still has none then: a reader that reloads its page is no news.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;

use super::Core;
use crate::hub::ChannelId;
use crate::id::{ChannelName, ConnId};
use crate::limits;
use crate::mail::{News, NewsEvent, NewsSender, Party};
use crate::protocol::centrifuge::code::Unsubscribed;
use crate::session::Millis;

/// Tells a backend what happens on this shard.
#[derive(Debug)]
pub(super) struct Reporter {
    out: NewsSender,
    /// Raw connections that were not told to be gone. Those of other protocols know themselves.
    raw: HashMap<ConnId, RawClient, RandomState>,
    vacating: Vacating,
}

/// What is told of a raw connection.
#[derive(Debug)]
struct RawClient {
    user: Option<Arc<str>>,
    /// Its 101 was let go: before that it is nobody's news.
    opened: bool,
}

/// Channels that have just lost their last subscriber.
#[derive(Debug, Default)]
struct Vacating {
    /// When each is to be told.
    due: HashMap<ChannelName, Millis, RandomState>,
    /// The same in order, with the time of day at which the last subscriber left.
    queue: BTreeMap<(Millis, ChannelName), u64>,
}

impl Reporter {
    /// Leaves news with `out`.
    pub(super) fn new(out: NewsSender) -> Self {
        Self { out, raw: HashMap::default(), vacating: Vacating::default() }
    }

    /// How long until something is to be told that waits.
    pub(super) fn next_due(&self, now: Millis) -> Option<Duration> {
        let ((due, _), _) = self.vacating.queue.first_key_value()?;
        Some(Duration::from_millis(due.saturating_sub(now)))
    }
}

impl Vacating {
    /// Notes that a channel was left at `time_ms` and is to be told at `due`; it counts anew if it
    /// was noted before. False: there are too many.
    fn add(&mut self, channel: ChannelName, due: Millis, time_ms: u64) -> bool {
        if let Some(before) = self.due.get(&channel) {
            self.queue.remove(&(*before, channel.clone()));
        } else if self.due.len() >= limits::VACATING_MAX {
            return false;
        }
        self.due.insert(channel.clone(), due);
        self.queue.insert((due, channel), time_ms);
        true
    }

    /// The next channel that is due by `now`, with the time it was left.
    fn take_due(&mut self, now: Millis) -> Option<(ChannelName, u64)> {
        let first = self.queue.first_entry().filter(|first| first.key().0 <= now)?;
        let ((_, channel), time_ms) = first.remove_entry();
        self.due.remove(&channel);
        Some((channel, time_ms))
    }
}

impl Core {
    /// A raw connection begins; `user` is whom its token named.
    pub(super) fn note_raw(&mut self, conn: ConnId, user: Option<Arc<str>>) {
        let Some(reporter) = &mut self.reporter else { return };
        if reporter.out.plan.disconnect || reporter.out.plan.unsubscribe {
            reporter.raw.insert(conn, RawClient { user, opened: false });
        }
    }

    /// A connection's 101 is let go.
    pub(super) fn note_opened(&mut self, conn: ConnId) {
        let Some(reporter) = &mut self.reporter else { return };
        if let Some(raw) = reporter.raw.get_mut(&conn) {
            raw.opened = true;
        }
    }

    /// A raw connection ends. Who it was, if that is news.
    pub(super) fn take_raw(&mut self, conn: ConnId) -> Option<Party> {
        let raw = self.reporter.as_mut()?.raw.remove(&conn)?;
        raw.opened.then_some(Party::Raw(raw.user))
    }

    /// Tells that a subscription is over. Call while the hub knows the channel.
    pub(super) fn tell_unsubscribed(&mut self, who: &Party, channel: ChannelId, why: Unsubscribed) {
        if self.tells_of_subscriptions() {
            let (who, channel) = (who.clone(), self.hub.name(channel).clone());
            let (code, reason) = (why.number(), why.reason());
            let event = NewsEvent::Unsubscribe { who, channel, code, reason };
            self.tell(self.time.unix_ms, event);
        }
    }

    /// Whether ends of subscriptions are told.
    pub(super) fn tells_of_subscriptions(&self) -> bool {
        self.reporter.as_ref().is_some_and(|reporter| reporter.out.plan.unsubscribe)
    }

    /// Tells that a client is gone, by the Close that is queued or without one. `reason` is ours.
    pub(super) fn tell_disconnected(&mut self, conn: ConnId, who: Party, reason: &str) {
        if self.reporter.as_ref().is_none_or(|reporter| !reporter.out.plan.disconnect) {
            return;
        }
        let connection = self.slots.get_mut(conn).expect("it is about to end");
        let code = connection.session.close_code().unwrap_or(WITHOUT_CLOSE);
        let reason = reason.into();
        self.tell(self.time.unix_ms, NewsEvent::Disconnect { who, code, reason });
    }

    /// A channel this shard owns has no subscriber left.
    pub(super) fn note_vacated(&mut self, channel: ChannelName) {
        let (now, time_ms) = (self.time.ms, self.time.unix_ms);
        let Some(reporter) = &mut self.reporter else { return };
        let Some(delay) = reporter.out.plan.vacated_delay_ms else { return };
        if !reporter.vacating.add(channel, now.saturating_add(delay), time_ms) {
            self.stats.counters.notices_unsent.add(1);
        }
    }

    /// Tells which channels have had no subscriber for long enough, at most
    /// `limits::WORK_PER_TURN`.
    pub(super) fn tell_vacated(&mut self) {
        if self.reporter.is_some() {
            self.tell_vacated_by(self.time.ms, limits::WORK_PER_TURN);
        }
    }

    /// The gateway stops: whoever is still here is cut off, and no channel has a subscriber,
    /// whether or not its owner has been told so. Nothing may follow.
    pub(super) fn tell_end(&mut self) {
        let Some(reporter) = &self.reporter else { return };
        let tells_vacated = reporter.out.plan.vacated_delay_ms.is_some();
        let mut next_slot = 0;
        while let Some(conn) = self.slots.next_from(next_slot) {
            next_slot = conn.slot + 1;
            self.leave_channels(conn, "");
        }
        self.tell_vacated_by(Millis::MAX, usize::MAX);
        if tells_vacated {
            for channel in self.hub.heard() {
                self.tell(self.time.unix_ms, NewsEvent::Vacated { channel: channel.clone() });
            }
        }
    }

    fn tell_vacated_by(&mut self, now: Millis, budget: usize) {
        for _ in 0..budget {
            let Some(reporter) = &mut self.reporter else { return };
            let Some((channel, time_ms)) = reporter.vacating.take_due(now) else { return };
            if self.hub.interest(&channel).is_empty() {
                self.tell(time_ms, NewsEvent::Vacated { channel });
            }
        }
    }

    fn tell(&self, time_ms: u64, event: NewsEvent) {
        let Some(reporter) = &self.reporter else { return };
        if reporter.out.send(News { time_ms, event }).is_err() {
            self.stats.counters.notices_unsent.add(1);
        }
    }
}

/// Stands for the end of a connection without a Close (RFC 6455 section 7.1.5).
const WITHOUT_CLOSE: u16 = 1006;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_that_is_left_again_is_told_once_and_later() {
        let mut vacating = Vacating::default();
        let name = |text: &str| ChannelName::from(text);
        assert!(vacating.add(name("a"), 3_000, 10));
        assert!(vacating.add(name("b"), 3_500, 20));
        assert!(vacating.add(name("a"), 5_000, 30));
        assert_eq!(vacating.take_due(2_999), None);
        assert_eq!(vacating.take_due(3_500), Some((name("b"), 20)));
        assert_eq!(vacating.take_due(4_999), None);
        assert_eq!(vacating.take_due(5_000), Some((name("a"), 30)));
        assert_eq!(vacating.take_due(Millis::MAX), None);
        assert!(vacating.due.is_empty());
    }
}
