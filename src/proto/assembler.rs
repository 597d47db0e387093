//! Frames to messages.

use bytes::Bytes;

use super::{
    Config,
    decoder::Frame,
    error::ProtocolError,
    header::Header,
    mask::{MaskKey, Outlook, Payload, PayloadMut, whole_message},
    message::{Message, MessageKind},
    opcode::Opcode,
    utf8::InvalidUtf8,
};

/// Puts messages together from data frames, within the limits; or lets them pass in parts.
#[derive(Debug)]
pub(super) struct Assembler {
    /// The message that has not all come; boxed, for most connections wait without one.
    open: Option<Box<Open>>,
    limits: Limits,
}

/// What a message may be that is put together.
#[derive(Debug, Clone, Copy)]
struct Limits {
    message_size: usize,
    frame_size: usize,
    fragments: u32,
}

#[derive(Debug)]
struct Open {
    payload: Payload,
    /// How many frames of it have begun: none, where all that is known of it is that it will be given in parts.
    fragments: u32,
    /// There if it is given in parts.
    parts: Option<Parts>,
}

/// A message that is given in parts: nothing of it is kept.
#[derive(Debug)]
struct Parts {
    /// The most payload data that it may have.
    limit: u64,
    /// How much the headers so far have announced.
    announced: u64,
}

impl From<InvalidUtf8> for ProtocolError {
    fn from(InvalidUtf8: InvalidUtf8) -> Self {
        Self::InvalidUtf8
    }
}

impl Assembler {
    pub(super) fn new(config: &Config) -> Self {
        let limits = Limits {
            message_size: config.max_message_size,
            frame_size: config.max_frame_size,
            fragments: config.max_fragments,
        };
        Self { open: None, limits }
    }

    /// Judges a data frame by its header, before anything is allocated for it.
    #[inline]
    pub(super) fn begin_frame(&mut self, header: &Header) -> Result<(), ProtocolError> {
        match &mut self.open {
            // RFC 6455 section 5.4: a continuation continues something.
            None if header.opcode == Opcode::Continuation => Err(ProtocolError::UnexpectedContinuation),
            None => self.limits.check(0, header),
            Some(open) => open.begin_frame(header, self.limits),
        }
    }

    /// Whether a message in one frame with this much payload data is in order.
    #[inline]
    pub(super) fn takes_plain(&self, payload_len: usize) -> bool {
        let Limits { message_size, frame_size, .. } = self.limits;
        self.open.is_none() && payload_len <= message_size && payload_len <= frame_size
    }

    /// Takes in a frame whose payload data is all there; gives the message if that was the last of it.
    #[inline]
    pub(super) fn whole_frame(
        &mut self,
        header: &Header,
        payload: &mut [u8],
    ) -> Result<Option<Message>, ProtocolError> {
        if header.fin && self.open.is_none() {
            return Ok(Some(whole_message(payload, header.mask, MessageKind::of(header.opcode))?));
        }
        let outlook = Outlook { rest: payload.len(), last: header.fin, limit: self.limits.message_size };
        self.open(header.opcode).payload.push(payload, header.mask, outlook)?;
        if header.fin { self.finish() } else { Ok(None) }
    }

    /// Takes in a part of a frame's payload data.
    pub(super) fn part_of_frame(&mut self, frame: &Frame, part: &[u8]) -> Result<(), ProtocolError> {
        if part.is_empty() {
            return Ok(());
        }
        let outlook = self.outlook(frame);
        Ok(self.open(frame.opcode).payload.push(part, frame.mask, outlook)?)
    }

