//! Packets of Engine.IO in the form of text.

/// A packet of Engine.IO that is text: a digit, and data.
///
/// Binary data has no digit. It is a packet of its own in both transports: see
/// [`Piece`](super::Piece).
///
/// ```
/// use socketio::engine::Packet;
///
/// assert_eq!(Packet::parse("4hello"), Ok(Packet::Message("hello")));
/// assert_eq!(Packet::Ping("probe").to_string(), "2probe");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// The parameters of the session, as JSON. Only servers send it.
    Open(&'a str),
    /// The end of the session.
    Close,
    /// A ping of the heartbeat, or the client's `probe` of a transport.
    Ping(&'a str),
    /// The answer to a ping, with its data.
    Pong(&'a str),
    /// Data for the protocol above.
    Message(&'a str),
    /// The end of an upgrade. Only clients send it.
    Upgrade,
    /// Nothing: it ends a request that waits for data.
    Noop,
}

/// Text that is not a packet of Engine.IO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPacket {
    /// There is not even a type.
    #[error("an empty packet")]
    Empty,
    /// The first character is no digit from 0 to 6.
    #[error("an unknown type of packet")]
    UnknownType,
    /// A packet of a type that has no data has some.
    #[error("data in a packet that has none")]
    UnexpectedData,
}

impl<'a> Packet<'a> {
    /// Parses a packet.
    ///
    /// # Errors
    /// Returns what is wrong with it.
    pub fn parse(text: &'a str) -> Result<Self, InvalidPacket> {
        let first = text.bytes().next().ok_or(InvalidPacket::Empty)?;
        // A character of one byte, in all cases in which this is not used as data of another type.
        let data = || &text[1..];
        let without_data = |packet| match text.len() {
            1 => Ok(packet),
            _ => Err(InvalidPacket::UnexpectedData),
        };
        match first {
            b'0' => Ok(Self::Open(data())),
            b'1' => without_data(Self::Close),
            b'2' => Ok(Self::Ping(data())),
            b'3' => Ok(Self::Pong(data())),
            b'4' => Ok(Self::Message(data())),
            b'5' => without_data(Self::Upgrade),
            b'6' => without_data(Self::Noop),
            _ => Err(InvalidPacket::UnknownType),
        }
    }
}

/// Writes the packet as it is transmitted.
impl std::fmt::Display for Packet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open(data) => write!(f, "0{data}"),
            Self::Close => f.write_str("1"),
            Self::Ping(data) => write!(f, "2{data}"),
            Self::Pong(data) => write!(f, "3{data}"),
            Self::Message(data) => write!(f, "4{data}"),
            Self::Upgrade => f.write_str("5"),
            Self::Noop => f.write_str("6"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_type_has_its_digit() {
        for (text, packet) in [
            ("0{}", Packet::Open("{}")),
            ("1", Packet::Close),
            ("2", Packet::Ping("")),
            ("2probe", Packet::Ping("probe")),
            ("3", Packet::Pong("")),
            ("3probe", Packet::Pong("probe")),
            ("4", Packet::Message("")),
            ("4ü\u{1e}", Packet::Message("ü\u{1e}")),
            ("5", Packet::Upgrade),
            ("6", Packet::Noop),
        ] {
            assert_eq!(Packet::parse(text), Ok(packet));
            assert_eq!(packet.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        for (text, error) in [
            ("", InvalidPacket::Empty),
            ("7", InvalidPacket::UnknownType),
            ("abc", InvalidPacket::UnknownType),
            ("ü", InvalidPacket::UnknownType),
            ("bAQID", InvalidPacket::UnknownType),
            ("\u{1e}", InvalidPacket::UnknownType),
            ("1x", InvalidPacket::UnexpectedData),
            ("5probe", InvalidPacket::UnexpectedData),
            ("6 ", InvalidPacket::UnexpectedData),
        ] {
            assert_eq!(Packet::parse(text), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_parsed_is_written_as_it_was(text in ".{0,20}|[0-7].{0,20}") {
            if let Ok(packet) = Packet::parse(&text) {
                prop_assert_eq!(packet.to_string(), text);
            }
        }
    }
}
