//! Frames to messages.

use super::{
    Config,
    decoder::Frame,
    error::ProtocolError,
    header::Header,
    mask::{Outlook, Payload, PayloadMut, whole_message},
    message::Message,
    opcode::Opcode,
    utf8::InvalidUtf8,
};

/// Puts messages together from data frames, within the limits.
#[derive(Debug)]
pub(super) struct Assembler {
    /// The message that has not all come; boxed, for most connections wait without one.
    open: Option<Box<Open>>,
    max_message_size: usize,
    max_frame_size: usize,
    max_fragments: u32,
}

#[derive(Debug)]
struct Open {
    payload: Payload,
    /// How many frames of it have begun.
    fragments: u32,
}

impl From<InvalidUtf8> for ProtocolError {
    fn from(InvalidUtf8: InvalidUtf8) -> Self {
        Self::InvalidUtf8
    }
}

impl Assembler {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            open: None,
            max_message_size: config.max_message_size,
            max_frame_size: config.max_frame_size,
            max_fragments: config.max_fragments,
        }
    }

    /// Judges a data frame by its header, before anything is allocated for it.
    #[inline]
    pub(super) fn begin_frame(&mut self, header: &Header) -> Result<(), ProtocolError> {
        let mut so_far = 0;
        match (&mut self.open, header.opcode) {
            // RFC 6455 section 5.4: a continuation continues something, ...
            (None, Opcode::Continuation) => return Err(ProtocolError::UnexpectedContinuation),
            // ... and the fragments of two messages are not interleaved.
            (Some(_), Opcode::Text | Opcode::Binary) => return Err(ProtocolError::ExpectedContinuation),
            (Some(open), _) => {
                if open.fragments >= self.max_fragments {
                    return Err(ProtocolError::TooManyFragments { limit: self.max_fragments });
                }
                open.fragments += 1;
                so_far = open.payload.len() as u64;
            }
            (None, _) => {}
        }
        if header.payload_len > self.max_frame_size as u64 {
            return Err(ProtocolError::FrameTooBig { limit: self.max_frame_size });
        }
        // Both are below 2^63.
        if so_far + header.payload_len > self.max_message_size as u64 {
            return Err(ProtocolError::MessageTooBig { limit: self.max_message_size });
        }
        Ok(())
    }

    /// Takes in a frame whose payload data is all there; gives the message if that was the last of it.
    #[inline]
    pub(super) fn whole_frame(
        &mut self,
        header: &Header,
        payload: &mut [u8],
    ) -> Result<Option<Message>, ProtocolError> {
        if header.fin && self.open.is_none() {
            return Ok(Some(whole_message(payload, header.mask, header.opcode == Opcode::Text)?));
        }
        let outlook = Outlook { rest: payload.len(), last: header.fin, limit: self.max_message_size };
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
    /// alone allocates nothing.
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

    /// Lets go of a message that will never be whole.
    pub(super) fn clear(&mut self) {
        self.open = None;
    }

    /// What is known of the payload data that is to come in this frame.
    fn outlook(&self, frame: &Frame) -> Outlook {
        // The limits are a `usize`, so a longer frame has failed by now.
        Outlook { rest: frame.remaining as usize, last: frame.fin, limit: self.max_message_size }
    }

    /// The message under way, or a new one of this kind.
    fn open(&mut self, opcode: Opcode) -> &mut Open {
        self.open.get_or_insert_with(|| {
            Box::new(Open { payload: Payload::new(opcode == Opcode::Text), fragments: 1 })
        })
    }
}
