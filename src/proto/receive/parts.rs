//! Receiving of compressed messages, and of messages in parts.

use bytes::Bytes;

use super::path::ReceivePath;
use crate::proto::{
    assembler::Inflated, buffers::Buffers, error::ProtocolError, payload::MessageKind, received::Received,
};

impl ReceivePath {
    /// Returns whether [`inflate`](Self::inflate) has to be called before more input is consumed.
    /// Always false if compression was not negotiated.
    #[inline]
    pub fn has_compressed(&self) -> bool {
        self.assembler.has_compressed()
    }

    /// Decompresses some of the received data; returns the message, or the part of one, that this
    /// completes.
    ///
    /// Call it while [`has_compressed`](Self::has_compressed) returns true. One call returns at
    /// most about 256 KiB.
    ///
    /// RFC 7692 section 7.2.2.
    ///
    /// # Errors
    /// The data is not valid DEFLATE data, exceeds the limit, or is not UTF-8. All further input is
    /// ignored.
    pub fn inflate<'a>(&mut self, buffers: &'a mut Buffers) -> Result<Option<Received<'a>>, ProtocolError> {
        match self.assembler.inflate(buffers.codecs()) {
            Ok(None) => Ok(None),
            Ok(Some(Inflated::Message(message))) => Ok(Some(Received::Message(message))),
            Ok(Some(Inflated::Part(part))) => Ok(Some(Received::Part(part))),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Receives the current message, or the next one, in parts: each is returned as a
    /// [`Received::Part`], and none is kept. Returns what was kept of the current message.
    ///
    /// Of all limits only this one applies to the message: `limit` bytes of payload data in total.
    ///
    /// # Errors
    /// [`ProtocolError::MessageTooBig`] if what was received of the current message, with what its
    /// frame announces, exceeds `limit`. All further input is ignored.
    ///
    /// ```
    /// use fullduplex::{Config, Role, MessageKind};
    /// use fullduplex::proto::{ReceivePath, Received};
    ///
    /// let mut path = ReceivePath::new(Role::Client, &Config::new());
    /// path.receive_parts(1 << 40)?;
    /// let mut input = *b"\x81\x05Hel";
    /// let step = path.receive(&mut input)?;
    /// let Some(Received::Part(part)) = step.received else { panic!("some of the message has come") };
    /// assert_eq!((part.kind, part.payload, part.last), (MessageKind::Text, &b"Hel"[..], false));
    /// # Ok::<(), fullduplex::proto::ProtocolError>(())
    /// ```
    pub fn receive_parts(&mut self, limit: u64) -> Result<Option<(MessageKind, Bytes)>, ProtocolError> {
        if self.is_done() {
            return Ok(None);
        }
        self.assembler.begin_parts(limit, self.decoder.frame()).map_err(|error| self.fail(error))
    }

    /// Receives the next message as a whole again. A message that is being received in parts
    /// continues in parts.
    #[inline]
    pub fn receive_whole(&mut self) {
        if self.assembler.gives_parts() {
            self.assembler.end_parts();
        }
    }

    /// Fails because of a text message that the upper floor does not accept. All further input is
    /// ignored.
    pub(crate) fn refuse_text(&mut self) -> ProtocolError {
        self.fail(ProtocolError::UnexpectedText)
    }

    /// Returns whether some, but not all, of a message was received in parts.
    pub fn is_inside_parts(&self) -> bool {
        self.assembler.is_inside_parts()
    }
}

#[cfg(all(test, feature = "deflate"))]
mod tests {
    use super::*;
    use crate::{
        Config, Role,
        proto::{MaskKey, Want},
    };

    #[test]
    fn compressed_payload_data_is_not_read_into_the_message() {
        use bytes::Buf;

        use crate::{
            Deflate,
            proto::{Batch, SendPath},
        };
        let noise: Vec<u8> = (0..300_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        let settings = Deflate::new().context_takeover(true);
        let (mut buffers, mut batch) = (Buffers::new(), Batch::new());
        let mut send = SendPath::new(Role::Server, &Config::new()).with_deflate(settings, settings.into());
        send.send(noise.clone().into(), MaskKey::default(), &mut buffers).expect("open");
        while send.queued_bytes() > 0 {
            send.stage(&mut batch, &mut buffers);
        }
        let mut wire = batch.copy_to_bytes(batch.remaining()).to_vec();
        let mut path = ReceivePath::new(Role::Client, &Config::new()).with_deflate(settings.into());
        let (mut at, mut message) = (0, None);
        while message.is_none() {
            let end = wire.len().min(at + (64 << 10));
            at += path.receive(&mut wire[at..end]).expect("valid").consumed;
            assert!(matches!(path.want(), Want::Scratch));
            while path.has_compressed() && message.is_none() {
                message = path.inflate(&mut buffers).expect("valid").and_then(Received::into_message);
            }
        }
        assert_eq!((at, message), (wire.len(), Some(noise.into())));
    }
}
