//! The way in: bytes to frames to messages.

use std::{fmt, ops::Range};

use bytes::Bytes;

#[cfg(feature = "deflate")]
use super::deflate::{DeflateParams, Inflation};
use super::{
    Config, Role,
    assembler::{Assembler, Inflated},
    close::{CloseFrame, MAX_CONTROL_PAYLOAD},
    decoder::{Decoder, Expected, Frame},
    error::ProtocolError,
    lent::Lent,
    mask::{MaskKey, PayloadMut, whole_message},
    message::{Message, MessageKind, debug_payload},
    opcode::Opcode,
};

/// From this many missing bytes of a frame on, they are better read straight into the message's own buffer.
const READ_DIRECTLY: u64 = 32 << 10;

/// What one call took in.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step<'a> {
    /// How many bytes of the input are done with.
    pub consumed: usize,
    /// What they made whole, if anything.
    pub received: Option<Received<'a>>,
}

/// What was received: a message, or a control frame with its payload data.
///
/// A ping and a Close are owed an answer: [`SendPath::answer`](super::SendPath::answer).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received<'a> {
    /// A whole message.
    Message(Message),
    /// A part of a message: [`ReceivePath::receive_parts`].
    Part(Part<'a>),
    /// RFC 6455 section 5.5.2.
    Ping(&'a [u8]),
    /// RFC 6455 section 5.5.3.
    Pong(&'a [u8]),
    /// RFC 6455 section 5.5.1. `None`: the peer gave no code.
    Close(Option<CloseFrame>),
}

/// A part of a message, as it came: any number of bytes, that may end inside a code point.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part<'a> {
    /// What the message is.
    pub kind: MessageKind,
    /// The next of its payload data, unmasked; proven UTF-8 so far if it is text. It may be empty.
    pub payload: &'a [u8],
    /// Whether the message ends with it.
    pub last: bool,
}

/// Payload data is nobody's business but the application's: only its length is shown.
impl fmt::Debug for Received<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) => f.debug_tuple("Message").field(message).finish(),
            Self::Part(part) => part.fmt(f),
            Self::Ping(payload) => debug_payload(f, &"Ping", payload.len()),
            Self::Pong(payload) => debug_payload(f, &"Pong", payload.len()),
            Self::Close(frame) => f.debug_tuple("Close").field(frame).finish(),
        }
    }
}

/// Payload data is nobody's business but the application's: only its length is shown.
impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("kind", &self.kind)
            .field("payload", &format_args!("{} bytes", self.payload.len()))
            .field("last", &self.last)
            .finish()
    }
}

impl Received<'_> {
    /// The message, if it is one.
    #[inline]
    pub fn into_message(self) -> Option<Message> {
        match self {
            Self::Message(message) => Some(message),
            _ => None,
        }
    }
}

/// Where the next bytes from the transport are wanted. Of variants that it does not know, a driver does as of
/// [`Scratch`](Self::Scratch).
#[derive(Debug)]
#[non_exhaustive]
pub enum Want<'a> {
    /// In any buffer, for [`ReceivePath::receive`].
    Scratch,
    /// Best in the message's own buffer, for [`ReceivePath::payload_received`].
    Payload(PayloadMut<'a>),
}

/// The way in: takes bytes as the transport brings them, gives messages and control frames.
///
/// It does no I/O. The order of calls: [`receive`](Self::receive) until all input is consumed, handling what each
/// [`Step`] brings; where compression was agreed on, [`inflate`](Self::inflate) after each of them while
/// [`has_compressed`](Self::has_compressed); before the next read [`want`](Self::want), whose `Payload` is read into and then taken in by
/// [`payload_received`](Self::payload_received); [`receive_eof`](Self::receive_eof) when the transport ends. After an
/// error the connection has to be failed ([`SendPath::fail`](super::SendPath::fail)). After a Close and after an error
/// all further input is consumed and ignored.
///
/// However the input is cut into calls, what is received is the same.
///
/// ```
/// use fullduplex::{Config, Message, Role};
/// use fullduplex::proto::{ReceivePath, Received};
///
/// let mut path = ReceivePath::new(Role::Client, &Config::new());
/// let mut input = *b"\x81\x05Hello\x89\x00";
/// let step = path.receive(&mut input)?;
/// assert_eq!(step.received, Some(Received::Message(Message::from("Hello"))));
/// let step = path.receive(&mut input[7..])?;
/// assert_eq!(step.received, Some(Received::Ping(b"")));
/// # Ok::<(), fullduplex::proto::ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct ReceivePath {
    decoder: Decoder,
    expected: Expected,
    assembler: Assembler,
    /// A control frame that comes, or has just come, in more than one part.
    control: Option<Box<Control>>,
    close_received: bool,
    failed: bool,
    eof: bool,
}

