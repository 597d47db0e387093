//! Frame headers.

use super::{
    error::ProtocolError,
    opcode::{MAX_CONTROL_PAYLOAD, Opcode},
    payload::{MaskKey, MessageKind, append_start},
};

/// The longest header, in bytes: two, eight of length, four of masking key.
pub const MAX_HEADER: usize = 14;

/// A frame header.
///
/// RFC 6455 section 5.2. A parsed `Header` is well-formed: its opcode is defined, its length was in
/// the shortest form and is below 2^63, a control frame is neither fragmented nor longer than 125
/// bytes, and RSV2 and RSV3 were clear. [`ReceivePath`](super::ReceivePath) checks what depends on
/// the connection: masking, RSV1, the order of fragments, and limits.
///
/// ```
/// use fullduplex::proto::{Header, Opcode};
///
/// let (header, len) = Header::parse(&[0x82, 0x7E, 0x01, 0x00])?.expect("a whole header");
/// assert_eq!((header.fin, header.opcode, header.payload_len, len), (true, Opcode::Binary, 256, 4));
/// assert_eq!(*header.encode(), [0x82, 0x7E, 0x01, 0x00]);
/// assert_eq!(Header::parse(&[0x82, 0x7E, 0x01])?, None, "a byte is missing");
/// # Ok::<(), fullduplex::proto::ProtocolError>(())
/// ```
///
/// To send a frame, create a header with [`new`](Self::new) and set its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Header {
    /// Whether this is the last or only frame of its message.
    pub fin: bool,
    /// The first reserved bit, which an extension may define.
    pub rsv1: bool,
    /// The kind of the frame.
    pub opcode: Opcode,
    /// The masking key, if the frame is masked.
    pub mask: Option<MaskKey>,
    /// The length of the payload data, in bytes; below 2^63.
    pub payload_len: u64,
}

impl Header {
    /// Creates the header of an unmasked frame that is a whole message or a control frame.
    ///
    /// ```
    /// use fullduplex::proto::{Header, MaskKey, Opcode};
    ///
    /// let mut header = Header::new(Opcode::Text, 5);
    /// assert_eq!(*header.encode(), [0x81, 5]);
    /// header.fin = false;
    /// header.mask = Some(MaskKey::from([1, 2, 3, 4]));
    /// assert_eq!(*header.encode(), [0x01, 0x85, 1, 2, 3, 4]);
    /// ```
    pub const fn new(opcode: Opcode, payload_len: u64) -> Self {
        Self { fin: true, rsv1: false, opcode, mask: None, payload_len }
    }

    /// Creates the header of an uncompressed message in one frame, or of a control frame. `mask` is
    /// the key, if this end masks.
    #[inline]
    pub(super) fn of(opcode: Opcode, payload_len: usize, mask: Option<MaskKey>) -> Self {
        debug_assert!(!opcode.is_control() || payload_len <= MAX_CONTROL_PAYLOAD);
        Self { mask, ..Self::new(opcode, payload_len as u64) }
    }

    /// Parses a header at the start of `input`; returns it with its length in bytes, or `None` if
    /// more input is needed.
    ///
    /// An error is returned as soon as the invalid byte is in the input.
    ///
    /// # Errors
    /// The header is malformed, as the documentation of the type lists it.
    #[inline]
    pub fn parse(input: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some(&first) = input.first() else { return Ok(None) };
        // RFC 6455 section 5.2: reserved bits are 0 unless an extension defines them; none defines
        // RSV2 or RSV3.
        if first & 0x30 != 0 {
            return Err(ProtocolError::ReservedBit);
        }
        let Some(opcode) = Opcode::from_bits(first & 0x0F) else {
            return Err(ProtocolError::ReservedOpcode(first & 0x0F));
        };
        let (fin, rsv1) = (first & 0x80 != 0, first & 0x40 != 0);
        // RFC 6455 section 5.5: control frames are never fragmented.
        if opcode.is_control() && !fin {
            return Err(ProtocolError::FragmentedControlFrame);
        }
        let Some(&second) = input.get(1) else { return Ok(None) };
        let len_code = second & 0x7F;
        // RFC 6455 section 5.5: control frames have at most 125 bytes.
        if opcode.is_control() && usize::from(len_code) > MAX_CONTROL_PAYLOAD {
            return Err(ProtocolError::ControlFrameTooLong);
        }
        let Some((payload_len, mut at)) = parse_len(len_code, input)? else { return Ok(None) };
        let mut mask = None;
        if second & 0x80 != 0 {
            let Some(key) = input.get(at..).and_then(|rest| rest.first_chunk()) else { return Ok(None) };
            mask = Some(MaskKey::from(*key));
            at += 4;
        }
        Ok(Some((Self { fin, rsv1, opcode, mask, payload_len }, at)))
    }

