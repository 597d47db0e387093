//! Frames to messages.

use bytes::Bytes;

use super::{
    config::Config,
    decoder::Frame,
    deflate::{Codecs, Compressed, Inflation, most_compressed},
    error::ProtocolError,
    header::Header,
    opcode::Opcode,
    payload::{MaskKey, Message, MessageKind, Payload, PayloadMut, SizeHint, whole_message},
    received::Part,
    utf8::InvalidUtf8,
};

/// Assembles messages from data frames, within the limits; or passes them on in parts.
#[derive(Debug)]
pub(super) struct Assembler {
    /// The message that is incomplete; boxed, because most idle connections have none.
    open: Option<Box<Open>>,
    limits: Limits,
    /// `None` if compression was not negotiated.
    inflation: Option<Box<Inflation>>,
}

/// The limits of a message that is assembled.
#[derive(Debug, Clone, Copy)]
struct Limits {
    message_size: usize,
    frame_size: usize,
    fragments: u32,
}

#[derive(Debug)]
struct Open {
    payload: Payload,
    /// The number of frames that have begun. Zero if it is only known that the next message is
    /// received in parts.
    fragments: u32,
    /// `None` if the message is assembled as a whole.
    parts: Option<Parts>,
    /// The data that is not decompressed yet; `None` if the message is not compressed.
    compressed: Option<Compressed>,
}

/// A message that is received in parts: nothing of it is kept.
#[derive(Debug)]
struct Parts {
    /// The maximum size of its payload data.
    limit: u64,
    /// The number of bytes that the headers so far have announced; for a compressed message, that
    /// were decompressed.
    announced: u64,
    /// Whether any part was returned, if only an empty one. For a compressed message, there may be
    /// none for a while.
    given: bool,
}

/// What was decompressed.
pub(super) enum Inflated<'a> {
    Message(Message),
    Part(Part<'a>),
}

impl From<InvalidUtf8> for ProtocolError {
    fn from(InvalidUtf8: InvalidUtf8) -> Self {
        Self::InvalidUtf8
    }
}

impl Assembler {
    pub(super) fn new(config: &Config) -> Self {
        Self { open: None, limits: Limits::of(config), inflation: None }
    }

    /// Replaces the limits.
    pub(super) fn set_limits(&mut self, config: &Config) {
        self.limits = Limits::of(config);
    }

    /// Enables compressed messages.
    #[cfg(feature = "deflate")]
    pub(super) fn inflate_by(&mut self, inflation: Inflation) {
        self.inflation = Some(Box::new(inflation));
    }

    /// Checks a data frame by its header, before anything is allocated for it.
    #[inline]
    pub(super) fn begin_frame(&mut self, header: &Header) -> Result<(), ProtocolError> {
        match &mut self.open {
            // RFC 6455 section 5.4: a continuation frame needs a message to continue.
            None if header.opcode == Opcode::Continuation => Err(ProtocolError::UnexpectedContinuation),
            None if header.rsv1 => {
                let mut open = Box::new(Open::new(header.opcode, 0));
                open.begin_frame(header, self.limits, self.inflation.as_deref())?;
                self.open = Some(open);
                Ok(())
            }
            None => self.limits.check(0, header.payload_len),
            Some(open) => open.begin_frame(header, self.limits, self.inflation.as_deref()),
        }
    }

    /// Returns whether an uncompressed message in one frame of this length is allowed.
    #[inline]
    pub(super) fn takes_plain(&self, payload_len: usize) -> bool {
        self.open.is_none() && self.limits.check(0, payload_len as u64).is_ok()
    }

    /// Receives a frame whose payload data is complete; returns the message if it was the last.
    #[inline]
    pub(super) fn whole_frame(
        &mut self,
        header: &Header,
        payload: &mut [u8],
    ) -> Result<Option<Message>, ProtocolError> {
        if header.fin && self.open.is_none() {
            return Ok(Some(whole_message(payload, header.mask, MessageKind::of(header.opcode))?));
        }
        if let Some(compressed) = self.compressed() {
            compressed.gather(payload, header.mask);
            return if header.fin { self.finish() } else { Ok(None) };
        }
        let hint = SizeHint { rest: payload.len(), last: header.fin, limit: self.limits.message_size };
        self.open(header.opcode).payload.push(payload, header.mask, hint)?;
        if header.fin { self.finish() } else { Ok(None) }
    }

