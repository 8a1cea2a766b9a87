//! How an echo answers: the same bytes, or the least that is still a WebSocket echo.

use tidegate::ws::{MessageKind, encode, mask};

/// What the server half of an echo does with the bytes it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Sends them back as they are.
    Bare,
    /// Takes whole masked frames apart, unmasks, and frames what was in them: no state, no limits,
    /// no checks. A Close is answered by a Close this way.
    WebSocket,
}

/// The peer sent something that the limit's loop does not take: a frame in pieces, unmasked, or
/// longer than [`PAYLOAD_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unfit;

impl Framing {
    /// What a client that builds it once sends all the time, with `size` bytes of payload, and the
    /// length of the answer.
    pub(super) fn exchange(self, size: usize) -> (Vec<u8>, usize) {
        let payload = vec![0x5A; size];
        if self == Self::Bare {
            return (payload, size);
        }
        let mut frame = Vec::new();
        encode::append_message_masked(&mut frame, MessageKind::Binary, &payload, [1, 2, 3, 4]);
        let answer_len = frame.len() - 4;
        (frame, answer_len)
    }

    /// Whether `input` begins with a Close. A client that awaits each answer sends one alone.
    pub(super) fn is_close(self, input: &[u8]) -> bool {
        self == Self::WebSocket && input.first() == Some(&0x88)
    }

    /// Appends the answer to `input`; how many messages it answers. May change `input`.
    #[inline]
    pub(super) fn answer(self, mut input: &mut [u8], out: &mut Vec<u8>) -> Result<u64, Unfit> {
        if self == Self::Bare {
            out.extend_from_slice(input);
            return Ok(1);
        }
        let mut count = 0;
        while !input.is_empty() {
            let frame_len = answer_frame(input, out)?;
            input = &mut input[frame_len..];
            count += 1;
        }
        Ok(count)
    }
}

/// Appends the answer to the frame at the head of `input`; the length of that frame. The header is
/// written over the mask, so that header and payload leave in one copy.
#[inline]
fn answer_frame(input: &mut [u8], out: &mut Vec<u8>) -> Result<usize, Unfit> {
    let &mut [first, second, ..] = input else { return Err(Unfit) };
    let (header_len, payload_len) = match second {
        0x80..=0xFD => (2, usize::from(second & 0x7F)),
        0xFE if input.len() >= 4 => (4, usize::from(u16::from_be_bytes([input[2], input[3]]))),
        _ => return Err(Unfit),
    };
    let payload_start = header_len + 4;
    let frame_len = payload_start + payload_len;
    if input.len() < frame_len {
        return Err(Unfit);
    }
    let key = [0, 1, 2, 3].map(|index| input[header_len + index]);
    mask::apply(&mut input[payload_start..frame_len], key, 0);
    // The answer's header is the request's without key and mask bit.
    input.copy_within(2..header_len, 6);
    input[4] = first;
    input[5] = second & 0x7F;
    out.extend_from_slice(&input[4..frame_len]);
    Ok(frame_len)
}

/// Longest payload measured: its frame fits one receive buffer, so it comes whole.
pub(super) const PAYLOAD_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_library_at_boundary_lengths() {
        for len in [0, 1, 125, 126, 127, PAYLOAD_MAX] {
            let payload: Vec<u8> = (0..len).map(|index| index as u8).collect();
            let (mut request, mut expected) = (Vec::new(), Vec::new());
            for _ in 0..2 {
                let key = [1, 2, 3, 4];
                encode::append_message_masked(&mut request, MessageKind::Binary, &payload, key);
                encode::append_message(&mut expected, MessageKind::Binary, &payload);
            }
            let mut out = Vec::new();
            assert_eq!(Framing::WebSocket.answer(&mut request, &mut out), Ok(2));
            assert_eq!(out, expected, "length {len}");
        }
    }

    #[test]
    fn a_client_knows_how_long_its_answer_is() {
        for size in [0, 125, 126, PAYLOAD_MAX] {
            for framing in [Framing::Bare, Framing::WebSocket] {
                let (mut message, answer_len) = framing.exchange(size);
                let mut answer = Vec::new();
                assert_eq!(framing.answer(&mut message, &mut answer), Ok(1));
                assert_eq!(answer.len(), answer_len, "{framing:?} {size}");
            }
        }
    }

    #[test]
    fn pieces_and_unmasked_frames_are_unfit() {
        let mut frame = Vec::new();
        encode::append_message_masked(&mut frame, MessageKind::Text, &[7; 200], [9; 4]);
        for len in 1..frame.len() {
            let mut piece = frame[..len].to_vec();
            assert_eq!(Framing::WebSocket.answer(&mut piece, &mut Vec::new()), Err(Unfit));
        }
        let mut unmasked = *b"\x82\x01aaaaaa";
        assert_eq!(Framing::WebSocket.answer(&mut unmasked, &mut Vec::new()), Err(Unfit));
    }

    #[test]
    fn bare_is_the_same_again() {
        let mut out = Vec::new();
        assert_eq!(Framing::Bare.answer(&mut [1, 2, 3], &mut out), Ok(1));
        assert_eq!(out, [1, 2, 3]);
    }
}
