//! The payload data of a message that is being received.

use std::fmt;

use bytes::{BufMut, Bytes, buf::UninitSlice};

use super::{
    mask::MaskKey,
    message::{Message, MessageKind},
    text::Utf8Bytes,
};
use crate::proto::utf8::{InvalidUtf8, Utf8Validator};

/// The minimum growth of a buffer that is read into, in bytes.
const GROWTH_STEP: usize = 16 << 10;

/// The maximum size of a buffer that is reserved at once for a frame of which a 16th has arrived.
/// Growing it in steps would copy what has arrived, and cost page faults where it is moved.
const AT_ONCE: usize = 1 << 20;

/// The payload data of one message: unmasked once, and validated as it arrives if it is text.
///
/// It owns both the bytes and their validation state, so that a [`Utf8Bytes`] needs no second
/// validation.
pub(crate) struct Payload {
    bytes: Vec<u8>,
    /// The number of bytes that are unmasked and validated. The rest was read into [`PayloadMut`].
    ready: usize,
    /// `None` for a binary message.
    utf8: Option<Utf8Validator>,
}

/// Creates a message from a single frame: copies the data into an allocation of its size, and
/// unmasks it in the same pass.
#[inline(always)]
pub(crate) fn whole_message(
    data: &[u8],
    mask: Option<MaskKey>,
    kind: MessageKind,
) -> Result<Message, InvalidUtf8> {
    let (bytes, ascii) = match mask {
        Some(key) => key.copied(data),
        None => (data.into(), false),
    };
    // RFC 6455 section 8.1: text that is not UTF-8 fails the connection.
    if kind == MessageKind::Text && !ascii && simdutf8::basic::from_utf8(&bytes).is_err() {
        return Err(InvalidUtf8);
    }
    let bytes = Bytes::from(bytes);
    Ok(match kind {
        MessageKind::Binary => Message::Binary(bytes),
        MessageKind::Text => Message::Text(Utf8Bytes::from_validated(bytes)),
    })
}

impl Payload {
    pub(crate) fn new(kind: MessageKind) -> Self {
        let text = kind == MessageKind::Text;
        Self { bytes: Vec::new(), ready: 0, utf8: text.then(Utf8Validator::default) }
    }

    /// Returns the kind of the message.
    pub(crate) fn kind(&self) -> MessageKind {
        if self.utf8.is_some() { MessageKind::Text } else { MessageKind::Binary }
    }

    /// Unmasks and validates a part in place, without keeping it.
    pub(crate) fn unmask_and_validate(
        &mut self,
        part: &mut [u8],
        mask: Option<MaskKey>,
    ) -> Result<(), InvalidUtf8> {
        let ascii = mask.is_some_and(|key| key.apply(part));
        push_text(&mut self.utf8, part, ascii)
    }

    /// Takes the data that is kept. What follows is validated as its continuation.
    pub(crate) fn take(&mut self) -> Bytes {
        self.forget_pending();
        self.ready = 0;
        std::mem::take(&mut self.bytes).into()
    }

    /// Appends a copy of a part of the payload data, unmasked.
    pub(crate) fn push(
        &mut self,
        part: &[u8],
        mask: Option<MaskKey>,
        hint: SizeHint,
    ) -> Result<(), InvalidUtf8> {
        self.forget_pending();
        self.grow(part.len(), self.bytes.len() + part.len(), hint);
        let ascii = append(part, mask, &mut self.bytes);
        self.validate(ascii)
    }

    /// Makes `room` bytes available at the end, up to a total of `most`, and calls `fill`, which
    /// returns how many bytes it wrote, and another value, which is returned.
    #[cfg(feature = "deflate")]
    pub(crate) fn fill<T, E: From<InvalidUtf8>>(
        &mut self,
        room: usize,
        most: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(usize, T), E>,
    ) -> Result<T, E> {
        self.forget_pending();
        let filled = self.ready;
        let end = filled.saturating_add(room).min(most);
        if end > self.bytes.capacity() {
            // The buffer at most doubles.
            self.bytes.reserve_exact(end.max(filled.saturating_mul(2).min(most)) - filled);
        }
        self.bytes.resize(end, 0);
        let (len, more) = fill(&mut self.bytes[filled..])?;
        self.bytes.truncate(filled + len);
        self.validate(false)?;
        Ok(more)
    }

