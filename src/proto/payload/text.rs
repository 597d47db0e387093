//! Validated text.

use std::{borrow::Borrow, fmt, hash, ops::Deref, str};

use bytes::Bytes;

/// A string that is cheap to clone: [`Bytes`] that are valid UTF-8.
///
/// It dereferences to [`str`](prim@str), and converts into [`Bytes`] and from [`String`] without a
/// copy. Display prints the string, Debug only its length.
///
/// ```
/// use bytes::Bytes;
/// use fullduplex::Utf8Bytes;
///
/// let text = Utf8Bytes::from("grüezi");
/// assert_eq!(text.len(), 7);
/// assert!(text.starts_with("gr"));
/// assert!(Utf8Bytes::try_from(Bytes::from_static(b"\xFF")).is_err());
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Utf8Bytes(
    /// Always UTF-8: every constructor in this module validates it, or takes it from a `str`.
    Bytes,
);

impl Utf8Bytes {
    /// Creates an empty string.
    pub const fn new() -> Self {
        Self(Bytes::new())
    }

    /// Creates a string from a static one, uncopied.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// Wraps bytes that the `buffer` module has validated.
    ///
    /// Visible only in `proto::payload`, where `buffer` owns both the bytes and their validation
    /// state.
    #[inline]
    pub(super) fn from_validated(bytes: Bytes) -> Self {
        debug_assert!(str::from_utf8(&bytes).is_ok());
        Self(bytes)
    }

    /// Returns the string.
    #[inline]
    pub fn as_str(&self) -> &str {
        // SAFETY: `self.0` is UTF-8, see the field.
        #[allow(unsafe_code, reason = "validated on construction")]
        unsafe {
            str::from_utf8_unchecked(&self.0)
        }
    }

    /// Returns the bytes of the string, which can be cloned without a copy.
    #[inline]
    pub fn as_inner(&self) -> &Bytes {
        &self.0
    }
}

impl Deref for Utf8Bytes {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Utf8Bytes {
    fn as_ref(&self) -> &str {
        self
    }
}

impl AsRef<[u8]> for Utf8Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<str> for Utf8Bytes {
    fn borrow(&self) -> &str {
        self
    }
}

impl hash::Hash for Utf8Bytes {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl PartialEq<str> for Utf8Bytes {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Utf8Bytes {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl From<&str> for Utf8Bytes {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Utf8Bytes {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into())
    }
}

impl From<Utf8Bytes> for Bytes {
    fn from(text: Utf8Bytes) -> Self {
        text.0
    }
}

impl From<Utf8Bytes> for String {
    fn from(text: Utf8Bytes) -> Self {
        text.as_str().to_owned()
    }
}

/// Validates the bytes; the error contains the position of the first invalid one.
impl TryFrom<Bytes> for Utf8Bytes {
    type Error = str::Utf8Error;

    fn try_from(bytes: Bytes) -> Result<Self, Self::Error> {
        if simdutf8::basic::from_utf8(&bytes).is_err() {
            str::from_utf8(&bytes)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// Redacted: prints only the length.
impl fmt::Debug for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Utf8Bytes({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_becomes_bytes_and_back_without_a_copy() {
        let text = String::from("without a copy");
        let at = text.as_ptr();
        let bytes = Bytes::from(Utf8Bytes::from(text));
        assert_eq!(bytes.as_ptr(), at);
        assert_eq!(Utf8Bytes::try_from(bytes).expect("it was a string").as_ptr(), at);
    }

    #[test]
    fn the_error_contains_the_position_of_the_invalid_byte() {
        let error = Utf8Bytes::try_from(Bytes::from_static(b"ab\xED\xA0\x80")).expect_err("a surrogate");
        assert_eq!(error.valid_up_to(), 2);
    }

    #[test]
    fn text_is_borrowed_as_a_string_and_as_bytes() {
        let text = Utf8Bytes::from("text");
        assert_eq!(AsRef::<str>::as_ref(&text), "text");
        assert_eq!(AsRef::<[u8]>::as_ref(&text), b"text");
        assert_eq!(Borrow::<str>::borrow(&text), "text");
    }

    #[test]
    fn text_is_compared_with_strings() {
        let text = Utf8Bytes::from("text");
        assert!(text == *"text" && text != *"other");
        assert!(text == "text" && text != "other");
    }

    #[test]
    fn text_is_found_by_strings_in_maps() {
        let map = std::collections::HashMap::from([(Utf8Bytes::from("a"), 1), (Utf8Bytes::from("b"), 2)]);
        assert_eq!((map.get("a"), map.get("b"), map.get("c")), (Some(&1), Some(&2), None));
    }
}
