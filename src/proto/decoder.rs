//! Bytes to frames.

use super::{
    error::ProtocolError,
    header::{Header, MAX_HEADER, PlainHeader},
    opcode::Opcode,
    payload::MaskKey,
    role::Role,
};

/// Finds the frames in a stream of bytes. It keeps at most thirteen bytes of a header.
#[derive(Debug)]
pub(super) struct Decoder {
    state: State,
}

/// What the receiver expects of a header, by its role and what was negotiated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// The end that receives.
    pub(super) role: Role,
    /// Whether a negotiated extension defines RSV1.
    pub(super) rsv1: bool,
}

/// ```text
///            whole header with payload data missing
///  Header ────────────────────────────────────────────▶ Payload
///    ▲                                                     │
///    └─────────────────────────────────────────────────────┘
///                    last byte of the payload data
///
///  from each of them, when nothing more is received: Ended
/// ```
#[derive(Debug)]
enum State {
    /// Between frames, or inside a header, whose first bytes are kept.
    Header { carried: [u8; MAX_HEADER - 1], len: u8 },
    /// Inside payload data.
    Payload(Frame),
    /// Nothing more is received, so that the fast path fails without a check of its own.
    Ended,
}

/// A frame whose payload data is incomplete.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
    /// The key for the next byte of payload data.
    pub(super) mask: Option<MaskKey>,
    /// The number of bytes of payload data that are missing.
    pub(super) remaining: u64,
}

impl Frame {
    /// Returns how many of the next `len` bytes belong to the frame.
    pub(super) fn take(&self, len: usize) -> usize {
        usize::try_from(self.remaining).map_or(len, |rest| rest.min(len))
    }
}

const BETWEEN_FRAMES: State = State::Header { carried: [0; MAX_HEADER - 1], len: 0 };

impl Decoder {
    pub(super) fn new() -> Self {
        Self { state: BETWEEN_FRAMES }
    }

    /// Parses a header, or a part of one; returns how much of the input was consumed. Must be
    /// called between frames.
    #[inline]
    pub(super) fn receive_header(
        &mut self,
        input: &[u8],
        expected: Expected,
    ) -> Result<(Option<Header>, usize), ProtocolError> {
        let State::Header { len: 0, .. } = self.state else {
            return self.receive_rest_of_header(input, expected);
        };
        match Header::parse(input)? {
            Some((header, len)) => {
                expected.check(&header)?;
                Ok((Some(header), len))
            }
            None => Ok((None, self.carry(input))),
        }
    }

    /// Returns the header at the start of the input, if it is a plain one, and masked as expected.
    #[inline]
    pub(super) fn plain_header(&self, input: &[u8], expected: Expected) -> Option<(PlainHeader, usize)> {
        let State::Header { len: 0, .. } = self.state else { return None };
        let (header, len) = PlainHeader::parse(input)?;
        expected.check_mask(header.mask.is_some()).is_ok().then_some((header, len))
    }

    /// Records that the payload data of this header is incomplete.
    pub(super) fn begin_payload(&mut self, header: &Header) -> Frame {
        let frame = Frame {
            opcode: header.opcode,
            fin: header.fin,
            mask: header.mask,
            remaining: header.payload_len,
        };
        self.state = State::Payload(frame);
        frame
    }

    /// Records that `len` more bytes of payload data were received; returns whether the frame is
    /// complete.
    pub(super) fn consume(&mut self, len: usize) -> bool {
        let State::Payload(frame) = &mut self.state else { return true };
        frame.remaining = frame.remaining.saturating_sub(len as u64);
        frame.mask = frame.mask.map(|key| key.after(len));
        let whole = frame.remaining == 0;
        if whole {
            self.state = BETWEEN_FRAMES;
        }
        whole
    }

    /// Ends decoding. The first bytes of an incomplete header are kept.
    pub(super) fn end(&mut self) {
        if self.carried().is_empty() {
            self.state = State::Ended;
        }
    }

    /// Returns the frame whose payload data is incomplete.
    #[inline]
    pub(super) fn frame(&self) -> Option<Frame> {
        match self.state {
            State::Payload(frame) => Some(frame),
            State::Header { .. } | State::Ended => None,
        }
    }

    /// Returns the first bytes of an incomplete header.
    pub(super) fn carried(&self) -> &[u8] {
        match &self.state {
            State::Header { carried, len } => &carried[..usize::from(*len)],
            State::Payload(_) | State::Ended => &[],
        }
    }

    #[cold]
    fn carry(&mut self, input: &[u8]) -> usize {
        if let State::Header { carried, len } = &mut self.state {
            let start = usize::from(*len);
            carried[start..start + input.len()].copy_from_slice(input);
            *len += input.len() as u8;
        }
        input.len()
    }

    #[cold]
    fn receive_rest_of_header(
        &mut self,
        input: &[u8],
        expected: Expected,
    ) -> Result<(Option<Header>, usize), ProtocolError> {
        let mut bytes = [0; MAX_HEADER];
        let carried = self.carried();
        let start = carried.len();
        bytes[..start].copy_from_slice(carried);
        let len = MAX_HEADER.min(start + input.len());
        bytes[start..len].copy_from_slice(&input[..len - start]);
        match Header::parse(&bytes[..len])? {
            Some((header, len)) => {
                expected.check(&header)?;
                self.state = BETWEEN_FRAMES;
                Ok((Some(header), len - start))
            }
            // No header is longer than `MAX_HEADER`, so all of the input is part of this one.
            None => Ok((None, self.carry(input))),
        }
    }
}

