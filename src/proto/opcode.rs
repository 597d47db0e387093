//! Opcodes.

/// The longest payload of a control frame, in bytes (RFC 6455 section 5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// The kind of a frame: the four low bits of its first byte.
///
/// Only the six opcodes that RFC 6455 defines are values of this type; the ten reserved ones are
/// not.
///
/// RFC 6455 sections 5.2 and 11.8.
///
/// ```
/// use fullduplex::proto::Opcode;
///
/// assert_eq!(Opcode::from_bits(0x9), Some(Opcode::Ping));
/// assert_eq!(Opcode::from_bits(0x3), None);
/// assert!(Opcode::Ping.is_control());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of a message.
    Continuation = 0x0,
    /// The first, or only, frame of a text message.
    Text = 0x1,
    /// The first, or only, frame of a binary message.
    Binary = 0x2,
    /// A Close, which starts or completes the closing handshake.
    Close = 0x8,
    /// A ping, which is answered with a pong.
    Ping = 0x9,
    /// A pong: the answer to a ping, or unsolicited.
    Pong = 0xA,
}

impl Opcode {
    /// Returns the opcode with these four bits; `None` for a reserved one.
    #[inline]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    /// Returns the four bits of the opcode.
    #[inline]
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// Returns whether this is the opcode of a control frame (RFC 6455 section 5.5): Close, Ping or
    /// Pong.
    #[inline]
    pub const fn is_control(self) -> bool {
        self.bits() & 0x8 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defined_opcodes_round_trip_and_reserved_ones_are_rejected() {
        for bits in 0..=0xFF {
            match Opcode::from_bits(bits) {
                Some(opcode) => assert!(matches!(bits, 0x0..=0x2 | 0x8..=0xA) && opcode.bits() == bits),
                None => assert!(matches!(bits, 0x3..=0x7 | 0xB..), "{bits}"),
            }
        }
    }
}