    /// Receives a part of the payload data of a frame.
    pub(super) fn part_of_frame(&mut self, frame: &Frame, part: &[u8]) -> Result<(), ProtocolError> {
        if part.is_empty() {
            return Ok(());
        }
        if let Some(compressed) = self.compressed() {
            compressed.gather(part, frame.mask);
            return Ok(());
        }
        let hint = self.hint(frame);
        Ok(self.open(frame.opcode).payload.push(part, frame.mask, hint)?)
    }

    /// Returns room to read the rest of this frame into.
    ///
    /// `None` before the first byte of the message, so that a header alone allocates nothing, and
    /// if the message is received in parts or compressed.
    pub(super) fn room(&mut self, frame: &Frame) -> Option<PayloadMut<'_>> {
        let hint = self.hint(frame);
        let open = self.open.as_mut()?;
        (open.compressed.is_none() && open.payload.len() > 0).then(|| open.payload.room(hint))
    }

    /// Receives what was read into [`room`](Self::room); returns its length.
    pub(super) fn read_into_room(&mut self, frame: &Frame) -> Result<usize, ProtocolError> {
        let Some(open) = &mut self.open else { return Ok(0) };
        let len = open.payload.pending();
        open.payload.receive(frame.mask)?;
        Ok(len)
    }

    /// Returns the message, after its last frame; `None` if it has to be
    /// [decompressed](Self::inflate) first.
    pub(super) fn finish(&mut self) -> Result<Option<Message>, ProtocolError> {
        if let Some(compressed) = self.compressed() {
            compressed.end();
            return Ok(None);
        }
        match self.open.take() {
            Some(open) => Ok(Some(open.payload.finish()?)),
            None => Ok(None),
        }
    }

    /// Returns whether some of the message has to be decompressed before more of it is received.
    #[inline]
    pub(super) fn has_compressed(&self) -> bool {
        let limit = self.limits.message_size;
        self.open.as_ref().is_some_and(|open| {
            let in_parts = open.parts.is_some();
            open.compressed.as_ref().is_some_and(|compressed| compressed.is_ready(limit, in_parts))
        })
    }

    /// Returns how much payload data may be received at once.
    #[inline]
    pub(super) fn takes_at_once(&self) -> usize {
        let Some(Open { compressed: Some(compressed), parts, .. }) = self.open.as_deref() else {
            return usize::MAX;
        };
        compressed.gatherable(self.limits.message_size, parts.is_some())
    }

    /// Decompresses some of the message; returns what that completes.
    pub(super) fn inflate<'a>(
        &mut self,
        codecs: &'a mut Codecs,
    ) -> Result<Option<Inflated<'a>>, ProtocolError> {
        let (Some(open), Some(inflation)) = (self.open.as_deref_mut(), self.inflation.as_deref_mut()) else {
            return Ok(None);
        };
        let Some(compressed) = &mut open.compressed else { return Ok(None) };
        let Some(parts) = &mut open.parts else {
            let whole = inflation.inflate(compressed, &mut open.payload, self.limits.message_size, codecs)?;
            let open = if whole { self.open.take() } else { None };
            return Ok(open.map(|open| open.payload.finish()).transpose()?.map(Inflated::Message));
        };
        let part = inflation.inflate_part(compressed, &mut open.payload, codecs)?;
        if let Some(part) = &part {
            parts.given = true;
            parts.announced = parts.announced.saturating_add(part.payload.len() as u64);
            parts.check()?;
            if part.last {
                self.end_message()?;
            }
        }
        Ok(part.map(Inflated::Part))
    }

    /// Receives the current message, or the next one, in parts, up to `limit` bytes of payload data
    /// in total. Returns what was kept of it, unless that, with what its frame announces, exceeds
    /// the limit.
    pub(super) fn begin_parts(
        &mut self,
        limit: u64,
        frame: Option<Frame>,
    ) -> Result<Option<(MessageKind, Bytes)>, ProtocolError> {
        let frame = frame.filter(|frame| !frame.opcode.is_control());
        let open = self.open.get_or_insert_with(|| {
            // A frame has begun a message even if only its header was received.
            let kind = MessageKind::of(frame.map_or(Opcode::Binary, |frame| frame.opcode));
            let fragments = u32::from(frame.is_some());
            Box::new(Open { payload: Payload::new(kind), fragments, parts: None, compressed: None })
        });
        let kept = open.payload.take();
        let to_come = frame.filter(|_| open.compressed.is_none()).map_or(0, |frame| frame.remaining);
        let so_far = kept.len() as u64 + to_come;
        let announced = open.parts.as_ref().map_or(so_far, |parts| parts.announced);
        let given = open.fragments > 0;
        open.parts.insert(Parts { limit, announced, given }).check()?;
        Ok(given.then(|| (open.payload.kind(), kept)))
    }

    /// Assembles the next message as a whole. One of which a part was returned continues in parts.
    pub(super) fn end_parts(&mut self) {
        match self.open.as_deref_mut() {
            Some(Open { fragments: 0, .. }) => self.open = None,
            Some(Open { parts, .. }) => _ = parts.take_if(|parts| !parts.given),
            None => {}
        }
    }

    /// Returns whether the current message, or the next one, is received in parts.
    #[inline]
    pub(super) fn gives_parts(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.parts.is_some())
    }

    /// Returns whether parts are passed on as they arrive: the message is received in parts, and
    /// not compressed.
    #[inline]
    pub(super) fn is_streamed(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.parts.is_some() && open.compressed.is_none())
    }

    /// Returns whether some, but not all, of a message was received in parts.
    pub(super) fn is_inside_parts(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.parts.as_ref().is_some_and(|parts| parts.given))
    }

    /// Returns whether a data frame has begun a message that is incomplete.
    pub(super) fn is_inside_message(&self) -> bool {
        self.open.as_ref().is_some_and(|open| {
            let ended = open.compressed.as_ref().is_some_and(Compressed::is_ended);
            open.fragments > 0 && !ended
        })
    }

    /// Passes on a part of a message, unmasked in place and validated.
    pub(super) fn stream_part(
        &mut self,
        part: &mut [u8],
        mask: Option<MaskKey>,
        last: bool,
    ) -> Result<MessageKind, ProtocolError> {
        let Some(open) = &mut self.open else { return Err(ProtocolError::UnexpectedContinuation) };
        if let Some(parts) = &mut open.parts {
            parts.check()?;
            parts.given = true;
        }
        open.payload.unmask_and_validate(part, mask)?;
        let kind = open.payload.kind();
        if last {
            self.end_message()?;
        }
        Ok(kind)
    }

    /// Drops an incomplete message: nothing more will be received.
    pub(super) fn clear(&mut self) {
        self.open = None;
        if let Some(inflation) = &mut self.inflation {
            inflation.forget();
        }
    }

    /// Ends a message of which nothing is kept.
    fn end_message(&mut self) -> Result<(), ProtocolError> {
        match self.open.take() {
            // RFC 6455 section 8.1: a text message ends with a complete code point.
            Some(open) if !open.payload.is_complete() => Err(ProtocolError::InvalidUtf8),
            _ => Ok(()),
        }
    }

    fn compressed(&mut self) -> Option<&mut Compressed> {
        self.open.as_mut()?.compressed.as_mut()
    }

    /// Returns what is known of the size of the payload data.
    fn hint(&self, frame: &Frame) -> SizeHint {
        // The limits are of type `usize`, so a longer frame has been refused.
        SizeHint { rest: frame.remaining as usize, last: frame.fin, limit: self.limits.message_size }
    }

    /// Returns the current message, or begins one of this kind.
    fn open(&mut self, opcode: Opcode) -> &mut Open {
        self.open.get_or_insert_with(|| Box::new(Open::new(opcode, 1)))
    }
}

