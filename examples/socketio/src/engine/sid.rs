//! Ids of sessions and of sockets.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// The length of an id, in characters.
const LEN: usize = 20;

/// The id of a session or of a socket: 120 bits, as 20 characters that need no escaping.
///
/// Whoever knows the id of a session can use the session: those are random. The id of a socket names its
/// node and its number there, and is no secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sid([u8; LEN]);

impl Sid {
    /// Creates an id that cannot be guessed.
    pub(crate) fn random() -> Self {
        Self::of_bytes(rand::random())
    }

    /// Creates an id of these bytes.
    pub(crate) fn of_bytes(bytes: [u8; LEN / 4 * 3]) -> Self {
        let mut sid = [b'-'; LEN];
        let written = URL_SAFE_NO_PAD.encode_slice(bytes, &mut sid);
        debug_assert_eq!(written, Ok(LEN), "4 characters for each 3 bytes");
        Self(sid)
    }

    /// Returns the bytes that it was created of.
    pub(crate) fn to_bytes(self) -> [u8; LEN / 4 * 3] {
        let mut bytes = [0; LEN / 4 * 3];
        let read = URL_SAFE_NO_PAD.decode_slice(self.0, &mut bytes);
        debug_assert_eq!(read, Ok(bytes.len()), "each character is a digit, and none is left");
        bytes
    }

    /// Parses an id; `None` for what is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let sid: [u8; LEN] = text.as_bytes().try_into().ok()?;
        sid.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)).then_some(Self(sid))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an id is ASCII")
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Redacted, because the id of a session is a secret of its client: prints only its beginning.
impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sid({}...)", &self.as_str()[..4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_id_is_parsed_again_and_differs_from_the_next() {
        let [first, second] = [(); 2].map(|()| Sid::random());
        assert_eq!(Sid::parse(first.as_str()), Some(first));
        assert_ne!(first, second);
        assert_eq!(Sid::of_bytes(first.to_bytes()), first);
        assert!(!format!("{first:?}").contains(first.as_str()));
    }

    #[test]
    fn other_text_is_no_id() {
        for text in ["", "abc", "A1-_A1-_A1-_A1-_A1-", "A1-_A1-_A1-_A1-_A1-__", "A1-_A1-_A1-_A1-_A1/_"] {
            assert_eq!(Sid::parse(text), None, "{text}");
        }
    }
}
