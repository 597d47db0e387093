//! Sending of control frames.

use bytes::Bytes;

use super::path::{SendEnd, SendPath};
use crate::proto::{
    buffers::Buffers,
    close::CloseFrame,
    error::{ProtocolError, SendError},
    header::Header,
    opcode::{MAX_CONTROL_PAYLOAD, Opcode},
    payload::MaskKey,
    received::Received,
};

impl SendPath {
    /// Queues a ping.
    ///
    /// # Errors
    /// [`SendError::PingTooLong`] for more than 125 bytes; [`SendError::Closing`] if a Close is
    /// queued or sent.
    pub fn ping(&mut self, payload: &[u8], key: MaskKey, buffers: &mut Buffers) -> Result<(), SendError> {
        self.open()?;
        // RFC 6455 section 5.5: control frames have at most 125 bytes.
        if payload.len() > MAX_CONTROL_PAYLOAD {
            return Err(SendError::PingTooLong(payload.len()));
        }
        let mask = self.mask(key);
        self.queue(buffers).push_ping(payload, mask);
        Ok(())
    }

    /// Queues a pong of the application.
    ///
    /// # Errors
    /// [`SendError::PongTooLong`] for more than 125 bytes; [`SendError::Closing`] if a Close is
    /// queued or sent.
    pub fn pong(&mut self, payload: &[u8], key: MaskKey, buffers: &mut Buffers) -> Result<(), SendError> {
        self.open()?;
        // RFC 6455 section 5.5: control frames have at most 125 bytes.
        if payload.len() > MAX_CONTROL_PAYLOAD {
            return Err(SendError::PongTooLong(payload.len()));
        }
        let mask = self.mask(key);
        self.queue(buffers).push_pong(payload, mask);
        Ok(())
    }

    /// Queues the answer to what was received, if one is required: a pong to a ping, a Close to a
    /// Close.
    ///
    /// After our Close, pings are still answered, and a Close is not. At most 4 KiB of pongs are
    /// queued; beyond that, the newest replaces the last.
    pub fn answer(&mut self, received: &Received<'_>, key: MaskKey, buffers: &mut Buffers) {
        match received {
            // RFC 6455 section 5.5.2: a ping is answered unless a Close was received, whether ours
            // is sent or not.
            Received::Ping(payload) if self.end != SendEnd::Taken => {
                // RFC 6455 section 5.5.3: a pong carries the payload data of its ping.
                let mask = self.mask(key);
                self.queue(buffers).push_pong(payload, mask);
            }
            // RFC 6455 section 5.5.1: a Close is answered with a Close, which typically echoes the
            // code.
            Received::Close(frame) if !self.is_close_sent() => self.push_close(frame.as_ref(), key, buffers),
            _ => {}
        }
    }

    /// Queues our Close, behind the messages that are queued. `None` sends no code.
    ///
    /// # Errors
    /// [`SendError::Closing`] if a Close is queued or sent.
    pub fn close(
        &mut self,
        frame: Option<&CloseFrame>,
        key: MaskKey,
        buffers: &mut Buffers,
    ) -> Result<(), SendError> {
        self.open()?;
        self.push_close(frame, key, buffers);
        Ok(())
    }

    /// Fails the connection: queues a Close with the code of the error, unless a Close is queued or
    /// sent.
    ///
    /// RFC 6455 section 7.1.7.
    pub fn fail(&mut self, error: ProtocolError, key: MaskKey, buffers: &mut Buffers) {
        if let (false, Some(frame)) = (self.is_close_sent(), error.close_frame()) {
            self.push_close(Some(&frame), key, buffers);
        }
    }

    pub(super) fn push_close(&mut self, frame: Option<&CloseFrame>, key: MaskKey, buffers: &mut Buffers) {
        let (payload, len) = CloseFrame::encode(frame);
        let mask = self.mask(key);
        let payload = Bytes::copy_from_slice(&payload[..len]);
        self.queue(buffers).push_behind(Header::of(Opcode::Close, len, mask), payload);
        self.end = SendEnd::CloseSent;
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{path, send, staged},
        *,
    };
    use crate::{Config, Role};

    #[test]
    fn pings_and_pongs_overtake_messages_and_a_close_overtakes_nothing() {
        let (mut path, mut batch, mut buffers) = path();
        send(&mut path, "message", &mut buffers);
        path.close(None, MaskKey::default(), &mut buffers).expect("open");
        assert_eq!(path.ping(b"late", MaskKey::default(), &mut buffers), Err(SendError::Closing));
        assert_eq!(staged(&mut path, &mut batch, &mut buffers), b"\x81\x07message\x88\x00");

        let mut path = SendPath::new(Role::Server, &Config::new());
        send(&mut path, "message", &mut buffers);
        path.answer(&Received::Ping(b"o"), MaskKey::default(), &mut buffers);
        path.ping(b"i", MaskKey::default(), &mut buffers).expect("open");
        assert_eq!(staged(&mut path, &mut batch, &mut buffers), b"\x89\x01i\x8A\x01o\x81\x07message");
        assert_eq!(path.queued_bytes(), 0);
    }

    #[test]
    fn a_pong_that_might_exceed_4_kib_replaces_the_newest() {
        let (mut path, mut batch, mut buffers) = path();
        let pings: Vec<[u8; 100]> = (0..100).map(|i| [i; 100]).collect();
        for ping in &pings {
            path.answer(&Received::Ping(ping), MaskKey::default(), &mut buffers);
            assert!(path.queued_bytes() <= 4096);
        }
        let wire = staged(&mut path, &mut batch, &mut buffers);
        let answered: Vec<u8> = wire.chunks(102).map(|pong| pong[2]).collect();
        let expected: Vec<u8> = (0..38).chain([99]).collect();
        assert_eq!(answered, expected);
    }

    #[test]
    fn a_connection_is_failed_once_with_the_code_of_the_first_error() {
        let (mut path, mut batch, mut buffers) = path();
        path.fail(ProtocolError::InvalidUtf8, MaskKey::default(), &mut buffers);
        path.fail(ProtocolError::ReservedBit, MaskKey::default(), &mut buffers);
        let wire = staged(&mut path, &mut batch, &mut buffers);
        assert_eq!(wire, b"\x88\x0F\x03\xEFinvalid UTF-8");
    }
}
