//! Where a message is in the history of its room.

use std::{fmt, str::FromStr};

/// The position of a message in the history of a room.
///
/// Offsets increase from one message of a room to the next, and need not be contiguous. The epoch
/// changes when a history begins anew, so that an offset of an earlier history is not taken for one
/// of this.
///
/// A position is printed as `epoch-offset`, both in hexadecimal digits, and parsed from that. A
/// program gives it to clients in this form, because JavaScript does not represent all 64-bit
/// numbers.
///
/// ```
/// use fullduplex::hub::Position;
///
/// let position = Position { epoch: 0xAB, offset: 17 };
/// assert_eq!(position.to_string(), "ab-11");
/// assert_eq!("ab-11".parse(), Ok(position));
/// assert!("ab".parse::<Position>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// Identifies the history.
    pub epoch: u64,
    /// The place in the history. The first message is not at 0.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.epoch, self.offset)
    }
}

impl FromStr for Position {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (epoch, offset) = parse_pair(text)?;
        Ok(Self { epoch, offset })
    }
}

/// Identifies a member of a hub, among the members of all hubs on the same backplane.
///
/// It is printed as two numbers in hexadecimal digits, with `-` between them, and parsed from that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId {
    /// Identifies the hub: a random number that each hub has chosen for itself.
    pub node: u64,
    /// Identifies the member of that hub.
    pub serial: u64,
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.node, self.serial)
    }
}

impl FromStr for MemberId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (node, serial) = parse_pair(text)?;
        Ok(Self { node, serial })
    }
}

/// The text is not a [`Position`] or [`MemberId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not two hexadecimal numbers with a hyphen between them")]
pub struct InvalidId;

fn parse_pair(text: &str) -> Result<(u64, u64), InvalidId> {
    let (first, second) = text.split_once('-').ok_or(InvalidId)?;
    Ok((parse_hex(first)?, parse_hex(second)?))
}

fn parse_hex(text: &str) -> Result<u64, InvalidId> {
    // `from_str_radix` accepts a sign.
    if !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(InvalidId);
    }
    u64::from_str_radix(text, 16).map_err(|_invalid| InvalidId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_parsed() {
        for (first, second) in [(0, 0), (1, u64::MAX), (u64::MAX, 0x0123_4567)] {
            let position = Position { epoch: first, offset: second };
            assert_eq!(position.to_string().parse(), Ok(position));
            let member = MemberId { node: first, serial: second };
            assert_eq!(member.to_string().parse(), Ok(member));
        }
    }

    #[test]
    fn row_96_other_text_is_invalid() {
        for text in
            ["", "-", "1-", "-1", "1-+1", "1--1", "1-1-1", "G-1", "A-1", "1 -1", "10000000000000000-1"]
        {
            assert_eq!(text.parse::<Position>(), Err(InvalidId), "{text}");
        }
    }
}
