//! Frames that are written before they are queued or staged.

use crate::proto::{
    header::Header,
    outgoing::{Outgoing, OutgoingPayload, is_copied},
    payload::MaskKey,
};

/// The longest payload data that is copied behind its header here: on the stack, which has to be
/// cleared first, so that a longer copy is better made in a batch.
const COPIED_DIRECT: usize = 112;

/// The start of a frame that is written without a buffer of the connection: the header, and the payload
/// data if it is short.
///
/// If the stream does not accept all of the frame, the message is staged as well, and the batch advanced:
/// what is not borrowed is not copied then.
// Filled in place: moving it costs more than creating it.
#[derive(Default)]
pub(crate) struct DirectHead(Option<[u8; 16 + COPIED_DIRECT]>);

impl DirectHead {
    /// Returns the frame of a message in two parts, of which either may be empty. Returns `None` for a
    /// message that is better copied, or masked, in a batch.
    #[inline(always)]
    pub(in crate::proto) fn frame<'a>(
        &'a mut self,
        outgoing: &'a Outgoing<'_>,
        mask: Option<MaskKey>,
    ) -> Option<[&'a [u8]; 2]> {
        let payload = match &outgoing.payload {
            OutgoingPayload::Borrowed(payload) => *payload,
            OutgoingPayload::Bytes(payload) => payload,
            OutgoingPayload::Vec(payload) => payload,
            OutgoingPayload::Mut(payload) => payload,
            OutgoingPayload::Prepared(prepared) => {
                return mask.is_none().then(|| [&prepared.frame()[..], &[]]);
            }
        };
        let is_short = payload.len() <= COPIED_DIRECT;
        if !is_short && (is_copied(payload.len()) || mask.is_some()) {
            return None;
        }
        let (header, len) = Header::of(outgoing.kind.opcode(), payload.len(), mask).to_bytes();
        let head = self.0.insert([0; 16 + COPIED_DIRECT]);
        head[..header.len()].copy_from_slice(&header);
        if !is_short {
            return Some([&head[..len], payload]);
        }
        let copy = &mut head[len..len + payload.len()];
        copy.copy_from_slice(payload);
        if let Some(key) = mask {
            key.apply(copy);
        }
        Some([&head[..len + payload.len()], &[]])
    }
}