    /// Encodes the header, with its length in the shortest form.
    #[inline]
    pub fn encode(&self) -> EncodedHeader {
        let (bits, len) = self.to_bits();
        let [bytes @ .., _, _] = bits.to_le_bytes();
        EncodedHeader { bytes, len }
    }

    /// Appends the header to a buffer.
    #[inline(always)]
    pub(super) fn append_to(&self, buffer: &mut Vec<u8>) {
        let (bytes, len) = self.to_bytes();
        append_start(bytes, len, buffer);
    }

    /// Returns the header, followed by zeros, and its length.
    #[inline(always)]
    pub(super) fn to_bytes(self) -> ([u8; 16], usize) {
        let (bits, len) = self.to_bits();
        (bits.to_le_bytes(), usize::from(len))
    }

    /// Returns the header's bytes as one number, the first byte least significant, and how many
    /// there are. They are computed in registers and stored at once.
    #[inline(always)]
    fn to_bits(self) -> (u128, u8) {
        let first = u128::from(self.fin) << 7 | u128::from(self.rsv1) << 6 | u128::from(self.opcode.bits());
        let (len_bits, mut len) = match self.payload_len {
            len @ 0..=125 => (u128::from(len), 2),
            len @ 126..=0xFFFF => (126 | u128::from((len as u16).swap_bytes()) << 8, 4),
            len => (127 | u128::from(len.swap_bytes()) << 8, 10),
        };
        let mut bits = first | len_bits << 8;
        if let Some(key) = self.mask {
            bits |= 0x8000 | u128::from(u32::from_le_bytes(key.to_bytes())) << (8 * len);
            len += 4;
        }
        (bits, len)
    }

    /// Returns the length of the header of a frame with this payload.
    #[inline]
    pub(crate) fn encoded_len(payload_len: usize, masked: bool) -> usize {
        let len = match payload_len {
            0..=125 => 2,
            126..=0xFFFF => 4,
            _ => 10,
        };
        len + if masked { 4 } else { 0 }
    }
}

/// The header of a message in one frame of less than 64 KiB, which most are. It is parsed with few
/// branches.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlainHeader {
    pub(super) kind: MessageKind,
    pub(super) mask: Option<MaskKey>,
    pub(super) payload_len: usize,
}

impl PlainHeader {
    /// Parses it at the start of `input`; returns it with its length in bytes.
    ///
    /// `None`: it is a different header, or invalid, or incomplete. [`Header::parse`] distinguishes
    /// these.
    #[inline]
    pub(super) fn parse(input: &[u8]) -> Option<(Self, usize)> {
        let &[first, second, ..] = input else { return None };
        let kind = match first {
            0x81 => MessageKind::Text,
            0x82 => MessageKind::Binary,
            _ => return None,
        };
        let (payload_len, at) = match second & 0x7F {
            126 => {
                let len = u16::from_be_bytes(*input.get(2..)?.first_chunk()?);
                if !is_shortest(u64::from(len), 126) {
                    return None;
                }
                (usize::from(len), 4)
            }
            127 => return None,
            short => (usize::from(short), 2),
        };
        if second & 0x80 == 0 {
            return Some((Self { kind, mask: None, payload_len }, at));
        }
        let key = input.get(at..)?.first_chunk::<4>()?;
        Some((Self { kind, mask: Some(MaskKey::from(*key)), payload_len }, at + 4))
    }
}

/// Returns whether a length is in its shortest form; lengths below `least` have a shorter one.
// RFC 6455 section 5.2: the minimal number of bytes is used for the length.
#[inline(always)]
const fn is_shortest(len: u64, least: u64) -> bool {
    len >= least
}

