//! Bytes to frames.

use super::{
    error::ProtocolError,
    header::{Header, MAX_HEADER, PlainHeader},
    opcode::Opcode,
    payload::MaskKey,
    role::Role,
};

/// Finds the frames in a stream of bytes. What it holds of the input is at most thirteen bytes of a header.
#[derive(Debug)]
pub(super) struct Decoder {
    state: State,
}

/// What a header may be depends on who receives it, and on what was negotiated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// Which end receives.
    pub(super) role: Role,
    /// Whether a negotiated extension gives a meaning to RSV1.
    pub(super) rsv1: bool,
}

/// ```text
///            whole header with payload data missing
///  Header ────────────────────────────────────────────▶ Payload
///    ▲                                                     │
///    └─────────────────────────────────────────────────────┘
///                    last byte of the payload data
/// ```
#[derive(Debug)]
enum State {
    /// Between frames, or inside a header, whose first bytes are carried.
    Header { carried: [u8; MAX_HEADER - 1], len: u8 },
    /// Inside payload data.
    Payload(Frame),
}

/// A frame whose payload data has not all come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
    /// The key for the next byte of payload data.
    pub(super) mask: Option<MaskKey>,
    /// How many bytes of payload data are still to come.
    pub(super) remaining: u64,
}

impl Frame {
    /// How many of the next `len` bytes belong to the frame.
    pub(super) fn take(&self, len: usize) -> usize {
        usize::try_from(self.remaining).map_or(len, |rest| rest.min(len))
    }
}

const BETWEEN_FRAMES: State = State::Header { carried: [0; MAX_HEADER - 1], len: 0 };

impl Decoder {
    pub(super) fn new() -> Self {
        Self { state: BETWEEN_FRAMES }
    }

    /// Reads a header, or what there is of one, and says how much of the input it took. To be called between frames.
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

    /// The header that the input starts with, if it is a plain one and masked as it has to be.
    #[inline]
    pub(super) fn plain_header(&self, input: &[u8], expected: Expected) -> Option<(PlainHeader, usize)> {
        let State::Header { len: 0, .. } = self.state else { return None };
        let (header, len) = PlainHeader::parse(input)?;
        expected.check_mask(header.mask.is_some()).is_ok().then_some((header, len))
    }

    /// Notes that the payload data of this header has not all come.
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

    /// Notes that `len` more bytes of payload data have come; says whether the frame is whole now.
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

    /// The frame whose payload data has not all come.
    #[inline]
    pub(super) fn frame(&self) -> Option<Frame> {
        match self.state {
            State::Payload(frame) => Some(frame),
            State::Header { .. } => None,
        }
    }

    /// The header's bytes that have come without the rest of it.
    pub(super) fn carried(&self) -> &[u8] {
        match &self.state {
            State::Header { carried, len } => &carried[..usize::from(*len)],
            State::Payload(_) => &[],
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
    /// Checks whether the frame is masked if and only if the peer masks.
    #[inline(always)]
    fn check_mask(self, masked: bool) -> Result<(), ProtocolError> {
        // RFC 6455 section 5.1: a server closes the connection on a frame that is not masked, a client on one that is.
        match (self.role.peer().masks(), masked) {
            (true, false) => Err(ProtocolError::UnmaskedFrame),
            (false, true) => Err(ProtocolError::MaskedFrame),
            _ => Ok(()),
        }
    }

    #[inline]
    fn check(self, header: &Header) -> Result<(), ProtocolError> {
        self.check_mask(header.mask.is_some())?;
        // RFC 6455 section 5.2: RSV1 is 0 unless negotiated; RFC 7692 section 6.1: it stands on a message's first frame.
        let may_have_rsv1 = self.rsv1 && matches!(header.opcode, Opcode::Text | Opcode::Binary);
        if header.rsv1 && !may_have_rsv1 {
            return Err(ProtocolError::ReservedBit);
        }
        Ok(())
    }
}
