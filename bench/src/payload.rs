//! What a message says about itself: when it was due and sent, whose it is, and its number.

/// Bytes of the header each payload begins with.
pub(crate) const HEADER_LEN: usize = 24;

/// The header of a payload, big-endian on the wire. Times are nanoseconds since the run's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// When the schedule wanted it sent.
    pub(crate) due_ns: u64,
    /// When it was handed to the ring.
    pub(crate) sent_ns: u64,
    /// The connection it was sent on.
    pub(crate) connection: u32,
    /// Its number on that connection, from 0.
    pub(crate) sequence: u32,
}

impl Header {
    /// Writes the header to the head of `payload`.
    pub(crate) fn write(&self, payload: &mut [u8]) {
        payload[0..8].copy_from_slice(&self.due_ns.to_be_bytes());
        payload[8..16].copy_from_slice(&self.sent_ns.to_be_bytes());
        payload[16..20].copy_from_slice(&self.connection.to_be_bytes());
        payload[20..24].copy_from_slice(&self.sequence.to_be_bytes());
    }

    /// Reads the header; `None` if the payload is too short to be one of ours.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let (due, rest) = payload.split_first_chunk()?;
        let (sent, rest) = rest.split_first_chunk()?;
        let (connection, rest) = rest.split_first_chunk()?;
        let (sequence, _) = rest.split_first_chunk()?;
        Some(Self {
            due_ns: u64::from_be_bytes(*due),
            sent_ns: u64::from_be_bytes(*sent),
            connection: u32::from_be_bytes(*connection),
            sequence: u32::from_be_bytes(*sequence),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let header = Header { due_ns: 1, sent_ns: u64::MAX, connection: 3, sequence: u32::MAX };
        let mut payload = [7; HEADER_LEN + 1];
        header.write(&mut payload);
        assert_eq!(Header::read(&payload), Some(header));
        assert_eq!(Header::read(&payload[..HEADER_LEN]), Some(header));
        assert_eq!(payload[HEADER_LEN], 7);
        assert_eq!(Header::read(&payload[..HEADER_LEN - 1]), None);
    }
}
