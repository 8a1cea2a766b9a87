//! Subscribers: what each was sent, in which order, and how it ended.

use tidegate::ws::{CloseCode, Decoder, Role, encode};

use crate::ledger::{Arrival, Ledger};

/// One subscriber of a thread, over all its connections one after another.
pub(super) struct Subscriber {
    /// Its number in the run.
    pub(super) number: u32,
    pub(super) channel: u16,
    /// It stops reading when the measuring begins.
    pub(super) slow: bool,
    pub(super) decoder: Decoder,
    pub(super) state: State,
    /// The connection was opened before the first publication.
    pub(super) from_start: bool,
    /// Measured publications that came on this connection, each once.
    pub(super) delivered: u32,
    /// Publications that came on this connection, each once.
    pub(super) received: u32,
}

/// How far a subscriber's connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There is none: never opened, or ended and accounted.
    Gone,
    /// It takes publications.
    Open,
    /// Our Close is out; the server's is awaited, and publications sent before it still count.
    Leaving(End),
    /// Closes are exchanged, and the socket goes once ours has left.
    Over(End),
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was held until the run was over.
    Held,
    /// We closed it to open another.
    Churned,
    /// The server closed it, and said why with a code of its policy.
    Policy(u16),
    /// The server closed it with another code.
    Closed,
    /// It ended without a Close.
    Cut,
}

/// One connection of a subscriber, when it is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) channel: u16,
    pub(super) slow: bool,
    /// It was open for all publications, until the run was over or the server ended it: all of its
    /// channel were expected.
    pub(super) whole: bool,
    pub(super) end: End,
    /// Measured publications that came, each once.
    pub(super) delivered: u32,
    /// If not whole: publications missing between the first and the last that had to come.
    pub(super) gaps: u32,
}

/// What came from one publisher to one subscriber.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    ledger: Option<Ledger>,
    /// Numbers from here on are expected.
    first: u32,
    /// One more than the highest that came.
    next: u32,
    /// How many came, each once.
    count: u32,
}

impl Subscriber {
    pub(super) fn new(number: u32, channel: u16, slow: bool) -> Self {
        Self {
            number,
            channel,
            slow,
            decoder: Decoder::new(Role::Client),
            state: State::Gone,
            from_start: true,
            delivered: 0,
            received: 0,
        }
    }

    /// A new connection was opened, `compressed` or not.
    pub(super) fn open(&mut self, from_start: bool, compressed: bool) {
        let new_decoder = if compressed { Decoder::with_deflate } else { Decoder::new };
        self.decoder = new_decoder(Role::Client);
        self.state = State::Open;
        self.from_start = from_start;
        self.delivered = 0;
        self.received = 0;
    }

    /// Says goodbye, if it has not been said.
    pub(super) fn leave(&mut self, end: End, out: &mut Vec<u8>, key: [u8; 4]) {
        if self.state == State::Open {
            self.state = State::Leaving(end);
            encode::append_close_masked(out, Some(CloseCode::NORMAL), "", key);
        }
    }

    /// The server sent a Close: ours follows, unless it came first.
    pub(super) fn on_close(&mut self, code: Option<u16>, out: &mut Vec<u8>, key: [u8; 4]) {
        match self.state {
            State::Open => {
                let end = code.filter(|code| is_policy(*code)).map_or(End::Closed, End::Policy);
                encode::append_close_masked(out, Some(CloseCode::NORMAL), "", key);
                self.state = State::Over(end);
            }
            State::Leaving(end) => self.state = State::Over(end),
            State::Gone | State::Over(_) => {}
        }
    }

    /// The server ended the subscription: nothing more will come, and the connection goes.
    pub(super) fn on_unsubscribed(&mut self, code: u16, out: &mut Vec<u8>, key: [u8; 4]) {
        if self.state == State::Open {
            encode::append_close_masked(out, Some(CloseCode::NORMAL), "", key);
            self.state = State::Over(End::Policy(code));
        }
    }

