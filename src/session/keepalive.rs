//! Pings with jitter, and the deadline for the answer (RFC 6455 section 5.5.2).

use super::Millis;

/// The two times every keepalive of a shard shares.
#[derive(Clone, Copy, Debug)]
pub struct KeepaliveTimes {
    /// Between pings, in milliseconds.
    pub ping_interval: Millis,
    /// From ping to pong, in milliseconds.
    pub pong_timeout: Millis,
}

/// When a ping is due, or until when its pong must come.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive {
    deadline: Millis,
    /// True from a ping sent until the next pong, and where the peer must speak first.
    pong_awaited: bool,
}

/// What the keepalive asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepaliveStep {
    /// Nothing is due.
    Wait,
    /// Send a ping now.
    Ping,
    /// No pong came in time: the peer is gone.
    Dead,
}

impl Keepalive {
    /// The first ping comes after half to all of an interval: `jitter` (any number) picks the
    /// moment, so that connections of one storm do not ping together for ever.
    pub fn new(now: Millis, times: &KeepaliveTimes, jitter: u64) -> Self {
        let half = times.ping_interval / 2;
        Self { deadline: now + half + jitter % (half + 1), pong_awaited: false }
    }

    /// A peer that must say something by `deadline`, before pings begin.
    pub fn awaiting(deadline: Millis) -> Self {
        Self { deadline, pong_awaited: true }
    }

    /// Whether a ping was sent and not answered yet.
    pub fn is_pong_awaited(&self) -> bool {
        self.pong_awaited
    }

    /// Moves on when the deadline is over.
    pub fn handle_timeout(&mut self, now: Millis, times: &KeepaliveTimes) -> KeepaliveStep {
        if now < self.deadline {
            return KeepaliveStep::Wait;
        }
        if self.pong_awaited {
            return KeepaliveStep::Dead;
        }
        self.pong_awaited = true;
        self.deadline = now + times.pong_timeout;
        KeepaliveStep::Ping
    }

    /// A pong came. One that nobody asked for is ignored (RFC 6455 section 5.5.3).
    pub fn handle_pong(&mut self, now: Millis, times: &KeepaliveTimes) {
        if self.pong_awaited {
            self.pong_awaited = false;
            self.deadline = now + times.ping_interval;
        }
    }

    /// Gives an awaited pong its whole time again: until now the peer was not read, so nobody can
    /// know whether it answered.
    pub fn put_off(&mut self, now: Millis, times: &KeepaliveTimes) {
        if self.pong_awaited {
            self.deadline = now + times.pong_timeout;
        }
    }

    /// When something is due next.
    pub fn next_deadline(&self) -> Millis {
        self.deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: KeepaliveTimes = KeepaliveTimes { ping_interval: 25_000, pong_timeout: 10_000 };

    #[test]
    fn ping_pong_ping_dead() {
        let mut keepalive = Keepalive::new(0, &TIMES, 0);
        assert_eq!(keepalive.next_deadline(), 12_500);
        assert_eq!(keepalive.handle_timeout(12_499, &TIMES), KeepaliveStep::Wait);
        assert_eq!(keepalive.handle_timeout(12_500, &TIMES), KeepaliveStep::Ping);
        keepalive.handle_pong(13_000, &TIMES);
        assert_eq!(keepalive.next_deadline(), 38_000);
        assert_eq!(keepalive.handle_timeout(38_000, &TIMES), KeepaliveStep::Ping);
        assert_eq!(keepalive.handle_timeout(47_999, &TIMES), KeepaliveStep::Wait);
        assert_eq!(keepalive.handle_timeout(48_000, &TIMES), KeepaliveStep::Dead);
    }

    #[test]
    fn jitter_stays_within_the_second_half() {
        for jitter in [0, 1, 12_500, 12_501, u64::MAX] {
            let first = Keepalive::new(100, &TIMES, jitter).next_deadline();
            assert!((12_600..=25_100).contains(&first), "{first}");
        }
    }

    #[test]
    fn only_an_awaited_pong_is_put_off() {
        let mut keepalive = Keepalive::new(0, &TIMES, 0);
        keepalive.put_off(5_000, &TIMES);
        assert_eq!(keepalive.next_deadline(), 12_500);
        assert_eq!(keepalive.handle_timeout(12_500, &TIMES), KeepaliveStep::Ping);
        keepalive.put_off(20_000, &TIMES);
        assert_eq!(keepalive.handle_timeout(29_999, &TIMES), KeepaliveStep::Wait);
        assert_eq!(keepalive.handle_timeout(30_000, &TIMES), KeepaliveStep::Dead);
    }

    #[test]
    fn unasked_pong_changes_nothing() {
        let mut keepalive = Keepalive::new(0, &TIMES, 0);
        keepalive.handle_pong(5, &TIMES);
        assert_eq!(keepalive.next_deadline(), 12_500);
    }
}
