//! A message encoded once, to be sent many times.

use std::fmt;
#[cfg(feature = "deflate")]
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

#[cfg(feature = "deflate")]
use super::deflate::{Encodings, Pool, Shape};
use super::{
    header::Header,
    message::{Message, MessageKind, debug_payload},
    opcode::Opcode,
    queue::header,
};

/// A message encoded once, to be sent to any number of connections.
///
/// A server sends the same bytes to all of them; beyond 256 bytes without copying them: cloning it and queueing it costs a
/// reference count. A client has to mask each frame with a fresh key (RFC 6455 section 5.3), and so encodes it anew. For
/// connections that agreed on compression it is compressed once for each set of parameters, by itself; where the messages of a
/// connection refer to one another, those after it begin anew.
///
/// ```
/// use fullduplex::{Config, PreparedMessage, Role};
/// use fullduplex::proto::{Batch, Lent, MaskKey, SendPath};
/// use bytes::Buf;
///
/// let prepared = PreparedMessage::new("to everybody");
/// let (mut lent, mut batch) = (Lent::new(), Batch::new());
/// for _ in 0..3 {
///     let mut path = SendPath::new(Role::Server, &Config::new());
///     path.send((&prepared).into(), MaskKey::default(), &mut lent)?;
///     path.stage(&mut batch, &mut lent);
///     assert_eq!(batch.copy_to_bytes(batch.remaining()), &b"\x81\x0Cto everybody"[..]);
/// }
/// # Ok::<(), fullduplex::proto::SendError>(())
/// ```
#[derive(Clone)]
pub struct PreparedMessage {
    /// Uncompressed, until a connection that agreed on compression makes it the other one for itself.
    frame: EncodedFrame,
    /// The compressed ones, for those who send it after this.
    #[cfg(feature = "deflate")]
    encodings: Arc<Encodings>,
}

/// A whole message as one frame, unmasked.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct EncodedFrame(Bytes);

impl EncodedFrame {
    pub(super) fn new(kind: MessageKind, compressed: bool, payload: &[u8]) -> Self {
        let header = Header { rsv1: compressed, ..header(kind.opcode(), payload.len(), None) }.encode();
        let mut frame = BytesMut::with_capacity(header.len() + payload.len());
        frame.extend_from_slice(&header);
        frame.extend_from_slice(payload);
        Self(frame.freeze())
    }

    fn kind(&self) -> MessageKind {
        if self.0[0] & 0x0F == Opcode::Text.bits() { MessageKind::Text } else { MessageKind::Binary }
    }

    fn is_compressed(&self) -> bool {
        self.0[0] & 0x40 != 0
    }

    /// Where the payload data begins.
    #[inline]
    fn header_len(&self) -> usize {
        match self.0[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        }
    }
}

impl PreparedMessage {
    /// Encodes a message.
    pub fn new(message: impl Into<Message>) -> Self {
        let message = message.into();
        Self {
            frame: EncodedFrame::new(message.kind(), false, message.as_bytes()),
            #[cfg(feature = "deflate")]
            encodings: Arc::default(),
        }
    }

    /// The same message, compressed if that makes it shorter: once for all who compress alike. `None` if it takes more than
    /// the stride to compress it; the next call continues.
    #[cfg(feature = "deflate")]
    pub(super) fn compressed(&self, shape: Shape, stride: &mut usize, pool: &mut Pool) -> Option<Self> {
        let (kind, payload) = (self.kind(), self.payload());
        let encode = |payload: &[u8]| EncodedFrame::new(kind, true, payload);
        let encoded = self.encodings.advance(shape, payload, stride, pool, encode)?;
        Some(Self { frame: encoded.unwrap_or_else(|| self.frame.clone()), encodings: self.encodings.clone() })
    }

    /// The length of the payload data, in bytes.
    pub fn len(&self) -> usize {
        self.frame.0.len() - self.frame.header_len()
    }

    /// Whether the message carries no payload data.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn kind(&self) -> MessageKind {
        self.frame.kind()
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.frame.is_compressed()
    }

    /// The payload data.
    #[cfg(feature = "deflate")]
    pub(super) fn payload(&self) -> &[u8] {
        &self.frame.0[self.frame.header_len()..]
    }

    /// The whole frame, as a server sends it.
    pub(super) fn into_frame(self) -> Bytes {
        self.frame.0
    }

    /// The payload data, for a client to mask.
    pub(super) fn into_payload(self) -> Bytes {
        self.frame.0.slice(self.frame.header_len()..)
    }
}

impl fmt::Debug for PreparedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_payload(f, &"PreparedMessage", self.len())
    }
}

impl PartialEq for PreparedMessage {
    fn eq(&self, other: &Self) -> bool {
        self.frame == other.frame
    }
}

impl Eq for PreparedMessage {}

impl<T: Into<Message>> From<T> for PreparedMessage {
    fn from(message: T) -> Self {
        Self::new(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prepared_message_is_the_frame_a_server_sends() {
        for len in [0, 125, 126, 65_536] {
            let prepared = PreparedMessage::new(vec![7; len]);
            let frame = prepared.clone().into_frame();
            let (header, at) = Header::parse(&frame).expect("well-formed").expect("whole");
            assert_eq!(
                (header.opcode, header.payload_len, prepared.len()),
                (Opcode::Binary, len as u64, len)
            );
            assert_eq!(frame[at..], vec![7; len]);
        }
    }
}
