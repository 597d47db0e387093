//! A message encoded once, to be sent many times.

use bytes::{Bytes, BytesMut};

use super::{header::Header, message::Message, opcode::Opcode};

/// A message encoded once, to be sent to any number of connections.
///
/// A server sends the same bytes to all of them, uncopied: cloning it and queueing it costs a reference count. A client
/// has to mask each frame with a fresh key (RFC 6455 section 5.3), and so encodes it anew.
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedMessage {
    /// The whole frame, unmasked.
    frame: Bytes,
    header_len: u8,
    opcode: Opcode,
}

impl PreparedMessage {
    /// Encodes a message.
    pub fn new(message: impl Into<Message>) -> Self {
        let (opcode, payload) = message.into().into_payload();
        let header =
            Header { fin: true, rsv1: false, opcode, mask: None, payload_len: payload.len() as u64 }.encode();
        let mut frame = BytesMut::with_capacity(header.len() + payload.len());
        frame.extend_from_slice(&header);
        frame.extend_from_slice(&payload);
        Self { frame: frame.freeze(), header_len: header.len() as u8, opcode }
    }

    /// The length of the payload data, in bytes.
    pub fn len(&self) -> usize {
        self.frame.len() - usize::from(self.header_len)
    }

    /// Whether the message carries no payload data.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn opcode(&self) -> Opcode {
        self.opcode
    }

    /// The whole frame, as a server sends it.
    pub(super) fn into_frame(self) -> Bytes {
        self.frame
    }

    /// The payload data, for a client to mask.
    pub(super) fn into_payload(self) -> Bytes {
        self.frame.slice(usize::from(self.header_len)..)
    }
}

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
