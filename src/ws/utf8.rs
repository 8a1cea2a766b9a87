//! Text is checked as it arrives (RFC 6455 section 8.1).
//!
//! A check looks at one run of bytes and says how many at its end begin a character that is not
//! complete yet, at most three. The caller puts them before the next run, whether that is another
//! block, another read or another fragment. So a fault is known at its first bad byte, and no byte
//! but those three is looked at twice.

#![forbid(unsafe_code)]

use super::{ProtocolError, mask};
use crate::limits::UNMASK_BLOCK;

/// Checks `text`, which begins at a character; returns the bytes at its end that begin a
/// character and do not finish it, at most three.
///
/// # Errors
/// [`ProtocolError::TextNotUtf8`]: no further bytes can make this UTF-8.
#[inline]
pub fn check(text: &[u8]) -> Result<usize, ProtocolError> {
    match simdutf8::compat::from_utf8(text) {
        Ok(_) => Ok(0),
        Err(fault) if fault.error_len().is_none() => Ok(text.len() - fault.valid_up_to()),
        Err(_) => Err(ProtocolError::TextNotUtf8),
    }
}

/// Checks that nothing is left over where a message ends.
///
/// # Errors
/// [`ProtocolError::TextNotUtf8`]: the last character is not complete.
#[inline]
pub fn check_end(carried: usize) -> Result<(), ProtocolError> {
    if carried == 0 { Ok(()) } else { Err(ProtocolError::TextNotUtf8) }
}

/// Unmasks a whole text message in place, and checks it block by block while each is in the cache.
///
/// # Errors
/// [`ProtocolError::TextNotUtf8`]; the bytes after the faulty block are then still masked.
#[inline]
pub fn unmask_and_check(text: &mut [u8], key: Option<[u8; 4]>) -> Result<(), ProtocolError> {
    let mut phase = 0;
    let mut carried = 0;
    let mut start = 0;
    while start < text.len() {
        let end = text.len().min(start + UNMASK_BLOCK);
        if let Some(key) = key {
            phase = mask::apply(&mut text[start..end], key, phase);
        }
        carried = check(&text[start - carried..end])?;
        start = end;
    }
    check_end(carried)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_character_is_carried() {
        assert_eq!(check(b""), Ok(0));
        assert_eq!(check("é€😀".as_bytes()), Ok(0));
        for (character, len) in [("é", 2), ("€", 3), ("😀", 4)] {
            for cut in 1..len {
                let text = [b"ab", &character.as_bytes()[..cut]].concat();
                assert_eq!(check(&text), Ok(cut));
                assert_eq!(check_end(cut), Err(ProtocolError::TextNotUtf8));
            }
        }
    }

    #[test]
    fn a_fault_is_known_at_its_first_bad_byte() {
        let faults: [&[u8]; 10] = [
            &[0x80],
            &[0xC0],
            &[0xC1],
            &[0xE0, 0x80],
            &[0xED, 0xA0],
            &[0xF0, 0x80],
            &[0xF4, 0x90],
            &[0xF5],
            &[0xFF],
            &[0xC3, b'a'],
        ];
        for fault in faults {
            assert_eq!(check(fault), Err(ProtocolError::TextNotUtf8), "{fault:x?}");
            let (_, before) = fault.split_last().expect("a fault has a byte");
            assert_eq!(check(before), Ok(before.len()), "{fault:x?}");
        }
    }

    #[test]
    fn characters_on_block_borders_pass_and_faults_there_do_not() {
        let key = Some([9, 8, 7, 6]);
        for shift in 0..4 {
            let mut text = "x".repeat(UNMASK_BLOCK - shift);
            text.push_str("😀 and the rest");
            let mut masked = text.clone().into_bytes();
            mask::apply_bytewise(&mut masked, [9, 8, 7, 6], 0);
            assert_eq!(unmask_and_check(&mut masked, key), Ok(()));
            assert_eq!(masked, text.as_bytes());

            let mut broken = text.clone().into_bytes();
            broken[UNMASK_BLOCK - shift + 3] = b'x';
            let fault = unmask_and_check(&mut broken, None);
            assert_eq!(fault, Err(ProtocolError::TextNotUtf8));

            let mut cut = text.into_bytes();
            cut.truncate(UNMASK_BLOCK - shift + 3);
            let fault = unmask_and_check(&mut cut, None);
            assert_eq!(fault, Err(ProtocolError::TextNotUtf8));
        }
    }
}