impl Open {
    fn new(opcode: Opcode, fragments: u32) -> Self {
        Self { payload: Payload::new(MessageKind::of(opcode)), fragments, parts: None, compressed: None }
    }

    /// Checks the next frame of the message by its header.
    fn begin_frame(
        &mut self,
        header: &Header,
        limits: Limits,
        inflation: Option<&Inflation>,
    ) -> Result<(), ProtocolError> {
        match (self.fragments, header.opcode) {
            (0, Opcode::Continuation) => return Err(ProtocolError::UnexpectedContinuation),
            (0, opcode) => {
                self.payload = Payload::new(MessageKind::of(opcode));
                // RFC 7692 section 6: RSV1 marks a compressed message. The decoder checked that it
                // was negotiated.
                self.compressed = inflation.filter(|_| header.rsv1).map(Inflation::begin);
            }
            // RFC 6455 section 5.4: the fragments of two messages are not interleaved.
            (_, Opcode::Text | Opcode::Binary) => return Err(ProtocolError::ExpectedContinuation),
            _ => {}
        }
        match &mut self.parts {
            // Its size is checked when it is decompressed.
            Some(_) if self.compressed.is_some() => {}
            Some(parts) => {
                parts.announced = parts.announced.saturating_add(header.payload_len);
                parts.check()?;
            }
            None if self.fragments >= limits.fragments => {
                return Err(ProtocolError::TooManyFragments { limit: limits.fragments });
            }
            None if self.compressed.is_some() => limits.check_compressed(header)?,
            None => limits.check(self.payload.len(), header.payload_len)?,
        }
        self.fragments = self.fragments.saturating_add(1);
        Ok(())
    }
}

