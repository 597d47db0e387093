//! The receive path.

use std::ops::Range;

use super::control::Control;
#[cfg(feature = "deflate")]
use crate::proto::deflate::{DeflateParams, Inflation};
use crate::proto::{
    assembler::Assembler,
    close::CloseFrame,
    config::Config,
    decoder::{Decoder, Expected, Frame},
    error::ProtocolError,
    opcode::Opcode,
    payload::{MaskKey, Message, MessageKind, PayloadMut, whole_message},
    received::{Part, Received, Step},
    role::Role,
};

/// The number of missing bytes of a frame from which they are read into the buffer of the message.
const READ_DIRECTLY: u64 = 32 << 10;

/// Where to read the next bytes from the transport to. A driver handles unknown variants like
/// [`Scratch`](Self::Scratch).
#[derive(Debug)]
#[non_exhaustive]
pub enum Want<'a> {
    /// Into any buffer, for [`ReceivePath::receive`].
    Scratch,
    /// Preferably into the buffer of the message, for [`ReceivePath::payload_received`].
    Payload(PayloadMut<'a>),
}

/// The receive path: takes bytes from the transport, returns messages and control frames.
///
/// It does no I/O. The order of calls: [`receive`](Self::receive) until all input is consumed,
/// handling each [`Step`]; if compression was negotiated, [`inflate`](Self::inflate) after each of
/// them while [`has_compressed`](Self::has_compressed) returns true; before the next read
/// [`want`](Self::want), whose `Payload` is read into and then processed by
/// [`payload_received`](Self::payload_received); [`receive_eof`](Self::receive_eof) when the
/// transport ends. After an error the connection has to be failed
/// ([`SendPath::fail`](crate::proto::SendPath::fail)). After a Close and after an error, all
/// further input is consumed and ignored.
///
/// The result does not depend on how the input is cut into calls.
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
    pub(super) decoder: Decoder,
    expected: Expected,
    pub(super) assembler: Assembler,
    /// A control frame that arrives, or has just arrived, in more than one part.
    control: Option<Box<Control>>,
    close_received: bool,
    failed: bool,
    eof: bool,
}

/// What the input completed. Borrows nothing yet.
enum Whole {
    Message(Message),
    /// The last `len` bytes of the consumed input.
    Part {
        kind: MessageKind,
        len: usize,
        last: bool,
    },
    Ping(ControlPayload),
    Pong(ControlPayload),
    Close(Option<CloseFrame>),
}

/// Where the payload data of a control frame is.
enum ControlPayload {
    Input(Range<usize>),
    Buffered,
}

impl ReceivePath {
    /// Creates the receive path of one end of an open connection, without extensions.
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

    /// Enables permessage-deflate, which the ends have negotiated: messages of the peer may be
    /// compressed.
    ///
    /// After each call of [`receive`](Self::receive) and [`receive_parts`](Self::receive_parts),
    /// call [`inflate`](Self::inflate) while [`has_compressed`](Self::has_compressed) returns true.
    ///
    /// ```
    /// use fullduplex::{Config, Deflate, Message, Role};
    /// use fullduplex::proto::{DeflateParams, Buffers, ReceivePath, Received};
    ///
    /// let params = DeflateParams::from(Deflate::new());
    /// let mut path = ReceivePath::new(Role::Client, &Config::new()).with_deflate(params);
    /// let mut input = *b"\xC1\x07\xF2\x48\xCD\xC9\xC9\x07\x00";
    /// let step = path.receive(&mut input)?;
    /// assert_eq!((step.consumed, step.received), (9, None));
    /// assert!(path.has_compressed());
    /// let mut buffers = Buffers::new();
    /// assert_eq!(path.inflate(&mut buffers)?, Some(Received::Message(Message::from("Hello"))));
    /// # Ok::<(), fullduplex::proto::ProtocolError>(())
    /// ```
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn with_deflate(mut self, params: DeflateParams) -> Self {
        self.expected.rsv1 = true;
        self.assembler.inflate_by(Inflation::new(self.expected.role, params));
        self
    }