/// The payload data of a control frame that comes in more than one part.
struct Control {
    payload: [u8; MAX_CONTROL_PAYLOAD],
    len: usize,
}

/// Payload data is nobody's business but the application's: only its length is shown.
impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Control {
    /// Takes over a part, unmasked.
    fn push(&mut self, part: &[u8], mask: Option<MaskKey>) {
        let end = self.len + part.len();
        let room = &mut self.payload[self.len..end];
        room.copy_from_slice(part);
        if let Some(key) = mask {
            key.apply(room);
        }
        self.len = end;
    }

    fn payload(&self) -> &[u8] {
        &self.payload[..self.len]
    }
}

/// What the input made whole, before anything of it is lent out.
enum Whole {
    Message(Message),
    /// The last bytes of the input that is done with.
    Part {
        kind: MessageKind,
        len: usize,
        last: bool,
    },
    Ping(At),
    Pong(At),
    Close(Option<CloseFrame>),
}

/// Where the payload data of a control frame stands.
enum At {
    Input(Range<usize>),
    Carried,
}

impl ReceivePath {
    /// The way in of one end of an open connection, without extensions.
    pub fn new(role: Role, config: &Config) -> Self {
        Self {
            decoder: Decoder::new(),
            expected: Expected { role, rsv1: false },
            assembler: Assembler::new(config),
            control: None,
            close_received: false,
            failed: false,
            eof: false,
        }
    }

    /// The same, of a connection whose ends agreed on permessage-deflate: the peer's messages may come compressed.
    ///
    /// After each call of [`receive`](Self::receive) and [`receive_parts`](Self::receive_parts) it has to be asked whether there
    /// is something to [`inflate`](Self::inflate).
    ///
    /// ```
    /// use fullduplex::{Config, Deflate, Message, Role};
    /// use fullduplex::proto::{DeflateParams, Lent, ReceivePath, Received};
    ///
    /// let params = DeflateParams::from(Deflate::new());
    /// let mut path = ReceivePath::new(Role::Client, &Config::new()).with_deflate(params);
    /// let mut input = *b"\xC1\x07\xF2\x48\xCD\xC9\xC9\x07\x00";
    /// let step = path.receive(&mut input)?;
    /// assert_eq!((step.consumed, step.received), (9, None));
    /// assert!(path.has_compressed());
    /// let mut lent = Lent::new();
    /// assert_eq!(path.inflate(&mut lent)?, Some(Received::Message(Message::from("Hello"))));
    /// # Ok::<(), fullduplex::proto::ProtocolError>(())
    /// ```
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn with_deflate(mut self, params: DeflateParams) -> Self {
        self.expected.rsv1 = true;
        self.assembler.inflate_by(Inflation::new(self.expected.role, params));
        self
    }