impl Limits {
    fn of(config: &Config) -> Self {
        Self {
            message_size: config.max_message_size,
            frame_size: config.effective_max_frame_size(),
            fragments: config.max_fragments,
        }
    }

    /// Checks a frame of a compressed message. The size of the message is checked when it is
    /// decompressed.
    fn check_compressed(self, header: &Header) -> Result<(), ProtocolError> {
        if header.payload_len > most_compressed(self.frame_size) as u64 {
            return Err(ProtocolError::FrameTooBig { limit: self.frame_size });
        }
        Ok(())
    }

    /// Checks a frame of a message of which `so_far` bytes have been received.
    #[inline(always)]
    fn check(self, so_far: usize, payload_len: u64) -> Result<(), ProtocolError> {
        if payload_len > self.frame_size as u64 {
            return Err(ProtocolError::FrameTooBig { limit: self.frame_size });
        }
        // Both operands are below 2^63, so the sum does not overflow.
        let limit = self.message_size as u64;
        if so_far as u64 + payload_len > limit {
            return Err(ProtocolError::MessageTooBig { limit });
        }
        Ok(())
    }
}

impl Parts {
    fn check(&self) -> Result<(), ProtocolError> {
        let Self { limit, announced, .. } = *self;
        if announced > limit { Err(ProtocolError::MessageTooBig { limit }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;
    #[cfg(feature = "deflate")]
    use crate::proto::role::Role;

    fn assembler(config: Config) -> Assembler {
        Assembler::new(&config)
    }

    /// Passes a whole unmasked frame to the assembler.
    fn frame(
        to: &mut Assembler,
        fin: bool,
        opcode: Opcode,
        payload: &[u8],
    ) -> Result<Option<Message>, ProtocolError> {
        let header = Header { fin, ..Header::of(opcode, payload.len(), None) };
        to.begin_frame(&header)?;
        to.whole_frame(&header, &mut payload.to_vec())
    }

    /// RFC 6455 section 5.4.
    #[test]
    fn fragments_become_one_message() {
        let mut assembler = assembler(Config::new());
        assert_eq!(frame(&mut assembler, false, Opcode::Text, b"gr\xC3"), Ok(None));
        assert_eq!(frame(&mut assembler, false, Opcode::Continuation, b""), Ok(None));
        assert!(assembler.is_inside_message());
        let message = frame(&mut assembler, true, Opcode::Continuation, b"\xBCezi");
        assert_eq!(message, Ok(Some(Message::from("gr\u{fc}ezi"))));
        assert!(!assembler.is_inside_message());
    }

    /// RFC 6455 section 5.4.
    #[test]
    fn a_continuation_requires_an_open_message_and_an_open_message_a_continuation() {
        let mut assembler = assembler(Config::new());
        let unexpected = frame(&mut assembler, true, Opcode::Continuation, b"x");
        assert_eq!(unexpected, Err(ProtocolError::UnexpectedContinuation));
        assert_eq!(frame(&mut assembler, false, Opcode::Binary, b"x"), Ok(None));
        for opcode in [Opcode::Text, Opcode::Binary] {
            let unexpected = frame(&mut assembler, true, opcode, b"y");
            assert_eq!(unexpected, Err(ProtocolError::ExpectedContinuation));
        }
    }

    /// RFC 6455 section 8.1.
    #[test]
    fn text_that_ends_inside_a_code_point_is_invalid() {
        for fragmented in [false, true] {
            let mut assembler = assembler(Config::new());
            let mut opcode = Opcode::Text;
            if fragmented {
                assert_eq!(frame(&mut assembler, false, opcode, b"a"), Ok(None));
                opcode = Opcode::Continuation;
            }
            assert_eq!(frame(&mut assembler, true, opcode, b"\xE2\x82"), Err(ProtocolError::InvalidUtf8));
        }
    }

    /// RFC 6455 section 10.4.
    #[test]
    fn limits_are_inclusive_and_the_same_on_the_fast_path() {
        for (config, largest) in [
            (Config::new().max_message_size(100), 100),
            (Config::new().max_message_size(100).max_frame_size(10), 10),
            (Config::new().max_message_size(10).max_frame_size(100), 10),
        ] {
            for len in [0, largest, largest + 1] {
                let mut assembler = assembler(config.clone());
                let general = assembler.begin_frame(&Header::new(Opcode::Binary, len as u64));
                assert_eq!(general.is_ok(), len <= largest, "{len}");
                assert_eq!(assembler.takes_plain(len), len <= largest, "{len}");
            }
        }
    }

    /// RFC 6455 section 10.4.
    #[test]
    fn a_frame_is_refused_by_its_header_if_the_message_would_be_too_big() {
        let mut assembler = assembler(Config::new().max_message_size(10).max_fragments(3));
        assert_eq!(frame(&mut assembler, false, Opcode::Binary, &[0; 6]), Ok(None));
        let too_big = Header::new(Opcode::Continuation, 5);
        assert_eq!(assembler.begin_frame(&too_big), Err(ProtocolError::MessageTooBig { limit: 10 }));
        assert_eq!(frame(&mut assembler, false, Opcode::Continuation, &[0; 4]), Ok(None));
        assert_eq!(frame(&mut assembler, false, Opcode::Continuation, b""), Ok(None));
        let fourth = frame(&mut assembler, true, Opcode::Continuation, b"");
        assert_eq!(fourth, Err(ProtocolError::TooManyFragments { limit: 3 }));
    }

    #[test]
    fn a_header_alone_allocates_nothing() {
        let mut assembler = assembler(Config::new().max_message_size(usize::MAX));
        let header = Header::new(Opcode::Binary, 1 << 30);
        assembler.begin_frame(&header).expect("within the limit");
        assert!(assembler.open.is_none());
    }

    #[test]
    fn the_rest_of_a_frame_is_read_into_the_message_once_it_has_begun() {
        let mut assembler = assembler(Config::new());
        let header = Header::new(Opcode::Binary, 100);
        assembler.begin_frame(&header).expect("within the limit");
        let whole = Frame { opcode: Opcode::Binary, fin: true, mask: None, remaining: 100 };
        assert!(assembler.room(&whole).is_none(), "a header alone allocates nothing");
        assembler.part_of_frame(&whole, &[7; 40]).expect("binary");
        let rest = Frame { remaining: 60, ..whole };
        let mut room = assembler.room(&rest).expect("the message has begun");
        room.put_bytes(7, 60);
        assert_eq!(assembler.read_into_room(&rest), Ok(60));
        assert_eq!(assembler.finish(), Ok(Some(Message::from(vec![7; 100]))));
    }

    /// RFC 6455 section 5.4.
    #[test]
    fn a_continuation_is_no_first_frame_of_a_message_in_parts() {
        let mut assembler = assembler(Config::new());
        assert_eq!(assembler.begin_parts(100, None), Ok(None));
        let unexpected = assembler.begin_frame(&Header::new(Opcode::Continuation, 1));
        assert_eq!(unexpected, Err(ProtocolError::UnexpectedContinuation));
    }

    #[cfg(feature = "deflate")]
    #[test]
    fn a_compressed_frame_may_be_longer_than_the_limit_by_as_much_as_incompressible_data_grows() {
        for (payload_len, allowed) in
            [(100, true), (most_compressed(100), true), (most_compressed(100) + 1, false)]
        {
            let mut assembler = assembler(Config::new().max_message_size(100));
            assembler.inflate_by(Inflation::new(Role::Client, crate::Deflate::new().into()));
            let header = Header { rsv1: true, ..Header::new(Opcode::Binary, payload_len as u64) };
            assert_eq!(assembler.begin_frame(&header).is_ok(), allowed, "{payload_len}");
        }
    }
}