    /// Room to read the rest of this frame into; `None` before the first byte of the message has come, so that a header
    /// alone allocates nothing, and where the message is given in parts.
    pub(super) fn room(&mut self, frame: &Frame) -> Option<PayloadMut<'_>> {
        let outlook = self.outlook(frame);
        let payload = &mut self.open.as_mut()?.payload;
        (payload.len() > 0).then(|| payload.room(outlook))
    }

    /// Takes in what was read into [`room`](Self::room); says how much it was.
    pub(super) fn read_into_room(&mut self, frame: &Frame) -> Result<usize, ProtocolError> {
        let Some(open) = &mut self.open else { return Ok(0) };
        let len = open.payload.pending();
        open.payload.receive(frame.mask)?;
        Ok(len)
    }

    /// The message, now that its last frame is whole.
    pub(super) fn finish(&mut self) -> Result<Option<Message>, ProtocolError> {
        match self.open.take() {
            Some(open) => Ok(Some(open.payload.finish()?)),
            None => Ok(None),
        }
    }

    /// Gives the message under way, or the next one where none is, in parts, up to `limit` bytes of payload data in all.
    /// Gives what was kept of it.
    pub(super) fn begin_parts(&mut self, limit: u64, frame: Option<Frame>) -> Option<(MessageKind, Bytes)> {
        let frame = frame.filter(|frame| !frame.opcode.is_control());
        let open = self.open.get_or_insert_with(|| {
            // A frame of which nothing has come but its header has begun a message all the same.
            let kind = MessageKind::of(frame.map_or(Opcode::Binary, |frame| frame.opcode));
            let fragments = u32::from(frame.is_some());
            Box::new(Open { payload: Payload::new(kind), fragments, parts: None })
        });
        let kept = open.payload.take();
        let so_far = kept.len() as u64 + frame.map_or(0, |frame| frame.remaining);
        let announced = open.parts.as_ref().map_or(so_far, |parts| parts.announced);
        open.parts = Some(Parts { limit, announced });
        (open.fragments > 0).then(|| (open.payload.kind(), kept))
    }

    /// Puts the next message together, unless one that is given in parts has begun.
    pub(super) fn end_parts(&mut self) {
        if self.open.as_ref().is_some_and(|open| open.fragments == 0) {
            self.open = None;
        }
    }

    /// Whether the message under way, or the next one, is given in parts.
    #[inline]
    pub(super) fn gives_parts(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.parts.is_some())
    }

    /// Whether a message that is given in parts has begun, and is not over.
    pub(super) fn is_inside_parts(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.parts.is_some() && open.fragments > 0)
    }

    /// Lets a part of a message pass, unmasked where it stands and validated.
    pub(super) fn pass(
        &mut self,
        part: &mut [u8],
        mask: Option<MaskKey>,
        last: bool,
    ) -> Result<MessageKind, ProtocolError> {
        let Some(open) = &mut self.open else { return Err(ProtocolError::UnexpectedContinuation) };
        if let Some(parts) = &open.parts {
            parts.check()?;
        }
        open.payload.pass(part, mask)?;
        let kind = open.payload.kind();
        if last {
            if !open.payload.is_complete() {
                return Err(ProtocolError::InvalidUtf8);
            }
            self.open = None;
        }
        Ok(kind)
    }

    /// Lets go of a message that will never be whole.
    pub(super) fn clear(&mut self) {
        self.open = None;
    }

    /// What is known of the payload data that is to come in this frame.
    fn outlook(&self, frame: &Frame) -> Outlook {
        // The limits are a `usize`, so a longer frame has failed by now.
        Outlook { rest: frame.remaining as usize, last: frame.fin, limit: self.limits.message_size }
    }

    /// The message under way, or a new one of this kind.
    fn open(&mut self, opcode: Opcode) -> &mut Open {
        self.open.get_or_insert_with(|| {
            Box::new(Open { payload: Payload::new(MessageKind::of(opcode)), fragments: 1, parts: None })
        })
    }
}

impl Open {
    /// Judges the next frame of the message by its header.
    fn begin_frame(&mut self, header: &Header, limits: Limits) -> Result<(), ProtocolError> {
        match (self.fragments, header.opcode) {
            (0, Opcode::Continuation) => return Err(ProtocolError::UnexpectedContinuation),
            (0, opcode) => self.payload = Payload::new(MessageKind::of(opcode)),
            // RFC 6455 section 5.4: the fragments of two messages are not interleaved.
            (_, Opcode::Text | Opcode::Binary) => return Err(ProtocolError::ExpectedContinuation),
            _ => {}
        }
        match &mut self.parts {
            Some(parts) => {
                parts.announced = parts.announced.saturating_add(header.payload_len);
                parts.check()?;
            }
            None if self.fragments >= limits.fragments => {
                return Err(ProtocolError::TooManyFragments { limit: limits.fragments });
            }
            None => limits.check(self.payload.len(), header)?,
        }
        self.fragments = self.fragments.saturating_add(1);
        Ok(())
    }
}

impl Limits {
    /// Judges a frame of a message of which this much has come.
    #[inline]
    fn check(self, so_far: usize, header: &Header) -> Result<(), ProtocolError> {
        if header.payload_len > self.frame_size as u64 {
            return Err(ProtocolError::FrameTooBig { limit: self.frame_size });
        }
        // Both are below 2^63.
        let limit = self.message_size as u64;
        if so_far as u64 + header.payload_len > limit {
            return Err(ProtocolError::MessageTooBig { limit });
        }
        Ok(())
    }
}

impl Parts {
    fn check(&self) -> Result<(), ProtocolError> {
        let Self { limit, announced } = *self;
        if announced > limit { Err(ProtocolError::MessageTooBig { limit }) } else { Ok(()) }
    }
}
