//! Messages to frames.

use std::mem;

use bytes::Bytes;

use crate::proto::{
    header::{EncodedHeader, Header},
    outgoing::{Outgoing, OutgoingPayload, is_copied},
    payload::{MaskKey, MessageKind},
};

/// The longest payload data of a prepared message that is copied. A reference to a shorter one
/// would take more memory.
const COPIED_PREPARED: usize = 256;

/// A destination of whole frames.
pub(in crate::proto) trait Frames {
    /// Pushes a frame whose payload data is copied behind its header, and masked in the same pass.
    fn push_copied(&mut self, header: &Header, payload: &[u8]);

    /// Pushes a frame whose payload data is not copied, and masked already.
    fn push_uncopied(&mut self, header: EncodedHeader, payload: Bytes);

    /// Pushes a frame of a message, or a Close.
    #[inline]
    fn push(&mut self, header: Header, payload: Bytes) {
        debug_assert_eq!(header.payload_len, payload.len() as u64);
        if is_copied(payload.len()) {
            return self.push_copied(&header, &payload);
        }
        push_uncopied(header, payload, self);
    }
}

/// Returns the payload data of a message that is short enough to be copied into its frame, which
/// costs less than moving it.
// Only of the common kinds, to need few branches; `push_other` copies the others.
#[inline(always)]
pub(in crate::proto) fn short<'a>(outgoing: &'a Outgoing<'_>) -> Option<(MessageKind, &'a [u8])> {
    let payload = match &outgoing.payload {
        OutgoingPayload::Bytes(payload) => payload,
        OutgoingPayload::Borrowed(payload) => *payload,
        OutgoingPayload::Vec(payload) => payload,
        _ => return None,
    };
    (is_copied(payload.len())).then_some((outgoing.kind, payload))
}

#[inline(always)]
pub(in crate::proto) fn push_short(
    kind: MessageKind,
    payload: &[u8],
    mask: Option<MaskKey>,
    to: &mut impl Frames,
) {
    to.push_copied(&Header::of(kind.opcode(), payload.len(), mask), payload);
}

/// Pushes a message as one frame, copied if it is short. The payload data of a longer one is moved
/// out of `outgoing`.
#[inline]
pub(in crate::proto) fn push_message(
    outgoing: &mut Outgoing<'_>,
    mask: Option<MaskKey>,
    to: &mut impl Frames,
) {
    if let Some((kind, payload)) = short(outgoing) {
        push_short(kind, payload, mask, to);
    } else if let OutgoingPayload::Bytes(payload) = &mut outgoing.payload {
        // The common kind, on its own: moved alone and not with the rest of the message.
        let payload = mem::take(payload);
        push_uncopied(Header::of(outgoing.kind.opcode(), payload.len(), mask), payload, to);
    } else {
        push_other(outgoing.take(), mask, to);
    }
}

/// Pushes a message of a kind that is not common, or whose payload data is prepared or borrowed.
#[inline(never)]
pub(in crate::proto) fn push_other(outgoing: Outgoing<'_>, mask: Option<MaskKey>, to: &mut impl Frames) {
    let Outgoing { kind, payload, .. } = outgoing;
    match (payload, mask) {
        // Not looked for by `short`. Copied, because to convert it to `Bytes` may allocate.
        (OutgoingPayload::Mut(payload), _) if is_copied(payload.len()) => {
            push_short(kind, &payload, mask, to)
        }
        (OutgoingPayload::Prepared(prepared), None) if prepared.len() > COPIED_PREPARED => {
            to.push_uncopied(EncodedHeader::NONE, prepared.into_frame());
        }
        (OutgoingPayload::Prepared(prepared), mask) if prepared.is_sequence() => {
            // A client queues them one by one, each with a key of its own.
            debug_assert!(mask.is_none());
            for message in prepared.messages() {
                let (header, payload) = into_frame(message.kind(), OutgoingPayload::Prepared(message), mask);
                to.push(header, payload);
            }
        }
        // Masked while it is copied, to copy it once.
        (OutgoingPayload::Borrowed(payload), Some(key)) if !is_copied(payload.len()) => {
            to.push_uncopied(
                Header::of(kind.opcode(), payload.len(), mask).encode(),
                masked_copy(payload, key),
            );
        }
        (payload, mask) => {
            let (header, payload) = into_frame(kind, payload, mask);
            to.push(header, payload);
        }
    }
}

/// Pushes a frame whose payload data is too long to be copied, and not masked yet.
fn push_uncopied(header: Header, payload: Bytes, to: &mut (impl Frames + ?Sized)) {
    let payload = match header.mask {
        Some(key) => masked(payload, key),
        None => payload,
    };
    to.push_uncopied(header.encode(), payload);
}

/// Converts a message into a frame, neither masked nor encoded.
#[inline(always)]
pub(in crate::proto) fn into_frame(
    kind: MessageKind,
    payload: OutgoingPayload<'_>,
    mask: Option<MaskKey>,
) -> (Header, Bytes) {
    let (rsv1, payload) = match payload {
        OutgoingPayload::Bytes(payload) => (false, payload),
        OutgoingPayload::Borrowed(payload) => (false, Bytes::copy_from_slice(payload)),
        OutgoingPayload::Vec(payload) => (false, payload.into()),
        OutgoingPayload::Mut(payload) => (false, payload.freeze()),
        OutgoingPayload::Prepared(prepared) => (prepared.is_compressed(), prepared.into_payload()),
    };
    (Header { rsv1, ..Header::of(kind.opcode(), payload.len(), mask) }, payload)
}

/// Appends a frame to a buffer, masked if the header has a key.
#[inline(always)]
pub(in crate::proto) fn append_frame(buffer: &mut Vec<u8>, header: &Header, payload: &[u8]) {
    header.append_to(buffer);
    match header.mask {
        Some(key) => append_masked(buffer, payload, key),
        None => buffer.extend_from_slice(payload),
    }
}

/// Appends masked data. Out of line, because a server does not need it.
#[inline(never)]
fn append_masked(buffer: &mut Vec<u8>, payload: &[u8], key: MaskKey) {
    key.append(payload, buffer);
}

/// Masks in place if the payload data is not shared, else in a copy.
fn masked(payload: Bytes, key: MaskKey) -> Bytes {
    match payload.try_into_mut() {
        Ok(mut own) => {
            key.apply(&mut own);
            own.freeze()
        }
        Err(shared) => masked_copy(&shared, key),
    }
}

fn masked_copy(payload: &[u8], key: MaskKey) -> Bytes {
    let mut copy = Vec::with_capacity(payload.len());
    key.append(payload, &mut copy);
    copy.into()
}
