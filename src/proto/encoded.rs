//! Messages encoded as one frame.

use bytes::{Bytes, BytesMut};

use super::{header::Header, opcode::Opcode, payload::MessageKind};

/// A whole message as one frame, unmasked.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct EncodedFrame(Bytes);

impl EncodedFrame {
    pub(super) fn new(kind: MessageKind, compressed: bool, payload: &[u8]) -> Self {
        let header = Header { rsv1: compressed, ..Header::of(kind.opcode(), payload.len(), None) }.encode();
        let mut frame = BytesMut::with_capacity(header.len() + payload.len());
        frame.extend_from_slice(&header);
        frame.extend_from_slice(payload);
        Self(frame.freeze())
    }

    pub(super) fn kind(&self) -> MessageKind {
        if self.0[0] & 0x0F == Opcode::Text.bits() { MessageKind::Text } else { MessageKind::Binary }
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.0[0] & 0x40 != 0
    }

    /// Returns the length of the payload data, in bytes.
    pub(super) fn payload_len(&self) -> usize {
        self.0.len() - self.header_len()
    }

    /// Returns the payload data.
    #[cfg(feature = "deflate")]
    pub(super) fn payload(&self) -> &[u8] {
        &self.0[self.header_len()..]
    }

    /// Returns the whole frame.
    pub(super) fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Returns the whole frame.
    pub(super) fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Returns the payload data, uncopied.
    pub(super) fn into_payload(self) -> Bytes {
        self.0.slice(self.header_len()..)
    }

    /// Returns the length of the header, in bytes.
    #[inline]
    fn header_len(&self) -> usize {
        match self.0[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        }
    }
}
