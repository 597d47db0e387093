//! Sending of messages in parts.

use bytes::Bytes;

use super::path::{InParts, SendPath};
use crate::proto::{
    buffers::Buffers,
    close::CloseFrame,
    close_code::CloseCode,
    error::SendError,
    header::Header,
    opcode::Opcode,
    payload::{MaskKey, MessageKind},
    utf8::Utf8Validator,
};

impl SendPath {
    /// Begins a message that is sent in parts. Until it is finished, only pings, pongs and a Close
    /// can be queued beside it (RFC 6455 section 5.4).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn begin_message(&mut self, kind: MessageKind) -> Result<(), SendError> {
        self.no_message()?;
        let utf8 = (kind == MessageKind::Text).then(Utf8Validator::default);
        self.message = Some(InParts { opcode: kind.opcode(), utf8 });
        if let Some(deflation) = &mut self.deflation {
            deflation.begin_parts(true);
        }
        Ok(())
    }

    /// Disables compression for the message that has begun. Must be called before its first part.
    #[cfg(feature = "deflate")]
    pub fn leave_uncompressed(&mut self) {
        if let (Some(InParts { opcode: Opcode::Text | Opcode::Binary, .. }), Some(deflation)) =
            (self.message, &mut self.deflation)
        {
            deflation.begin_parts(false);
        }
    }

    /// Queues the next part of the message that has begun, as one frame; the last one finishes it.
    /// A part may end inside a code point.
    ///
    /// # Errors
    /// [`SendError::Closing`]; [`SendError::NoMessageOpen`]; [`SendError::InvalidUtf8`], also if
    /// the last part ends inside a code point. Nothing is queued then, and the message is
    /// unchanged.
    pub fn send_part(
        &mut self,
        part: Bytes,
        last: bool,
        key: MaskKey,
        buffers: &mut Buffers,
    ) -> Result<(), SendError> {
        self.open()?;
        let InParts { opcode, mut utf8 } = self.message.ok_or(SendError::NoMessageOpen)?;
        if let Some(utf8) = &mut utf8 {
            utf8.push(&part).map_err(|_| SendError::InvalidUtf8)?;
            if last && !utf8.is_complete() {
                return Err(SendError::InvalidUtf8);
            }
        }
        let compressed = self.deflation.as_ref().is_some_and(|deflation| deflation.is_in_parts());
        // An empty part compresses to nothing, except at the end. The first frame is then a later
        // one.
        if compressed && part.is_empty() && !last {
            self.message = Some(InParts { opcode, utf8 });
            return Ok(());
        }
        self.message = (!last).then_some(InParts { opcode: Opcode::Continuation, utf8 });
        let mask = self.mask(key);
        let header = Header { fin: last, ..Header::of(opcode, part.len(), mask) };
        let queue = self.queue.get_or_insert_with(|| buffers.queue());
        match &self.deflation {
            Some(deflation) if compressed => {
                queue.push_uncompressed(|uncompressed| deflation.push_part(header, part, uncompressed))
            }
            _ => queue.push_behind(header, part),
        }
        Ok(())
    }

    /// Abandons the message that is sent in parts, if there is one. If a part of it is queued or
    /// sent, the connection is failed with 1011, because the part cannot be taken back.
    pub fn abandon_message(&mut self, key: MaskKey, buffers: &mut Buffers) {
        let begun = self.message.take().is_some_and(|message| message.opcode == Opcode::Continuation);
        if begun && !self.is_close_sent() {
            let frame = CloseFrame::from_static(CloseCode::INTERNAL_ERROR, "message not finished");
            self.push_close(Some(&frame), key, buffers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{path, send, staged},
        *,
    };

    #[test]
    fn each_part_is_one_frame_and_pings_are_sent_between_them() {
        let (mut path, mut batch, mut buffers) = path();
        let key = MaskKey::default();
        assert_eq!(path.send_part(Bytes::new(), true, key, &mut buffers), Err(SendError::NoMessageOpen));
        path.begin_message(MessageKind::Text).expect("none is open");
        path.send_part("gr\u{fc}".into(), false, key, &mut buffers).expect("text");
        assert_eq!(path.send("other".into(), key, &mut buffers), Err(SendError::MessageOpen));
        assert_eq!(path.begin_message(MessageKind::Binary), Err(SendError::MessageOpen));
        assert_eq!(staged(&mut path, &mut batch, &mut buffers), b"\x01\x04gr\xC3\xBC");
        path.send_part(Bytes::from_static(b"\xE2\x82"), false, key, &mut buffers).expect("text so far");
        path.ping(b"p", key, &mut buffers).expect("open");
        assert_eq!(path.send_part("x".into(), true, key, &mut buffers), Err(SendError::InvalidUtf8));
        assert_eq!(path.send_part(Bytes::new(), true, key, &mut buffers), Err(SendError::InvalidUtf8));
        path.send_part(Bytes::from_static(b"\xAC"), true, key, &mut buffers).expect("text");
        assert_eq!(staged(&mut path, &mut batch, &mut buffers), b"\x89\x01p\x00\x02\xE2\x82\x80\x01\xAC");
        send(&mut path, "other", &mut buffers);
        assert_eq!(staged(&mut path, &mut batch, &mut buffers), b"\x81\x05other");
    }

    /// RFC 6455 section 6.1.
    #[test]
    fn a_message_does_not_continue_after_a_close() {
        use crate::proto::Received;

        let (mut path, mut batch, mut buffers) = path();
        let key = MaskKey::default();
        path.begin_message(MessageKind::Binary).expect("none is open");
        path.send_part("part".into(), false, key, &mut buffers).expect("open");
        path.answer(&Received::Close(None), key, &mut buffers);
        assert_eq!(path.send_part("late".into(), true, key, &mut buffers), Err(SendError::Closing));
        assert_eq!(staged(&mut path, &mut batch, &mut buffers), b"\x02\x04part\x88\x00");
    }

    #[test]
    fn an_abandoned_message_fails_the_connection_if_a_part_of_it_is_queued() {
        let (mut path, mut batch, mut buffers) = path();
        let key = MaskKey::default();
        path.begin_message(MessageKind::Binary).expect("none is open");
        path.abandon_message(key, &mut buffers);
        send(&mut path, "other", &mut buffers);
        path.begin_message(MessageKind::Binary).expect("none is open");
        path.send_part("part".into(), false, key, &mut buffers).expect("open");
        path.abandon_message(key, &mut buffers);
        path.abandon_message(key, &mut buffers);
        let close = b"\x88\x16\x03\xF3message not finished";
        let expected = [&b"\x81\x05other\x02\x04part"[..], close].concat();
        assert_eq!(staged(&mut path, &mut batch, &mut buffers), expected);
    }
}
