//! Frames that are written before they are queued or staged.

use crate::proto::{
    header::Header,
    outgoing::{Outgoing, OutgoingPayload, is_copied},
    payload::{MaskKey, MessageKind},
};

/// The longest payload data that is copied behind its header here: on the stack, which has to be
/// cleared first, so that a longer copy is better made in a batch.
const COPIED_DIRECT: usize = 112;

/// A frame that is written from where its payload data is, without a buffer of the connection.
///
/// If the stream does not accept all of it, the message is staged as well, and the batch advanced: what
/// is not borrowed is not copied then.
pub(crate) struct DirectFrame<'a> {
    /// The header, and the payload data if it is short.
    head: [u8; 16 + COPIED_DIRECT],
    head_len: u8,
    /// The payload data if it is long; or a whole frame, if the head is empty.
    payload: &'a [u8],
}

impl<'a> DirectFrame<'a> {
    /// Returns the frame of a message. Returns `None` for one that is better copied, or masked, in a
    /// batch.
    #[inline(always)]
    pub(in crate::proto) fn of(outgoing: &'a Outgoing<'_>, mask: Option<MaskKey>) -> Option<Self> {
        let payload = match &outgoing.payload {
            OutgoingPayload::Prepared(prepared) => return Self::encoded(prepared.frame(), mask),
            OutgoingPayload::Bytes(payload) => payload,
            OutgoingPayload::Borrowed(payload) => *payload,
            OutgoingPayload::Vec(payload) => payload,
            OutgoingPayload::Mut(payload) => payload,
        };
        if payload.len() <= COPIED_DIRECT {
            return Some(Self::copied(outgoing.kind, payload, mask));
        }
        if is_copied(payload.len()) || mask.is_some() {
            return None;
        }
        let (head, len) = Self::head(outgoing.kind, payload, mask);
        Some(Self { head, head_len: len as u8, payload })
    }

    #[inline(always)]
    fn copied(kind: MessageKind, payload: &[u8], mask: Option<MaskKey>) -> Self {
        let (mut head, len) = Self::head(kind, payload, mask);
        let end = len + payload.len();
        let copy = &mut head[len..end];
        copy.copy_from_slice(payload);
        if let Some(key) = mask {
            key.apply(copy);
        }
        Self { head, head_len: end as u8, payload: &[] }
    }

    fn encoded(frame: &'a [u8], mask: Option<MaskKey>) -> Option<Self> {
        mask.is_none().then_some(Self { head: [0; 16 + COPIED_DIRECT], head_len: 0, payload: frame })
    }

    /// Returns the header, with room for short payload data behind it, and its length.
    #[inline(always)]
    fn head(kind: MessageKind, payload: &[u8], mask: Option<MaskKey>) -> ([u8; 16 + COPIED_DIRECT], usize) {
        let (header, len) = Header::of(kind.opcode(), payload.len(), mask).to_bytes();
        let mut head = [0; 16 + COPIED_DIRECT];
        head[..header.len()].copy_from_slice(&header);
        (head, len)
    }

    /// Returns the bytes of the frame, in two parts, of which either may be empty.
    #[inline(always)]
    pub(crate) fn parts(&self) -> [&[u8]; 2] {
        [&self.head[..usize::from(self.head_len)], self.payload]
    }

    /// Returns the length of the frame.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.head_len) + self.payload.len()
    }
}