    /// Consumes the start of `input`, at most to the end of the first frame. Payload data that is
    /// returned borrowed is unmasked in place.
    ///
    /// # Errors
    /// The peer violated the protocol or a limit. All further input is ignored.
    #[inline]
    pub fn receive<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Step<'a>, ProtocolError> {
        match self.receive_plain(input) {
            Some((consumed, message)) => Ok(Step { consumed, received: Some(Received::Message(message)) }),
            None => self.receive_general(input),
        }
    }

    /// Receives a valid message that is complete in one frame at the start of `input`: the
    /// single-frame fast path. If it returns `None`, [`receive_general`](Self::receive_general)
    /// handles the input, and reports errors.
    #[inline(always)]
    pub(crate) fn receive_plain(&self, input: &[u8]) -> Option<(usize, Message)> {
        let (header, at) = self.decoder.plain_header(input, self.expected)?;
        // After a Close or an error, the decoder has ended, and there was no header.
        if !self.assembler.takes_plain(header.payload_len) {
            return None;
        }
        let end = at + header.payload_len;
        let payload = input.get(at..end)?;
        Some((end, whole_message(payload, header.mask, header.kind).ok()?))
    }

    /// Receives like [`receive`](Self::receive), without the fast path.
    #[inline(never)]
    pub(crate) fn receive_general<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Step<'a>, ProtocolError> {
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
            Some(Whole::Ping(at)) => Some(Received::Ping(self.borrow_payload(at, input))),
            Some(Whole::Pong(at)) => Some(Received::Pong(self.borrow_payload(at, input))),
            Some(Whole::Close(frame)) => Some(Received::Close(frame)),
        };
        Ok(Step { consumed, received })
    }

    /// Returns where to read the next bytes from the transport to. Data that was read into an
    /// earlier [`Want::Payload`], and not processed by
    /// [`payload_received`](Self::payload_received), is lost.
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

    /// Processes the data that was read into [`Want::Payload`]: unmasks it, validates it if it is
    /// text, and returns the message if it is complete.
    ///
    /// # Errors
    /// The text is not UTF-8. All further input is ignored.
    pub fn payload_received(&mut self) -> Result<Option<Message>, ProtocolError> {
        let Some(frame) = self.decoder.frame() else { return Ok(None) };
        let received = self.assembler.read_into_room(&frame).and_then(|len| self.end_part(&frame, len));
        received.map_err(|error| self.fail(error))
    }

    /// Replaces the limits on messages, frames and fragments by those of `config`: from the next
    /// frame on, and for a compressed message that is being received at once.
    pub fn set_limits(&mut self, config: &Config) {
        self.assembler.set_limits(config);
    }

    /// Records that the transport has ended.
    ///
    /// # Errors
    /// [`ProtocolError::EofWithoutClose`], once, if neither a Close nor an error came before.
    pub fn receive_eof(&mut self) -> Result<(), ProtocolError> {
        let first = !self.is_done();
        self.eof = true;
        if first { Err(self.fail(ProtocolError::EofWithoutClose)) } else { Ok(()) }
    }

    /// Stops receiving: drops an incomplete message, and ignores all further input.
    pub(crate) fn abandon(&mut self) {
        self.failed = true;
        self.decoder.end();
        self.assembler.clear();
        self.control = None;
    }

    /// Returns whether a Close has been received.
    pub fn is_close_received(&self) -> bool {
        self.close_received
    }

    /// Returns whether the transport has ended.
    pub fn is_eof(&self) -> bool {
        self.eof
    }

    /// Returns whether nothing more will be received: after a Close, an error, or the end of the
    /// transport.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.close_received || self.failed || self.eof
    }

    /// Returns whether a message is being received: a data frame has begun, if only with a part of
    /// its header, and the last byte of the message has not been received.
    ///
    /// A message that is received in parts counts too. One that is complete, and still to be
    /// [decompressed](Self::inflate), does not.
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
        // RFC 6455 section 5.5: the opcodes of control frames have the most significant bit set.
        let begins = self.decoder.carried().first().is_some_and(|first| first & 0x08 == 0);
        let inside = self.decoder.frame().is_some_and(|frame| !frame.opcode.is_control());
        !self.is_done() && (begins || inside || self.assembler.is_inside_message())
    }

    /// Returns the first bytes of an incomplete header: at most thirteen.
    pub fn carried_header(&self) -> &[u8] {
        self.decoder.carried()
    }

    /// Processes the start of the input: a header, and as much of its payload data as there is, or
    /// more of a frame.
    #[inline]
    fn take_in(&mut self, input: &mut [u8]) -> Result<(usize, Option<Whole>), ProtocolError> {
        // First, because it ends all processing: RFC 6455 section 1.4: data received after a Close
        // is discarded; section 7.1.7: so is data received after an error.
        if self.is_done() {
            return Ok((input.len(), None));
        }
        // RFC 7692 section 7.2.2: compressed data is decompressed in order, so nothing overtakes
        // it.
        if self.assembler.has_compressed() {
            return Ok((0, None));
        }
        // Inside a frame, before a header is looked for: RFC 6455 section 5.2: the payload data
        // follows its header.
        if let Some(frame) = self.decoder.frame() {
            return self.take_in_part(&frame, input);
        }
        let (header, at) = match self.decoder.receive_header(input, self.expected)? {
            (Some(header), at) => (header, at),
            (None, consumed) => return Ok((consumed, None)),
        };
        // RFC 6455 sections 5.4 and 5.5: control frames may be injected between the fragments of a
        // message, and do not take part in it. All checks of a data frame's header precede its
        // payload data, so that nothing is allocated for a frame that will be refused.
        let control = header.opcode.is_control();
        if !control {
            self.assembler.begin_frame(&header)?;
        }
        // RFC 7692: a long compressed message is decompressed before all of it is received, so less
        // of it is taken.
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
            // RFC 6455 section 5.3: all payload data of a masked frame is unmasked, control frames'
            // too.
            if let Some(key) = header.mask {
                key.apply(payload);
            }
            Some(self.whole_control(header.opcode, payload, ControlPayload::Input(at..at + len))?)
        } else if self.assembler.is_streamed() {
            Some(self.stream_part(payload, header.mask, header.fin)?)
        } else {
            self.assembler.whole_frame(&header, payload)?.map(Whole::Message)
        };
        Ok((at + len, whole))
    }

    /// Processes a part of the payload data of a frame.
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
        } else if self.assembler.is_streamed() {
            let ends = self.decoder.consume(len);
            Some(self.stream_part(part, frame.mask, ends && frame.fin)?)
        } else {
            self.assembler.part_of_frame(frame, part)?;
            self.end_part(frame, len)?.map(Whole::Message)
        };
        Ok((len, whole))
    }

    /// Records that `len` bytes of a data frame were received; returns the message if that
    /// completed it.
    fn end_part(&mut self, frame: &Frame, len: usize) -> Result<Option<Message>, ProtocolError> {
        if self.decoder.consume(len) && frame.fin { self.assembler.finish() } else { Ok(None) }
    }

    #[inline(never)]
    fn stream_part(
        &mut self,
        part: &mut [u8],
        mask: Option<MaskKey>,
        last: bool,
    ) -> Result<Whole, ProtocolError> {
        let kind = self.assembler.stream_part(part, mask, last)?;
        Ok(Whole::Part { kind, len: part.len(), last })
    }

    fn part_of_control(&mut self, frame: &Frame, part: &[u8]) -> Result<Option<Whole>, ProtocolError> {
        let mut control = self.control.take().unwrap_or_else(|| Box::new(Control::new()));
        control.push(part, frame.mask);
        let whole = if self.decoder.consume(part.len()) {
            Some(self.whole_control(frame.opcode, control.payload(), ControlPayload::Buffered)?)
        } else {
            None
        };
        self.control = Some(control);
        Ok(whole)
    }

    fn whole_control(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        at: ControlPayload,
    ) -> Result<Whole, ProtocolError> {
        match opcode {
            Opcode::Ping => Ok(Whole::Ping(at)),
            Opcode::Pong => Ok(Whole::Pong(at)),
            _ => {
                let frame = CloseFrame::parse(payload)?;
                // RFC 6455 section 5.5.1: no data frames follow a Close, so an open message stays
                // incomplete.
                self.close_received = true;
                self.decoder.end();
                self.assembler.clear();
                Ok(Whole::Close(frame))
            }
        }
    }

    fn borrow_payload<'a>(&'a self, at: ControlPayload, input: &'a [u8]) -> &'a [u8] {
        match at {
            ControlPayload::Input(range) => &input[range],
            ControlPayload::Buffered => self.control.as_ref().map_or(&[], |control| control.payload()),
        }
    }

    #[cold]
    pub(super) fn fail(&mut self, error: ProtocolError) -> ProtocolError {
        self.abandon();
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Receives one unmasked frame, with RSV1 negotiated or not.
    fn receive(rsv1: bool, mut frame: Vec<u8>) -> Result<usize, ProtocolError> {
        let mut path = ReceivePath::new(Role::Client, &Config::new());
        path.expected.rsv1 = rsv1;
        path.receive(&mut frame).map(|step| step.consumed)
    }

    #[test]
    fn rsv1_is_allowed_if_negotiated_on_the_first_frame_of_a_message() {
        for first in [0xC1, 0xC2, 0x41, 0x42] {
            assert_eq!(receive(false, vec![first, 0]), Err(ProtocolError::ReservedBit));
            assert_eq!(receive(true, vec![first, 0]), Ok(2));
        }
        for first in [0xC0, 0xC8, 0xC9, 0xCA] {
            assert_eq!(receive(true, vec![first, 0]), Err(ProtocolError::ReservedBit));
        }
    }

    #[test]
    fn control_frames_in_parts_are_assembled_one_after_the_other() {
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

    /// Returns whether a message is being received, after each of these pieces.
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
    fn a_complete_message_that_is_still_compressed_is_not_being_received() {
        let params = crate::Deflate::new().into();
        let mut path = ReceivePath::new(Role::Client, &Config::new()).with_deflate(params);
        let pieces = [&b"\xC1"[..], b"\x07", b"\xF2\x48\xCD\xC9\xC9\x07", b"\x00"];
        assert_eq!(inside(&mut path, &pieces), [true, true, true, false]);
        assert!(path.has_compressed());
    }

    #[test]
    fn an_incomplete_header_is_carried_until_it_is_complete() {
        let mut path = ReceivePath::new(Role::Client, &Config::new());
        let mut carried = Vec::new();
        for piece in [&b""[..], b"\x81", b"\x7E", b"\x00", b"\x7E"] {
            path.receive(&mut piece.to_vec()).expect("valid");
            carried.push(path.carried_header().to_vec());
        }
        assert_eq!(carried, [&b""[..], b"\x81", b"\x81\x7E", b"\x81\x7E\x00", b""]);
    }

    #[test]
    fn the_end_of_the_transport_is_reported_once() {
        let mut path = ReceivePath::new(Role::Client, &Config::new());
        assert_eq!(path.receive_eof(), Err(ProtocolError::EofWithoutClose));
        assert_eq!(path.receive_eof(), Ok(()));
        assert!(path.is_done() && path.is_eof() && !path.is_close_received());
    }

    #[test]
    fn a_message_in_one_frame_takes_the_fast_path_between_messages_alone() {
        let mut path = ReceivePath::new(Role::Client, &Config::new());
        let whole = b"\x81\x01a";
        assert_eq!(path.receive_plain(whole), Some((3, Message::from("a"))));
        assert_eq!(path.receive_plain(b"\x01\x01a"), None);
        path.receive(&mut b"\x01\x01a".to_vec()).expect("valid");
        assert_eq!(path.receive_plain(whole), None);
    }
}
