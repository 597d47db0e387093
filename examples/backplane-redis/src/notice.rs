//! What is published on channels.

use fullduplex::hub::MemberId;

use crate::cursor::Head;

/// What is published on channels. Scripts publish the first three.
///
/// The form is a letter and fields with spaces between them; the last field is the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice<'a> {
    /// A message was stored.
    Stored { head: Head, record: &'a [u8] },
    /// A member has entered.
    Entered { member: MemberId, data: &'a [u8] },
    /// A member has left.
    Left { member: MemberId, data: &'a [u8] },
    /// A message that is not stored, for the members of a room or all members.
    Transient { node: u64, record: &'a [u8] },
    /// A message that is not stored, for one member.
    Private { member: MemberId, record: &'a [u8] },
    /// A message for the nodes themselves.
    Signal { node: u64, record: &'a [u8] },
}

impl<'a> Notice<'a> {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let (fields, rest) = match self {
            Self::Stored { head: Head { epoch, offset, stamp }, record } => {
                (format!("m {epoch:016x} {offset} {stamp} "), record)
            }
            Self::Entered { member, data } => (format!("e {member} "), data),
            Self::Left { member, data } => (format!("l {member} "), data),
            Self::Transient { node, record } => (format!("t {node:x} "), record),
            Self::Private { member, record } => (format!("p {member} "), record),
            Self::Signal { node, record } => (format!("s {node:x} "), record),
        };
        [fields.as_bytes(), rest].concat()
    }

    /// Returns `None` for bytes that are not in this form.
    pub(crate) fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = Fields(bytes);
        Some(match rest.field()? {
            "m" => {
                let epoch = u64::from_str_radix(rest.field()?, 16).ok()?;
                let head = Head { epoch, offset: rest.number()?, stamp: rest.number()? };
                Self::Stored { head, record: rest.0 }
            }
            "e" => Self::Entered { member: rest.member()?, data: rest.0 },
            "l" => Self::Left { member: rest.member()?, data: rest.0 },
            "t" => Self::Transient { node: rest.node()?, record: rest.0 },
            "p" => Self::Private { member: rest.member()?, record: rest.0 },
            "s" => Self::Signal { node: rest.node()?, record: rest.0 },
            _ => return None,
        })
    }
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<&'a str> {
        let end = self.0.iter().position(|byte| *byte == b' ')?;
        let field = std::str::from_utf8(&self.0[..end]).ok()?;
        self.0 = &self.0[end + 1..];
        Some(field)
    }

    fn number(&mut self) -> Option<u64> {
        self.field()?.parse().ok()
    }

    fn node(&mut self) -> Option<u64> {
        u64::from_str_radix(self.field()?, 16).ok()
    }

    fn member(&mut self) -> Option<MemberId> {
        self.field()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBER: MemberId = MemberId { node: 0xAB, serial: 7 };

    #[test]
    fn notices_are_decoded_as_they_were_encoded() {
        let head = Head { epoch: u64::MAX, offset: 17, stamp: 1_700_000_000_000_000 };
        let rest: &[u8] = b"any \xFF bytes";
        for notice in [
            Notice::Stored { head, record: rest },
            Notice::Entered { member: MEMBER, data: rest },
            Notice::Left { member: MEMBER, data: b"" },
            Notice::Transient { node: u64::MAX, record: rest },
            Notice::Private { member: MEMBER, record: rest },
            Notice::Signal { node: 0, record: rest },
        ] {
            assert_eq!(Notice::from_bytes(&notice.to_bytes()), Some(notice));
        }
    }

    #[test]
    fn other_bytes_are_no_notice() {
        for bytes in [&b""[..], b"m", b"m 1 2", b"m x 1 2 r", b"e 1 d", b"x 1 r", b"\xFF 1 r", b"t  r"] {
            assert_eq!(Notice::from_bytes(bytes), None, "{bytes:?}");
        }
    }
}