    /// Returns room for the rest of the frame.
    pub(crate) fn room(&mut self, hint: SizeHint) -> PayloadMut<'_> {
        self.forget_pending();
        if self.bytes.len() == self.bytes.capacity() {
            self.grow(hint.rest.min(GROWTH_STEP), self.bytes.len(), hint);
        }
        let room = self.bytes.capacity() - self.bytes.len();
        PayloadMut { bytes: &mut self.bytes, left: room.min(hint.rest) }
    }

    /// Returns how many bytes were read into [`room`](Self::room) and not yet received.
    pub(crate) fn pending(&self) -> usize {
        self.bytes.len() - self.ready
    }

    /// Drops what was read and never received: it is neither unmasked nor validated.
    fn forget_pending(&mut self) {
        self.bytes.truncate(self.ready);
    }

    /// Unmasks and validates what was read.
    pub(crate) fn receive(&mut self, mask: Option<MaskKey>) -> Result<(), InvalidUtf8> {
        let part = &mut self.bytes[self.ready..];
        let ascii = mask.is_some_and(|key| key.apply(part));
        self.validate(ascii)
    }

    /// Validates what is unmasked.
    fn validate(&mut self, ascii: bool) -> Result<(), InvalidUtf8> {
        push_text(&mut self.utf8, &self.bytes[self.ready..], ascii)?;
        self.ready = self.bytes.len();
        Ok(())
    }

    /// Returns the message, after its last part.
    pub(crate) fn finish(mut self) -> Result<Message, InvalidUtf8> {
        debug_assert_eq!(self.pending(), 0);
        self.bytes.truncate(self.ready);
        // A message holds at most about twice its own size.
        if self.bytes.capacity() / 2 > self.bytes.len() {
            self.bytes.shrink_to_fit();
        }
        match self.utf8 {
            None => Ok(Message::Binary(self.bytes.into())),
            // RFC 6455 sections 5.6 and 8.1: the parts were validated as they arrived; the message
            // as a whole has to end with a complete code point.
            Some(utf8) if utf8.is_complete() => {
                Ok(Message::Text(Utf8Bytes::from_validated(self.bytes.into())))
            }
            Some(_) => Err(InvalidUtf8),
        }
    }

    /// Returns whether the data ends with a complete code point, if it is text.
    pub(crate) fn is_complete(&self) -> bool {
        self.utf8.is_none_or(|utf8| utf8.is_complete())
    }

    /// Returns how many bytes are kept.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Makes room for `more` bytes. The buffer at most doubles what has `arrived`, or grows by one
    /// step, or by both up to the end of the frame; or it grows at once up to the end of a frame of
    /// which a 16th has arrived, if that is at most [`AT_ONCE`].
    fn grow(&mut self, more: usize, arrived: usize, hint: SizeHint) {
        let len = self.bytes.len();
        let needed = len + more;
        if needed <= self.bytes.capacity() {
            return;
        }
        let frame_end = len + hint.rest;
        let double = arrived.saturating_mul(2);
        // If the frame ends within a step, room is made for all of it, to avoid moving it for a few
        // bytes.
        let least =
            if double.saturating_add(GROWTH_STEP) < frame_end { arrived + GROWTH_STEP } else { frame_end };
        let at_once = arrived.saturating_mul(16).min(AT_ONCE);
        let least = if frame_end <= at_once { frame_end } else { least };
        // The size of the following fragments is unknown.
        let end = if hint.last { frame_end } else { hint.limit };
        let target = double.max(least).min(end);
        self.bytes.reserve_exact(target.max(needed) - len);
    }
}

/// Appends a copy of `data`, unmasked; returns whether it is known to be all ASCII.
#[inline(always)]
fn append(data: &[u8], mask: Option<MaskKey>, to: &mut Vec<u8>) -> bool {
    match mask {
        Some(key) => key.append(data, to),
        None => {
            to.extend_from_slice(data);
            false
        }
    }
}

