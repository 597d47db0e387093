//! Messages that are encoded once and sent many times.

use std::fmt;
#[cfg(feature = "deflate")]
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

#[cfg(feature = "deflate")]
use super::deflate::{Codecs, Encodings, Shape};
use super::{
    encoded::EncodedFrame,
    payload::{Message, MessageKind, debug_payload},
    sequence::Sequence,
};

/// A message that is encoded once and sent to any number of connections.
///
/// A server sends the same bytes to all of them. Messages of more than 256 bytes are not copied:
/// cloning and queueing one increments a reference count. A client has to mask each frame with a
/// new key (RFC 6455 section 5.3), and therefore encodes it each time.
///
/// For connections that negotiated compression, the message is compressed once for each set of
/// parameters, without reference to other messages. With context takeover, the messages that follow
/// it do not refer to earlier ones.
///
/// It can be several messages that are sent as one unit: a [`Sequence`].
///
/// ```
/// use fullduplex::{Config, PreparedMessage, Role};
/// use fullduplex::proto::{Batch, Buffers, MaskKey, SendPath};
/// use bytes::Buf;
///
/// let prepared = PreparedMessage::new("to everybody");
/// let (mut buffers, mut batch) = (Buffers::new(), Batch::new());
/// for _ in 0..3 {
///     let mut path = SendPath::new(Role::Server, &Config::new());
///     path.send((&prepared).into(), MaskKey::default(), &mut buffers)?;
///     path.stage(&mut batch, &mut buffers);
///     assert_eq!(batch.copy_to_bytes(batch.remaining()), &b"\x81\x0Cto everybody"[..]);
/// }
/// # Ok::<(), fullduplex::proto::SendError>(())
/// ```
#[derive(Clone)]
pub struct PreparedMessage {
    /// Uncompressed; in the clone of a connection that compressed it, compressed.
    frame: EncodedFrame,
    #[cfg(feature = "deflate")]
    shared: Arc<Shared>,
}

/// What the clones of a prepared message share.
#[cfg(feature = "deflate")]
#[derive(Default)]
struct Shared {
    /// The compressed frames, for the connections that send it later.
    encodings: Encodings,
    /// The messages of a sequence, once a connection compresses them.
    messages: OnceLock<Vec<PreparedMessage>>,
}

impl PreparedMessage {
    /// Encodes a message, or a [`Sequence`].
    pub fn new(message: impl Into<Sequence>) -> Self {
        let sequence = message.into();
        let first = sequence.first();
        let mut frame = EncodedFrame::new(first.kind(), false, first.as_bytes());
        if !sequence.rest().is_empty() {
            frame = frame.followed_by(sequence.rest().iter());
        }
        Self::of(frame)
    }

    fn of(frame: EncodedFrame) -> Self {
        Self {
            frame,
            #[cfg(feature = "deflate")]
            shared: Arc::default(),
        }
    }

    /// Returns a sequence of this message, or these, and more that follow.
    #[cfg(feature = "hub")]
    pub(crate) fn followed_by(self, messages: &[Message]) -> Self {
        if messages.is_empty() { self } else { Self::of(self.frame.followed_by(messages.iter())) }
    }

    /// Returns whether it is more than one message.
    #[inline]
    pub(super) fn is_sequence(&self) -> bool {
        self.frame.is_sequence()
    }

    /// Returns the messages of a sequence.
    ///
    /// They are the same ones for all clones, so that each is compressed once.
    pub(super) fn messages(&self) -> Vec<Self> {
        #[cfg(feature = "deflate")]
        {
            self.shared.messages.get_or_init(|| self.frame.frames().map(Self::of).collect()).clone()
        }
        #[cfg(not(feature = "deflate"))]
        {
            self.frame.frames().map(Self::of).collect()
        }
    }

    /// Returns the same message, compressed if that makes it shorter: once for all connections with
    /// the same parameters. `None`: the stride is used up; the next call continues.
    #[cfg(feature = "deflate")]
    pub(super) fn compressed(&self, shape: Shape, stride: &mut usize, codecs: &mut Codecs) -> Option<Self> {
        let (kind, payload) = (self.kind(), self.payload());
        let encode = |payload: &[u8]| EncodedFrame::new(kind, true, payload);
        let encoded = self.shared.encodings.advance(shape, payload, stride, codecs, encode)?;
        Some(Self { frame: encoded.unwrap_or_else(|| self.frame.clone()), shared: self.shared.clone() })
    }

    /// Returns the length of the payload data, in bytes. Of a sequence, it is the length of all messages
    /// with the headers between them.
    pub fn len(&self) -> usize {
        self.frame.payload_len()
    }

    /// Returns whether the payload data is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn kind(&self) -> MessageKind {
        self.frame.kind()
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.frame.is_compressed()
    }

    /// Returns the payload data.
    #[cfg(feature = "deflate")]
    pub(super) fn payload(&self) -> &[u8] {
        self.frame.payload()
    }

    /// Returns the whole frame, as a server sends it; of a sequence, all frames.
    pub(super) fn frame(&self) -> &Bytes {
        self.frame.bytes()
    }

    /// Returns the whole frame, as a server sends it; of a sequence, all frames.
    pub(super) fn into_frame(self) -> Bytes {
        self.frame.into_bytes()
    }

    /// Returns the payload data, which a client masks.
    pub(super) fn into_payload(self) -> Bytes {
        self.frame.into_payload()
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

impl From<Sequence> for PreparedMessage {
    fn from(sequence: Sequence) -> Self {
        Self::new(sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{header::Header, opcode::Opcode};

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

    #[test]
    fn prepared_messages_are_equal_if_their_frames_are() {
        let text = PreparedMessage::new("a");
        assert_eq!(text, PreparedMessage::new("a"));
        assert_ne!(text, PreparedMessage::new("b"));
        assert_ne!(text, PreparedMessage::new(b"a".to_vec()));
    }
}