/// Parses the payload length; returns it with the index at which it ends.
#[inline]
fn parse_len(len_code: u8, input: &[u8]) -> Result<Option<(u64, usize)>, ProtocolError> {
    let (len, at, least) = match len_code {
        126 => {
            let Some(bytes) = input.get(2..).and_then(|rest| rest.first_chunk()) else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*bytes)), 4, 126)
        }
        127 => {
            let Some(bytes) = input.get(2..).and_then(|rest| rest.first_chunk()) else { return Ok(None) };
            (u64::from_be_bytes(*bytes), 10, 1 << 16)
        }
        short => return Ok(Some((u64::from(short), 2))),
    };
    // RFC 6455 section 5.2: the most significant bit of a 64-bit length is 0.
    if len >> 63 != 0 {
        return Err(ProtocolError::LengthTooLarge);
    }
    if !is_shortest(len, least) {
        return Err(ProtocolError::LengthNotMinimal);
    }
    Ok(Some((len, at)))
}

/// An encoded header. It dereferences to its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodedHeader {
    bytes: [u8; MAX_HEADER],
    len: u8,
}

impl EncodedHeader {
    /// An empty header.
    pub(super) const NONE: Self = Self { bytes: [0; MAX_HEADER], len: 0 };

    /// Appends the header to a buffer.
    #[inline]
    pub(super) fn append_to(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(self);
    }
}

impl std::ops::Deref for EncodedHeader {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(input: &[u8]) -> ProtocolError {
        Header::parse(input).expect_err("malformed")
    }

    /// RFC 6455 section 5.2.
    #[test]
    fn lengths_are_in_their_shortest_form() {
        assert_eq!(error(&[0x82, 126, 0, 125]), ProtocolError::LengthNotMinimal);
        assert_eq!(error(&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]), ProtocolError::LengthNotMinimal);
        assert_eq!(error(&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]), ProtocolError::LengthTooLarge);
        for (len, encoded) in [(125, 2), (126, 4), (0xFFFF, 4), (0x1_0000, 10)] {
            let header =
                Header { fin: true, rsv1: false, opcode: Opcode::Text, mask: None, payload_len: len };
            assert_eq!(header.encode().len(), encoded);
            assert_eq!(Header::encoded_len(len as usize, false), encoded);
        }
    }

    #[test]
    fn a_plain_header_has_a_length_in_its_shortest_form_below_64_kib() {
        let len = |input: &[u8]| PlainHeader::parse(input).map(|(header, at)| (header.payload_len, at));
        assert_eq!(len(&[0x82, 125]), Some((125, 2)));
        assert_eq!(len(&[0x82, 126, 0, 125]), None);
        assert_eq!(len(&[0x82, 126, 0, 126]), Some((126, 4)));
        assert_eq!(len(&[0x82, 126, 0xFF, 0xFF]), Some((0xFFFF, 4)));
        assert_eq!(len(&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]), None);
    }

    /// RFC 6455 sections 5.2 and 5.5.
    #[test]
    fn a_header_fails_at_its_first_invalid_byte() {
        assert_eq!(error(&[0x83]), ProtocolError::ReservedOpcode(3));
        assert_eq!(error(&[0xA1]), ProtocolError::ReservedBit);
        assert_eq!(error(&[0x91]), ProtocolError::ReservedBit);
        assert_eq!(error(&[0x09]), ProtocolError::FragmentedControlFrame);
        assert_eq!(error(&[0x88, 126]), ProtocolError::ControlFrameTooLong);
    }

    proptest! {
        #[test]
        fn an_encoded_header_is_parsed_and_its_prefixes_are_incomplete(
            fin: bool, rsv1: bool, bits in 0_u8..16, key: Option<[u8; 4]>,
            payload_len in prop_oneof![0_u64..300, 65_000_u64..66_000, 0..=i64::MAX as u64],
        ) {
            let Some(opcode) = Opcode::from_bits(bits) else { return Ok(()) };
            let control = opcode.is_control();
            let header = Header {
                fin: fin || control,
                rsv1,
                opcode,
                mask: key.map(MaskKey::from),
                payload_len: if control { payload_len % 126 } else { payload_len },
            };
            let encoded = header.encode();
            prop_assert_eq!(Header::parse(&encoded), Ok(Some((header, encoded.len()))));
            let mut buffer = b"before".to_vec();
            header.append_to(&mut buffer);
            prop_assert_eq!(buffer, [b"before", &encoded[..]].concat());
            for len in 0..encoded.len() {
                prop_assert_eq!(Header::parse(&encoded[..len]), Ok(None));
            }
        }
    }
}