/// Validates a part, if the message is text.
fn push_text(utf8: &mut Option<Utf8Validator>, part: &[u8], ascii: bool) -> Result<(), InvalidUtf8> {
    // RFC 6455 section 8.1: invalid text fails the connection as soon as it arrives.
    match utf8 {
        Some(utf8) if ascii => utf8.push_ascii(part),
        Some(utf8) => utf8.push(part),
        None => Ok(()),
    }
}

/// Redacted: prints only the length.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload").field("len", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// What is known of the size of the payload data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SizeHint {
    /// The number of bytes of the frame that are missing, including the part at hand.
    pub(crate) rest: usize,
    /// Whether this is the last frame of the message.
    pub(crate) last: bool,
    /// The maximum size of the message.
    pub(crate) limit: usize,
}

/// Room in the buffer of a message, which its payload data is read into: at most the rest of the
/// frame, and not much more than has been received before.
///
/// After the read, [`ReceivePath::payload_received`](crate::proto::ReceivePath::payload_received)
/// processes the data.
pub struct PayloadMut<'a> {
    bytes: &'a mut Vec<u8>,
    left: usize,
}

#[allow(unsafe_code, reason = "BufMut is an unsafe trait; this delegates to the implementation of Vec")]
// SAFETY: `chunk_mut` returns a part of the chunk of Vec's implementation; `advance_mut` panics
// beyond `left`, which never exceeds that part, and otherwise calls that of Vec, whose contract the
// caller keeps.
unsafe impl BufMut for PayloadMut<'_> {
    fn remaining_mut(&self) -> usize {
        self.left
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        if self.left == 0 {
            return UninitSlice::new(&mut []);
        }
        let left = self.left;
        let chunk = self.bytes.chunk_mut();
        let len = chunk.len().min(left);
        &mut chunk[..len]
    }

    unsafe fn advance_mut(&mut self, len: usize) {
        assert!(len <= self.left, "advanced beyond the room for the payload");
        self.left -= len;
        // SAFETY: the caller has initialized `len` bytes of the chunk, which is one of Vec.
        unsafe { self.bytes.advance_mut(len) }
    }
}