    /// Takes in the start of `input`, up to the end of the first frame at most; what of its payload data is lent is
    /// unmasked there, in place.
    ///
    /// # Errors
    /// The peer broke the protocol or a limit. What follows is ignored.
    #[inline]
    pub fn receive<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Step<'a>, ProtocolError> {
        match self.receive_plain(input) {
            Some((consumed, message)) => Ok(Step { consumed, received: Some(Received::Message(message)) }),
            None => self.receive_any(input),
        }
    }

    /// Takes a message in one frame that is all there, if that is what the input starts with, and it is in order: as most
    /// input is. Anything else is for [`receive_any`](Self::receive_any), which tells what is wrong.
    #[inline(always)]
    pub(crate) fn receive_plain(&self, input: &[u8]) -> Option<(usize, Message)> {
        let (header, at) = self.decoder.plain_header(input, self.expected)?;
        if self.is_done() || !self.assembler.takes_plain(header.payload_len) {
            return None;
        }
        let end = at + header.payload_len;
        let payload = input.get(at..end)?;
        Some((end, whole_message(payload, header.mask, header.kind).ok()?))
    }

    #[inline(never)]
    fn receive_any<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Step<'a>, ProtocolError> {
        let (consumed, whole) = match self.take_in(input) {
            Ok(taken) => taken,
            Err(error) => return Err(self.fail(error)),
        };
        let received = match whole {
            None => None,
            Some(Whole::Message(message)) => Some(Received::Message(message)),
            Some(Whole::Part { kind, len, last }) => {
                Some(Received::Part(Part { kind, payload: &input[consumed - len..consumed], last }))
            }
            Some(Whole::Ping(at)) => Some(Received::Ping(self.lend(at, input))),
            Some(Whole::Pong(at)) => Some(Received::Pong(self.lend(at, input))),
            Some(Whole::Close(frame)) => Some(Received::Close(frame)),
        };
        Ok(Step { consumed, received })
    }

    /// Where the next bytes from the transport are wanted. What was read into an earlier [`Want::Payload`], and not taken in
    /// by [`payload_received`](Self::payload_received), is lost.
    pub fn want(&mut self) -> Want<'_> {
        let frame = self.decoder.frame();
        if frame.is_none_or(|frame| !frame.opcode.is_control()) {
            self.control = None;
        }
        let Some(frame) = frame else { return Want::Scratch };
        if frame.opcode.is_control() || frame.remaining < READ_DIRECTLY || self.is_done() {
            return Want::Scratch;
        }
        self.assembler.room(&frame).map_or(Want::Scratch, Want::Payload)
    }

    /// Takes in what was read into [`Want::Payload`]: unmasks it, validates it if it is text, and gives the message if
    /// that was the last of it.
    ///
    /// # Errors
    /// The text is not UTF-8. What follows is ignored.
    pub fn payload_received(&mut self) -> Result<Option<Message>, ProtocolError> {
        let Some(frame) = self.decoder.frame() else { return Ok(None) };
        let received = self.assembler.read_into_room(&frame).and_then(|len| self.end_part(&frame, len));
        received.map_err(|error| self.fail(error))
    }

    /// Whether something compressed is to be [inflated](Self::inflate): nothing more is taken in before. Never, where no
    /// compression was agreed on.
    #[inline]
    pub fn has_compressed(&self) -> bool {
        self.assembler.has_compressed()
    }

    /// Inflates some of what is compressed, and gives what that makes whole: a message, or a part of one. To be called
    /// while [`has_compressed`](Self::has_compressed) says so; one call returns no more than about 256 KiB.
    ///
    /// RFC 7692 section 7.2.2.
    ///
    /// # Errors
    /// The data is no DEFLATE data, or more comes out than is allowed, or not UTF-8. What follows is ignored.
    pub fn inflate<'a>(&mut self, lent: &'a mut Lent) -> Result<Option<Received<'a>>, ProtocolError> {
        match self.assembler.inflate(lent.deflate()) {
            Ok(None) => Ok(None),
            Ok(Some(Inflated::Message(message))) => Ok(Some(Received::Message(message))),
            Ok(Some(Inflated::Part(part))) => Ok(Some(Received::Part(part))),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// From here on gives the message under way, or the next one where none is, in parts, as they come: a
    /// [`Received::Part`] each, and none is kept. What was kept of a message under way is handed out.
    ///
    /// Of the limits only this one applies to it: `limit` bytes of payload data in all.
    ///
    /// # Errors
    /// [`ProtocolError::MessageTooBig`] where what has come of a message under way, or what its frame announces, is beyond
    /// `limit`. What follows is ignored.
    ///
    /// ```
    /// use fullduplex::{Config, Role, MessageKind};
    /// use fullduplex::proto::{ReceivePath, Received};
    ///
    /// let mut path = ReceivePath::new(Role::Client, &Config::new());
    /// path.receive_parts(1 << 40)?;
    /// let mut input = *b"\x81\x05Hel";
    /// let step = path.receive(&mut input)?;
    /// let Some(Received::Part(part)) = step.received else { panic!("some of the message has come") };
    /// assert_eq!((part.kind, part.payload, part.last), (MessageKind::Text, &b"Hel"[..], false));
    /// # Ok::<(), fullduplex::proto::ProtocolError>(())
    /// ```
    pub fn receive_parts(&mut self, limit: u64) -> Result<Option<(MessageKind, Bytes)>, ProtocolError> {
        if self.is_done() {
            return Ok(None);
        }
        self.assembler.begin_parts(limit, self.decoder.frame()).map_err(|error| self.fail(error))
    }

    /// Gives the next message whole again. One that is given in parts, and has begun, goes on so to its end.
    #[inline]
    pub fn receive_whole(&mut self) {
        if self.assembler.gives_parts() {
            self.assembler.end_parts();
        }
    }

    /// Whether a message that is given in parts has begun to be given, and its last part has not come.
    pub fn is_inside_parts(&self) -> bool {
        self.assembler.is_inside_parts()
    }

    /// Replaces the limits on messages, frames and fragments by those of this configuration. They hold from the next frame on; for a compressed message that is being received, at once.
    pub fn set_limits(&mut self, config: &Config) {
        self.assembler.set_limits(config);
    }

    /// Notes that the transport has ended.
    ///
    /// # Errors
    /// [`ProtocolError::EofWithoutClose`], once, where neither a Close nor an error came before.
    pub fn receive_eof(&mut self) -> Result<(), ProtocolError> {
        let first = !self.is_done();
        self.eof = true;
        if first { Err(self.fail(ProtocolError::EofWithoutClose)) } else { Ok(()) }
    }

    /// Gives up: what has come of a message is dropped, all further input is ignored.
    pub(crate) fn abandon(&mut self) {
        self.failed = true;
        self.assembler.clear();
        self.control = None;
    }

    /// Whether a Close has come.
    pub fn is_close_received(&self) -> bool {
        self.close_received
    }

    /// Whether the transport has ended.
    pub fn is_eof(&self) -> bool {
        self.eof
    }

    /// Whether nothing more will be received: after a Close, an error, the end of the transport.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.close_received || self.failed || self.eof
    }

    /// Whether a message is being received: a data frame has begun, be it with a part of its header, and the last byte of the
    /// message has not been received. A message that is received in parts counts too; one that is complete and still to be
    /// [inflated](Self::inflate) does not.
    ///
    /// ```
    /// use fullduplex::{Config, Role, proto::ReceivePath};
    ///
    /// let mut path = ReceivePath::new(Role::Client, &Config::new());
    /// path.receive(&mut b"\x01".to_vec())?;
    /// assert!(path.is_inside_message());
    /// path.receive(&mut b"\x02ab".to_vec())?;
    /// assert!(path.is_inside_message(), "another fragment has to follow");
    /// path.receive(&mut b"\x80\x00".to_vec())?;
    /// assert!(!path.is_inside_message());
    /// # Ok::<(), fullduplex::proto::ProtocolError>(())
    /// ```
    pub fn is_inside_message(&self) -> bool {
        // A data frame has a zero there (RFC 6455 section 5.2: control frames have the most significant bit of the opcode set).
        let begins = self.decoder.carried().first().is_some_and(|first| first & 0x08 == 0);
        let inside = self.decoder.frame().is_some_and(|frame| !frame.opcode.is_control());
        !self.is_done() && (begins || inside || self.assembler.is_inside_message())
    }

    /// The first bytes of a header whose rest has not come: at most thirteen.
    pub fn carried_header(&self) -> &[u8] {
        self.decoder.carried()
    }

    #[inline]
    fn take_in(&mut self, input: &mut [u8]) -> Result<(usize, Option<Whole>), ProtocolError> {
        // RFC 6455 section 1.4: data received after a Close is discarded; 7.1.7: so is what follows an error.
        if self.is_done() {
            return Ok((input.len(), None));
        }
        if self.assembler.has_compressed() {
            return Ok((0, None));
        }
        if let Some(frame) = self.decoder.frame() {
            return self.take_in_part(&frame, input);
        }
        let (header, at) = match self.decoder.receive_header(input, self.expected)? {
            (Some(header), at) => (header, at),
            (None, consumed) => return Ok((consumed, None)),
        };
        let control = header.opcode.is_control();
        if !control {
            self.assembler.begin_frame(&header)?;
        }
        let rest = &mut input[at..];
        let at_once = if control { usize::MAX } else { self.assembler.takes_at_once() };
        if header.payload_len > rest.len().min(at_once) as u64 {
            self.control = None;
            let frame = self.decoder.begin_payload(&header);
            let (consumed, whole) = self.take_in_part(&frame, rest)?;
            return Ok((at + consumed, whole));
        }
        let len = header.payload_len as usize;
        let payload = &mut rest[..len];
        let whole = if control {
            if let Some(key) = header.mask {
                key.apply(payload);
            }
            Some(self.whole_control(header.opcode, payload, At::Input(at..at + len))?)
        } else if self.assembler.passes() {
            Some(self.pass(payload, header.mask, header.fin)?)
        } else {
            self.assembler.whole_frame(&header, payload)?.map(Whole::Message)
        };
        Ok((at + len, whole))
    }

    /// Takes in a part of a frame's payload data.
    #[cold]
    fn take_in_part(
        &mut self,
        frame: &Frame,
        input: &mut [u8],
    ) -> Result<(usize, Option<Whole>), ProtocolError> {
        let at_once = if frame.opcode.is_control() { usize::MAX } else { self.assembler.takes_at_once() };
        let len = frame.take(input.len()).min(at_once);
        let part = &mut input[..len];
        let whole = if frame.opcode.is_control() {
            self.part_of_control(frame, part)?
        } else if self.assembler.passes() {
            let ends = self.decoder.consume(len);
            Some(self.pass(part, frame.mask, ends && frame.fin)?)
        } else {
            self.assembler.part_of_frame(frame, part)?;
            self.end_part(frame, len)?.map(Whole::Message)
        };
        Ok((len, whole))
    }

    /// Notes that `len` bytes of a data frame are in; gives the message if they were the last of it.
    fn end_part(&mut self, frame: &Frame, len: usize) -> Result<Option<Message>, ProtocolError> {
        if self.decoder.consume(len) && frame.fin { self.assembler.finish() } else { Ok(None) }
    }

    #[inline(never)]
    fn pass(&mut self, part: &mut [u8], mask: Option<MaskKey>, last: bool) -> Result<Whole, ProtocolError> {
        let kind = self.assembler.pass(part, mask, last)?;
        Ok(Whole::Part { kind, len: part.len(), last })
    }

    fn part_of_control(&mut self, frame: &Frame, part: &[u8]) -> Result<Option<Whole>, ProtocolError> {
        let mut control = self
            .control
            .take()
            .unwrap_or_else(|| Box::new(Control { payload: [0; MAX_CONTROL_PAYLOAD], len: 0 }));
        control.push(part, frame.mask);
        let whole = if self.decoder.consume(part.len()) {
            Some(self.whole_control(frame.opcode, control.payload(), At::Carried)?)
        } else {
            None
        };
        self.control = Some(control);
        Ok(whole)
    }

    fn whole_control(&mut self, opcode: Opcode, payload: &[u8], at: At) -> Result<Whole, ProtocolError> {
        match opcode {
            Opcode::Ping => Ok(Whole::Ping(at)),
            Opcode::Pong => Ok(Whole::Pong(at)),
            _ => {
                let frame = CloseFrame::parse(payload)?;
                self.close_received = true;
                self.assembler.clear();
                Ok(Whole::Close(frame))
            }
        }
    }

    fn lend<'a>(&'a self, at: At, input: &'a [u8]) -> &'a [u8] {
        match at {
            At::Input(range) => &input[range],
            At::Carried => self.control.as_ref().map_or(&[], |control| control.payload()),
        }
    }

    #[cold]
    fn fail(&mut self, error: ProtocolError) -> ProtocolError {
        self.abandon();
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of one unmasked frame where RSV1 has a meaning, or has none.
    fn receive(rsv1: bool, mut frame: Vec<u8>) -> Result<usize, ProtocolError> {
        let mut path = ReceivePath::new(Role::Client, &Config::new());
        path.expected.rsv1 = rsv1;
        path.receive(&mut frame).map(|step| step.consumed)
    }

    #[test]
    fn rsv1_is_allowed_where_it_was_negotiated_on_the_first_frame_of_a_message_alone() {
        for first in [0xC1, 0xC2, 0x41, 0x42] {
            assert_eq!(receive(false, vec![first, 0]), Err(ProtocolError::ReservedBit));
            assert_eq!(receive(true, vec![first, 0]), Ok(2));
        }
        for first in [0xC0, 0xC8, 0xC9, 0xCA] {
            assert_eq!(receive(true, vec![first, 0]), Err(ProtocolError::ReservedBit));
        }
    }

    #[cfg(feature = "deflate")]
    #[test]
    fn compressed_payload_data_is_never_wanted_in_the_message_itself() {
        use bytes::Buf;

        use crate::{
            Deflate,
            proto::{Batch, SendPath},
        };
        let noise: Vec<u8> = (0..300_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        let settings = Deflate::new().context_takeover(true);
        let (mut lent, mut batch) = (Lent::new(), Batch::new());
        let mut send = SendPath::new(Role::Server, &Config::new()).with_deflate(settings, settings.into());
        send.send(noise.clone().into(), MaskKey::default(), &mut lent).expect("open");
        while send.queued() > 0 {
            send.stage(&mut batch, &mut lent);
        }
        let mut wire = batch.copy_to_bytes(batch.remaining()).to_vec();
        let mut path = ReceivePath::new(Role::Client, &Config::new()).with_deflate(settings.into());
        let (mut at, mut message) = (0, None);
        while message.is_none() {
            let end = wire.len().min(at + (64 << 10));
            at += path.receive(&mut wire[at..end]).expect("valid").consumed;
            assert!(matches!(path.want(), Want::Scratch));
            while path.has_compressed() && message.is_none() {
                message = path.inflate(&mut lent).expect("valid").and_then(Received::into_message);
            }
        }
        assert_eq!((at, message), (wire.len(), Some(noise.into())));
    }

    #[test]
    fn control_frames_in_parts_are_put_together_one_after_the_other() {
        let mut path = ReceivePath::new(Role::Client, &Config::new());
        for part in [&b"\x89\x03a"[..], b"b"] {
            assert_eq!(path.receive(&mut part.to_vec()).expect("valid").received, None);
        }
        let (mut last, mut next) = (b"c\x8A\x02d".to_vec(), b"e".to_vec());
        let step = path.receive(&mut last).expect("valid");
        assert_eq!((step.consumed, step.received), (1, Some(Received::Ping(b"abc"))));
        assert_eq!(path.receive(&mut last[1..]).expect("valid").received, None);
        assert_eq!(path.receive(&mut next).expect("valid").received, Some(Received::Pong(b"de")));
    }

    /// Whether a message is being received, after each of these pieces.
    fn inside(path: &mut ReceivePath, pieces: &[&[u8]]) -> Vec<bool> {
        let inside = pieces.iter().map(|piece| {
            let mut piece = piece.to_vec();
            let mut rest = &mut piece[..];
            while !rest.is_empty() {
                let consumed = path.receive(rest).expect("valid").consumed;
                rest = &mut rest[consumed..];
            }
            path.is_inside_message()
        });
        inside.collect()
    }

    #[test]
    fn a_message_is_being_received_from_its_first_byte_to_its_last() {
        for in_parts in [false, true] {
            let mut path = ReceivePath::new(Role::Client, &Config::new());
            if in_parts {
                path.receive_parts(100).expect("within the limit");
            }
            assert!(!path.is_inside_message());
            let pieces = [
                &b"\x89"[..],
                b"\x00",
                b"\x01",
                b"\x00",
                b"\x89",
                b"\x00",
                b"\x00\x02a",
                b"b",
                b"\x80",
                b"\x01",
                b"c",
            ];
            let expected = [false, false, true, true, true, true, true, true, true, true, false];
            assert_eq!(inside(&mut path, &pieces), expected, "{in_parts}");
            if in_parts {
                path.receive_parts(100).expect("within the limit");
            }
            assert_eq!(
                inside(&mut path, &[b"\x81\x02", b"a", b"b", b"\x88\x00\x81"]),
                [true, true, false, false]
            );
        }
    }

    #[cfg(feature = "deflate")]
    #[test]
    fn a_complete_message_that_is_still_to_be_inflated_is_not_being_received() {
        let params = crate::Deflate::new().into();
        let mut path = ReceivePath::new(Role::Client, &Config::new()).with_deflate(params);
        let pieces = [&b"\xC1"[..], b"\x07", b"\xF2\x48\xCD\xC9\xC9\x07", b"\x00"];
        assert_eq!(inside(&mut path, &pieces), [true, true, true, false]);
        assert!(path.has_compressed());
    }

    #[test]
    fn the_end_of_the_transport_is_told_once() {
        let mut path = ReceivePath::new(Role::Client, &Config::new());
        assert_eq!(path.receive_eof(), Err(ProtocolError::EofWithoutClose));
        assert_eq!(path.receive_eof(), Ok(()));
        assert!(path.is_done() && path.is_eof() && !path.is_close_received());
    }
}
