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

/// Checks a text whose runs do not lie behind one another in memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checker {
    /// The first bytes of a character that is not complete.
    held: [u8; 3],
    held_len: u8,
}

impl Checker {
    /// Checks the next run of bytes.
    ///
    /// # Errors
    /// [`ProtocolError::TextNotUtf8`]: no further bytes can make this UTF-8.
    #[inline]
    pub fn check(&mut self, mut text: &[u8]) -> Result<(), ProtocolError> {
        if self.held_len > 0 {
            text = self.complete_held(text)?;
        }
        let carried = check(text)?;
        if carried > 0 {
            self.held[..carried].copy_from_slice(&text[text.len() - carried..]);
            self.held_len = carried as u8;
        }
        Ok(())
    }

    /// Checks that the text ends with a character, and begins anew.
    ///
    /// # Errors
    /// [`ProtocolError::TextNotUtf8`]: the last character is not complete.
    #[inline]
    pub fn finish(&mut self) -> Result<(), ProtocolError> {
        check_end(usize::from(std::mem::take(&mut self.held_len)))
    }

    /// Takes from `text` what the held character lacks; gives the rest, empty if that is not all
    /// there.
    fn complete_held<'a>(&mut self, text: &'a [u8]) -> Result<&'a [u8], ProtocolError> {
        let held_len = usize::from(self.held_len);
        let character_len = match self.held[0] {
            0xF0.. => 4,
            0xE0.. => 3,
            _ => 2,
        };
        let (added, rest) = text.split_at(text.len().min(character_len - held_len));
        let mut character = [0; 4];
        character[..held_len].copy_from_slice(&self.held[..held_len]);
        character[held_len..held_len + added.len()].copy_from_slice(added);
        let carried = check(&character[..held_len + added.len()])?;
        self.held[..carried].copy_from_slice(&character[..carried]);
        self.held_len = carried as u8;
        Ok(rest)
    }
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
    fn runs_apart_are_checked_like_one() {
        let text = "a\u{7FF}b\u{800}\u{FFFF}\u{10000}\u{10FFFF}é".as_bytes();
        for step in 1..=text.len() {
            let mut checker = Checker::default();
            for run in text.chunks(step) {
                assert_eq!(checker.check(run), Ok(()), "in steps of {step}");
            }
            assert_eq!(checker.finish(), Ok(()));
        }
        for broken_at in 0..text.len() {
            let mut broken = text.to_vec();
            broken[broken_at] = 0xFF;
            for step in 1..=broken.len() {
                let mut checker = Checker::default();
                let mut runs = broken.chunks(step).map(|run| checker.check(run));
                let fault_at = runs.position(|result| result.is_err());
                assert_eq!(fault_at, Some(broken_at / step), "{broken_at} in steps of {step}");
            }
        }
        let mut checker = Checker::default();
        assert_eq!(checker.check(&[b'x', 0xE2, 0x82]), Ok(()));
        assert_eq!(checker.finish(), Err(ProtocolError::TextNotUtf8));
        assert_eq!(checker.check(b"anew"), Ok(()));
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
