//! Frames as a client writes and reads them (RFC 6455 section 5.2), written down once more: the
//! judge of the gateway's frames must not be the gateway's decoder.

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// What stands for the 101.
pub(crate) const RESPONSE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";

/// One frame of the gateway.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

/// A client's text message.
pub(crate) fn client_text(text: &str, mask: [u8; 4]) -> Vec<u8> {
    client_frame(TEXT, text.as_bytes(), mask)
}

/// A client's frame.
pub(crate) fn client_frame(opcode: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    let len = payload.len();
    if len < 126 {
        frame.push(0x80 | len as u8);
    } else {
        frame.push(0x80 | 126);
        frame.extend_from_slice(&u16::try_from(len).expect("payloads are small").to_be_bytes());
    }
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Takes the first frame out of what was received; `None` while it is not all there.
pub(crate) fn take_frame(received: &mut Vec<u8>) -> Option<Frame> {
    let [first, second, ..] = received[..] else { return None };
    assert_eq!(first & 0xF0, 0x80, "a frame that is no whole message: {first:#x}");
    assert_eq!(second & 0x80, 0, "a masked frame from the gateway");
    let (len, start) = match second {
        126 => (usize::from(u16::from_be_bytes([*received.get(2)?, *received.get(3)?])), 4),
        127 => panic!("nobody sends so much here"),
        len => (usize::from(len), 2),
    };
    if received.len() < start + len {
        return None;
    }
    let payload = received[start..start + len].to_vec();
    received.drain(..start + len);
    Some(Frame { opcode: first & 0xF, payload })
}

#[test]
fn frames_are_taken_when_they_are_whole() {
    for len in [0, 1, 125, 126, 300] {
        let mut received = client_frame(TEXT, &vec![7; len], [0; 4]);
        // Without the mask it is a frame of the gateway.
        received[1] &= 0x7F;
        let start = if len < 126 { 2 } else { 4 };
        received.drain(start..start + 4);
        let last = received.pop();
        assert_eq!(take_frame(&mut received), None);
        received.extend(last);
        received.push(0x81);
        let frame = Frame { opcode: TEXT, payload: vec![7; len] };
        assert_eq!(take_frame(&mut received), Some(frame));
        assert_eq!(received, [0x81]);
    }
}
