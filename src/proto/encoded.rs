//! Messages encoded as one frame.

use std::iter;

use bytes::{Bytes, BytesMut};

use super::{
    header::{Header, MAX_HEADER},
    opcode::Opcode,
    payload::{Message, MessageKind},
};

/// A whole message as one frame, unmasked; or the frames of a sequence, one after the other.
///
/// It is never empty, and each frame is complete.
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

    /// Returns the same frames, and behind them those of more messages, uncompressed.
    pub(super) fn followed_by<'m>(&self, messages: impl Iterator<Item = &'m Message> + Clone) -> Self {
        let lens = messages.clone().map(|message| MAX_HEADER + message.len());
        let mut frames = BytesMut::with_capacity(self.0.len() + lens.sum::<usize>());
        frames.extend_from_slice(&self.0);
        for message in messages {
            frames.extend_from_slice(&Header::of(message.kind().opcode(), message.len(), None).encode());
            frames.extend_from_slice(message.as_bytes());
        }
        Self(frames.freeze())
    }

    /// Returns whether it is more than one frame.
    #[inline]
    pub(super) fn is_sequence(&self) -> bool {
        self.0.len() > self.first_len()
    }

    /// Returns each frame of a sequence, uncopied.
    pub(super) fn frames(&self) -> impl Iterator<Item = Self> {
        let mut rest = Some(self.clone());
        iter::from_fn(move || {
            let mut first = rest.take()?;
            let behind = first.0.split_off(first.first_len());
            rest = (!behind.is_empty()).then_some(Self(behind));
            Some(first)
        })
    }

    pub(super) fn kind(&self) -> MessageKind {
        if self.0[0] & 0x0F == Opcode::Text.bits() { MessageKind::Text } else { MessageKind::Binary }
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.0[0] & 0x40 != 0
    }

    /// Returns the length of the payload data, in bytes; of a sequence, that of everything behind the
    /// first header.
    pub(super) fn payload_len(&self) -> usize {
        self.0.len() - self.header_len()
    }

    /// Returns the length of the first frame, in bytes.
    #[inline]
    fn first_len(&self) -> usize {
        let payload_len = match (self.0[1], &self.0[2..]) {
            (126, [a, b, ..]) => u16::from_be_bytes([*a, *b]).into(),
            (127, len) if len.len() >= 8 => {
                len[..8].iter().fold(0, |len, byte| len << 8 | usize::from(*byte))
            }
            (len, _) => len.into(),
        };
        self.header_len() + payload_len
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frames_of_a_sequence_are_found_again_at_each_length() {
        let messages: Vec<Message> =
            [0, 1, 125, 126, 65_535, 65_536, 0].map(|len| Message::binary(vec![7; len])).to_vec();
        for from in 0..messages.len() {
            let messages = &messages[from..];
            let first = EncodedFrame::new(MessageKind::Binary, false, messages[0].as_bytes());
            assert!(!first.is_sequence());
            let sequence = first.followed_by(messages[1..].iter());
            assert_eq!(sequence.is_sequence(), messages.len() > 1);
            assert_eq!(sequence.payload_len(), sequence.bytes().len() - first.header_len());
            let found = sequence.frames().map(|frame| Message::from(frame.into_payload()));
            assert!(found.eq(messages.iter().cloned()));
        }
    }
}
