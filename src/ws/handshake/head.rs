//! Finds the end of an HTTP head while its bytes arrive, and refuses what must not be in one.

use super::HandshakeError;
use crate::limits;

/// Watches a growing buffer until it holds a whole head (RFC 9112 section 2.1).
///
/// Every byte is looked at once, however the head is cut, so a peer that sends one byte at a time
/// costs no more than one that sends all at once. The first byte that breaks a rule decides the
/// error, so cutting does not change it either. Lines end in CR LF only; the limits on line, head
/// and header count hold while bytes arrive.
#[derive(Debug, Default)]
pub struct HeadReader {
    /// Bytes of the buffer that have been looked at.
    scanned: usize,
    /// Bytes of the current line so far, without its end.
    line_len: usize,
    /// Lines that are complete.
    line_count: usize,
    /// True while the last byte looked at was a CR.
    cr_pending: bool,
}

impl HeadReader {
    /// A reader that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at what came since the last call. `received` is everything received so far: the
    /// bytes of the last call and more behind them. Gives the length of the head, its empty line
    /// included, once all of it is there; do not call again after that, nor after an error.
    ///
    /// # Errors
    /// The peer sent something no head may contain, or passed a limit. Final for the connection.
    pub fn handle(&mut self, received: &[u8]) -> Result<Option<usize>, HandshakeError> {
        debug_assert!(self.scanned <= received.len(), "the buffer grows from call to call");
        for (at, byte) in received.iter().copied().enumerate().skip(self.scanned) {
            if at >= limits::HEAD_SIZE_MAX {
                return Err(HandshakeError::HeadTooLarge);
            }
            if self.handle_byte(at, byte)? {
                self.scanned = at + 1;
                return Ok(Some(at + 1));
            }
        }
        self.scanned = received.len();
        Ok(None)
    }

