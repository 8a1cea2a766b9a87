//! When the hub drops what has expired.

use std::time::Duration;

use super::Core;
use crate::limits;
use crate::session::Millis;

impl Core {
    /// Drops a bounded share of what has expired, at most once in
    /// `limits::EXPIRE_INTERVAL_MS` unless more was due than the share.
    pub(super) fn expire_streams(&mut self) {
        let now = self.time.ms;
        if self.hub.next_expiry().is_none_or(|due| due > now) || self.expire_at > now {
            return;
        }
        let more = self.hub.expire(now).is_some_and(|next| next <= now);
        self.expire_at = if more { now } else { now + limits::EXPIRE_INTERVAL_MS };
    }

    /// How long until [`Core::expire_streams`] has something to do.
    pub(super) fn next_stream_expiry(&self) -> Option<Duration> {
        let due: Millis = self.hub.next_expiry()?.max(self.expire_at);
        Some(Duration::from_millis(due.saturating_sub(self.time.ms)))
    }
}