impl fmt::Debug for PayloadMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayloadMut").field("remaining_mut", &self.left).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn last(rest: usize) -> SizeHint {
        SizeHint { rest, last: true, limit: MIB }
    }

    #[test]
    fn a_buffer_grows_with_the_bytes_received() {
        let mut payload = Payload::new(MessageKind::Binary);
        let declared = 1 << 30;
        let mut len = 0;
        while len < 4 * MIB {
            let mut room = payload.room(SizeHint { rest: declared - len, last: true, limit: declared });
            let got = room.remaining_mut();
            assert!(got > 0 && got <= len.max(GROWTH_STEP), "{got} at {len}");
            room.put_bytes(0, got);
            len += got;
            payload.receive(None).expect("binary");
            assert!(payload.bytes.capacity() <= 2 * len + GROWTH_STEP);
        }
    }

    #[test]
    fn the_last_growth_ends_with_the_frame() {
        let mut payload = Payload::new(MessageKind::Binary);
        payload.push(&[1; 40_000], None, last(70_000)).expect("binary");
        assert_eq!(payload.bytes.capacity(), 70_000);
        let mut room = payload.room(last(30_000));
        room.put_bytes(2, 30_000);
        assert_eq!(room.remaining_mut(), 0);
        assert_eq!(room.chunk_mut().len(), 0);
        payload.receive(None).expect("binary");
        assert_eq!(payload.finish().expect("binary").len(), 70_000);
    }

    #[test]
    fn memory_for_a_frame_of_at_most_1_mib_is_reserved_once_a_16th_has_arrived() {
        for (arrived, frame, capacity) in [
            (MIB / 16, MIB, MIB),
            (MIB / 16 - 1, MIB, MIB / 8 - 2),
            (MIB / 16, MIB + 1, MIB / 8),
            (MIB / 2, 2 * MIB, MIB),
            (16_000, 256_000, 256_000),
        ] {
            let mut payload = Payload::new(MessageKind::Binary);
            payload.push(&vec![1; arrived], None, last(frame)).expect("binary");
            assert_eq!(payload.bytes.capacity(), capacity, "{arrived} of {frame}");
        }
    }

    #[test]
    fn a_frame_little_longer_than_double_the_buffer_is_allocated_at_once() {
        let mut payload = Payload::new(MessageKind::Binary);
        payload.push(&[1; 65_522], None, last(131_072)).expect("binary");
        assert_eq!(payload.bytes.capacity(), 131_072);
    }

    #[test]
    fn one_byte_fragments_cause_few_allocations() {
        let mut payload = Payload::new(MessageKind::Binary);
        let mut allocations = 0;
        for _ in 0..10_000 {
            let before = payload.bytes.capacity();
            payload.push(b"x", None, SizeHint { rest: 1, last: false, limit: MIB }).expect("binary");
            allocations += usize::from(payload.bytes.capacity() != before);
        }
        assert!(allocations <= 15, "{allocations}");
        assert!(payload.bytes.capacity() <= 20_000);
    }

    #[test]
    fn fragments_received_in_two_parts_cause_few_allocations() {
        let mut payload = Payload::new(MessageKind::Binary);
        let mut allocations = 0;
        for _ in 0..10_000 {
            for (part, rest) in [(&[0; 35][..], 64), (&[0; 29], 29)] {
                let before = payload.bytes.capacity();
                payload.push(part, None, SizeHint { rest, last: false, limit: MIB }).expect("binary");
                allocations += usize::from(payload.bytes.capacity() != before);
            }
        }
        assert!(allocations <= 20, "{allocations}");
        assert!(payload.bytes.capacity() <= MIB);
    }

    #[test]
    fn text_is_validated_across_parts_and_fails_in_the_invalid_part() {
        let key = MaskKey::from([1, 2, 3, 4]);
        let mut payload = Payload::new(MessageKind::Text);
        for (at, byte) in "a\u{20AC}b".bytes().enumerate() {
            let mut part = [byte];
            key.after(at).apply(&mut part);
            payload.push(&part, Some(key.after(at)), last(5 - at)).expect("valid so far");
        }
        assert_eq!(payload.finish(), Ok(Message::from("a\u{20AC}b")));

        let mut payload = Payload::new(MessageKind::Text);
        payload.push(b"\xE2\x82", None, last(3)).expect("valid so far");
        assert_eq!(payload.push(b"x", None, last(1)), Err(InvalidUtf8));
    }

    #[test]
    fn a_whole_message_of_any_length_is_unmasked_and_validated() {
        let key = MaskKey::from([0x81, 0, 0x7F, 0xFF]);
        let masked = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            key.apply(&mut bytes);
            bytes
        };
        for len in 0..=300 {
            let text = format!("{}\u{fc}", "a".repeat(len));
            let data = masked(text.as_bytes());
            let (kind, bytes) = (MessageKind::Binary, text.clone().into_bytes());
            assert_eq!(whole_message(&data, Some(key), kind), Ok(Message::binary(bytes)));
            assert_eq!(whole_message(&data, Some(key), MessageKind::Text), Ok(Message::from(text.clone())));
            let cut = masked(&text.as_bytes()[..=len]);
            assert_eq!(whole_message(&cut, Some(key), MessageKind::Text), Err(InvalidUtf8), "{len}");
        }
    }

    #[test]
    fn text_that_ends_inside_a_code_point_is_invalid() {
        let mut payload = Payload::new(MessageKind::Text);
        payload.push(b"\xE2\x82", None, last(2)).expect("valid so far");
        assert_eq!(payload.finish(), Err(InvalidUtf8));
        assert_eq!(whole_message(b"\xE2\x82", None, MessageKind::Text), Err(InvalidUtf8));
    }

    #[test]
    fn what_was_read_and_not_received_is_dropped() {
        let mut payload = Payload::new(MessageKind::Binary);
        payload.push(b"a", None, last(10)).expect("binary");
        payload.room(last(9)).put_slice(b"never");
        assert_eq!(payload.pending(), 5);
        payload.push(b"b", None, last(9)).expect("binary");
        payload.room(last(8)).put_slice(b"never");
        assert_eq!(payload.take(), &b"ab"[..]);
        assert_eq!((payload.pending(), payload.len()), (0, 0));
    }
}