impl Expected {
    /// Checks that the frame is masked if the peer masks, and only then.
    #[inline(always)]
    fn check_mask(self, masked: bool) -> Result<(), ProtocolError> {
        // RFC 6455 section 5.1: a server closes the connection on a frame that is not masked, a
        // client on one that is.
        match (self.role.peer().masks(), masked) {
            (true, false) => Err(ProtocolError::UnmaskedFrame),
            (false, true) => Err(ProtocolError::MaskedFrame),
            _ => Ok(()),
        }
    }

    #[inline]
    fn check(self, header: &Header) -> Result<(), ProtocolError> {
        self.check_mask(header.mask.is_some())?;
        // RFC 6455 section 5.2: RSV1 is 0 unless negotiated; RFC 7692 section 6.1: only the first
        // frame of a message has it.
        let may_have_rsv1 = self.rsv1 && matches!(header.opcode, Opcode::Text | Opcode::Binary);
        if header.rsv1 && !may_have_rsv1 {
            return Err(ProtocolError::ReservedBit);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: Expected = Expected { role: Role::Server, rsv1: false };
    const CLIENT: Expected = Expected { role: Role::Client, rsv1: false };

    /// Reads a header that has to be complete.
    fn header(input: &[u8], expected: Expected) -> Result<Header, ProtocolError> {
        let (header, _) = Decoder::new().receive_header(input, expected)?;
        Ok(header.expect("complete"))
    }

    /// RFC 6455 section 5.1.
    #[test]
    fn frames_from_a_client_are_masked_and_frames_from_a_server_are_not() {
        let (masked, unmasked) = (b"\x81\x81\x01\x02\x03\x04", b"\x81\x01");
        assert_eq!(header(unmasked, SERVER), Err(ProtocolError::UnmaskedFrame));
        assert_eq!(header(masked, CLIENT), Err(ProtocolError::MaskedFrame));
        assert!(header(masked, SERVER).is_ok() && header(unmasked, CLIENT).is_ok());
        let fast = |input: &[u8], expected| Decoder::new().plain_header(input, expected).is_some();
        assert!(fast(masked, SERVER) && fast(unmasked, CLIENT));
        assert!(!fast(unmasked, SERVER) && !fast(masked, CLIENT), "the fast path enforces the same rule");
    }

    /// RFC 6455 section 5.2.
    #[test]
    fn a_header_may_be_divided_anywhere() {
        let bytes = b"\x82\xFF\x00\x00\x00\x00\x00\x01\x00\x00\x01\x02\x03\x04";
        for cut in 1..bytes.len() {
            let mut decoder = Decoder::new();
            assert_eq!(decoder.receive_header(&bytes[..cut], SERVER), Ok((None, cut)));
            assert_eq!(decoder.carried(), &bytes[..cut]);
            let (header, len) = decoder.receive_header(&bytes[cut..], SERVER).expect("valid");
            assert_eq!((header.expect("complete").payload_len, len), (65_536, bytes.len() - cut));
            assert_eq!(decoder.carried(), b"");
        }
    }

    #[test]
    fn the_fast_path_skips_a_header_whose_first_bytes_are_carried() {
        let mut decoder = Decoder::new();
        decoder.receive_header(b"\x81", CLIENT).expect("valid so far");
        assert!(decoder.plain_header(b"\x81\x00", CLIENT).is_none());
    }

    /// RFC 6455 section 5.3: octet i of the payload data is masked with octet i modulo 4 of the
    /// key.
    #[test]
    fn the_masking_key_follows_payload_data_that_is_divided() {
        let mut decoder = Decoder::new();
        let header = header(b"\x82\x85\x01\x02\x03\x04", SERVER).expect("valid");
        let frame = decoder.begin_payload(&header);
        assert_eq!((frame.remaining, frame.take(3), frame.take(9)), (5, 3, 5));
        assert!(!decoder.consume(3));
        let frame = decoder.frame().expect("two bytes are missing");
        assert_eq!((frame.mask, frame.remaining), (Some(MaskKey::from([4, 1, 2, 3])), 2));
        assert!(decoder.consume(2) && decoder.frame().is_none());
    }

    /// RFC 6455 section 5.2, RFC 7692 section 6.1.
    #[test]
    fn rsv1_is_set_only_on_the_first_frame_of_a_message_and_only_if_negotiated() {
        let negotiated = Expected { rsv1: true, ..CLIENT };
        for first in [0xC1, 0xC2, 0x41, 0x42] {
            assert_eq!(header(&[first, 0], CLIENT), Err(ProtocolError::ReservedBit));
            assert!(header(&[first, 0], negotiated).is_ok());
        }
        for first in [0xC0, 0xC8, 0xC9, 0xCA] {
            assert_eq!(header(&[first, 0], negotiated), Err(ProtocolError::ReservedBit));
        }
    }

    #[test]
    fn after_its_end_it_finds_no_header_and_keeps_an_incomplete_one() {
        let expected = Expected { role: Role::Client, rsv1: false };
        let mut decoder = Decoder::new();
        assert!(decoder.plain_header(b"\x81\x01a", expected).is_some());
        decoder.end();
        assert!(decoder.plain_header(b"\x81\x01a", expected).is_none());
        assert!(decoder.frame().is_none() && decoder.carried().is_empty());

        let mut decoder = Decoder::new();
        assert!(matches!(decoder.receive_header(b"\x81", expected), Ok((None, 1))));
        decoder.end();
        assert_eq!(decoder.carried(), b"\x81");
        assert!(decoder.plain_header(b"\x81\x01a", expected).is_none());
    }
}
