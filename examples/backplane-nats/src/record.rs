//! Messages as they are stored, and how they are chained.
//!
//! The offset of a message is its sequence in the stream, which all rooms share. Each message has the
//! offsets of those before it in its room, the last one first. It is stored only if the first of them
//! is the last message of the room, so a message that follows another one names it. This shows what
//! is missing, and is the way back through a history.

use async_nats::HeaderMap;
use bytes::Bytes;

/// How many offsets of messages before it a message has.
pub(crate) const BACK: usize = 32;

/// The offsets of messages before this one, the last one first.
const HEADER_BACK: &str = "Fullduplex-Back";

/// A random number, which tells apart two messages that got the same offset, after the server has lost
/// the first one.
const HEADER_NONCE: &str = "Fullduplex-Nonce";

/// A message as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) nonce: u64,
    pub(crate) back: Vec<u64>,
    pub(crate) record: Bytes,
}

/// The last message that a node has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) epoch: u64,
    /// 0 before the first message.
    pub(crate) offset: u64,
    /// `None` if the node has only skipped it.
    pub(crate) nonce: Option<u64>,
}

impl Entry {
    /// Returns the offset of the message before it; 0 if it is the first one.
    pub(crate) fn previous(&self) -> u64 {
        self.back.first().copied().unwrap_or(0)
    }

    /// Returns the offsets of messages before the one that follows this one.
    pub(crate) fn back_of_next(&self) -> Vec<u64> {
        next_back(self.offset, &self.back)
    }

    /// Returns `None` if the message is not one of this program.
    pub(crate) fn of(offset: u64, headers: &HeaderMap, record: Bytes) -> Option<Self> {
        let back = headers.get(HEADER_BACK)?.as_str().split_ascii_whitespace();
        let back = back.map(|offset| offset.parse().ok()).collect::<Option<Vec<u64>>>()?;
        let nonce = u64::from_str_radix(headers.get(HEADER_NONCE)?.as_str(), 16).ok()?;
        Some(Self { offset, nonce, back, record })
    }
}

/// Returns the offsets for the message that follows one.
pub(crate) fn next_back(offset: u64, back: &[u64]) -> Vec<u64> {
    std::iter::once(offset).chain(back.iter().copied()).take(BACK).collect()
}

/// Returns the headers of a message that follows others.
pub(crate) fn headers(back: &[u64]) -> HeaderMap {
    let back: Vec<String> = back.iter().map(u64::to_string).collect();
    let mut headers = HeaderMap::new();
    headers.insert(HEADER_BACK, back.join(" "));
    headers.insert(HEADER_NONCE, format!("{:x}", rand::random::<u64>()));
    headers
}

impl Cursor {
    /// Returns the cursor before the first message of a history.
    pub(crate) fn begin(epoch: u64) -> Self {
        Self { epoch, offset: 0, nonce: None }
    }

    pub(crate) fn of(epoch: u64, entry: &Entry) -> Self {
        Self { epoch, offset: entry.offset, nonce: Some(entry.nonce) }
    }

    /// Returns whether this entry is the one that was passed.
    pub(crate) fn is(&self, entry: &Entry) -> bool {
        self.offset == entry.offset && self.nonce.is_none_or(|nonce| nonce == entry.nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_offsets_of_those_before_it() {
        let mut back = Vec::new();
        for offset in (10..1000).step_by(10) {
            let entry = Entry::of(offset, &headers(&back), Bytes::new()).expect("valid");
            assert_eq!(entry.back, back);
            assert_eq!(entry.previous(), if offset == 10 { 0 } else { offset - 10 });
            back = entry.back_of_next();
            assert!(back.len() <= BACK && back[0] == offset);
        }
        assert_eq!(back.len(), BACK);
    }

    #[test]
    fn a_message_of_another_program_is_none() {
        assert_eq!(Entry::of(1, &HeaderMap::new(), Bytes::new()), None);
        let mut invalid = headers(&[1]);
        invalid.insert(HEADER_BACK, "one");
        assert_eq!(Entry::of(1, &invalid, Bytes::new()), None);
    }

    #[test]
    fn a_message_in_the_place_of_another_is_told_apart() {
        let passed = Entry::of(7, &headers(&[]), Bytes::new()).expect("valid");
        let other = Entry::of(7, &headers(&[]), Bytes::new()).expect("valid");
        let cursor = Cursor::of(1, &passed);
        assert!(cursor.is(&passed) && !cursor.is(&other));
        assert!(Cursor { nonce: None, ..cursor }.is(&other));
    }
}
