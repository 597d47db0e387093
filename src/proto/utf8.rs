//! Incremental UTF-8 validation.

use std::str;

/// An incremental UTF-8 validator, which fails at the first byte that no continuation can make
/// valid.
///
/// RFC 6455 section 8.1; RFC 3629. A code point may be split over parts: at most three bytes of it
/// are kept.
///
/// ```
/// use fullduplex::proto::Utf8Validator;
///
/// let mut validator = Utf8Validator::default();
/// validator.push(b"gr\xC3")?;
/// assert!(!validator.is_complete());
/// validator.push(b"\xBCezi")?;
/// assert!(validator.is_complete());
/// assert!(validator.push(b"\xED\xA0").is_err(), "the beginning of a surrogate");
/// # Ok::<(), fullduplex::proto::InvalidUtf8>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Utf8Validator {
    /// The beginning of a code point that the next part has to complete.
    begun: [u8; 3],
    begun_len: u8,
}

/// Text is not UTF-8, whatever follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("invalid UTF-8")]
#[non_exhaustive]
pub struct InvalidUtf8;

impl Utf8Validator {
    /// Validates the next part.
    ///
    /// # Errors
    /// The part contains a byte that is invalid at its position.
    pub fn push(&mut self, part: &[u8]) -> Result<(), InvalidUtf8> {
        let rest = self.finish_begun(part)?;
        if let Err(error) = simdutf8::compat::from_utf8(rest) {
            // RFC 6455 section 8.1: invalid text fails the connection. Without `error_len`, the
            // part only ends inside a code point, which section 5.6 allows between fragments.
            if error.error_len().is_some() {
                return Err(InvalidUtf8);
            }
            let begun = &rest[error.valid_up_to()..];
            self.begun[..begun.len()].copy_from_slice(begun);
            self.begun_len = begun.len() as u8;
        }
        Ok(())
    }

    /// Validates a part that the caller knows to be all ASCII.
    ///
    /// # Errors
    /// A code point has begun, which ASCII does not complete.
    #[inline]
    pub fn push_ascii(&mut self, part: &[u8]) -> Result<(), InvalidUtf8> {
        if self.begun_len > 0 && !part.is_empty() { Err(InvalidUtf8) } else { Ok(()) }
    }

    /// Returns whether the text so far ends with a complete code point.
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.begun_len == 0
    }

    /// Completes the code point that an earlier part began; returns what follows it.
    fn finish_begun<'a>(&mut self, part: &'a [u8]) -> Result<&'a [u8], InvalidUtf8> {
        if self.begun_len == 0 {
            return Ok(part);
        }
        let begun = usize::from(self.begun_len);
        let mut code_point = [0; 4];
        code_point[..begun].copy_from_slice(&self.begun[..begun]);
        for (taken, byte) in part.iter().enumerate() {
            let len = begun + taken + 1;
            code_point[len - 1] = *byte;
            match str::from_utf8(&code_point[..len]) {
                Ok(_) => {
                    self.begun_len = 0;
                    return Ok(&part[taken + 1..]);
                }
                Err(error) if error.error_len().is_some() => return Err(InvalidUtf8),
                // Incomplete, and at most three bytes long: four bytes are either complete or
                // invalid.
                Err(_) => {
                    self.begun[..len].copy_from_slice(&code_point[..len]);
                    self.begun_len = len as u8;
                }
            }
        }
        Ok(&[])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns how many bytes the validator accepts one by one before it fails; `None` if it does
    /// not fail.
    fn fails_at(text: &[u8]) -> Option<usize> {
        let mut validator = Utf8Validator::default();
        text.iter().position(|byte| validator.push(&[*byte]).is_err())
    }

    #[test]
    fn validation_fails_at_the_first_invalid_byte() {
        assert_eq!(fails_at(b"ab\xFF"), Some(2));
        assert_eq!(fails_at(b"\xC0\x80"), Some(0), "overlong, two bytes");
        assert_eq!(fails_at(b"\xE0\x80\x80"), Some(1), "overlong, three bytes");
        assert_eq!(fails_at(b"\xF0\x8F\xBF\xBF"), Some(1), "overlong, four bytes");
        assert_eq!(fails_at(b"\xED\xA0\x80"), Some(1), "a surrogate");
        assert_eq!(fails_at(b"\xF4\x90\x80\x80"), Some(1), "beyond U+10FFFF");
        assert_eq!(fails_at(b"\xF5"), Some(0));
        assert_eq!(fails_at("\u{10FFFF}\u{D7FF}\u{E000}".as_bytes()), None);
    }

    #[test]
    fn text_divided_inside_a_code_point_is_valid_but_incomplete() {
        let mut validator = Utf8Validator::default();
        assert_eq!(validator.push(b"\xF0\x9F\x98"), Ok(()));
        assert!(!validator.is_complete());
        assert_eq!(validator.push_ascii(b""), Ok(()));
        assert_eq!(validator.push_ascii(b"a"), Err(InvalidUtf8));
    }

    proptest! {
        #[test]
        fn the_result_does_not_depend_on_the_division(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                any::<String>().prop_map(String::into_bytes),
            ],
            cuts in proptest::collection::vec(0_usize..8, 0..40),
        ) {
            let mut validator = Utf8Validator::default();
            let mut rest = &bytes[..];
            let mut verdict = Ok(());
            for cut in cuts {
                let (part, after) = rest.split_at(cut.min(rest.len()));
                verdict = verdict.and_then(|()| validator.push(part));
                rest = after;
            }
            verdict = verdict.and_then(|()| validator.push(rest));
            prop_assert_eq!(verdict.is_ok() && validator.is_complete(), str::from_utf8(&bytes).is_ok());
        }
    }
}