    /// Accounts for the connection, which is over. `tail` is one more than the last number of each
    /// publisher on this channel, known once all is published.
    pub(super) fn bury(&mut self, traces: &mut [Trace], tail: Option<&[u32]>) -> Option<Life> {
        let end = match self.state {
            State::Gone => return None,
            State::Open => End::Cut,
            State::Leaving(end) | State::Over(end) => end,
        };
        self.state = State::Gone;
        let tail = tail.filter(|_| end == End::Held);
        let gaps = traces.iter().enumerate().map(|(publisher, trace)| {
            trace.gaps(self.from_start, tail.map(|tail| tail[publisher]))
        });
        let life = Life {
            channel: self.channel,
            slow: self.slow,
            whole: self.from_start && end != End::Churned,
            end,
            delivered: self.delivered,
            gaps: gaps.sum(),
        };
        traces.fill(Trace::default());
        Some(life)
    }
}

impl Trace {
    /// Notes that `sequence` came.
    pub(super) fn on_arrival(&mut self, sequence: u32) -> Arrival {
        let first = self.ledger.is_none();
        let arrival = self.ledger.get_or_insert_with(Ledger::of_others).on_arrival(sequence);
        if first {
            self.first = sequence;
        }
        if matches!(arrival, Arrival::InOrder | Arrival::Reordered) {
            self.count += 1;
            self.first = self.first.min(sequence);
            self.next = self.next.max(sequence + 1);
        }
        arrival
    }

    /// How many are missing: from the start or from the first that came, up to `tail` or to the
    /// last that came.
    fn gaps(&self, from_start: bool, tail: Option<u32>) -> u32 {
        // Without an arrival nothing tells where a later connection's part begins.
        let first = match (from_start, &self.ledger) {
            (true, _) => 0,
            (false, Some(_)) => self.first,
            (false, None) => return 0,
        };
        tail.unwrap_or(self.next).max(self.next).saturating_sub(first).saturating_sub(self.count)
    }
}

/// Whether a close code states a policy: going away (1001), a rule (1008), restart (1012), try
/// again later (1013), and those an application makes (3000 to 4999, such as 3008 for too slow).
fn is_policy(code: u16) -> bool {
    matches!(code, 1001 | 1008 | 1012 | 1013 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buried(from_start: bool, end: End, sequences: &[u32], tail: Option<u32>) -> Life {
        let mut subscriber = Subscriber::new(0, 0, false);
        subscriber.open(from_start, false);
        let mut traces = [Trace::default()];
        for sequence in sequences {
            traces[0].on_arrival(*sequence);
        }
        subscriber.state = State::Leaving(end);
        let tail = tail.map(|tail| [tail]);
        subscriber.bury(&mut traces, tail.as_ref().map(|tail| &tail[..])).expect("was open")
    }

    #[test]
    fn gaps_lie_between_what_had_to_come() {
        for (from_start, end, sequences, tail, gaps) in [
            (true, End::Churned, &[0, 1, 2][..], Some(9), 0),
            (true, End::Churned, &[1, 2, 4], None, 2),
            (false, End::Churned, &[5, 6, 8, 7, 7], None, 0),
            (false, End::Churned, &[5, 9], None, 3),
            (false, End::Held, &[5, 6], Some(9), 2),
            (false, End::Held, &[], Some(9), 0),
            (true, End::Held, &[], Some(9), 9),
            // A later one in front of the first.
            (false, End::Churned, &[5, 4, 6], None, 0),
        ] {
            let life = buried(from_start, end, sequences, tail);
            assert_eq!(life.gaps, gaps, "{from_start} {end:?} {sequences:?} {tail:?}");
            assert_eq!(life.whole, from_start && end == End::Held);
        }
    }

    #[test]
    fn a_close_states_a_policy_or_none() {
        for (code, end) in [
            (Some(3008), End::Policy(3008)),
            (Some(1001), End::Policy(1001)),
            (Some(1000), End::Closed),
            (Some(1011), End::Closed),
            (Some(2999), End::Closed),
            (Some(5000), End::Closed),
            (None, End::Closed),
        ] {
            let mut subscriber = Subscriber::new(0, 0, false);
            subscriber.open(true, false);
            let mut out = Vec::new();
            subscriber.on_close(code, &mut out, [0; 4]);
            assert_eq!(subscriber.state, State::Over(end));
            assert!(!out.is_empty());
        }
    }

    #[test]
    fn nothing_is_accounted_twice() {
        let mut subscriber = Subscriber::new(0, 0, false);
        let mut traces = [Trace::default()];
        assert!(subscriber.bury(&mut traces, None).is_none());
        subscriber.open(true, false);
        assert_eq!(subscriber.bury(&mut traces, None).expect("was open").end, End::Cut);
        assert!(subscriber.bury(&mut traces, None).is_none());
    }
}