    /// Takes one byte; true if it ends the head.
    fn handle_byte(&mut self, at: usize, byte: u8) -> Result<bool, HandshakeError> {
        if self.cr_pending {
            if byte != b'\n' {
                return Err(HandshakeError::BareCarriageReturn { at: at - 1 });
            }
            self.cr_pending = false;
            if self.line_len == 0 {
                return Ok(true);
            }
            self.line_len = 0;
            self.line_count += 1;
            return Ok(false);
        }
        if at == 0 && !byte.is_ascii_graphic() {
            return Err(HandshakeError::NoRequestLine);
        }
        match byte {
            b'\r' => {
                self.cr_pending = true;
                return Ok(false);
            }
            b'\n' => return Err(HandshakeError::BareLineFeed { at }),
            b' ' | b'\t' if self.line_len == 0 => return Err(HandshakeError::FoldedHeader { at }),
            b'\t' if self.line_count > 0 => {}
            0..=0x1f | 0x7f => return Err(HandshakeError::ControlByte { at }),
            _ => {}
        }
        self.line_len += 1;
        if self.line_len > limits::HEAD_LINE_MAX {
            return Err(if self.line_count == 0 {
                HandshakeError::RequestLineTooLong
            } else {
                HandshakeError::HeaderLineTooLong
            });
        }
        // The first line is no header, so the count of lines is the count of headers, this one in.
        if self.line_count > limits::HEAD_HEADERS_MAX {
            return Err(HandshakeError::TooManyHeaders);
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"GET /raw?channel=a HTTP/1.1\r\nHost: a\r\nX:\ty\r\n\r\n";

    fn whole(input: &[u8]) -> Result<Option<usize>, HandshakeError> {
        HeadReader::new().handle(input)
    }

    fn bytewise(input: &[u8]) -> Result<Option<usize>, HandshakeError> {
        let mut reader = HeadReader::new();
        for len in 1..=input.len() {
            if let Some(head_len) = reader.handle(&input[..len])? {
                return Ok(Some(head_len));
            }
        }
        Ok(None)
    }

    #[test]
    fn head_ends_at_its_empty_line_whatever_follows() {
        let mut input = HEAD.to_vec();
        input.extend_from_slice(b"\x81\x80\0\0\0\0\n");
        assert_eq!(whole(&input), Ok(Some(HEAD.len())));
        assert_eq!(whole(HEAD), Ok(Some(HEAD.len())));
        assert_eq!(whole(b""), Ok(None));
    }

    #[test]
    fn every_split_offset_finds_the_same_end() {
        for first in 0..HEAD.len() {
            let mut reader = HeadReader::new();
            assert_eq!(reader.handle(&HEAD[..first]), Ok(None), "split at {first}");
            assert_eq!(reader.handle(HEAD), Ok(Some(HEAD.len())), "split at {first}");
        }
    }

    #[test]
    fn no_byte_is_looked_at_twice() {
        let mut head = b"GET / HTTP/1.1\r\n".to_vec();
        while head.len() < limits::HEAD_SIZE_MAX - 300 {
            head.extend_from_slice(format!("X: {}\r\n", "v".repeat(250)).as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        let mut reader = HeadReader::new();
        for len in 1..head.len() {
            assert_eq!(reader.handle(&head[..len]), Ok(None));
            // A second look would find a NUL.
            head[len - 1] = 0;
        }
        assert_eq!(reader.handle(&head), Ok(Some(head.len())));
    }

    #[test]
    fn bytes_that_no_head_may_contain() {
        use HandshakeError::*;
        for (input, error) in [
            (&b"\r\nGET / HTTP/1.1\r\n\r\n"[..], NoRequestLine),
            (b"\nGET", NoRequestLine),
            (b"\x16\x03\x01", NoRequestLine),
            (b"\0GET", NoRequestLine),
            (b" GET", NoRequestLine),
            (b"\xffGET", NoRequestLine),
            (b"GET / HTTP/1.1\nHost: a\r\n\r\n", BareLineFeed { at: 14 }),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\n", BareLineFeed { at: 25 }),
            (b"GET / HTTP/1.1\rHost: a\r\n\r\n", BareCarriageReturn { at: 14 }),
            (b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", BareCarriageReturn { at: 20 }),
            (b"GET / HTTP/1.1\r\nA: b\r\r\n\r\n", BareCarriageReturn { at: 20 }),
            (b"GET /\0 HTTP/1.1\r\n\r\n", ControlByte { at: 5 }),
            (b"GET /\tHTTP/1.1\r\n\r\n", ControlByte { at: 5 }),
            (b"GET / HTTP/1.1\r\nA: \x1b[m\r\n\r\n", ControlByte { at: 19 }),
            (b"GET / HTTP/1.1\r\nA: \x7f\r\n\r\n", ControlByte { at: 19 }),
            (b"GET / HTTP/1.1\r\n A: b\r\n\r\n", FoldedHeader { at: 16 }),
            (b"GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n", FoldedHeader { at: 22 }),
        ] {
            assert_eq!(whole(input), Err(error), "{:?}", String::from_utf8_lossy(input));
            assert_eq!(bytewise(input), Err(error), "{:?}", String::from_utf8_lossy(input));
        }
    }

    #[test]
    fn limits_are_inclusive() {
        let line = |len: usize| format!("GET /{} HTTP/1.1\r\n", "a".repeat(len - 14));
        let fits = line(limits::HEAD_LINE_MAX) + "\r\n";
        assert_eq!(whole(fits.as_bytes()), Ok(Some(fits.len())));
        let long = line(limits::HEAD_LINE_MAX + 1);
        assert_eq!(whole(long.as_bytes()), Err(HandshakeError::RequestLineTooLong));
        assert_eq!(bytewise(long.as_bytes()), Err(HandshakeError::RequestLineTooLong));

        let header = |len: usize| format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(len - 3));
        let fits = header(limits::HEAD_LINE_MAX);
        assert_eq!(whole(fits.as_bytes()), Ok(Some(fits.len())));
        let long = header(limits::HEAD_LINE_MAX + 1);
        assert_eq!(whole(long.as_bytes()), Err(HandshakeError::HeaderLineTooLong));

        let many = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count));
        let fits = many(limits::HEAD_HEADERS_MAX);
        assert_eq!(whole(fits.as_bytes()), Ok(Some(fits.len())));
        let long = many(limits::HEAD_HEADERS_MAX + 1);
        assert_eq!(whole(long.as_bytes()), Err(HandshakeError::TooManyHeaders));
        assert_eq!(bytewise(long.as_bytes()), Err(HandshakeError::TooManyHeaders));
    }

    #[test]
    fn head_of_exactly_the_limit_fits() {
        let head = |len: usize| {
            let first = format!("GET / HTTP/1.1\r\nA: {}\r\nB: ", "a".repeat(8_000));
            let rest = len - first.len() - 4;
            format!("{first}{}\r\n\r\n", "b".repeat(rest))
        };
        // Two header lines cannot fill the head, so the second one is cut in two.
        let fill = |len: usize| {
            let text = head(len);
            let at = text.len() - 4_000;
            format!("{}\r\nC: {}", &text[..at], &text[at + 5..])
        };
        let fits = fill(limits::HEAD_SIZE_MAX);
        assert_eq!(fits.len(), limits::HEAD_SIZE_MAX);
        assert_eq!(whole(fits.as_bytes()), Ok(Some(fits.len())));
        let long = fill(limits::HEAD_SIZE_MAX + 1);
        assert_eq!(whole(long.as_bytes()), Err(HandshakeError::HeadTooLarge));
        assert_eq!(bytewise(long.as_bytes()), Err(HandshakeError::HeadTooLarge));
    }
}
