//! When messages are due: fixed times, whatever the server does.

/// The messages of one thread, in the order they are due. Message `n` of the run is due `n / rate`
/// seconds after its start; threads take turns, and so do the connections of a thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    rate: u64,
    thread: u64,
    thread_count: u64,
    connection_count: u64,
    /// This thread's messages that fell due so far.
    taken: u64,
}

impl Schedule {
    /// The part of `thread` out of `thread_count` in `rate` messages a second, spread over its
    /// `connection_count` connections.
    pub(crate) fn new(rate: u64, thread: u16, thread_count: u16, connection_count: u32) -> Self {
        assert!(rate > 0 && thread < thread_count && connection_count > 0);
        Self {
            rate,
            thread: thread.into(),
            thread_count: thread_count.into(),
            connection_count: connection_count.into(),
            taken: 0,
        }
    }

    /// When the next message is due, in nanoseconds since the run's start.
    pub(crate) fn next_due_ns(&self) -> u64 {
        self.due_ns(self.taken)
    }

    /// Takes the next message; the index of the connection it is to be sent on.
    pub(crate) fn take(&mut self) -> u32 {
        let connection = self.taken % self.connection_count;
        self.taken += 1;
        connection as u32
    }

    /// When the message with number `sequence` on connection `connection` is due: the schedule
    /// remembers no backlog because it can be told again at any time.
    pub(crate) fn due_of(&self, connection: u32, sequence: u32) -> u64 {
        self.due_ns(u64::from(sequence) * self.connection_count + u64::from(connection))
    }

    fn due_ns(&self, index: u64) -> u64 {
        let message = u128::from(index * self.thread_count + self.thread);
        (message * 1_000_000_000 / u128::from(self.rate)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_together_keep_the_rate_to_the_nanosecond() {
        for rate in [1, 7, 50_000, 100_000_000] {
            let mut schedules = [0, 1, 2].map(|thread| Schedule::new(rate, thread, 3, 4));
            for message in 0..10_000u64 {
                let schedule = &mut schedules[(message % 3) as usize];
                let due = u128::from(message) * 1_000_000_000 / u128::from(rate);
                assert_eq!(u128::from(schedule.next_due_ns()), due);
                let connection = schedule.take();
                let (turn, index) = (message / 3 / 4, message / 3 % 4);
                assert_eq!(u64::from(connection), index);
                assert_eq!(u128::from(schedule.due_of(connection, turn as u32)), due);
            }
        }
    }
}
